//! Writes and flushes that fail, wait, or are seen before they are done.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::{batch, drain, keyed, open, options};
use crate::storage::{FileSystem, Storage};
use crate::{Ack, Batch, Error, Options, Wal};

/// What becomes of the next write or flush.
enum Fault {
    /// So many bytes are written, the next write fails with this.
    Write(usize, i32),
    Flush(i32),
}

#[derive(Clone, Default)]
struct Faulty(Arc<Mutex<VecDeque<Fault>>>);

impl Storage for Faulty {
    fn write(&mut self, file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut faults = self.0.lock().unwrap();
        match faults.front_mut() {
            Some(Fault::Write(0, error)) => {
                let error = io::Error::from_raw_os_error(*error);
                faults.pop_front();
                Err(error)
            }
            Some(Fault::Write(left, _)) => {
                let part = parts.iter().find(|part| !part.is_empty()).unwrap();
                let bytes = part.len().min(*left);
                *left -= bytes;
                FileSystem.write(file, &[IoSlice::new(&part[..bytes])])
            }
            _ => FileSystem.write(file, parts),
        }
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        match self.0.lock().unwrap().pop_front() {
            Some(Fault::Flush(error)) => Err(io::Error::from_raw_os_error(error)),
            _ => FileSystem.sync(file),
        }
    }
}

fn faulty(folder: &Path) -> (Wal, impl Fn(Fault)) {
    let faults = Faulty::default();
    let wal = Wal::open_on(folder, options(), Box::new(faults.clone())).unwrap();
    (wal, move |fault| faults.0.lock().unwrap().push_back(fault))
}

#[test]
fn a_full_disk_refuses_a_batch_at_any_byte_and_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (wal, fail) = faulty(folder.path());
    let mut expected = Vec::new();
    for bytes in 0..93 {
        fail(Fault::Write(bytes, [libc::ENOSPC, libc::EDQUOT, libc::EFBIG][bytes % 3]));
        let error = wal.append(keyed(bytes)).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }) && error.is_temporary(), "{error}");
        assert_eq!(wal.next(), expected.len() as u64);
        // Its key is not taken for that of a batch in the log.
        assert!(wal.append(keyed(bytes)).unwrap().duplicates.is_empty());
        expected.extend_from_slice(&keyed(bytes).lines);
    }
    // Each error is told once for each of three segments.
    assert_eq!((wal.stats().failed, wal.warnings().len()), (93, 9));
    assert_eq!(drain(&wal, 0, 100), expected);
    drop(wal);
    let wal = open(folder.path());
    assert_eq!((wal.warnings(), drain(&wal, 0, 100)), (Vec::new(), expected));
}

#[test]
fn after_a_failed_write_or_flush_the_log_takes_nothing_until_it_is_opened_again() {
    for fault in [Fault::Write(30, libc::EIO), Fault::Flush(libc::EIO), Fault::Flush(libc::ENOSPC)] {
        let folder = tempfile::tempdir().unwrap();
        let (wal, fail) = faulty(folder.path());
        wal.append(keyed(1)).unwrap();
        fail(fault);
        assert!(matches!(wal.append(keyed(2)), Err(Error::Failed { .. })));
        assert!(matches!(wal.append(keyed(3)), Err(Error::Failed { .. })));
        assert!(wal.failure().is_some() && !wal.wait_for_room(1, Duration::from_secs(10)));
        // What is durable can be read.
        assert_eq!(drain(&wal, 0, 100), &keyed(1).lines[..]);
        drop(wal);
        let wal = open(folder.path());
        assert_eq!(drain(&wal, 0, 100), &keyed(1).lines[..]);
        assert_eq!(wal.append(keyed(1)).unwrap().duplicates, [0]);
        assert!(wal.append(keyed(2)).unwrap().duplicates.is_empty());
    }
}

/// A log whose flushes wait.
pub(super) struct Held {
    pub(super) wal: Wal,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Default)]
struct Gate {
    /// Flushes that may happen.
    open: bool,
    waiting: bool,
}

struct Gated(Arc<(Mutex<Gate>, Condvar)>);

impl Storage for Gated {
    fn write(&mut self, file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        FileSystem.write(file, parts)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        let mut gate = self.0.0.lock().unwrap();
        gate.waiting = true;
        self.0.1.notify_all();
        drop(self.0.1.wait_while(gate, |gate| !gate.open).unwrap());
        FileSystem.sync(file)
    }
}

impl Held {
    pub(super) fn open(folder: &Path) -> Held {
        Held::open_with(folder, options())
    }

    fn open_with(folder: &Path, options: Options) -> Held {
        let gate = Arc::default();
        let wal = Wal::open_on(folder, options, Box::new(Gated(Arc::clone(&gate)))).unwrap();
        Held { wal, gate }
    }

