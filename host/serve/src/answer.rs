//! Answers: JSON, and problems as RFC 9457 describes them.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// What the server sends.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Why a request was refused. Each is counted under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    InvalidRequest,
    InvalidBody,
    InvalidRecords,
    Unauthenticated,
    Forbidden,
    OriginNotAllowed,
    NotFound,
    MethodNotAllowed,
    BodyTimeout,
    BodyTooLarge,
    TooManyRecords,
    RecordTooLarge,
    TargetTooLong,
    UnsupportedType,
    UnsupportedEncoding,
    KeyReused,
    Busy,
    NoMemory,
    StorageFailed,
    Full,
    NotReady,
}

impl Reason {
    /// All reasons, for the check of the description.
    #[cfg(test)]
    pub(crate) const ALL: [Reason; 21] = {
        use Reason::*;
        [
            InvalidRequest,
            InvalidBody,
            InvalidRecords,
            Unauthenticated,
            Forbidden,
            OriginNotAllowed,
            NotFound,
            MethodNotAllowed,
            BodyTimeout,
            BodyTooLarge,
            TooManyRecords,
            RecordTooLarge,
            TargetTooLong,
            UnsupportedType,
            UnsupportedEncoding,
            KeyReused,
            Busy,
            NoMemory,
            StorageFailed,
            Full,
            NotReady,
        ]
    };

    /// The name in answers, metrics and logs.
    pub(crate) const fn name(self) -> &'static str {
        self.parts().0
    }

    pub(crate) const fn status(self) -> StatusCode {
        self.parts().1
    }

    const fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Reason::InvalidRequest => ("invalid-request", StatusCode::BAD_REQUEST, "The request is invalid"),
            Reason::InvalidBody => ("invalid-body", StatusCode::BAD_REQUEST, "The body cannot be read"),
            Reason::InvalidRecords => ("invalid-records", StatusCode::BAD_REQUEST, "Records are invalid"),
            Reason::Unauthenticated => {
                ("unauthenticated", StatusCode::UNAUTHORIZED, "The request is not authenticated")
            }
            Reason::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "The key is not good for this"),
            Reason::OriginNotAllowed => ("origin-not-allowed", StatusCode::FORBIDDEN, "The origin is not allowed"),
            Reason::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is no such source or page"),
            Reason::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed")
            }
            Reason::BodyTimeout => ("body-timeout", StatusCode::REQUEST_TIMEOUT, "The body came too slowly"),
            Reason::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Reason::TooManyRecords => ("too-many-records", StatusCode::PAYLOAD_TOO_LARGE, "There are too many records"),
            Reason::RecordTooLarge => ("record-too-large", StatusCode::PAYLOAD_TOO_LARGE, "Records are too large"),
            Reason::TargetTooLong => ("target-too-long", StatusCode::URI_TOO_LONG, "The target is too long"),
            Reason::UnsupportedType => {
                ("unsupported-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The content type is not supported")
            }
            Reason::UnsupportedEncoding => {
                ("unsupported-encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The content encoding is not supported")
            }
            Reason::KeyReused => (
                "idempotency-key-reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The idempotency key was used with other records",
            ),
            Reason::Busy => ("busy", StatusCode::TOO_MANY_REQUESTS, "More comes in than goes out"),
            Reason::NoMemory => ("no-memory", StatusCode::TOO_MANY_REQUESTS, "Too many bodies are held at this time"),
            Reason::StorageFailed => {
                ("storage-failed", StatusCode::INTERNAL_SERVER_ERROR, "The records could not be stored")
            }
            Reason::Full => ("full", StatusCode::SERVICE_UNAVAILABLE, "There is no space left"),
            Reason::NotReady => ("not-ready", StatusCode::SERVICE_UNAVAILABLE, "Records are not taken now"),
        }
    }
}

/// A record that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RecordError {
    /// Its place among the records of the request, from 0.
    pub(crate) index: usize,
    pub(crate) detail: String,
}

/// The refused records of a request: the first ones with their reasons, and the number of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RecordErrors {
    /// Refused records, listed or not.
    pub(crate) failed: usize,
    pub(crate) errors: Vec<RecordError>,
}

impl RecordErrors {
    const LISTED: usize = 20;

    pub(crate) fn push(&mut self, index: usize, detail: impl FnOnce() -> String) {
        self.failed += 1;
        if self.errors.len() < Self::LISTED {
            self.errors.push(RecordError { index, detail: detail() });
        }
    }
}

/// Why a request is refused, as the client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    pub(crate) records: Option<RecordErrors>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    close: bool,
}

impl Problem {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Problem {
        Problem { reason, detail: detail.into(), records: None, retry_after: None, allow: None, close: false }
    }

    /// Says when to try again.
    pub(crate) fn retry_after(mut self, after: Duration) -> Problem {
        self.retry_after = Some(after);
        self
    }

    /// Names the records that are wrong.
    pub(crate) fn with_records(mut self, records: RecordErrors) -> Problem {
        self.records = Some(records);
        self
    }

    /// Closes the connection: what follows in it may not be a request.
    pub(crate) fn closing(mut self) -> Problem {
        self.close = true;
        self
    }

    /// The path knows other methods.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Problem {
        let mut problem = Problem::new(Reason::MethodNotAllowed, format!("expected one of the methods `{allow}`"));
        problem.allow = Some(allow);
        problem
    }

    pub(crate) fn into_answer(self) -> Answer {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(flatten)]
            records: Option<&'a RecordErrors>,
        }
        let (name, status, title) = self.reason.parts();
        let body = Body {
            r#type: format!("urn:lakeport:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            records: self.records.as_ref(),
        };
        let mut answer = with_type(status, "application/problem+json", to_json(&body));
        let headers = answer.headers_mut();
        if let Some(after) = self.retry_after {
            // Whole seconds, never 0: a client would come back at once.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.reason == Reason::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    with_type(status, "application/json", to_json(body))
}

/// An answer of a type. No answer may be taken for a page, or kept by a cache.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = empty(status);
    *answer.body_mut() = Full::new(body.into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    answer
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("it has texts and numbers only")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(Reason::ALL.is_sorted(), "in their order, so that none is forgotten");
    }

    #[test]
    fn a_client_is_told_to_wait_for_whole_seconds_and_at_least_one() {
        for (after, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            let problem = Problem::new(Reason::Busy, "").retry_after(Duration::from_millis(after));
            assert_eq!(problem.into_answer().headers()[RETRY_AFTER], seconds);
        }
    }
}
