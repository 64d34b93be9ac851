//! Takes what a trigger delivers into the lakes of all exports of a source, before the trigger is answered.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use futures::future::{join_all, try_join_all};
use lakeport::error::{Error, Result};
use lakeport::layout::Token;
use lakeport::plan::{ExportPlan, Plan, SOLE_PARTITION};
use lakeport::session::Session;
use lakeport::source::MessageId;
use lakeport::telemetry::{Condition, ExportReport, Live};
use lakeport_serve::Family;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::Backoff;
use crate::deliveries::{Deliveries, Key};
use crate::delivery::{Delivery, EventRun, Message, ObjectRef, Taken};
use crate::failure::{Failure, Undelivered, may_pass};
use crate::metrics::{self, Export};
use crate::turn::Turn;

/// Runs the partitions that are delivered to, from the first delivery on until nothing came for a while.
///
/// Several instances may be asked at once: the one that was asked last has the partition, and what the others had not committed
/// is tried again until the time that the caller gives.
pub struct Invocations {
    pub(crate) session: Session,
    pub(crate) deliveries: Deliveries,
    /// The runs that are at work, by export and partition.
    runs: Mutex<HashMap<Key, Run>>,
    /// The counts of each partition that was ever at work here, by export and partition.
    live: Mutex<BTreeMap<Key, Arc<Live>>>,
    pub(crate) stop: watch::Sender<bool>,
    /// Which partition comes next where what is due is written.
    pub(crate) turn: Turn,
}

/// Messages by their partitions.
type Divided = BTreeMap<u32, Vec<Message>>;

pub(crate) type Run = Arc<tokio::sync::Mutex<Option<JoinHandle<ExportReport>>>>;

impl Invocations {
    /// Invocations of the exports of `session`, whose source is `deliveries`.
    pub fn new(session: Session, deliveries: Deliveries) -> Invocations {
        let (runs, live) = (Mutex::default(), Mutex::default());
        Invocations { session, deliveries, runs, live, stop: watch::Sender::new(false), turn: Turn::default() }
    }

    /// Goes on with the counts of `before`.
    #[must_use]
    pub fn counting_on(self, before: &Invocations) -> Invocations {
        let live = before.live.lock().expect("nothing panics while it is held").clone();
        Invocations { live: Mutex::new(live), ..self }
    }

    /// The counts of a partition, since the process started.
    pub fn live(&self, export: &ExportPlan) -> Arc<Live> {
        let key = (export.name.clone(), export.partition.clone());
        self.live.lock().expect("nothing panics while it is held").entry(key).or_default().clone()
    }

    /// How the partitions of an export are that were ever at work here.
    pub(crate) fn conditions(&self, export: &str) -> Vec<Condition> {
        let live = self.live.lock().expect("nothing panics while it is held");
        live.iter().filter(|((name, _), _)| name == export).map(|(_, live)| live.condition()).collect()
    }

