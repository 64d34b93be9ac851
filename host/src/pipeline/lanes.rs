//! The lanes of an export: threads that take chunks in any order and give results back in the order they were sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};

use tokio::sync::oneshot;

use super::encoder::FileBytes;
use super::lane::Lane;
use super::processed::{Processed, SpanContext};
use super::row_writer::Portion;
use super::run::Takes;
use crate::error::{Error, Result};
use crate::source::Chunk;

/// Work for a lane.
enum Task {
    Process(Chunk, Takes, Arc<SpanContext>, oneshot::Sender<Result<Processed>>),
    WriteDocuments(Chunk, Arc<SpanContext>, oneshot::Sender<Result<Processed>>),
    WriteRows(Portion, Arc<SpanContext>, oneshot::Sender<Result<Processed>>),
    FinishFiles(oneshot::Sender<Result<Vec<FileBytes>>>),
}

/// Running lanes.
pub struct Lanes {
    tasks: mpsc::Sender<Task>,
    /// Results that are awaited, oldest first.
    under_way: VecDeque<oneshot::Receiver<Result<Processed>>>,
    capacity: usize,
    appendable: bool,
}

impl Lanes {
    /// Starts a thread for every lane.
    ///
    /// # Errors
    /// Of kind `Internal` where no thread can be started.
    pub fn start(mut lanes: Vec<Lane>) -> Result<Self> {
        let appendable = lanes.iter_mut().all(Lane::appendable);
        // Enough to keep every lane at work while the oldest result is awaited.
        let capacity = lanes.len() + 2;
        let (tasks, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for lane in lanes {
            let receiver = receiver.clone();
            std::thread::Builder::new()
                .name("lakeport-lane".into())
                .spawn(move || work(lane, &receiver))
                .map_err(|e| Error::internal(format!("no thread could be started to process: {e}")))?;
        }
        Ok(Lanes { tasks, under_way: VecDeque::new(), capacity, appendable })
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
        let _ = self.tasks.send(task(reply));
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
        let _ = self.tasks.send(Task::FinishFiles(reply));
        result.await.unwrap_or_else(|_| Err(died()))
    }
}

fn died() -> Error {
    Error::internal("a lane's thread died").with_help("this is a defect: please report it with the lines above")
}

fn work(mut lane: Lane, tasks: &Mutex<mpsc::Receiver<Task>>) {
    loop {
        // One lane waits at the channel while the others work; the lock is held while waiting only.
        let task = match tasks.lock() {
            Ok(receiver) => receiver.recv(),
            Err(_) => return,
        };
        match task {
            Ok(Task::Process(chunk, takes, span, reply)) => {
                let processed = lane.process(&chunk, &span);
                let _ = reply.send(processed.map(|processed| Processed { takes, ..processed }));
            }
            Ok(Task::WriteDocuments(chunk, span, reply)) => {
                let _ = reply.send(lane.write_documents(&chunk, &span));
            }
            Ok(Task::WriteRows(portion, span, reply)) => {
                let _ = reply.send(lane.write_rows(&portion, &span));
            }
            Ok(Task::FinishFiles(reply)) => {
                let _ = reply.send(lane.finish_files());
            }
            Err(_) => return,
        }
    }
}
