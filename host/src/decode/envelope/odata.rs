//! Pages of an OData delta feed: a line is a page, whose `value` holds rows and deletes, or one of these alone.
//!
//! Rows come as they are; what is deleted is told by its context (OData 4.0: `…#accounts/$deletedEntity`) or by `@removed` (4.01, and
//! `@odata.removed`). What the rows are called is the entity set in the context: of the row, else of its page. Where facts come
//! from: OData JSON Format 4.0 and 4.01, sections on delta payloads; Dataverse's documentation of change tracking.

use serde_json::Number;

use super::content::text_of;
use super::row::{Row, write_string};
use super::{Outer, elements};
use crate::decode::fields::Slot;
use crate::decode::key_text;
use crate::decode::reason;
use crate::decode::scan::{Scanner, Span};
use crate::decode::stops::Stops;
use crate::error::Result;
use crate::record::Attribute;

const CONTEXT: &str = "expected a context such as `https://…/$metadata#accounts/$delta`, of the page or of the row";

/// What stands behind `$` at the end of a context.
const MARKS: [&str; 5] = ["delta", "entity", "deletedEntity", "link", "deletedLink"];

/// Opens pages.
pub struct OData {
    page: Outer,
    page_contexts: [Slot; 2],
    value: Slot,
    whole: Slot,
    /// The entity set of the page under way.
    set: Option<String>,
    entity: Outer,
    slots: Slots,
    stops: Stops,
    source: String,
}

/// Of a row; what OData 4.01 calls otherwise stands behind.
struct Slots {
    whole: Slot,
    contexts: [Slot; 2],
    removed: [Slot; 2],
    etags: [Slot; 2],
    /// What a row and a delete are known by.
    links: [Slot; 4],
    id: Slot,
}

/// What a context says.
struct Context<'a> {
    set: Option<&'a str>,
    /// One of [`MARKS`], or nothing.
    of: &'a str,
}

impl OData {
    /// Opens pages of a source.
    pub fn new(source: &str) -> Result<OData> {
        let (mut page, mut entity) = (Outer::default(), Outer::default());
        let mut add = |pointer| page.fields.add(pointer);
        let (page_contexts, value, whole) = ([add("/@odata.context")?, add("/@context")?], add("/value")?, add("")?);
        let mut add = |pointer| entity.fields.add(pointer);
        let slots = Slots {
            whole: add("")?,
            contexts: [add("/@odata.context")?, add("/@context")?],
            removed: [add("/@odata.removed")?, add("/@removed")?],
            etags: [add("/@odata.etag")?, add("/@etag")?],
            links: [add("/@odata.id")?, add("/@id")?, add("/@odata.editLink")?, add("/@editLink")?],
            id: add("/id")?,
        };
        let (stops, source) = (Stops::default(), source.to_owned());
        Ok(OData { page, page_contexts, value, whole, set: None, entity, slots, stops, source })
    }

    /// Where the rows of a page are; of a row alone, where it is.
    ///
    /// # Errors
    /// Why it is neither.
    pub fn list(&mut self, data: &[u8], start: usize, end: usize) -> Result<Vec<Span>, String> {
        self.set = None;
        self.page.scan(data, start, end)?;
        let context = text_of(data, self.page.first(data, &self.page_contexts)).unwrap_or_default();
        let (context, value) = (Context::parse(&context), self.page.get(data, self.value));
        if value.is_absent() || data[value.start as usize] != b'[' || context.of == "entity" {
            return Ok(vec![self.page.found[self.whole]]);
        }
        self.set = context.set.map(str::to_owned);
        elements(data, value, &mut self.stops, "a page", "rows")
    }

