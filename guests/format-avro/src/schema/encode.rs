//! A JSON body as one datum of a plan.
//!
//! A union takes the first branch that holds the value without loss; only where none does, the first one that holds it
//! at all. Trying branches is bounded: a body for which it takes too long is refused.

use std::borrow::Cow;

use super::node::{Field, Record, UuidForm};
use super::{Node, Plan, logical};
use crate::binary::{put_bytes, put_items, put_long};
use crate::json::{Kind, Value};
use crate::misfit::Misfit;
use crate::number;

/// How deep values may lie in each other: deeper than messages go, and little enough for a plugin's stack. The host takes deeper
/// bodies, which are rejected here.
const DEPTH: usize = 128;

/// Adds the datum of `body` to `out`.
///
/// # Errors
/// Where the body does not fit.
pub fn encode(plan: &Plan, body: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
    // A wrong branch that is read to its end at each of the levels is within this; branches tried within branches are
    // not.
    let mut encoder = Encoder { plan, depth: 0, attempts: 128 * (body.len() + 1_024) };
    encoder.value(plan.root, Value::new(body), How { exact: false, default: false }, out)
}

/// Whether a field's default can be written.
pub fn check_default(plan: &Plan, field: &Field) -> Result<(), Misfit> {
    let mut encoder = Encoder { plan, depth: 0, attempts: usize::MAX };
    match &field.default {
        Some(default) => encoder.default(field.node, default, &mut Vec::new()),
        None => Ok(()),
    }
}

#[derive(Clone, Copy)]
struct How {
    /// Nothing may be lost: no digits, no members, no symbols.
    exact: bool,
    /// The value is a default of the schema, where bytes are text of the characters U+0000 to U+00FF.
    default: bool,
}

struct Encoder<'p> {
    plan: &'p Plan,
    depth: usize,
    /// Bytes that may still be read for branches that are the wrong ones.
    attempts: usize,
}

impl<'p> Encoder<'p> {
    fn value(&mut self, node: usize, value: Value, how: How, out: &mut Vec<u8>) -> Result<(), Misfit> {
        let node = &self.plan.nodes[node];
        match node {
            Node::Array(items) => return self.nested(node, value, |encoder| encoder.array(*items, value, how, out)),
            Node::Map(values) => return self.nested(node, value, |encoder| encoder.map(*values, value, how, out)),
            Node::Record(record) => return self.nested(node, value, |encoder| encoder.record(record, value, how, out)),
            Node::Union(branches) => return self.union(node, branches, value, how, out),
            _ => {}
        }
        let before = out.len();
        match node.takes(value.kind()).then(|| scalar(node, value, how, out)) {
            Some(Some(())) => Ok(()),
            _ => {
                out.truncate(before);
                Err(Misfit::new(value, node.describe(&self.plan.nodes)))
            }
        }
    }

    fn nested(
        &mut self,
        node: &Node,
        value: Value,
        go: impl FnOnce(&mut Self) -> Result<(), Misfit>,
    ) -> Result<(), Misfit> {
        if !node.takes(value.kind()) {
            return Err(Misfit::new(value, node.describe(&self.plan.nodes)));
        }
        if self.depth == DEPTH {
            return Err(Misfit::new(value, format!("at most {DEPTH} values in each other")));
        }
        self.depth += 1;
        let result = go(self);
        self.depth -= 1;
        result
    }

    fn array(&mut self, items: usize, array: Value, how: How, out: &mut Vec<u8>) -> Result<(), Misfit> {
        put_items(out, |out| {
            let mut count = 0;
            for item in array.elements() {
                let place = |misfit: Misfit| misfit.under(count.to_string().as_bytes());
                self.value(items, item, how, out).map_err(place)?;
                count += 1;
            }
            Ok(count)
        })
    }

    fn map(&mut self, values: usize, object: Value, how: How, out: &mut Vec<u8>) -> Result<(), Misfit> {
        let members = object.last_members().map_err(Misfit::name)?;
        put_items(out, |out| {
            for (key, value) in &members {
                put_bytes(key, out);
                self.value(values, *value, how, out).map_err(|misfit| misfit.under(key))?;
            }
            Ok(members.len())
        })
    }

    fn record(&mut self, record: &'p Record, object: Value, how: How, out: &mut Vec<u8>) -> Result<(), Misfit> {
        let mut found = vec![None; record.fields.len()];
        let mut next = 0;
        for (name, value) in object.members() {
            // What is no text is no field's name.
            let text = name.text().unwrap_or_default();
            // Members usually come in the order of the fields.
            let expected = record.fields.get(next).is_some_and(|field| field.name.as_bytes() == &text[..]);
            match if expected { Some(next) } else { record.places.get(&text[..]).copied() } {
                Some(place) => {
                    found[place] = Some(value);
                    next = place + 1;
                }
                None if how.exact && name.text().is_none() => return Err(Misfit::name(name)),
                None if how.exact => return Err(Misfit::new(value, "no such member").under(&text)),
                None => {}
            }
        }
        // Before anything is encoded: so a wrong branch of a union is found out at once.
        for (field, value) in record.fields.iter().zip(&found) {
            if value.is_none() && field.default.is_none() {
                let node = &self.plan.nodes[field.node];
                let nullable = match node {
                    Node::Union(branches) => {
                        branches.iter().any(|&branch| matches!(self.plan.nodes[branch], Node::Null))
                    }
                    node => matches!(node, Node::Null),
                };
                if !nullable {
                    return Err(Misfit::missing(field.name.as_bytes(), node.describe(&self.plan.nodes)));
                }
            }
        }
        for (field, value) in record.fields.iter().zip(found) {
            let result = match (value, &field.default) {
                (Some(value), _) => self.value(field.node, value, how, out),
                (None, Some(default)) => self.default(field.node, default, out),
                (None, None) => self.value(field.node, Value::new(b"null"), how, out),
            };
            result.map_err(|misfit| misfit.under(field.name.as_bytes()))?;
        }
        Ok(())
    }

