//! Newline-delimited JSON: each line is validated, and its members are counted with their types.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, Read};

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::LONGEST;
use super::input::{Input, Stop};

/// The most members that are told apart: names may be data.
const MOST_MEMBERS: usize = 1_000;

/// What is in the lines.
#[derive(Debug, Default)]
pub struct Ndjson {
    pub records: u64,
    /// Records that are no objects, which have no members.
    pub others: u64,
    /// In the order in which they were first seen.
    pub members: Vec<Member>,
    /// Whether there were more than are told apart.
    pub more_members: bool,
    /// As they stand in the file.
    pub first: Vec<String>,
    places: HashMap<String, usize>,
}

/// A member of the records' top level.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    /// By [`Type`]'s bits.
    types: u8,
    /// How many records have it.
    pub records: u64,
    /// The last record that has it: a name may be there twice.
    last: u64,
}

impl Member {
    /// The types that its values have.
    pub fn types(&self) -> Vec<&'static str> {
        let names = ["null", "boolean", "number", "string", "array", "object"];
        names.into_iter().enumerate().filter(|(bit, _)| self.types >> bit & 1 == 1).map(|(_, name)| name).collect()
    }
}

/// What a JSON value is; the number is its bit.
#[derive(Debug, Clone, Copy)]
enum Type {
    Null = 1,
    Boolean = 2,
    Number = 4,
    String = 8,
    Array = 16,
    Object = 32,
}

impl Ndjson {
    /// Reads a whole file, and keeps the first `most` records.
    pub fn read(&mut self, input: &mut Input, most: usize) -> Result<(), Stop> {
        let mut line = Vec::new();
        loop {
            let start = input.offset();
            line.clear();
            input.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(());
            }
            if line.len() as u64 == LONGEST {
                return Err(Stop::damaged(start, format!("a line of less than {LONGEST} bytes")));
            }
            let mark = if start == 0 && line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let text = std::str::from_utf8(&line[mark..]).map_err(|error| {
                let at = start + (mark + error.valid_up_to()) as u64;
                Stop::damaged(at, format!("UTF-8 in record {}", self.records + 1))
            })?;
            if text.trim_ascii().is_empty() {
                continue;
            }
            self.read_record(text.trim_ascii_end(), start + mark as u64)?;
            if self.first.len() < most {
                self.first.push(text.trim_ascii().to_owned());
            }
        }
    }

    fn read_record(&mut self, text: &str, start: u64) -> Result<(), Stop> {
        let number = self.records + 1;
        let mut json = serde_json::Deserializer::from_str(text);
        // Noted only once the record is known to be whole.
        let mut members = Vec::new();
        let read = Line(&mut members).deserialize(&mut json).and_then(|kind| json.end().map(|()| kind));
        // What is JSON by its grammar may have no value here: `1e999`, or half a surrogate pair. Members from there on are not
        // counted.
        let read = match read {
            Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
                Ok(if text.trim_ascii_start().starts_with('{') { Type::Object } else { Type::String })
            }
            read => read,
        };
        let kind = read.map_err(|error| {
            let (what, at) = (error.to_string(), start + (error.column() as u64).saturating_sub(1));
            let what = what.split(" at line ").next().unwrap_or_default();
            Stop::damaged(at, format!("JSON in record {number} ({what})"))
        })?;
        self.records = number;
        members.into_iter().for_each(|(name, kind)| self.note(name, kind, number));
        self.others += u64::from(!matches!(kind, Type::Object));
        Ok(())
    }

    fn note(&mut self, name: String, kind: Type, number: u64) {
        let place = match self.places.get(&name) {
            Some(&place) => place,
            None if self.members.len() == MOST_MEMBERS => {
                self.more_members = true;
                return;
            }
            None => {
                self.members.push(Member { name: name.clone(), types: 0, records: 0, last: 0 });
                self.places.insert(name, self.members.len() - 1);
                self.members.len() - 1
            }
        };
        let member = &mut self.members[place];
        member.types |= kind as u8;
        member.records += u64::from(member.last != number);
        member.last = number;
    }
}

/// Reads a record, and adds its members.
struct Line<'a>(&'a mut Vec<(String, Type)>);

/// Reads a value, and says what it is.
struct Kind;

macro_rules! scalars {
    ($($visit:ident($ty:ty) => $kind:ident,)*) => {$(
        fn $visit<E>(self, _: $ty) -> Result<Type, E> {
            Ok(Type::$kind)
        }
    )*};
}

macro_rules! any_value {
    () => {
        type Value = Type;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON value")
        }

        fn visit_unit<E>(self) -> Result<Type, E> {
            Ok(Type::Null)
        }

        scalars! {
            visit_bool(bool) => Boolean,
            visit_i64(i64) => Number,
            visit_u64(u64) => Number,
            visit_f64(f64) => Number,
            visit_str(&str) => String,
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Type, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Type::Array)
        }
    };
}

impl<'de> Visitor<'de> for Line<'_> {
    any_value!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Type, A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let kind = map.next_value_seed(Kind)?;
            self.0.push((name, kind));
        }
        Ok(Type::Object)
    }
}

impl<'de> Visitor<'de> for Kind {
    any_value!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Type, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Type::Object)
    }
}

impl<'de> DeserializeSeed<'de> for Line<'_> {
    type Value = Type;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Type, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> DeserializeSeed<'de> for Kind {
    type Value = Type;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Type, D::Error> {
        deserializer.deserialize_any(self)
    }
}
