//! `lakeport functions`: a custom handler of Azure Functions.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use humantime::format_duration;
use lakeport::error::{Error, Kind, Result};
use lakeport::pipeline::{Options, WhenOwned};
use lakeport::plan::Plan;
use lakeport::session::Session;
use lakeport::telemetry::{LogFormat, init_telemetry};
use lakeport::wait::until;
use lakeport_engine::{Current, Deliveries, Direct, Functions, Invocations, bindings};
use lakeport_otlp::{Counts, LAST, Traces};
use lakeport_serve::{Limits, Server, Settings, Timeouts, system_clock};
use tokio::sync::watch;

use super::run::{allow_open_files, stop_on_signal};
use super::serve::unusable;
use super::{Config, traces, variable};

/// The environment variable in which the Functions host passes the port to listen on.
const PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

/// Answer the invocations of an Azure function app, as its custom handler
///
/// The Functions host starts it, in the folder of `host.json`. An invocation is answered once its events are in the lake of every
/// export that reads the source named like the function.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// How log lines are written to standard error; the environment variable LAKEPORT_LOG sets their level
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log: LogFormat,
}

/// Answers invocations until the process is told to end.
///
/// # Errors
/// Of kind `Config`: the port is not said, or functions and configuration do not fit.
pub fn run(args: &Args) -> Result<()> {
    let traces = Traces::from_environment(&variable)?;
    init_telemetry(args.log, variable("LAKEPORT_LOG").as_deref(), true, traces.as_ref().map(Traces::layer))?;
    allow_open_files();
    let plan = Arc::new(args.config.load()?);
    let port = variable(PORT).unwrap_or_default();
    let port: u16 = port.parse().map_err(|_| {
        Error::config(format!("the environment variable {PORT} is `{port}`, expected a port"))
            .with_help("the Functions host sets it: start the function app, or `lakeport serve` outside of one")
    })?;
    let folder = std::env::current_dir().map_err(|error| Error::config(error.to_string()))?;
    let app = bindings::read(&folder, &variable)?;
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let counts = traces.as_ref().map(Traces::counts);
        let sender = traces.map(Traces::start);
        let ended = serve(plan, app, port, counts).await;
        if let Some(sender) = sender {
            sender.flush(LAST).await;
        }
        ended
    });
    // After the deadline nothing is waited for.
    runtime.shutdown_background();
    ended
}

/// Bytes of an invocation's body: base64 of the 100 MB that the host has as its limit.
const LARGEST_INVOCATION: usize = 140 << 20;

async fn serve(plan: Arc<Plan>, app: bindings::App, port: u16, traces: Option<Arc<Counts>>) -> Result<()> {
    let (deliveries, within) = (Deliveries::default(), plan.server.stop_within);
    // The platform gives a partition to one instance at a time: who is asked has it.
    let options = Options { when_owned: WhenOwned::TakeOver, ..Options::new(super::lanes(), super::writer()) };
    let session = Session::new(plan, super::sandbox()?, Arc::new(deliveries.clone()), options);
    session.pin(true)?;
    let invocations = Arc::new(Invocations::new(session, deliveries));
    let functions = Arc::new(Functions::new(app, invocations.clone())?);
    let settings = Settings::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    // The host brings blobs whole; what it sends it limits itself.
    let limits = Limits { body_bytes: LARGEST_INVOCATION, held_bytes: 2 * LARGEST_INVOCATION, ..settings.limits };
    let timeouts = Timeouts { stop: within / 2, ..settings.timeouts };
    let settings = Settings { limits, timeouts, ..settings };
    let intake = Arc::new(Current::new(Arc::new(Direct::new(invocations.clone())), traces::metrics(traces)));
    let server = Server::bind(settings, intake, system_clock()).await.map_err(unusable)?;
    tracing::info!("listening on http://{}", server.address());
    let (stopper, mut stop) = watch::channel(false);
    tokio::spawn(stop_on_signal(stopper));
    server
        .with_functions(functions.clone())
        .run(async move {
            let _ = until(&mut stop, |stop| *stop).await;
        })
        .await;
    // Invocations that were under way have ended, or have failed by now: what they brought is delivered again.
    tokio::time::timeout(within / 2, invocations.end()).await.map_err(|_| {
        let message =
            format!("the lake has not answered {} after the handler was told to end", format_duration(within));
        Error::new(Kind::Interrupted, message).with_help(
            "nothing is lost: what was answered is in the lake; a longer `stop-within` in [server] waits for it",
        )
    })
}
