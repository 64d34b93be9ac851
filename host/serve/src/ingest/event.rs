//! What an event cannot do without, and what it is known by.

use std::borrow::Cow;

use serde::Deserialize;

use super::identity::{Domain, hash};
use crate::answer::{Problem, Reason};
use crate::escape::Escaped;
use crate::intake::IdempotencyKey;

/// The attributes that every CloudEvent has.
#[derive(Deserialize)]
struct CloudEvent<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
}

/// Checks a CloudEvent in structured JSON, and returns its key: `source` and `id` name it.
pub(super) fn cloud_event(name: &str, text: &str) -> Result<IdempotencyKey, String> {
    let event: CloudEvent = serde_json::from_str(text).map_err(|error| format!("not a CloudEvent: {error}"))?;
    if event.specversion != "1.0" {
        let version = Escaped(event.specversion.as_bytes());
        return Err(format!("not a CloudEvent: `specversion` is `{version}`, expected `1.0`"));
    }
    for (attribute, value) in [("id", &event.id), ("source", &event.source), ("type", &event.r#type)] {
        if value.is_empty() {
            return Err(format!("not a CloudEvent: `{attribute}` is empty"));
        }
    }
    Ok(hash(Domain::CloudEvent, &[name, &event.source, &event.id]))
}

/// What every event in Event Grid's schema has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GridEvent<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
}

/// Checks an event in Event Grid's schema, and returns its key: `topic` and `id` name it.
pub(super) fn grid_event(name: &str, text: &str) -> Result<IdempotencyKey, String> {
    let event: GridEvent = serde_json::from_str(text).map_err(|error| format!("not an Event Grid event: {error}"))?;
    for (member, value) in [("id", &event.id), ("eventType", &event.event_type)] {
        if value.is_empty() {
            return Err(format!("not an Event Grid event: `{member}` is empty"));
        }
    }
    Ok(hash(Domain::GridEvent, &[name, event.topic.as_deref().unwrap_or_default(), &event.id]))
}

/// Returns the code that Event Grid wants back. The address beside it is never fetched.
pub(super) fn validation_code(body: &[u8]) -> Result<String, Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        validation_code: String,
    }
    #[derive(Deserialize)]
    struct Validation {
        data: Data,
    }
    let invalid = |detail: String| Problem::new(Reason::InvalidBody, detail);
    let events: Vec<Validation> =
        serde_json::from_slice(body).map_err(|error| invalid(format!("not Event Grid's validation event: {error}")))?;
    let [event] = <[Validation; 1]>::try_from(events)
        .map_err(|events| invalid(format!("{} validation events, expected one", events.len())))?;
    match event.data.validation_code {
        code if code.len() <= 256 => Ok(code),
        code => Err(invalid(format!("the validation code has {} bytes, expected at most 256", code.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_a_needed_attribute_is_named() {
        let cases = [
            (r#"{"id":"1","source":"s","type":"t"}"#, "missing field `specversion`"),
            (r#"{"specversion":"1.0","source":"s","type":"t"}"#, "missing field `id`"),
            (r#"{"specversion":"1.0","id":"1","type":"t"}"#, "missing field `source`"),
            (r#"{"specversion":"1.0","id":"1","source":"s"}"#, "missing field `type`"),
            (r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, "`id` is empty"),
            (r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "`specversion` is `0.3`, expected `1.0`"),
            (r#"{"specversion":"1.0","id":1,"source":"s","type":"t"}"#, "invalid type: integer `1`"),
            (r#"{"specversion":"1.0","id":"1","id":"2","source":"s","type":"t"}"#, "duplicate field `id`"),
        ];
        for (event, expected) in cases {
            let detail = cloud_event("s", event).unwrap_err();
            assert!(detail.contains(expected), "{event}: {detail}");
        }
    }

    #[test]
    fn an_event_is_known_by_source_and_id_however_they_are_written() {
        let key = |id: &str, rest: &str| {
            cloud_event("s", &format!(r#"{{"specversion":"1.0","id":"{id}","source":"/a","type":"t"{rest}}}"#)).unwrap()
        };
        assert_eq!(key("1", ""), key("\\u0031", r#","data":[1,{"id":"x"}]"#));
        assert_ne!(key("1", ""), key("2", ""));
        let grid =
            |topic: &str| grid_event("s", &format!(r#"{{"id":"1","topic":"{topic}","eventType":"t"}}"#)).unwrap();
        assert_ne!(grid("a"), grid("b"));
    }

    #[test]
    fn event_grids_code_is_found_in_its_one_event() {
        let event = r#"{"id":"2","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"512d38b6","validationUrl":"https://x"}}"#;
        assert_eq!(validation_code(format!("[{event}]").as_bytes()).unwrap(), "512d38b6");
        assert!(validation_code(format!("[{event},{event}]").as_bytes()).is_err());
        assert!(validation_code(b"[]").is_err());
        assert!(validation_code(b"{}").is_err());
    }
}
