//! Appending, reading, opening again, releasing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{batch, drain, open, options};
use crate::{Error, Keys, Options, Pending, Wal};

#[test]
fn lines_are_read_as_they_were_appended_also_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open(folder.path());
    let mut expected = Vec::new();
    for n in 0..500 {
        let batch = batch(n * 7, 7);
        let appended = wal.append(batch.clone()).unwrap();
        assert_eq!(
            (appended.first, appended.next),
            (expected.len() as u64, (expected.len() + batch.lines.len()) as u64)
        );
        expected.extend_from_slice(&batch.lines);
    }
    assert!(wal.stats().segments > 5);
    for max_bytes in [1, 50, 1000, 1 << 20] {
        assert_eq!(drain(&wal, 0, max_bytes), expected);
    }
    let id = wal.id();
    drop(wal);
    let wal = open(folder.path());
    assert_eq!((wal.id(), wal.next(), wal.warnings()), (id, expected.len() as u64, Vec::new()));
    wal.append(batch(0, 1)).unwrap();
    expected.extend_from_slice(&batch(0, 1).lines);
    for (at, _) in expected.iter().enumerate().filter(|(_, byte)| **byte == b'\n').step_by(37) {
        assert_eq!(drain(&wal, at as u64 + 1, 300), &expected[at + 1..]);
        let at = at + 1;
        assert_eq!(wal.tail(at as u64).unwrap(), &expected[at.saturating_sub(1024)..at]);
        assert!(matches!(wal.reader(at as u64 - 1), Err(Error::NotALine { .. })));
    }
    assert!(matches!(wal.reader(expected.len() as u64 + 1), Err(Error::Beyond { .. })));
}

#[test]
fn released_segments_are_deleted_and_asking_for_them_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open(folder.path());
    let mut expected = Vec::new();
    for n in 0..500 {
        wal.append(batch(n * 7, 7)).unwrap();
        expected.extend_from_slice(&batch(n * 7, 7).lines);
    }
    wal.release(wal.next());
    wal.append(batch(0, 1)).unwrap();
    expected.extend_from_slice(&batch(0, 1).lines);
    assert_eq!(wal.stats().segments, 1);
    assert!(wal.first() > 0);
    assert!(matches!(wal.reader(0), Err(Error::Released { asked: 0, .. })));
    let first = wal.first();
    let check = |wal: &Wal| {
        assert_eq!(drain(wal, first, 300), &expected[first as usize..]);
        assert_eq!(wal.tail(first).unwrap(), &expected[first as usize - 1024..first as usize]);
        assert_eq!(wal.tail(wal.next()).unwrap(), &expected[expected.len() - 1024..]);
    };
    check(&wal);
    drop(wal);
    check(&open(folder.path()));
}

#[test]
fn a_full_log_refuses_until_something_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path(), crate::Options { batch_bytes: 4096, max_bytes: 12 << 10, ..options() }).unwrap();
    let mut refused = 0;
    for n in 0..2000 {
        match wal.append(batch(n, 5)) {
            Ok(_) => {}
            Err(Error::Full { held, bytes, limit }) => {
                assert!(held + bytes > limit && limit == 12 << 10);
                assert!(!wal.wait_for_room(2000, Duration::ZERO));
                refused += 1;
                wal.release(wal.next());
                assert!(wal.wait_for_room(100, Duration::from_secs(10)));
                wal.append(batch(n, 5)).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(wal.stats().bytes <= 12 << 10);
    }
    assert!(refused > 3 && wal.stats().full == refused);
}

#[test]
fn records_with_remembered_keys_are_not_appended_again() {
    let folder = tempfile::tempdir().unwrap();
    let keyed =
        |from: usize, keys: &[u128]| crate::Batch { keys: Keys::OfRecords(keys.to_vec()), ..batch(from, keys.len()) };
    let wal = open(folder.path());
    let first = wal.append(keyed(0, &[1, 2, 1])).unwrap();
    assert_eq!((first.duplicates.as_slice(), first.next), (&[2][..], 16));
    let second = wal.append(keyed(5, &[2, 3])).unwrap();
    assert_eq!((second.duplicates.as_slice(), second.first, second.next, second.up_to), (&[0][..], 16, 24, 24));
    let whole = crate::Batch { keys: Keys::OfBatch { key: 9, content: 1 }, ..batch(7, 2) };
    assert_eq!(wal.append(whole.clone()).unwrap().next, 40);
    drop(wal);
    let wal = open(folder.path());
    let again = wal.append(whole).unwrap();
    assert_eq!((again.first, again.next, again.up_to, again.duplicates), (40, 40, 40, vec![0, 1]));
    let again = wal.append(keyed(0, &[1, 2])).unwrap();
    assert_eq!((again.first, again.up_to), (16, 16));
    assert_eq!(drain(&wal, 0, 100), b"{\"n\":0}\n{\"n\":1}\n{\"n\":6}\n{\"n\":7}\n{\"n\":8}\n");
    assert_eq!((wal.stats().keys, wal.stats().duplicates), (4, 4));
}

#[test]
fn a_key_that_was_used_with_other_content_is_refused_for_as_long_as_it_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicU64::new(5_000));
    let open = || {
        let clock = clock.clone();
        let options =
            Options { key_window: Duration::from_secs(1), ..Options::new(move || clock.load(Ordering::SeqCst)) };
        Wal::open(folder.path(), options).unwrap()
    };
    let with = |key, content, n| crate::Batch { keys: Keys::OfBatch { key, content }, ..batch(n, 1) };
    let wal = open();
    // Both are in the queue at the same time: one is taken, and the other is told.
    let answers = wal.shared().submit_all(&[with(1, 10, 1), with(1, 11, 2), with(1, 10, 1)]);
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect();
    assert!(
        matches!(&answers[..], [Ok(_), Err(Error::KeyReused), Ok(again)] if again.duplicates == [0]),
        "{answers:?}"
    );
    // The key of a record, as earlier versions kept those of batches: without a hash.
    wal.append(crate::Batch { keys: Keys::OfRecords(vec![2]), ..batch(3, 1) }).unwrap();
    drop(wal);
    let wal = open();
    assert!(matches!(wal.append(with(1, 11, 2)), Err(Error::KeyReused)));
    assert_eq!(wal.append(with(1, 10, 1)).unwrap().duplicates, [0]);
    assert_eq!(wal.append(with(2, 12, 3)).unwrap().duplicates, [0]);
    clock.store(6_000, Ordering::SeqCst);
    assert_eq!(wal.append(with(1, 11, 4)).unwrap().duplicates, []);
    drop(wal);
    let wal = open();
    assert!(matches!(wal.append(with(1, 10, 1)), Err(Error::KeyReused)));
    assert_eq!(drain(&wal, 0, 100), [batch(1, 1), batch(3, 1), batch(4, 1)].map(|batch| batch.lines).concat());
}

