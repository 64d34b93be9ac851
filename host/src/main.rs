use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use lakeport::cli::{Cli, errors};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json();
    let Err(error) = cli.run(&mut std::io::stdout().lock()) else { return ExitCode::SUCCESS };
    let shown = if json { errors::json(&error) } else { errors::text(&error, errors::colours()) };
    // With standard error gone too, the exit code is all that can be said.
    _ = std::io::stderr().write_all(shown.as_bytes());
    ExitCode::from(error.kind.exit_code())
}
