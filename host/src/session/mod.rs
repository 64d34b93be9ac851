//! An installation at work: opens the lakes and plugins of a [`Plan`] and runs its exports side by side.

mod again;
mod lakes;
mod notes;
mod replay;
mod supervise;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::watch;

use crate::clock::Surroundings;
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::pipeline::{self, Job, Options, Tables};
use crate::plan::{ExportPlan, LakePlan, Plan, PluginPlan, PluginUse};
use crate::plugin::lock::{Lock, Pinned};
use crate::plugin::{Loaded, PluginKind, Sandbox};
use crate::source::Source;
use crate::telemetry::{ExportReport, Live};
use crate::wait::until;
pub use again::{Before, path_of_period};
pub use lakes::Lakes;
use notes::Notes;

/// What a session runs with.
#[derive(Clone)]
pub struct Session {
    pub plan: Arc<Plan>,
    pub sandbox: Sandbox,
    /// The lakes that are open.
    pub lakes: Lakes,
    /// Where exports' records come from.
    pub source: Arc<dyn Source>,
    pub surroundings: Surroundings,
    pub options: Options,
}

impl Session {
    /// A session of the exports of `plan`, whose records come from `source`, with no lake open yet.
    pub fn new(plan: Arc<Plan>, sandbox: Sandbox, source: Arc<dyn Source>, options: Options) -> Session {
        Session { plan, sandbox, lakes: Lakes::default(), source, surroundings: Surroundings::system(), options }
    }

    /// Runs every export until its source ends or `stop` turns true. An export that fails does not stop the others, and one that
    /// follows its source runs again where the failure may pass.
    ///
    /// `live` has an entry for every export, in the plan's order.
    pub async fn run(&self, live: &[Arc<Live>], stop: watch::Receiver<bool>) -> Vec<ExportReport> {
        let keep_tables = self.plan.exports.iter().filter(|export| export.keeps_table());
        let (mut settle, settled): (BTreeMap<_, _>, BTreeMap<_, _>) = keep_tables
            .map(|export| (export.name.clone(), watch::channel(false)))
            .map(|(name, (sender, receiver))| ((name.clone(), sender), (name, receiver)))
            .unzip();
        let tables = Tables::new(self.plan.tables.clone(), settled);
        let runs = self.plan.exports.iter().zip(live).map(|(export, live)| {
            let (session, export, live, stop) = (self.clone(), Arc::new(export.clone()), live.clone(), stop.clone());
            let settle = settle.remove(&export.name);
            // Only events wait for tables: tables that waited for each other would wait for ever.
            let tables = if export.keeps_table() { tables.as_committed() } else { tables.clone() };
            session.supervise(export, settle, tables, live, stop)
        });
        join_all(runs).await
    }

    /// Runs one partition of an export until its source ends or `stop` turns true. Lookups find what is committed.
    pub async fn run_partition(
        self,
        export: Arc<ExportPlan>,
        live: Arc<Live>,
        stop: watch::Receiver<bool>,
    ) -> ExportReport {
        let tables = Tables::new(self.plan.tables.clone(), BTreeMap::new()).as_committed();
        self.supervise(export, None, tables, live, stop).await
    }

    async fn run_one(
        self,
        export: Arc<ExportPlan>,
        settle: Option<watch::Sender<bool>>,
        tables: Tables,
        live: Arc<Live>,
        mut stop: watch::Receiver<bool>,
        notes: Arc<Notes>,
    ) -> ExportReport {
        let failed =
            |error| ExportReport { export: export.name.clone(), error: Some(error), ..ExportReport::default() };
        let ending = stop.clone();
        let opened = async {
            // A plugin that prints while it is opened needs a thread on which blocking is allowed.
            let (session, loading) = (self.clone(), export.clone());
            let plugins = tokio::task::spawn_blocking(move || session.load(&loading)).await;
            let plugins = plugins.map_err(|e| Error::internal(format!("loading plugins died: {e}")))??;
            // Who writes nothing opens a lake as a reader does.
            if self.options.replay.as_ref().is_some_and(|replay| replay.dry_run) {
                let lake = Lake::open_for_lookups(&export.lake).await?.for_run(live.retries.clone(), ending);
                return Ok((plugins, lake));
            }
            let lake = self.open_lake(&export.lake, plugins.values(), &live, &ending).await?;
            Ok((plugins, lake))
        };
        let opened = tokio::select! {
            opened = opened => opened,
            // A store that does not answer must not keep a run from ending.
            Ok(()) = until(&mut stop, |stop| *stop) => Err(pipeline::interrupted()),
        };
        let (plugins, lake) = match opened {
            Ok(opened) => opened,
            Err(error) => return failed(error),
        };
        // The lake that the notes go to stays the first one that was opened: it is the same.
        notes.lake.get_or_init(|| lake.clone());
        let toolbox = Arc::new(self.sandbox.toolbox());
        live.begin(toolbox.clone());
        let job = Job {
            export: export.clone(),
            lake,
            source: self.source.clone(),
            tables,
            settled: settle,
            toolbox: toolbox.clone(),
            plugins: plugins.iter().map(|(name, plugin)| (name.clone(), plugin.digest.clone())).collect(),
            surroundings: self.surroundings.clone(),
            options: self.options.clone(),
            live,
            hold: notes.hold.clone(),
            stop,
        };
        let mut report = pipeline::run(job).await;
        report.plugins = toolbox.usage();
        if report.error.as_ref().is_some_and(|error| error.kind == Kind::Lake) {
            self.lakes.forget(&export.lake).await;
        }
        report
    }

