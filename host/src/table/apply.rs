//! Applies changes to a table, and hands over what a snapshot needs.
//!
//! 1. The changes are sorted by shard and key.
//! 2. Shard by shard, in rising order: what the runs have of it is read, a few shards ahead ([`super::prefetch`]); the changes are
//!    applied and the documents taken out on a thread for work ([`super::step`]).
//! 3. In the same order: documents go to the caller, new entries into the new run. It begins with the first shard that changed, and
//!    takes in the last runs where they are not much larger than it is, so that there are never many.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::{TryStreamExt, stream};
use tokio::sync::mpsc;

use super::cache::Cache;
use super::prefetch::RunReader;
use super::run::RunWriter;
use super::shard::{encode_key, shard_of};
use super::step::{self, Keyed, Outcome, Step, Terms};
use super::{Change, Document, Gone, Run, SHARDS, ShardSet, TableState};
use crate::lake::Lake;
use crate::{Error, Result};

/// Shards that are worked on at the same time.
const AT_ONCE: usize = 2;

/// What is to be done.
#[derive(Debug)]
pub struct Apply {
    /// In order.
    pub changes: Vec<Change>,
    pub emit: Emit,
    /// A document that is gone is emitted too.
    pub mark_deletes: bool,
    /// Where the new run is staged, and stays: nobody else's, and never used before.
    pub staged_key: String,
    /// What holds for rows, where the documents are some.
    pub rows: RowTerms,
}

/// What holds for changes of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowTerms {
    /// The write time of the commit. Microseconds since 1970-01-01T00:00:00Z.
    pub write_time: i64,
    /// The partition of a row whose change does not say when it was created.
    pub partition: i32,
    /// Besides what is emitted after the changes, every version that a change makes is.
    pub versions: bool,
    /// Members that a patch finds gone in earlier rows.
    pub gone: Arc<[Gone]>,
    /// Where it is there, rows of other partitions are not emitted.
    pub only: Option<Arc<BTreeSet<i32>>>,
}

/// What is emitted, after the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// Nothing: what changed waits.
    Nothing,
    /// A snapshot of what changed since the last one.
    Waiting,
    /// A snapshot of all documents, and of what is gone since the last one.
    Everything,
    /// All that is kept, with the versions of what is gone, whose bodies are given as well.
    Kept,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The table once this is committed.
    pub state: TableState,
    /// The new run; also in `state`.
    pub written: Option<Run>,
    /// The objects of runs that are no longer part of the table once this is committed.
    pub obsolete: Vec<String>,
    /// Documents.
    pub emitted: u64,
    /// Changes that were older than what is stored.
    pub ignored: u64,
    /// Changes after which the document was the same.
    pub unchanged: u64,
    /// The partitions of the rows that changed, came or went.
    pub touched: BTreeSet<i32>,
}

