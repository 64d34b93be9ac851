//! Between batches and tables' rows: records become changes of rows, each of its table, and rows become batches for the format.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, Int64Array, MapArray, StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use bytes::Bytes;

use super::changes::{VersionColumn, has_own_versions};
use super::columns::ColumnTable;
use super::kinds::{Found, Kinds, Named};
use super::processed::Processed;
use crate::dataset::{
    Column, Inference, KeyGuids, SchemaNews, TableName, TableSchema, is_guid_column, parse_time, partition_of, text_of,
};
use crate::decode::{EXPECTED_VERSION, nulls, values_at};
use crate::plan::{Columns, Envelope, SourcePlan, TablePlan, TablesPlan};
use crate::record::{Attribute, Batch, ColumnRequest, ColumnType, Selector, numbers};
use crate::table::{Change, Document, Gone, Head, Key, Operation, Shape, without};

/// What a record says of a table.
#[derive(Debug)]
pub enum RowChange {
    Row(Change),
    /// A row got another key. Boxed: it is rare, and all changes of a span are in memory.
    Moved(Box<KeyChange>),
    /// All rows of up to a version went; without one, all that were read before.
    Truncate(Option<i64>),
    /// A new row whose unchanged values are those of the row that was deleted just before: the rest of it, as a patch.
    Continued(Change),
    /// The columns that the rows from here on have.
    Schema(SchemaNews),
    /// Rows from here on that the table's `kind` stands for come from this table.
    Origin {
        kind: String,
        origin: TableName,
    },
}

/// A row that got another key.
#[derive(Debug)]
pub struct KeyChange {
    /// The key that it had.
    pub from: String,
    /// The deletion of the row under that key.
    pub gone: Change,
    /// The row under its new key, as a patch of what it was.
    pub change: Change,
}

/// Where the parts of rows' changes stand in a batch.
pub struct RowColumns {
    kind: usize,
    table: usize,
    subject: usize,
    operation: usize,
    version: VersionColumn,
    has_own_versions: bool,
    time: usize,
    system: usize,
    kinds: Kinds,
    /// The linked ones, by name.
    tables: HashMap<Arc<str>, Columned>,
    export: String,
    /// A record's subject is the key of its row, whatever members of the row the table calls its key.
    names_rows: bool,
}

/// One linked table, and where its own columns stand.
struct Columned {
    name: Arc<str>,
    plan: TablePlan,
    key: Vec<usize>,
    guids: KeyGuids,
    created: Option<usize>,
}

impl Columned {
    /// The key of the row that an envelope calls `text`.
    fn key_of(&self, what: &str, text: &str) -> Result<String, String> {
        self.guids.fold(text).ok_or_else(|| {
            let shown: String = text.chars().take(100).collect();
            format!("the {what} is `{shown}`, expected a JSON array of the row's values at {}", self.places())
        })
    }

    /// Where rows have the key, for people.
    fn places(&self) -> String {
        self.plan.key.iter().map(|pointer| format!("`{pointer}`")).collect::<Vec<_>>().join(", ")
    }
}

impl RowChange {
    /// Says whether no two changes of a row have one version.
    fn set_own_version(&mut self, own: bool) {
        match self {
            RowChange::Row(change) | RowChange::Continued(change) => change.set_own_version(own),
            RowChange::Moved(moved) => moved.change.set_own_version(own),
            RowChange::Truncate(_) | RowChange::Schema(_) | RowChange::Origin { .. } => {}
        }
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        match self {
            RowChange::Row(change) | RowChange::Continued(change) => change.size(),
            RowChange::Moved(moved) => moved.gone.size() + moved.change.size(),
            RowChange::Truncate(_) | RowChange::Origin { .. } => size_of::<RowChange>(),
            RowChange::Schema(news) => size_of::<RowChange>() + news.columns.len() * size_of::<Column>(),
        }
    }
}

