//! Why a line is no record, in words: what was found, what was expected, what to do.
//!
//! Off the hot path. Positions count bytes from 1, from the start of the record.

use super::scan::{Fault, MAX_DEPTH, Scanner, Span, unescape};
use super::stops::Stops;
use crate::record::KEPT;

/// A record that is too large; `dropped` bytes of it were never held.
#[cold]
pub fn too_large(size: u64, limit: u64, dropped: u64) -> String {
    match dropped {
        0 => format!("larger than max-record-size: {size} bytes, at most {limit} are allowed"),
        _ => format!(
            "larger than max-record-size: {size} bytes, at most {limit} are allowed; the first {} are kept here",
            (size - dropped).min(KEPT as u64)
        ),
    }
}

/// Refuses a record that is not UTF-8. `known`: it was found to be, together with others.
#[inline]
pub fn check_utf8(record: &[u8], known: bool) -> Result<(), String> {
    if known { Ok(()) } else { check_one(record) }
}

#[cold]
fn check_one(record: &[u8]) -> Result<(), String> {
    simdutf8::compat::from_utf8(record).map(drop).map_err(|error| {
        let at = error.valid_up_to();
        format!("not UTF-8 at byte {}: `0x{:02x}` starts no character there", at + 1, record[at])
    })
}

/// What the scanner met in `[start, end)`.
#[cold]
pub fn fault(data: &[u8], start: usize, end: usize, fault: Fault) -> String {
    match fault {
        Fault::TooDeep { at } => {
            format!(
                "nested too deep: level {} opens at byte {}, at most {MAX_DEPTH} are allowed",
                MAX_DEPTH + 1,
                at - start + 1
            )
        }
        Fault::Expected { at, what } => {
            let found = match data[at..end].utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()) {
                None => "the end of the record".to_string(),
                Some('\0') => "a NUL byte".to_string(),
                Some(control) if control.is_control() => format!("the control character `0x{:02x}`", control as u32),
                Some(character) => format!("`{character}`"),
            };
            format!("not valid JSON at byte {}: expected {what}, found {found}", at - start + 1)
        }
    }
}

/// Why bytes are not one JSON value; `None` where they are.
#[cold]
pub fn json_fault(bytes: &[u8]) -> Option<String> {
    let scanned =
        check_one(bytes).map(|()| Scanner::new(bytes, bytes.len(), &mut Stops::default()).document(0, |_, _| {}));
    match scanned {
        Ok(Ok(_)) => None,
        Ok(Err(met)) => Some(fault(bytes, 0, bytes.len(), met)),
        Err(reason) => Some(reason),
    }
}

/// A JSON value that is no object, by its first byte.
#[cold]
pub fn no_object(first: u8) -> String {
    format!("not a JSON object but {}: a record is an object", value_kind(first))
}

/// Refuses a record without a usable name, which was looked for at `pointer`.
#[inline]
pub fn check_kind(data: &[u8], kind: Span, pointer: &str) -> Result<(), String> {
    // The common case: a string that is not empty.
    if kind.end - kind.start > 2 && data[kind.start as usize] == b'"' && !kind.escaped {
        return Ok(());
    }
    check_odd_kind(data, kind, pointer)
}

#[cold]
fn check_odd_kind(data: &[u8], kind: Span, pointer: &str) -> Result<(), String> {
    if kind.is_absent() {
        return Err(format!("no name: there is nothing at `{pointer}`; set `kind` to where records have it"));
    }
    let first = data[kind.start as usize];
    if first != b'"' {
        return Err(format!(
            "the name at `{pointer}` is {}, expected a string; set `kind` to where it is",
            value_kind(first)
        ));
    }
    if kind.end - kind.start == 2 {
        return Err(format!("the name at `{pointer}` is empty"));
    }
    if !unescape(kind.inside(data), &mut Vec::new()) {
        return Err(format!("the name at `{pointer}` holds half of a surrogate pair, which is no Unicode text"));
    }
    Ok(())
}

/// Refuses an envelope whose member `name` is no text, or empty.
pub fn check_text(name: &str, data: &[u8], value: Span) -> Result<(), String> {
    if !value.is_absent() && data[value.start as usize] == b'"' && value.end - value.start > 2 {
        return Ok(());
    }
    Err(no_text(name, data, value, "expected a string"))
}

/// An envelope whose member `name` is not what was `expected`.
#[cold]
pub fn no_text(name: &str, data: &[u8], value: Span, expected: &str) -> String {
    if value.is_absent() {
        return format!("no `{name}`: {expected}");
    }
    match data[value.start as usize] {
        b'"' if value.end - value.start == 2 => format!("the `{name}` is empty, {expected}"),
        b'"' => format!("the `{name}` is `{}`, {expected}", String::from_utf8_lossy(value.inside(data))),
        first => format!("the `{name}` is {}, {expected}", value_kind(first)),
    }
}

/// A JSON value in words, by its first byte.
pub fn value_kind(first: u8) -> &'static str {
    match first {
        b'"' => "a string",
        b'{' => "an object",
        b'[' => "an array",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    }
}
