//! Runs one export: opens everything, lets `spans.rs` loop, and answers with what was committed.

mod catalog;
mod clock;
mod columns;
mod dataset;
mod events;
mod fold;
mod gather;
mod joining;
mod keeper;
mod moves;
mod ownership;
mod replay;
mod snapshot;
mod span;
mod spans;
mod table;
mod table_letters;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::clock::WriteTime;
use self::dataset::Dataset;
use self::keeper::Keeper;
use self::replay::Replaying;
use self::spans::Run;
use self::table::Table;
use super::committer::{Commits, Provenance, overtaken};
use super::feed::Feed;
use super::lane::Lane;
use super::lanes::{self, Lanes};
use super::lookup::Tables;
use super::processed::Stages;
use super::replay::{Letters, Replay, Shared};
use super::times;
use crate::clock::Surroundings;
use crate::commit::{
    Author, Commit, Identity, Outcome, Partition, Published, Withdrawal, abandon, newest_owner, read_commits,
};
use crate::dataset::PassedOver;
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::layout::Period;
use crate::plan::{ExportPlan, Exports, Files, Input, PluginUse};
use crate::plugin::{Moment, Toolbox};
use crate::source::{self, Position, ReadOptions, Reader, Source};
use crate::telemetry::{CommitLog, ExportReport, Live, Owner, Pace, State, human, is_mostly_refused};

pub use self::clock::TOLERANCE;
pub use self::columns::{Answer, Asking};
pub use self::joining::Takes;
pub use self::ownership::{Hold, HoldSender, HoldState, WhenOwned, wait_for_owner};
pub use self::table::{Kept, Tabled};

/// How long a run that was replaced tries to remove what it staged.
const WITHDRAWING: Duration = Duration::from_secs(5);

/// Everything one run of an export needs.
pub struct Job {
    pub export: Arc<ExportPlan>,
    pub lake: Lake,
    /// Where the export's records come from.
    pub source: Arc<dyn Source>,
    /// What lookups may look into.
    pub tables: Tables,
    /// Told once this export's own table holds what its source had when it was first read to its end.
    pub settled: Option<watch::Sender<bool>>,
    pub toolbox: Arc<dyn Toolbox>,
    /// SHA-256 of every plugin, by name.
    pub plugins: BTreeMap<String, String>,
    pub surroundings: Surroundings,
    pub options: Options,
    pub live: Arc<Live>,
    /// Told how far the run has its partition.
    pub hold: HoldSender,
    /// Turns true when the run shall commit what it has read and stop.
    pub stop: watch::Receiver<bool>,
}

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Keep reading what is appended or added.
    pub follow: bool,
    /// Exports whose next snapshot holds every document.
    pub full: Vec<String>,
    /// Exports of events that are begun anew.
    pub again: Vec<String>,
    /// Of those, only this period is exported again.
    pub period: Option<Period>,
    /// The run is a replay of the exports' dead letters.
    pub replay: Option<Replay>,
    /// The answer to another process that is at work on an export.
    pub when_owned: WhenOwned,
    /// Somebody said that this machine's clock is right, where the last commit's time is ahead of it.
    pub trust_clock: bool,
    /// Threads that process.
    pub lanes: usize,
    /// Host and process, for people who read the log.
    pub writer: String,
}

impl Options {
    /// One run to the end of the sources, which leaves alone what another process runs.
    pub fn new(lanes: usize, writer: String) -> Options {
        Options {
            follow: false,
            full: Vec::new(),
            again: Vec::new(),
            period: None,
            replay: None,
            when_owned: WhenOwned::Refuse,
            trust_clock: false,
            lanes,
            writer,
        }
    }
}

