//! Azure Functions: what a trigger brings goes into the lake before the trigger is answered.

mod announced;
mod host;
mod lines;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lakeport::error::{Error, Kind, Result};
use lakeport::pipeline::interrupted;
use lakeport::plan::{Envelope, Input, Plan, SourcePlan};
use lakeport_serve::functions::{Binding, Blob, Events, Invocation, QueueMessage, Reply, Trigger, done, failed};
use tokio::time::{Instant, timeout};

use self::announced::{Announced, BLOB_CREATED};
pub use self::host::Host;
use self::lines::{contiguous, event_run};
use crate::bindings::App;
use crate::delivery::{Message, ObjectRef};
use crate::invocations::Invocations;
use crate::numbers::hub_name;

/// Carries out invocations of functions.
pub struct Functions {
    plan: Arc<Plan>,
    host: Host,
    bindings: BTreeMap<String, Binding>,
    invocations: Arc<Invocations>,
}

#[async_trait]
impl lakeport_serve::functions::Functions for Functions {
    fn binding(&self, function: &str) -> Option<Binding> {
        self.bindings.get(function).cloned()
    }

    fn forwarded(&self, path: &str) -> Option<String> {
        let route = self.host.route(path)?;
        // Without a prefix, functions that something else starts have their paths among the routes.
        let is_route = !self.host.is_without_prefix() || self.function_at(route).is_some();
        is_route.then(|| route.to_owned())
    }

    fn function_at(&self, route: &str) -> Option<String> {
        let route = route.trim_end_matches('/');
        let is_there = |(name, binding): &(&String, &Binding)| {
            let own = binding.route.as_deref().unwrap_or(name).trim_matches('/');
            binding.trigger == Trigger::Http && own.eq_ignore_ascii_case(route)
        };
        self.bindings.iter().find(is_there).map(|(name, _)| name.clone())
    }

    async fn invoke(&self, function: &str, id: &str, invocation: Invocation) -> Reply {
        match self.carry_out(function, invocation).await {
            Ok(()) => done(),
            Err(error) => {
                tracing::error!(function, invocation = id, "{error}");
                failed(&error.to_string())
            }
        }
    }
}

impl Functions {
    /// The functions of an app. One that brings records is named like the source that takes them.
    ///
    /// # Errors
    /// Of kind `Config`: no export reads a source of a function's name, or it does not take what is sent to it.
    pub fn new(App { host, bindings }: App, invocations: Arc<Invocations>) -> Result<Functions> {
        let plan = invocations.plan().clone();
        for (name, binding) in bindings.iter().filter(|(_, binding)| binding.trigger != Trigger::Timer) {
            let source = source(&plan, name)?;
            if binding.trigger == Trigger::Blob && source.lake.is_none() {
                let message = format!("function `{name}` is started by blobs, and source `{name}` has no `lake`");
                return Err(Error::config(message).with_help(
                    "set `lake = \"NAME\"` in the source: the lake of the configuration that has the blobs' container",
                ));
            }
            let is_of_grid = matches!(source.mapping.envelope, Envelope::CloudEvents | Envelope::EventGrid);
            if matches!(binding.trigger, Trigger::EventGrid(_)) && source.lake.is_none() && !is_of_grid {
                let envelope = source.mapping.envelope.name();
                let message = format!(
                    "function `{name}` is started by Event Grid, and source `{name}` has the envelope `{envelope}`, in which an event that \
                     comes again is not recognised"
                );
                return Err(Error::config(message).with_help(
                    "set `envelope = \"cloudevents\"` or `envelope = \"event-grid\"` in the source: the schema of the event subscription",
                ));
            }
        }
        Ok(Functions { plan, host, bindings, invocations })
    }

