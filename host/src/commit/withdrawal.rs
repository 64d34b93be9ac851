//! What is left to do for an owner that was replaced: it removes what it staged, as far as no commit needs it.
//!
//! Its successor's sweep cannot: that may run before the last of it is staged.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};

use super::entry::{Commit, Entry, Object};
use super::log::{partition_folder, read_newest, read_slot};
use super::protocol::{Owner, Reply, Request};
use super::publish::AT_ONCE;
use crate::error::{Error, Result};
use crate::fail;
use crate::lake::Lake;

/// An owner that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Withdrawal<'a> {
    pub lake: &'a Lake,
    pub export: &'a str,
    pub partition: &'a str,
    pub nonce: u128,
}

impl Withdrawal<'_> {
    /// Deletes what the owner staged for its spans; returns how many objects there were. Where no other owner has taken over, what it
    /// staged may still be committed, and stays.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn sweep(&self) -> Result<usize> {
        let stage = format!("{}/stage", partition_folder(self.lake, self.export, self.partition));
        let own = format!("-{:032x}", self.nonce);
        match self.lake.folders(&stage).await?.into_iter().find(|name| name.ends_with(&own)) {
            Some(name) => self.sweep_folder(&format!("{stage}/{name}")).await,
            None => Ok(0),
        }
    }

    /// Deletes what the owner staged in `folder`, which is its own, likewise.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn sweep_folder(&self, folder: &str) -> Result<usize> {
        let mut owner = Owner::withdrawing(self.nonce);
        let (mut last, mut swept) = (None, 0);
        loop {
            let request = owner.request();
            fail::point(request.name());
            let reply = match request {
                Request::ReadNewest { after } => {
                    let partition = partition_folder(self.lake, self.export, self.partition);
                    let newest = read_newest(self.lake, &partition, after).await?;
                    let seen = newest.as_ref().map(|newest| (newest.slot, newest.entry.seen(newest.slot)));
                    last = match newest.map(|newest| newest.entry) {
                        Some(entry) => last_commit(self.lake, &partition, entry).await?,
                        None => None,
                    };
                    Reply::Newest(seen)
                }
                Request::SweepOwn => {
                    let named: HashSet<&str> = last.iter().flat_map(Commit::named).collect();
                    let staged = self.lake.list(folder).await?;
                    let superfluous: Vec<_> =
                        staged.iter().map(|object| &*object.key).filter(|key| !named.contains(key)).collect();
                    swept = superfluous.len();
                    let deleted: Vec<_> = superfluous.into_iter().map(|key| delete(self.lake, key)).collect();
                    stream::iter(deleted).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
                    Reply::Done
                }
                Request::Stop => return Ok(swept),
                request => unreachable!("an owner that withdraws asks for {request:?}"),
            };
            owner.observe(reply);
        }
    }
}

async fn delete(lake: &Lake, key: &str) -> Result<()> {
    fail::point("delete-object");
    lake.delete(key).await
}

/// The last commit that a log's newest entry speaks of.
async fn last_commit(lake: &Lake, partition: &str, newest: Entry) -> Result<Option<Commit>> {
    let slot = match newest {
        Entry::Commit(commit) => return Ok(Some(*commit)),
        Entry::Fence(fence) if fence.last_commit == 0 => return Ok(None),
        Entry::Fence(fence) => fence.last_commit,
    };
    match read_slot(lake, partition, slot).await? {
        Some((Entry::Commit(commit), _)) => Ok(Some(*commit)),
        _ => Err(Error::lake(format!("the log in `{}` moved on while it was read", lake.url(partition)))
            .with_help("the next owner that commits removes what is left")),
    }
}

