//! The function: what an invocation brings goes into the lake before the invocation is answered.

use std::collections::BTreeSet;
use std::fmt;

use futures::future::join_all;
use lakeport::error::{Error, Kind, Result};
use lakeport::pipeline::interrupted;
use lakeport::plan::SourcePlan;
use lakeport_engine::Invocations;
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::timeout_at;
use tracing::Span;

use crate::deadline::Deadline;
use crate::event::Event;
use crate::s3::{self, Notification};
use crate::source::{Resource, Sources};
use crate::sqs::QueueMessage;
use crate::{firehose, kinesis};

/// So many objects that the messages of a batch tell of are read at once.
const AT_ONCE: usize = 64;
/// Reasons that are logged of one invocation.
const MOST_REASONS: usize = 5;

/// Carries out invocations.
pub struct Function {
    sources: Sources,
    invocations: Invocations,
}

/// The answer to a batch: what the platform must deliver again.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchAnswer {
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: String,
}

/// The answer to what needs none.
#[derive(Debug, Serialize)]
struct Done {}

/// Why an invocation failed, as the platform shows it.
pub struct Failure(Error);

impl fmt::Debug for Failure {
    /// What the runtime logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<Failure> for Diagnostic {
    fn from(Failure(error): Failure) -> Diagnostic {
        Diagnostic { error_type: format!("Lakeport.{:?}", error.kind), error_message: error.to_string() }
    }
}

impl Function {
    /// A function; `only` names the source that takes everything, where there is such a one.
    ///
    /// # Errors
    /// Of kind `Config`: there is no such source.
    pub fn new(invocations: Invocations, only: Option<String>) -> Result<Function> {
        Ok(Function { sources: Sources::new(invocations.plan(), only)?, invocations })
    }

    /// Answers an invocation once what it brings is in the lake, or the time is over.
    ///
    /// # Errors
    /// Nothing of it is in the lake, as far as is known: the platform must invoke the function with all of it again.
    pub async fn invoke(&self, payload: &RawValue, deadline: &Deadline) -> Result<Box<RawValue>, Failure> {
        let event = Event::parse(payload.get());
        if let Ok(event) = &event {
            Span::current().record("faas.trigger", event.trigger());
        }
        let answered = match event {
            Ok(Event::Kinesis(records)) => self.kinesis(&records, deadline).await,
            Ok(Event::Sqs(messages)) => self.sqs(&messages, deadline).await,
            Ok(Event::S3(notifications)) => self.s3(notifications, deadline).await,
            Ok(Event::Firehose(batch)) => self.firehose(&batch, deadline).await,
            Ok(Event::Schedule) => self.schedule(deadline).await,
            Err(error) => Err(error),
        };
        answered.map_err(|error| {
            Span::current().record("error", format!("{:?}", error.kind));
            Failure(error)
        })
    }

    /// Ends what is at work, once it is in the lake.
    pub async fn end(&self) {
        self.invocations.end().await;
    }

    async fn kinesis(&self, records: &[kinesis::Record], deadline: &Deadline) -> Result<Box<RawValue>> {
        let batches = kinesis::Batch::all(records)?;
        let delivered = join_all(batches.iter().map(|batch| self.shard(batch, deadline))).await;
        answer(batches.iter().map(kinesis::Batch::first).zip(delivered))
    }

    async fn shard(&self, batch: &kinesis::Batch<'_>, deadline: &Deadline) -> Result<()> {
        let source = self.sources.of(&batch.resource)?;
        self.invocations.events(&source.name, batch.shard, batch.events()?, deadline.answer()).await.map(drop)
    }

    async fn sqs(&self, messages: &[QueueMessage], deadline: &Deadline) -> Result<Box<RawValue>> {
        let queues = messages.chunk_by(QueueMessage::is_of_queue);
        let outcomes = join_all(queues.map(|messages| self.queue(messages, deadline))).await;
        answer(messages.iter().map(|message| &*message.message_id).zip(outcomes.into_iter().flatten()))
    }

    /// What becomes of each message of a queue.
    async fn queue(&self, messages: &[QueueMessage], deadline: &Deadline) -> Vec<Result<()>> {
        let source = match messages[0].queue().and_then(|queue| self.sources.of(&queue)) {
            Ok(source) => source,
            Err(error) => return vec![Err(error); messages.len()],
        };
        if source.lake.is_some() {
            return self.told_of_objects(source, messages, deadline).await;
        }
        let records = messages.iter().map(|message| message.record(source)).collect();
        match self.invocations.each_message(&source.name, records, deadline.answer()).await {
            Ok(outcomes) => outcomes.into_iter().map(|outcome| outcome.map(drop)).collect(),
            Err(error) => vec![Err(error); messages.len()],
        }
    }

