//! Blobs that Event Grid announces: an event says that there is one, and its store what is in it.

use std::borrow::Cow;

use serde::Deserialize;

use crate::delivery::ObjectRef;

/// The type of the events that are wanted.
pub(super) const BLOB_CREATED: &str = "Microsoft.Storage.BlobCreated";

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Blob(ObjectRef),
    /// Of another type, or of a file that is begun and has no bytes yet.
    Other(String),
    /// It is no event of Event Grid.
    Unknown,
}

/// An event in Event Grid's schema, or a CloudEvent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, alias = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Data<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow, default)]
    api: Cow<'a, str>,
    #[serde(borrow, default)]
    e_tag: Option<Cow<'a, str>>,
}

impl Announced {
    pub(super) fn of(event: &[u8]) -> Announced {
        let Ok(Event { event_type, subject, data }) = serde_json::from_slice(event) else { return Announced::Unknown };
        if event_type != BLOB_CREATED {
            return Announced::Other(event_type.into_owned());
        }
        // Data Lake Storage tells of a file first when it is made, and again when it is closed.
        if data.api == "CreateFile" {
            return Announced::Other(format!("{event_type}, {}", data.api));
        }
        let path = subject.strip_prefix("/blobServices/default/containers/");
        let Some((container, name)) = path.and_then(|path| path.split_once("/blobs/")) else {
            return Announced::Unknown;
        };
        let etag = data.e_tag.map(Cow::into_owned);
        Announced::Blob(ObjectRef { container: container.to_owned(), name: name.to_owned(), etag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_announced_in_either_schema_once_it_is_whole() {
        let grid = r#"{"topic":"/subscriptions/x","subject":"/blobServices/default/containers/in/blobs/a/b.ndjson","eventType":"Microsoft.Storage.BlobCreated",
            "id":"831e1650","data":{"api":"PutBlockList","eTag":"0x8D4BCC2E4835CD0","contentLength":524288,"url":"https://x/in/a/b.ndjson"},"dataVersion":"","eventTime":"2026-06-26T18:41:00.9584103Z"}"#;
        let name = "a/b.ndjson".to_owned();
        let blob = Announced::Blob(ObjectRef { container: "in".into(), name, etag: Some("0x8D4BCC2E4835CD0".into()) });
        assert_eq!(Announced::of(grid.as_bytes()), blob);
        let cloud = grid.replace("eventType", "type").replace("\"topic\"", "\"specversion\":\"1.0\",\"source\"");
        assert_eq!(Announced::of(cloud.as_bytes()), blob);
        let begun = grid.replace("PutBlockList", "CreateFile");
        assert_eq!(
            Announced::of(begun.as_bytes()),
            Announced::Other("Microsoft.Storage.BlobCreated, CreateFile".into())
        );
        let deleted = grid.replace("BlobCreated", "BlobDeleted");
        assert_eq!(Announced::of(deleted.as_bytes()), Announced::Other("Microsoft.Storage.BlobDeleted".into()));
        assert_eq!(Announced::of(br#"{"id":"5"}"#), Announced::Unknown);
        assert_eq!(Announced::of(&grid.as_bytes()[1..]), Announced::Unknown);
    }
}
