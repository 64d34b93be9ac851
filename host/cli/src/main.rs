//! What people type: the command line, one file a command, and how errors are shown.
//!
//! A command's file has its arguments and turns what the command found into text or JSON. Results go to standard output,
//! everything else to standard error. Only `main` ends the process.

mod again;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod ask;
mod check;
mod completions;
mod dead_letters;
mod describe;
mod errors;
mod functions;
mod inspect;
mod notify;
mod plugin;
mod replay;
mod run;
mod serve;
mod solution;
mod status;
mod tables;
#[cfg(test)]
mod testing;
mod traces;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use lakeport::config;
use lakeport::error::{Error, Result};
use lakeport::plan::Plan;
use lakeport::plugin::{Compiler, Sandbox};
use lakeport::telemetry::{LogFormat, init_logging};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json();
    let Err(error) = cli.run(&mut std::io::stdout().lock()) else { return ExitCode::SUCCESS };
    let shown = if json { errors::json(&error) } else { errors::text(&error, errors::colours()) };
    // With standard error gone too, the exit code is all that can be said.
    _ = std::io::stderr().write_all(shown.as_bytes());
    ExitCode::from(error.kind.exit_code())
}

/// Lakeport's command line.
#[derive(Debug, Parser)]
#[command(
    name = "lakeport",
    version,
    about = "Exports records into a data lake, continuously and exactly once",
    long_about = "Exports records into a data lake, continuously and exactly once. Sandboxed plugins decide what is kept and \
                  which bytes are written.",
    after_long_help = errors::exit_codes(),
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    Run(run::Args),
    Serve(serve::Args),
    Functions(functions::Args),
    Check(check::Args),
    Status(status::Args),
    DeadLetters(dead_letters::Args),
    Replay(replay::Args),
    Inspect(inspect::Args),
    #[command(subcommand)]
    Tables(tables::Command),
    #[command(subcommand)]
    Plugin(plugin::Command),
    #[command(subcommand)]
    Solution(solution::Command),
    Completions(completions::Args),
}

/// The configuration file, of every command that needs one.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// The configuration file
    #[arg(value_name = "CONFIG", default_value = "lakeport.toml", value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
}

impl Config {
    /// Reads the configuration; secrets may come from the process's environment.
    pub fn load(&self) -> Result<Plan> {
        load(&self.config)
    }
}

fn load(path: &Path) -> Result<Plan> {
    config::load(path, &variable)
}

/// What a variable of the process's environment holds.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The same, or a stand-in: a configuration that is changed or carried elsewhere needs no secrets here.
fn variable_or_stand_in(name: &str) -> Option<String> {
    Some(variable(name).unwrap_or_else(|| "-".to_owned()))
}

impl Cli {
    /// Whether errors and results are JSON.
    pub fn json(&self) -> bool {
        match &self.command {
            Command::Run(args) => args.json,
            Command::Check(args) => args.json,
            Command::Status(args) => args.json,
            Command::DeadLetters(args) => args.json,
            Command::Replay(args) => args.json,
            Command::Inspect(args) => args.json,
            Command::Tables(command) => command.json(),
            Command::Plugin(command) => command.json(),
            Command::Serve(_) | Command::Functions(_) | Command::Solution(_) | Command::Completions(_) => false,
        }
    }

    /// Does what was asked; results go to `out`.
    pub fn run(self, out: &mut dyn Write) -> Result<()> {
        match self.command {
            Command::Check(args) => check::run(&args, out),
            Command::Completions(args) => completions::run(&args, out),
            Command::DeadLetters(args) => dead_letters::run(&args, out),
            Command::Inspect(args) => inspect::run(&args, out),
            Command::Plugin(command) => plugin::run(&command, out),
            Command::Replay(args) => replay::run(&args, out),
            Command::Run(args) => run::run(&args, out),
            Command::Serve(args) => serve::run(&args),
            Command::Functions(args) => functions::run(&args),
            Command::Solution(command) => solution::run(&command, out),
            Command::Status(args) => status::run(&args, out),
            Command::Tables(command) => tables::run(&command, out),
        }
    }
}

/// What commands that speak to a lake run on.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::internal(format!("the runtime cannot be started: {e}")))
}

/// Sends warnings to standard error, or what the environment variable LAKEPORT_LOG says.
fn log_warnings() -> Result<()> {
    init_logging(LogFormat::Text, variable("LAKEPORT_LOG").as_deref(), false)
}

/// Threads that process: one for each core.
fn lanes() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Makes a sandbox, which compiles each plugin in a child process.
fn sandbox() -> Result<Sandbox> {
    Sandbox::new(None, Compiler::this_program())
}

/// Host and process, for people who read the log.
fn writer() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), std::process::id())
}

/// The result of writing to standard output. A reader that is gone, as in `| head`, wants no more and is no error.
pub(crate) fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let error = error.to_string().to_lowercase();
            Err(Error::internal(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("lakeport").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_every_argument_has_help() {
        fn visit(command: &clap::Command) {
            assert!(command.get_about().is_some(), "`{}` has no help", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "`{}` of `{}` has no help",
                    argument.get_id(),
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(visit);
        }
        visit(&Cli::command());
    }

    #[test]
    fn a_command_without_a_configuration_takes_the_usual_one() {
        let Command::Run(args) = parse("run").unwrap().command else { panic!() };
        assert_eq!(args.config.config, Path::new("lakeport.toml"));
        let Command::Status(args) = parse("status other.toml --json").unwrap().command else { panic!() };
        assert_eq!((args.config.config.as_path(), args.json), (Path::new("other.toml"), true));
    }

    #[test]
    fn json_is_known_for_every_command() {
        for line in ["run", "check", "status", "dead-letters", "replay", "inspect x", "plugin inspect x", "tables list"]
        {
            assert!(parse(&format!("{line} --json")).unwrap().json(), "{line}");
        }
        for line in ["run", "plugin new x", "completions bash", "tables link x y", "solution export"] {
            assert!(!parse(line).unwrap().json(), "{line}");
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for line in [
            "dead-letters --json --raw",
            "run --max-dead-letters -1",
            "run --log xml",
            "plugin new x --kind y",
            "inspect",
            "inspect x --format parquet",
            "tables link x y --write often",
            "tables unlink x y --all",
            "solution import x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_reader_that_is_gone_is_no_error() {
        assert!(written(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(written(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