/// Runs an export until its source ends or it is stopped. What was committed is in the report, whether or not an error ended it.
pub async fn run(job: Job) -> ExportReport {
    let started = Instant::now();
    let (name, partition) = (job.export.name.clone(), job.export.partition.clone());
    let (report, counts) = watch::channel(ExportReport { export: name.clone(), ..ExportReport::default() });
    let mut stages = Stages::default();
    let mut warnings = Vec::new();
    let mut passed_over = PassedOver::default();
    let mut refused = 0;
    let (lake, nonce, hold) = (job.lake.clone(), job.surroundings.nonce(), job.hold.clone());
    hold.begin(nonce);
    let is_of_events = job.export.exports == Exports::Events;
    let replays = job.options.replay.is_some();
    // Whoever says how many may be refused has thought of them.
    let judges = !job.options.follow && (replays || job.export.max_dead_letters.is_none());
    let told = (&mut warnings, &mut passed_over, &mut refused);
    let mut result = export(job, report, &mut stages, told).await;
    // An owner that was replaced meets files that it did not write, before it meets the log. Until its fence stands, the newest owner
    // is the one before it.
    if let Err(Error { kind: Kind::Lake | Kind::Fenced, .. }) = &result
        && matches!(hold.get().state, HoldState::Committing | HoldState::Published)
        && let Ok(Some(newest)) = newest_owner(&lake, &name, &partition).await
        && newest.nonce != nonce
    {
        result = Err(overtaken(Some(&newest.writer)));
    }
    if let Err(Error { kind: Kind::Fenced, .. }) = &result
        && matches!(hold.get().state, HoldState::Committing | HoldState::Published)
    {
        let lake = lake.retrying_for(WITHDRAWING);
        let overtaken = Withdrawal { lake: &lake, export: &name, partition: &partition, nonce };
        warnings.extend(withdraw(overtaken).await);
    }
    let mut report = counts.borrow().clone();
    if result.is_ok() && judges && is_mostly_refused(report.records_read, refused) {
        result = Err(match replays {
            true => mostly_refused_again(&report, refused),
            false => mostly_refused(&report, refused, is_of_events),
        });
    }
    report.seconds = started.elapsed().as_secs_f64();
    report.stages = stages;
    report.warnings = warnings;
    report.passed_over = passed_over;
    report.error = result.err();
    report
}

