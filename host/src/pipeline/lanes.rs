//! The lanes of an export: they take chunks in any order and give results back in the order they were sent.
//!
//! A lane is opened when there is work that the others have no hand free for, and has a thread while there is work: an export that is
//! quiet has one lane and no thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::encoder::FileBytes;
use super::lane::Lane;
use super::processed::{Processed, SpanContext};
use super::row_writer::Portion;
use super::run::Takes;
use crate::error::{Error, Result};
use crate::source::Chunk;

/// How long a thread waits for more work before it ends.
const LINGER: Duration = Duration::from_secs(1);

/// Work for a lane.
enum Task {
    Process(Chunk, Takes, Arc<SpanContext>, oneshot::Sender<Result<Processed>>),
    WriteDocuments(Chunk, Arc<SpanContext>, oneshot::Sender<Result<Processed>>),
    WriteRows(Portion, Arc<SpanContext>, oneshot::Sender<Result<Processed>>),
    FinishFiles(oneshot::Sender<Result<Vec<FileBytes>>>),
}

/// Opens a further lane.
pub type Open = Box<dyn Fn() -> Result<Lane> + Send + Sync>;

/// Lanes at work.
pub struct Lanes {
    shared: Arc<Shared>,
    /// Results that are awaited, oldest first.
    under_way: VecDeque<oneshot::Receiver<Result<Processed>>>,
    capacity: usize,
    appendable: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Told when there is a task, or no more will come.
    news: Condvar,
    open: Open,
    /// Lanes that there may be.
    most: usize,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    /// Lanes without a thread.
    idle: Vec<Lane>,
    /// Lanes that there are, or that are being opened.
    opened: usize,
    /// Threads that wait for a task.
    waiting: usize,
    closed: bool,
}

impl Lanes {
    /// Lanes of which the first is open; `open` opens up to `most` in all. Where segments must be made in order, by one encoder, it stays
    /// the only one.
    pub fn new(mut first: Lane, open: Open, most: usize) -> Lanes {
        let appendable = first.appendable();
        let most = if appendable { most.max(1) } else { 1 };
        let state = State { idle: vec![first], opened: 1, ..State::default() };
        let shared = Shared { state: Mutex::new(state), news: Condvar::new(), open, most };
        // Enough to keep every lane at work while the oldest result is awaited.
        Lanes { shared: Arc::new(shared), under_way: VecDeque::new(), capacity: most + 2, appendable }
    }

    /// Whether the format's files may be extended after they were finished.
    pub fn appendable(&self) -> bool {
        self.appendable
    }

    /// Whether another chunk may be sent.
    pub fn has_room(&self) -> bool {
        self.under_way.len() < self.capacity
    }

    /// Whether every result was taken.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Sends a chunk to the next free lane.
    pub fn send(&mut self, chunk: Chunk, takes: Takes, span: Arc<SpanContext>) {
        self.give(|reply| Task::Process(chunk, takes, span, reply));
    }

    /// Sends documents of the export's table to the next free lane, to be written.
    pub fn write_documents(&mut self, chunk: Chunk, span: Arc<SpanContext>) {
        self.give(|reply| Task::WriteDocuments(chunk, span, reply));
    }

    /// Sends rows of one of the export's tables to the next free lane, to be written.
    pub fn write_rows(&mut self, portion: Portion, span: Arc<SpanContext>) {
        self.give(|reply| Task::WriteRows(portion, span, reply));
    }

    fn give(&mut self, task: impl FnOnce(oneshot::Sender<Result<Processed>>) -> Task) {
        let (reply, result) = oneshot::channel();
        // A lane that is gone shows where its result is awaited.
        self.shared.add(task(reply));
        self.under_way.push_back(result);
    }

    /// The result of the oldest chunk; pending for ever where there is none. Safe to drop while it waits.
    pub async fn next(&mut self) -> Result<Processed> {
        let Some(oldest) = self.under_way.front_mut() else { return std::future::pending().await };
        let result = oldest.await.unwrap_or_else(|_| Err(died()));
        self.under_way.pop_front();
        result
    }

