//! PostgreSQL's changes as the output plugin wal2json writes them in its format version 2: a line each.
//!
//! `{"action":"U","schema":"public","table":"t","columns":[{"name":…,"type":…,"value":…}],"identity":[…]}`, with `lsn`, `timestamp`
//! and `pk` where the options `include-lsn`, `include-timestamp` and `include-pk` ask for them. An update lacks the columns whose
//! values are stored apart (TOAST) and did not change, so it is a patch. Values are copied byte for byte.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use super::Outer;
use super::content::text_of;
use super::news::Saying;
use super::row::Row;
use super::sql;
use crate::dataset::{Column, TableName};
use crate::decode::fields::Slot;
use crate::decode::key_text;
use crate::decode::reason;
use crate::decode::scan::{Scanner, Span};
use crate::decode::stops::Stops;
use crate::decode::time;
use crate::error::Result;
use crate::record::Attribute;

const ACTIONS: &str = "expected `I`, `U`, `D`, `T`, `B`, `C` or `M` of wal2json's format version 2";

/// Opens changes.
pub struct Wal2Json {
    outer: Outer,
    source: String,
    slots: Slots,
    columns: Columns,
    identity: Columns,
    key: Columns,
    scratch: Vec<u8>,
}

struct Slots {
    action: Slot,
    schema: Slot,
    table: Slot,
    columns: Slot,
    identity: Slot,
    pk: Slot,
    lsn: Slot,
    timestamp: Slot,
}

/// The elements of one of a line's lists.
#[derive(Default)]
struct Columns {
    all: Vec<Entry>,
    stops: [Stops; 2],
}

/// One column; what it does not say is absent.
#[derive(Clone, Copy)]
struct Entry {
    name: Span,
    data_type: Span,
    value: Span,
}

impl Wal2Json {
    /// Opens changes of a source.
    pub fn new(source: &str) -> Result<Wal2Json> {
        let mut outer = Outer::default();
        let mut add = |pointer| outer.fields.add(pointer);
        let slots = Slots {
            action: add("/action")?,
            schema: add("/schema")?,
            table: add("/table")?,
            columns: add("/columns")?,
            identity: add("/identity")?,
            pk: add("/pk")?,
            lsn: add("/lsn")?,
            timestamp: add("/timestamp")?,
        };
        let (columns, identity, key) = Default::default();
        Ok(Wal2Json { outer, source: source.to_owned(), slots, columns, identity, key, scratch: Vec::new() })
    }

    /// Takes a change out of a line.
    pub fn open(&mut self, data: &[u8], start: usize, end: usize, row: &mut Row<'_>) -> Result<(), String> {
        let Wal2Json { outer, source, slots, columns, identity, key, scratch } = self;
        outer.scan(data, start, end)?;
        let action = outer.get(data, slots.action);
        let operation = match text_of(data, action).as_deref() {
            Some("I") => "create",
            Some("U") => "patch",
            Some("D") => "delete",
            Some("T") => "truncate",
            // The marks of a transaction, and messages that are no change of a table.
            Some("B" | "C" | "M") => {
                row.skipped = true;
                return Ok(());
            }
            _ => return Err(reason::no_text("action", data, action, ACTIONS)),
        };
        let table = outer.get(data, slots.table);
        reason::check_text("table", data, table)?;
        let schema = text_of(data, outer.get(data, slots.schema));
        let name =
            text_of(data, table).ok_or_else(|| reason::no_text("table", data, table, "expected Unicode text"))?;
        let name = TableName { schema: schema.map(Cow::into_owned), ..TableName::plain(name) };
        row.table(&name);
        row.text(Attribute::Source, source);
        row.text(Attribute::Operation, operation);
        let version = put_version(data, outer.get(data, slots.lsn), row)?;
        put_time(data, outer.get(data, slots.timestamp), scratch, row)?;
        if operation == "truncate" {
            return Ok(());
        }
        columns.read("columns", data, outer.get(data, slots.columns))?;
        identity.read("identity", data, outer.get(data, slots.identity))?;
        key.read("pk", data, outer.get(data, slots.pk))?;
        if operation == "delete" {
            put_key(data, key, &[identity], row);
            if !identity.all.is_empty() {
                put_object(data, identity, row);
            }
            return Ok(());
        }
        if columns.all.is_empty() && outer.get(data, slots.columns).is_absent() {
            return Err("no `columns`: expected an array of columns".into());
        }
        if operation == "create" {
            put_key(data, key, &[columns], row);
        } else {
            put_key(data, key, &[columns, identity], row);
            put_previous(data, key, columns, identity, row);
        }
        put_object(data, columns, row);
        if columns.all.iter().all(|column| !column.data_type.is_absent()) {
            columns.sign(data, scratch);
            let saying = Saying { signature: xxh3_64(scratch), complete: operation == "create", version };
            row.say(&name, saying, || columns.described(data));
        }
        Ok(())
    }
}