async fn export(
    job: Job,
    report: watch::Sender<ExportReport>,
    stages: &mut Stages,
    (warnings, passed_over, refused): (&mut Vec<String>, &mut PassedOver, &mut u64),
) -> Result<()> {
    let hold = job.hold.clone();
    let author = Author::this(job.export.flush.every);
    let identity = Identity { nonce: hold.get().owner, writer: job.options.writer.clone(), author };
    let (finals, final_positions) = std::sync::mpsc::channel();
    let (source, published) = (job.source.clone(), job.export.clone());
    let acknowledge = move |position: &Position| {
        source.published(&published, position);
        let _ = finals.send(position.clone());
    };
    let mut partition =
        Partition::look(job.lake.clone(), &job.export.name, &job.export.partition, identity, acknowledge).await?;
    // Before the owner of an export of the other type is overtaken.
    check_type(&job.export, partition.last())?;
    let is_dry = job.options.replay.as_ref().is_some_and(|replay| replay.dry_run);
    // Who writes nothing takes nothing over.
    let waited = match is_dry {
        true => Ok(true),
        false => {
            wait_for_owner(&job.export.name, &mut partition, job.options.when_owned, &hold, job.stop.clone()).await
        }
    };
    let is_published = match waited {
        // The normal end of a run that keeps on.
        Err(error) if error.kind == Kind::Interrupted && job.options.follow => return Ok(()),
        waited => waited?,
    };
    let is_pipe = matches!(job.export.source.input, Input::Stdin { .. }) && job.options.replay.is_none();
    // What a pipe brings cannot be read again, were another owner to come before the first of it is committed.
    if !is_published || is_pipe {
        hold.set(HoldState::TakingOver);
        if partition.take_over().await? == Outcome::Overtaken {
            return Err(overtaken(None));
        }
        hold.set(HoldState::Published);
    }
    let last = partition.last();
    let position = last.map(|commit| commit.position.clone()).unwrap_or_default();
    let mut series = last.map(|commit| commit.series.clone()).unwrap_or_default();
    check_type(&job.export, last)?;
    let full = job.options.full.contains(&job.export.name);
    let kept = last.and_then(|commit| commit.dataset.clone()).unwrap_or_default();
    let mut state = last.and_then(|commit| commit.table.clone());
    let mut last_write = last.map_or(i64::MIN, |commit| commit.write_time.timestamp_micros());
    let now = job.surroundings.clock.now();
    let store = job.lake.store_time().map(|time| time.timestamp_micros());
    let trusts_clock = job.options.trust_clock;
    let confirmed = clock::is_confirmed(now, store, trusts_clock) || clock::goes_on_from(kept.filed, now);
    let time = WriteTime::after(last_write, now, confirmed, &job.export.exports);
    if let Some(warning) = clock::warning(time, last_write, now, &job.export.exports) {
        tracing::warn!(export = job.export.name, "{warning}");
        warnings.push(warning);
    }
    if time == WriteTime::GoesBack {
        // Names are made of write times: none may come twice.
        let commits = read_commits(&job.lake, &job.export.name, &job.export.partition).await?;
        let times = commits.iter().map(|commit| commit.write_time.timestamp_micros());
        last_write = times.filter(|time| *time <= now).max().unwrap_or(i64::MIN);
        clock::go_back(&job.export, (last_write, now), &mut series, state.as_mut());
    }
    let table = match job.export.exports {
        Exports::Events | Exports::Tables(_) => None,
        Exports::Changes { mark_deletes, .. } => {
            Some(Table::new(state.unwrap_or_default(), mark_deletes, job.export.granularity, full))
        }
    };

    // What the configuration changes of tables' columns comes after all rows that there are.
    let write_time = job.surroundings.clock.now().max(last_write.saturating_add(1));
    let moment = Moment { write_time, seed: (job.surroundings.chance)() };
    let runtime = tokio::runtime::Handle::current();
    let (plan, toolbox, most) = (job.export.clone(), job.toolbox.clone(), job.options.lanes);
    let tables = job.tables.clone();
    let (read_before, untold) = (position.clone(), partition.has_passed_over());
    // Plugins may block while they are opened.
    let lanes = tokio::task::spawn_blocking(move || {
        // A plugin that seeds a generator of its own when it starts must not repeat another lane's.
        let opened = AtomicU64::new(0);
        let (lanes_plan, lanes_toolbox) = (plan.clone(), toolbox.clone());
        let open = move || {
            let moment = moment.at(&[opened.fetch_add(1, Ordering::Relaxed)]);
            Lane::open(lanes_plan.clone(), lanes_toolbox.clone(), &tables, runtime.clone(), moment)
        };
        let dataset = match &plan.exports {
            Exports::Tables(tables) => {
                let at = (kept, read_before);
                let mut dataset =
                    Dataset::open(tables.clone(), plan.clone(), toolbox.clone(), at, moment, (full, untold))?;
                dataset.trusts_clock = trusts_clock;
                Some(dataset)
            }
            _ => None,
        };
        Ok::<_, Error>((open_lanes(&plan, Box::new(open), most)?, dataset))
    });
    let (lanes, dataset) = lanes.await.map_err(|e| died(&e))??;

    let read = ReadOptions {
        follow: job.options.follow,
        live: job.live.clone(),
        run: format!("{:032x}", job.surroundings.nonce()),
        longest: source::longest_line(job.export.source.mapping.envelope, job.export.max_record_size),
    };
    let folder = partition.folder().to_owned();
    let (reader, replay) = match &job.options.replay {
        None => (job.source.open(&job.export, &position, read.clone())?, None),
        Some(Replay { selection, dry_run }) => {
            let (shared, envelope) = (Arc::<Shared>::default(), job.export.source.mapping.envelope);
            let letters = Letters::open(&job.lake, &folder, selection.clone(), envelope, shared.clone()).await?;
            (Box::new(letters) as Box<dyn Reader>, Some(Replaying::new(shared, *dry_run, report.clone())))
        }
    };
    if (is_published || partition.is_taken_over()) && replay.is_none() {
        job.source.published(&job.export, &position);
    }
    let mut feed = Feed::start(reader, final_positions, job.export.flush.bytes)?;
    job.live.set(State::AtWork, None);

    let provenance = Provenance { configuration: configuration_of(&job.export), plugins: job.plugins.clone() };
    let format = encoding_of(&job.export.format, &job.plugins);
    let (ended, spans) = mpsc::channel(1);
    let (published_sender, published) = watch::channel(Published { number: 0, series: Arc::new(series) });
    let log = CommitLog::new(job.export.name.clone(), job.live.clone(), job.options.follow);
    let owner = Owner {
        export: job.export.name.clone(),
        partition: job.export.partition.to_string(),
        writer: job.options.writer.clone(),
        epoch: 0,
    };
    let commits = Commits { provenance, published: published_sender, report, log, live: job.live.clone(), owner };
    let keeper = Keeper::new(partition, spans, commits, hold);

    let mut run = Run {
        plan: job.export,
        lake: job.lake,
        source: job.source,
        surroundings: job.surroundings,
        live: job.live,
        lanes,
        ended,
        published,
        format,
        folder,
        keeper,
        stage_root: String::new(),
        position,
        read,
        last_write,
        number: 0,
        span: None,
        latest: None,
        seconds: None,
        table,
        dataset,
        tables: job.tables,
        settled: job.settled,
        caught_up: false,
        has_reached: false,
        settles_with: 0,
        is_interrupted: false,
        renames: Pace::default(),
        dead_letters: 0,
        replay,
        stages,
    };
    let result = run.go(&mut feed, job.stop).await;
    warnings.extend(feed.warnings());
    warnings.extend(run.seconds.map(|time| times::seconds_as_milliseconds(&run.plan.source, time)));
    let now = run.surroundings.clock.now();
    warnings.extend(run.table.as_ref().and_then(|table| table.note(now)));
    warnings.extend(run.dataset.as_ref().and_then(|dataset| dataset.note(now)));
    if let Some(dataset) = &run.dataset {
        warnings.extend(dataset.note_passed_over());
        *passed_over = dataset.passed_over().clone();
    }
    let stopped = run.dataset.as_ref().and_then(Dataset::stopped);
    drop(feed);
    *refused = run.dead_letters;
    if let Some(replay) = &run.replay {
        *refused = replay.refused;
        replay.report_impossible();
    }
    let is_interrupted = run.is_interrupted;
    let settled = run.settled.take().filter(|_| run.has_reached);
    let published = run.published.clone();
    // The committer ends when its sender is gone, after what it was sent.
    let Run { keeper, ended, span, .. } = run;
    drop(ended);
    let committed = keeper.end().await;
    if let Some(span) = span {
        drop(span.pieces);
        abandon(span.stager).await;
    }
    let waiting = published.borrow().series.values().filter(|series| !series.pending.is_empty()).count() as u64;
    if waiting > 0 {
        warnings.push(format!("{} sealed files wait for their time to be over", human::count(waiting)));
    }
    // Where the committer failed, the run failed only because nobody took its span.
    committed.and(result)?;
    if let Some(stopped) = stopped {
        return Err(stopped);
    }
    if is_interrupted {
        return Err(interrupted());
    }
    // Whoever waits for this export's table is let on after the last commit, and not where there is none.
    if let Some(settled) = settled {
        settled.send_replace(true);
    }
    Ok(())
}