impl RowColumns {
    /// Asks `table` for them.
    pub fn new(export: &str, tables: &TablesPlan, source: &SourcePlan, table: &mut ColumnTable) -> Self {
        let mut linked = HashMap::new();
        for (name, plan) in tables.tables.iter().filter(|(_, plan)| plan.linked) {
            let mut ask = |pointer: &String| table.add(ColumnRequest::pointer(pointer.clone(), ColumnType::Json));
            let columned = Columned {
                name: name.as_str().into(),
                key: plan.key.iter().map(&mut ask).collect(),
                guids: KeyGuids::new(&plan.key, |pointer| is_guid(pointer, plan, source)),
                created: plan.created.as_ref().map(&mut ask),
                plan: plan.clone(),
            };
            linked.insert(columned.name.clone(), columned);
        }
        let version = VersionColumn::new(source, table);
        let named = table.add(ColumnRequest { selector: Selector::Table, as_type: ColumnType::Json });
        let mut ask = |attribute, as_type| table.add(ColumnRequest::attribute(attribute, as_type));
        RowColumns {
            kind: ask(Attribute::Kind, ColumnType::Text),
            table: named,
            subject: ask(Attribute::Subject, ColumnType::Text),
            operation: ask(Attribute::Operation, ColumnType::Text),
            version,
            has_own_versions: has_own_versions(source),
            time: ask(Attribute::Time, ColumnType::Timestamp),
            system: ask(Attribute::SystemProperties, ColumnType::TextMap),
            kinds: Kinds::new(tables),
            tables: linked,
            export: export.to_owned(),
            // The subject of wal2json is the database's key, which another key of the table is not.
            names_rows: source.mapping.envelope != Envelope::Wal2Json,
        }
    }

    /// Adds what the records of `batch` say of linked tables to `out`; what cannot be understood is a dead letter. `news`: what its
    /// chunk says of columns, which is put before the rows that have them.
    pub fn take(&self, batch: &Batch, news: &mut Peekable<IntoIter<SchemaNews>>, out: &mut Processed) {
        // Anew for each batch: which reader a batch is of decides whether what is said here is heard.
        let mut inferences: HashMap<&str, Inference> = HashMap::new();
        let mut resolved: Vec<Resolved<'_>> = Vec::new();
        let mut places: HashMap<(&str, &[u8]), usize> = HashMap::new();
        // Most records are of the kind of the one before: comparing is cheaper than hashing.
        let mut last: Option<(&str, &[u8], usize)> = None;
        let kinds = batch.columns[self.kind].as_string_view();
        let here = Here { columns: self, batch };
        for row in 0..batch.rows() {
            while let Some(said) = news.next_if(|said| said.offset <= batch.offsets.value(row)) {
                self.say(said, out);
            }
            let kind = if kinds.is_valid(row) { kinds.value(row) } else { "" };
            let full = here.json(self.table, row).unwrap_or_default();
            let at = match last {
                Some((last_kind, last_full, at)) if (last_kind, last_full) == (kind, full) => at,
                _ => *places.entry((kind, full)).or_insert_with(|| {
                    resolved.push(self.resolve(kind, full, out));
                    resolved.len() - 1
                }),
            };
            last = Some((kind, full, at));
            let table = match &resolved[at] {
                Resolved::Table(table) => table,
                Resolved::PassedOver(kind) => {
                    out.passed_over.add(kind, 1);
                    continue;
                }
                Resolved::Unlinked => continue,
                Resolved::Refused(reason) => {
                    out.bury(batch, row, reason.clone());
                    continue;
                }
            };
            match here.change(row, table) {
                Ok(mut change) => {
                    change.set_own_version(self.has_own_versions && here.property(row, EXPECTED_VERSION).is_none());
                    if table.plan.columns == Columns::Infer
                        && !matches!(change, RowChange::Truncate(_))
                        && batch.bodies.is_valid(row)
                    {
                        let inference = inferences.entry(&table.name).or_default();
                        let found = inference.look(&table.name, batch.bodies.value(row));
                        out.rows.extend(found.map(|found| (table.name.clone(), RowChange::Schema(found))));
                    }
                    out.rows.push((table.name.clone(), change));
                }
                Err(reason) => {
                    let dead = out.letter(batch, row, reason);
                    out.refused.push((table.name.clone(), dead));
                }
            }
        }
    }

