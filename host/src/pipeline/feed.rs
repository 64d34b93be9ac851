//! The reading end: a source's reader on a thread of its own, ahead of the lanes by a few chunks.

use std::sync::mpsc as sync;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::error::Result;
use crate::source::{Chunk, Position, Read, Reader};

/// Chunks that are read ahead.
const AHEAD: usize = 2;
/// How long a reader waits for more before it says that there is nothing.
const WAIT: Duration = Duration::from_millis(200);

/// What the feed hands over.
#[derive(Debug)]
pub enum Event {
    Chunk(Chunk),
    /// Everything there is was read; there may be more later.
    Idle,
}

/// The receiving end of a reader's thread.
pub struct Feed {
    events: mpsc::Receiver<Result<Event>>,
    warnings: sync::Receiver<String>,
}

impl Feed {
    /// Starts to read. The reader is told of `finals`, the positions that are final.
    ///
    /// # Errors
    /// Of kind `Source` where no thread can be started.
    pub fn start(reader: Box<dyn Reader>, finals: sync::Receiver<Position>) -> Result<Self> {
        let (events, received) = mpsc::channel(AHEAD);
        let (warnings, warned) = sync::channel();
        std::thread::Builder::new()
            .name("lakeport-read".into())
            .spawn(move || read(reader, events, &finals, &warnings))
            .map_err(|e| crate::Error::source(format!("no thread could be started to read: {e}")))?;
        Ok(Feed { events: received, warnings: warned })
    }

    /// The next event; `None` at the end of the source. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<Result<Event>> {
        self.events.recv().await
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
) {
    let acknowledge = |reader: &mut Box<dyn Reader>, position: Position| {
        if let Err(error) = reader.committed(&position) {
            // What could not be deleted is recognised as committed by the next run.
            let _ = warnings.send(error.to_string());
        }
    };
    loop {
        for position in finals.try_iter() {
            acknowledge(&mut reader, position);
        }
        let event = match reader.read(WAIT) {
            Ok(Read::Chunk(chunk)) => Ok(Event::Chunk(chunk)),
            Ok(Read::Idle) => Ok(Event::Idle),
            Ok(Read::End) => break,
            Err(error) => Err(error),
        };
        let failed = event.is_err();
        if events.blocking_send(event).is_err() || failed {
            break;
        }
    }
    for warning in reader.warnings() {
        let _ = warnings.send(warning);
    }
    // The receiver sees the end; what is committed after it still reaches the reader.
    drop(events);
    for position in finals.iter() {
        acknowledge(&mut reader, position);
    }
}
