//! What a body is, told from its headers.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::binary::BinaryEvent;
use crate::answer::{Problem, Reason};
use crate::escape::Escaped;
use crate::intake::Envelope;

/// What a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// JSON objects, one a line.
    Lines,
    /// A JSON object, or an array of them.
    Json,
    /// A CloudEvent in structured mode.
    Event,
    /// A JSON array of CloudEvents.
    EventBatch,
    /// The data of a CloudEvent whose attributes are in the headers.
    Binary(BinaryEvent),
    /// Event Grid asks whether its events are wanted.
    GridValidation,
    /// Event Grid says that no more events come.
    GridFarewell,
}

impl Content {
    /// Tells what a body for a source of `envelope` is.
    pub(super) fn of(headers: &HeaderMap, envelope: Envelope) -> Result<Content, Problem> {
        let media = MediaType::of(headers)?;
        let essence = media.as_ref().map_or("", |media| &media.essence);
        // The batch first: its name begins with the other's.
        if essence.starts_with("application/cloudevents-batch") {
            return event(essence == "application/cloudevents-batch+json", Content::EventBatch, &media, envelope);
        }
        if essence.starts_with("application/cloudevents") {
            return event(essence == "application/cloudevents+json", Content::Event, &media, envelope);
        }
        if headers.keys().any(|name| name.as_str().starts_with("ce-")) {
            return event(true, Content::Binary(BinaryEvent::of(headers, media.as_ref())?), &None, envelope);
        }
        if let Some(content) = grid(headers, envelope)? {
            return Ok(content);
        }
        let Some(media) = &media else {
            return Err(unsupported(format!("there is no `Content-Type`, expected {TYPES}")));
        };
        media.refuse_charset()?;
        match essence {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Ok(Content::Lines)
            }
            "application/json" => Ok(Content::Json),
            other => Err(unsupported(format!("`Content-Type: {}`, expected {TYPES}", Escaped(other.as_bytes())))),
        }
    }
}

const TYPES: &str = "`application/x-ndjson`, `application/json`, `application/cloudevents+json` or `application/cloudevents-batch+json`";

fn event(is_json: bool, content: Content, media: &Option<MediaType>, envelope: Envelope) -> Result<Content, Problem> {
    if !is_json {
        return Err(unsupported("CloudEvents are taken in JSON or in binary mode only".to_owned()));
    }
    if let Some(media) = media {
        media.refuse_charset()?;
    }
    match envelope {
        Envelope::CloudEvents => Ok(content),
        _ => Err(unsupported("the source takes no CloudEvents: it needs `envelope = \"cloudevents\"`".to_owned())),
    }
}

/// Event Grid's own messages; its notifications are JSON like any other.
fn grid(headers: &HeaderMap, envelope: Envelope) -> Result<Option<Content>, Problem> {
    let Some(kind) = headers.get("aeg-event-type") else { return Ok(None) };
    let content = match kind.as_bytes() {
        b"SubscriptionValidation" => Content::GridValidation,
        b"SubscriptionDeletion" => Content::GridFarewell,
        _ => return Ok(None),
    };
    match envelope {
        Envelope::EventGrid => Ok(Some(content)),
        _ => Err(unsupported(
            "the source takes no events in Event Grid's schema: it needs `envelope = \"event-grid\"`".to_owned(),
        )),
    }
}

/// A `Content-Type`, in lower case, without parameters other than the character set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaType {
    pub(super) essence: String,
    pub(super) charset: Option<String>,
    /// As it came.
    pub(super) text: String,
}

impl MediaType {
    fn of(headers: &HeaderMap) -> Result<Option<MediaType>, Problem> {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(unsupported("there is more than one `Content-Type`".to_owned()));
        }
        let text = value.to_str().map_err(|_| unsupported("`Content-Type` is not ASCII".to_owned()))?.trim();
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let charset = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
        });
        Ok(Some(MediaType { essence, charset, text: text.to_owned() }))
    }

    /// Whether it names JSON: `application/json`, `text/json`, or any `+json`.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.essence.as_str(), "application/json" | "text/json") || self.essence.ends_with("+json")
    }

    /// Refuses character sets other than UTF-8.
    pub(super) fn refuse_charset(&self) -> Result<(), Problem> {
        match self.charset.as_deref() {
            None | Some("utf-8" | "utf8" | "us-ascii") => Ok(()),
            Some(other) => {
                Err(unsupported(format!("the character set `{}`, expected `utf-8`", Escaped(other.as_bytes()))))
            }
        }
    }
}

fn unsupported(detail: String) -> Problem {
    Problem::new(Reason::UnsupportedType, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(envelope: Envelope, headers: &[(&'static str, &str)]) -> Result<Content, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Content::of(&map, envelope)
    }

    #[test]
    fn a_body_is_told_by_its_type() {
        let plain = |content_type| of(Envelope::Plain, &[("content-type", content_type)]);
        for lines in [
            "application/x-ndjson",
            "application/jsonl; charset=UTF-8",
            "Application/NDJSON",
            "application/x-jsonlines",
        ] {
            assert_eq!(plain(lines), Ok(Content::Lines), "{lines}");
        }
        assert_eq!(plain("application/json;charset=\"utf-8\""), Ok(Content::Json));
        for wrong in
            ["text/plain", "application/jsonx", "", "application/json; charset=utf-16", "application/cloudevents+json"]
        {
            assert_eq!(plain(wrong).unwrap_err().reason, Reason::UnsupportedType, "{wrong}");
        }
        assert_eq!(of(Envelope::Plain, &[]).unwrap_err().reason, Reason::UnsupportedType);
        let twice = [("content-type", "application/json"), ("content-type", "application/x-ndjson")];
        assert_eq!(of(Envelope::Plain, &twice).unwrap_err().reason, Reason::UnsupportedType);
    }

    #[test]
    fn events_are_told_and_the_batch_is_no_single_one() {
        let events = |content_type| of(Envelope::CloudEvents, &[("content-type", content_type)]);
        assert_eq!(events("application/cloudevents+json; charset=utf-8"), Ok(Content::Event));
        assert_eq!(events("application/cloudevents-batch+json"), Ok(Content::EventBatch));
        assert_eq!(events("application/x-ndjson"), Ok(Content::Lines));
        for wrong in ["application/cloudevents+avro", "application/cloudevents", "application/cloudevents-batch+xml"] {
            assert_eq!(events(wrong).unwrap_err().reason, Reason::UnsupportedType, "{wrong}");
        }
    }

    #[test]
    fn event_grids_handshake_is_for_its_sources() {
        let validation = [("aeg-event-type", "SubscriptionValidation"), ("content-type", "application/json")];
        assert_eq!(of(Envelope::EventGrid, &validation), Ok(Content::GridValidation));
        assert_eq!(of(Envelope::Plain, &validation).unwrap_err().reason, Reason::UnsupportedType);
        let notification = [("aeg-event-type", "Notification"), ("content-type", "application/json")];
        assert_eq!(of(Envelope::EventGrid, &notification), Ok(Content::Json));
    }
}
