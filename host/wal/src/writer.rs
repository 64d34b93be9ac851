//! The thread that writes: all that waits goes to the disk with one flush, then everybody is answered.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use memchr::memchr_iter;
use tokio::sync::oneshot;

use crate::batch::{Appended, Batch, Keys as BatchKeys};
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::frame::{FRAME_HEADER, FrameHeader, KEY, checksum, segment_header};
use crate::keys::Keys;
use crate::reader;
use crate::shared::{Segment, Shared, Waiting};
use crate::storage::{Storage, is_no_room};

/// How often keys and the segments that are kept for them are looked at when nothing happens.
const PATIENCE: Duration = Duration::from_secs(10);

type Answer = oneshot::Sender<Result<Appended>>;

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) keys: Keys,
    pub(crate) file: File,
    /// The file as it is on the disk.
    pub(crate) active: Segment,
    /// What is written with the next flush.
    pub(crate) pending: Unwritten,
    /// Flushes that failed.
    pub(crate) failures: u64,
    /// Bytes of all segments.
    pub(crate) bytes: u64,
    /// The log takes nothing any more.
    pub(crate) has_failed: bool,
}

/// Frames that are not written yet, and who waits for them.
#[derive(Default)]
pub(crate) struct Unwritten {
    /// Headers with keys, and lines.
    frames: Vec<(Vec<u8>, Bytes)>,
    answers: Vec<Reply>,
    bytes: u64,
    lines: u64,
    records: u64,
    /// When the last of them came.
    time: u64,
}

/// What a batch is answered, once what the answer builds on is durable.
struct Reply {
    answer: Answer,
    result: Result<Appended>,
    /// The offset up to which the log has to be durable for this.
    needs: u64,
    /// Bytes that the batch takes in the queue.
    cost: u64,
}

/// What of a batch is new.
struct New {
    lines: Bytes,
    keys: Vec<u128>,
    /// The hash of what the batch brings, where that is compared.
    content: Option<u128>,
    /// The key is remembered with other content.
    is_reused: bool,
    records: u32,
    duplicates: Vec<u32>,
    /// The offset after the duplicates.
    up_to: u64,
}

impl Writer {
    /// Writes until the log is closed.
    pub(crate) fn run(mut self) {
        // Nobody waits for a thread that has ended, not even after a panic.
        let _end = End(self.shared.clone());
        while let Some(group) = self.shared.take(PATIENCE) {
            let now = (self.shared.options.clock)();
            self.keys.expire(now);
            self.delete_released(0);
            for waiting in group {
                self.add(waiting, now);
            }
            self.flush();
        }
    }

    /// Adds a batch to what is written next, or answers at once.
    fn add(&mut self, waiting: Waiting, now: u64) {
        let Waiting { batch, answer } = waiting;
        let cost = batch.bytes();
        let failures = self.failures;
        let mut new = self.new_of(&batch);
        if !new.lines.is_empty() {
            if let Err(error) = self.make_room(new.frame_bytes()) {
                return self.refuse(answer, error, cost);
            }
            if self.failures != failures {
                // What this batch seemed to repeat was not written.
                new = self.new_of(&batch);
            }
        }
        let first = match new.lines.is_empty() {
            true => new.up_to,
            false => self.active.next + self.pending.lines,
        };
        let next = first + new.lines.len() as u64;
        let result = match new.is_reused {
            true => Err(Error::KeyReused),
            false => Ok(Appended { first, next, up_to: next, duplicates: std::mem::take(&mut new.duplicates) }),
        };
        self.pending.answers.push(Reply { answer, result, needs: next, cost });
        if !new.lines.is_empty() {
            new.keys.iter().for_each(|key| self.keys.insert(*key, new.content, next, now));
            let mut body: Vec<u8> = Vec::with_capacity(FRAME_HEADER + new.hashes() * KEY);
            body.extend_from_slice(&[0; FRAME_HEADER]);
            new.keys.iter().chain(&new.content).for_each(|key| body.extend_from_slice(&key.to_le_bytes()));
            let header = FrameHeader {
                lines: new.lines.len() as u32,
                keys: new.hashes() as u32,
                has_content: new.content.is_some(),
                records: new.records,
                body: checksum(&[&body[FRAME_HEADER..], &new.lines]),
                first,
                durable: self.active.next,
                time: now,
            };
            body[..FRAME_HEADER].copy_from_slice(&header.encode(self.shared.folder.id));
            self.pending.bytes += (body.len() + new.lines.len()) as u64;
            self.pending.lines += new.lines.len() as u64;
            self.pending.records += u64::from(new.records);
            self.pending.time = now;
            self.pending.frames.push((body, new.lines));
        }
    }

