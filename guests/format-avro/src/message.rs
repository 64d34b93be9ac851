//! Record kind `message`: a device's message as IoT Hub writes it to Blob storage.
//!
//! This is what most exports write, a record for every message of a fleet: it goes by columns, straight into the
//! segment, and allocates nothing for a record. The field order is the schema's; the order of the pairs is the
//! source's.

use lakeport_plugin::prelude::*;
use lakeport_plugin::{TextPairs, VarBytes, bit};

use crate::binary::LONGEST;
use crate::clock::{self, Clock};
use crate::misfit::shortened;
use crate::pen;

/// Byte for byte what is in the header of IoT Hub's files.
pub const SCHEMA: &str = concat!(
    r#"{"type":"record","name":"Message","namespace":"Microsoft.Azure.Devices","fields":["#,
    r#"{"name":"EnqueuedTimeUtc","type":"string"},"#,
    r#"{"name":"Properties","type":{"type":"map","values":"string"}},"#,
    r#"{"name":"SystemProperties","type":{"type":"map","values":"string"}},"#,
    r#"{"name":"Body","type":["null","bytes"]}]}"#,
);

/// The system properties that are added where they are missing.
const DEVICE: &[u8; 18] = b"connectionDeviceId";
const ENQUEUED: &[u8; 12] = b"enqueuedTime";

/// The same with their lengths, as they are written: a text of a known length is a few instructions.
const DEVICE_PREFIXED: &[u8; 19] = b"\x24connectionDeviceId";
const ENQUEUED_PREFIXED: &[u8; 13] = b"\x18enqueuedTime";
/// The length of a time.
const TIME_LENGTH: u8 = 2 * clock::FORM.len() as u8;

/// What [`Messages`] are read from.
pub fn columns() -> Columns {
    columns![
        text(Attribute::EnqueuedTime),
        timestamp(Attribute::EnqueuedTime),
        timestamp(Attribute::WriteTime),
        text(Attribute::Subject),
        pairs(Attribute::Properties),
        pairs(Attribute::SystemProperties),
        bytes(Attribute::Body),
    ]
}

/// A column, and which rows have a value.
struct Column<'a, T: ?Sized> {
    values: &'a T,
    validity: Option<&'a [u8]>,
}

impl<'a, T: ?Sized> Column<'a, T> {
    fn new(batch: &'a Batch, column: usize, values: impl FnOnce(&'a Batch, usize) -> &'a T) -> Self {
        Column { values: values(batch, column), validity: batch.validity(column) }
    }

    #[inline]
    fn has(&self, row: usize) -> bool {
        self.validity.is_none_or(|valid| bit(valid, row))
    }
}

impl<'a> Column<'a, VarBytes> {
    #[inline]
    fn get(&self, row: usize) -> Option<&'a [u8]> {
        self.has(row).then(|| self.values.value(row))
    }
}

impl Column<'_, [i64]> {
    #[inline]
    fn get(&self, row: usize) -> Option<i64> {
        self.has(row).then(|| self.values[row])
    }
}

impl<'a> Column<'a, TextPairs> {
    /// The pairs of a row: keys, values, and how many.
    #[inline]
    fn get(&self, row: usize) -> Pairs<'a> {
        match self.has(row) {
            true => {
                let (first, end) = (self.values.offsets[row] as usize, self.values.offsets[row + 1] as usize);
                Pairs { keys: cut(&self.values.keys, first, end), values: cut(&self.values.values, first, end) }
            }
            false => Pairs::default(),
        }
    }
}

/// Values `first..end`: the offsets of each, one more, and what these count in.
fn cut(values: &VarBytes, first: usize, end: usize) -> (&[u32], &[u8]) {
    (values.offsets.get(first..=end).unwrap_or_default(), &values.data)
}

/// A row's pairs; without offsets where there are none.
#[derive(Default)]
struct Pairs<'a> {
    keys: (&'a [u32], &'a [u8]),
    values: (&'a [u32], &'a [u8]),
}

impl<'a> Pairs<'a> {
    fn len(&self) -> usize {
        self.keys.0.len().saturating_sub(1)
    }

    /// The bytes of all keys and values.
    fn bytes(&self) -> usize {
        let bytes = |offsets: &[u32]| offsets.last().map_or(0, |end| (end - offsets[0]) as usize);
        bytes(self.keys.0) + bytes(self.values.0)
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let (keys, values) = (self.keys, self.values);
        let texts = keys.0.windows(2).zip(values.0.windows(2));
        let slice = |data: &'a [u8], ends: &[u32]| &data[ends[0] as usize..ends[1] as usize];
        texts.map(move |(key, value)| (slice(keys.1, key), slice(values.1, value)))
    }
}

