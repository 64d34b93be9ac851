//! Debezium's change events: one line each, the value alone or `{"schema": …, "payload": …}` as Kafka Connect's JSON converter
//! writes it with schemas.
//!
//! An update has the whole row, but for values that are stored apart and did not change: Debezium puts a placeholder there, and
//! what is left is a patch. With a schema, numbers that stand for decimals, dates and times become what they stand for; without
//! one they stay as they are. Where facts come from: the manual's chapters on the connectors' data change events.

mod rows;
mod schema;
mod tables;
mod unavailable;
mod values;

use std::borrow::Cow;

use super::Outer;
use super::content::text_of;
use super::news::Saying;
use super::row::Row;
use crate::dataset::TableName;
use crate::decode::columns::int64;
use crate::decode::fields::Slot;
use crate::decode::reason;
use crate::decode::scan::{Scanner, Span};
use crate::decode::stops::Stops;
use crate::error::Result;
use crate::record::Attribute;

use schema::Schemas;

const OPERATIONS: &str = "expected `c`, `u`, `d`, `r`, `t` or `m`";

/// Opens change events.
pub struct Debezium {
    /// The line.
    outer: Outer,
    whole: Slot,
    schema: Slot,
    payload: Slot,
    /// The event.
    event: Outer,
    slots: Slots,
    schemas: Schemas,
    stops: Stops,
    source: String,
}

struct Slots {
    op: Slot,
    before: Slot,
    after: Slot,
    name: Slot,
    database: Slot,
    schema: Slot,
    table: Slot,
    collection: Slot,
    connector: Slot,
    lsn: Slot,
    file: Slot,
    position: Slot,
    row: Slot,
    time: Slot,
    ddl: Slot,
    tables: Slot,
    status: Slot,
    id: Slot,
}

impl Debezium {
    /// Opens events of a source.
    pub fn new(source: &str) -> Result<Debezium> {
        let (mut outer, mut event) = (Outer::default(), Outer::default());
        let mut add = |pointer| event.fields.add(pointer);
        let slots = Slots {
            op: add("/op")?,
            before: add("/before")?,
            after: add("/after")?,
            name: add("/source/name")?,
            database: add("/source/db")?,
            schema: add("/source/schema")?,
            table: add("/source/table")?,
            collection: add("/source/collection")?,
            connector: add("/source/connector")?,
            lsn: add("/source/lsn")?,
            file: add("/source/file")?,
            position: add("/source/pos")?,
            row: add("/source/row")?,
            time: add("/source/ts_ms")?,
            ddl: add("/ddl")?,
            tables: add("/tableChanges")?,
            status: add("/status")?,
            id: add("/id")?,
        };
        Ok(Debezium {
            whole: outer.fields.add("")?,
            schema: outer.fields.add("/schema")?,
            payload: outer.fields.add("/payload")?,
            outer,
            event,
            slots,
            schemas: Schemas::default(),
            stops: Stops::default(),
            source: source.to_owned(),
        })
    }

    /// Takes an event out of a line.
    pub fn open(&mut self, data: &[u8], start: usize, end: usize, row: &mut Row<'_>) -> Result<(), String> {
        if data[start..end].trim_ascii() == b"null" {
            row.skipped = true;
            return Ok(());
        }
        self.outer.scan(data, start, end)?;
        let payload = self.outer.found[self.payload];
        let event = if payload.is_absent() { self.outer.found[self.whole] } else { payload };
        match data[event.start as usize] {
            b'{' => {}
            // A tombstone.
            b'n' => {
                row.skipped = true;
                return Ok(());
            }
            other => return Err(format!("the `payload` is {}, expected an object", reason::value_kind(other))),
        }
        self.event.find(data, event);
        let op = self.event.get(data, self.slots.op);
        if op.is_absent() {
            return self.open_other(data, event, row);
        }
        let operation = match text_of(data, op).as_deref() {
            Some("c" | "r") => "create",
            Some("u") => "update",
            Some("d") => "delete",
            Some("t") => "truncate",
            Some("m") => {
                row.skipped = true;
                return Ok(());
            }
            _ => return Err(reason::no_text("op", data, op, OPERATIONS)),
        };
        self.open_change(operation, data, row)
    }

