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
pub mod datum;
pub mod decompress;
mod events;
mod gathered;
mod iot_hub;
mod row;

use super::fields::{Fields, Slot};
use super::lines::{self, Line, span};
use super::requests::Wanted;
use super::scan::{Scanner, Span};
use super::stops::Stops;
use super::{Decoded, Decoder, reason};
use crate::plan::{Envelope, Mapping};
use crate::source::{Chunk, Framing};

use avro::Avro;
use change::Change;
use events::Events;
use gathered::Gathered;
use iot_hub::IotHub;
use row::{Inherited, Row};

/// An array of more records is refused as a whole. Event Grid delivers no more than fit into 1 MB.
const MOST_ELEMENTS: usize = 1 << 16;

/// Takes records out of one kind of envelope.
pub struct Opener {
    kind: Kind,
    inherited: Inherited,
}

enum Kind {
    IotHub(IotHub),
    Events(Events),
    Change(Change),
    Avro(Box<Avro>),
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
            other => return Err(crate::Error::internal(format!("no decoder for envelope `{}`", other.name()))),
        };
        Ok(Some(Opener { kind, inherited: Inherited::new(mapping, wanted, fields)? }))
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
            Kind::Avro(_) => Err("a line, expected a block of an Avro container file".into()),
        }
    }

    /// Whether a line may be an array of records.
    fn takes_arrays(&self) -> bool {
        matches!(self, Kind::Events(events) if events.takes_arrays())
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
        Framing::Lines => decode_lines(&mut gathered, opener),
        Framing::Avro(header) => {
            let Opener { kind, inherited } = opener;
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
        let is_array = opener.kind.takes_arrays() && data[start..end].trim_ascii_start().starts_with(b"[");
        let size = (end - start) as u64 + dropped;
        let whole = if dropped > 0 || size > limit && !is_array {
            Err(reason::too_large(size, limit, dropped))
        } else {
            reason::check_utf8(&data[start..end], utf8)
        };
        match whole {
            Err(reason) => gathered.refuse(reason, start, end),
            Ok(()) if is_array => decode_array(gathered, opener, start, end),
            Ok(()) => decode_one(gathered, opener, start, end),
        }
    }
}

fn decode_one(gathered: &mut Gathered<'_>, opener: &mut Opener, start: usize, end: usize) {
    let data = &gathered.chunk.data;
    let Opener { kind, inherited } = opener;
    match gathered.take(inherited, |row| kind.open(data, start, end, row)) {
        Ok(()) => gathered.keep(span(start, end), start),
        Err(reason) => gathered.refuse(reason, start, end),
    }
}

/// The elements of an array, each a record.
fn decode_array(gathered: &mut Gathered<'_>, opener: &mut Opener, start: usize, end: usize) {
    let data = &gathered.chunk.data;
    let mut stops = Stops::default();
    let array = match Scanner::new(data, end, &mut stops).document(start, |_, _| {}) {
        Ok(array) => array,
        Err(fault) => return gathered.refuse(reason::fault(data, start, end, fault), start, end),
    };
    let (mut elements, mut count) = (Vec::new(), 0);
    let scanned = Scanner::new(data, array.end as usize, &mut stops).elements(array.start as usize, |element| {
        count += 1;
        if count <= MOST_ELEMENTS {
            elements.push(element);
        }
    });
    debug_assert!(scanned.is_ok(), "the array was validated");
    if count > MOST_ELEMENTS {
        let reason = format!("an array of {count} events, at most {MOST_ELEMENTS} are allowed");
        return gathered.refuse(reason, start, end);
    }
    for element in elements {
        let (start, end) = (element.start as usize, element.end as usize);
        let size = (end - start) as u64;
        match gathered.decoder.max_record_size {
            limit if size > limit => gathered.refuse(reason::too_large(size, limit, 0), start, end),
            _ => decode_one(gathered, opener, start, end),
        }
    }
}