    /// The last bytes of every file of the span: for formats that are not appendable.
    ///
    /// # Errors
    /// Of kind `Plugin`.
    pub async fn finish_files(&mut self) -> Result<Vec<FileBytes>> {
        let (reply, result) = oneshot::channel();
        self.shared.add(Task::FinishFiles(reply));
        result.await.unwrap_or_else(|_| Err(died()))
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        let idle = {
            let mut state = self.shared.lock();
            state.closed = true;
            state.tasks.clear();
            std::mem::take(&mut state.idle)
        };
        self.shared.news.notify_all();
        // Plugins are closed where blocking is allowed.
        if !idle.is_empty() {
            let _ = std::thread::Builder::new().spawn(move || drop(idle));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a task to a thread that waits, to a lane that has none, or to a new lane; else to the first that is free.
    fn add(self: &Arc<Self>, task: Task) {
        let mut state = self.lock();
        state.tasks.push_back(task);
        if state.tasks.len() <= state.waiting {
            self.news.notify_one();
            return;
        }
        let lane = state.idle.pop();
        if lane.is_none() && state.opened == self.most {
            return;
        }
        state.opened += usize::from(lane.is_none());
        drop(state);
        let shared = self.clone();
        let thread = std::thread::Builder::new().name("lakeport-lane".into()).spawn(move || shared.work(lane));
        if let Err(error) = thread {
            let mut state = self.lock();
            state.opened -= 1;
            // Those that are at work take it; with none, nobody ever would.
            if state.opened == state.idle.len() {
                let error = Error::internal(format!("no thread could be started to process: {error}"));
                state.tasks.drain(..).for_each(|task| task.fail(&error));
            }
        }
    }

    /// Does tasks until none has come for a while.
    fn work(&self, lane: Option<Lane>) {
        let opened = lane.map_or_else(|| (self.open)(), Ok);
        let mut lane = match opened {
            Ok(lane) => lane,
            Err(error) => {
                let mut state = self.lock();
                state.opened -= 1;
                if let Some(task) = state.tasks.pop_front() {
                    task.fail(&error);
                }
                return;
            }
        };
        while let Some((task, next)) = self.next(lane) {
            lane = next;
            task.run(&mut lane);
        }
    }

    /// The next task for a lane; `None` where none came for a while, and the lane is idle now, or none will come.
    fn next(&self, lane: Lane) -> Option<(Task, Lane)> {
        let mut state = self.lock();
        if state.tasks.is_empty() && !state.closed {
            state.waiting += 1;
            let is_quiet = |state: &mut State| state.tasks.is_empty() && !state.closed;
            let waited = self.news.wait_timeout_while(state, LINGER, is_quiet);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        match state.tasks.pop_front() {
            Some(task) => return Some((task, lane)),
            // Under the same lock: a task that comes now finds the lane.
            None if !state.closed => state.idle.push(lane),
            None => {}
        }
        None
    }
}

impl Task {
    fn run(self, lane: &mut Lane) {
        // Whoever does not wait any more has ended the run.
        match self {
            Task::Process(chunk, takes, span, reply) => {
                let processed = lane.process(&chunk, &span);
                let _ = reply.send(processed.map(|processed| Processed { takes, ..processed }));
            }
            Task::WriteDocuments(chunk, span, reply) => drop(reply.send(lane.write_documents(&chunk, &span))),
            Task::WriteRows(portion, span, reply) => drop(reply.send(lane.write_rows(&portion, &span))),
            Task::FinishFiles(reply) => drop(reply.send(lane.finish_files())),
        }
    }

    fn fail(self, error: &Error) {
        match self {
            Task::Process(_, _, _, reply) | Task::WriteDocuments(_, _, reply) | Task::WriteRows(_, _, reply) => {
                drop(reply.send(Err(error.clone())));
            }
            Task::FinishFiles(reply) => drop(reply.send(Err(error.clone()))),
        }
    }
}

fn died() -> Error {
    Error::internal("a lane's thread died").with_help("this is a defect: please report it with the lines above")
}
