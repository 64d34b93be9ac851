//! The exports of a configuration while the server keeps them at work: how they are started, ended, and followed by others.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeport::error::{Error, Result};
use lakeport::pipeline::{Options, WhenOwned};
use lakeport::plan::{ExportPlan, Input, Plan, PluginOrigin};
use lakeport::plugin::Sandbox;
use lakeport::session::Session;
use lakeport::source::{Local, Source};
use lakeport::telemetry::{ExportReport, Live, State};
use lakeport_engine::{Current, Deliveries, Direct, Drain, Intake, Invocations, Logs, refuse_left};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The digest of each plugin that comes from a path, by its name.
pub type Digests = BTreeMap<String, String>;

/// Exports that are ready to be started.
pub struct Prepared {
    plan: Arc<Plan>,
    digests: Digests,
    session: Session,
    live: Vec<Arc<Live>>,
    feed: Feed,
}

/// The destination of records that come over HTTP: write-ahead logs, or the lake.
#[derive(Clone)]
enum Feed {
    Logs { logs: Arc<Logs>, intake: Arc<Intake> },
    Lake { deliveries: Deliveries, invocations: Arc<Invocations>, intake: Arc<Direct> },
}

/// Exports at work.
pub struct Running {
    plan: Arc<Plan>,
    digests: Digests,
    live: BTreeMap<String, Arc<Live>>,
    feed: Feed,
    end: watch::Sender<bool>,
    /// The session, and, without write-ahead logs, what writes what is due; `None` once they have ended.
    session: Option<JoinHandle<Vec<ExportReport>>>,
    /// Reports of exports that ended for successors which are not started yet.
    ended: Vec<ExportReport>,
    writing: Option<JoinHandle<()>>,
}

impl Prepared {
    /// Prepares the exports of `plan` for a server that starts. One that cannot be opened says so once it is at work.
    ///
    /// # Errors
    /// Of kind `Config`, where an export reads standard input or a plugin is not the accepted one; of kind `Source`, where a log
    /// cannot be opened.
    pub fn first(plan: Arc<Plan>, options: &Options) -> Result<Prepared> {
        Prepared::new(plan, options, None)
    }

    /// Prepares the exports of `plan` to follow those that run. Everything is checked that can be found wrong without a lake: plugins
    /// are loaded, and their settings compared with what they take. Blocks.
    ///
    /// # Errors
    /// As of [`Prepared::first`]; and what is wrong with an export.
    pub fn next(plan: Arc<Plan>, options: &Options, running: &Before) -> Result<Prepared> {
        Prepared::new(plan, options, Some(running))
    }

    fn new(plan: Arc<Plan>, options: &Options, before: Option<&Before>) -> Result<Prepared> {
        if let Some(export) = plan.exports.iter().find(|export| matches!(export.source.input, Input::Stdin { .. })) {
            let message = format!("export `{}` reads standard input, which a server has none of", export.name);
            return Err(
                Error::config(message).with_help("export it with `lakeport run`, or set `http = true` in its source")
            );
        }
        // One of its own: components are read again.
        let sandbox = crate::sandbox()?;
        let session = Session::new(plan.clone(), sandbox.clone(), Arc::new(Local), options.clone());
        if before.is_some() {
            check(&session)?;
        }
        session.pin(true)?;
        let (session, live, feed) = if plan.server.without_log {
            refuse_left(&plan)?;
            let deliveries = match before.map(|before| &before.feed) {
                Some(Feed::Lake { deliveries, .. }) => deliveries.anew(),
                _ => Deliveries::default(),
            };
            let source: Arc<dyn Source> = Arc::new(deliveries.clone());
            // Each replica has a partition in turn: who is asked has it.
            let asked = Options { follow: false, when_owned: WhenOwned::TakeOver, ..options.clone() };
            let asked = Session { source: source.clone(), options: asked, ..session.clone() };
            let invocations = Invocations::new(asked, deliveries.clone());
            let invocations = Arc::new(match before.map(|before| &before.feed) {
                Some(Feed::Lake { invocations: before, .. }) => invocations.counting_on(before),
                _ => invocations,
            });
            let plan = Arc::new(followed(&plan));
            let live = plan.exports.iter().map(|export| invocations.live(export)).collect();
            let intake = Arc::new(Direct::new(invocations.clone()));
            (Session { plan, source, ..session }, live, Feed::Lake { deliveries, invocations, intake })
        } else {
            let logs = Arc::new(match before.map(|before| &before.feed) {
                Some(Feed::Logs { logs, .. }) => logs.reopen(&plan, &session.surroundings)?,
                _ => Logs::open(&plan, &plan.exports, &session.surroundings)?,
            });
            let known = |export: &ExportPlan| before.and_then(|before| before.live.get(&export.name).cloned());
            let live: Vec<_> = plan.exports.iter().map(|export| known(export).unwrap_or_default()).collect();
            let intake = Arc::new(Intake::new(&plan, logs.clone(), &live));
            (Session { source: logs.clone(), ..session }, live, Feed::Logs { logs, intake })
        };
        let digests = digests(&plan, &sandbox);
        Ok(Prepared { plan, digests, session, live, feed })
    }

