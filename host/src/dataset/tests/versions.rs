use super::*;

/// A table's columns as they become.
struct Table {
    schema: TableSchema,
    versions: SchemaVersions,
    published: Option<TableSchema>,
    now: i64,
}

impl Table {
    fn new(names: &[&str]) -> Table {
        let schema = TableSchema { table: "t".into(), history: false, columns: columns(names) };
        Table { schema, versions: SchemaVersions::default(), published: None, now: 0 }
    }

    /// Its files have the columns that it has now.
    fn publish(mut self) -> Table {
        self.published = Some(self.schema.clone());
        self
    }

    fn told(&mut self, version: Option<i64>, columns: &[Column], complete: bool) -> Result<Evolved, TypeChanged> {
        self.now += 1;
        let told = Told { columns, complete, version, published: self.published.as_ref(), now: self.now };
        self.versions.evolve(&mut self.schema, &told)
    }

    /// What an event says that has all columns, as `name` or `name:type`.
    fn event(&mut self, version: i64, names: &[&str]) -> &mut Table {
        self.told(Some(version), &columns(names), true).unwrap();
        self
    }

    fn unversioned(&mut self, names: &[&str], complete: bool) -> &mut Table {
        self.told(None, &columns(names), complete).unwrap();
        self
    }

    /// `name:type`, with `+` before what was added later and `-` before what is gone.
    fn shown(&self) -> String {
        let one = |column: &Column| {
            let mark = if column.retired {
                "-"
            } else if column.added {
                "+"
            } else {
                ""
            };
            format!("{mark}{}:{}", column.name, column.data_type.name())
        };
        self.schema.columns.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    /// A row of a version, written at a time, without what is gone.
    fn row(&self, row: &str, version: i64, modified: i64) -> String {
        let gone = self.versions.gone(&self.schema);
        let rest = crate::table::without(row.as_bytes(), modified, Some(version), &gone);
        rest.map_or(row.to_owned(), |rest| String::from_utf8(rest).unwrap())
    }
}

fn columns(names: &[&str]) -> Vec<Column> {
    let column = |name: &&str| match name.split_once(':') {
        None => Column::new(*name, DataType::String),
        Some((name, data_type)) => {
            let is_it = |known: &DataType| known.name() == data_type;
            Column::new(name, DataType::ALL.into_iter().find(is_it).unwrap())
        }
    };
    names.iter().map(column).collect()
}

#[test]
fn a_new_column_goes_last_and_a_dropped_one_stays() {
    let mut table = Table::new(&["a", "b"]).publish();
    assert_eq!(table.unversioned(&["c", "a"], true).shown(), "a:string -b:string +c:string");
    let before = table.schema.clone();
    assert_eq!(table.unversioned(&["a", "c"], true).schema, before);
    assert_eq!(
        table.unversioned(&["b"], false).shown(),
        "a:string b:string +c:string",
        "it is there again, in its place"
    );
}

#[test]
fn a_column_that_comes_back_is_null_in_rows_from_before() {
    let mut table = Table::new(&["a", "b"]);
    table.unversioned(&["a"], true).unversioned(&["a", "b"], true);
    assert_eq!((table.schema.columns[0].since, table.schema.columns[1].since), (None, Some(2)));
    assert_eq!(table.row(r#"{"a":1,"b":1}"#, 5, 1), r#"{"a":1}"#);
    assert_eq!(table.row(r#"{"a":1,"b":1}"#, 5, 2), r#"{"a":1,"b":1}"#);
}

#[test]
fn before_the_first_file_a_column_may_have_another_type() {
    let mut table = Table::new(&["a"]);
    assert_eq!(table.unversioned(&["b"], false).shown(), "a:string b:string");
    assert_eq!(
        table.told(None, &columns(&["a:int64"]), false).map(|told| told.divides),
        Ok(true),
        "text may be no number"
    );
    assert_eq!(
        table.told(None, &columns(&["a:decimal"]), false).map(|told| told.divides),
        Ok(false),
        "a whole number is a decimal"
    );
    assert_eq!(table.told(None, &columns(&["a"]), false).map(|told| told.divides), Ok(false), "anything is text");
    assert_eq!(table.row(r#"{"a":"x"}"#, 1, 1), "{}");
    assert_eq!(table.row(r#"{"a":7}"#, 1, 2), r#"{"a":7}"#);
}

#[test]
fn another_type_than_files_have_is_refused_and_nothing_changes() {
    let mut table = Table::new(&["a", "b"]).publish();
    let before = table.schema.clone();
    let refused = table.told(None, &columns(&["c", "b:int64"]), true).unwrap_err();
    assert_eq!(refused, TypeChanged { column: "b".into(), before: DataType::String, now: DataType::Int64 });
    assert_eq!(table.schema, before);
}

#[test]
fn limits_may_change() {
    let mut table = Table::new(&["a"]).publish();
    let wider = Column { max_length: Some(200), ..Column::new("a", DataType::String) };
    table.told(None, &[wider], true).unwrap();
    assert_eq!(table.schema.columns[0].max_length, Some(200));
}

#[test]
fn what_an_older_event_says_changes_nothing() {
    let mut table = Table::new(&[]);
    table.event(100, &["id", "name"]).event(200, &["id", "name", "c:int64"]);
    let before = table.schema.clone();
    assert_eq!(table.event(100, &["id", "name"]).schema, before, "it retires nothing");
    assert_eq!(table.event(150, &["id", "name", "c"]).schema, before, "it gives no other type");
    assert_eq!(
        table.event(150, &["id", "name", "dropped"]).schema,
        before,
        "what was dropped later does not come back"
    );
    let narrow = Column { max_length: Some(2), ..Column::new("name", DataType::String) };
    table.told(Some(199), &[narrow], false).unwrap();
    assert_eq!(table.schema, before, "it narrows no limits");
    let mut table = table.publish();
    table.event(120, &["id", "name", "c"]);
    assert_eq!(table.schema, before, "it stops no table");
    assert!(table.told(Some(200), &columns(&["c"]), false).is_err(), "an event of the same version is not older");
}

#[test]
fn a_patch_keeps_the_columns_that_it_names() {
    let mut table = Table::new(&[]);
    table.event(100, &["id", "name"]);
    table.told(Some(300), &columns(&["id", "c"]), false).unwrap();
    assert_eq!(table.event(200, &["id", "name"]).shown(), "id:string name:string c:string");
    assert_eq!(table.event(400, &["id"]).shown(), "id:string -name:string -c:string");
}

#[test]
fn rows_of_versions_in_which_a_column_was_another_have_nothing_there() {
    // Dropped after 100, back after 200 as another type.
    let mut table = Table::new(&[]);
    table.event(100, &["id", "b"]).event(200, &["id"]).event(300, &["id", "b:int64"]);
    assert_eq!(table.shown(), "id:string b:int64");
    let row = |table: &Table, version, modified| table.row(r#"{"b":1}"#, version, modified) != "{}";
    assert_eq!([100, 200, 201, 300].map(|version| row(&table, version, 9)), [false, false, true, true]);

    // The same in another order of reading.
    let mut table = Table::new(&[]);
    table.event(300, &["id", "b:int64"]).event(350, &["id", "b:int64"]).event(100, &["id", "b"]);
    assert_eq!([100, 102, 300].map(|version| row(&table, version, 9)), [false, true, true]);
    table.event(200, &["id"]);
    assert_eq!([100, 200, 300].map(|version| row(&table, version, 9)), [false, false, true]);
}

#[test]
fn without_versions_the_order_of_reading_counts() {
    let mut table = Table::new(&[]);
    table.event(100, &["id", "b"]);
    assert_eq!(table.unversioned(&["id"], true).shown(), "id:string -b:string");
    assert_eq!(table.event(50, &["id", "b"]).shown(), "id:string -b:string", "the version is known still");
}

#[test]
fn versions_come_back_from_a_commit() {
    let mut table = Table::new(&[]);
    table.event(100, &["id", "b"]).event(200, &["id"]).event(300, &["id", "b:int64"]);
    let text = serde_json::to_string(&table.versions).unwrap();
    assert_eq!(serde_json::from_str::<SchemaVersions>(&text).unwrap(), table.versions);
    assert_eq!(serde_json::from_str::<SchemaVersions>("{}").unwrap(), SchemaVersions::default());
}

#[test]
fn a_column_that_vanishes_when_another_of_its_type_appears_may_have_been_renamed() {
    let pairs = |table: &mut Table, names: &[&str], complete| {
        let evolved = table.told(None, &columns(names), complete).unwrap();
        evolved.renamed.iter().map(|(gone, new)| format!("{gone}>{new}")).collect::<Vec<_>>()
    };
    let mut table = Table::new(&["a", "b:int64"]).publish();
    assert_eq!(pairs(&mut table, &["c", "b:int64"], true), ["a>c"]);
    assert!(pairs(&mut table, &["c", "b:int64"], true).is_empty(), "it is said once");
    // An update names what it has, and the next insert shows what is gone.
    let mut table = Table::new(&["a", "b:int64"]).publish();
    assert!(pairs(&mut table, &["d", "b:int64"], false).is_empty());
    assert_eq!(pairs(&mut table, &["d", "b:int64"], true), ["a>d"]);
    // Each new column stands for one at most, and has its type.
    let mut table = Table::new(&["a", "b", "c:int64"]).publish();
    assert_eq!(pairs(&mut table, &["x", "y:date"], true), ["a>x"]);
    // Without files, and where nothing is new, there is nothing to fill.
    assert!(pairs(&mut Table::new(&["a"]), &["b"], true).is_empty());
    assert!(pairs(&mut Table::new(&["a", "b"]).publish(), &["a"], true).is_empty());
}