    fn open_change(&mut self, operation: &str, data: &[u8], row: &mut Row<'_>) -> Result<(), String> {
        let Debezium { outer, event, slots, schemas, stops, .. } = self;
        let get = |slot| event.get(data, slot);
        let table = event.first(data, &[slots.table, slots.collection]);
        reason::check_text("source.table", data, table)?;
        let name = text_of(data, table)
            .ok_or_else(|| reason::no_text("source.table", data, table, "expected Unicode text"))?;
        let place = |slot| text_of(data, get(slot)).map(Cow::into_owned);
        let name = TableName {
            server: place(slots.name),
            database: place(slots.database),
            schema: place(slots.schema),
            table: name.into_owned(),
        };
        let (version, time) = (version(data, event, slots)?, whole("source.ts_ms", data, get(slots.time))?);
        // Embedded engines write 0 for a time that they do not know.
        let time = time.filter(|millis| *millis != 0);
        let known = schemas.get(data, outer.get(data, self.schema));
        let value = get(if operation == "delete" { slots.before } else { slots.after });
        let mut operation = operation;
        if operation != "truncate" {
            match value.is_absent() {
                true if operation == "delete" => {}
                true => return Err("no `after`: expected an object".into()),
                false if data[value.start as usize] != b'{' => {
                    let member = if operation == "delete" { "before" } else { "after" };
                    let found = reason::value_kind(data[value.start as usize]);
                    return Err(format!("the `{member}` is {found}, expected an object"));
                }
                false => {
                    let table = known.map(|(_, table)| table).filter(|table| table.converts());
                    let left_out = match (unavailable::may_be_in(value.of(data)), table) {
                        (false, None) => {
                            row.body_json(data, value);
                            Vec::new()
                        }
                        (_, table) => rows::put(data, value, table, stops, row)?,
                    };
                    match operation {
                        "update" => {
                            rows::put_previous(data, get(slots.before), value, table, stops, row)?;
                            operation = if left_out.is_empty() { "update" } else { "patch" };
                        }
                        // The row had another key until now, or the event is one of a snapshot that is not whole.
                        "create" if !left_out.is_empty() => rows::put_left_out(data, &left_out, row),
                        _ => {}
                    }
                }
            }
        }
        row.table(&name);
        row.text(Attribute::Operation, operation);
        row.text(Attribute::Source, &self.source);
        if let Some(version) = version {
            row.number(Attribute::Version, version);
        }
        if row.wanted.has(Attribute::SystemProperties)
            && let Some(position) = whole("source.row", data, get(slots.row))?
        {
            row.property("position", &position.to_string());
        }
        if let Some(micros) = time.and_then(|millis| millis.checked_mul(1000)) {
            row.instant(Attribute::Time, micros);
        }
        if let Some((signature, table)) = known {
            let saying = Saying { signature, complete: true, version };
            row.say(&name, saying, || Some(table.columns.clone()));
        }
        Ok(())
    }

    /// What changes no row: changes of schemas, marks of transactions, heartbeats.
    fn open_other(&mut self, data: &[u8], event: Span, row: &mut Row<'_>) -> Result<(), String> {
        let (slots, get) = (&self.slots, |slot| self.event.get(data, slot));
        row.skipped = true;
        if !get(slots.ddl).is_absent() || !get(slots.tables).is_absent() {
            let connector = text_of(data, get(slots.connector)).unwrap_or_default();
            let version = version(data, &self.event, slots)?;
            return tables::say(data, get(slots.tables), (&connector, version), row);
        }
        let status = text_of(data, get(slots.status));
        if matches!(status.as_deref(), Some("BEGIN" | "END")) && !get(slots.id).is_absent() {
            return Ok(());
        }
        let mut is_heartbeat = true;
        let scanned = Scanner::new(data, event.end as usize, &mut self.stops)
            .members(event.start as usize, |key, _| is_heartbeat &= key.inside(data).starts_with(b"ts_"));
        debug_assert!(scanned.is_ok(), "the event was validated");
        match is_heartbeat && event.end - event.start > 2 {
            true => Ok(()),
            false => Err(format!("no `op`: {OPERATIONS} of an event that was not flattened")),
        }
    }
}

/// A version that grows with the database's log: PostgreSQL's position, MySQL's file and position in it. Oracle's change number is
/// none: all changes of one moment have the same.
fn version(data: &[u8], event: &Outer, slots: &Slots) -> Result<Option<i64>, String> {
    let get = |slot| event.get(data, slot);
    if let Some(lsn) = whole("source.lsn", data, get(slots.lsn))? {
        return Ok(Some(lsn));
    }
    // The initial read of an embedded engine has an empty file.
    let (Some(file), Some(position)) = (
        text_of(data, get(slots.file)).filter(|file| !file.is_empty()),
        whole("source.pos", data, get(slots.position))?,
    ) else {
        return Ok(None);
    };
    // Of the 63 bits a position has 40, since a file may be larger than 4 GiB; more files than 2^23 there are not.
    let number = file.rsplit('.').next().and_then(|number| number.parse::<u32>().ok());
    match number {
        Some(number) if number < 1 << 23 && (0..1 << 40).contains(&position) => {
            Ok(Some(i64::from(number) << 40 | position))
        }
        _ => Err(format!(
            "the `source.file` is `{file}` and `source.pos` {position}, expected such as `mysql-bin.000003` and 154"
        )),
    }
}

/// A whole number, or a text of one; nothing where there is none, or an empty text.
fn whole(name: &str, data: &[u8], value: Span) -> Result<Option<i64>, String> {
    if value.is_absent() {
        return Ok(None);
    }
    let text = match data[value.start as usize] {
        b'"' => value.inside(data),
        _ => value.of(data),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let number = std::str::from_utf8(text).ok().and_then(int64);
    let shown = || String::from_utf8_lossy(value.of(data)).into_owned();
    number.map(Some).ok_or_else(|| format!("the `{name}` is `{}`, expected a whole number", shown()))
}
