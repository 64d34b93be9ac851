//! `lakeport status`: how far each export is.

mod text;
mod watch;

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::future::try_join_all;
use serde::Serialize;

use super::{Config, describe, written};
use lakeport::commit::{Author, Commit, Health, HealthState, read_last, read_partitions};
use lakeport::dataset::{DatasetState, PassedOver, Sync, TableEntry, rfc3339};
use lakeport::error::{Error, Result};
use lakeport::lake::Lake;
use lakeport::plan::{ExportPlan, Plan, SOLE_PARTITION};
use lakeport::source::Cursor;
use lakeport::telemetry::human::printable;

use self::text::render;

/// Show how far each export is: position, files, dead letters, last commit
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// Print one JSON object; with `--watch`, one a line
    #[arg(long)]
    pub json: bool,
    /// Show it again and again, what is wrong first; q or Ctrl-C ends
    #[arg(long, value_name = "EVERY", num_args = 0..=1, require_equals = true, default_missing_value = "2s", value_parser = interval)]
    pub watch: Option<Duration>,
}

/// How often the status is shown.
fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(every) if every >= Duration::from_millis(100) => Ok(every),
        _ => Err("expected a time of at least 100 ms, such as `5s`".to_owned()),
    }
}

/// Writes how far the exports are to `out`.
pub fn run(args: &Args, out: &mut dyn std::io::Write) -> Result<()> {
    let plan = args.config.load()?;
    let runtime = super::runtime()?;
    match args.watch {
        Some(every) => runtime.block_on(watch::watch(&plan, every, args.json, out)),
        None => {
            let exports = runtime.block_on(look_at(&plan))?;
            written(out.write_all(render(&exports, args.json).as_bytes()))
        }
    }
}

/// Looks at every export of a plan.
///
/// # Errors
/// Of kind `Lake`.
pub async fn look_at(plan: &Plan) -> Result<Vec<ExportStatus>> {
    Ok(try_join_all(plan.exports.iter().map(look_at_all)).await?.concat())
}

/// Looks at every partition of an export.
async fn look_at_all(export: &ExportPlan) -> Result<Vec<ExportStatus>> {
    let lake = Lake::open_read_only(&export.lake).await?;
    let partitions = read_partitions(&lake, &export.name).await?;
    try_join_all(partitions.iter().map(async |partition| look(&lake, &export.of_partition(partition)).await)).await
}

async fn look(lake: &Lake, export: &ExportPlan) -> Result<ExportStatus> {
    let last = read_last(lake, &export.name, &export.partition).await?;
    if last.is_none() && lake.is_container_missing().await? {
        return Err(no_such_place(export));
    }
    let health = Health::read(lake, &export.name, &export.partition).await?.map(|health| or_silent(health, lake.now()));
    let standby = Health::read_standby(lake, &export.name, &export.partition).await?;
    // A standby that was killed leaves its note.
    let standby = standby.filter(|standby| at_work_lately(standby, lake.now()));
    let totals = last.as_ref().map(|(_, commit)| commit.totals).unwrap_or_default();
    let reached = |cursor: &Cursor| Reached { origin: cursor.origin.name.to_string(), next: cursor.next };
    Ok(ExportStatus {
        export: export.name.clone(),
        partition: (&*export.partition != SOLE_PARTITION).then(|| export.partition.to_string()),
        lake: export.lake.name.clone(),
        state: health.map(ExportState::of),
        standby: standby.map(ExportState::of),
        waiting_files: last.as_ref().map_or(0, |(_, commit)| waiting_files(commit)),
        files: totals.files,
        bytes_read: totals.bytes_read,
        records_read: totals.records_read,
        bytes_written: totals.bytes_written,
        records: totals.records_written,
        dead_letters: totals.dead_letters,
        replayed: totals.replayed,
        commits: totals.commits,
        position: last
            .iter()
            .flat_map(|(_, commit)| &commit.position.cursors)
            .filter(|c| !c.copied)
            .map(reached)
            .collect(),
        documents: last.as_ref().and_then(|(_, commit)| commit.table.as_ref()).map(|table| Documents {
            keys: table.keys,
            waiting: table.waiting,
            ignored: table.ignored,
            full: table.full,
            next_snapshot: table
                .written_until
                .and_then(DateTime::from_timestamp_micros)
                .map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)),
        }),
        tables: last.as_ref().map_or_else(Vec::new, |(_, commit)| table_states(commit)),
        passed_over: last
            .as_ref()
            .and_then(|(_, commit)| commit.dataset.as_ref())
            .map_or_else(PassedOver::default, |dataset| dataset.passed_over.clone()),
        last_commit: last.map(|(number, commit)| LastCommit {
            number,
            epoch: commit.epoch,
            time: commit.write_time.to_rfc3339_opts(SecondsFormat::Micros, true),
        }),
    })
}