    /// What of `batch` is not in the log yet.
    fn new_of(&self, batch: &Batch) -> New {
        let mut new = New {
            lines: batch.lines.clone(),
            keys: Vec::new(),
            content: None,
            is_reused: false,
            records: 0,
            duplicates: Vec::new(),
            up_to: 0,
        };
        match &batch.keys {
            BatchKeys::None => new.records = batch.records(),
            BatchKeys::OfBatch { key, content } => match self.keys.get(*key) {
                Some(end) => {
                    (new.lines, new.up_to) = (Bytes::new(), end);
                    new.is_reused = self.keys.differs(*key, *content);
                    new.duplicates = (0..batch.records()).collect();
                }
                None => (new.keys, new.content, new.records) = (vec![*key], Some(*content), batch.records()),
            },
            BatchKeys::OfRecords(keys) => {
                let mut seen = HashSet::with_capacity(keys.len());
                for (place, key) in keys.iter().enumerate() {
                    let end = self.keys.get(*key);
                    new.up_to = new.up_to.max(end.unwrap_or(0));
                    match end.is_none() && seen.insert(*key) {
                        true => new.keys.push(*key),
                        false => new.duplicates.push(place as u32),
                    }
                }
                new.records = new.keys.len() as u32;
                if !new.duplicates.is_empty() {
                    new.lines = without(&batch.lines, &new.duplicates);
                }
            }
        }
        new
    }

    /// Begins a new segment where a frame of `bytes` bytes does not fit into this one, and deletes what is released where the log
    /// would become too large.
    fn make_room(&mut self, bytes: u64) -> Result<()> {
        let segment = self.active.bytes + self.pending.bytes;
        if segment > self.active.header_bytes && segment + bytes > self.shared.options.segment_bytes {
            self.flush();
            if self.active.bytes > self.active.header_bytes && !self.has_failed {
                self.roll()?;
            }
        }
        let wanted = self.pending.bytes + bytes;
        // Almost always; without the lock, for which all callers wait.
        if !self.has_failed && self.bytes + wanted <= self.shared.options.max_bytes {
            return Ok(());
        }
        self.delete_released(wanted);
        let mut state = self.shared.state();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let (held, limit) = (state.bytes() + self.pending.bytes, self.shared.options.max_bytes);
        if held + bytes > limit {
            state.stats.full += 1;
            return Err(Error::Full { held, bytes, limit });
        }
        Ok(())
    }

    /// Writes what is pending, makes it durable and answers.
    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let written = match pending.frames.is_empty() {
            true => Ok(Duration::ZERO),
            false => self.write(&pending),
        };
        let mut state = self.shared.state();
        let costs: u64 = pending.answers.iter().map(|reply| reply.cost).sum();
        state.stats.queued_bytes -= costs;
        match &written {
            Ok(flush) => {
                self.active.bytes += pending.bytes;
                self.bytes += pending.bytes;
                self.active.next += pending.lines;
                if let Some(last) = state.segments.back_mut() {
                    *last = self.active;
                }
                if pending.records > 0 {
                    state.marks.push(self.active.next, pending.records, pending.time);
                }
                state.stats.batches += pending.frames.len() as u64;
                state.stats.records += pending.records;
                let appended = pending.answers.iter().filter_map(|reply| reply.result.as_ref().ok());
                state.stats.duplicates += appended.map(|appended| appended.duplicates.len() as u64).sum::<u64>();
                if !pending.frames.is_empty() {
                    state.stats.flushes.add(*flush);
                }
            }
            Err(error) => {
                self.failures += 1;
                self.keys.revert(self.active.next);
                state.warn(error.to_string());
                if matches!(error, Error::Failed { .. }) {
                    state.failed = Some(error.clone());
                    self.has_failed = true;
                }
            }
        }
        state.stats.keys = self.keys.len() as u64;
        state.stats.keys_dropped = self.keys.dropped;
        drop(state);
        self.shared.progressed();
        for Reply { answer, result, needs, .. } in pending.answers {
            let result = match &written {
                // What it repeats may have been durable before.
                Err(error) if needs > self.active.next => {
                    self.shared.state().stats.failed += 1;
                    Err(error.clone())
                }
                _ => result,
            };
            // Whoever does not wait any more need not know.
            let _ = answer.send(result);
        }
    }

    /// Writes frames and flushes them, and returns how long the flush took. What was written of them is cut off again after an
    /// error.
    fn write(&mut self, pending: &Unwritten) -> Result<Duration> {
        let path = self.shared.folder.segment(self.active.first);
        let failed = |action, error| Error::Failed { cause: Box::new(Error::io(action, &path, error)) };
        let mut parts: Vec<IoSlice<'_>> =
            pending.frames.iter().flat_map(|(head, lines)| [IoSlice::new(head), IoSlice::new(lines)]).collect();
        if let Err(error) = write_all(&mut *self.storage, &self.file, &mut parts) {
            let cut = self.file.set_len(self.active.bytes);
            return Err(match cut {
                Ok(()) if is_no_room(&error) => Error::NoSpace { path, source: Arc::new(error) },
                _ => failed("write", error),
            });
        }
        let began = Instant::now();
        if let Err(error) = self.storage.sync(&self.file) {
            // Nobody knows what is on the disk; a second flush would not say. What was not acknowledged should not be found again.
            let _ = self.file.set_len(self.active.bytes);
            return Err(failed("flush", error));
        }
        Ok(began.elapsed())
    }

    /// Begins the next segment.
    fn roll(&mut self) -> Result<()> {
        let first = self.active.next;
        let tail = reader::tail(&self.shared, first)?;
        let created = create(&self.shared.folder, first, &tail).map_err(|error| match error {
            Error::NoSpace { .. } => error,
            error => Error::Failed { cause: Box::new(error) },
        });
        let (file, segment) = created.inspect_err(|error| {
            let mut state = self.shared.state();
            state.warn(error.to_string());
            if matches!(error, Error::Failed { .. }) {
                state.failed = Some(error.clone());
                self.has_failed = true;
            }
        })?;
        (self.file, self.active) = (file, segment);
        self.bytes += segment.bytes;
        self.shared.state().segments.push_back(segment);
        Ok(())
    }

    /// Deletes segments that are released and hold no key that is remembered; those with keys, too, where `wanted` bytes more
    /// would exceed the limit.
    fn delete_released(&mut self, wanted: u64) {
        loop {
            let mut state = self.shared.state();
            let Some(oldest) = state.segments.front().copied() else { return };
            if state.segments.len() < 2 || oldest.next > state.released {
                return;
            }
            if self.keys.any_up_to(oldest.next) {
                if state.bytes() + wanted <= self.shared.options.max_bytes {
                    return;
                }
                self.keys.drop_up_to(oldest.next);
            }
            state.segments.pop_front();
            state.stats.deleted_segments += 1;
            self.bytes -= oldest.bytes;
            drop(state);
            let path = self.shared.folder.segment(oldest.first);
            // One at a time, so that a crash leaves no gap.
            let deleted = fs::remove_file(&path).map_err(|error| Error::io("delete", &path, error));
            if let Err(error) = deleted.and_then(|()| self.shared.folder.sync()) {
                let mut state = self.shared.state();
                state.warn(error.to_string());
                // It is tried again with the next batch.
                if path.exists() {
                    state.segments.push_front(oldest);
                    self.bytes += oldest.bytes;
                    state.stats.deleted_segments -= 1;
                }
                return;
            }
            self.shared.progressed();
        }
    }

    fn refuse(&self, answer: Answer, error: Error, cost: u64) {
        let mut state = self.shared.state();
        state.stats.queued_bytes -= cost;
        state.stats.failed += u64::from(!matches!(error, Error::Full { .. }));
        drop(state);
        self.shared.progressed();
        // Whoever does not wait any more need not know.
        let _ = answer.send(Err(error));
    }
}

