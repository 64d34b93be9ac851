//! Avro data to JSON text, by their schema.
//!
//! A record is an object with its fields in their order, a map an object with its entries as they come; `bytes` and `fixed` are
//! base64 text; a union is what its branch is, without the branch's name; NaN and the infinities, which JSON does not have, are
//! text. Logical types are the numbers and texts that they are stored as. A datum that is too large or too deep as JSON is gone
//! past, so that the one after it can be read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::row::write_string;
use crate::source::avro::{Cursor, Field, Trouble, Type, Types};

/// Data nested deeper than this are refused: the decoder's own limit is no smaller.
const DEEPEST: usize = 256;

/// So many values in a row may be without bytes where data are gone past: nothing else would end some.
const MOST_EMPTY: u32 = 1 << 16;

/// Why a datum is not there as JSON.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its bytes are not what the schema says.
    Trouble(Trouble),
    /// It is too large or too deep: what was found and what is allowed.
    Over(String),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Stop {
        Stop::Trouble(trouble)
    }
}

fn wrong(reason: String) -> Stop {
    Stop::Trouble(Trouble::Wrong(reason))
}

/// Writes data as JSON.
pub struct Writer<'a> {
    pub types: &'a Types,
    /// More bytes than this are refused.
    pub limit: usize,
}

