//! The tables of an export as of one commit: everything there is to know of them besides the files.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, SecondsFormat};
use serde::{Deserialize, Serialize};

use super::{KeyGuids, PassedOver, SchemaVersions, Sync, TableName, TableSchema, is_guid_column};
use crate::layout::encode_segment;
use crate::plan::Partition;
use crate::source::Position;
use crate::table::{Gone, TableState};

/// All tables of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DatasetState {
    /// The folder that its files are in, below the lake's root; empty before the first commit.
    #[serde(default)]
    pub root: String,
    /// Of its files, without the dot.
    #[serde(default)]
    pub extension: String,
    /// The format's name and settings, as JSON.
    #[serde(default)]
    pub format: String,
    /// The linked ones, by name.
    pub tables: BTreeMap<String, TableEntry>,
    /// The write time of the last snapshot. Microseconds since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<i64>,
    /// The time that the last commit partitioned new rows by, where that was not its write time: a clock was ahead once. Microseconds
    /// since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filed: Option<i64>,
    /// The next snapshot holds every partition.
    #[serde(default)]
    pub full: bool,
    /// Stands for what the catalog says, but for when it was written; empty where there is no catalog yet.
    #[serde(default)]
    pub catalog: String,
    /// Records that no table takes, since the export began.
    #[serde(default, skip_serializing_if = "PassedOver::is_empty")]
    pub passed_over: PassedOver,
    /// Tables that were linked when the source had been read already: they are read from its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining: Option<Joining>,
}

/// Tables that are catching up with the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Joining {
    pub tables: BTreeSet<String>,
    /// Up to here their records were exported.
    pub position: Position,
    /// They have caught up: what the source is read for the others beyond `position` is theirs too.
    #[serde(default)]
    pub arrived: bool,
}

/// One table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableEntry {
    /// [`crate::plan::TablePlan::link`] when it began.
    pub link: u64,
    /// [`crate::plan::TablePlan::kinds_text`] and [`crate::plan::TablePlan::key`] when it began.
    pub kind: String,
    pub key: Vec<String>,
    pub sync: Sync,
    /// When the initial sync was completed. Microseconds since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<i64>,
    /// Why nothing of it is exported any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The table that each of its kinds has turned out to be, by kind; in the place of patterns stands what they match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub origins: BTreeMap<String, TableName>,
    /// The columns of the key that records say hold GUIDs, by pointer: rows are kept under them in lower case.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub guids: BTreeSet<String>,
    /// The columns, as of the last record.
    pub schema: TableSchema,
    /// The versions of what is known of the columns.
    #[serde(default)]
    pub schema_versions: SchemaVersions,
    /// The version of the newest truncation: what is older is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<i64>,
    /// Members of rows that no column can be: the format cannot write them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left_out: BTreeSet<String>,
    /// The columns that its files have; `None` before the first snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<TableSchema>,
    /// The newest version of every row.
    pub rows: TableState,
    /// Where every version is kept: those that are in no file yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<TableState>,
    /// The number of the next version.
    #[serde(default)]
    pub next_version: u64,
    /// The files that readers are pointed at, by partition, oldest first.
    #[serde(default, with = "by_partition")]
    pub files: BTreeMap<i32, Vec<FileEntry>>,
    /// Files that newer ones have taken the place of, by partition.
    #[serde(default, with = "by_partition", skip_serializing_if = "BTreeMap::is_empty")]
    pub retired: BTreeMap<i32, Vec<Retired>>,
    /// Partitions that changed since the last snapshot.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub changed: BTreeSet<i32>,
    /// Rows are partitioned by month: what partitions' numbers count.
    #[serde(default)]
    pub monthly: bool,
}

/// A file of a partition: its name follows from when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileEntry {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub written: i64,
    pub rows: u64,
}

/// A file that is only there for readers that are still on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Retired {
    pub written: i64,
    /// The partition's number counts months.
    pub monthly: bool,
    /// When its place was taken. Microseconds since 1970-01-01T00:00:00Z.
    pub since: i64,
}