    /// Finds the table of a kind. `full`: the table's full name, as JSON, or nothing.
    fn resolve(&self, kind: &str, full: &[u8], out: &mut Processed) -> Resolved<'_> {
        if kind.is_empty() {
            let reason = "no table: the record's kind is absent or empty; set `kind` in the source to where it is";
            return Resolved::Refused(reason.into());
        }
        // A transform may have given the record another kind than its table's.
        let named: Option<TableName> = serde_json::from_slice(full).ok().filter(|name: &TableName| name.kind() == kind);
        let name = named.unwrap_or_else(|| TableName::plain(kind));
        match self.kinds.find(&name) {
            Found::Table(found) => match self.tables.get(&found.table) {
                Some(table) => {
                    self.say_origin(table, name, found, out);
                    Resolved::Table(table)
                }
                None => Resolved::Unlinked,
            },
            Found::Several(tables) => Resolved::Refused(format!(
                "records of `{name}` match the `kind` of tables `{}`; make one of them name it without a `*`",
                tables.join("` and `")
            )),
            Found::Nothing => Resolved::PassedOver(kind.to_owned()),
        }
    }

    /// Adds which table the rows from here on come from, where that is more than what the configuration calls it.
    fn say_origin(&self, table: &Columned, origin: TableName, named: &Named, out: &mut Processed) {
        let kind = self.kinds.called(&origin, named);
        if kind != origin.to_string() {
            out.rows.push((table.name.clone(), RowChange::Origin { kind, origin }));
        }
    }

    /// Adds what was said of the columns of a linked table.
    pub fn say(&self, mut news: SchemaNews, out: &mut Processed) {
        let Found::Table(found) = self.kinds.find(&news.kind) else { return };
        if let Some(table) = self.tables.get(&found.table) {
            self.say_origin(table, news.kind.clone(), found, out);
            // What one of several has not may be a column of the others.
            news.complete &= !table.plan.has_several_kinds();
            out.rows.push((table.name.clone(), RowChange::Schema(news)));
        }
    }
}

/// What becomes of the records of a kind.
enum Resolved<'k> {
    Table(&'k Columned),
    /// No table has them.
    PassedOver(String),
    /// Their table is not linked.
    Unlinked,
    Refused(String),
}

/// Tells whether the column at `pointer` holds GUIDs: by its type in the configuration, or where rows tell the types; rows of
/// Dataverse and OData have no other keys that look like one. Types that records say are known where changes are applied.
fn is_guid(pointer: &str, plan: &TablePlan, source: &SourcePlan) -> bool {
    match &plan.columns {
        Columns::Given(columns) => {
            is_guid_column(pointer, &TableSchema { columns: columns.clone(), ..TableSchema::default() })
        }
        Columns::Infer => true,
        Columns::Stream => matches!(source.mapping.envelope, Envelope::ODataDelta | Envelope::Dataverse),
    }
}

/// One batch's records.
struct Here<'a> {
    columns: &'a RowColumns,
    batch: &'a Batch,
}

