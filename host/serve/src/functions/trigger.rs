//! Timers, HTTP requests, messages of a queue, blobs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::{body_bytes, optional};
use super::value::{Members, instant, json, parse, text};
use super::{DataType, InvalidInvocation};

/// A timer is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// The timer is late: the function app was off.
    pub is_past_due: bool,
    /// When it was due last, and when it is due next, where the host keeps a schedule.
    pub last: Option<DateTime<Utc>>,
    pub next: Option<DateTime<Utc>>,
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    pub method: String,
    pub url: String,
    /// Names as they came, each with its values.
    pub headers: BTreeMap<String, Vec<String>>,
    pub query: BTreeMap<String, String>,
    /// The values of the route's parameters.
    pub params: BTreeMap<String, String>,
    /// The body's text; of a body that came as JSON, the JSON as it came.
    pub body: Bytes,
}

/// Messages of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub messages: Vec<QueueMessage>,
}

/// A message of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    pub body: Bytes,
    /// What the queue calls it, each time that it is delivered; `None` where what the sender wrote stands in the place of that.
    pub id: Option<String>,
}

/// A blob that is new or was changed. Its content is read from its store, and so is its ETag: what the host says of that may be what
/// an uploader wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub container: String,
    pub name: String,
}

impl Timer {
    pub(super) fn parse(data: &str) -> Result<Timer, InvalidInvocation> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Status {
            last: Option<String>,
            next: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Data {
            schedule_status: Option<Status>,
            is_past_due: bool,
        }
        let Data { schedule_status, is_past_due } = parse("the timer", data)?;
        let Status { last, next } = schedule_status.unwrap_or(Status { last: None, next: None });
        let time = |name, text: Option<String>| text.map_or(Ok(None), |text| instant(name, &text));
        Ok(Timer { is_past_due, last: time("Last", last)?, next: time("Next", next)? })
    }
}

impl Http {
    pub(super) fn parse(data: &str) -> Result<Http, InvalidInvocation> {
        let request = json(data);
        let request: Members = serde_json::from_str(&request)
            .map_err(|error| InvalidInvocation(format!("the request is no object: {error}")))?;
        let needed = |name: &str| {
            request.get(name).map(text).ok_or_else(|| InvalidInvocation(format!("the request has no `{name}`")))
        };
        let map = |name: &str| request.get(name).map_or(Ok(BTreeMap::new()), |value| parse(name, value));
        Ok(Http {
            method: needed("Method")?,
            url: needed("Url")?,
            headers: request.get("Headers").map_or(Ok(BTreeMap::new()), |value| parse("Headers", value))?,
            query: map("Query")?,
            params: map("Params")?,
            body: request.get("Body").map_or(Ok(Bytes::new()), |body| body_bytes(DataType::String, body))?,
        })
    }
}

/// The events of Event Grid, each in JSON: one, or an array of them.
pub(super) fn grid_events(is_many: bool, data: &str) -> Result<Vec<Bytes>, InvalidInvocation> {
    let data = json(data);
    if !is_many {
        return Ok(vec![data.into_owned().into()]);
    }
    let events: Vec<&RawValue> = serde_json::from_str(&data).map_err(|error| {
        InvalidInvocation(format!("the events are no array, expected one with `\"cardinality\": \"many\"`: {error}"))
    })?;
    Ok(events.into_iter().map(|event| json(event.get()).into_owned().into()).collect())
}

impl Queue {
    /// A message of a storage queue.
    pub(super) fn parse(data: &str, metadata: &Members) -> Result<Queue, InvalidInvocation> {
        let body = text(data);
        let id = unless_shadowed(&body, metadata, "Id");
        Ok(Queue { messages: vec![QueueMessage { body: body.into(), id }] })
    }

    /// A message of a Service Bus queue or subscription, or several.
    ///
    /// The broker numbers messages; a queue that was deleted and made anew begins again, at another time.
    pub(super) fn of_service_bus(
        (data_type, is_many): (DataType, bool),
        data: &str,
        metadata: &Members,
    ) -> Result<Queue, InvalidInvocation> {
        if !is_many {
            let body = body_bytes(data_type, &serde_json::to_string(&text(data)).expect("a text is JSON"))?;
            let trusted = |name| unless_shadowed(&String::from_utf8_lossy(&body), metadata, name);
            let id = service_bus_id(trusted("SequenceNumber"), trusted("EnqueuedTimeUtc"));
            return Ok(Queue { messages: vec![QueueMessage { body, id }] });
        }
        let bodies = json(data);
        let bodies: Vec<&RawValue> = serde_json::from_str(&bodies).map_err(|error| {
            InvalidInvocation(format!(
                "the messages are no array, expected one with `\"cardinality\": \"many\"`: {error}"
            ))
        })?;
        let numbers = optional::<Box<RawValue>>(metadata, "SequenceNumberArray", bodies.len())?;
        let times = optional::<Box<RawValue>>(metadata, "EnqueuedTimeUtcArray", bodies.len())?;
        let text_of = |value: Option<Box<RawValue>>| value.map(|value| text(value.get()));
        let messages = bodies.into_iter().zip(numbers.into_iter().zip(times)).map(|(body, (number, time))| {
            let body = body_bytes(data_type, body.get())?;
            Ok(QueueMessage { body, id: service_bus_id(text_of(number), text_of(time)) })
        });
        Ok(Queue { messages: messages.collect::<Result<_, _>>()? })
    }
}

