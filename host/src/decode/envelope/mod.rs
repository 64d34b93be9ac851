//! Envelopes: records are taken out of what they came in.
//!
//! The part of decoding that a source with an `envelope` goes through. An [`Opener`] looks at the envelope and copies what it
//! gives (the attributes that anyone asked for, as JSON values, and the body, unescaped or decoded) to the end of one buffer
//! per batch; the body is then scanned there as a record without an envelope is in its chunk. So the same columns are built from
//! the same kind of rows, whatever a body came as.
//!
//! Invariants:
//! - A body that is no JSON, or no text, is a body still: its bytes are there, what would be found in it is null.
//! - What is wrong with an envelope makes a dead letter that names what was expected.

mod avro;
mod change;
mod content;
mod dataverse;
pub mod datum;
mod debezium;
pub mod decompress;
mod events;
mod gathered;
mod iot_hub;
mod news;
mod odata;
mod row;
mod sql;
mod wal2json;

use std::borrow::Cow;

use super::fields::{Fields, Slot};
use super::lines::{self, Line, span};
use super::requests::Wanted;
use super::scan::{Scanner, Span};
use super::stops::Stops;
use super::{Decoded, Decoder, reason};
use crate::plan::{Envelope, Mapping, Place};
use crate::source::{Chunk, Framing};

use avro::Avro;
use change::Change;
use content::text_of;
use dataverse::Dataverse;
pub use dataverse::EXPECTED_VERSION;
use debezium::Debezium;
use events::Events;
use gathered::Gathered;
use iot_hub::IotHub;
use odata::OData;
pub use row::write_string;
use row::{Inherited, Row};
use wal2json::Wal2Json;

/// An array of more records is refused as a whole. Event Grid delivers no more than fit into 1 MB.
const MOST_ELEMENTS: usize = 1 << 16;

/// Takes records out of one kind of envelope.
pub struct Opener {
    kind: Kind,
    inherited: Inherited,
    /// Where in the envelope a record's kind is, where the configuration says so.
    named: Option<(Outer, Slot)>,
}

enum Kind {
    IotHub(IotHub),
    Events(Events),
    Change(Change),
    Avro(Box<Avro>),
    Debezium(Box<Debezium>),
    Wal2Json(Box<Wal2Json>),
    OData(Box<OData>),
    Dataverse(Box<Dataverse>),
}

impl Opener {
    /// An opener for what is wanted; `None` without an envelope. `fields`: what is looked for in bodies.
    ///
    /// # Errors
    /// None that these pointers could have.
    pub fn new(
        mapping: &Mapping,
        wanted: &Wanted,
        source: &str,
        fields: &mut Fields,
    ) -> crate::error::Result<Option<Opener>> {
        let kind = match mapping.envelope {
            Envelope::Plain => return Ok(None),
            Envelope::IotHub => Kind::IotHub(IotHub::new(&iot_hub::ROUTING, wanted, source)?),
            Envelope::CloudEvents => Kind::Events(Events::new(&events::CLOUDEVENTS)?),
            Envelope::EventGrid => Kind::Events(Events::new(&events::EVENT_GRID)?),
            Envelope::Change => Kind::Change(Change::new(source)?),
            Envelope::Avro => Kind::Avro(Box::new(Avro::new(wanted, source)?)),
            Envelope::Debezium => Kind::Debezium(Box::new(Debezium::new(source)?)),
            Envelope::Wal2Json => Kind::Wal2Json(Box::new(Wal2Json::new(source)?)),
            Envelope::ODataDelta => Kind::OData(Box::new(OData::new(source, mapping.whole_rows)?)),
            Envelope::Dataverse => Kind::Dataverse(Box::new(Dataverse::new(source)?)),
        };
        let named = match &mapping.kind {
            Place::Within(pointer) => {
                let mut outer = Outer::default();
                let slot = outer.fields.add(pointer)?;
                Some((outer, slot))
            }
            _ => None,
        };
        Ok(Some(Opener { kind, inherited: Inherited::new(mapping, wanted, fields)?, named }))
    }
}

impl Kind {
    /// Takes out what `[start, end)` of `data`, one line of JSON, holds.
    #[inline]
    fn open(&mut self, data: &[u8], start: usize, end: usize, row: &mut Row<'_>) -> Result<(), String> {
        match self {
            Kind::IotHub(hub) => hub.open(data, start, end, row),
            Kind::Events(events) => events.open(data, start, end, row),
            Kind::Change(change) => change.open(data, start, end, row),
            Kind::Debezium(debezium) => debezium.open(data, start, end, row),
            Kind::Wal2Json(wal2json) => wal2json.open(data, start, end, row),
            Kind::OData(odata) => odata.open(data, start, end, row),
            Kind::Dataverse(dataverse) => dataverse.open(data, start, end, row),
            Kind::Avro(_) => Err("a line, expected a block of an Avro container file".into()),
        }
    }

    /// Whether a line that begins with this byte may hold several records.
    fn takes_lists(&self, first: u8) -> bool {
        match self {
            Kind::Events(events) => first == b'[' && events.takes_arrays(),
            Kind::OData(_) => first == b'{',
            _ => false,
        }
    }

    /// Where the records of such a line are.
    fn list(&mut self, data: &[u8], start: usize, end: usize) -> Result<Vec<Span>, String> {
        match self {
            Kind::OData(odata) => odata.list(data, start, end),
            _ => {
                let mut stops = Stops::default();
                let array = Scanner::new(data, end, &mut stops).document(start, |_, _| {});
                let array = array.map_err(|fault| reason::fault(data, start, end, fault))?;
                elements(data, array, &mut stops, "an array", "events")
            }
        }
    }
}