impl Writer<'_> {
    /// Adds the datum of a type at the cursor to `out`; of one that is too large or too deep only a part.
    pub fn write(&self, of: usize, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
        self.value(self.types.get(of), cursor, out, DEEPEST)
    }

    fn value(&self, of: &Type, cursor: &mut Cursor<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), Stop> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Stop::Over(format!("an Avro record nested deeper than {DEEPEST} levels")));
        };
        if out.len() > self.limit {
            return Err(Stop::Over(format!("an Avro record of more than {} bytes as JSON", self.limit)));
        }
        match of {
            Type::Null => out.extend_from_slice(b"null"),
            Type::Boolean => match cursor.take(1)?[0] {
                0 => out.extend_from_slice(b"false"),
                1 => out.extend_from_slice(b"true"),
                other => return Err(wrong(format!("a boolean of {other}, expected 0 or 1"))),
            },
            Type::Integer => out.extend_from_slice(cursor.long()?.to_string().as_bytes()),
            Type::Float => {
                let bytes = cursor.take(4)?.first_chunk().expect("so many were taken");
                let number = f32::from_le_bytes(*bytes);
                json_number(number.is_finite(), &number, out);
            }
            Type::Double => {
                let bytes = cursor.take(8)?.first_chunk().expect("so many were taken");
                let number = f64::from_le_bytes(*bytes);
                json_number(number.is_finite(), &number, out);
            }
            Type::Bytes => base64(cursor.bytes()?, out),
            Type::Fixed(size) => base64(cursor.take(*size)?, out),
            Type::Text => write_string(out, text(cursor)?),
            Type::Enum(symbols) => {
                let number = cursor.long()?;
                let symbol = usize::try_from(number).ok().and_then(|number| symbols.get(number));
                let expected = || wrong(format!("symbol {number} of an enum of {}", symbols.len()));
                write_string(out, symbol.ok_or_else(expected)?);
            }
            Type::Array(items) => {
                self.items(b"[]", cursor, out, |cursor, out| self.value(self.types.get(*items), cursor, out, depth))?
            }
            Type::Map(values) => self.items(b"{}", cursor, out, |cursor, out| {
                write_string(out, text(cursor)?);
                out.push(b':');
                self.value(self.types.get(*values), cursor, out, depth)
            })?,
            Type::Union(_) => {
                let branch = branch(self.types, of, cursor)?;
                self.value(branch, cursor, out, depth)?;
            }
            Type::Record { fields, .. } => {
                out.push(b'{');
                for (number, field) in fields.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    write_string(out, &field.name);
                    out.push(b':');
                    self.value(self.types.get(field.of), cursor, out, depth)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }

    /// The items of an array or map, between `brackets`.
    fn items(
        &self,
        brackets: &[u8; 2],
        cursor: &mut Cursor<'_>,
        out: &mut Vec<u8>,
        mut item: impl FnMut(&mut Cursor<'_>, &mut Vec<u8>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        out.push(brackets[0]);
        let mut first = true;
        while let Some(count) = cursor.items()? {
            for _ in 0..count {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                item(cursor, out)?;
            }
        }
        out.push(brackets[1]);
        Ok(())
    }
}

/// Goes past the datum of a type at the cursor, however deep it is: without recursion, and without a look at texts.
pub fn skip(types: &Types, of: &Type, cursor: &mut Cursor<'_>) -> Result<(), Trouble> {
    /// What is still to be gone past, the next at the end.
    enum Left<'t> {
        Value(&'t Type),
        Fields(&'t [Field]),
        Items { of: usize, count: u64, keyed: bool },
    }
    let mut left = vec![Left::Value(of)];
    let (mut at, mut empty) = (cursor.at, 0);
    while let Some(next) = left.pop() {
        if let Left::Value(_) = next {
            empty = if cursor.at > at { 0 } else { empty + 1 };
            at = cursor.at;
            if empty > MOST_EMPTY {
                return Err(Trouble::Wrong(format!("more than {MOST_EMPTY} values in a row without bytes")));
            }
        }
        match next {
            Left::Value(of) => match of {
                Type::Null => {}
                Type::Boolean => drop(cursor.take(1)?),
                Type::Integer | Type::Enum(_) => drop(cursor.long()?),
                Type::Float => drop(cursor.take(4)?),
                Type::Double => drop(cursor.take(8)?),
                Type::Fixed(size) => drop(cursor.take(*size)?),
                Type::Bytes | Type::Text => drop(cursor.bytes()?),
                Type::Array(of) => left.push(Left::Items { of: *of, count: 0, keyed: false }),
                Type::Map(of) => left.push(Left::Items { of: *of, count: 0, keyed: true }),
                Type::Union(_) => left.push(Left::Value(branch(types, of, cursor)?)),
                Type::Record { fields, .. } => left.push(Left::Fields(fields)),
            },
            Left::Fields([]) => {}
            Left::Fields([first, others @ ..]) => {
                left.extend([Left::Fields(others), Left::Value(types.get(first.of))]);
            }
            Left::Items { of, count: 0, keyed } => {
                if let Some(count) = cursor.items()? {
                    left.push(Left::Items { of, count, keyed });
                }
            }
            Left::Items { of, count, keyed } => {
                if keyed {
                    cursor.bytes()?;
                }
                left.extend([Left::Items { of, count: count - 1, keyed }, Left::Value(types.get(of))]);
            }
        }
    }
    Ok(())
}

/// The type of a union that a datum has.
pub fn branch<'t>(types: &'t Types, of: &'t Type, cursor: &mut Cursor<'_>) -> Result<&'t Type, Trouble> {
    let Type::Union(branches) = of else { return Ok(of) };
    let number = cursor.long()?;
    let branch = usize::try_from(number).ok().and_then(|number| branches.get(number));
    let branch = branch.ok_or_else(|| Trouble::Wrong(format!("branch {number} of a union of {}", branches.len())))?;
    Ok(types.get(*branch))
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Trouble> {
    std::str::from_utf8(cursor.bytes()?).map_err(|_| Trouble::Wrong("a string that is not UTF-8".into()))
}

fn json_number(is_finite: bool, number: &(impl serde::Serialize + ToString), out: &mut Vec<u8>) {
    match is_finite {
        true => serde_json::to_writer(out, number).expect("writing to memory cannot fail"),
        false => write_string(out, &number.to_string().replace("inf", "Infinity")),
    }
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'"');
    out.resize(start + 1 + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start + 1..]).expect("base64 is four bytes for each three");
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_does_not_have_are_the_texts_that_readers_know() {
        let written = |number: f64| {
            let mut out = Vec::new();
            json_number(number.is_finite(), &number, &mut out);
            String::from_utf8(out).unwrap()
        };
        let all = [1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(written);
        assert_eq!(all, ["1.5", r#""NaN""#, r#""Infinity""#, r#""-Infinity""#]);
    }
}
