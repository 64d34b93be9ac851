//! Classifies the errors of a store: network or status, and whether a retry may succeed.

use std::error::Error as StdError;

use object_store::client::HttpError;

use super::http::{NetworkError, NetworkErrorKind};

/// The kind of a failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was no complete response.
    Network(NetworkErrorKind),
    /// The store answered with this status; the status line and the response body as text.
    Status(u16, String),
    /// Anything else, such as a file system error or a wrong setting.
    Other,
}

impl Failure {
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Failure {
        for cause in causes(error) {
            if let Some(error) = cause.downcast_ref::<NetworkError>() {
                return Failure::Network(error.kind);
            }
            if cause.is::<HttpError>() && cause.source().is_none_or(|source| !source.is::<NetworkError>()) {
                return Failure::Network(NetworkErrorKind::Other);
            }
            if let Some((status, said)) = status(&cause.to_string()) {
                return Failure::Status(status, said);
            }
        }
        Failure::Other
    }

    /// Returns whether a retry of the same request may succeed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Failure::Network(kind) => *kind != NetworkErrorKind::Certificate,
            Failure::Status(408 | 429 | 500 | 502..=504 | 506..=599, _) => true,
            // S3 reports stalled uploads with status 400, and some errors in a response that began with status 200.
            Failure::Status(400, said) => said.contains("RequestTimeout"),
            Failure::Status(200..=299, said) => said.contains("InternalError") || said.contains("SlowDown"),
            Failure::Status(..) | Failure::Other => false,
        }
    }

    /// Returns whether the store refuses the credential, or what it may do.
    pub(super) fn refuses_credential(&self) -> bool {
        match self {
            Failure::Status(401 | 403, _) => true,
            // S3 reports expired session tokens with status 400.
            Failure::Status(400, said) => said.contains("ExpiredToken") || said.contains("InvalidToken"),
            _ => false,
        }
    }
}

/// Returns the status in the text of an error, and the text from there on. `object_store` has no public type for it.
fn status(text: &str) -> Option<(u16, String)> {
    const REFUSED: &str = "Server returned non-2xx status code: ";
    const BROKEN: &str = "Server returned error response: ";
    const REDIRECT: &str = "Received redirect without LOCATION";
    if let Some((_, said)) = text.split_once(REFUSED) {
        return Some((said.get(..3)?.parse().ok()?, said.trim_end_matches([' ', ':']).to_owned()));
    }
    if text.contains(REDIRECT) {
        return Some((301, "with a redirect without an address".to_owned()));
    }
    text.split_once(BROKEN).map(|(_, said)| (200, said.trim().to_owned()))
}

pub(super) fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use object_store::Error;
    use object_store::client::HttpErrorKind;

    use super::*;

    fn answered(status: &str) -> Error {
        let text = format!("Error performing PUT http://h/k in 3ms - Server returned non-2xx status code: {status}");
        Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn outages_pass_and_refusals_do_not() {
        let may_pass = |error: &Error| Failure::of(error).may_pass();
        for status in [
            "408 Request Timeout: ",
            "429 Too Many Requests: <Code>SlowDown</Code>",
            "500 Internal Server Error: ",
            "503 Service Unavailable: <Code>ServerBusy</Code>",
            "504 Gateway Timeout: a: b",
            "400 Bad Request: <Code>RequestTimeout</Code>",
        ] {
            assert!(may_pass(&answered(status)), "{status}");
        }
        for status in [
            "400 Bad Request: <Code>InvalidArgument</Code>",
            "401 Unauthorized: ",
            "403 Forbidden: said 503 Service Unavailable",
            "404 Not Found: <Code>NoSuchBucket</Code>",
            "409 Conflict: ",
            "412 Precondition Failed: ",
            "501 Not Implemented: ",
        ] {
            assert!(!may_pass(&answered(status)), "{status}");
        }
        let overloaded = "Server returned error response: <Code>SlowDown</Code>";
        assert!(may_pass(&Error::Generic { store: "S3", source: overloaded.into() }));
        let gone = Error::Precondition { path: "k".into(), source: Box::new(answered("412 Precondition Failed: ")) };
        assert!(!may_pass(&gone));
        let disk = Error::Generic { store: "local", source: Box::new(std::io::Error::from_raw_os_error(libc::ENOSPC)) };
        assert!(!may_pass(&disk));
    }

    #[test]
    fn what_was_never_answered_passes_however_deep_it_stands() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let deep = Error::Generic { store: "S3", source: Box::new(HttpError::new(HttpErrorKind::Interrupted, reset)) };
        let deeper = Error::Generic { store: "token", source: Box::new(deep) };
        assert!(Failure::of(&deeper).may_pass());
    }
}