/// What is wanted of an envelope itself, and what was found of it.
#[derive(Default)]
struct Outer {
    fields: Fields,
    found: Vec<Span>,
    stops: Stops,
}

impl Outer {
    /// Validates an envelope, which is an object, and finds what is wanted of it.
    #[inline]
    fn scan(&mut self, data: &[u8], start: usize, end: usize) -> Result<(), String> {
        self.found.clear();
        self.found.resize(self.fields.slots(), Span::ABSENT);
        let value = self
            .fields
            .scan(data, start, end, &mut self.found, &mut self.stops)
            .map_err(|fault| reason::fault(data, start, end, fault))?;
        if data[value.start as usize] == b'{' { Ok(()) } else { Err(reason::no_object(data[value.start as usize])) }
    }

    /// Finds what is wanted of a value that was validated.
    #[inline]
    fn find(&mut self, data: &[u8], value: Span) {
        let Outer { fields, found, stops } = self;
        found.clear();
        found.resize(fields.slots(), Span::ABSENT);
        fields.find(data, value, found, stops);
    }

    /// What was found at a pointer; nothing where that is null.
    fn get(&self, data: &[u8], slot: Slot) -> Span {
        let span = self.found[slot];
        if !span.is_absent() && data[span.start as usize] == b'n' { Span::ABSENT } else { span }
    }

    /// The first of some values that is there.
    fn first(&self, data: &[u8], slots: &[Slot]) -> Span {
        slots.iter().map(|slot| self.get(data, *slot)).find(|span| !span.is_absent()).unwrap_or(Span::ABSENT)
    }
}

/// Decodes a chunk of records in envelopes.
pub fn decode(decoder: &mut Decoder, opener: &mut Opener, chunk: &Chunk, write_time: i64) -> Decoded {
    let mut gathered = Gathered::new(decoder, chunk, write_time);
    match &chunk.framing {
        Framing::Lines | Framing::Numbered(_) => decode_lines(&mut gathered, opener),
        Framing::Avro(header) => {
            let Opener { kind, inherited, .. } = opener;
            if let Kind::Avro(avro) = kind {
                avro.decode(&mut gathered, inherited, header);
            }
        }
    }
    gathered.finish()
}

fn decode_lines(gathered: &mut Gathered<'_>, opener: &mut Opener) {
    let chunk = gathered.chunk;
    let data = &chunk.data;
    let limit = gathered.decoder.max_record_size;
    let utf8 = simdutf8::basic::from_utf8(data).is_ok();
    for Line { start, end, dropped } in lines::of(chunk) {
        let first = data[start..end].trim_ascii_start().first();
        let is_list = first.is_some_and(|first| opener.kind.takes_lists(*first));
        let size = (end - start) as u64 + dropped;
        let whole = if dropped > 0 || size > limit && !is_list {
            Err(reason::too_large(size, limit, dropped))
        } else {
            reason::check_utf8(&data[start..end], utf8)
        };
        match whole {
            Err(reason) => gathered.refuse(reason, start, end),
            Ok(()) if is_list => decode_list(gathered, opener, start, end),
            Ok(()) => decode_one(gathered, opener, start, end),
        }
    }
}

fn decode_one(gathered: &mut Gathered<'_>, opener: &mut Opener, start: usize, end: usize) {
    let data = &gathered.chunk.data;
    let Opener { kind, inherited, named } = opener;
    gathered.begin(start);
    // What is not JSON is refused below.
    let named = named.as_mut().map(|(named, slot)| match named.scan(data, start, end) {
        Ok(()) => text_of(data, named.get(data, *slot)).unwrap_or_default(),
        Err(_) => Cow::default(),
    });
    match gathered.take(inherited, named.as_deref(), |row| kind.open(data, start, end, row)) {
        Ok(()) => gathered.keep(span(start, end), start),
        Err(reason) => gathered.refuse(reason, start, end),
    }
}

/// Where the elements of an array that was validated are.
fn elements(data: &[u8], array: Span, stops: &mut Stops, list: &str, of: &str) -> Result<Vec<Span>, String> {
    let (mut elements, mut count) = (Vec::new(), 0);
    let scanned = Scanner::new(data, array.end as usize, stops).elements(array.start as usize, |element| {
        count += 1;
        if count <= MOST_ELEMENTS {
            elements.push(element);
        }
    });
    debug_assert!(scanned.is_ok(), "the array was validated");
    match count > MOST_ELEMENTS {
        true => Err(format!("{list} of {count} {of}, at most {MOST_ELEMENTS} are allowed")),
        false => Ok(elements),
    }
}

/// The records of a line that holds several.
fn decode_list(gathered: &mut Gathered<'_>, opener: &mut Opener, start: usize, end: usize) {
    let elements = match opener.kind.list(&gathered.chunk.data, start, end) {
        Ok(elements) => elements,
        Err(reason) => return gathered.refuse(reason, start, end),
    };
    for element in elements {
        let (start, end) = (element.start as usize, element.end as usize);
        let size = (end - start) as u64;
        match gathered.decoder.max_record_size {
            limit if size > limit => gathered.refuse(reason::too_large(size, limit, 0), start, end),
            _ => decode_one(gathered, opener, start, end),
        }
    }
}