impl Columns {
    /// Reads a list of a line that was validated. Only what `pk` lists has no value.
    fn read(&mut self, member: &str, data: &[u8], array: Span) -> Result<(), String> {
        self.all.clear();
        if array.is_absent() {
            return Ok(());
        }
        if data[array.start as usize] != b'[' {
            let found = reason::value_kind(data[array.start as usize]);
            return Err(format!("the `{member}` is {found}, expected an array of columns"));
        }
        let Columns { all, stops: [outer, inner] } = self;
        let scanned = Scanner::new(data, array.end as usize, outer).elements(array.start as usize, |element| {
            let mut entry = Entry { name: Span::ABSENT, data_type: Span::ABSENT, value: Span::ABSENT };
            if data[element.start as usize] == b'{' {
                let scanned =
                    Scanner::new(data, element.end as usize, inner).members(element.start as usize, |key, value| {
                        match key.inside(data) {
                            b"name" => entry.name = value,
                            b"type" => entry.data_type = value,
                            b"value" => entry.value = value,
                            _ => {}
                        }
                    });
                debug_assert!(scanned.is_ok(), "the line was validated");
            }
            all.push(entry);
        });
        debug_assert!(scanned.is_ok(), "the line was validated");
        for (at, entry) in all.iter_mut().enumerate() {
            let is_text = |span: Span| !span.is_absent() && data[span.start as usize] == b'"';
            if !is_text(entry.name) {
                return Err(format!("element {} of `{member}` has no `name`: expected a string", at + 1));
            }
            if entry.value.is_absent() && member != "pk" {
                let name = String::from_utf8_lossy(entry.name.inside(data));
                return Err(format!("`{name}` in `{member}` has no `value`"));
            }
            if !is_text(entry.data_type) {
                entry.data_type = Span::ABSENT;
            }
        }
        Ok(())
    }

    /// The value of the column that is called as `name` is.
    fn value(&self, data: &[u8], name: Span) -> Option<Span> {
        let name = name.of(data);
        self.all.iter().rfind(|entry| entry.name.of(data) == name).map(|entry| entry.value)
    }

    /// The names and types, to be told from others.
    fn sign(&self, data: &[u8], out: &mut Vec<u8>) {
        out.clear();
        for entry in &self.all {
            out.extend_from_slice(entry.name.of(data));
            out.extend_from_slice(entry.data_type.of(data));
        }
    }

    /// `None` where a name is no Unicode text.
    fn described(&self, data: &[u8]) -> Option<Vec<Column>> {
        let column = |entry: &Entry| {
            let (name, data_type) = (text_of(data, entry.name)?, text_of(data, entry.data_type)?);
            Some(sql::column(name.into_owned(), &data_type))
        };
        self.all.iter().map(column).collect()
    }

