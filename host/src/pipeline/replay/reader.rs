//! Reads the dead letters of a partition, object by object.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tokio::runtime::Handle;

use super::{LetterObject, Replayed};
use crate::commit::letters::{self, Selection};
use crate::error::{Error, Result};
use crate::lake::{Lake, Meta};
use crate::plan::Envelope;
use crate::source::{Chunk, Position, Read, Reader};
use crate::telemetry::human;

/// Objects that are read ahead.
const AHEAD: usize = 2;
/// The largest object that is read: each is held in memory. Lakeport writes far smaller ones.
const LARGEST: u64 = 256 << 20;

/// What a reader has found, for the run that it is read for.
#[derive(Debug, Default)]
pub struct Shared(Mutex<(HashMap<Arc<str>, LetterObject>, Replayed)>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (HashMap<Arc<str>, LetterObject>, Replayed)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out an object whose first records are about to be tried.
    pub fn take(&self, key: &str) -> Option<LetterObject> {
        self.lock().0.remove(key)
    }

    /// What could not be tried.
    pub fn impossible(&self) -> Replayed {
        self.lock().1.clone()
    }
}

/// Reads dead letters.
pub struct Letters {
    found: BoxStream<'static, Result<(Meta, Option<Bytes>)>>,
    runtime: Handle,
    selection: Selection,
    envelope: Envelope,
    shared: Arc<Shared>,
    chunks: VecDeque<Chunk>,
    url: Box<dyn Fn(&str) -> String + Send>,
    warnings: Vec<String>,
}

impl Letters {
    /// Lists the dead letters that a partition has now, whose folder is `folder`.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn open(
        lake: &Lake,
        folder: &str,
        selection: Selection,
        envelope: Envelope,
        shared: Arc<Shared>,
    ) -> Result<Letters> {
        let inside = letters::folder(folder);
        let listed = lake.list(&inside).await?.into_iter();
        let (objects, others): (Vec<_>, Vec<_>) = listed.partition(|meta| letters::is_letters(&inside, &meta.key));
        let is_none =
            |meta: &Meta| format!("`{}` is no object of dead letters, and is left as it is", lake.url(&meta.key));
        let warnings = others.iter().map(is_none).collect();
        let (reading, naming) = (lake.clone(), lake.clone());
        let read = move |meta: Meta| {
            let lake = reading.clone();
            async move {
                let bytes = match meta.size > LARGEST {
                    true => None,
                    false => lake.get(&meta.key).await?.map(|object| object.bytes),
                };
                Ok::<_, Error>((meta, bytes))
            }
        };
        Ok(Letters {
            found: stream::iter(objects).map(read).buffered(AHEAD).boxed(),
            runtime: Handle::current(),
            selection,
            envelope,
            shared,
            chunks: VecDeque::new(),
            url: Box::new(move |key| naming.url(key)),
            warnings,
        })
    }

    fn take(&mut self, meta: &Meta, bytes: Option<&Bytes>) {
        let Some(bytes) = bytes else {
            let url = (self.url)(&meta.key);
            self.warnings.push(match meta.size > LARGEST {
                true => format!(
                    "`{url}` has {}, at most {} are read: divide it into several objects between lines",
                    human::bytes(meta.size),
                    human::bytes(LARGEST)
                ),
                false => format!("`{url}` was deleted by somebody before it was read"),
            });
            return;
        };
        let mut shared = self.shared.lock();
        let (object, chunks) = LetterObject::read(&meta.key, bytes, &self.selection, self.envelope, &mut shared.1);
        if !chunks.is_empty() {
            shared.0.insert(object.key().clone(), object);
            self.chunks = chunks.into();
        }
    }
}

impl Reader for Letters {
    fn read(&mut self, _wait: Duration) -> Result<Read> {
        loop {
            if let Some(chunk) = self.chunks.pop_front() {
                return Ok(Read::Chunk(chunk));
            }
            match self.runtime.block_on(self.found.next()).transpose()? {
                Some((meta, bytes)) => self.take(&meta, bytes.as_ref()),
                None => return Ok(Read::End),
            }
        }
    }

    /// The commit itself moves the letters.
    fn committed(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}