/// Applies `request.changes`, then emits into `documents`, in portions of at most 4,096 documents. Waits while the receiver does not
/// take them; nothing it has taken counts before the result is committed.
///
/// # Errors
///
/// Of [`crate::Kind::Lake`], also where a file of the table is gone or damaged; then nothing has changed.
pub async fn apply(
    lake: &Lake,
    cache: &Cache,
    state: &TableState,
    request: Apply,
    documents: &mpsc::Sender<Vec<Document>>,
) -> Result<Applied> {
    let Apply { changes, emit, mark_deletes, staged_key, rows } = request;
    let (changes, keys) = blocking(move || Ok(sort(changes))).await?;
    let absorbed = absorbed(&state.runs, keys);
    let change = state.change + 1;
    let terms = Arc::new(Terms {
        change,
        snapshot: state.snapshot,
        next_snapshot: if emit == Emit::Nothing { state.snapshot } else { change },
        emit,
        mark_deletes,
        oldest: absorbed == 0,
        rows,
    });
    let untouched = set(|shard| changes[shard].is_empty());
    let source = Source::open(lake, cache, state, changes, absorbed, emit).await?;
    let outcomes = stream::try_unfold(source, |mut source| async move {
        Ok::<_, Error>(source.next().await?.map(|step| (step, source)))
    });
    let outcomes = outcomes.map_ok(|step| {
        let terms = terms.clone();
        blocking(move || step.run(&terms))
    });
    let outcomes = outcomes.try_buffered(AT_ONCE);
    let mut outcomes = std::pin::pin!(outcomes);

    let mut new = New {
        lake,
        cache,
        absorbed: &state.runs[absorbed..],
        untouched,
        terms: terms.clone(),
        staged_key,
        begun: None,
    };
    let mut next = state.clone();
    let (mut emitted, mut ignored, mut unchanged) = (0, 0, 0);
    let mut touched = BTreeSet::new();
    while let Some(outcome) = outcomes.try_next().await? {
        next.keys = next.keys.saturating_add_signed(outcome.keys);
        next.waiting = next.waiting.saturating_add_signed(outcome.waiting);
        ignored += outcome.ignored;
        unchanged += outcome.unchanged;
        let Outcome { shard, documents: portions, written, touched: mut partitions, .. } = outcome;
        touched.append(&mut partitions);
        for portion in portions {
            emitted += portion.len() as u64;
            let gone = |_| Error::internal("nobody takes the documents of a table any more");
            documents.send(portion).await.map_err(gone)?;
        }
        if let Some(packed) = written {
            next.waiting_shards.insert(shard);
            new.write(shard, packed).await?;
        }
    }
    next.ignored += ignored;
    let (mut written, mut obsolete) = (None, Vec::new());
    if new.begun.is_some() {
        written = new.finish().await?;
        next.change = change;
        obsolete = next.runs.split_off(absorbed).into_iter().map(|run| run.key).collect();
        next.runs.extend(written.clone());
    }
    if emit != Emit::Nothing {
        next.snapshot = next.change;
        next.waiting = 0;
        next.waiting_shards = ShardSet::default();
    }
    Ok(Applied { state: next, written, obsolete, emitted, ignored, unchanged, touched })
}

/// [`apply()`], with what it emits held in memory.
///
/// # Errors
///
/// As [`apply()`].
pub async fn apply_and_collect(
    lake: &Lake,
    cache: &Cache,
    state: &TableState,
    request: Apply,
) -> Result<(Applied, Vec<Vec<Document>>)> {
    let (documents, mut received) = mpsc::channel(1);
    let collect = async {
        let mut all = Vec::new();
        while let Some(documents) = received.recv().await {
            all.push(documents);
        }
        all
    };
    // The sender goes when everything was sent.
    let apply = async move { apply(lake, cache, state, request, &documents).await };
    let (applied, all) = tokio::join!(apply, collect);
    Ok((applied?, all))
}

/// The first of the runs that a new run of at most `entries` entries takes in: it leaves behind only what has more than twice the
/// entries of the new one. So a table of n entries has at most log2(n) + 1 runs, and each entry is written again only as
/// often as the table has doubled.
fn absorbed(runs: &[Run], mut entries: u64) -> usize {
    let mut first = runs.len();
    while let Some(run) = runs[..first].last()
        && run.entries <= entries.saturating_mul(2)
    {
        entries += run.entries;
        first -= 1;
    }
    first
}

/// The changes by shard, then by key, and how many keys there are.
fn sort(changes: Vec<Change>) -> (Vec<Vec<Keyed>>, u64) {
    let mut shards: Vec<Vec<Keyed>> = std::iter::repeat_with(Vec::new).take(SHARDS).collect();
    for change in changes {
        let key = encode_key(&change.key);
        shards[usize::from(shard_of(&key))].push(Keyed { key, change });
    }
    let mut keys = 0;
    for changes in &mut shards {
        // Stable: changes of one key stay in order.
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        keys += changes.chunk_by(|a, b| a.key == b.key).count() as u64;
    }
    (shards, keys)
}

/// Reads what the steps need, in order.
struct Source {
    /// With the first of the runs that each needs.
    steps: VecDeque<(usize, Step)>,
    runs: Vec<Option<RunReader>>,
}