    /// Takes a row, or what is left of one, out of a page.
    pub fn open(&mut self, data: &[u8], start: usize, end: usize, row: &mut Row<'_>) -> Result<(), String> {
        let OData { entity, slots, stops, .. } = self;
        entity.scan(data, start, end)?;
        let written = entity.first(data, &slots.contexts);
        let text = text_of(data, written).unwrap_or_default();
        let context = Context::parse(&text);
        let Some(set) = context.set.or(self.set.as_deref()) else {
            return Err(reason::no_text("@odata.context", data, written, CONTEXT));
        };
        if matches!(context.of, "link" | "deletedLink") {
            return Err(format!("a `${}` between rows of `{set}`, expected a row or a `$deletedEntity`", context.of));
        }
        row.text(Attribute::Kind, set);
        row.text(Attribute::Source, &self.source);
        let removed = slots.removed.iter().any(|slot| !entity.found[*slot].is_absent());
        let id = entity.get(data, slots.id);
        if context.of == "deletedEntity" {
            let link = Some(id).filter(|id| !id.is_absent()).unwrap_or(entity.first(data, &slots.links));
            let key = text_of(data, link).filter(|text| !text.is_empty()).map(|text| key_of_link(&text));
            let key = key.ok_or_else(|| reason::no_text("id", data, link, "expected the deleted row's, as text"))?;
            row.text(Attribute::Subject, &key);
            row.text(Attribute::Operation, "delete");
            return Ok(());
        }
        match text_of(data, entity.first(data, &slots.links)) {
            Some(link) if !link.is_empty() => row.text(Attribute::Subject, &key_of_link(&link)),
            _ if removed && !id.is_absent() => {
                let key = text_of(data, id).map(|text| key_of_link(&text));
                row.text(Attribute::Subject, &key.unwrap_or_else(|| key_text(&[id.of(data)])));
            }
            _ => {}
        }
        row.text(Attribute::Operation, if removed { "delete" } else { "update" });
        let etag = text_of(data, entity.first(data, &slots.etags));
        if !removed && let Some(version) = etag.as_deref().and_then(version) {
            row.number(Attribute::Version, version);
        }
        put_members(data, entity.found[slots.whole], removed, stops, row);
        Ok(())
    }
}

impl Context<'_> {
    /// Reads `https://…/$metadata#accounts(name)/$delta`, or as little as `accounts/$deletedEntity`.
    fn parse(text: &str) -> Context<'_> {
        let (has_fragment, fragment) = text.rsplit_once('#').map_or((false, text), |(_, fragment)| (true, fragment));
        let (path, of) = match fragment.rsplit_once('$') {
            Some((path, of)) if MARKS.contains(&of) => (path.trim_end_matches('/'), of),
            _ => (fragment, ""),
        };
        let set = match has_fragment {
            true => path.split(['(', '/']).next(),
            false => path.rsplit('/').next(),
        };
        let set = set.filter(|set| !set.is_empty() && (has_fragment || !of.is_empty()));
        Context { set, of }
    }
}

