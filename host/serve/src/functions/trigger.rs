//! Timers, HTTP requests, messages of a queue, blobs.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::events::body_bytes;
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

/// A message of a storage queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub text: String,
    /// What the host says, unless the message is a JSON object with a member of this name: not to be trusted.
    pub id: Option<String>,
    /// As [`Queue::id`].
    pub dequeue_count: Option<u32>,
}

/// A blob that is new or was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub content: Bytes,
    /// `container/name`. What the host says, unless the blob is a JSON object with a member `BlobTrigger`: not to be trusted.
    pub path: Option<String>,
    /// As [`Blob::path`].
    pub uri: Option<String>,
    /// As [`Blob::path`].
    pub etag: Option<String>,
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

impl Queue {
    pub(super) fn parse(data: &str, metadata: &Members) -> Result<Queue, InvalidInvocation> {
        Ok(Queue {
            text: text(data),
            id: metadata.get("Id").map(text),
            // What is no number came from the message.
            dequeue_count: metadata.get("DequeueCount").and_then(|count| parse("DequeueCount", count).ok()),
        })
    }
}

impl Blob {
    pub(super) fn parse(data_type: DataType, data: &str, metadata: &Members) -> Result<Blob, InvalidInvocation> {
        let properties = metadata.get("Properties").map(json);
        let properties: Option<Members> = properties.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let content = match data_type {
            DataType::String => text(data).into(),
            DataType::Binary => body_bytes(data_type, &serde_json::to_string(&text(data)).expect("a text is JSON"))?,
        };
        Ok(Blob {
            content,
            path: metadata.get("BlobTrigger").map(text),
            uri: metadata.get("Uri").map(text),
            etag: properties.and_then(|properties| properties.get("ETag").map(text)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Binding, Invocation, Trigger};
    use super::*;

    fn parse(trigger: Trigger, body: &str) -> Result<Invocation, InvalidInvocation> {
        Invocation::parse(&Binding { name: "t".into(), trigger }, body.as_bytes())
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
    fn a_message_is_text_and_what_it_says_of_itself_does_not_fail() {
        let queue = |body: &str| match parse(Trigger::Queue, body) {
            Ok(Invocation::Queue(queue)) => queue,
            other => panic!("{other:?}"),
        };
        let plain = queue(r#"{"Data":{"t":"{\"a\":1}"},"Metadata":{"DequeueCount":"2","Id":"\"800a\"","a":1}}"#);
        assert_eq!((&*plain.text, plain.dequeue_count, plain.id.as_deref()), (r#"{"a":1}"#, Some(2), Some("800a")));
        let number = queue(r#"{"Data":{"t":"\"hello\""},"Metadata":{"DequeueCount":1,"Id":"800a"}}"#);
        assert_eq!((&*number.text, number.dequeue_count, number.id.as_deref()), ("hello", Some(1), Some("800a")));
        let shadowed = queue(r#"{"Data":{"t":"{}"},"Metadata":{"DequeueCount":{"x":1}}}"#);
        assert_eq!((shadowed.dequeue_count, shadowed.id), (None, None));
    }

    #[test]
    fn a_blob_has_its_content_path_and_etag() {
        let blob = |data_type, body: &str| match parse(Trigger::Blob(data_type), body) {
            Ok(Invocation::Blob(blob)) => blob,
            other => panic!("{other:?}"),
        };
        let metadata = r#"{"BlobTrigger":"\"in/a.jsonl\"","Uri":"\"https://x/in/a.jsonl\"","Properties":"{\"ETag\":\"0x8D\",\"Length\":3}"}"#;
        let text = blob(DataType::String, &format!(r#"{{"Data":{{"t":"{{}}\n{{}}"}},"Metadata":{metadata}}}"#));
        assert_eq!(
            (&text.content[..], text.path.as_deref(), text.etag.as_deref()),
            (&b"{}\n{}"[..], Some("in/a.jsonl"), Some("0x8D"))
        );
        for data in [r#""e30K""#, r#""\"e30K\"""#] {
            let binary = blob(DataType::Binary, &format!(r#"{{"Data":{{"t":{data}}},"Metadata":{metadata}}}"#));
            assert_eq!((&binary.content[..], binary.uri.as_deref()), (&b"{}\n"[..], Some("https://x/in/a.jsonl")));
        }
    }
}
