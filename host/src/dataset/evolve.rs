//! How the tables' state follows from the configuration, and from what records say of columns.

use std::collections::BTreeSet;

use super::schema::TypeChanged;
use super::state::file_key;
use super::{DatasetState, SchemaNews, Sync, TableEntry, TableSchema, unify};
use crate::error::{Error, Result};
use crate::plan::{Columns, Partition, TablePlan, TablesPlan, Write};
use crate::table::TableState;

impl DatasetState {
    /// Brings the tables to what the configuration says: those that are new, those that are gone or linked anew, and columns
    /// that it gives. Answers with the objects that nobody needs any more, and whether anything changed. `now`: microseconds since
    /// 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// Of kind `Config`, where a table is to be laid out in another way than it is.
    pub fn follow(&mut self, plan: &TablesPlan, extension: &str, now: i64) -> Result<(Vec<String>, bool)> {
        let before = self.clone();
        let mut obsolete = Vec::new();
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
            } else if let Some(table) = table.filter(|table| table.linked) {
                // Readers of the old files go on until those have been kept long enough.
                let mut new = TableEntry::new(&name, table);
                new.inherit_files(entry, now);
                self.tables.insert(name, new);
            }
        }
        for (name, table) in plan.tables.iter().filter(|(_, table)| table.linked) {
            let entry = self.tables.entry(name.clone()).or_insert_with(|| TableEntry::new(name, table));
            entry.check_layout(table, name)?;
            if let Columns::Given(columns) = &table.columns {
                entry.take_columns(columns, true, name);
            }
        }
        if self.joining.as_ref().is_some_and(|joining| joining.tables.is_empty()) {
            self.joining = None;
        }
        let changed = *self != before;
        Ok((obsolete, changed))
    }

    /// Takes in what a record says of a table's columns. Answers with the table's name where it has to stop.
    pub fn take_news(&mut self, plan: &TablesPlan, news: &SchemaNews) -> Option<String> {
        let (name, table) = plan.tables.iter().find(|(_, table)| table.linked && table.kind == news.kind)?;
        let entry = self.tables.get_mut(name).filter(|entry| entry.stopped.is_none())?;
        match &table.columns {
            Columns::Given(_) => {}
            Columns::Stream => entry.take_columns(&news.columns, news.complete, name),
            Columns::Infer => entry.take_inferred(news),
        }
        entry.stopped.is_some().then(|| name.clone())
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
            schema: TableSchema { table: name.to_owned(), history, columns },
            versions: history.then(TableState::default),
            monthly: plan.partition == Partition::Month,
            ..TableEntry::default()
        }
    }

    /// Takes over what an earlier link of the table left for its readers; `now`: when its files' place was taken.
    pub fn inherit_files(&mut self, before: TableEntry, now: i64) {
        if self.monthly == before.monthly {
            self.retired = before.retired;
            for (partition, files) in before.files {
                files.into_iter().for_each(|file| self.retire(partition, file, now));
            }
        }
    }

    /// The keys of all its files in the lake.
    fn file_keys(&self, root: &str, name: &str, extension: &str) -> Vec<String> {
        let key =
            |partition, written| format!("{root}/{}", file_key(name, partition, self.monthly, written, extension));
        let files =
            self.files.iter().flat_map(|(partition, files)| files.iter().map(|file| (*partition, file.written)));
        let retired =
            self.retired.iter().flat_map(|(partition, files)| files.iter().map(|file| (*partition, file.written)));
        files.chain(retired).map(|(partition, written)| key(partition, written)).collect()
    }

    /// Refuses a table whose files were laid out in another way.
    fn check_layout(&self, plan: &TablePlan, name: &str) -> Result<()> {
        let new = TableEntry::new(name, plan);
        let changed = match (new.monthly == self.monthly, new.schema.history == self.schema.history) {
            (true, true) => return Ok(()),
            (false, _) => "partition",
            (true, false) => "write",
        };
        Err(Error::config(format!("`{changed}` of table `{name}` is not what its files were written with")).with_help(
            format!("set it back, or link the table anew to write them again: `lakeport tables link --again {name}`"),
        ))
    }

    fn take_columns(&mut self, columns: &[super::Column], complete: bool, name: &str) {
        if let Err(TypeChanged { column, before, now }) =
            self.schema.evolve(columns, complete, self.published.is_some())
        {
            let (before, now) = (before.name(), now.name());
            self.stopped = Some(format!(
                "column `{column}` of table `{name}` was `{before}` and is `{now}` now, which its files cannot hold; link the \
                 table anew to read it from the beginning: `lakeport tables link --again {name}`"
            ));
        }
    }

    /// Columns that were found out from rows: before there are files their types widen, later they stay.
    fn take_inferred(&mut self, news: &SchemaNews) {
        let published = self.published.is_some();
        for column in &news.columns {
            match self.schema.columns.iter_mut().find(|known| known.name == column.name) {
                Some(known) if !published => known.data_type = unify(known.data_type, column.data_type),
                Some(_) => {}
                None => self.schema.columns.push(super::Column { added: published, ..column.clone() }),
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

    fn table() -> TablePlan {
        TablePlan {
            linked: true,
            link: 1,
            remove_files: false,
            kind: "t".into(),
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
        SchemaNews { kind: "t".into(), columns: vec![Column::new("a", data_type)], complete: true }
    }

    /// A state with a file of 2020.
    fn with_a_file() -> DatasetState {
        let mut state = DatasetState::default();
        state.follow(&plan(table()), "csv", 5).unwrap();
        let entry = state.tables.get_mut("t").unwrap();
        entry.files.insert(2020, vec![FileEntry { written: 1, rows: 1 }]);
        entry.published = Some(entry.schema.clone());
        state
    }

    #[test]
    fn a_table_that_is_unlinked_leaves_its_files_or_takes_them_along() {
        let mut state = with_a_file();
        assert_eq!(state.follow(&plan(table()), "csv", 5).unwrap(), (vec![], false));
        let (obsolete, changed) =
            state.clone().follow(&plan(TablePlan { linked: false, ..table() }), "csv", 5).unwrap();
        assert_eq!((obsolete, changed), (vec![], true));
        let gone = plan(TablePlan { linked: false, remove_files: true, ..table() });
        let (obsolete, _) = state.follow(&gone, "csv", 5).unwrap();
        assert_eq!(obsolete, ["crm/t/Snapshot/2020_19700101T000000000001Z.csv"]);
        assert!(state.tables.is_empty());
    }

    #[test]
    fn a_table_that_is_linked_anew_begins_again_and_its_readers_keep_their_files() {
        let mut state = with_a_file();
        state.follow(&plan(TablePlan { link: 2, ..table() }), "csv", 7).unwrap();
        let entry = &state.tables["t"];
        assert_eq!((entry.link, entry.files.len(), entry.retired[&2020][0].since), (2, 0, 7));
        assert_eq!(entry.published, None);
    }

    #[test]
    fn a_changed_type_stops_the_table_and_says_what_to_do() {
        let mut state = with_a_file();
        let plan = plan(table());
        assert_eq!(state.take_news(&plan, &news(DataType::Int64)), None);
        assert_eq!(state.take_news(&plan, &news(DataType::String)).unwrap(), "t");
        let message = state.tables["t"].stopped.clone().unwrap();
        assert!(message.contains("`a` of table `t` was `int64` and is `string`"), "{message}");
        assert!(message.contains("lakeport tables link --again t"), "{message}");
        assert_eq!(state.take_news(&plan, &news(DataType::Int64)), None, "it stays stopped");
        assert!(state.tables["t"].stopped.is_some());
    }

    #[test]
    fn another_layout_is_refused_until_the_table_is_linked_anew() {
        let mut state = with_a_file();
        let monthly = TablePlan { partition: Partition::Month, ..table() };
        let refused = state.clone().follow(&plan(monthly.clone()), "csv", 5).unwrap_err();
        assert!(refused.message.contains("`partition` of table `t`"), "{refused}");
        state.follow(&plan(TablePlan { link: 2, ..monthly }), "csv", 5).unwrap();
        assert!(state.tables["t"].monthly);
    }

    #[test]
    fn inferred_types_widen_until_there_are_files() {
        let plan = plan(TablePlan { columns: Columns::Infer, ..table() });
        let mut state = DatasetState::default();
        state.follow(&plan, "csv", 5).unwrap();
        for (found, expected) in [(DataType::Int64, DataType::Int64), (DataType::Double, DataType::Double)] {
            state.take_news(&plan, &news(found));
            assert_eq!(state.tables["t"].schema.columns[0].data_type, expected);
        }
        let entry = state.tables.get_mut("t").unwrap();
        entry.published = Some(entry.schema.clone());
        state.take_news(&plan, &news(DataType::String));
        let entry = &state.tables["t"];
        assert_eq!((entry.schema.columns[0].data_type, &entry.stopped), (DataType::Double, &None));
    }
}