#[test]
fn a_log_has_one_user_and_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/log");
    let wal = open(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(matches!(Wal::open(&path, options()), Err(Error::InUse { .. })));
    drop(wal);
    // Others' files in it stay, and are not read.
    fs::write(path.join("00000000000000000000.wal.bak"), "x").unwrap();
    fs::create_dir(path.join("00000000000000009999.wal")).unwrap();
    drop(open(&path));
    let error = Wal::open(folder.path(), options()).err().unwrap();
    assert!(matches!(&error, Error::NotALog { name, .. } if name == "deep"), "{error}");
}

#[test]
fn a_reader_follows() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open(folder.path());
    let mut reader = wal.reader(0).unwrap();
    assert_eq!(reader.read(100, Duration::from_millis(1)).unwrap(), None);
    let appender = wal.clone();
    let thread = std::thread::spawn(move || (0..300).for_each(|n| drop(appender.append(batch(n, 3)).unwrap())));
    let mut all = Vec::new();
    while !all.ends_with(b"{\"n\":301}\n") {
        all.extend_from_slice(&reader.read(500, Duration::from_secs(10)).unwrap().unwrap().data);
    }
    thread.join().unwrap();
    let expected: Vec<u8> = (0..300).flat_map(|n| batch(n, 3).lines.to_vec()).collect();
    assert_eq!(all, expected);
}

#[test]
fn what_was_released_can_be_held_again_while_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open(folder.path());
    let next = wal.append(batch(0, 3)).unwrap().next;
    wal.release(next);
    wal.hold();
    let released = wal.shared().state().released;
    assert_eq!((released, wal.first()), (0, 0));
    assert_eq!(drain(&wal, 0, 100), batch(0, 3).lines);
}

#[test]
fn the_bytes_of_a_log_are_known_whoever_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    assert_eq!(crate::bytes_in(folder.path()), None);
    let wal = open(&log);
    assert_eq!(crate::bytes_in(&log), Some(0));
    wal.append(batch(0, 1)).unwrap();
    let one = crate::bytes_in(&log).unwrap();
    assert!(one > batch(0, 1).lines.len() as u64, "{one}");
    drop(wal);
    assert_eq!(crate::bytes_in(&log), Some(one));
    // A file that was being made has no header yet.
    fs::write(log.join("00000000000000000008.wal"), "x").unwrap();
    assert_eq!(crate::bytes_in(&log), Some(one));
}

#[test]
fn what_is_not_released_is_counted_without_opening_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let pending = |records, bytes| Pending { records, bytes };
    assert_eq!(crate::pending(&path).unwrap(), Pending::default());
    let wal = open(&path);
    // Many segments; ten lines of ten bytes a batch.
    for n in 0..100 {
        wal.append(batch(100 + n * 10, 10)).unwrap();
    }
    assert!(wal.stats().segments > 2);
    let all = wal.next();
    assert_eq!(crate::pending(&path).unwrap(), pending(1000, all));
    // Within a batch.
    let released = 10 * 150;
    wal.release(released);
    drop(wal);
    assert_eq!(crate::pending(&path).unwrap(), pending(850, all - released));
    // The end of a write that was cut is no line.
    let last = crate::folder::segments(&path).unwrap().pop().unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(crate::folder::segment(&path, last)).unwrap();
    std::io::Write::write_all(&mut file, b"torn").unwrap();
    assert_eq!(crate::pending(&path).unwrap().records, 850);
    let wal = open(&path);
    wal.release(all);
    drop(wal);
    assert_eq!(crate::pending(&path).unwrap(), Pending::default());
    // A note that cannot be read: everything that is there counts.
    fs::write(path.join("released"), "x").unwrap();
    assert!(crate::pending(&path).unwrap().records > 0);
    fs::write(folder.path().join(".lakeport-wal"), "").unwrap();
    assert_eq!(crate::pending(folder.path()).unwrap(), Pending::default());
}
