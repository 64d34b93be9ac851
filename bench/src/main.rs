//! `lakeport-bench`: what `bench/run.py` measures Lakeport with and against. It is no part of what users install.

mod ahead;
mod apache;
mod floor;
mod generate;
mod native;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Input for the measurements, and the least work that any export has to do.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write generated signals to a file.
    Generate {
        /// How many signals.
        #[arg(long)]
        count: u64,
        #[arg(long)]
        out: PathBuf,
    },
    /// Read a file, validate each line, keep ten of fifty names, write a file an hour; no commits, no plugins.
    Floor {
        #[arg(long)]
        input: PathBuf,
        /// The folder for the files.
        #[arg(long)]
        out: PathBuf,
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// What validates the lines.
        #[arg(long, value_enum, default_value = "host")]
        json: floor::Json,
    },
    /// Write messages as one Avro file with Apache's own writer; one thread, no commits, no plugins.
    Apache {
        #[arg(long)]
        input: PathBuf,
        /// The folder for the file.
        #[arg(long)]
        out: PathBuf,
    },
    /// Run a configuration as `lakeport run` does, under a clock that is ahead, and print its report as JSON.
    Ahead {
        configuration: PathBuf,
        #[arg(long)]
        seconds: i64,
    },
    /// Run the export of a configuration with its plugins linked natively, and print its report as JSON.
    Native { configuration: PathBuf },
}

fn main() -> io::Result<()> {
    match Arguments::parse().command {
        Command::Generate { count, out } => {
            let mut out = BufWriter::with_capacity(1 << 20, File::create(out)?);
            generate::generate(count, &mut out)?;
            out.flush()
        }
        Command::Ahead { configuration, seconds } => {
            let reports = ahead::export(&configuration, seconds).map_err(io::Error::other)?;
            println!("{}", serde_json::json!({ "exports": reports }));
            Ok(())
        }
        Command::Native { configuration } => {
            let report = native::export(&configuration).map_err(io::Error::other)?;
            println!("{}", serde_json::json!({ "exports": [report] }));
            Ok(())
        }
        Command::Apache { input, out } => {
            println!(r#"{{"records-written":{}}}"#, apache::run(&input, &out)?);
            Ok(())
        }
        Command::Floor { input, out, threads, json } => {
            fs::create_dir_all(&out)?;
            let tally = floor::run(File::open(input)?, &out, threads, json)?;
            println!(r#"{{"records-read":{},"records-written":{}}}"#, tally.read, tally.written);
            Ok(())
        }
    }
}

/// The ten names that every tool keeps.
fn kept_names() -> Vec<String> {
    serde_json::from_str(include_str!("../kept-names.json")).expect("a list of names stands beside this crate")
}
