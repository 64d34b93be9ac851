//! The bytes of an object in a store that are less than a part: in memory or, where too much is, in small objects beside it.

use std::collections::VecDeque;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutPayload, Result};

use super::Lake;
use super::budget::Open;

/// The end of an object, as far as it was written and not sent.
#[derive(Debug)]
pub(super) struct Pending {
    lake: Lake,
    /// The object's.
    key: String,
    pieces: VecDeque<Piece>,
    length: usize,
    open: Open,
    /// What was put aside and is not deleted.
    aside: Vec<Path>,
    /// How often something was put aside: no name is used twice.
    count: usize,
}

#[derive(Debug)]
enum Piece {
    InMemory(Bytes),
    Aside { path: Path, length: usize },
}

impl Piece {
    fn length(&self) -> usize {
        match self {
            Piece::InMemory(bytes) => bytes.len(),
            Piece::Aside { length, .. } => *length,
        }
    }

    fn in_memory(&self) -> Option<Bytes> {
        match self {
            Piece::InMemory(bytes) => Some(bytes.clone()),
            Piece::Aside { .. } => None,
        }
    }
}

impl Pending {
    pub(super) fn new(lake: &Lake, key: &str) -> Pending {
        let open = Open::new(lake.budget.clone());
        let (lake, key, pieces, aside) = (lake.clone(), key.to_owned(), VecDeque::new(), Vec::new());
        Pending { lake, key, pieces, length: 0, open, aside, count: 0 }
    }

    /// How many bytes there are.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// How many of them are in memory.
    pub(super) fn in_memory(&self) -> u64 {
        self.open.bytes()
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        self.open.add(bytes.len());
        self.pieces.push_back(Piece::InMemory(bytes));
    }

    /// Takes the first `most` bytes, or all.
    pub(super) async fn take(&mut self, most: usize) -> Result<Vec<Bytes>> {
        let (mut taken, mut left) = (Vec::new(), most);
        while left > 0
            && let Some(piece) = self.pieces.pop_front()
        {
            self.length -= piece.length();
            let mut bytes = match piece {
                Piece::InMemory(bytes) => {
                    self.open.remove(bytes.len());
                    bytes
                }
                Piece::Aside { path, length } => self.read(&path, length).await?,
            };
            if bytes.len() > left {
                let rest = bytes.split_off(left);
                self.length += rest.len();
                self.open.add(rest.len());
                self.pieces.push_front(Piece::InMemory(rest));
            }
            left -= bytes.len();
            taken.push(bytes);
        }
        Ok(taken)
    }

    /// Puts what is in memory into an object of its own, below the folder of the one that is written: whoever sweeps that finds it.
    pub(super) async fn put_aside(&mut self) -> Result<()> {
        // What was put aside before stands in front of it: that is less than a part, and so taken whole.
        let Some(first) = self.pieces.iter().position(|piece| piece.in_memory().is_some()) else { return Ok(()) };
        let bytes: Vec<_> = self.pieces.iter().skip(first).filter_map(Piece::in_memory).collect();
        let length = bytes.iter().map(Bytes::len).sum();
        let payload = PutPayload::from_iter(bytes);
        let path = Path::parse(format!("{}-aside-{}", self.key, self.count))?;
        self.count += 1;
        let put = || self.lake.store.put(&path, payload.clone());
        self.lake.request("stage", path.as_ref(), put).await?;
        self.aside.push(path.clone());
        self.pieces.truncate(first);
        self.pieces.push_back(Piece::Aside { path, length });
        self.open.remove(length);
        Ok(())
    }

    async fn read(&self, path: &Path, length: usize) -> Result<Bytes> {
        let read = || async { self.lake.store.get(path).await?.bytes().await };
        let bytes = self.lake.request("read", path.as_ref(), read).await?;
        match bytes.len() == length {
            true => Ok(bytes),
            false => {
                let source = format!("`{path}` has {} bytes, and {length} were written", bytes.len()).into();
                Err(Error::Generic { store: "lake", source })
            }
        }
    }

    /// Deletes what was put aside, and taken since.
    pub(super) async fn clean(&mut self) -> Result<()> {
        for path in std::mem::take(&mut self.aside) {
            let delete = || async {
                match &self.lake.azure {
                    Some(azure) => azure.delete(&path).await,
                    None => self.lake.store.delete(&path).await,
                }
            };
            super::found(self.lake.request("delete", path.as_ref(), delete).await)?;
        }
        Ok(())
    }
}