/// What a message is called; nothing where its number or its time is not known.
fn service_bus_id(number: Option<String>, time: Option<String>) -> Option<String> {
    Some(format!("{} {}", number?, time?))
}

/// What the host says of a message; `None` where what its sender wrote may stand in the place of that.
fn unless_shadowed(body: &str, metadata: &Members, name: &str) -> Option<String> {
    match members(body) {
        Body::Object(members) if has(&members, name) => None,
        Body::Unknown => None,
        _ => metadata.get(name).map(text),
    }
}

/// What the host makes of a body: it puts the members of a JSON object over what it says, whatever the case of their names. What a
/// sender wrote must not make two messages look like one.
enum Body<'a> {
    Object(Members<'a>),
    /// It looks like an object and is none, though the host may read one: its parser takes single quotes, comments, and more.
    Unknown,
    Other,
}

fn members(body: &str) -> Body<'_> {
    match body.trim_start_matches(|first: char| first.is_whitespace() || first == '\u{feff}') {
        object if object.starts_with('{') => serde_json::from_str(object).map_or(Body::Unknown, Body::Object),
        _ => Body::Other,
    }
}

/// Whether an object has a member of this name, in any case.
fn has(members: &Members, name: &str) -> bool {
    members.names().any(|member| member.to_uppercase() == name.to_uppercase())
}

impl Blob {
    pub(super) fn parse(data: &str, metadata: &Members) -> Result<Blob, InvalidInvocation> {
        let data = text(data);
        let content = members(&data);
        let said = |name: &str| match &content {
            Body::Object(members) if has(members, name) => None,
            // The host may have read an object where none can be read here.
            Body::Unknown if data.to_uppercase().contains(&name.to_uppercase()) => None,
            _ => metadata.get(name).map(text),
        };
        let path = said("BlobTrigger");
        let of_uri = said("Uri").and_then(|uri| path_of(&uri));
        let path = match (path, of_uri) {
            // Of content that the host may have read, both had to be written there.
            (Some(path), Some(of_uri)) if !format!("/{of_uri}").ends_with(&format!("/{path}")) => {
                return Err(InvalidInvocation(format!(
                    "`BlobTrigger` is `{}`, and `Uri` is that of `{}`, expected the same blob",
                    path.escape_debug(),
                    of_uri.escape_debug()
                )));
            }
            (Some(path), _) | (None, Some(path)) => path,
            (None, None) => {
                return Err(InvalidInvocation(
                    "`Metadata` has neither `BlobTrigger` nor `Uri` that the blob's own content cannot stand for; set `\"dataType\": \
                     \"binary\"` in `function.json`"
                        .to_owned(),
                ));
            }
        };
        let (container, name) = path.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
            InvalidInvocation(format!("`BlobTrigger` is `{}`, expected `container/name`", path.escape_debug()))
        })?;
        Ok(Blob { container: container.to_owned(), name: name.to_owned() })
    }
}

