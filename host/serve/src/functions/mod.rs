//! Invocations of an Azure Functions custom handler.
//!
//! The Functions host starts the process, and posts `{"Data":{…},"Metadata":{…}}` to `/{FunctionName}` on loopback for each
//! trigger that fires. This module turns such a body into an [`Invocation`], and a result into the answer that the host wants.
//!
//! What a trigger is comes from its `function.json`, as a [`Binding`], and is not guessed from a body: of all triggers but Event
//! Hubs with `"cardinality": "many"`, the host merges a JSON object that somebody sent into `Metadata`.
//!
//! Documents and source of the host disagree in places whether a value is JSON or a text that contains JSON. Both are understood.
//! The payloads of the tests are written from its documents and source; none was captured from a live host.

mod answer;
mod events;
mod handler;
mod request;
mod trigger;
mod value;

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;

use self::value::Members;

pub use crate::route::is_reserved;
pub use answer::{Reply, done, failed, http_response};
pub use events::{Event, Events};
pub use handler::Functions;
pub(crate) use handler::{forward, invoke};
pub use trigger::{Blob, Http, Queue, QueueMessage, Timer};

/// A function's trigger, as its `function.json` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `name` of the trigger: where its value is in `Data`.
    pub name: String,
    pub trigger: Trigger,
    /// Of an HTTP trigger: `name` of the binding of the answer.
    pub output: Option<String>,
    /// Of an HTTP trigger: its path below the prefix of routes, where that is not the function's name.
    pub route: Option<String>,
}

impl Binding {
    /// A trigger of this name.
    pub fn new(name: impl Into<String>, trigger: Trigger) -> Binding {
        Binding { name: name.into(), trigger, output: None, route: None }
    }
}

/// What starts a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// `eventHubTrigger` with `"cardinality": "many"`; IoT Hub's built-in endpoint, too.
    EventHub(DataType),
    /// `timerTrigger`
    Timer,
    /// `eventGridTrigger`, and whether its `"cardinality"` is `"many"`.
    EventGrid(bool),
    /// `httpTrigger`
    Http,
    /// `queueTrigger`
    Queue,
    /// `serviceBusTrigger`, and whether its `"cardinality"` is `"many"`.
    ServiceBus(DataType, bool),
    /// `blobTrigger`
    Blob,
}

/// `dataType` of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// Values are text.
    String,
    /// Values are base64 of bytes.
    Binary,
}

/// What fired.
#[derive(Debug, Clone)]
pub enum Invocation {
    Events(Events),
    Timer(Timer),
    Http(Http),
    Queue(Queue),
    Blob(Blob),
    /// Events of Event Grid, each in JSON.
    Grid(Vec<Bytes>),
}

impl Invocation {
    /// Parses the body of an invocation.
    ///
    /// # Errors
    /// Which value is missing or has another form. The invocation must then fail, so that the platform tries again.
    pub fn parse(binding: &Binding, body: &[u8]) -> Result<Invocation, InvalidInvocation> {
        let body: Body = serde_json::from_slice(body).map_err(|error| {
            InvalidInvocation(format!("the body is not `{{\"Data\":{{…}},\"Metadata\":{{…}}}}`: {error}"))
        })?;
        let Some(data) = body.data.get(&binding.name) else {
            let names: Vec<_> = body.data.names().collect();
            return Err(InvalidInvocation(format!(
                "`Data` has no `{}`, the trigger's `name` in `function.json`; it has {names:?}",
                binding.name
            )));
        };
        match binding.trigger {
            Trigger::EventHub(data_type) => Events::parse(data_type, data, &body.metadata).map(Invocation::Events),
            Trigger::Timer => Timer::parse(data).map(Invocation::Timer),
            Trigger::EventGrid(is_many) => trigger::grid_events(is_many, data).map(Invocation::Grid),
            Trigger::Http => Http::parse(data).map(Invocation::Http),
            Trigger::Queue => Queue::parse(data, &body.metadata).map(Invocation::Queue),
            Trigger::ServiceBus(data_type, is_many) => {
                Queue::of_service_bus((data_type, is_many), data, &body.metadata).map(Invocation::Queue)
            }
            Trigger::Blob => Blob::parse(data, &body.metadata).map(Invocation::Blob),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(borrow)]
    data: Members<'a>,
    #[serde(borrow, default)]
    metadata: Members<'a>,
}

/// An invocation that is not what its trigger sends: which value, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidInvocation(pub(crate) String);

impl fmt::Display for InvalidInvocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidInvocation {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_another_form_is_named() {
        let binding = Binding::new("events", Trigger::Timer);
        let parse = |body: &str| Invocation::parse(&binding, body.as_bytes()).unwrap_err().to_string();
        assert!(parse("").starts_with("the body is not `{\"Data\""), "{}", parse(""));
        assert!(parse("{}").contains("missing field `Data`"));
        assert_eq!(
            parse(r#"{"Data":{"timer":{}}}"#),
            r#"`Data` has no `events`, the trigger's `name` in `function.json`; it has ["timer"]"#
        );
    }
}
