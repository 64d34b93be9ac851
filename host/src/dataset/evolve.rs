//! How the tables' state follows from the configuration, and from what records say of columns.

use std::collections::BTreeSet;

use super::state::file_key;
use super::versions::{Evolved, Told};
use super::{DatasetState, Retired, SchemaNews, Sync, TableEntry, TableName, TableSchema, TypeChanged, unify};
use crate::error::{Error, Result};
use crate::plan::{Columns, Partition, TablePlan, TablesPlan, Write};
use crate::table::TableState;

/// So many kinds of a table are known by the tables that they stand for.
const MOST_ORIGINS: usize = 1000;

/// What the files of a dataset are written with.
#[derive(Debug, Clone, Copy)]
pub struct Format<'a> {
    pub plugin: &'a str,
    pub config: &'a serde_json::Value,
    /// Without the dot.
    pub extension: &'a str,
}

impl Format<'_> {
    fn settings(&self) -> String {
        serde_json::json!({ "plugin": self.plugin, "config": self.config }).to_string()
    }
}

impl DatasetState {
    /// Brings the tables to what the configuration says: those that are new, those that are gone or linked anew, and columns
    /// that it gives. Answers with the objects that nobody needs any more, and whether anything changed. `now`: microseconds since
    /// 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// Of kind `Config`, where a table is to be laid out in another way than it is.
    pub fn follow(&mut self, plan: &TablesPlan, format: Format<'_>, now: i64) -> Result<(Vec<String>, bool)> {
        let before = self.clone();
        let mut obsolete = Vec::new();
        let extension = format.extension;
        self.check_place(plan, &format)?;
        let goes_on = |name: &String, entry: &TableEntry| {
            plan.tables.get(name).is_some_and(|table| table.linked && table.link == entry.link)
        };
        let gone: Vec<String> =
            self.tables.iter().filter(|(name, entry)| !goes_on(name, entry)).map(|(n, _)| n.clone()).collect();
        for name in gone {
            let entry = self.tables.remove(&name).expect("it is one of them");
            obsolete.extend(entry.state_objects().map(str::to_owned));
            if let Some(joining) = &mut self.joining {
                joining.tables.remove(&name);
            }
            let table = plan.tables.get(&name);
            if table.is_some_and(|table| !table.linked && table.remove_files) {
                obsolete.extend(entry.file_keys(&plan.root, &name, extension));
                obsolete.extend(entry.retired_keys(&plan.root, &name, extension));
            } else if let Some(table) = table.filter(|table| table.linked) {
                // Readers of the old files go on until those have been kept long enough.
                let mut new = TableEntry::new(&name, table);
                new.inherit_files(entry, now);
                self.tables.insert(name, new);
            } else {
                obsolete.extend(entry.retired_keys(&plan.root, &name, extension));
            }
        }
        self.check_settings(&format)?;
        for (name, table) in plan.tables.iter().filter(|(_, table)| table.linked) {
            let entry = self.tables.entry(name.clone()).or_insert_with(|| TableEntry::new(name, table));
            entry.check_layout(table, name)?;
            if let Columns::Given(columns) = &table.columns {
                let (complete, version) = (true, None);
                let published = entry.published.clone();
                let told = Told { columns, complete, version, published: published.as_ref(), now };
                entry.take_columns(&told, name);
            }
        }
        if self.joining.as_ref().is_some_and(|joining| joining.tables.is_empty()) {
            self.joining = None;
        }
        let changed = *self != before;
        Ok((obsolete, changed))
    }

    /// Refuses another place of the files: they are found by it.
    fn check_place(&mut self, plan: &TablesPlan, format: &Format<'_>) -> Result<()> {
        if !self.tables.is_empty() && (self.root != plan.root || self.extension != format.extension) {
            let (before, now) = (&self.root, &plan.root);
            return Err(Error::config(format!(
                "the tables' files are in `{before}` with the extension `{}`",
                self.extension
            ))
            .with_help(format!(
                "set `root = \"{before}\"`, or give the export another name, so that it begins anew in `{now}`"
            )));
        }
        (self.root, self.extension) = (plan.root.clone(), format.extension.to_owned());
        Ok(())
    }

    /// Begins the files anew where the format has other settings than they were written with; refuses it where files stay.
    fn check_settings(&mut self, format: &Format<'_>) -> Result<()> {
        let settings = format.settings();
        if self.format == settings {
            return Ok(());
        }
        let stays =
            |entry: &&TableEntry| entry.published.is_some() && (entry.versions.is_some() || entry.stopped.is_some());
        if let Some(entry) = self.tables.values().find(stays) {
            let name = &entry.schema.table;
            let kind = if entry.versions.is_some() { "append-only" } else { "stopped" };
            let message = format!("the format of {kind} table `{name}` has other settings than its files");
            return Err(Error::config(message).with_help(format!(
                "set them back, or link the table anew: `lakeport tables link CONFIG {name} --again`"
            )));
        }
        self.full |= self.tables.values().any(|entry| entry.published.is_some());
        self.format = settings;
        Ok(())
    }
}

