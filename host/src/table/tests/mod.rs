//! Tables over lakes in memory and in folders, against a plain map.

mod damage;
mod large;
mod model;
mod patches;
mod rows;
mod semantics;
mod truncate;
mod twins;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use tokio::sync::mpsc;

use super::*;
use crate::Result;
use crate::lake::Lake;
use crate::plan::{LakePlan, Location};

/// A table and the lake that it is in; what is applied is committed at once.
struct Table {
    lake: Lake,
    cache: Cache,
    state: TableState,
    attempts: u64,
}

impl Table {
    fn in_memory() -> Table {
        Table::over(Lake::with_store(Arc::new(InMemory::new()), "table", "_lakeport"))
    }

    async fn local(folder: &tempfile::TempDir) -> Table {
        let location = Location::Local(folder.path().join("lake"));
        let plan = LakePlan {
            name: "main".into(),
            location,
            log_folder: "_lakeport".into(),
            retry_for: Duration::from_secs(60),
        };
        Table::over(Lake::open(&plan).await.unwrap())
    }

    fn over(lake: Lake) -> Table {
        Table { lake, cache: Cache::default(), state: TableState::default(), attempts: 0 }
    }

    /// Applies, and returns what was emitted, in portions; commits nothing.
    async fn attempt(
        &mut self,
        changes: Vec<Change>,
        emit: Emit,
        marks: bool,
    ) -> Result<(Applied, Vec<Vec<Document>>)> {
        self.attempts += 1;
        let staged_key = format!("stage/{}", self.attempts);
        let request = Apply { changes, emit, mark_deletes: marks, staged_key, rows: RowTerms::default() };
        let (sender, mut receiver) = mpsc::channel(2);
        let receive = async {
            let mut portions = Vec::new();
            while let Some(portion) = receiver.recv().await {
                portions.push(portion);
            }
            portions
        };
        let (lake, cache, state) = (&self.lake, &self.cache, &self.state);
        let applied = sendable(async move { apply(lake, cache, state, request, &sender).await });
        let (applied, portions) = futures::future::join(applied, receive).await;
        Ok((applied?, portions))
    }

    async fn apply(&mut self, changes: Vec<Change>, emit: Emit, marks: bool) -> (Applied, Vec<Document>) {
        let (applied, portions) = self.attempt(changes, emit, marks).await.unwrap();
        assert_eq!(portions.iter().map(Vec::len).sum::<usize>() as u64, applied.emitted);
        // As it goes through a commit.
        let text = serde_json::to_string(&applied.state).unwrap();
        self.state = serde_json::from_str(&text).unwrap();
        assert_eq!(self.state, applied.state);
        for key in &applied.obsolete {
            self.lake.delete(key).await.unwrap();
        }
        (applied, portions.concat())
    }

    /// Applies to what nobody has seen before, and takes the snapshot: one line for each document.
    async fn snapshot(&mut self, changes: Vec<Change>) -> Vec<String> {
        let (_, documents) = self.apply(changes, Emit::Waiting, true).await;
        let mut lines: Vec<_> = documents.iter().map(line).collect();
        lines.sort();
        lines
    }

    async fn body(&self, subject: &str) -> Option<String> {
        let found = find(&self.reader(), &[key(subject)]).await.unwrap().unwrap();
        found[0].as_ref().map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    fn reader(&self) -> Reader {
        Reader::new(self.lake.clone(), &self.state, self.cache.clone())
    }
}

/// The documents of keys, by their subjects and sources.
async fn find(reader: &Reader, keys: &[Key]) -> crate::Result<Option<Vec<Option<Bytes>>>> {
    let wanted: Vec<_> = keys.iter().map(|key| Wanted { subject: &key.subject, source: &key.source }).collect();
    let found = reader.find(&wanted).await?;
    Ok(found.map(|found| found.into_iter().map(|found| found.map(|found| found.body)).collect()))
}

/// Applies run on any thread.
fn sendable<T: Send>(future: T) -> T {
    future
}

fn line(document: &Document) -> String {
    let Document { key, operation, version, body, .. } = document;
    let version = version.map_or(String::new(), |version| format!(" v{version}"));
    let body = body.as_ref().map_or("-".into(), |body| String::from_utf8(body.to_vec()).unwrap());
    format!("{} {operation}{version} {body}", key.subject)
}

fn key(subject: &str) -> Key {
    Key { source: "hub".into(), kind: "device".into(), subject: subject.into() }
}

fn change(subject: &str, operation: Operation, version: Option<i64>, body: &str) -> Change {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Change::new(Shape::Document, key(subject), operation, version, None, body).unwrap()
}

fn update(subject: &str, body: &str) -> Change {
    change(subject, Operation::Update, None, body)
}

fn patch(subject: &str, body: &str) -> Change {
    change(subject, Operation::Patch, None, body)
}

fn delete(subject: &str) -> Change {
    change(subject, Operation::Delete, None, "")
}