impl Here<'_> {
    fn text(&self, column: usize, row: usize) -> Option<&str> {
        let column = self.batch.columns[column].as_string_view();
        column.is_valid(row).then(|| column.value(row))
    }

    fn json(&self, column: usize, row: usize) -> Option<&[u8]> {
        let column = self.batch.columns[column].as_binary_view();
        column.is_valid(row).then(|| column.value(row))
    }

    /// What the record does to its table.
    fn change(&self, row: usize, table: &Columned) -> Result<RowChange, String> {
        let version = self.columns.version.get(self.batch, row)?;
        let operation = match self.text(self.columns.operation, row) {
            Some("truncate") if table.plan.has_several_kinds() => {
                return Err(format!(
                    "one of the tables whose rows table `{}` holds was truncated: which of its rows went is not known, so all stay; \
                     link it anew once its source has a new copy",
                    table.name
                ));
            }
            Some("truncate") => return Ok(RowChange::Truncate(version)),
            Some(text) => text.parse()?,
            // What does not say what it does is the row.
            None => Operation::Update,
        };
        let is_continued = operation == Operation::Create && self.property(row, "unavailable").is_some();
        let operation = if is_continued { Operation::Patch } else { operation };
        let times = self.batch.columns[self.columns.time].as_primitive::<TimestampMicrosecondType>();
        let time = times.is_valid(row).then(|| times.value(row));
        let body = if self.batch.bodies.is_valid(row) { self.batch.bodies.value(row) } else { &[] };
        let position = self.property(row, "position").and_then(|position| position.parse().ok());
        let key = |subject| Key { source: String::new(), kind: String::new(), subject };
        let change = |operation, subject, body: &[u8]| {
            refuse_nul(body)?;
            let change = Change::new(Shape::Row, key(subject), operation, version, time, Bytes::copy_from_slice(body));
            change.map(|change| change.at_position(position))
        };
        let subject = self.key(row, table, operation)?;
        let previous = self.previous(row, table)?.filter(|previous| *previous != subject);
        let partition = self.created(row, table)?;
        let changed = change(operation, subject, body)?.in_partition(partition);
        Ok(match previous {
            Some(from) if operation != Operation::Delete => {
                let gone = change(Operation::Delete, from.clone(), &[])?;
                RowChange::Moved(Box::new(KeyChange { from, gone, change: changed }))
            }
            _ if is_continued => RowChange::Continued(changed),
            _ => RowChange::Row(changed),
        })
    }

    /// The key of the record's row. A delete or a patch may leave it to the record's subject.
    fn key(&self, row: usize, table: &Columned, operation: Operation) -> Result<String, String> {
        let subject = || self.text(self.columns.subject, row).filter(|subject| !subject.is_empty()).map(str::to_owned);
        if table.key.is_empty() {
            return subject().ok_or_else(|| {
                let (export, name) = (&self.columns.export, &table.name);
                let why = match self.columns.names_rows {
                    true => "the envelope does not say it",
                    false => "there is no `pk`, which wal2json writes with `include-pk` for tables with a primary key, but not with every version for `REPLICA IDENTITY FULL`",
                };
                format!("no key: {why}; set `key = \"/id\"` in [exports.{export}.tables.{name}]")
            });
        }
        if let Some(key) = table.guids.key_text(table.key.iter().map(|column| self.json(*column, row))) {
            return Ok(key);
        }
        let named = matches!(operation, Operation::Delete | Operation::Patch) && self.columns.names_rows;
        match subject().filter(|_| named) {
            Some(subject) => table.key_of("key", &subject),
            None => {
                Err(format!("no key: the row has nothing at {}, where table `{}` has it", table.places(), table.name))
            }
        }
    }

    /// The key that the row had before an update that changed it. What is not said of the row before is as it is now.
    fn previous(&self, row: usize, table: &Columned) -> Result<Option<String>, String> {
        let named = || self.property(row, "previousKey");
        if table.key.is_empty() {
            return Ok(named());
        }
        let Some(before) = self.property(row, "previous") else {
            let named = named().filter(|_| self.columns.names_rows);
            return named.map(|named| table.key_of("previous key", &named)).transpose();
        };
        let Some(before) = values_at(before.as_bytes(), &table.plan.key) else { return Ok(None) };
        let now = table.key.iter().map(|column| self.json(*column, row));
        Ok(table.guids.key_text(before.into_iter().zip(now).map(|(before, now)| before.or(now))))
    }

    /// What the envelope says besides its attributes.
    fn property(&self, row: usize, name: &str) -> Option<String> {
        let maps = self.batch.columns[self.columns.system].as_any().downcast_ref::<MapArray>()?;
        if !maps.is_valid(row) {
            return None;
        }
        let (names, values) = (maps.keys().as_string::<i32>(), maps.values().as_string::<i32>());
        let [start, end] = [row, row + 1].map(|at| maps.value_offsets()[at] as usize);
        (start..end).find(|at| names.value(*at) == name).map(|at| values.value(at).to_owned())
    }

    /// The partition of the row's creation.
    fn created(&self, row: usize, table: &Columned) -> Result<Option<i32>, String> {
        let (Some(column), Some(pointer)) = (table.created, &table.plan.created) else { return Ok(None) };
        let Some(value) = self.json(column, row).filter(|value| *value != b"null") else { return Ok(None) };
        let text = text_of(value).unwrap_or_default();
        let partition = parse_time(&text).and_then(|time| partition_of(time, table.plan.partition));
        partition.map(Some).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            format!("the row was created at `{text}` (`{pointer}`), expected a time of the years 0000 to 9999")
        })
    }
}

