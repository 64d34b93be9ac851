//! The handshake of CloudEvents' webhooks: whether a sender may send here.

use http::header::{ALLOW, HeaderValue};
use http::{HeaderMap, StatusCode};

use crate::answer::{Answer, Problem, Reason, empty};
use crate::escape::Escaped;

/// The methods of the ingest route.
pub(crate) const METHODS: &str = "POST, OPTIONS";

/// Answers `OPTIONS`. An allowed origin may send at any rate: too much is refused by 429. A callback is never fetched.
///
/// The answer is the same for every source, whether or not it exists.
pub(crate) fn options(headers: &HeaderMap, allowed: &[String]) -> Result<Answer, Problem> {
    let mut answer = empty(StatusCode::OK);
    let out = answer.headers_mut();
    out.insert(ALLOW, HeaderValue::from_static(METHODS));
    let Some(origin) = headers.get("webhook-request-origin") else { return Ok(answer) };
    if !allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
        let shown = Escaped(origin.as_bytes());
        return Err(Problem::new(
            Reason::OriginNotAllowed,
            format!("`WebHook-Request-Origin: {shown}` is not one of the origins that may send"),
        ));
    }
    out.insert("webhook-allowed-origin", origin.clone());
    out.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    Ok(answer)
}