impl TableEntry {
    /// A table that begins.
    pub fn new(name: &str, plan: &TablePlan) -> TableEntry {
        let history = plan.write == Write::AppendOnly;
        let columns = match &plan.columns {
            Columns::Given(columns) => columns.clone(),
            Columns::Stream | Columns::Infer => Vec::new(),
        };
        TableEntry {
            link: plan.link,
            kind: plan.kinds_text(),
            key: plan.key.clone(),
            schema: TableSchema { table: name.to_owned(), history, columns },
            versions: history.then(TableState::default),
            monthly: plan.partition == Partition::Month,
            ..TableEntry::default()
        }
    }

    /// Takes over what an earlier link of the table left for its readers; `now`: when its files' place was taken.
    pub fn inherit_files(&mut self, before: TableEntry, now: i64) {
        let monthly = before.monthly;
        self.retired = before.retired;
        for (partition, files) in before.files {
            let retired = files.into_iter().map(|file| Retired { written: file.written, monthly, since: now });
            self.retired.entry(partition).or_default().extend(retired);
        }
    }

    /// The keys of the files that readers are pointed at.
    fn file_keys(&self, root: &str, name: &str, extension: &str) -> Vec<String> {
        let files =
            self.files.iter().flat_map(|(partition, files)| files.iter().map(|file| (*partition, file.written)));
        let key =
            |(partition, written)| format!("{root}/{}", file_key(name, partition, self.monthly, written, extension));
        files.map(key).collect()
    }

    /// The keys of the files that are there for readers that are still on them.
    fn retired_keys(&self, root: &str, name: &str, extension: &str) -> Vec<String> {
        let files = self.retired.iter().flat_map(|(partition, files)| files.iter().map(|file| (*partition, file)));
        let key = |(partition, file): (i32, &Retired)| {
            format!("{root}/{}", file_key(name, partition, file.monthly, file.written, extension))
        };
        files.map(key).collect()
    }

    /// Refuses a table whose files were laid out in another way.
    fn check_layout(&self, plan: &TablePlan, name: &str) -> Result<()> {
        let new = TableEntry::new(name, plan);
        let same = [
            ("partition", new.monthly == self.monthly),
            ("write", new.schema.history == self.schema.history),
            ("key", new.key == self.key),
            ("kind", new.kind == self.kind),
        ];
        let Some((changed, _)) = same.into_iter().find(|(_, same)| !same) else { return Ok(()) };
        Err(Error::config(format!("`{changed}` of table `{name}` is not what its files were written with")).with_help(
            format!(
                "set it back, or link the table anew to write them again: `lakeport tables link CONFIG {name} --again`"
            ),
        ))
    }

    /// Notes that rows of the table `name` come from `origin`, which `plan` calls `kind`. Where that has stood for another table
    /// the rows of two tables would become one: the table stops.
    pub fn take_origin(&mut self, (name, plan): (&str, &TablePlan), kind: &str, origin: &TableName) {
        let Some(known) = self.origins.get_mut(kind) else {
            // What the configuration names is noted in any case; what its patterns match may be without end.
            if self.origins.len() < MOST_ORIGINS || plan.kinds.iter().any(|named| named == kind) {
                self.origins.insert(kind.to_owned(), origin.clone());
                if self.origins.len() == MOST_ORIGINS {
                    tracing::warn!(
                        "table `{name}` has rows of {MOST_ORIGINS} kinds that its patterns match: of more, it is not noticed where one \
                         stands for two tables; let patterns name the database and the schema as well"
                    );
                }
            }
            return;
        };
        if known.agrees(origin) {
            return known.complete(origin);
        }
        let remedy = match plan.kinds.iter().any(|named| named == kind) {
            true => format!(
                "set `kind` of table `{name}` to one of these names, or to both, `kind = [\"{known}\", \"{origin}\"]`, if their \
                 keys differ"
            ),
            false => format!(
                "let `kind` of table `{name}` say which database and schema its patterns stand for, or name both, if their keys differ"
            ),
        };
        let stopped = format!(
            "records of kind `{kind}` come from two tables, `{known}` and `{origin}`; {remedy}; then link it anew: \
             `lakeport tables link CONFIG {name} --again`"
        );
        tracing::warn!("{stopped}");
        self.stopped = Some(stopped);
    }