/// A batch of messages.
pub struct Messages<'a> {
    enqueued_text: Column<'a, VarBytes>,
    enqueued: Column<'a, [i64]>,
    written: Column<'a, [i64]>,
    subject: Column<'a, VarBytes>,
    properties: Column<'a, TextPairs>,
    system: Column<'a, TextPairs>,
    body: Column<'a, VarBytes>,
}

impl<'a> Messages<'a> {
    /// The messages of a batch with [`columns()`].
    pub fn of(batch: &'a Batch) -> Self {
        Messages {
            enqueued_text: Column::new(batch, 0, Batch::var_bytes),
            enqueued: Column::new(batch, 1, Batch::integers),
            written: Column::new(batch, 2, Batch::integers),
            subject: Column::new(batch, 3, Batch::var_bytes),
            properties: Column::new(batch, 4, Batch::pairs),
            system: Column::new(batch, 5, Batch::pairs),
            body: Column::new(batch, 6, Batch::var_bytes),
        }
    }

    /// About the bytes that they take: all that comes in, and what is written besides.
    pub fn size(&self, rows: usize) -> usize {
        let pairs = |pairs: &TextPairs| pairs.keys.data.len() + pairs.values.data.len() + 4 * pairs.keys.offsets.len();
        pairs(self.properties.values) + pairs(self.system.values) + self.body.values.data.len() + rows * 128
    }
}

/// Writes messages.
#[derive(Default)]
pub struct Message {
    clock: Clock,
}

impl Message {
    /// Adds the message in `row` to `out`.
    ///
    /// # Errors
    /// Where there is no time that can be written.
    #[inline]
    pub fn write(&mut self, messages: &Messages, row: usize, out: &mut Vec<u8>) -> Result<(), Rejection> {
        let enqueued = self.enqueued(messages, row)?;
        let (properties, system) = (messages.properties.get(row), messages.system.get(row));
        let body = messages.body.get(row);
        let device = messages.subject.get(row).filter(|_| !system.iter().any(|(key, _)| key == DEVICE));
        let adds_time = !system.iter().any(|(key, _)| key == ENQUEUED);

        let texts = 2 * enqueued.len() + DEVICE.len() + ENQUEUED.len() + device.map_or(0, <[u8]>::len);
        let lengths = 2 * (properties.len() + system.len()) + 12;
        let most = texts + properties.bytes() + system.bytes() + body.map_or(0, <[u8]>::len) + lengths * LONGEST;
        pen::append(out, most, |pen| {
            pen.array(&[TIME_LENGTH]);
            pen.array(enqueued);
            pen.count(properties.len());
            properties.iter().for_each(|pair| pen.pair(pair));
            pen.end(properties.len());
            let count = system.len() + usize::from(device.is_some()) + usize::from(adds_time);
            pen.count(count);
            if let Some(device) = device {
                pen.array(DEVICE_PREFIXED);
                pen.bytes(device);
            }
            system.iter().for_each(|pair| pen.pair(pair));
            if adds_time {
                pen.array(ENQUEUED_PREFIXED);
                pen.array(&[TIME_LENGTH]);
                pen.array(enqueued);
            }
            pen.end(count);
            pen.count(usize::from(body.is_some()));
            if let Some(body) = body {
                pen.bytes(body);
            }
        });
        Ok(())
    }

    #[inline]
    fn enqueued<'a>(&'a mut self, messages: &Messages<'a>, row: usize) -> Result<&'a [u8; 28], Rejection> {
        let found = messages.enqueued_text.get(row);
        if let Some(text) = found.and_then(clock::in_form) {
            return Ok(text);
        }
        let micros = match (messages.enqueued.get(row), found) {
            (Some(micros), _) => micros,
            // Another time in its place would look as if the queue had said it.
            (None, Some(found)) => return Err(no_time(found)),
            (None, None) => {
                messages.written.get(row).ok_or("the record has neither an enqueued time nor a write time")?
            }
        };
        match self.clock.text(micros) {
            Some(text) => Ok(text),
            None => Err(Rejection(format!(
                "the enqueued time is {micros} microseconds since 1970, expected one of the years 0 to 9999"
            ))),
        }
    }
}

#[cold]
fn no_time(found: &[u8]) -> Rejection {
    let shown = shortened(found);
    Rejection(format!("the enqueued time is `{shown}`, expected a time such as `2018-06-11T00:00:08.2250000Z`"))
}