/// What the commit log says of one export.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExportStatus {
    pub export: String,
    /// The partition of its source, where that is not the sole one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The lake's name.
    pub lake: String,
    /// As the process that runs it, or the last one, has noted it; `None` before the first run.
    pub state: Option<ExportState>,
    /// The process that waits for the one that runs it to end.
    pub standby: Option<ExportState>,
    /// Sealed files that wait for their time to be over.
    pub waiting_files: u64,
    pub files: u64,
    /// Of the source.
    pub bytes_read: u64,
    pub records_read: u64,
    /// Of files.
    pub bytes_written: u64,
    pub records: u64,
    /// Records that were refused; those of them that `lakeport replay` has exported since.
    pub dead_letters: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub replayed: u64,
    pub commits: u64,
    /// `None` where nothing was ever committed.
    pub last_commit: Option<LastCommit>,
    pub position: Vec<Reached>,
    /// Of exports of changes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<Documents>,
    /// Of exports of tables only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableState>,
    /// Records of kinds that no table has; of exports of tables only.
    #[serde(skip_serializing_if = "PassedOver::is_empty")]
    pub passed_over: PassedOver,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl ExportStatus {
    /// An export that never ran.
    #[cfg(test)]
    pub fn new(export: &str, lake: &str) -> Self {
        ExportStatus {
            export: export.into(),
            partition: None,
            lake: lake.into(),
            state: None,
            standby: None,
            waiting_files: 0,
            files: 0,
            bytes_read: 0,
            records_read: 0,
            bytes_written: 0,
            records: 0,
            dead_letters: 0,
            replayed: 0,
            commits: 0,
            documents: None,
            tables: Vec::new(),
            passed_over: PassedOver::default(),
            last_commit: None,
            position: Vec::new(),
        }
    }

    /// The export's name, with its partition where it has several.
    pub fn name(&self) -> String {
        match &self.partition {
            Some(partition) => format!("{}/{}", self.export, printable(partition)),
            None => self.export.clone(),
        }
    }
}

/// The state of an export.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExportState {
    pub state: HealthState,
    /// RFC 3339.
    pub since: String,
    /// Host and process that run it, or ran it.
    pub by: String,
    /// Why, where it is not healthy.
    pub reason: Option<String>,
}

impl ExportState {
    fn of(health: Health) -> Self {
        let since = health.since.to_rfc3339_opts(SecondsFormat::Secs, true);
        ExportState { state: health.state, since, by: health.writer, reason: health.reason }
    }
}

/// The note as it is; silent where its writer was at work and gave no sign of life for too long. Notes of earlier versions are not
/// renewed.
fn or_silent(note: Health, now: DateTime<Utc>) -> Health {
    let is_silent = note.state == HealthState::Healthy && note.author.is_some() && !at_work_lately(&note, now);
    Health { state: if is_silent { HealthState::Silent } else { note.state }, ..note }
}

/// Tells whether the writer of a note has renewed it in time.
fn at_work_lately(note: &Health, now: DateTime<Utc>) -> bool {
    let patience = note.author.as_ref().map(Author::patience);
    let age = note.noted.map(|noted| (now - noted).to_std().unwrap_or_default());
    patience.zip(age).is_some_and(|(patience, age)| age < patience)
}

/// Files whose segments are committed and wait to be put together.
pub fn waiting_files(commit: &Commit) -> u64 {
    commit.series.values().filter(|series| !series.pending.is_empty()).count() as u64
}

fn no_such_place(export: &ExportPlan) -> Error {
    let place = describe::location(&export.lake.location);
    Error::lake(format!("the container or bucket of `{place}` does not exist")).with_help(format!(
        "check `url` in [lakes.{}]; if it is right, `lakeport run` creates what it can",
        export.lake.name
    ))
}

/// One table of an export of tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableState {
    pub table: String,
    pub sync: Sync,
    /// When the initial sync was completed, RFC 3339.
    pub synced: Option<String>,
    /// Why nothing of it is exported any more.
    pub stopped: Option<String>,
    /// Rows that are there.
    pub rows: u64,
    pub columns: usize,
    /// The files that readers are pointed at.
    pub files: usize,
    /// Partitions that changed since the last snapshot.
    pub waiting: usize,
    /// When the last snapshot of any table was written, RFC 3339.
    pub snapshot: Option<String>,
}

impl TableState {
    /// How far its initial sync is, for people.
    pub fn state(&self) -> String {
        match (&self.stopped, self.sync, &self.synced) {
            (Some(_), ..) => "stopped".to_owned(),
            (None, Sync::NotStarted, _) => "not started".to_owned(),
            (None, Sync::InProgress, _) => "in progress".to_owned(),
            (None, Sync::Completed, Some(at)) => format!("completed {at}"),
            (None, Sync::Completed, None) => "completed".to_owned(),
        }
    }
}

/// What a commit says of its tables, by name.
pub fn table_states(commit: &Commit) -> Vec<TableState> {
    commit.dataset.as_ref().map_or_else(Vec::new, states_of)
}