    /// The digests of its plugins.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Returns the intake, which takes the records of requests.
    pub fn intake(&self) -> Arc<dyn Drain> {
        match &self.feed {
            Feed::Logs { intake, .. } => intake.clone(),
            Feed::Lake { intake, .. } => intake.clone(),
        }
    }

    /// Starts the exports.
    pub fn start(self) -> Running {
        let Prepared { plan, digests, session, live, feed } = self;
        let writing = match &feed {
            Feed::Lake { intake, .. } => Some(tokio::spawn(intake.clone().keep_at_work())),
            Feed::Logs { .. } => None,
        };
        live.iter().for_each(|live| live.set(State::Opening, None));
        let (end, ended) = watch::channel(false);
        let named = session.plan.exports.iter().map(|export| export.name.clone()).zip(live.iter().cloned());
        let named = named.collect();
        let session = tokio::spawn(async move { session.run(&live, ended).await });
        Running { plan, digests, live: named, feed, end, session: Some(session), ended: Vec::new(), writing }
    }
}

/// The parts of running exports that their successors keep.
pub struct Before {
    feed: Feed,
    live: BTreeMap<String, Arc<Live>>,
}

impl Running {
    /// Returns their configuration.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The digests of their plugins.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Returns what their successors keep.
    pub fn before(&self) -> Before {
        Before { feed: self.feed.clone(), live: self.live.clone() }
    }

    /// Ends the exports: what was read is committed. Returns their reports, once.
    pub async fn end(&mut self) -> Vec<ExportReport> {
        let _ = self.end.send(true);
        if let Some(writing) = self.writing.take() {
            writing.abort();
        }
        let reports = match self.session.take() {
            Some(session) => session.await,
            None => return std::mem::take(&mut self.ended),
        };
        if let Feed::Lake { invocations, .. } = &self.feed {
            invocations.end().await;
        }
        reports.unwrap_or_else(|panic| {
            let error = Some(Error::internal(format!("the exports died: {panic}")));
            vec![ExportReport { error, ..ExportReport::default() }]
        })
    }

    /// Ends the exports and hands what comes to `next`, which are not started yet. Requests are answered all along, or wait for a
    /// moment. Returns what is left behind, in words.
    pub async fn hand_over(&mut self, next: &Prepared, current: &Current) -> Vec<String> {
        match (&self.feed, &next.feed) {
            (Feed::Logs { logs, .. }, Feed::Logs { logs: to, .. }) => {
                let (logs, to) = (logs.clone(), to.clone());
                // Meanwhile the logs take records. What only an export that goes has not read, it reads first.
                if logs.loses_readers(&next.plan) {
                    let _ = timeout(self.plan.server.stop_within * 3 / 4, current.drain()).await;
                }
                self.ended = self.end().await;
                let closed = current.close().await;
                let left = logs.hand_over(&to, &next.plan);
                closed.open_with(next.intake());
                left
            }
            _ => {
                // Whoever is answered by the lake is answered before its exports end.
                let closed = current.close().await;
                self.ended = self.end().await;
                closed.open_with(next.intake());
                Vec::new()
            }
        }
    }
}

/// The exports that are kept at work though nobody sends them anything: those of files.
fn followed(plan: &Plan) -> Plan {
    let exports = plan.exports.iter().filter(|export| export.source.input != Input::Http).cloned();
    Plan { exports: exports.collect(), ..plan.clone() }
}

/// Loads the plugins of all exports, and compares their settings with what they take.
fn check(session: &Session) -> Result<()> {
    for export in &session.plan.exports {
        session.load(export).map_err(|error| error.context(format_args!("export `{}`", export.name)))?;
    }
    Ok(())
}

/// The digests of plugins that come from a path. One that cannot be read has none.
fn digests(plan: &Plan, sandbox: &Sandbox) -> Digests {
    let plugins = plan.exports.iter().flat_map(ExportPlan::plugins).map(|used| &used.plugin);
    let of_paths = plugins.filter(|plugin| plugin.origin != PluginOrigin::BuiltIn);
    of_paths.filter_map(|plugin| Some((plugin.name.clone(), sandbox.digest(plugin).ok()?))).collect()
}