    /// Returns once what fired is in the lake.
    ///
    /// # Errors
    /// The invocation must fail, so that the platform delivers it again.
    async fn carry_out(&self, function: &str, invocation: Invocation) -> Result<()> {
        let until = Instant::now() + self.host.delivers_for();
        match invocation {
            Invocation::Events(events) => self.events(function, &events, until).await,
            Invocation::Timer(_) => self.timer().await,
            Invocation::Queue(queue) => self.messages(function, queue.messages, until).await,
            Invocation::Grid(events) => {
                let messages = events.into_iter().map(|body| QueueMessage { body, id: None });
                self.messages(function, messages.collect(), until).await
            }
            Invocation::Blob(Blob { container, name }) => {
                self.invocations.object(function, ObjectRef { container, name, etag: None }, until).await.map(drop)
            }
            Invocation::Http(_) => Err(Error::internal(format!("function `{function}`: the server answers requests"))),
        }
    }

    /// Does what is due, as far as the time of an invocation goes.
    async fn timer(&self) -> Result<()> {
        let due = self.invocations.run_due(self.host.works_for().map(|time| Instant::now() + time));
        let done = match self.host.answers_within() {
            // A lake that does not answer keeps a run that was told to end.
            Some(time) => timeout(time, due).await.unwrap_or_else(|_| Err(interrupted())),
            None => due.await,
        };
        done.map_err(|error| match error.kind {
            Kind::Interrupted => {
                let message = "the time of the invocation was nearly over before all that is due was done";
                Error::new(Kind::Interrupted, message).with_help(
                    "what was read is in the lake, and the next timer goes on; raise `functionTimeout` in `host.json`, or let the timer \
                     come more often",
                )
            }
            _ => error,
        })
    }

    async fn events(&self, function: &str, events: &Events, until: Instant) -> Result<()> {
        let source = source(&self.plan, function)?;
        let stream = hub_name(events.namespace.as_deref(), &events.hub);
        let mut follows = None;
        for run in contiguous(&events.events) {
            let events_of_run = event_run(run, (&stream, follows), source.mapping.envelope);
            follows = run.last().map(|event| event.sequence);
            self.invocations.events(function, &events.partition, events_of_run, until).await?;
        }
        Ok(())
    }

    async fn messages(&self, function: &str, messages: Vec<QueueMessage>, until: Instant) -> Result<()> {
        let source = source(&self.plan, function)?;
        if source.lake.is_some() {
            for message in &messages {
                self.announced(function, &message.body, until).await?;
            }
            return Ok(());
        }
        let messages = messages.into_iter().map(|QueueMessage { body, id }| {
            let id = id.as_ref().map(|id| id.as_bytes());
            Message::of_queue(source, id, &body)
        });
        self.invocations.messages(function, messages.collect(), until).await.map(drop)
    }

    /// Reads the blob that an event of Event Grid announces; other events say nothing of blobs to read.
    async fn announced(&self, function: &str, event: &[u8], until: Instant) -> Result<()> {
        match Announced::of(event) {
            Announced::Blob(blob) => self.invocations.object(function, blob, until).await.map(drop),
            Announced::Other(kind) => {
                tracing::info!(function, "an event of type `{kind}` announces no blob to read");
                Ok(())
            }
            Announced::Unknown => {
                let message = format!("function `{function}`: the message is no event of Event Grid about a blob");
                Err(Error::source(message).with_help(format!(
                    "source `{function}` has a `lake`, and wants events of type `{BLOB_CREATED}`; take `lake` out where its messages \
                     are records"
                )))
            }
        }
    }
}

/// The source that takes what a function is given.
fn source<'a>(plan: &'a Plan, function: &str) -> Result<&'a SourcePlan> {
    let source = plan.exports.iter().map(|export| &*export.source).find(|source| source.name == function);
    let source = source.filter(|source| source.input == Input::Http);
    source.ok_or_else(|| {
        Error::config(format!("function `{function}`: no export reads a source of this name with `http = true`"))
            .with_help("name the function like the source that takes what it is given")
    })
}