impl TableEntry {
    /// Whether the next snapshot has something to write of it.
    pub fn has_news(&self) -> bool {
        self.stopped.is_none()
            && (!self.changed.is_empty() || self.published.as_ref().is_some_and(|p| *p != self.schema))
    }

    /// Whether readers have been given versions of its rows, which cannot be taken back.
    pub fn has_recorded_versions(&self) -> bool {
        self.versions.is_some() && self.published.is_some()
    }

    /// Whether a snapshot may hold it.
    pub fn is_readable(&self) -> bool {
        self.sync == Sync::Completed && self.stopped.is_none() && !self.schema.columns.is_empty()
    }

    /// Notes which columns of the key hold GUIDs by now. Answers whether that is news: rows may be kept under another key then.
    pub fn take_guids(&mut self) -> bool {
        let before = self.guids.len();
        self.guids.extend(self.key.iter().filter(|pointer| is_guid_column(pointer, &self.schema)).cloned());
        self.guids.len() > before
    }

    /// Which columns of the key hold GUIDs.
    pub fn key_guids(&self) -> KeyGuids {
        KeyGuids::new(&self.key, |pointer| self.guids.contains(pointer))
    }

    /// The columns that are null in earlier rows.
    pub fn gone(&self) -> Vec<Gone> {
        self.schema_versions.gone(&self.schema)
    }

    /// The objects of its state in the lake.
    pub fn state_objects(&self) -> impl Iterator<Item = &str> {
        let versions = self.versions.iter().flat_map(|versions| &versions.runs);
        self.rows.runs.iter().chain(versions).map(|run| run.key.as_str())
    }

    /// Retires a partition's file.
    pub fn retire(&mut self, partition: i32, file: FileEntry, since: i64) {
        self.retired.entry(partition).or_default().push(Retired {
            written: file.written,
            monthly: self.monthly,
            since,
        });
    }

    /// Says that no file's place was taken after `now`.
    pub fn retired_by(&mut self, now: i64) {
        self.retired.values_mut().flatten().for_each(|file| file.since = file.since.min(now));
    }

    /// Takes out the retired files whose place was taken before `before`, each with its partition.
    pub fn expire(&mut self, before: i64) -> Vec<(i32, Retired)> {
        let mut expired = Vec::new();
        self.retired.retain(|partition, files| {
            let (gone, kept) = files.iter().partition::<Vec<Retired>, _>(|file| file.since < before);
            expired.extend(gone.into_iter().map(|file| (*partition, file)));
            *files = kept;
            !files.is_empty()
        });
        expired
    }
}

/// The number of the partition that holds rows created at `time`: the year, or the year times 100 and the month.
pub fn partition_of(time: i64, by: Partition) -> Option<i32> {
    let date = DateTime::from_timestamp_micros(time)?;
    let year = date.year();
    (0..=9999).contains(&year).then(|| match by {
        Partition::Year => year,
        Partition::Month => year * 100 + date.month() as i32,
    })
}

/// A partition as readers see it: `2020`, `2020-05`.
pub fn period(partition: i32, monthly: bool) -> String {
    match monthly {
        false => format!("{partition:04}"),
        true => format!("{:04}-{:02}", partition / 100, partition % 100),
    }
}

/// The key of a file, below the dataset's root. No two commits have the same time.
pub fn file_key(table: &str, partition: i32, monthly: bool, written: i64, extension: &str) -> String {
    let time = DateTime::from_timestamp_micros(written).unwrap_or_default();
    let (table, period) = (encode_segment(table), period(partition, monthly));
    format!("{table}/Snapshot/{period}_{}.{extension}", time.format("%Y%m%dT%H%M%S%6fZ"))
}

