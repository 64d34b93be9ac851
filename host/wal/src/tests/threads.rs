//! Many callers at once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{drain, options};
use crate::{Batch, Keys, Options, Wal};

const THREADS: u64 = 32;
const EACH: u64 = 60;

/// 32 threads, and of ten batches three repeat one that another thread appends: every record is there once, where it was said to be.
#[test]
fn records_of_many_threads_with_repetitions_are_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path(), Options { max_bytes: 1 << 26, ..options() }).unwrap();
    let places: Mutex<HashMap<u64, u64>> = Mutex::default();
    thread::scope(|scope| {
        for caller in 0..THREADS {
            let (wal, places) = (&wal, &places);
            scope.spawn(move || {
                for n in 0..EACH {
                    // Its own number, or one of the next thread.
                    let owner = if n % 10 < 3 { (caller + 1) % THREADS } else { caller };
                    let numbers = [owner * EACH + n, owner * EACH + (n + 1) % EACH];
                    let lines = numbers.map(|number| format!("{number}\n")).concat();
                    let keys = Keys::OfRecords(numbers.map(u128::from).to_vec());
                    let appended = wal.append(Batch { lines: lines.into(), keys }).unwrap();
                    assert!(wal.next() >= appended.up_to);
                    let mut places = places.lock().unwrap();
                    for number in numbers {
                        let up_to = places.entry(number).or_insert(appended.up_to);
                        *up_to = appended.up_to.min(*up_to);
                    }
                }
            });
        }
    });
    let lines = String::from_utf8(drain(&wal, 0, 10_000)).unwrap();
    let mut at = 0;
    let mut places = places.into_inner().unwrap();
    for line in lines.split_inclusive('\n') {
        at += line.len() as u64;
        // Each once, and before the offset of its answer.
        assert!(places.remove(&line.trim_end().parse().unwrap()).unwrap() >= at);
    }
    assert!(places.is_empty());
    let stats = wal.stats();
    assert_eq!(stats.records + stats.duplicates, THREADS * EACH * 2);
    assert!(stats.flushes.count < stats.batches, "{stats:?}");
    assert_eq!(stats.flushes.buckets.iter().sum::<u64>(), stats.flushes.count);
}

#[test]
fn readers_at_different_places_follow_while_segments_go() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path(), Options { batch_bytes: 4096, max_bytes: 1 << 15, ..options() }).unwrap();
    let places = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        let last = 3000;
        for (own, max_bytes) in [2000, 30].into_iter().enumerate() {
            let mut reader = wal.reader(0).unwrap();
            let (wal, places) = (&wal, &places);
            scope.spawn(move || {
                let mut expected = 0;
                while expected < last {
                    match reader.read(max_bytes, Duration::from_secs(20)) {
                        Ok(lines) => {
                            let lines = lines.expect("more is appended");
                            for line in lines.data.split_inclusive(|byte| *byte == b'\n') {
                                assert_eq!(line, &super::batch(expected, 1).lines[..]);
                                expected += 1;
                            }
                            places[own].store(lines.next(), Ordering::SeqCst);
                            let slowest = places.iter().map(|place| place.load(Ordering::SeqCst)).min();
                            wal.release(slowest.unwrap());
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let wal = &wal;
        scope.spawn(move || {
            for n in 0..last {
                while !wal.wait_for_room(100, Duration::from_secs(20)) {}
                wal.append(super::batch(n, 1)).unwrap();
            }
        });
    });
    assert!(wal.stats().deleted_segments > 0);
}

#[test]
fn many_async_callers_share_few_flushes_and_no_thread_waits() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path(), Options { max_bytes: 1 << 26, ..options() }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let acks: Vec<_> = (0..1000).map(|n| wal.submit(super::keyed(n % 700)).unwrap()).collect();
        for (n, ack) in acks.into_iter().enumerate() {
            let appended = ack.await.unwrap();
            assert_eq!(appended.duplicates.len(), usize::from(n >= 700));
        }
    });
    assert_eq!((wal.stats().batches, wal.stats().duplicates), (700, 300));
    assert!(wal.stats().flushes.count < 200, "{:?}", wal.stats());
}