/// How far the tables of a dataset are, by name.
pub fn states_of(dataset: &DatasetState) -> Vec<TableState> {
    let state = |(name, entry): (&String, &TableEntry)| TableState {
        table: name.clone(),
        sync: entry.sync,
        synced: entry.synced.map(rfc3339),
        stopped: entry.stopped.clone(),
        rows: entry.rows.keys,
        columns: entry.schema.columns.iter().filter(|column| !column.retired).count(),
        files: entry.files.values().map(Vec::len).sum(),
        waiting: entry.changed.len(),
        snapshot: dataset.snapshot.map(rfc3339),
    };
    dataset.tables.iter().map(state).collect()
}

/// The table of an export of changes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Documents {
    /// How many there are.
    pub keys: u64,
    /// Keys that changed since the last snapshot.
    pub waiting: u64,
    /// Changes that were not newer than what was known, since the export began.
    pub ignored: u64,
    /// The next snapshot is to hold every document.
    pub full: bool,
    /// When the next snapshot may be written, RFC 3339; `None` where there was none yet.
    pub next_snapshot: Option<String>,
}

/// The newest commit of an export.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastCommit {
    /// Its number in the log.
    pub number: u64,
    /// Its owner's epoch.
    pub epoch: u64,
    /// Its write time, RFC 3339.
    pub time: String,
}

/// How far one file, or one run of standard input, was exported.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reached {
    pub origin: String,
    /// Bytes exported, of the decompressed content.
    pub next: u64,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::expect;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/status");

    fn export(name: &str, origins: usize) -> ExportStatus {
        ExportStatus {
            files: 6,
            bytes_read: 61_234_567,
            records_read: 204_000,
            bytes_written: 58_000_000,
            records: 203_114,
            dead_letters: 2,
            replayed: 0,
            commits: 3,
            last_commit: Some(LastCommit { number: 7, epoch: 2, time: "2019-09-10T11:12:13.000001Z".into() }),
            position: (0..origins)
                .map(|number| Reached { origin: format!("/data/{number}.ndjson"), next: number as u64 * 1_000 })
                .collect(),
            ..ExportStatus::new(name, "main")
        }
    }

    #[test]
    fn an_owner_that_was_killed_is_silent_after_a_while() {
        let time = |seconds| DateTime::from_timestamp(seconds, 0);
        let note = |state, author| {
            let (since, noted, writer) = (time(0).unwrap(), time(0), "host:17".to_owned());
            Health { state, since, reason: None, writer, owner: Some(1), author, ended: None, noted }
        };
        let author = Some(Author { process: None, interval: 60 });
        let shown =
            |state, author: &Option<Author>, now| or_silent(note(state, author.clone()), time(now).unwrap()).state;
        assert_eq!(shown(HealthState::Healthy, &author, 119), HealthState::Healthy);
        assert_eq!(shown(HealthState::Healthy, &author, 120), HealthState::Silent);
        assert_eq!(shown(HealthState::Ended, &author, 120), HealthState::Ended);
        assert_eq!(shown(HealthState::Healthy, &None, 120), HealthState::Healthy);
    }

    #[test]
    fn a_status_shows_every_export_and_where_it_stands() {
        let documents = Documents {
            keys: 1_000,
            waiting: 12,
            ignored: 3,
            full: false,
            next_snapshot: Some("2019-09-10T11:13:00Z".into()),
        };
        let devices = ExportStatus { documents: Some(documents), ..export("devices", 1) };
        let new =
            ExportStatus { files: 0, records: 0, dead_letters: 0, commits: 0, last_commit: None, ..export("new", 0) };
        let table = |table: &str, sync, stopped: Option<&str>| TableState {
            table: table.into(),
            sync,
            synced: (sync == Sync::Completed).then(|| "2019-09-10T11:12:13.000Z".into()),
            stopped: stopped.map(str::to_owned),
            rows: 1_000_000,
            columns: 12,
            files: 3,
            waiting: 1,
            snapshot: Some("2019-09-10T11:12:13.000Z".into()),
        };
        let tables = vec![
            table("account", Sync::Completed, None),
            table("contact", Sync::InProgress, None),
            table("lead", Sync::Completed, Some("column `size` of table `lead` was `int64` and is `string` now")),
        ];
        let crm = ExportStatus { tables, ..export("crm", 1) };
        let state = |state, reason: Option<&str>| {
            let (since, by) = ("2019-09-10T11:12:13Z".to_owned(), "host:17".to_owned());
            Some(ExportState { state, since, by, reason: reason.map(str::to_owned) })
        };
        let standby = state(HealthState::Standby, Some("`host:16` runs it"));
        let signals = ExportStatus { state: state(HealthState::Healthy, None), standby, ..export("signals", 2) };
        let waits = state(HealthState::Waiting, Some("`in/a` cannot be read: permission denied"));
        let brews = ExportStatus { state: waits, waiting_files: 3, ..export("brews", 25) };
        let exports = [signals, brews, new, devices, crm];
        expect(&Path::new(FOLDER).join("three.txt"), &render(&exports, false));
        let json: serde_json::Value = serde_json::from_str(&render(&exports, true)).unwrap();
        assert_eq!(json["exports"][1]["position"].as_array().unwrap().len(), 25);
        assert_eq!(json["exports"][2]["last-commit"], serde_json::Value::Null);
    }
}
