//! The start of the function: settings from the environment, then invocations until the process is told to end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lakeport::clock::SystemClock;
use lakeport::config;
use lakeport::error::{Error, Result};
use lakeport::pipeline::{Options, WhenOwned};
use lakeport::plan::Plan;
use lakeport::plugin::{Compiler, Sandbox};
use lakeport::session::Session;
use lakeport::telemetry::{LogFormat, init_telemetry};
use lakeport_engine::{Deliveries, Invocations};
use lakeport_otlp::{LAST, Traces};
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use serde_json::value::RawValue;
use tokio::signal::unix::{SignalKind, signal};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::deadline::Deadline;
use crate::function::Function;

/// Answers invocations until the process is told to end.
///
/// # Errors
/// Of kind `Config`: the platform did not start it, or settings and configuration are wrong. `Internal`: the platform does not answer.
pub fn run() -> Result<()> {
    let traces = Traces::from_environment(&variable)?;
    init_telemetry(log_format(), log_level().as_deref(), true, traces.as_ref().map(Traces::layer))?;
    for name in ["RUNTIME_API", "FUNCTION_NAME", "FUNCTION_VERSION", "FUNCTION_MEMORY_SIZE"]
        .map(|name| format!("AWS_LAMBDA_{name}"))
    {
        if variable(&name).is_none() {
            let message = format!("the environment variable {name} is not set");
            return Err(Error::config(message).with_help(
                "AWS Lambda sets it: deploy the binary as `bootstrap` of a function with the runtime `provided.al2023`; try it out with \
                 `cargo lambda watch`",
            ));
        }
    }
    let plan = Arc::new(config::load(&configuration(), &variable)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime
        .map_err(|error| Error::internal(format!("the runtime cannot be started: {error}")))?
        .block_on(serve(plan, traces))
}

async fn serve(plan: Arc<Plan>, traces: Option<Traces>) -> Result<()> {
    let sender = traces.map(Traces::start).map(Arc::new);
    let deliveries = Deliveries::default();
    // Who is asked has it: the platform gives a shard to one instance at a time.
    let options = Options {
        when_owned: WhenOwned::TakeOver,
        ..Options::new(std::thread::available_parallelism().map_or(1, usize::from), writer())
    };
    let sandbox = Sandbox::new(Some(cache()), Compiler::this_program())?;
    let session = Session::new(plan, sandbox, Arc::new(deliveries.clone()), options);
    // The function's folder is read-only: a lock file is deployed with the plugins.
    session.pin(false)?;
    let function = Arc::new(Function::new(Invocations::new(session, deliveries), variable("LAKEPORT_SOURCE"))?);
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|error| Error::internal(format!("cannot wait for SIGTERM: {error}")))?;
    let invoke = |invocation: LambdaEvent<Box<RawValue>>| {
        let (function, sender) = (function.clone(), sender.clone());
        async move {
            let (payload, context) = invocation.into_parts();
            let deadline = Deadline::until(context.deadline, &SystemClock);
            let answer = function.invoke(&payload, &deadline).instrument(span(&context.request_id)).await;
            // Once it is answered the process may stand still.
            if let Some(sender) = sender {
                sender.flush(deadline.traces()).await;
            }
            answer
        }
    };
    let runtime = Runtime::new(service_fn(invoke));
    let served = tokio::select! {
        served = runtime.run() => served.map_err(|error| Error::internal(format!("AWS Lambda's Runtime API: {error}"))),
        _ = terminate.recv() => Ok(()),
    };
    function.end().await;
    if let Some(sender) = sender {
        sender.flush(LAST).await;
    }
    served
}

/// The span of an invocation.
fn span(invocation: &str) -> Span {
    tracing::info_span!(
        target: "otel",
        "invocation",
        otel.name = "invoke",
        otel.server = true,
        faas.invocation_id = invocation,
        faas.trigger = Empty,
        error = Empty
    )
}

/// The configuration file: `LAKEPORT_CONFIG`, or `lakeport.toml` in the function's folder.
fn configuration() -> PathBuf {
    let root = variable("LAMBDA_TASK_ROOT").map(PathBuf::from);
    let beside = || std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
    let folder = root.or_else(beside).unwrap_or_default();
    folder.join(variable("LAKEPORT_CONFIG").as_deref().unwrap_or("lakeport.toml"))
}

/// Where compiled plugins are kept: `LAKEPORT_CACHE_DIR`, or a folder in the only place that a function may write to.
fn cache() -> PathBuf {
    variable("LAKEPORT_CACHE_DIR").map_or_else(|| std::env::temp_dir().join("lakeport"), PathBuf::from)
}

/// As the function's logging settings want it.
fn log_format() -> LogFormat {
    match variable("AWS_LAMBDA_LOG_FORMAT").as_deref() {
        Some("JSON") => LogFormat::Json,
        _ => LogFormat::Text,
    }
}

/// `LAKEPORT_LOG`, or the level of the function's logging settings.
fn log_level() -> Option<String> {
    let level = || match variable("AWS_LAMBDA_LOG_LEVEL")?.as_str() {
        "FATAL" => Some("error".to_owned()),
        level => Some(level.to_lowercase()),
    };
    variable("LAKEPORT_LOG").or_else(level)
}

/// Function and log stream, for people who read the log.
fn writer() -> String {
    let name = |variable_name: &str| variable(variable_name).unwrap_or_default();
    format!("{}:{}", name("AWS_LAMBDA_FUNCTION_NAME"), name("AWS_LAMBDA_LOG_STREAM_NAME"))
}

/// What a variable of the process's environment holds; `None` where it is empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The limits of a process that compiles a plugin.
///
/// # Errors
/// Of kind `Config`: not numbers.
pub fn limits(memory: &str, seconds: &str) -> Result<(u64, u64)> {
    let number = |text: &str| text.parse().map_err(|_| Error::config(format!("`{text}` is not a number")));
    Ok((number(memory)?, number(seconds)?))
}

/// The error of arguments that mean nothing.
pub fn unknown_arguments(arguments: &[String]) -> Error {
    Error::config(format!("arguments `{}` were given, and the function takes none", arguments.join(" ")))
        .with_help("its settings are environment variables: `LAKEPORT_CONFIG`, `LAKEPORT_SOURCE`, `LAKEPORT_LOG`")
}