    /// Takes in what a record says of the columns of the table `name`, which may have to stop. Answers whether rows that were written
    /// before `now`, the write time of the next ones, are to be told from those.
    pub fn take_news(&mut self, name: &str, plan: &TablePlan, news: &SchemaNews, now: i64) -> bool {
        match &plan.columns {
            Columns::Given(_) => false,
            Columns::Stream => {
                let SchemaNews { columns, complete, version, .. } = news;
                let published = self.published.clone();
                let published = published.as_ref();
                self.take_columns(&Told { columns, complete: *complete, version: *version, published, now }, name)
            }
            Columns::Infer => {
                self.take_inferred(news);
                false
            }
        }
    }

    fn take_columns(&mut self, told: &Told<'_>, name: &str) -> bool {
        match self.schema_versions.evolve(&mut self.schema, told) {
            Ok(Evolved { divides, renamed }) => {
                for (gone, new) in renamed {
                    tracing::warn!(
                        "table `{name}`: column `{gone}` is gone and `{new}` is new. If it was renamed, rows that do not change have neither \
                         value: touch them in the database (`UPDATE {name} SET {new} = {new}`), or link the table anew with a fresh copy: \
                         `lakeport tables link CONFIG {name} --again`"
                    );
                }
                divides
            }
            Err(TypeChanged { column, before, now }) => {
                let (before, now) = (before.name(), now.name());
                let stopped = format!(
                    "column `{column}` of table `{name}` was `{before}` and is `{now}` now, which its files cannot hold; link the \
                     table anew to read it from the beginning: `lakeport tables link CONFIG {name} --again`"
                );
                tracing::warn!("{stopped}");
                self.stopped = Some(stopped);
                false
            }
        }
    }

    /// Columns that were found out from rows: before files have them their types widen, later they stay.
    fn take_inferred(&mut self, news: &SchemaNews) {
        let is_published = |name: &str| self.published.as_ref().is_some_and(|published| published.has(name));
        let added = self.published.is_some();
        for column in news.columns.iter().filter(|column| !self.left_out.contains(&column.name)) {
            match self.schema.columns.iter_mut().find(|known| known.name == column.name) {
                Some(known) if !is_published(&column.name) => {
                    known.data_type = unify(known.data_type, column.data_type)
                }
                Some(_) => {}
                None => self.schema.columns.push(super::Column { added, ..column.clone() }),
            }
        }
    }

    /// Notes that records of the table have come.
    pub fn begin(&mut self) {
        if self.sync == Sync::NotStarted {
            self.sync = Sync::InProgress;
        }
    }

