//! Azure Functions: what a trigger brings goes into the lake before the trigger is answered.

mod announced;
mod lines;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lakeport::error::{Error, Result};
use lakeport::plan::{Input, Plan, SourcePlan};
use lakeport_serve::functions::{Binding, Blob, Events, Invocation, QueueMessage, Reply, Trigger, done, failed};
use tokio::time::Instant;

use self::announced::{Announced, BLOB_CREATED};
use self::lines::{contiguous, event_run};
use crate::delivery::{Message, ObjectRef};
use crate::invocations::Invocations;

/// An invocation ends after this long, whatever it waits for: before the platform's own limit, five minutes where `host.json` says
/// nothing.
const LIMIT: Duration = Duration::from_secs(240);

/// Carries out invocations of functions.
pub struct Functions {
    plan: Arc<Plan>,
    bindings: BTreeMap<String, Binding>,
    invocations: Arc<Invocations>,
}

#[async_trait]
impl lakeport_serve::functions::Functions for Functions {
    fn binding(&self, function: &str) -> Option<Binding> {
        self.bindings.get(function).cloned()
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
    /// Functions with these triggers. One that brings records is named like the source that takes them.
    ///
    /// # Errors
    /// Of kind `Config`: no export reads a source of a function's name, or it does not take what is sent to it.
    pub fn new(bindings: BTreeMap<String, Binding>, invocations: Arc<Invocations>) -> Result<Functions> {
        let plan = invocations.plan().clone();
        for (name, binding) in bindings.iter().filter(|(_, binding)| binding.trigger != Trigger::Timer) {
            let source = source(&plan, name)?;
            if binding.trigger == Trigger::Blob && source.lake.is_none() {
                let message = format!("function `{name}` is started by blobs, and source `{name}` has no `lake`");
                return Err(Error::config(message).with_help(
                    "set `lake = \"NAME\"` in the source: the lake of the configuration that has the blobs' container",
                ));
            }
        }
        Ok(Functions { plan, bindings, invocations })
    }

    /// Returns once what fired is in the lake.
    ///
    /// # Errors
    /// The invocation must fail, so that the platform delivers it again.
    async fn carry_out(&self, function: &str, invocation: Invocation) -> Result<()> {
        let until = Instant::now() + LIMIT;
        match invocation {
            Invocation::Events(events) => self.events(function, &events, until).await,
            Invocation::Timer(_) => self.invocations.run_due(None).await,
            Invocation::Queue(queue) => self.messages(function, queue.messages, until).await,
            Invocation::Grid(events) => {
                let messages = events.into_iter().map(|body| QueueMessage { body, id: None });
                self.messages(function, messages.collect(), until).await
            }
            Invocation::Blob(Blob { container, name, etag }) => {
                self.invocations.object(function, ObjectRef { container, name, etag }, until).await.map(drop)
            }
            Invocation::Http(_) => Err(Error::internal(format!("function `{function}`: the server answers requests"))),
        }
    }

    async fn events(&self, function: &str, events: &Events, until: Instant) -> Result<()> {
        let source = source(&self.plan, function)?;
        let mut follows = None;
        for run in contiguous(&events.events) {
            let events_of_run = event_run(run, follows, source.mapping.envelope);
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