    /// Submits `batches` as one group, and waits until it is written and not flushed.
    pub(super) fn append_blocked(&self, batches: &[Batch]) -> Vec<Ack> {
        let acks = self.wal.shared().submit_all(batches).into_iter().map(Ack).collect();
        let gate = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(gate, |gate| !gate.waiting).unwrap());
        acks
    }

    fn let_go(&self) {
        self.gate.0.lock().unwrap().open = true;
        self.gate.1.notify_all();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[test]
fn lines_are_seen_and_acknowledged_only_once_they_are_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let log = Held::open(folder.path());
    let mut reader = log.wal.reader(0).unwrap();
    let acks = log.append_blocked(&[keyed(1), keyed(2), keyed(1)]);
    let size = fs::metadata(folder.path().join("00000000000000000000.wal")).unwrap().len();
    assert!(size > 100, "it is written");
    assert_eq!((log.wal.next(), reader.read(100, Duration::from_millis(50)).unwrap()), (0, None));
    assert!(!log.wal.wait_for(0, Duration::ZERO));
    assert!(log.wal.stats().queued_bytes > 0);
    log.let_go();
    let answers: Vec<_> = acks.into_iter().map(|ack| ack.wait().unwrap()).collect();
    // The same key twice in flight: appended once, and both are answered when it is durable.
    assert_eq!((answers[0].up_to, answers[2].up_to), (8, 8));
    assert_eq!((answers[0].duplicates.len(), answers[2].duplicates.len()), (0, 1));
    assert_eq!(&reader.read(100, Duration::ZERO).unwrap().unwrap().data[..], b"{\"n\":1}\n{\"n\":2}\n");
    assert_eq!((log.wal.stats().queued_bytes, log.wal.stats().flushes.count), (0, 1));
}

#[test]
fn a_full_queue_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let log = Held::open_with(folder.path(), Options { queue_bytes: 100, ..options() });
    let first = log.append_blocked(&[batch(0, 10)]);
    let second = log.wal.submit(batch(0, 2)).unwrap();
    let error = log.wal.submit(batch(0, 2)).unwrap_err();
    assert!(matches!(error, Error::Busy { queued: 96, bytes: 16, limit: 100 }), "{error}");
    assert!(!log.wal.wait_for_room(16, Duration::ZERO));
    log.let_go();
    assert!(log.wal.wait_for_room(16, Duration::from_secs(10)));
    first.into_iter().chain([second]).for_each(|ack| drop(ack.wait().unwrap()));
    assert_eq!(log.wal.stats().busy, 1);
}

#[test]
fn batches_that_are_not_lines_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open(folder.path());
    let keys = crate::Keys::OfRecords(vec![1]);
    for bad in [Batch::new(""), Batch::new("{}"), Batch::new("{}\n{"), Batch { keys, ..batch(0, 2) }] {
        assert!(matches!(wal.append(bad), Err(Error::Batch(_))));
    }
    assert!(matches!(wal.append(Batch::new(vec![b'\n'; (1 << 16) + 1])), Err(Error::TooLarge { .. })));
    wal.append(Batch::new(vec![b'\n'; 1 << 16])).unwrap();
    assert_eq!(wal.next(), 1 << 16);
}

/// With a limit of the operating system on the size of a file.
#[test]
fn the_largest_size_of_a_file_refuses_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap '' XFSZ; ulimit -f 4; exec \"$0\" --exact tests::faults::fill --ignored";
    let child = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("LAKEPORT_WAL_FOLDER", folder.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
    let wal = open(folder.path());
    let lines = drain(&wal, 0, 1000);
    assert_eq!((wal.warnings(), lines.len() as u64), (Vec::new(), wal.next()));
    assert!(lines.len() > 500 && wal.stats().bytes <= 4096, "{}", lines.len());
}

#[test]
#[ignore = "a process of the_largest_size_of_a_file_refuses_and_nothing_is_lost"]
fn fill() {
    let Some(folder) = std::env::var_os("LAKEPORT_WAL_FOLDER") else { return };
    let wal = Wal::open(folder, Options { segment_bytes: 1 << 16, ..options() }).unwrap();
    let mut appended = 0;
    let refused = (0..100).filter(|n| match wal.append(batch(*n, 9)) {
        Ok(done) => {
            appended = done.next;
            false
        }
        Err(Error::NoSpace { .. }) => true,
        Err(error) => panic!("{error}"),
    });
    assert!(refused.count() > 10);
    assert_eq!(wal.next(), appended);
}

#[test]
fn a_key_of_a_batch_that_could_not_be_written_is_free_for_other_content() {
    let folder = tempfile::tempdir().unwrap();
    let (wal, fail) = faulty(folder.path());
    fail(Fault::Write(3, libc::ENOSPC));
    let with = |content, n| Batch { keys: crate::Keys::OfBatch { key: 1, content }, ..batch(n, 1) };
    let answers = wal.shared().submit_all(&[with(10, 1), with(11, 2)]);
    for answer in answers {
        assert!(matches!(answer.blocking_recv().unwrap(), Err(Error::NoSpace { .. })));
    }
    assert_eq!(wal.append(with(11, 2)).unwrap().duplicates, []);
    assert_eq!(drain(&wal, 0, 100), &batch(2, 1).lines[..]);
}