    /// Opens the lake of an export and loads its plugins, so that its runs find both.
    ///
    /// # Errors
    /// As of [`Lake::open`] and [`Session::load`].
    pub async fn open(&self, export: &ExportPlan) -> Result<()> {
        let (session, loading) = (self.clone(), export.clone());
        // A plugin that prints while it is opened needs a thread on which blocking is allowed.
        let plugins = tokio::task::spawn_blocking(move || session.load(&loading)).await;
        let plugins = plugins.map_err(|panic| Error::internal(format!("loading plugins died: {panic}")))??;
        self.lakes.open(&export.lake, plugins.values(), self.surroundings.clock.now()).await.map(drop)
    }

    /// Opens a lake that keeps `plugins` for a run: its retries are counted and shown in `live`, and its waits end with `stop`.
    async fn open_lake<'a>(
        &self,
        plan: &Arc<LakePlan>,
        plugins: impl Iterator<Item = &'a Arc<Loaded>>,
        live: &Live,
        stop: &watch::Receiver<bool>,
    ) -> Result<Lake> {
        let lake = self.lakes.open(plan, plugins, self.surroundings.clock.now()).await?;
        Ok(lake.for_run(live.retries.clone(), stop.clone()))
    }

    /// Compares the plugins that are loaded by path with the lock file beside the configuration, before anything of them is
    /// compiled or run. `accept` puts new ones that can be loaded into it.
    ///
    /// # Errors
    /// Of kind `Config` where a component is not the one that was accepted, or the lock file cannot be read or written.
    pub fn pin(&self, accept: bool) -> Result<()> {
        let mut lock = Lock::read(&self.plan.path)?;
        let plugins = || self.plan.exports.iter().flat_map(ExportPlan::plugins).map(|used| &used.plugin);
        let mut new = BTreeMap::new();
        for plugin in plugins() {
            // One that cannot be read stops its own export, and says so there.
            let Ok(digest) = self.sandbox.digest(plugin) else { continue };
            if self.check_pinned(&lock, plugin)? == Pinned::New {
                new.insert(&plugin.name, (plugin, digest));
            }
        }
        if !accept {
            return Ok(());
        }
        let mut has_new = false;
        for (name, (plugin, digest)) in new {
            if self.sandbox.load(plugin).is_ok() {
                tracing::info!(plugin = name, sha256 = digest, "the plugin is new: the lock file has it from now on");
                lock.accept(name, &digest);
                has_new = true;
            }
        }
        if has_new { lock.write() } else { Ok(()) }
    }

    /// Refuses a plugin that differs from the one in the lock file.
    fn check_pinned(&self, lock: &Lock, plugin: &PluginPlan) -> Result<Pinned> {
        match lock.check(plugin, &self.sandbox.digest(plugin)?) {
            Pinned::Differs { accepted, found } => Err(lock.refusal(&plugin.name, &accepted, &found)),
            pinned => Ok(pinned),
        }
    }

    /// Loads the plugins of an export and checks their settings, by the name that the configuration uses.
    ///
    /// # Errors
    /// Of kind `Config` where a plugin is not the one in the lock file, is of the wrong kind, or a setting is wrong; as for
    /// [`Sandbox::load`] otherwise.
    pub fn load(&self, export: &ExportPlan) -> Result<BTreeMap<String, Arc<Loaded>>> {
        let places = [
            (PluginKind::Filter, "filters", export.filters.as_slice()),
            (PluginKind::Transform, "transforms", export.transforms.as_slice()),
            (PluginKind::Format, "format", std::slice::from_ref(&export.format)),
        ];
        let lock = Lock::read(&self.plan.path)?;
        let mut plugins = BTreeMap::new();
        for (kind, place, uses) in places {
            for PluginUse { plugin, config } in uses {
                // It may have come only now to where it could not be read before.
                let _ = self.check_pinned(&lock, plugin)?;
                let loaded = self.sandbox.load(plugin)?;
                if loaded.kind != kind {
                    let message = format!("plugin `{}` is a {}, and stands in `{place}`", plugin.name, loaded.kind);
                    return Err(Error::config(message).with_help(format!("`{place}` takes a {kind}")));
                }
                loaded.check_config(config)?;
                plugins.insert(plugin.name.clone(), loaded);
            }
        }
        Ok(plugins)
    }
}

/// An error for a line of a log: its message, and what to do.
fn one_line(error: &Error) -> String {
    match &error.help {
        Some(help) => format!("{} ({help})", error.message),
        None => error.message.clone(),
    }
}