    /// All partitions that have files.
    pub fn partitions(&self) -> BTreeSet<i32> {
        self.files.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::dataset::{Column, DataType, FileEntry};

    const CSV: Format<'static> = Format { plugin: "csv", config: &serde_json::Value::Null, extension: "csv" };

    fn table() -> TablePlan {
        TablePlan {
            linked: true,
            link: 1,
            remove_files: false,
            kinds: vec!["t".into()],
            key: Vec::new(),
            created: None,
            write: Write::InPlace,
            partition: Partition::Year,
            columns: Columns::Stream,
        }
    }

    fn plan(table: TablePlan) -> TablesPlan {
        TablesPlan {
            root: "crm".into(),
            public_url: "https://lake/crm/".into(),
            description: String::new(),
            every: Duration::from_secs(3600),
            keep: Duration::from_secs(3600),
            tables: BTreeMap::from([("t".to_owned(), table)]),
        }
    }

    fn news(data_type: DataType) -> SchemaNews {
        SchemaNews {
            kind: TableName::plain("t"),
            columns: vec![Column::new("a", data_type)],
            complete: true,
            version: None,
            offset: 0,
        }
    }

    /// A state with a file of 2020.
    fn with_a_file() -> DatasetState {
        let mut state = DatasetState::default();
        state.follow(&plan(table()), CSV, 5).unwrap();
        let entry = state.tables.get_mut("t").unwrap();
        entry.files.insert(2020, vec![FileEntry { written: 1, rows: 1 }]);
        entry.published = Some(entry.schema.clone());
        state
    }

    #[test]
    fn a_table_that_is_unlinked_leaves_its_files_or_takes_them_along() {
        let mut state = with_a_file();
        assert_eq!(state.follow(&plan(table()), CSV, 5).unwrap(), (vec![], false));
        let (obsolete, changed) = state.clone().follow(&plan(TablePlan { linked: false, ..table() }), CSV, 5).unwrap();
        assert_eq!((obsolete, changed), (vec![], true));
        let gone = plan(TablePlan { linked: false, remove_files: true, ..table() });
        let (obsolete, _) = state.follow(&gone, CSV, 5).unwrap();
        assert_eq!(obsolete, ["crm/t/Snapshot/2020_19700101T000000000001Z.csv"]);
        assert!(state.tables.is_empty());
    }

    #[test]
    fn a_table_that_is_linked_anew_begins_again_and_its_readers_keep_their_files() {
        let mut state = with_a_file();
        state.follow(&plan(TablePlan { link: 2, ..table() }), CSV, 7).unwrap();
        let entry = &state.tables["t"];
        assert_eq!((entry.link, entry.files.len(), entry.retired[&2020][0].since), (2, 0, 7));
        assert_eq!(entry.published, None);
    }

    #[test]
    fn a_changed_type_stops_the_table_and_says_what_to_do() {
        let mut state = with_a_file();
        let plan = plan(table());
        let entry = state.tables.get_mut("t").unwrap();
        entry.take_news("t", &plan.tables["t"], &news(DataType::Int64), 9);
        entry.published = Some(entry.schema.clone());
        entry.take_news("t", &plan.tables["t"], &news(DataType::Int64), 9);
        assert_eq!(entry.stopped, None);
        entry.take_news("t", &plan.tables["t"], &news(DataType::String), 9);
        let message = entry.stopped.clone().unwrap();
        assert!(message.contains("`a` of table `t` was `int64` and is `string`"), "{message}");
        assert!(message.contains("lakeport tables link CONFIG t --again"), "{message}");
    }

    #[test]
    fn files_stay_where_they_are_and_are_written_anew_with_other_settings() {
        let mut state = with_a_file();
        let elsewhere = TablesPlan { root: "crm2".into(), ..plan(table()) };
        assert!(state.clone().follow(&elsewhere, CSV, 5).unwrap_err().message.contains("files are in `crm`"));
        let other = Format { config: &serde_json::Value::Bool(true), ..CSV };
        state.follow(&plan(table()), other, 5).unwrap();
        assert!(state.full);
        state.tables.get_mut("t").unwrap().versions = Some(TableState::default());
        let refused = state.follow(&plan(table()), CSV, 5).unwrap_err();
        assert!(refused.message.contains("append-only table `t` has other settings"), "{refused}");
        state.follow(&plan(TablePlan { link: 2, ..table() }), CSV, 5).unwrap();
    }

    #[test]
    fn another_layout_is_refused_until_the_table_is_linked_anew() {
        let mut state = with_a_file();
        let monthly = TablePlan { partition: Partition::Month, ..table() };
        let refused = state.clone().follow(&plan(monthly.clone()), CSV, 5).unwrap_err();
        assert!(refused.message.contains("`partition` of table `t`"), "{refused}");
        state.follow(&plan(TablePlan { link: 2, ..monthly }), CSV, 5).unwrap();
        assert!(state.tables["t"].monthly);
    }

    #[test]
    fn inferred_types_widen_until_there_are_files() {
        let plan = plan(TablePlan { columns: Columns::Infer, ..table() });
        let mut state = DatasetState::default();
        state.follow(&plan, CSV, 5).unwrap();
        for (found, expected) in [(DataType::Int64, DataType::Int64), (DataType::Double, DataType::Double)] {
            state.tables.get_mut("t").unwrap().take_news("t", &plan.tables["t"], &news(found), 9);
            assert_eq!(state.tables["t"].schema.columns[0].data_type, expected);
        }
        let entry = state.tables.get_mut("t").unwrap();
        entry.published = Some(entry.schema.clone());
        entry.take_news("t", &plan.tables["t"], &news(DataType::String), 9);
        let entry = &state.tables["t"];
        assert_eq!((entry.schema.columns[0].data_type, &entry.stopped), (DataType::Double, &None));
    }

    #[test]
    fn a_kind_that_a_pattern_matches_stands_for_one_table_and_so_many_are_known() {
        let patterned = TablePlan { kinds: vec!["ev".into(), "ev_*".into()], ..table() };
        let mut entry = TableEntry::new("ev", &patterned);
        let origin =
            |database: &str, table: &str| TableName { database: Some(database.into()), ..TableName::plain(table) };
        let mut take = |database, table: &str| {
            entry.take_origin(("ev", &patterned), table, &origin(database, table));
            (entry.origins.len(), entry.stopped.clone())
        };
        for number in 0..MOST_ORIGINS + 5 {
            assert_eq!(take("a", &format!("ev_{number}")), ((number + 1).min(MOST_ORIGINS), None));
        }
        assert_eq!(take("b", &format!("ev_{}", MOST_ORIGINS + 1)), (MOST_ORIGINS, None), "a warning said so");
        // What the configuration names is among them in any case.
        assert_eq!(take("a", "ev"), (MOST_ORIGINS + 1, None));
        let (_, stopped) = take("b", "ev_7");
        let expected = "records of kind `ev_7` come from two tables, `a.ev_7` and `b.ev_7`; let `kind` of table `ev` say which \
                        database and schema its patterns stand for";
        assert!(stopped.unwrap().starts_with(expected));
    }
}
