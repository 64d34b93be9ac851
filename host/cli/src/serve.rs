//! `lakeport serve`: takes records over HTTP and keeps all exports at work.

mod counts;
mod exports;
mod reload;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lakeport::error::{Error, Kind, Result};
use lakeport::pipeline::Options;
use lakeport::plan::Plan;
use lakeport::telemetry::{LogFormat, init_telemetry};
use lakeport::wait::until;
use lakeport_engine::{Current, Drain as _};
use lakeport_otlp::{LAST, Traces};
use lakeport_serve::{Intake as _, Server, system_clock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use self::counts::Counts;
use self::exports::Prepared;
use self::reload::Reload;
use self::settings::settings;
pub use self::settings::unusable;
use super::notify::Notifier;
use super::run::{self, allow_open_files, stop_on_signal};
use super::{Config, traces, variable};

/// Run all exports until Ctrl-C, and take records over HTTP for sources with `http = true`
///
/// Records are sent to `POST /v1/ingest/SOURCE`. The answer comes when they are on the disk, in the write-ahead log; with
/// `?wait=commit`, or `acknowledge = "lake"` in `[server]`, when they are in the lake. The environment variable PORT stands for the
/// port of `listen`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// Take requests at this address, whatever the configuration says
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// End within this time, such as `25s`, whatever the configuration says
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub stop_within: Option<Duration>,
    #[command(flatten)]
    pub owned: run::WhenOwnedArgs,
    /// How log lines are written to standard error; the environment variable LAKEPORT_LOG sets their level
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log: LogFormat,
}

/// Serves until the process is told to end.
///
/// # Errors
/// Of kind `Config`, `Source`; the error of an export that failed for good.
pub fn run(args: &Args) -> Result<()> {
    let traces = Traces::from_environment(&super::variable)?;
    let level = super::variable("LAKEPORT_LOG");
    init_telemetry(args.log, level.as_deref(), true, traces.as_ref().map(Traces::layer))?;
    allow_open_files();
    let mut plan = args.config.load()?;
    let configured = Arc::new(plan.clone());
    plan.server.listen = match args.listen {
        Some(listen) => listen,
        None => SocketAddr::new(plan.server.listen.ip(), port(plan.server.listen.port())?),
    };
    plan.server.stop_within = args.stop_within.unwrap_or(plan.server.stop_within);
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let counts = traces.as_ref().map(Traces::counts);
        let sender = traces.map(Traces::start);
        let ended = serve(args, configured, Arc::new(plan), counts).await;
        if let Some(sender) = sender {
            sender.flush(LAST).await;
        }
        ended
    });
    // After the deadline nothing is waited for.
    runtime.shutdown_background();
    ended
}

/// The port to listen on: that of the environment variable PORT, as platforms for containers set it, else that of the configuration.
fn port(configured: u16) -> Result<u16> {
    let Some(port) = variable("PORT") else { return Ok(configured) };
    port.parse().map_err(|_| {
        Error::config(format!("the environment variable PORT is `{port}`, expected a port"))
            .with_help("unset it, or pass the address: `--listen 127.0.0.1:8080`")
    })
}

async fn serve(
    args: &Args,
    configured: Arc<Plan>,
    plan: Arc<Plan>,
    traces: Option<Arc<lakeport_otlp::Counts>>,
) -> Result<()> {
    // From here on: before that, the signal ends the process.
    let hangup = signal(SignalKind::hangup())
        .map_err(|error| Error::internal(format!("cannot take the signal SIGHUP: {error}")))?;
    let options = Options {
        follow: true,
        when_owned: args.owned.when_owned(),
        trust_clock: args.owned.trust_clock,
        ..Options::new(super::lanes(), super::writer())
    };
    let prepared = Prepared::first(plan.clone(), &options)?;
    let (counts, traced) = (Arc::new(Counts::default()), traces::metrics(traces));
    let counted = counts.clone();
    let more = move || counted.metrics().into_iter().chain(traced()).collect();
    let current = Arc::new(Current::new(prepared.intake(), more));
    let server = Server::bind(settings(&plan.server), current.clone(), system_clock()).await.map_err(unusable)?;
    tracing::info!("listening on http://{}", server.address());
    let notifier = Arc::new(Notifier::from_environment(&super::variable));
    notifier.tell("READY=1");
    let (alive, health) = (notifier.clone(), current.clone());
    tokio::spawn(async move { alive.keep_alive(|| health.health().not_live.is_empty()).await });
    let (stopper, stop) = watch::channel(false);
    tokio::spawn(stop_on_signal(stopper));
    let (end_exports, ended) = watch::channel(false);
    let reload = Reload {
        config: args.config.clone(),
        handle: server.handle(),
        current: current.clone(),
        counts,
        started: configured,
        server: plan.server.clone(),
        options,
        running: prepared.start(),
        hangup,
    };
    let exports = tokio::spawn(reload.run(ended));
    let within = plan.server.stop_within;
    let stopped = told_to_stop(stop.clone());
    let ending = async {
        let mut told = Instant::now();
        // Requests end first: what they were answered for is in the log, and those that wait for the lake get their commits.
        server
            .run(async {
                stopped.await;
                told = Instant::now();
                notifier.tell("STOPPING=1")
            })
            .await;
        // Then what is in the log. The last quarter of the time is kept for commits.
        let _ = tokio::time::timeout_at(told + within * 3 / 4, current.drain()).await;
        let _ = end_exports.send(true);
        exports.await
    };
    let ended = tokio::select! {
        ended = ending => Some(ended),
        () = async { told_to_stop(stop).await; tokio::time::sleep(within).await } => None,
    };
    for (source, records) in current.left() {
        tracing::warn!(
            source,
            records,
            "records that were accepted stay in the write-ahead log: the next start exports them"
        );
    }
    let ended = ended.ok_or_else(|| too_late(within))?;
    let reports = ended.map_err(|panic| Error::internal(format!("the exports died: {panic}")))?;
    let failed = reports.into_iter().filter_map(|report| Some((report.export, report.error?))).next();
    failed.map_or(Ok(()), |(export, error)| Err(error.context(format_args!("export `{export}`"))))
}

async fn told_to_stop(mut stop: watch::Receiver<bool>) {
    // A sender that is gone leaves nobody who could say it.
    if until(&mut stop, |stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

fn too_late(within: Duration) -> Error {
    let within = humantime::format_duration(within);
    let message = format!("not everything that was read is in the lake {within} after the server was told to end");
    Error::new(Kind::Interrupted, message).with_help(
        "nothing is lost: the next start goes on with the write-ahead log and behind the last commit; a longer `stop-within` waits for the lake",
    )
}
