//! `lakeport completions`: completions for a shell.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, written};
use lakeport::error::Result;

/// Print completions for a shell
///
/// For example `lakeport completions bash > /etc/bash_completion.d/lakeport`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    pub shell: Shell,
}

/// Writes the completions to `out`.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lakeport", &mut script);
    written(out.write_all(&script))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let mut out = Vec::new();
            run(&Args { shell: *shell }, &mut out).unwrap();
            let script = String::from_utf8(out).unwrap();
            for word in ["dead-letters", "status", "inspect"] {
                assert!(script.contains(word), "{shell} lacks {word}");
            }
        }
    }
}