/// Removes what an owner staged that was replaced; the warning where it cannot.
async fn withdraw(overtaken: Withdrawal<'_>) -> Option<String> {
    match overtaken.sweep().await {
        Ok(0) => None,
        Ok(objects) => {
            tracing::info!(export = overtaken.export, objects, "removed what was staged and not committed");
            None
        }
        Err(error) => Some(format!(
            "what was staged and not committed stays in the lake until the next owner commits, since it could not be removed: {error}"
        )),
    }
}

/// Up to `most` lanes, of which the first is open.
fn open_lanes(plan: &ExportPlan, open: lanes::Open, most: usize) -> Result<Lanes> {
    let lanes = Lanes::new(open()?, open, most);
    if !lanes.appendable() && plan.files != Files::Rolling {
        let format = &plan.format.plugin.name;
        return Err(Error::config(format!(
            "format `{format}` is not appendable: its files can neither grow nor be sealed"
        ))
        .with_help(format!("set `files = \"rolling\"` in [exports.{}]", plan.name)));
    }
    Ok(lanes)
}

/// SHA-256 of an export's settings, as commits have it.
pub fn configuration_of(export: &ExportPlan) -> String {
    let settings = serde_json::to_vec(&export.settings).expect("settings have string keys only");
    hex::encode(Sha256::digest(settings))
}

/// What a format's files are encoded with: of the SHA-256 of the plugin and its settings so much that no two are the same.
pub fn encoding_of(format: &PluginUse, plugins: &BTreeMap<String, String>) -> Arc<str> {
    let digest = plugins.get(&format.plugin.name).map_or("", String::as_str);
    hex::encode(&Sha256::digest(format!("{digest} {}", format.config))[..8]).into()
}

/// Refuses an export that ran as the other type before: a table needs every change from the first one on.
fn check_type(export: &ExportPlan, last: Option<&Commit>) -> Result<()> {
    let Some(last) = last else { return Ok(()) };
    let before = match (&last.table, &last.dataset) {
        (Some(_), _) => "changes",
        (None, Some(_)) => "table",
        (None, None) => "events",
    };
    let now = export.exports.name();
    if now == before {
        return Ok(());
    }
    let name = &export.name;
    let message = format!("export `{name}` has `type = \"{now}\"`, and its log in the lake is of type `{before}`");
    Err(Error::config(message)
        .with_help(format!("give it another name than `{name}`, so that it begins anew; or set the type back")))
}

/// The error of a run that refused most of what it read, and committed the rest.
fn mostly_refused(report: &ExportReport, refused: u64, is_of_events: bool) -> Error {
    let (refused, records) = (human::count(refused), human::count(report.records_read));
    let name = &report.export;
    let again = match is_of_events {
        true => format!("`lakeport run --again {name}` reads everything once more"),
        false => "`lakeport dead-letters --raw` prints them, to be read again".to_owned(),
    };
    Error::new(Kind::Data, format!("{refused} of {records} records were refused")).with_help(format!(
        "`lakeport dead-letters --export {name}` shows them and why; with the configuration corrected, {again}"
    ))
}

/// The error of a replay that most letters were refused in once more.
fn mostly_refused_again(report: &ExportReport, refused: u64) -> Error {
    let (refused, records, name) = (human::count(refused), human::count(report.records_read), &report.export);
    Error::new(Kind::Data, format!("{refused} of {records} dead letters were refused again")).with_help(format!(
        "`lakeport dead-letters --export {name} --by-reason` shows why; with the configuration or the plugin corrected, replay them \
         once more"
    ))
}

/// The error of a run that somebody stopped before it was done.
pub fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "stopped by Ctrl-C or SIGTERM before the source was read to its end")
        .with_help("what was read is committed; run again to go on from there")
}

fn died(why: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("a task of the export died: {why}"))
}
