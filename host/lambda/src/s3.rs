//! Notifications of S3: in its own form or EventBridge's, and as a topic passes them on.

use lakeport::error::{Error, Result};
use lakeport_engine::ObjectRef;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::source::shown;

/// The event that S3 sends once when notifications are set up.
pub const TEST: &str = "s3:TestEvent";

/// What a notification tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Notification {
    /// An object was made or replaced.
    Created(ObjectRef),
    /// Something else, by its name: an object was deleted, for the most part.
    Other(String),
}

/// A text that holds notifications.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    /// S3's own.
    Records {
        #[serde(rename = "Records")]
        records: Vec<Record>,
    },
    /// An event of EventBridge.
    Bus {
        source: String,
        #[serde(rename = "detail-type")]
        detail_type: String,
        detail: Entity<PlainObject>,
    },
    Test {
        #[serde(rename = "Event")]
        event: String,
        #[serde(rename = "Bucket")]
        _bucket: String,
    },
    /// What a topic passes on.
    Topic {
        #[serde(rename = "TopicArn")]
        _topic: String,
        #[serde(rename = "Message")]
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_source: String,
    event_name: String,
    s3: Entity<EncodedObject>,
}

#[derive(Deserialize)]
struct Entity<O> {
    bucket: Bucket,
    object: O,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct EncodedObject {
    /// URL-encoded.
    key: String,
    #[serde(default, rename = "eTag")]
    etag: Option<String>,
}

#[derive(Deserialize)]
struct PlainObject {
    /// As it is.
    key: String,
    #[serde(default)]
    etag: Option<String>,
}

/// The notifications in a text.
///
/// # Errors
/// Of kind `Source`: it is none of S3, or lacks something.
pub fn notifications(text: &str) -> Result<Vec<Notification>> {
    match serde_json::from_str(text) {
        // A topic passes on what it was sent, and no message of another topic.
        Ok(Form::Topic { message, .. }) => match serde_json::from_str(&message) {
            Ok(Form::Topic { .. }) | Err(_) => Err(unknown()),
            Ok(form) => of_form(form),
        },
        Ok(form) => of_form(form),
        Err(_) => Err(unknown()),
    }
}

fn of_form(form: Form) -> Result<Vec<Notification>> {
    match form {
        Form::Records { records } => records.into_iter().map(Record::notification).collect(),
        Form::Bus { source, detail_type, detail } if source == "aws.s3" => {
            let Entity { bucket, object: PlainObject { key, etag } } = detail;
            Ok(vec![match detail_type.as_str() {
                "Object Created" => Notification::Created(ObjectRef { container: bucket.name, name: key, etag }),
                other => Notification::Other(shown(other)),
            }])
        }
        Form::Test { event, .. } if event == TEST => Ok(vec![Notification::Other(event)]),
        Form::Bus { .. } | Form::Test { .. } | Form::Topic { .. } => Err(unknown()),
    }
}

impl Record {
    fn notification(self) -> Result<Notification> {
        let Record { event_source, event_name, s3: Entity { bucket, object: EncodedObject { key, etag } } } = self;
        if event_source != "aws:s3" {
            return Err(unknown());
        }
        // Names in the settings of a bucket have `s3:` before them.
        if !event_name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
            return Ok(Notification::Other(shown(&event_name)));
        }
        let spaced = key.replace('+', " ");
        let name = percent_decode_str(&spaced).decode_utf8().map_err(|_| {
            let (key, bucket) = (shown(&key), shown(&bucket.name));
            Error::source(format!("the key `{key}` in a notification of bucket `{bucket}` is not URL-encoded UTF-8"))
        })?;
        Ok(Notification::Created(ObjectRef { container: bucket.name, name: name.into_owned(), etag }))
    }
}

fn unknown() -> Error {
    Error::source("what was delivered is no notification of S3").with_help(
        "the source has a `lake`, and wants notifications of S3 in its own form or EventBridge's, sent as they are or through a topic; \
         take `lake` out where what is delivered are records",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: &str = r#"{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-west-2",
        "eventTime":"1970-01-01T00:00:00.000Z","eventName":"ObjectCreated:Put","s3":{"s3SchemaVersion":"1.0",
        "bucket":{"name":"raw","arn":"arn:aws:s3:::raw"},
        "object":{"key":"a+b/%C3%A4%2B.ndjson","size":1024,"eTag":"d41d8cd98f00b204e9800998ecf8427e","sequencer":"0055AED6DCD90281E5"}}}]}"#;
    const BUS: &str = r#"{"version":"0","id":"1","detail-type":"Object Created","source":"aws.s3","detail":{"version":"0",
        "bucket":{"name":"raw"},"object":{"key":"a+b/%C3.ndjson","size":5,"etag":"d41d8cd98f00b204e9800998ecf8427e","sequencer":"1"},
        "reason":"PutObject"}}"#;

    fn object(name: &str) -> Notification {
        let etag = Some("d41d8cd98f00b204e9800998ecf8427e".to_owned());
        Notification::Created(ObjectRef { container: "raw".into(), name: name.into(), etag })
    }

    #[test]
    fn keys_are_decoded_where_they_are_encoded() {
        assert_eq!(notifications(CREATED).unwrap(), [object("a b/\u{e4}+.ndjson")]);
        assert_eq!(notifications(BUS).unwrap(), [object("a+b/%C3.ndjson")]);
        let wrong = CREATED.replace("%C3%A4", "%FF");
        assert!(notifications(&wrong).unwrap_err().to_string().contains("is not URL-encoded UTF-8"));
    }

    #[test]
    fn a_topic_may_have_passed_a_notification_on() {
        let message = |text: &str| {
            serde_json::json!({"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:r:1:t", "Message": text}).to_string()
        };
        assert_eq!(notifications(&message(CREATED)).unwrap().len(), 1);
        assert_eq!(notifications(&message(BUS)).unwrap().len(), 1);
        assert!(notifications(&message("{\"id\":1}")).is_err());
        assert!(notifications(&message(&message(CREATED))).is_err());
    }

    #[test]
    fn tests_and_deletes_are_told_by_name() {
        let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"raw","RequestId":"1","HostId":"2"}"#;
        assert_eq!(notifications(test).unwrap(), [Notification::Other(TEST.into())]);
        let removed = CREATED.replace("ObjectCreated:Put", "ObjectRemoved:Delete");
        assert_eq!(notifications(&removed).unwrap(), [Notification::Other("ObjectRemoved:Delete".into())]);
        let removed = BUS.replace("Object Created", "Object Deleted");
        assert_eq!(notifications(&removed).unwrap(), [Notification::Other("Object Deleted".into())]);
    }

    #[test]
    fn what_is_no_notification_is_refused() {
        let other = CREATED.replace("aws:s3", "mine");
        for text in ["", "text", "{}", "[]", r#"{"id":"1"}"#, r#"{"Records":[{"eventSource":"aws:s3"}]}"#, &other] {
            assert!(notifications(text).unwrap_err().to_string().contains("no notification of S3"), "{text}");
        }
    }
}
