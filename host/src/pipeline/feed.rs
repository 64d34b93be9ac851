//! The reading end: a source's reader on a thread of its own, ahead of the lanes by a few chunks.

use std::sync::mpsc as sync;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::source::{Chunk, Position, Read, Reader};

/// Chunks that are read ahead.
const AHEAD: usize = 2;
/// How long a reader waits for more before it says that there is nothing.
const WAIT: Duration = Duration::from_millis(200);

/// What the feed hands over.
#[derive(Debug)]
pub enum Event {
    Chunk(Chunk),
    /// What was there at one time was read to its end; more may be there by now.
    Reached,
    /// Nothing has come for a while; there may be more later.
    Idle,
    /// Somebody waits until what was read so far is committed.
    Commit,
    /// Everything was read, for good.
    End,
}

/// The receiving end of a reader's thread.
pub struct Feed {
    events: mpsc::Receiver<Result<Event>>,
    warnings: sync::Receiver<String>,
}

impl Feed {
    /// Starts to read. The reader is told of `finals`, the positions that are final; its chunks are cut to `limit` bytes.
    ///
    /// # Errors
    /// Of kind `Source` where no thread can be started.
    pub fn start(reader: Box<dyn Reader>, finals: sync::Receiver<Position>, limit: u64) -> Result<Self> {
        let (events, received) = mpsc::channel(AHEAD);
        let (warnings, warned) = sync::channel();
        std::thread::Builder::new()
            .name("lakeport-read".into())
            .spawn(move || read(reader, events, &finals, &warnings, limit))
            .map_err(|e| Error::internal(format!("no thread could be started to read: {e}")))?;
        Ok(Feed { events: received, warnings: warned })
    }

    /// The next event. Safe to drop while it waits.
    ///
    /// # Errors
    /// Of kind `Source`.
    pub async fn next(&mut self) -> Result<Event> {
        self.events.recv().await.unwrap_or_else(|| {
            Err(Error::internal("the reading thread died")
                .with_help("this is a defect: please report it with the lines above"))
        })
    }

    /// What the operator should know of the source, so far.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.try_iter().collect()
    }
}

fn read(
    mut reader: Box<dyn Reader>,
    events: mpsc::Sender<Result<Event>>,
    finals: &sync::Receiver<Position>,
    warnings: &sync::Sender<String>,
    limit: u64,
) {
    let acknowledge = |reader: &mut Box<dyn Reader>, position: Position| {
        if let Err(error) = reader.committed(&position) {
            // What could not be deleted is recognised as committed by the next run.
            let _ = warnings.send(error.to_string());
        }
    };
    'reading: loop {
        for position in finals.try_iter() {
            acknowledge(&mut reader, position);
        }
        let read = reader.read(WAIT);
        // Before the event, so that whoever meets the last one has them all.
        for warning in reader.warnings() {
            tracing::warn!("{warning}");
            let _ = warnings.send(warning);
        }
        let event = match read {
            Ok(Read::Chunk(chunk)) => {
                for piece in chunk.pieces(limit) {
                    if events.blocking_send(Ok(Event::Chunk(piece))).is_err() {
                        break 'reading;
                    }
                }
                continue;
            }
            Ok(Read::Reached) => Ok(Event::Reached),
            Ok(Read::Idle) => Ok(Event::Idle),
            Ok(Read::Commit) => Ok(Event::Commit),
            Ok(Read::End) => Ok(Event::End),
            Err(error) => Err(error),
        };
        let last = matches!(event, Ok(Event::End) | Err(_));
        if events.blocking_send(event).is_err() || last {
            break;
        }
    }
    // What is committed after the end still reaches the reader.
    drop(events);
    for position in finals.iter() {
        acknowledge(&mut reader, position);
    }
}