/// A NUL is valid JSON, and what most readers of text files cut values off at.
fn refuse_nul(body: &[u8]) -> Result<(), String> {
    let is_nul = |at: usize| body[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0;
    match memchr::memmem::find_iter(body, br"\u0000").any(is_nul) {
        true => Err("the row holds the character NUL (`\\u0000`), which no file of a table can hold".into()),
        false => Ok(()),
    }
}

/// A batch of rows with the columns that a format asked for. `columns`: what they are; those of the body come later.
/// `gone`: what is null in earlier rows.
pub fn batch(
    origin: &Arc<str>,
    (schema, gone): (&TableSchema, &[Gone]),
    documents: &[Document],
    columns: &[ColumnRequest],
) -> Batch {
    // The format itself leaves out what is gone still.
    let returned: Vec<_> = gone.iter().filter(|gone| gone.since < i64::MAX).cloned().collect();
    let heads: Vec<Option<Head>> = documents.iter().map(|one| Head::of(one.body.as_ref()?)).collect();
    let row = |document: &Document, head: &Option<Head>| match head {
        Some(head) if !head.deleted => document.body.as_ref().map(|body| {
            let row = Head::shared_row(body);
            without(&row, head.modified, document.version, &returned).map_or(row, Bytes::from)
        }),
        _ => Some(Bytes::from_static(b"{}")),
    };
    let bodies: BinaryViewArray = documents.iter().zip(&heads).map(|(document, head)| row(document, head)).collect();
    let column = |request: &ColumnRequest| attribute(request, &schema.table, documents, &heads);
    Batch {
        columns: columns.iter().map(column).collect(),
        raw: bodies.clone(),
        bodies,
        offsets: UInt64Array::from(vec![0; documents.len()]),
        records: numbers(documents.len()),
        origin: origin.clone(),
    }
}

fn attribute(request: &ColumnRequest, table: &str, documents: &[Document], heads: &[Option<Head>]) -> ArrayRef {
    let times = |time: fn(&Head) -> i64| -> ArrayRef {
        let times = heads.iter().map(|head| head.as_ref().map(time));
        Arc::new(times.collect::<TimestampMicrosecondArray>())
    };
    match (&request.selector, request.as_type) {
        (Selector::Attribute(Attribute::Subject | Attribute::Id), ColumnType::Text) => {
            let keys = documents.iter().map(|document| Some(document.key.subject.as_str()));
            Arc::new(keys.collect::<StringViewArray>())
        }
        (Selector::Attribute(Attribute::Kind | Attribute::Source), ColumnType::Text) => {
            Arc::new(documents.iter().map(|_| Some(table)).collect::<StringViewArray>())
        }
        (Selector::Attribute(Attribute::Operation), ColumnType::Text) => {
            let operation = |head: &Option<Head>| match head.is_some_and(|head| head.deleted) {
                true => Operation::Delete.as_str(),
                false => Operation::Update.as_str(),
            };
            Arc::new(heads.iter().map(|head| Some(operation(head))).collect::<StringViewArray>())
        }
        (Selector::Attribute(Attribute::Version), ColumnType::Int64) => {
            Arc::new(documents.iter().map(|document| document.version).collect::<Int64Array>())
        }
        (Selector::Attribute(Attribute::EnqueuedTime), ColumnType::Timestamp) => times(|head| head.created),
        (Selector::Attribute(Attribute::Time), ColumnType::Timestamp) => times(|head| head.modified),
        (_, as_type) => nulls(as_type, documents.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_told_from_an_escaped_backslash() {
        assert!(refuse_nul(br#"{"a":"x\u0000"}"#).is_err());
        assert!(refuse_nul(br#"{"a":"x\\\u0000"}"#).is_err());
        assert!(refuse_nul(br#"{"a":"x\\u0000"}"#).is_ok());
        assert!(refuse_nul(br#"{"a":"x\u0001"}"#).is_ok());
    }
}