/// Creates the segment that begins at `first`, durably.
pub(crate) fn create(folder: &Folder, first: u64, tail: &[u8]) -> Result<(File, Segment)> {
    let path = folder.segment(first);
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|error| refusal("create", &path, error))?;
    let header = segment_header(first, tail, folder.id);
    let written = (&file).write_all(&header).and_then(|()| file.sync_all());
    if let Err(error) = written.map_err(|error| refusal("write", &path, error)).and_then(|()| folder.sync()) {
        // Its name is needed when this is tried again.
        fs::remove_file(&path).map_err(|error| Error::io("delete", &path, error))?;
        return Err(error);
    }
    let header_bytes = header.len() as u64;
    Ok((file, Segment { first, next: first, bytes: header_bytes, header_bytes }))
}

fn refusal(action: &'static str, path: &Path, error: io::Error) -> Error {
    match is_no_room(&error) {
        true => Error::NoSpace { path: path.to_path_buf(), source: Arc::new(error) },
        false => Error::io(action, path, error),
    }
}

fn write_all(storage: &mut dyn Storage, file: &File, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty parts at the beginning would look like a file that takes nothing.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match storage.write(file, parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => IoSlice::advance_slices(&mut parts, bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `lines` without those at `places`, which are in order.
fn without(lines: &[u8], places: &[u32]) -> Bytes {
    let mut kept = BytesMut::with_capacity(lines.len());
    let mut places = places.iter().copied().peekable();
    let mut from = 0;
    for (place, end) in memchr_iter(b'\n', lines).enumerate() {
        if places.next_if_eq(&(place as u32)).is_none() {
            kept.extend_from_slice(&lines[from..=end]);
        }
        from = end + 1;
    }
    kept.freeze()
}

impl New {
    /// Keys, and the hash of the content.
    fn hashes(&self) -> usize {
        self.keys.len() + usize::from(self.content.is_some())
    }

    fn frame_bytes(&self) -> u64 {
        (FRAME_HEADER + self.hashes() * KEY + self.lines.len()) as u64
    }
}

/// Tells everybody that the writer has ended.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.failed.get_or_insert(Error::Closed);
        state.queue.clear();
        drop(state);
        self.0.progressed();
    }
}
