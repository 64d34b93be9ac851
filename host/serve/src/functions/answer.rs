//! Answers to the Functions host. It waits until the function's time limit for what a 200 with an empty body does not say, and drops
//! outputs and logs of anything that is not a 2xx in JSON.

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

/// The invocation of an HTTP trigger succeeded, and its client gets this through the output binding `output`.
pub fn http_response(output: &str, status: u16, content_type: &str, body: &str) -> Reply {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Response<'a> {
        status_code: u16,
        headers: std::collections::BTreeMap<&'a str, &'a str>,
        body: &'a str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Outcome<'a> {
        outputs: std::collections::BTreeMap<&'a str, Response<'a>>,
        logs: [&'a str; 0],
        return_value: (),
    }
    let response = Response { status_code: status, headers: [("content-type", content_type)].into(), body };
    let outcome = Outcome { outputs: [(output, response)].into(), logs: [], return_value: () };
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
        let response = http_response("res", 202, "application/json", "{}");
        assert_eq!(
            response.body,
            r#"{"Outputs":{"res":{"statusCode":202,"headers":{"content-type":"application/json"},"body":"{}"}},"Logs":[],"ReturnValue":null}"#
        );
    }
}
