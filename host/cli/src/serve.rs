//! `lakeport serve`: takes records over HTTP and keeps all exports at work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lakeport::clock::Surroundings;
use lakeport::error::{Error, Kind, Result};
use lakeport::pipeline::{Options, WhenOwned};
use lakeport::plan::{Input, Plan, Proof, ServerKey, ServerPlan};
use lakeport::session::{Lakes, Session};
use lakeport::source::Source;
use lakeport::telemetry::{Live, LogFormat, init_telemetry};
use lakeport::wait::until;
use lakeport_engine::{Deliveries, Direct, Drain, Intake, Invocations, Logs, Warned};
use lakeport_serve::{Family, Key, Limits, MetricsAddress, Server, Settings, Timeouts, Tls, system_clock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use super::notify::Notifier;
use super::reload::Reload;
use super::run::{self, allow_open_files, stop_on_signal};
use super::traces::{Counts, Traces};
use super::{Config, variable};

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
    if let Some(export) = plan.exports.iter().find(|export| matches!(export.source.input, Input::Stdin { .. })) {
        let message = format!("export `{}` reads standard input, which a server has none of", export.name);
        return Err(
            Error::config(message).with_help("export it with `lakeport run`, or set `http = true` in its source")
        );
    }
    plan.server.stop_within = args.stop_within.unwrap_or(plan.server.stop_within);
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let counts = traces.as_ref().map(Traces::counts);
        let sender = traces.map(Traces::start);
        let ended = serve(args, configured, Arc::new(plan), counts).await;
        if let Some(sender) = sender {
            sender.flush().await;
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

async fn serve(args: &Args, configured: Arc<Plan>, plan: Arc<Plan>, traces: Option<Arc<Counts>>) -> Result<()> {
    // From here on: before that, the signal ends the process.
    let hangup = signal(SignalKind::hangup())
        .map_err(|error| Error::internal(format!("cannot take the signal SIGHUP: {error}")))?;
    let options = Options {
        follow: true,
        when_owned: args.owned.when_owned(),
        trust_clock: args.owned.trust_clock,
        ..Options::new(super::lanes(), super::writer())
    };
    let (surroundings, sandbox) = (Surroundings::system(), super::sandbox()?);
    let (lakes, within) = (Lakes::default(), plan.server.stop_within);
    let session = |plan: Arc<Plan>, source: Arc<dyn Source>, options: Options| Session {
        plan,
        sandbox: sandbox.clone(),
        lakes: lakes.clone(),
        source,
        surroundings: surroundings.clone(),
        options,
    };
    if plan.server.without_log {
        let deliveries = Deliveries::default();
        // Each replica has a partition in turn: who is asked has it.
        let asked = Options { follow: false, when_owned: WhenOwned::TakeOver, ..options.clone() };
        let asked = session(plan.clone(), Arc::new(deliveries.clone()), asked);
        asked.pin(true)?;
        let invocations = Arc::new(Invocations::new(asked, deliveries.clone()));
        let followed = followed(&plan);
        let live = followed.exports.iter().map(|export| invocations.live(export)).collect();
        let intake = Arc::new(Direct::new(invocations.clone()).with_metrics(traced(traces)));
        let session = session(Arc::new(followed), Arc::new(deliveries), options);
        let writing = tokio::spawn(intake.clone().keep_at_work());
        let served = serve_with(args, (configured, plan), intake, session, live, hangup).await;
        writing.abort();
        // Where the time to stop is over, the runs are told and not waited for: nothing that they have was answered.
        let is_late = matches!(&served, Err(error) if error.kind == Kind::Interrupted);
        let ended = tokio::time::timeout(if is_late { Duration::ZERO } else { within }, invocations.end()).await;
        if ended.is_err() && !is_late {
            return Err(too_late(within));
        }
        return served;
    }
    let logs = Arc::new(Logs::open(&plan, &plan.exports, &surroundings)?);
    let live: Vec<_> = plan.exports.iter().map(|_| Arc::new(Live::default())).collect();
    let intake = Arc::new(Intake::new(&plan, logs.clone(), &live).with_metrics(traced(traces)));
    let session = session(plan.clone(), logs, options);
    session.pin(true)?;
    serve_with(args, (configured, plan), intake, session, live, hangup).await
}

/// Returns the metrics of traces, where there are some.
pub fn traced(traces: Option<Arc<Counts>>) -> impl Fn() -> Vec<Family> + Send + Sync + 'static {
    move || traces.iter().flat_map(|counts| counts.metrics()).collect()
}

/// The exports that are kept at work though nobody sends them anything: those of files.
fn followed(plan: &Plan) -> Plan {
    let exports = plan.exports.iter().filter(|export| export.source.input != Input::Http).cloned();
    Plan { exports: exports.collect(), ..plan.clone() }
}

/// Serves, and keeps the exports of `session` at work, until the process is told to end.
async fn serve_with<I: lakeport_serve::Intake + Warned + Drain>(
    args: &Args,
    (configured, plan): (Arc<Plan>, Arc<Plan>),
    intake: Arc<I>,
    session: Session,
    live: Vec<Arc<Live>>,
    hangup: Signal,
) -> Result<()> {
    let server = Server::bind(settings(&plan.server), intake.clone(), system_clock()).await.map_err(unusable)?;
    tracing::info!("listening on http://{}", server.address());
    let notifier = Arc::new(Notifier::from_environment(&super::variable));
    notifier.tell("READY=1");
    let (alive, health) = (notifier.clone(), intake.clone());
    tokio::spawn(async move { alive.keep_alive(|| health.health().not_live.is_empty()).await });
    let (config, handle, running) = (args.config.clone(), server.handle(), configured);
    tokio::spawn(Reload { config, handle, intake: intake.clone(), running, hangup }.run());
    let (stopper, stop) = watch::channel(false);
    tokio::spawn(stop_on_signal(stopper));
    let (end_exports, ended) = watch::channel(false);
    let exports = tokio::spawn(async move { session.run(&live, ended).await });
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
        let _ = tokio::time::timeout_at(told + within * 3 / 4, intake.drain()).await;
        let _ = end_exports.send(true);
        exports.await
    };
    let ended = tokio::select! {
        ended = ending => Some(ended),
        () = async { told_to_stop(stop).await; tokio::time::sleep(within).await } => None,
    };
    for (source, records) in intake.left() {
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

/// The server's settings, as the configuration says them.
fn settings(plan: &ServerPlan) -> Settings {
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let usual = Limits::default();
    let (body_bytes, decoded_bytes) = (bytes(plan.max_body), bytes(plan.max_decoded));
    let limits = Limits {
        connections: plan.connections,
        body_bytes,
        decoded_bytes,
        held_bytes: usual.held_bytes.max(body_bytes.saturating_add(decoded_bytes.saturating_mul(2))),
        ..usual
    };
    let tls = plan.tls.as_ref().map(|tls| Tls {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        client_ca: tls.client_authorities.clone(),
    });
    Settings {
        keys: keys(plan),
        limits,
        timeouts: Timeouts { stop: plan.stop_within / 2, ..Timeouts::default() },
        tls,
        webhook_origins: plan.webhook_origins.clone(),
        metrics: plan.metrics.map(|listen| MetricsAddress { listen, open: true }),
        ..Settings::new(plan.listen)
    }
}

/// The keys of those who may send.
pub fn keys(plan: &ServerPlan) -> Vec<Key> {
    let key = |key: &ServerKey| {
        let made = match &key.proof {
            Proof::Token(secret) => Key::bearer(&key.name, secret.expose()),
            Proof::Hmac(secret) => Key::hmac(&key.name, secret.expose()),
        };
        let made = match &key.sources {
            Some(sources) => made.for_sources(sources.iter().cloned()),
            None => made,
        };
        if key.metrics { made.with_metrics() } else { made }
    };
    plan.keys.iter().map(key).collect()
}

pub fn unusable(error: lakeport_serve::Error) -> Error {
    let shown = Error::config(error.message);
    match error.help {
        Some(help) => shown.with_help(help),
        None => shown,
    }
}