    /// Reads the objects that messages tell of.
    async fn told_of_objects(
        &self,
        source: &SourcePlan,
        messages: &[QueueMessage],
        deadline: &Deadline,
    ) -> Vec<Result<()>> {
        let is_ordered = messages[0].is_ordered();
        let mut outcomes: Vec<Result<()>> = Vec::with_capacity(messages.len());
        for together in messages.chunks(if is_ordered { 1 } else { AT_ONCE }) {
            let read = together.iter().map(async |message| {
                for notification in s3::notifications(&message.body)? {
                    self.told(source, notification, deadline).await?;
                }
                Ok(())
            });
            outcomes.extend(join_all(read).await);
            if is_ordered && let Some(Err(error)) = outcomes.last() {
                // What follows a message that comes again has to come again, too.
                let error = error.clone();
                outcomes.resize(messages.len(), Err(error));
                break;
            }
        }
        outcomes
    }

    async fn s3(&self, notifications: Vec<Notification>, deadline: &Deadline) -> Result<Box<RawValue>> {
        for notification in notifications {
            let bucket = match &notification {
                Notification::Created(object) => object.container.clone(),
                Notification::Other(event) => {
                    pass_over(event);
                    continue;
                }
            };
            let arn = format!("arn:aws:s3:::{bucket}");
            let source = self.sources.of(&Resource { name: &bucket, arn: &arn })?;
            self.told(source, notification, deadline).await?;
        }
        json(&Done {})
    }

    /// Reads the object that a notification tells of.
    async fn told(&self, source: &SourcePlan, notification: Notification, deadline: &Deadline) -> Result<()> {
        match notification {
            Notification::Created(object) => {
                self.invocations.object(&source.name, object, deadline.answer()).await.map(drop)
            }
            Notification::Other(event) => {
                pass_over(&event);
                Ok(())
            }
        }
    }

    async fn firehose(&self, batch: &firehose::Batch, deadline: &Deadline) -> Result<Box<RawValue>> {
        let source = self.sources.of(&batch.stream()?)?;
        let (messages, answer) = batch.divide(source);
        self.invocations.messages(&source.name, messages, deadline.answer()).await?;
        json(&answer)
    }

    async fn schedule(&self, deadline: &Deadline) -> Result<Box<RawValue>> {
        // A lake that does not answer keeps a run that was told to end.
        let ended = timeout_at(deadline.answer(), self.invocations.run_due(Some(deadline.commit()))).await;
        match ended.unwrap_or_else(|_| Err(interrupted())) {
            Ok(()) => json(&Done {}),
            Err(error) if error.kind == Kind::Interrupted => Err(Error::new(
                Kind::Interrupted,
                "the function's time was nearly over before all that is due was done",
            )
            .with_help("what was read is in the lake, and the next invocation goes on; raise the function's time-out")),
            Err(error) => Err(error),
        }
    }
}

fn pass_over(event: &str) {
    tracing::info!("a notification `{event}` of S3 tells of no object to read, and is passed over");
}

/// The answer that names the items which the platform has to deliver again. Where that is all of them, the invocation fails: then
/// they come again whether the platform was told to look at the answer or not.
fn answer<'a>(items: impl Iterator<Item = (&'a str, Result<()>)>) -> Result<Box<RawValue>> {
    let (mut answer, mut count, mut first_error) = (BatchAnswer::default(), 0, None);
    let mut reasons = BTreeSet::new();
    for (item, outcome) in items {
        count += 1;
        if let Err(error) = outcome {
            tracing::debug!(item, "{error}");
            answer.batch_item_failures.push(ItemFailure { item_identifier: item.to_owned() });
            if reasons.len() < MOST_REASONS && reasons.insert(error.to_string()) && first_error.is_some() {
                tracing::error!(item, "{error}");
            }
            first_error.get_or_insert(error);
        }
    }
    let failed = answer.batch_item_failures.len();
    match first_error {
        Some(error) if failed == count => Err(error),
        Some(error) => {
            tracing::error!("{failed} of {count} items are not in the lake and have to come again: {error}");
            json(&answer)
        }
        None => json(&answer),
    }
}

fn json(value: &impl Serialize) -> Result<Box<RawValue>> {
    to_raw_value(value).map_err(|error| Error::internal(format!("the answer cannot be written: {error}")))
}