    /// What the invocations are made for.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.session.plan
    }

    /// Returns once the events are in the lake of every export of the source `source`; each of them once, whatever was delivered
    /// before.
    ///
    /// # Errors
    /// Events are missing before these; the error of an export; the time `until` is over. The trigger must deliver all of them again.
    pub async fn events(&self, source: &str, partition: &str, events: EventRun, until: Instant) -> Result<Taken> {
        Ok(self.deliver(source, partition, Delivery::Events(events), until).await?)
    }

    /// Returns once the messages are in the lake of every export of the source `source`. One whose ID is among the last ones of its
    /// partition, [`lakeport::source::RecentIds::WINDOW`] of them, is there once.
    ///
    /// # Errors
    /// The error of an export; the time `until` is over. The trigger must deliver all of them again.
    pub async fn messages(&self, source: &str, messages: Vec<Message>, until: Instant) -> Result<Taken> {
        Ok(self.try_messages(source, messages, until).await?)
    }

    /// The same, and tells whether it is only that too many deliveries wait.
    pub(crate) async fn try_messages(
        &self,
        source: &str,
        messages: Vec<Message>,
        until: Instant,
    ) -> std::result::Result<Taken, Undelivered> {
        let (divided, _) = self.divide(source, messages)?;
        let delivered = divided.into_iter().map(|divided| self.deliver_messages(source, divided, until));
        let taken = try_join_all(delivered).await?;
        let positions: Vec<_> = taken.iter().map(|taken| &*taken.position).collect();
        Ok(Taken { duplicates: taken.iter().map(|taken| taken.duplicates).sum(), position: positions.join(",") })
    }

    /// As [`Invocations::messages`], and tells of each message, by its place, whether it is in the lake: a partition that fails fails its
    /// own messages.
    ///
    /// # Errors
    /// No export reads the source `source`.
    pub async fn each_message(
        &self,
        source: &str,
        messages: Vec<Message>,
        until: Instant,
    ) -> Result<Vec<Result<Taken>>> {
        let (divided, places) = self.divide(source, messages)?;
        let delivered = divided.into_iter().map(async |divided| {
            let partition = divided.0;
            (partition, self.deliver_messages(source, divided, until).await.map_err(Error::from))
        });
        let delivered: BTreeMap<_, _> = join_all(delivered).await.into_iter().collect();
        Ok(places.iter().map(|partition| delivered[partition].clone()).collect())
    }

    /// Messages by their partitions, and the partition of each.
    fn divide(&self, source: &str, messages: Vec<Message>) -> Result<(Divided, Vec<u32>)> {
        let partitions = self.partitions(source)?;
        let mut divided = Divided::new();
        let mut places = Vec::with_capacity(messages.len());
        for message in messages {
            // Without any of them any partition will do.
            let id = message.group.or(message.id).unwrap_or_else(|| MessageId::of(&[&message.lines]));
            let partition = id.partition(partitions);
            places.push(partition);
            divided.entry(partition).or_default().push(message);
        }
        Ok((divided, places))
    }

    async fn deliver_messages(
        &self,
        source: &str,
        (partition, messages): (u32, Vec<Message>),
        until: Instant,
    ) -> std::result::Result<Taken, Undelivered> {
        self.deliver(source, &partition.to_string(), Delivery::Messages(messages.into()), until).await
    }

    /// Returns once all records of an object are in the lake of every export of the source `source`: of each of its versions once.
    /// One that is not there any more is passed over, counted and logged.
    ///
    /// # Errors
    /// The object cannot be read; the error of an export; the time `until` is over. The trigger must deliver it again: what was
    /// read of it is kept.
    pub async fn object(&self, source: &str, object: ObjectRef, until: Instant) -> Result<Taken> {
        let id = MessageId::of(&[object.container.as_bytes(), object.name.as_bytes()]);
        let partition = id.partition(self.partitions(source)?).to_string();
        Ok(self.deliver(source, &partition, Delivery::Object(object), until).await?)
    }

    /// Counts of what was delivered, and of what the exports did with it, as metrics.
    pub fn metrics(&self) -> Vec<Family> {
        let live = self.live.lock().expect("nothing panics while it is held").clone();
        let export = |export: &ExportPlan| Export {
            name: export.name.clone(),
            source: export.source.name.clone(),
            lake: export.lake.name.clone(),
            live: live.iter().filter(|((name, _), _)| *name == export.name).map(|(_, live)| live.clone()).collect(),
        };
        let exports: Vec<_> = self.session.plan.exports.iter().map(export).collect();
        let mut families = metrics::families(None, &exports);
        families.extend(self.deliveries.stats().families());
        families
    }

    /// Ends all runs, after what was delivered to them is in the lake.
    pub async fn end(&self) {
        self.stop.send_replace(true);
        let runs: Vec<_> = self.runs.lock().expect("nothing panics while it is held").drain().collect();
        for (_, run) in runs {
            if let Some(run) = run.lock().await.take() {
                let _ = run.await;
            }
        }
    }

    /// How many partitions messages and objects of a source have.
    fn partitions(&self, source: &str) -> Result<u32> {
        let export = self.session.plan.exports.iter().find(|export| export.source.name == source);
        export.map(|export| export.source.partitions).ok_or_else(|| unknown(source))
    }

    /// Delivers to a partition of every export of a source.
    async fn deliver(
        &self,
        source: &str,
        partition: &str,
        delivery: Delivery,
        until: Instant,
    ) -> std::result::Result<Taken, Undelivered> {
        let exports = self.session.plan.exports.iter().filter(|export| export.source.name == source);
        let exports: Vec<_> = exports.map(|export| Arc::new(export.of_partition(partition))).collect();
        if exports.is_empty() {
            return Err(unknown(source).into());
        }
        for export in &exports {
            has_place(export)?;
        }
        let taken = try_join_all(exports.iter().map(|export| self.deliver_until(export, &delivery, until))).await?;
        // What is new to one of them is no duplicate.
        Ok(taken.into_iter().min_by_key(|taken| taken.duplicates).unwrap_or_default())
    }

    /// Delivers to one partition of one export, again and again where the reason why it failed may pass.
    async fn deliver_until(
        &self,
        export: &Arc<ExportPlan>,
        delivery: &Delivery,
        until: Instant,
    ) -> std::result::Result<Taken, Undelivered> {
        let mut backoff = Backoff::default();
        let mut since = self.deliveries.next_reader();
        let (name, partition) = (&export.name, &export.partition);
        loop {
            let tried = timeout_at(until, self.deliver_once(export, delivery, since)).await;
            let failure = match tried.unwrap_or_else(|_| Err(Failure::Lasting(too_late(export)))) {
                Ok(taken) => {
                    self.deliveries.stats().delivered(taken.duplicates);
                    return Ok(taken);
                }
                Err(failure) => failure,
            };
            let (error, is_busy, may_pass) = match failure {
                Failure::Stale => {
                    self.deliveries.stats().retried();
                    tracing::info!(
                        export = name,
                        "what was delivered to partition `{partition}` does not follow what is known of it here: reading its log again"
                    );
                    since = self.deliveries.next_reader();
                    continue;
                }
                Failure::Busy(error) => (error, true, true),
                Failure::Passing(error) => (error, false, true),
                Failure::Lasting(error) => (error, false, false),
            };
            let pause = backoff.next((self.session.surroundings.chance)());
            if !may_pass || Instant::now() + pause >= until {
                self.deliveries.stats().failed();
                return Err(Undelivered { error, is_busy });
            }
            self.deliveries.stats().retried();
            tracing::info!(export = name, "{error}; delivering to partition `{partition}` again in {pause:?}");
            sleep(pause).await;
        }
    }

    /// Delivers to a run of the partition. Only a reader with the number `since` or a higher one refuses for good what does not fit to
    /// what it knows.
    async fn deliver_once(
        &self,
        export: &Arc<ExportPlan>,
        delivery: &Delivery,
        since: u64,
    ) -> std::result::Result<Taken, Failure> {
        self.start(export).await.map_err(Failure::of)?;
        let taken = self.deliveries.deliver(export, delivery.clone(), since).await;
        taken.map_err(|refused| Failure::of_refused(refused, export, delivery))
    }

    /// The place of the run of a partition: whoever holds it may start one.
    pub(crate) fn run_of(&self, export: &ExportPlan) -> Run {
        let key = (export.name.clone(), export.partition.clone());
        self.runs.lock().expect("nothing panics while it is held").entry(key).or_default().clone()
    }

    /// Lets a run of the partition take deliveries, where none does.
    ///
    /// # Errors
    /// Why it ended instead, or the one before it.
    async fn start(&self, export: &Arc<ExportPlan>) -> Result<()> {
        let run = self.run_of(export);
        let mut run = run.lock().await;
        loop {
            if self.deliveries.is_open(export) {
                return Ok(());
            }
            let is_own = run.is_none();
            // Kept before anything is awaited: who is cancelled leaves the run to the next one, which begins no second.
            let begun = run.get_or_insert_with(|| {
                let (session, started, live) = (self.session.clone(), export.clone(), self.live(export));
                let stop = self.stop.subscribe();
                tokio::spawn(async move { session.run_partition(started, live, stop).await })
            });
            let ended = tokio::select! {
                () = self.deliveries.opened(export) => return Ok(()),
                ended = &mut *begun => ended,
            };
            // It let go of the partition first.
            *run = None;
            match error_of(ended) {
                Some(error) if is_own || !may_pass(&error) => return Err(error),
                None if is_own => return Err(Error::source(format!("export `{}` ended", export.name))),
                // One that was begun before has ended.
                _ => {}
            }
        }
    }
}

/// The error of a run that has ended.
fn error_of(ended: std::result::Result<ExportReport, tokio::task::JoinError>) -> Option<Error> {
    match ended {
        Ok(report) => report.error,
        Err(panic) => Some(Error::internal(format!("the export died: {panic}"))),
    }
}

fn too_late(export: &ExportPlan) -> Error {
    Error::lake(format!("export `{}` has not committed what was delivered in time", export.name))
        .with_help("the platform delivers it again; what is in the lake by then is recognised")
}

fn unknown(source: &str) -> Error {
    Error::config(format!("no export reads a source `{source}`"))
        .with_help("name the function like the source that takes what it is given")
}

/// Refuses a partition whose files would be those of another one.
fn has_place(export: &ExportPlan) -> Result<()> {
    if &*export.partition == SOLE_PARTITION || export.path.has(Token::Partition) {
        return Ok(());
    }
    let message = format!("export `{}` has several partitions, and its path has no `{{partition}}`", export.name);
    Err(Error::config(message).with_help(format!(
        "each partition writes files of its own: set `path = \"{{export}}/{{partition}}/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"` in \
         [exports.{}]",
        export.name
    )))
}
