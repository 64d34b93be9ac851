//! Stores that misbehave on purpose. **For tests only**: of this crate, and of whoever builds on its lakes.
//!
//! [`FaultyStore`] wraps any store and follows a seeded plan: same seed, same order of requests, same faults. It counts
//! requests and never looks at a clock, so runs repeat exactly, in no time. [`Unconditional`] is the store that ignores
//! create-if-absent.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::PartStore;

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request never arrives; the caller gets an error.
    FailsBefore,
    /// The request is applied; the caller gets an error.
    FailsAfter,
    /// The caller gets a timeout; the request is applied when this many more requests have been made.
    LandsLate(u32),
    /// `409 Conflict` to a conditional request although nothing stands in its way; nothing is written.
    Conflict,
    /// The request is applied, its answer is lost, and the retry inside the client finds its own work: `409` or `412`.
    HidesSuccess,
    /// `429 Too Many Requests`; nothing is written.
    Throttled,
    /// `503 Service Unavailable`; nothing is written.
    Unavailable,
    /// Takes so long that every other task gets its turn first.
    Slow,
}

impl Fault {
    /// One of each.
    pub const ALL: [Fault; 8] = [
        Fault::FailsBefore,
        Fault::FailsAfter,
        Fault::LandsLate(3),
        Fault::Conflict,
        Fault::HidesSuccess,
        Fault::Throttled,
        Fault::Unavailable,
        Fault::Slow,
    ];
}

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Put if absent.
    Create,
    /// Put if the version matches.
    Update,
    /// Put, whatever is there.
    Put,
    StartUpload,
    PutPart,
    CompleteUpload,
    AbortUpload,
    /// Read or head.
    Get,
    List,
    Delete,
    /// Copy, if absent or not.
    Copy,
}

impl Operation {
    /// One of each.
    pub const ALL: [Operation; 11] = [
        Operation::Create,
        Operation::Update,
        Operation::Put,
        Operation::StartUpload,
        Operation::PutPart,
        Operation::CompleteUpload,
        Operation::AbortUpload,
        Operation::Get,
        Operation::List,
        Operation::Delete,
        Operation::Copy,
    ];
}

/// One request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// From 0.
    pub number: u32,
    pub operation: Operation,
    pub key: String,
    pub fault: Option<Fault>,
}

/// Which requests get which fault.
#[derive(Debug, Clone)]
pub enum FaultPlan {
    /// None.
    Never,
    /// Each request with a chance of `per_mille` in 1,000; which one, and what, follows from `seed` alone.
    Seeded { seed: u64, per_mille: u32 },
    /// The `nth` request (from 0) of kind `operation` gets `fault`; no other does.
    Once { operation: Operation, nth: u32, fault: Fault },
}

type Effect = BoxFuture<'static, ()>;

struct State {
    plan: FaultPlan,
    events: Vec<Event>,
    late: Vec<(u32, Effect)>,
}

/// A store that fails by plan. Clones share the plan and the record.
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn PartStore>,
    state: Arc<Mutex<State>>,
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn PartStore>, plan: FaultPlan) -> Self {
        FaultyStore { inner, state: Arc::new(Mutex::new(State { plan, events: Vec::new(), late: Vec::new() })) }
    }

    /// Every request so far, in order.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    /// From now on, this plan.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.state().plan = plan;
    }

    /// Applies every request that is still under way.
    pub async fn land_all(&self) {
        let late = std::mem::take(&mut self.state().late);
        for (_, effect) in late {
            effect.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Records a request, lets what is due land first, and says what goes wrong.
    async fn begin(&self, operation: Operation, key: &Path) -> (u32, Option<Fault>) {
        let (number, fault, due) = {
            let mut state = self.state();
            let number = state.events.len() as u32;
            let before = state.events.iter().filter(|e| e.operation == operation).count() as u32;
            let fault = match state.plan {
                FaultPlan::Never => None,
                FaultPlan::Seeded { seed, per_mille } => seeded(seed, number, per_mille),
                FaultPlan::Once { operation: which, nth, fault } => {
                    (which == operation && nth == before).then_some(fault)
                }
            };
            state.events.push(Event { number, operation, key: key.to_string(), fault });
            let (due, later) = std::mem::take(&mut state.late).into_iter().partition(|(at, _)| *at <= number);
            state.late = later;
            let due: Vec<(u32, Effect)> = due;
            (number, fault, due)
        };
        for (_, effect) in due {
            effect.await;
        }
        if fault == Some(Fault::Slow) {
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
        }
        (number, fault)
    }

    /// Makes a request that changes something. `refusal`: what the store says where a condition does not hold.
    async fn change<T: Send + 'static>(
        &self,
        operation: Operation,
        key: &Path,
        refusal: Option<fn(&Path) -> Error>,
        request: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (number, fault) = self.begin(operation, key).await;
        match fault {
            None | Some(Fault::Slow) => request.await,
            Some(Fault::FailsBefore) => Err(unanswered("the connection was refused")),
            Some(Fault::Throttled) => Err(failure("Server returned non-2xx status code: 429 Too Many Requests")),
            Some(Fault::Unavailable) => Err(failure("Server returned non-2xx status code: 503 Service Unavailable")),
            Some(Fault::FailsAfter) => {
                request.await?;
                Err(unanswered("the connection was closed before the answer came"))
            }
            Some(Fault::LandsLate(after)) => {
                let effect = request.map(drop).boxed();
                self.state().late.push((number + after.max(1), effect));
                Err(unanswered("timed out"))
            }
            // A request without a condition is never refused for one.
            Some(Fault::Conflict) => match refusal {
                Some(refusal) => Err(refusal(key)),
                None => request.await,
            },
            Some(Fault::HidesSuccess) => match refusal {
                Some(refusal) => {
                    request.await?;
                    Err(refusal(key))
                }
                None => request.await,
            },
        }
    }

    /// Makes a request that only looks.
    async fn look(&self, operation: Operation, key: &Path) -> Result<()> {
        match self.begin(operation, key).await.1 {
            // There is no condition to refuse, and a late answer is no answer.
            None | Some(Fault::Slow | Fault::Conflict | Fault::HidesSuccess) => Ok(()),
            Some(Fault::Throttled) => Err(failure("Server returned non-2xx status code: 429 Too Many Requests")),
            Some(Fault::Unavailable) => Err(failure("Server returned non-2xx status code: 503 Service Unavailable")),
            Some(Fault::FailsBefore | Fault::FailsAfter | Fault::LandsLate(_)) => Err(unanswered("timed out")),
        }
    }
}

