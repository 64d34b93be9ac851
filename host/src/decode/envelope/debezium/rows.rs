//! The rows in an event: the columns whose values are known, and what an update changed.

use super::schema::Table;
use super::unavailable;
use crate::decode::envelope::row::Row;
use crate::decode::key_text;
use crate::decode::scan::{Scanner, Span};
use crate::decode::stops::Stops;
use crate::record::Attribute;

/// A row whose values are longer than this together, once they are converted, is refused.
const LARGEST: usize = 64 << 20;

/// A column: its name and its value.
type Member = (Span, Span);

/// Puts a row's columns but for those whose values are not known; returns the names of these.
///
/// # Errors
/// Which value is not what the schema says.
pub fn put(
    data: &[u8],
    value: Span,
    table: Option<&Table>,
    stops: &mut Stops,
    row: &mut Row<'_>,
) -> Result<Vec<Span>, String> {
    let members = members(data, value, stops);
    let (known, unknown): (Vec<Member>, Vec<Member>) =
        members.into_iter().partition(|(_, value)| !unavailable::is(data, *value));
    let start = row.buffer.len();
    write(data, &known, table, row.buffer)?;
    row.body_written(start);
    Ok(unknown.into_iter().map(|(name, _)| name).collect())
}

/// Puts the columns that an update changed, as they were: any of them may be a part of the key that a table goes by.
///
/// # Errors
/// As of [`put`].
pub fn put_previous(
    data: &[u8],
    before: Span,
    after: Span,
    table: Option<&Table>,
    stops: &mut Stops,
    row: &mut Row<'_>,
) -> Result<(), String> {
    if !row.wanted.has(Attribute::SystemProperties) || before.is_absent() || data[before.start as usize] != b'{' {
        return Ok(());
    }
    let (before, after) = (members(data, before, stops), members(data, after, stops));
    let is_changed = |(at, (name, value)): &(usize, Member)| {
        let same_name = |(other, _): &&Member| other.of(data) == name.of(data);
        // Both have their columns in one order.
        let now = after.get(*at).filter(same_name).or_else(|| after.iter().find(same_name));
        now.is_some_and(|(_, now)| {
            let (now, before) = (now.of(data), value.of(data));
            now != before && key_text(&[now]) != key_text(&[before])
        })
    };
    let changed = before.into_iter().enumerate().filter(is_changed).map(|(_, member)| member);
    let changed: Vec<Member> = changed.filter(|(_, value)| !unavailable::is(data, *value)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let mut object = Vec::new();
    write(data, &changed, table, &mut object)?;
    row.property("previous", &String::from_utf8_lossy(&object));
    Ok(())
}

/// Says which columns of a new row are not known.
pub fn put_left_out(data: &[u8], names: &[Span], row: &mut Row<'_>) {
    let names: Vec<&[u8]> = names.iter().map(|name| name.of(data)).collect();
    row.property("unavailable", &String::from_utf8_lossy(&[b"[", &*names.join(&b','), b"]"].concat()));
}

fn members(data: &[u8], object: Span, stops: &mut Stops) -> Vec<Member> {
    let mut members = Vec::new();
    let scanned = Scanner::new(data, object.end as usize, stops)
        .members(object.start as usize, |name, value| members.push((name, value)));
    debug_assert!(scanned.is_ok(), "the event was validated");
    members
}

/// Writes an object of columns, each value as what its schema says it stands for.
fn write(data: &[u8], members: &[Member], table: Option<&Table>, out: &mut Vec<u8>) -> Result<(), String> {
    let start = out.len();
    out.push(b'{');
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.of(data));
        out.push(b':');
        match table.and_then(|table| table.conversion(data, *name)) {
            Some(conversion) if data[value.start as usize] != b'n' => {
                if let Err(expected) = conversion.write(data, *value, out) {
                    let name = String::from_utf8_lossy(name.inside(data));
                    let shown = String::from_utf8_lossy(&value.of(data)[..value.of(data).len().min(100)]);
                    return Err(format!("the column `{name}` is `{shown}`, expected {expected}"));
                }
            }
            _ => out.extend_from_slice(value.of(data)),
        }
        if out.len() - start > LARGEST {
            return Err(format!("a row of more than {LARGEST} bytes once its decimals are written out"));
        }
    }
    out.push(b'}');
    Ok(())
}