impl Commit {
    /// Staged objects that it speaks of: those that it publishes, and those that must outlive it.
    fn named(&self) -> impl Iterator<Item = &str> {
        self.objects.iter().filter_map(Object::staged_key).chain(self.needed())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use chrono::DateTime;
    use object_store::memory::InMemory;

    use super::*;
    use crate::commit::{
        Author, Content, Draft, Fence, Identity, Outcome, Partition, Pending, Publication, Series, SpanEntry, Totals,
    };
    use crate::lake::Created;
    use crate::source::Position;

    async fn owner(lake: &Lake, nonce: u128) -> Partition {
        let author = Author::this(Duration::from_secs(1));
        let identity = Identity { nonce, writer: format!("owner {nonce}"), author };
        let mut partition = Partition::look(lake.clone(), "e", "0", identity, |_| ()).await.unwrap();
        assert_eq!(partition.take_over().await.unwrap(), Outcome::Done);
        partition
    }

    async fn stage(lake: &Lake, key: String) -> Object {
        let mut staging = lake.stage(&key).await.unwrap();
        staging.write(b"{}\n".as_slice().into()).await.unwrap();
        let whole = staging.finish().await.unwrap();
        let (content, publication) = (Content::Staged(key.clone()), Publication::Segment);
        Object { key, content, length: whole.length, sha256: whole.sha256, rows: 1, publication }
    }

    /// A commit after which `segment` waits to be sealed.
    fn draft(segment: Option<&Object>) -> Draft {
        let pending = segment.map(|object| Pending { staged: object.key.clone(), length: object.length, rows: 1 });
        let series = Series { pending: pending.into_iter().collect(), ..Series::default() };
        Draft {
            write_time: DateTime::default(),
            seed: 0,
            configuration: String::new(),
            plugins: BTreeMap::new(),
            span: SpanEntry::default(),
            position: Position::default(),
            objects: segment.cloned().into_iter().collect(),
            obsolete: Vec::new(),
            series: BTreeMap::from([("e/{part}.ndjson".to_owned(), series)]),
            table: None,
            dataset: None,
            totals: Totals::default(),
        }
    }

    fn lake(name: &str) -> Lake {
        Lake::with_store(Arc::new(InMemory::new()), name, "_lakeport")
    }

    async fn staged(lake: &Lake) -> Vec<String> {
        let found = lake.list("_lakeport/e/0/stage").await.unwrap();
        found.into_iter().map(|meta| meta.key.rsplit_once('/').unwrap().1.to_owned()).collect()
    }

    #[tokio::test]
    async fn what_commits_need_stays_and_the_rest_goes_once_another_owner_is_there() {
        let lake = lake("withdrawn");
        let mut first = owner(&lake, 1).await;
        let root = first.stage_root();
        let segment = stage(&lake, format!("{root}/segment")).await;
        assert_eq!(first.commit(draft(Some(&segment))).await.unwrap(), Outcome::Done);
        stage(&lake, format!("{root}/next")).await;
        let withdrawal = Withdrawal { lake: &lake, export: "e", partition: "0", nonce: 1 };
        assert_eq!(withdrawal.sweep().await.unwrap(), 0, "its own entry is the newest: a commit of it may arrive");

        let mut second = owner(&lake, 2).await;
        assert_eq!(staged(&lake).await, ["segment"], "the successor's sweep");
        let lost = stage(&lake, format!("{root}/lost")).await;
        stage(&lake, format!("{}/its", second.stage_root())).await;
        assert_eq!(first.commit(draft(Some(&lost))).await.unwrap(), Outcome::Overtaken);
        assert_eq!(withdrawal.sweep().await.unwrap(), 1);
        assert_eq!(staged(&lake).await, ["segment", "its"], "the successor's commits go on with the segment");

        assert_eq!(second.commit(draft(None)).await.unwrap(), Outcome::Done);
        assert_eq!(withdrawal.sweep().await.unwrap(), 1);
        assert_eq!(staged(&lake).await, ["its"], "no commit needs the segment any more");
    }

    #[tokio::test]
    async fn a_commit_whose_reply_was_lost_keeps_what_its_successor_has_to_publish() {
        let lake = lake("reply-lost");
        let mut first = owner(&lake, 1).await;
        let root = first.stage_root();
        assert_eq!(first.commit(draft(None)).await.unwrap(), Outcome::Done);
        let mut commit = first.last().unwrap().clone();
        let file = stage(&lake, format!("{root}/file")).await;
        stage(&lake, format!("{root}/next")).await;
        commit.objects = vec![Object { key: "e/00.ndjson".into(), publication: Publication::New, ..file }];
        // It did take effect, and the successor's fence says so; nothing is published yet.
        let fence = Fence {
            version: commit.version,
            epoch: commit.epoch + 1,
            nonce: 2,
            writer: "owner 2".into(),
            author: None,
            last_commit: 3,
        };
        for (slot, entry) in [(3, Entry::Commit(Box::new(commit))), (4, Entry::Fence(fence))] {
            let created = lake.create(&format!("_lakeport/e/0/log/{slot:020}.json"), entry.to_bytes()).await;
            assert_eq!(created.unwrap(), Created::Created);
        }
        let withdrawal = Withdrawal { lake: &lake, export: "e", partition: "0", nonce: 1 };
        assert_eq!(withdrawal.sweep().await.unwrap(), 1);
        assert_eq!(staged(&lake).await, ["file"]);
    }
}