/// The fault of request `number`: SplitMix64 of both, so that a fault does not move those after it.
fn seeded(seed: u64, number: u32, per_mille: u32) -> Option<Fault> {
    let mut mixed = seed.wrapping_add((u64::from(number) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    if mixed % 1000 >= u64::from(per_mille) {
        return None;
    }
    Some(match Fault::ALL[(mixed >> 32) as usize % Fault::ALL.len()] {
        Fault::LandsLate(_) => Fault::LandsLate(1 + (mixed >> 48) as u32 % 24),
        fault => fault,
    })
}

/// What a client says of an answer.
fn failure(what: &'static str) -> Error {
    Error::Generic { store: "faulty", source: what.into() }
}

/// What a client says where there was no answer.
fn unanswered(what: &'static str) -> Error {
    let error = HttpError::new(HttpErrorKind::Interrupted, io::Error::new(io::ErrorKind::ConnectionReset, what));
    Error::Generic { store: "faulty", source: error.into() }
}

fn already_exists(key: &Path) -> Error {
    Error::AlreadyExists { path: key.to_string(), source: "status code: 409 Conflict".into() }
}

fn precondition(key: &Path) -> Error {
    Error::Precondition { path: key.to_string(), source: "status code: 412 Precondition Failed".into() }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (operation, refusal): (_, Option<fn(&Path) -> Error>) = match opts.mode {
            PutMode::Create => (Operation::Create, Some(already_exists)),
            PutMode::Update(_) => (Operation::Update, Some(precondition)),
            PutMode::Overwrite => (Operation::Put, None),
        };
        let (inner, key) = (self.inner.clone(), location.clone());
        self.change(operation, location, refusal, async move { inner.put_opts(&key, payload, opts).await }).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(failure("lakes upload parts by their number"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.look(Operation::Get, location).await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let (inner, key) = (store.inner.clone(), location.clone());
                let request = async move {
                    let one = futures::stream::iter([Ok(key)]).boxed();
                    inner.delete_stream(one).next().await.unwrap_or(Err(failure("nothing was deleted")))
                };
                store.change(Operation::Delete, &location, None, request).await
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            match store.look(Operation::List, &prefix.clone().unwrap_or_default()).await {
                Ok(()) => store.inner.list(prefix.as_ref()),
                Err(e) => futures::stream::iter([Err(e)]).boxed(),
            }
        };
        listed.flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.look(Operation::List, &prefix.cloned().unwrap_or_default()).await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let refusal: Option<fn(&Path) -> Error> = match options.mode {
            CopyMode::Create => Some(already_exists),
            CopyMode::Overwrite => None,
        };
        let (inner, source, target) = (self.inner.clone(), from.clone(), to.clone());
        let request = async move { inner.copy_opts(&source, &target, options).await };
        self.change(Operation::Copy, to, refusal, request).await
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("inner", &self.inner).field("plan", &self.state().plan).finish()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait]
impl MultipartStore for FaultyStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let (inner, key) = (self.inner.clone(), path.clone());
        let begin = async move { inner.create_multipart(&key).await };
        self.change(Operation::StartUpload, path, None, begin).await
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, number: usize, data: PutPayload) -> Result<PartId> {
        let (inner, key, id) = (self.inner.clone(), path.clone(), id.clone());
        let put = async move { inner.put_part(&key, &id, number, data).await };
        self.change(Operation::PutPart, path, None, put).await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let (inner, key, id) = (self.inner.clone(), path.clone(), id.clone());
        let complete = async move { inner.complete_multipart(&key, &id, parts).await };
        self.change(Operation::CompleteUpload, path, None, complete).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let (inner, key, id) = (self.inner.clone(), path.clone(), id.clone());
        let abort = async move { inner.abort_multipart(&key, &id).await };
        self.change(Operation::AbortUpload, path, None, abort).await
    }
}

/// A store that takes create-if-absent and ignores it, as some S3 servers do.
#[derive(Debug)]
pub struct Unconditional(pub Arc<dyn PartStore>);

#[async_trait]
impl ObjectStore for Unconditional {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, PutOptions { mode: PutMode::Overwrite, ..opts }).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Unconditional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unconditional({})", self.0)
    }
}

#[async_trait]
impl MultipartStore for Unconditional {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.0.create_multipart(path).await
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, number: usize, data: PutPayload) -> Result<PartId> {
        self.0.put_part(path, id, number, data).await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.0.complete_multipart(path, id, parts).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.0.abort_multipart(path, id).await
    }
}
