//! Answers to the Functions host. It waits until the function's time limit for what a 200 with an empty body does not say, and drops
//! outputs and logs of anything that is not a 2xx in JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

/// Status and JSON body of an answer; its content type is `application/json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}

/// The invocation succeeded, and its trigger may forget what fired.
pub fn done() -> Reply {
    Reply { status: 200, body: Bytes::from_static(br#"{"Outputs":{},"Logs":[],"ReturnValue":null}"#) }
}

/// The invocation failed, and its trigger must fire again. The reason is for the host's log.
pub fn failed(reason: &str) -> Reply {
    #[derive(Serialize)]
    struct Failure<'a> {
        error: &'a str,
    }
    Reply { status: 500, body: to_json(&Failure { error: reason }) }
}

/// The invocation of an HTTP trigger succeeded, and its client gets this through the output binding `output`; `$return` is the
/// function's return value.
pub fn http_response(output: &str, status: u16, headers: &BTreeMap<&str, &str>, body: &str) -> Reply {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Response<'a> {
        status_code: u16,
        headers: &'a BTreeMap<&'a str, &'a str>,
        body: &'a str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Outcome<'a> {
        outputs: BTreeMap<&'a str, &'a Response<'a>>,
        logs: [&'a str; 0],
        return_value: Option<&'a Response<'a>>,
    }
    let response = Response { status_code: status, headers, body };
    let is_returned = output == "$return";
    let outputs = (!is_returned).then_some((output, &response)).into_iter().collect();
    let outcome = Outcome { outputs, logs: [], return_value: is_returned.then_some(&response) };
    Reply { status: 200, body: to_json(&outcome) }
}

fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("it has texts and numbers only").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_never_empty_and_failures_never_2xx() {
        assert_eq!(done().body, r#"{"Outputs":{},"Logs":[],"ReturnValue":null}"#);
        assert_eq!(failed("a \"gap\""), Reply { status: 500, body: r#"{"error":"a \"gap\""}"#.into() });
        let headers = [("content-type", "application/json")].into();
        let response = http_response("res", 202, &headers, "{}");
        assert_eq!(
            response.body,
            r#"{"Outputs":{"res":{"statusCode":202,"headers":{"content-type":"application/json"},"body":"{}"}},"Logs":[],"ReturnValue":null}"#
        );
        assert_eq!(
            http_response("$return", 200, &BTreeMap::new(), "").body,
            r#"{"Outputs":{},"Logs":[],"ReturnValue":{"statusCode":200,"headers":{},"body":""}}"#
        );
    }
}
