//! Pages of an OData delta feed: a line is a page, whose `value` holds rows and deletes, or one of these alone.
//!
//! A changed row need have only the properties that changed, so it is a patch, unless the source says that rows are whole. What is
//! deleted is told by its context (OData 4.0: `…#accounts/$deletedEntity`) or by `@removed` (4.01, and `@odata.removed`). What the
//! rows are called is the entity set in the context: of the row, else of its page. Where facts come
//! from: OData JSON Format 4.0 and 4.01, sections on delta payloads; Dataverse's documentation of change tracking.

use serde_json::Number;

use super::content::text_of;
use super::row::{Row, write_string};
use super::{Outer, elements};
use crate::decode::fields::Slot;
use crate::decode::reason;
use crate::decode::scan::{Scanner, Span};
use crate::decode::stops::Stops;
use crate::decode::{fold_guid, key_text};
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
    /// What a row does: an update is the whole row, a patch what changed of it.
    operation: &'static str,
}

/// The key that a link names.
struct LinkKey {
    text: String,
    /// The names and the JSON of its properties, where it names them.
    properties: Vec<(String, Vec<u8>)>,
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
    /// Opens pages of a source. `whole`: rows have all their properties.
    pub fn new(source: &str, whole_rows: bool) -> Result<OData> {
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
        let operation = if whole_rows { "update" } else { "patch" };
        Ok(OData { page, page_contexts, value, whole, set: None, entity, slots, stops, source, operation })
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
        let OData { entity, slots, stops, operation, .. } = self;
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
            let key = text_of(data, link).filter(|text| !text.is_empty()).map(|text| LinkKey::parse(&text));
            let key = key.ok_or_else(|| reason::no_text("id", data, link, "expected the deleted row's, as text"))?;
            row.text(Attribute::Subject, &key.text);
            row.text(Attribute::Operation, "delete");
            put_members(data, None, &key.properties, stops, row);
            return Ok(());
        }
        let key = match text_of(data, entity.first(data, &slots.links)) {
            Some(link) if !link.is_empty() => Some(LinkKey::parse(&link)),
            _ if removed && !id.is_absent() => Some(match text_of(data, id) {
                Some(text) => LinkKey::parse(&text),
                None => LinkKey { text: key_text(&[id.of(data)]), properties: Vec::new() },
            }),
            _ => None,
        };
        if let Some(key) = &key {
            row.text(Attribute::Subject, &key.text);
        }
        row.text(Attribute::Operation, if removed { "delete" } else { operation });
        let etag = text_of(data, entity.first(data, &slots.etags));
        if !removed && let Some(version) = etag.as_deref().and_then(version) {
            row.number(Attribute::Version, version);
        }
        put_members(data, Some(entity.found[slots.whole]), key.as_ref().map_or(&[], |key| &key.properties), stops, row);
        // Nothing is known of a row that is gone.
        if removed && row.body.end - row.body.start == 2 {
            row.body = Span::ABSENT;
        }
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

impl LinkKey {
    /// Reads the key in a link, `…/accounts(00000000-…)`, `orders(id=7,line='a')`, or a bare key.
    fn parse(link: &str) -> LinkKey {
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
            let text = fold_guid(link.rsplit('/').next().unwrap_or(link).to_owned());
            return LinkKey { text, properties: Vec::new() };
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
        let pairs: Vec<(Option<&str>, Vec<u8>)> = parts.into_iter().map(key_value).collect();
        let text = key_text(&pairs.iter().map(|(_, value)| value.as_slice()).collect::<Vec<_>>());
        let named = |(name, value): (Option<&str>, Vec<u8>)| Some((name?.trim().to_owned(), value));
        LinkKey { text, properties: pairs.into_iter().filter_map(named).collect() }
    }
}

/// The name of the property, where one is given, and the JSON of one value of a key predicate.
fn key_value(part: &str) -> (Option<&str>, Vec<u8>) {
    let (name, value) = match (part.find('='), part.find('\'')) {
        (Some(equals), quote) if quote.is_none_or(|quote| equals < quote) => {
            (Some(&part[..equals]), &part[equals + 1..])
        }
        _ => (None, part),
    };
    let mut json = Vec::new();
    match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        Some(text) => write_string(&mut json, &decoded(text).replace("''", "'")),
        None if matches!(value, "true" | "false") || value.parse::<Number>().is_ok() => {
            json.extend_from_slice(value.as_bytes())
        }
        // GUIDs stand without quotes.
        None => write_string(&mut json, &fold_guid(decoded(value))),
    }
    (name, json)
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

/// Puts the body: the members of `whole` that are no annotations, and those properties of the key that are not among them.
fn put_members(
    data: &[u8],
    whole: Option<Span>,
    key_properties: &[(String, Vec<u8>)],
    stops: &mut Stops,
    row: &mut Row<'_>,
) {
    let start = row.buffer.len();
    let mut missing: Vec<_> = key_properties.iter().collect();
    if whole.is_none() && missing.is_empty() {
        return;
    }
    row.buffer.push(b'{');
    let whole = whole.unwrap_or(Span::ABSENT);
    let mut put = |key: Span, value: Span| {
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
        missing.retain(|(name, _)| text_of(data, key).as_deref() != Some(name));
    };
    if !whole.is_absent() {
        let scanned = Scanner::new(data, whole.end as usize, stops).members(whole.start as usize, &mut put);
        debug_assert!(scanned.is_ok(), "the row was validated");
    }
    for (name, value) in missing {
        if row.buffer.len() > start + 1 {
            row.buffer.push(b',');
        }
        write_string(row.buffer, name);
        row.buffer.push(b':');
        row.buffer.extend_from_slice(value);
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
            ("accounts(60C4E274-0D87-E711-80E5-00155DB19E6D)", "60c4e274-0d87-e711-80e5-00155db19e6d"),
            ("accounts('60C4E274-0D87-E711-80E5-00155DB19E6D')", "60C4E274-0D87-E711-80E5-00155DB19E6D"),
        ] {
            assert_eq!(LinkKey::parse(link).text, expected, "{link}");
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