    /// Adds an object of the columns.
    #[inline]
    fn write(&self, data: &[u8], out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, entry) in self.all.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(entry.name.of(data));
            out.push(b':');
            out.extend_from_slice(entry.value.of(data));
        }
        out.push(b'}');
    }
}

/// The key text of the columns that `names` lists, each out of the first of `rows` that has it; `None` where none has.
fn key_of(data: &[u8], names: &Columns, rows: &[&Columns]) -> Option<String> {
    let value = |entry: &Entry| rows.iter().find_map(|row| row.value(data, entry.name)).map(|value| value.of(data));
    match &*names.all {
        [] => None,
        [one] => Some(key_text(&[value(one)?])),
        several => Some(key_text(&several.iter().map(value).collect::<Option<Vec<_>>>()?)),
    }
}

fn put_key(data: &[u8], names: &Columns, rows: &[&Columns], row: &mut Row<'_>) {
    if row.wanted.has(Attribute::Subject)
        && let Some(key) = key_of(data, names, rows)
    {
        row.text(Attribute::Subject, &key);
    }
}

/// What is known of the row before, where the update changed some of it, since a table may have any column as its key; and what
/// its key was, where that changed.
fn put_previous(data: &[u8], names: &Columns, columns: &Columns, identity: &Columns, row: &mut Row<'_>) {
    let changed = |before: &Entry| {
        let (now, before) = (columns.value(data, before.name).map(|now| now.of(data)), before.value.of(data));
        now.is_some_and(|now| now != before && key_text(&[now]) != key_text(&[before]))
    };
    if !row.wanted.has(Attribute::SystemProperties) || !identity.all.iter().any(changed) {
        return;
    }
    let mut object = Vec::new();
    identity.write(data, &mut object);
    if let Some(previous) = key_of(data, names, &[identity])
        && key_of(data, names, &[columns, identity]).as_ref() != Some(&previous)
    {
        row.property("previousKey", &previous);
    }
    row.property("previous", &String::from_utf8_lossy(&object));
}

fn put_object(data: &[u8], columns: &Columns, row: &mut Row<'_>) {
    let start = row.buffer.len();
    columns.write(data, row.buffer);
    row.body_written(start);
}

/// The version: the position in the log, as one number.
fn put_version(data: &[u8], lsn: Span, row: &mut Row<'_>) -> Result<Option<i64>, String> {
    if lsn.is_absent() {
        return Ok(None);
    }
    let parse = |text: &str| {
        let (high, low) = text.split_once('/')?;
        let number = |digits: &str| {
            let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_number.then(|| i64::from_str_radix(digits, 16).ok()).flatten()
        };
        let (high, low) = (number(high)?, number(low)?);
        (high <= i64::from(i32::MAX)).then_some(high << 32 | low)
    };
    match text_of(data, lsn).and_then(|text| parse(&text)) {
        Some(version) => {
            row.number(Attribute::Version, version);
            Ok(Some(version))
        }
        None => Err(reason::no_text("lsn", data, lsn, "expected a position such as `0/16B3748`")),
    }
}

/// The time of the commit: `2021-06-25 16:21:12.123456+00`.
fn put_time(data: &[u8], value: Span, scratch: &mut Vec<u8>, row: &mut Row<'_>) -> Result<(), String> {
    if value.is_absent() {
        return Ok(());
    }
    let instant = text_of(data, value).and_then(|text| {
        scratch.clear();
        scratch.extend_from_slice(text.as_bytes());
        // PostgreSQL leaves the minutes out where there are none.
        if let [.., b'+' | b'-', _, _] = scratch[..] {
            scratch.extend_from_slice(b":00");
        }
        time::parse(scratch, crate::plan::TimeUnit::Rfc3339)
    });
    match instant {
        Some(instant) => {
            row.instant(Attribute::Time, instant);
            Ok(())
        }
        None => {
            Err(reason::no_text("timestamp", data, value, "expected a time such as `2021-06-25 16:21:12.123456+00`"))
        }
    }
}
