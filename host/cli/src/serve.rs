//! `lakeport serve`: takes records over HTTP and keeps all exports at work.

use std::net::SocketAddr;
use std::sync::Arc;

use lakeport::clock::Surroundings;
use lakeport::error::{Error, Result};
use lakeport::pipeline::Options;
use lakeport::plan::{Input, Plan, Proof, ServerKey, ServerPlan};
use lakeport::plugin::{Compiler, Sandbox};
use lakeport::session::Session;
use lakeport::telemetry::{Live, LogFormat, init_logging};
use lakeport::wait::until;
use lakeport_engine::{Intake, Logs};
use lakeport_serve::{Handle, Key, Limits, MetricsAddress, Server, Settings, Tls, system_clock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Config;
use super::run::{self, allow_open_files, stop_on_signal};

/// Run all exports until Ctrl-C, and take records over HTTP for sources with `http = true`
///
/// Records are sent to `POST /v1/ingest/SOURCE`. The answer comes when they are on the disk, in the write-ahead log; with
/// `?wait=commit`, when they are in the lake.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// Take requests at this address, whatever the configuration says
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
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
    init_logging(args.log, std::env::var("LAKEPORT_LOG").ok().as_deref(), true)?;
    allow_open_files();
    let mut plan = args.config.load()?;
    plan.server.listen = args.listen.unwrap_or(plan.server.listen);
    if let Some(export) = plan.exports.iter().find(|export| matches!(export.source.input, Input::Stdin { .. })) {
        let message = format!("export `{}` reads standard input, which a server has none of", export.name);
        return Err(
            Error::config(message).with_help("export it with `lakeport run`, or set `http = true` in its source")
        );
    }
    super::runtime()?.block_on(serve(args, Arc::new(plan)))
}

async fn serve(args: &Args, plan: Arc<Plan>) -> Result<()> {
    let surroundings = Surroundings::system();
    let logs = Arc::new(Logs::open(&plan, &plan.exports, &surroundings)?);
    let live: Vec<_> = plan.exports.iter().map(|_| Arc::new(Live::default())).collect();
    let intake = Arc::new(Intake::new(&plan, logs.clone(), &live));
    let session = Session {
        plan: plan.clone(),
        sandbox: Sandbox::new(None, Compiler::this_program())?,
        source: logs,
        surroundings,
        options: Options {
            follow: true,
            full: Vec::new(),
            again: Vec::new(),
            replay: None,
            when_owned: args.owned.when_owned(),
            trust_clock: args.owned.trust_clock,
            lanes: super::lanes(),
            writer: super::writer(),
        },
    };
    session.pin(true)?;
    let server = Server::bind(settings(&plan.server), intake, system_clock()).await.map_err(unusable)?;
    tracing::info!("listening on http://{}", server.address());
    tokio::spawn(reload_on_hangup(args.config.clone(), server.handle()));
    let (stopper, stop) = watch::channel(false);
    tokio::spawn(stop_on_signal(stopper));
    let (end_exports, ended) = watch::channel(false);
    let exports = tokio::spawn(async move { session.run(&live, ended).await });
    let mut stopped = stop.clone();
    // Requests end first: what they were answered for is in the log, and those that wait for the lake get their commits.
    server
        .run(async move {
            let _ = until(&mut stopped, |stop| *stop).await;
        })
        .await;
    let _ = end_exports.send(true);
    let reports = exports.await.map_err(|panic| Error::internal(format!("the exports died: {panic}")))?;
    let failed = reports.into_iter().filter_map(|report| Some((report.export, report.error?))).next();
    failed.map_or(Ok(()), |(export, error)| Err(error.context(format_args!("export `{export}`"))))
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
        tls,
        webhook_origins: plan.webhook_origins.clone(),
        metrics: plan.metrics.map(|listen| MetricsAddress { listen, open: true }),
        ..Settings::new(plan.listen)
    }
}

/// The keys of those who may send.
fn keys(plan: &ServerPlan) -> Vec<Key> {
    let key = |key: &ServerKey| {
        let made = match &key.proof {
            Proof::Token(secret) => Key::bearer(&key.name, secret.expose()),
            Proof::Hmac(secret) => Key::hmac(&key.name, secret.expose()),
        };
        match &key.sources {
            Some(sources) => made.for_sources(sources.iter().cloned()),
            None => made,
        }
    };
    plan.keys.iter().map(key).collect()
}

/// Reads keys and the files of TLS again at each SIGHUP. What cannot be used leaves everything as it is.
async fn reload_on_hangup(config: Config, handle: Handle) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        let reloaded = config.load().and_then(|plan| {
            handle.replace_keys(keys(&plan.server)).map_err(unusable)?;
            handle.reload_tls().map_err(unusable)
        });
        match reloaded {
            Ok(()) => tracing::info!("read the keys and the files of TLS again; other settings need a restart"),
            Err(error) => tracing::error!("the keys stay as they are: {error}"),
        }
    }
}

pub fn unusable(error: lakeport_serve::Error) -> Error {
    let shown = Error::config(error.message);
    match error.help {
        Some(help) => shown.with_help(help),
        None => shown,
    }
}