    fn default(&mut self, node: usize, default: &str, out: &mut Vec<u8>) -> Result<(), Misfit> {
        self.value(node, Value::new(default.as_bytes()), How { exact: false, default: true }, out)
    }

    fn union(
        &mut self,
        union: &Node,
        branches: &[usize],
        value: Value,
        how: How,
        out: &mut Vec<u8>,
    ) -> Result<(), Misfit> {
        let kind = value.kind();
        let plan = self.plan;
        let mut fitting = branches.iter().enumerate().filter(|(_, branch)| plan.nodes[**branch].takes(kind));
        let every = fitting.clone();
        let misfit = || Misfit::new(value, union.describe(&plan.nodes));
        let (place, &only) = fitting.next().ok_or_else(misfit)?;
        let before = out.len();
        if fitting.next().is_none() {
            put_long(place as i64, out);
            return self.value(only, value, how, out);
        }
        let passes: &[bool] = if how.exact { &[true] } else { &[true, false] };
        for &exact in passes {
            for (place, &branch) in every.clone() {
                put_long(place as i64, out);
                if self.value(branch, value, How { exact, ..how }, out).is_ok() {
                    return Ok(());
                }
                out.truncate(before);
                self.attempts = self.attempts.checked_sub(value.written().len()).ok_or_else(|| {
                    self.attempts = 0;
                    Misfit::new(value, "a value that needs fewer attempts to find the branches of its unions")
                })?;
            }
        }
        Err(misfit())
    }
}

/// A value of a type that holds no others; `None` where it does not fit.
fn scalar(node: &Node, value: Value, how: How, out: &mut Vec<u8>) -> Option<()> {
    // Of the types of numbers, only these have a zero with a sign.
    if how.exact && !matches!(node, Node::Float | Node::Double) && value.is_negative_zero() {
        return None;
    }
    match node {
        Node::Null => {}
        Node::Boolean => out.push(u8::from(value.is_true())),
        Node::Int => put_long(number::integer(value.written()).filter(|&number| i32::try_from(number).is_ok())?, out),
        Node::Long => put_long(number::integer(value.written())?, out),
        Node::Float => {
            let number = number::float(value.written())?;
            let exact = !how.exact || number::exact_double(value.written()) == Some(f64::from(number));
            out.extend_from_slice(&Some(number).filter(|_| exact)?.to_le_bytes());
        }
        Node::Double => {
            let number =
                if how.exact { number::exact_double(value.written()) } else { number::double(value.written()) };
            out.extend_from_slice(&number?.to_le_bytes());
        }
        Node::String => put_bytes(&value.text()?, out),
        Node::Bytes => put_bytes(&bytes(value, how)?, out),
        Node::Fixed(size) => out.extend_from_slice(&sized(value, *size, how)?),
        Node::Enum(symbols) => {
            let default = symbols.default.filter(|_| !how.exact);
            let symbol = symbols.symbols.get(&value.text()?[..]).copied().or(default)?;
            put_long(symbol as i64, out);
        }
        // A default has the form of the type below.
        Node::Decimal { size: Some(size), .. } if how.default => out.extend_from_slice(&sized(value, *size, how)?),
        Node::Decimal { .. } | Node::BigDecimal if how.default => put_bytes(&bytes(value, how)?, out),
        Node::Uuid(UuidForm::Fixed) if how.default => out.extend_from_slice(&sized(value, 16, how)?),
        Node::Uuid(UuidForm::Bytes) if how.default => put_bytes(&sized(value, 16, how)?, out),
        Node::Decimal { precision, scale, size } => logical::decimal(value, *precision, *scale, *size, out)?,
        Node::BigDecimal => logical::big_decimal(value, out)?,
        Node::Uuid(form) => logical::uuid(value, *form, out)?,
        Node::Date => put_long(logical::date(value)?.into(), out),
        Node::Time(unit) => put_long(logical::time(value, *unit, how.exact)?, out),
        Node::Timestamp { unit, local } => put_long(logical::timestamp(value, *unit, *local, how.exact)?, out),
        Node::Array(_) | Node::Map(_) | Node::Union(_) | Node::Record(_) => return None,
    }
    Some(())
}

/// The UTF-8 of a text; of a default, a byte for each character.
fn bytes<'a>(value: Value<'a>, how: How) -> Option<Cow<'a, [u8]>> {
    let text = value.text()?;
    if !how.default || value.kind() != Kind::Text {
        return Some(text);
    }
    let characters = std::str::from_utf8(&text).ok()?.chars();
    characters.map(|character| u8::try_from(character).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
}

fn sized<'a>(value: Value<'a>, size: usize, how: How) -> Option<Cow<'a, [u8]>> {
    bytes(value, how).filter(|bytes| bytes.len() == size)
}
