//! JSON objects to a column of text maps.
//!
//! A part of [`super::columns`], by itself because messages have two such objects each: what is usual, a few distinct keys and
//! no nulls, is appended to growing buffers without an allocation for each pair. The rest takes a slower path.

use std::sync::Arc;

use arrow_array::{ArrayRef, MapArray, StringArray, StructArray};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};

use super::columns::{map_entries, map_field};
use super::scan::{Scanner, Span, unescape};
use super::stops::Stops;

/// More keys than this are compared on the slower path.
const FEW: usize = 32;

/// Objects of scalars, one after another.
pub struct TextMaps {
    keys: Texts,
    values: Texts,
    /// How many pairs there are up to each row.
    rows: Vec<i32>,
    nulls: NullBufferBuilder,
    stops: Stops,
}

/// Texts end to end.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<i32>,
}

/// Why an object did not take the fast path.
enum Odd {
    /// It has to be looked at more closely.
    Closer,
    /// A member has no text.
    NoText,
}

impl TextMaps {
    /// Room for so many rows.
    pub fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let nulls = NullBufferBuilder::new(rows);
        TextMaps { keys: Texts::default(), values: Texts::default(), rows: offsets, nulls, stops: Stops::default() }
    }

    /// Adds a row: the pairs of `value`, or null where it is no object of scalars. The last of a key counts, at the first one's
    /// place; a member that is null is left out.
    pub fn push(&mut self, data: &[u8], value: Span) {
        let (keys, values) = (self.keys.mark(), self.values.mark());
        let pushed = !value.is_absent() && data[value.start as usize] == b'{' && {
            self.fast(data, value, keys.1)
                .or_else(|odd| {
                    self.keys.reset(keys);
                    self.values.reset(values);
                    match odd {
                        Odd::Closer => self.slow(data, value),
                        Odd::NoText => Err(()),
                    }
                })
                .is_ok()
        };
        self.nulls.append(pushed);
        self.rows.push(i32::try_from(self.keys.ends.len()).expect("a chunk has less than 2^31 pairs"));
    }

    /// The column.
    pub fn finish(mut self) -> ArrayRef {
        let entries = vec![self.keys.finish(), self.values.finish()];
        let entries = StructArray::new(map_entries(), entries, None);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.rows));
        Arc::new(MapArray::new(map_field(), offsets, entries, self.nulls.finish(), false))
    }

    /// Adds the pairs as they come; `first`: the row's first pair.
    #[inline]
    fn fast(&mut self, data: &[u8], value: Span, first: usize) -> Result<(), Odd> {
        let TextMaps { keys, values, stops, .. } = self;
        let mut odd = Ok(());
        let scanned = Scanner::new(data, value.end as usize, stops).members(value.start as usize, |key, value| {
            if odd.is_ok() {
                odd = pair(data, key, value, keys, values, first);
            }
        });
        debug_assert!(scanned.is_ok(), "the value was validated");
        odd
    }

    #[cold]
    fn slow(&mut self, data: &[u8], value: Span) -> Result<(), ()> {
        let mut pairs: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        let mut converts = true;
        let scanned =
            Scanner::new(data, value.end as usize, &mut self.stops).members(value.start as usize, |key, value| {
                let text = match data[value.start as usize] {
                    b'n' => Ok(None),
                    _ => text(data, value).map(Some),
                };
                let (Ok(key), Ok(text)) = (text_of_string(data, key), text) else {
                    converts = false;
                    return;
                };
                match places.get(&key) {
                    Some(&at) => {
                        let pair: &mut (Vec<u8>, Option<Vec<u8>>) = &mut pairs[at];
                        pair.1 = text;
                    }
                    None => {
                        places.insert(key.clone(), pairs.len());
                        pairs.push((key, text));
                    }
                }
            });
        debug_assert!(scanned.is_ok(), "the value was validated");
        if !converts {
            return Err(());
        }
        for (key, text) in pairs {
            if let Some(text) = text {
                self.keys.push(&key);
                self.values.push(&text);
            }
        }
        Ok(())
    }
}

/// Adds a pair whose key is not among those from `first` on.
#[inline]
fn pair(data: &[u8], key: Span, value: Span, keys: &mut Texts, values: &mut Texts, first: usize) -> Result<(), Odd> {
    let known = keys.ends.len();
    if known - first >= FEW {
        return Err(Odd::Closer);
    }
    match data[value.start as usize] {
        // IoT Hub's `connectionAuthMethod` is JSON in a string.
        b'"' if value.escaped => values.push_unescaped(value.inside(data))?,
        b'"' => values.push(value.inside(data)),
        b'n' => return Err(Odd::Closer),
        b'{' | b'[' => return Err(Odd::NoText),
        _ => values.push(value.of(data)),
    }
    if key.escaped {
        return Err(Odd::Closer);
    }
    let key = key.inside(data);
    if (first..known).any(|at| keys.get(at) == key) {
        return Err(Odd::Closer);
    }
    keys.push(key);
    Ok(())
}

/// The text that a scalar stands for.
fn text(data: &[u8], value: Span) -> Result<Vec<u8>, ()> {
    match data[value.start as usize] {
        b'{' | b'[' => Err(()),
        b'"' => text_of_string(data, value),
        _ => Ok(value.of(data).to_vec()),
    }
}

fn text_of_string(data: &[u8], string: Span) -> Result<Vec<u8>, ()> {
    let mut text = Vec::new();
    if unescape(string.inside(data), &mut text) { Ok(text) } else { Err(()) }
}

impl Texts {
    #[inline]
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(i32::try_from(self.bytes.len()).expect("a chunk has less than 2 GiB of text"));
    }

    fn push_unescaped(&mut self, inside: &[u8]) -> Result<(), Odd> {
        if !unescape(inside, &mut self.bytes) {
            return Err(Odd::NoText);
        }
        self.push(&[]);
        Ok(())
    }

    #[inline]
    fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[at] as usize]
    }

    fn mark(&self) -> (usize, usize) {
        (self.bytes.len(), self.ends.len())
    }

    fn reset(&mut self, (bytes, ends): (usize, usize)) {
        self.bytes.truncate(bytes);
        self.ends.truncate(ends);
    }

    fn finish(mut self) -> ArrayRef {
        self.ends.insert(0, 0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        // SAFETY: each text is UTF-8: a value of a record that was checked to be, cut at ASCII characters, or unescaped from one.
        Arc::new(unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(self.bytes), None) })
    }
}
