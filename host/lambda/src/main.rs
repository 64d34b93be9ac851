//! Lakeport as an AWS Lambda function: what streams, queues and buckets bring is in the lake when an invocation is answered.
//!
//! The platform starts the binary as `bootstrap`. It reads one configuration, and keeps lakes, plugins and runs between
//! invocations. Nothing is kept on a disk.

mod aggregate;
mod deadline;
mod event;
mod firehose;
mod function;
mod kinesis;
mod s3;
mod source;
mod sqs;
mod start;

use std::process::ExitCode;

use lakeport::plugin;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => start::run(),
        // What a process of this binary is started for that compiles a plugin.
        ["plugin", "compile-input", memory, seconds] => start::limits(memory, seconds).and_then(|(memory, seconds)| {
            plugin::compile_input(memory, seconds, false, &mut std::io::stdin().lock(), &mut std::io::stdout().lock())
        }),
        _ => Err(start::unknown_arguments(&arguments)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.kind.exit_code())
        }
    }
}