/// Partitions as pairs: what a commit is read through knows numbers as values only.
mod by_partition {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer, V: Serialize>(
        map: &BTreeMap<i32, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<i32, V>, D::Error> {
        Ok(Vec::<(i32, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// What to say of a table of an export that has rows while nothing has said which columns it has.
pub fn no_columns(export: &str, table: &str) -> String {
    format!(
        "table `{table}` has rows, and no record said what columns it has: set `columns = \"infer\"` in \
         [exports.{export}.tables.{table}], or list them there"
    )
}

/// A time as catalogs have it.
pub fn rfc3339(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::versions::Told;
    use crate::dataset::{Column, DataType};

    const MAY_2024: i64 = 1_715_500_000_000_000;

    #[test]
    fn partitions_are_years_and_months_of_creation() {
        let of = |time, by| partition_of(time, by).map(|partition| period(partition, by == Partition::Month));
        assert_eq!(of(MAY_2024, Partition::Year).unwrap(), "2024");
        assert_eq!(of(MAY_2024, Partition::Month).unwrap(), "2024-05");
        assert_eq!(of(-1, Partition::Month).unwrap(), "1969-12");
        assert_eq!(of(i64::MAX, Partition::Year), None);
    }

    #[test]
    fn a_file_is_named_by_its_partition_and_time() {
        let key = file_key("odd name", 202405, true, MAY_2024 + 1, "csv");
        assert_eq!(key, "odd%20name/Snapshot/2024-05_20240512T074640000001Z.csv");
    }

    #[test]
    fn what_was_retired_long_enough_goes() {
        let mut entry = TableEntry::default();
        for (written, since) in [(1, 2), (2, 9)] {
            entry.retire(2020, FileEntry { written, rows: 1 }, since);
        }
        entry.retire(2021, FileEntry { written: 1, rows: 1 }, 3);
        let expired: Vec<_> = entry.expire(4).iter().map(|(partition, file)| (*partition, file.written)).collect();
        assert_eq!(expired, [(2020, 1), (2021, 1)]);
        assert_eq!(entry.retired.len(), 1);
        assert!(entry.expire(4).is_empty());
        // By a clock that was ahead of one that is right.
        entry.retired_by(5);
        assert_eq!(entry.expire(6).len(), 1);
    }

    #[test]
    fn tables_of_earlier_commits_go_on() {
        // As commits had them before columns, truncations and rows had versions.
        let text = r#"{
            "link": 1, "kind": "t", "key": [], "sync": "completed", "synced": 5,
            "schema": { "table": "t", "history": false, "columns": [
                { "name": "id", "data-type": "int64" },
                { "name": "gone", "data-type": "string", "retired": true },
                { "name": "back", "data-type": "string", "since": 7 }] },
            "rows": { "runs": [], "keys": 0, "waiting": 0, "ignored": 0, "written-until": null, "full": false,
                      "change": 3, "snapshot": 0, "waiting-shards": "" },
            "next-version": 0, "files": [[2020, [{ "written": 1, "rows": 2 }]]] }"#;
        let mut entry: TableEntry = serde_json::from_str(text).unwrap();
        assert_eq!((&entry.schema_versions, entry.truncated), (&SchemaVersions::default(), None));
        let gone: Vec<_> = entry.gone().into_iter().map(|gone| (gone.name, gone.since, gone.below)).collect();
        assert_eq!(gone, [("gone".to_owned(), i64::MAX, None), ("back".to_owned(), 7, None)]);
        // The first event that has a version counts, whatever it is; the next one has to be newer.
        let told = |version, names: &[&str]| {
            let columns: Vec<_> = names.iter().map(|name| Column::new(*name, DataType::Int64)).collect();
            (columns, version)
        };
        for (columns, version) in [told(100, &["id", "new"]), told(50, &["id"])] {
            let told = Told { columns: &columns, complete: true, version: Some(version), published: None, now: 9 };
            entry.schema_versions.evolve(&mut entry.schema, &told).unwrap();
        }
        let live: Vec<_> = entry.schema.columns.iter().filter(|column| !column.retired).collect();
        assert_eq!(live.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["id", "new"]);
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<TableEntry>(&text).unwrap(), entry);
    }
}
