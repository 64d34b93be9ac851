//! HTTP requests that come as invocations: their records are taken as by `POST /v1/ingest/{source}`, and their answers go back in an
//! output of the invocation.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;

use super::{Binding, Http, Invocation, Reply, failed, http_response};
use crate::answer::{Answer, Problem, Reason, with_type};
use crate::budget::Charge;
use crate::ingest::{self, Asked};
use crate::server::Shared;

/// The output binding of an answer, where `function.json` does not name one.
const OUTPUT: &str = "res";

/// Takes the records of a request, and answers its invocation.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    function: &str,
    binding: &Binding,
    invocation: &Bytes,
    charge: Charge,
) -> Answer {
    let reply = match Invocation::parse(binding, invocation) {
        Ok(Invocation::Http(request)) => {
            let answer = take(shared, function, request, charge).await.unwrap_or_else(|problem| {
                shared.metrics.refusal(problem.reason);
                shared.refusals.log(function, "-", &problem);
                problem.into_answer()
            });
            as_output(binding.output.as_deref().unwrap_or(OUTPUT), answer).await
        }
        Ok(_) => failed("the trigger is no HTTP trigger"),
        Err(error) => {
            tracing::error!(function, %error, "an invocation is not what its trigger sends");
            failed(&error.to_string())
        }
    };
    let status = http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    with_type(status, "application/json", reply.body)
}

async fn take(shared: &Arc<Shared>, function: &str, request: Http, charge: Charge) -> Result<Answer, Problem> {
    let headers = headers(&request)?;
    if request.method.eq_ignore_ascii_case("OPTIONS") {
        return ingest::options(&headers, &shared.settings.webhook_origins);
    }
    if !request.method.eq_ignore_ascii_case("POST") {
        return Err(Problem::method_not_allowed(ingest::METHODS));
    }
    let query = request.url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let asked = Asked::of(shared, function, &without_keys(query), &headers)?;
    ingest::take(shared, function, asked, request.body, charge).await
}

/// A query without the keys by which the host lets a client in.
pub(super) fn without_keys(query: &str) -> String {
    let is_key = |option: &str| {
        let name = option.split('=').next().unwrap_or_default();
        name.eq_ignore_ascii_case("code") || name.eq_ignore_ascii_case("clientId")
    };
    query.split('&').filter(|option| !is_key(option)).collect::<Vec<_>>().join("&")
}

fn headers(request: &Http) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    for (name, values) in &request.headers {
        let invalid =
            || Problem::new(Reason::InvalidRequest, format!("the header `{}` is invalid", name.escape_debug()));
        let name = HeaderName::try_from(name.as_str()).map_err(|_| invalid())?;
        for value in values {
            headers.append(&name, HeaderValue::try_from(value.as_str()).map_err(|_| invalid())?);
        }
    }
    Ok(headers)
}

/// An answer as the output of an invocation.
async fn as_output(output: &str, answer: Answer) -> Reply {
    let (head, body) = answer.into_parts();
    let Ok(body) = body.collect().await;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let text =
        |(name, value): (&'_ HeaderName, &'_ HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
    let headers: Vec<_> = head.headers.iter().filter_map(text).collect();
    let headers: BTreeMap<_, _> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    http_response(output, head.status.as_u16(), &headers, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_host_are_no_options() {
        assert_eq!(without_keys("code=secret&wait=commit"), "wait=commit");
        assert_eq!(without_keys("clientId=x&Code=y"), "");
        assert_eq!(without_keys(""), "");
    }
}