/// The version that a weak entity tag of Dataverse is: `W/"915244"`. Other servers' tags are no numbers.
fn version(etag: &str) -> Option<i64> {
    let digits = etag.strip_prefix("W/").unwrap_or(etag).strip_prefix('"')?.strip_suffix('"')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// The key text in a link, `…/accounts(00000000-…)`, `orders(id=7,line='a')`, or of a bare key.
fn key_of_link(link: &str) -> String {
    let mut opened = None;
    let mut quoted = false;
    for (at, byte) in link.bytes().enumerate() {
        quoted ^= byte == b'\'';
        if byte == b'(' && !quoted {
            opened = Some(at);
        }
    }
    let predicate = opened.and_then(|at| link[at + 1..].strip_suffix(')')).filter(|inside| !inside.is_empty());
    let Some(predicate) = predicate else {
        return link.rsplit('/').next().unwrap_or(link).to_owned();
    };
    let (mut parts, mut from) = (Vec::new(), 0);
    for (at, byte) in predicate.bytes().enumerate() {
        quoted ^= byte == b'\'';
        if byte == b',' && !quoted {
            parts.push(&predicate[from..at]);
            from = at + 1;
        }
    }
    parts.push(&predicate[from..]);
    let values: Vec<Vec<u8>> = parts.into_iter().map(key_value).collect();
    key_text(&values.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The JSON of one value of a key predicate, with or without the name of its property.
fn key_value(part: &str) -> Vec<u8> {
    let value = match (part.find('='), part.find('\'')) {
        (Some(equals), quote) if quote.is_none_or(|quote| equals < quote) => &part[equals + 1..],
        _ => part,
    };
    let mut json = Vec::new();
    match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        Some(text) => write_string(&mut json, &decoded(text).replace("''", "'")),
        None if matches!(value, "true" | "false") || value.parse::<Number>().is_ok() => {
            json.extend_from_slice(value.as_bytes())
        }
        None => write_string(&mut json, &decoded(value)),
    }
    json
}

/// A part of a URL without its percent signs.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => (*high as char).to_digit(16).zip((*low as char).to_digit(16)),
            _ => None,
        };
        out.push(escaped.map_or(*first, |(high, low)| (high << 4 | low) as u8));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// The body: what is no annotation. Of a delete there is none where nothing is left.
fn put_members(data: &[u8], whole: Span, removed: bool, stops: &mut Stops, row: &mut Row<'_>) {
    let start = row.buffer.len();
    row.buffer.push(b'{');
    let scanned = Scanner::new(data, whole.end as usize, stops).members(whole.start as usize, |key, value| {
        // No property's name has an `@`.
        let is_annotation = match key.escaped {
            false => memchr::memchr(b'@', key.inside(data)).is_some(),
            true => text_of(data, key).is_some_and(|key| key.contains('@')),
        };
        if is_annotation {
            return;
        }
        if row.buffer.len() > start + 1 {
            row.buffer.push(b',');
        }
        row.buffer.extend_from_slice(key.of(data));
        row.buffer.push(b':');
        row.buffer.extend_from_slice(value.of(data));
    });
    debug_assert!(scanned.is_ok(), "the row was validated");
    if removed && row.buffer.len() == start + 1 {
        return;
    }
    row.buffer.push(b'}');
    row.body_written(start);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_names_the_entity_set() {
        for (text, set, of) in [
            ("https://o/api/data/v9.2/$metadata#accounts(name,accountid)/$delta", Some("accounts"), "delta"),
            ("https://o/$metadata#accounts", Some("accounts"), ""),
            ("$metadata#accounts/$entity", Some("accounts"), "entity"),
            ("https://o/$metadata#accounts/$deletedEntity", Some("accounts"), "deletedEntity"),
            ("https://o/data/accounts/$deletedEntity", Some("accounts"), "deletedEntity"),
            ("#Customers/Model.Vip/$delta", Some("Customers"), "delta"),
            ("#$deletedEntity", None, "deletedEntity"),
            ("https://o/$metadata", None, ""),
            ("", None, ""),
        ] {
            let context = Context::parse(text);
            assert_eq!((context.set, context.of), (set, of), "{text}");
        }
    }

    #[test]
    fn a_links_key_is_the_key_text() {
        for (link, expected) in [
            ("https://o/accounts(11111111-1111-1111-1111-111111111111)", "11111111-1111-1111-1111-111111111111"),
            ("11111111-1111-1111-1111-111111111111", "11111111-1111-1111-1111-111111111111"),
            ("Customers('O''Neil%20%28x')", "O'Neil (x"),
            ("Customers('a(b)')", "a(b)"),
            ("orders(id=7,line='a,b')", r#"[7,"a,b"]"#),
            ("orders(7)", "7"),
            ("https://o/accounts/7", "7"),
            ("orders()", "orders()"),
            ("%zz", "%zz"),
            ("a('", "a('"),
        ] {
            assert_eq!(key_of_link(link), expected, "{link}");
        }
    }

    #[test]
    fn a_weak_entity_tag_is_a_version() {
        assert_eq!(version("W/\"915244\""), Some(915_244));
        for other in ["W/\"JzEs\"", "\"\"", "915244", "W/\"-1\"", "W/\"99999999999999999999\""] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