/// The decoded path of a blob's URL, without the slash before it.
fn path_of(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    let path = path.split(['?', '#']).next()?;
    percent_encoding::percent_decode_str(path).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::super::{Binding, Invocation, Trigger};
    use super::*;

    fn parse(trigger: Trigger, body: &str) -> Result<Invocation, InvalidInvocation> {
        Invocation::parse(&Binding::new("t", trigger), body.as_bytes())
    }

    #[test]
    fn a_timer_says_when_it_was_and_will_be_due() {
        let object = r#"{"Schedule":{"AdjustForDST":true},"ScheduleStatus":{"Last":"2026-11-21T00:00:00+00:00","LastUpdated":"2026-11-21T00:00:00+00:00","Next":"2026-11-21T00:05:00+00:00"},"IsPastDue":true}"#;
        let in_text = serde_json::to_string(object).unwrap();
        for data in [object, &in_text] {
            let Ok(Invocation::Timer(timer)) =
                parse(Trigger::Timer, &format!(r#"{{"Data":{{"t":{data}}},"Metadata":{{}}}}"#))
            else {
                panic!("{data}")
            };
            assert!(timer.is_past_due);
            assert_eq!(timer.next.unwrap().to_rfc3339(), "2026-11-21T00:05:00+00:00");
        }
        let first = r#"{"Data":{"t":{"ScheduleStatus":{"Last":"0001-01-01T00:00:00","Next":"2026-11-21T00:05:00"},"IsPastDue":false}}}"#;
        assert!(matches!(parse(Trigger::Timer, first), Ok(Invocation::Timer(Timer { last: None, next: Some(_), .. }))));
        let none = r#"{"Data":{"t":{"ScheduleStatus":null,"IsPastDue":false}}}"#;
        assert!(matches!(
            parse(Trigger::Timer, none),
            Ok(Invocation::Timer(Timer { last: None, next: None, is_past_due: false }))
        ));
        assert!(parse(Trigger::Timer, r#"{"Data":{"t":{}}}"#).unwrap_err().0.contains("IsPastDue"));
    }

    #[test]
    fn a_request_has_its_headers_and_body() {
        let body = r#"{"Data":{"t":{"Url":"http://h/api/x?a=1","Method":"POST","Query":"{\"a\":\"1\"}","Headers":{"Content-Type":["application/json"]},"Params":{},"Body":"{\"n\":1.0}"}},"Metadata":{"n":1.0}}"#;
        for body in [
            body.to_owned(),
            body.replace(r#""{\"a\":\"1\"}""#, r#"{"a":"1"}"#),
            body.replace(r#""{\"n\":1.0}""#, r#"{"n":1.0}"#),
        ] {
            let Ok(Invocation::Http(http)) = parse(Trigger::Http, &body) else { panic!("{body}") };
            assert_eq!(
                (&*http.method, &*http.url, &http.body[..]),
                ("POST", "http://h/api/x?a=1", &br#"{"n":1.0}"#[..])
            );
            assert_eq!(http.headers["Content-Type"], ["application/json"]);
            assert_eq!(http.query["a"], "1");
        }
        assert!(parse(Trigger::Http, r#"{"Data":{"t":{"Method":"GET"}}}"#).unwrap_err().0.contains("`Url`"));
    }

    #[test]
    fn a_message_is_text_and_what_it_says_of_itself_is_no_id() {
        let queue = |body: &str| match parse(Trigger::Queue, body) {
            Ok(Invocation::Queue(queue)) => queue.messages.into_iter().next().unwrap(),
            other => panic!("{other:?}"),
        };
        let plain = queue(r#"{"Data":{"t":"{\"a\":1}"},"Metadata":{"DequeueCount":"2","Id":"\"800a\"","a":1}}"#);
        assert_eq!((&plain.body[..], plain.id.as_deref()), (&br#"{"a":1}"#[..], Some("800a")));
        let number = queue(r#"{"Data":{"t":"\"hello\""},"Metadata":{"DequeueCount":1,"Id":800}}"#);
        assert_eq!((&number.body[..], number.id.as_deref()), (&b"hello"[..], Some("800")));
        for name in ["Id", "id", "ID"] {
            let body = format!(r#"{{"Data":{{"t":"{{\"{name}\":\"5\"}}"}},"Metadata":{{"DequeueCount":1,"Id":"5"}}}}"#);
            assert_eq!(queue(&body).id, None, "{name}");
        }
    }

    #[test]
    fn where_a_body_may_stand_for_what_the_queue_says_there_is_no_id() {
        let id = |body: &str, said: &str| {
            let body = serde_json::to_string(body).unwrap();
            let invocation = format!(r#"{{"Data":{{"t":{body}}},"Metadata":{{"Id":{said}}}}}"#);
            match parse(Trigger::Queue, &invocation) {
                Ok(Invocation::Queue(queue)) => queue.messages.into_iter().next().unwrap().id,
                other => panic!("{other:?}"),
            }
        };
        for (body, said) in [
            // The host writes values in its own way.
            (r#"{"Id":1e3}"#, r#""1000""#),
            (r#"{"id":"2026-11-21T00:00:00Z"}"#, r#""11/21/2026 00:00:00""#),
            (r#"{"\u0049d":{"a":1}}"#, r#""{\"a\": 1}""#),
            (r#"{"ıd":5}"#, "5"),
            // It reads what is no JSON.
            ("{'id':'5'}", r#""5""#),
            ("\u{feff} {id: 5}", "5"),
            (r#"{"id":5,}"#, "5"),
            (r#"{/* */"id":5}"#, "5"),
            // A host that kept them apart would be none the wiser.
            (r#"{"id":"5"}"#, r#""800a""#),
        ] {
            assert_eq!(id(body, said), None, "{body}");
        }
        for body in [r#"{"order":{"id":5}}"#, r#"[{"id":5}]"#, "hello", "", "{}", r#""{'id':5}""#, "id: 5"] {
            assert_eq!(id(body, r#""800a""#).is_some(), !body.contains("'id'"), "{body}");
        }
    }

    #[test]
    fn messages_of_a_service_bus_are_known_by_number_and_time() {
        let queue = |data_type, is_many, body: &str| match parse(Trigger::ServiceBus(data_type, is_many), body) {
            Ok(Invocation::Queue(queue)) => queue.messages,
            other => panic!("{other:?}"),
        };
        let one = r#"{"Data":{"t":"{\"a\":1}"},"Metadata":{"MessageId":"m","SequenceNumber":"17","DeliveryCount":"1","EnqueuedTimeUtc":"\"2026-11-21T00:00:08.225\""}}"#;
        let [message] = &queue(DataType::String, false, one)[..] else { panic!("one message") };
        assert_eq!(
            (&message.body[..], message.id.as_deref()),
            (&br#"{"a":1}"#[..], Some("17 2026-11-21T00:00:08.225"))
        );
        let shadowed = one.replace(r#"{\"a\":1}"#, r#"{\"sequenceNumber\":17}"#);
        assert_eq!(queue(DataType::String, false, &shadowed)[0].id, None);
        let untimed = one.replace(r#"{\"a\":1}"#, r#"{\"enqueuedTimeUtc\":17}"#);
        assert_eq!(queue(DataType::String, false, &untimed)[0].id, None, "the number alone is not enough");
        let many = r#"{"Data":{"t":"[\"e30=\",\"e30=\"]"},"Metadata":{"SequenceNumberArray":"[17,18]","EnqueuedTimeUtcArray":["a","b"]}}"#;
        let messages = queue(DataType::Binary, true, many);
        let ids: Vec<_> = messages.iter().map(|message| (&message.body[..], message.id.as_deref().unwrap())).collect();
        assert_eq!(ids, [(&b"{}"[..], "17 a"), (b"{}", "18 b")]);
    }

    #[test]
    fn a_blob_has_its_container_and_name_whatever_its_content_says() {
        let blob_of = |content: &str, metadata: &str| {
            let content = serde_json::to_string(content).unwrap();
            match parse(Trigger::Blob, &format!(r#"{{"Data":{{"t":{content}}},"Metadata":{metadata}}}"#)) {
                Ok(Invocation::Blob(blob)) => Ok(blob),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.0),
            }
        };
        let blob = |metadata: &str| blob_of("{}", metadata);
        let expected = Blob { container: "in".into(), name: "a b/ü.jsonl".into() };
        let whole = r#"{"BlobTrigger":"\"in/a b/ü.jsonl\"","Uri":"\"https://x/in/a%20b/%C3%BC.jsonl\"","Properties":"{\"ETag\":\"0x8D\",\"Length\":3}"}"#;
        assert_eq!(blob(whole), Ok(expected.clone()));
        assert_eq!(blob(&whole.replace("https://x/", "http://127.0.0.1:10000/account/")), Ok(expected.clone()));
        assert_eq!(blob(&whole.replace("BlobTrigger", "Other")), Ok(expected.clone()));
        assert!(blob(&whole.replace("/in/", "/other/")).unwrap_err().contains("expected the same blob"));
        assert!(blob("{}").unwrap_err().contains("neither"));
        assert!(blob(r#"{"BlobTrigger":"in"}"#).unwrap_err().contains("expected `container/name`"));
        // One of the two is enough, and lines of JSON are no object that the host reads.
        let hidden = whole.replace("https://x/in/", "https://contoso.example/");
        assert_eq!(blob_of(r#"{"uri":"https://contoso.example/"}"#, &hidden), Ok(expected.clone()));
        assert_eq!(blob_of("{\"uri\":1}\n{\"uri\":2}\n", whole), Ok(expected));
        let both = r#"{"uri":"https://x/in/other","blobTrigger":"in/other"}"#;
        assert!(blob_of(both, both).unwrap_err().contains("`\"dataType\": \"binary\"`"));
        let quoted = both.replace('"', "'");
        assert!(blob_of(&quoted, both).unwrap_err().contains("`\"dataType\": \"binary\"`"));
    }
}