impl Source {
    async fn open(
        lake: &Lake,
        cache: &Cache,
        state: &TableState,
        changes: Vec<Vec<Keyed>>,
        absorbed: usize,
        emit: Emit,
    ) -> Result<Source> {
        // In older runs nothing is waiting.
        let waiting = state.runs.iter().take_while(|run| run.change <= state.snapshot).count();
        let mut steps = VecDeque::new();
        for (shard, changes) in (0..=u8::MAX).zip(changes) {
            let first = match emit {
                _ if !changes.is_empty() => 0,
                Emit::Everything | Emit::Kept => 0,
                Emit::Waiting if state.waiting_shards.contains(shard) => waiting,
                _ => continue,
            };
            let (recent, absorbed) = (waiting - first, absorbed.saturating_sub(first));
            steps.push_back((first, Step { shard, changes, layers: Vec::new(), recent, absorbed }));
        }
        let mut runs = Vec::new();
        for (number, run) in state.runs.iter().enumerate() {
            let mut wanted = ShardSet::default();
            let steps = steps.iter().filter(|(first, _)| *first <= number);
            steps.for_each(|(_, step)| wanted.insert(step.shard));
            runs.push(match wanted == ShardSet::default() {
                true => None,
                false => Some(RunReader::open(lake, cache, run, wanted).await?),
            });
        }
        Ok(Source { steps, runs })
    }

    async fn next(&mut self) -> Result<Option<Step>> {
        let Some((first, mut step)) = self.steps.pop_front() else { return Ok(None) };
        for run in self.runs[first..].iter_mut().flatten() {
            step.layers.push(run.shard(step.shard).await?);
        }
        Ok(Some(step))
    }
}

/// The run that is written.
struct New<'a> {
    lake: &'a Lake,
    cache: &'a Cache,
    absorbed: &'a [Run],
    /// Shards without a change: what the absorbed runs have of them is taken over.
    untouched: ShardSet,
    terms: Arc<Terms>,
    staged_key: String,
    /// None before the first entry.
    begun: Option<(RunWriter, Vec<RunReader>)>,
}

impl New<'_> {
    async fn write(&mut self, shard: u8, packed: step::Packed) -> Result<()> {
        if self.begun.is_none() {
            let writer = RunWriter::begin(self.lake, &self.staged_key).await?;
            let mut readers = Vec::new();
            for run in self.absorbed {
                readers.push(RunReader::open(self.lake, self.cache, run, self.untouched).await?);
            }
            self.begun = Some((writer, readers));
        }
        self.take_over(usize::from(shard)).await?;
        let (writer, _) = self.begun.as_mut().expect("begun above");
        writer.write(packed).await
    }

    /// Takes over the absorbed runs' shards from where the run is now up to `end`.
    async fn take_over(&mut self, end: usize) -> Result<()> {
        let (writer, readers) = self.begun.as_mut().expect("called once it is begun");
        while writer.next() < end {
            let shard = writer.next() as u8;
            let mut layers = Vec::with_capacity(readers.len());
            for reader in &mut *readers {
                layers.push(reader.shard(shard).await?);
            }
            let terms = self.terms.clone();
            writer.write(blocking(move || step::absorb(&layers, &terms)).await?).await?;
        }
        Ok(())
    }

    /// The run; none where it would hold nothing.
    async fn finish(mut self) -> Result<Option<Run>> {
        self.take_over(SHARDS).await?;
        let (writer, _) = self.begun.expect("called once it is begun");
        writer.finish(self.terms.change).await
    }
}

fn set(contains: impl Fn(usize) -> bool) -> ShardSet {
    let mut set = ShardSet::default();
    (0..=u8::MAX).filter(|&shard| contains(usize::from(shard))).for_each(|shard| set.insert(shard));
    set
}

/// Runs what takes its time on a thread for that; begins at once.
pub(super) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send + 'static {
    let work = tokio::task::spawn_blocking(work);
    async move { work.await.unwrap_or_else(|e| Err(Error::internal(format!("work on a table ended early: {e}")))) }
}
