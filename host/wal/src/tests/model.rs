//! Random operations against a vector of bytes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::drain;
use crate::{Batch, Error, Keys, Options, Wal};

const WINDOW: u64 = 1000;

#[derive(Debug, Clone)]
enum Step {
    Append { lines: Vec<Vec<u8>>, keys: Option<Vec<u8>>, whole: bool },
    Read { from: usize, max_bytes: usize },
    Release { up_to: usize },
    Reopen,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let line = prop::collection::vec(prop_oneof![Just(b'a'), Just(0xf1), Just(b'L'), Just(0)], 0..200);
    let lines = prop::collection::vec((line, 0..20u8), 1..12);
    let append = (lines, any::<bool>(), any::<bool>()).prop_map(|(lines, keyed, whole)| {
        let (lines, keys): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
        Step::Append { lines, keys: keyed.then_some(keys), whole }
    });
    let step = prop_oneof![
        8 => append,
        4 => (any::<usize>(), 0..3000usize).prop_map(|(from, max_bytes)| Step::Read { from, max_bytes }),
        2 => any::<usize>().prop_map(|up_to| Step::Release { up_to }),
        1 => Just(Step::Reopen),
        2 => (0..600u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..80)
}

/// What the log should be.
#[derive(Default)]
struct Model {
    bytes: Vec<u8>,
    /// Where lines begin, and the end.
    borders: Vec<usize>,
    /// The time at which a key was appended.
    keys: HashMap<u128, u64>,
    /// What keys of batches were appended with.
    contents: HashMap<u128, u128>,
    released: usize,
}

impl Model {
    /// Appends what is new, and returns the places of what is not; nothing where a key was used with something else.
    fn append(&mut self, lines: &[Vec<u8>], keys: &Keys, now: u64) -> Option<Vec<u32>> {
        let mut duplicates = Vec::new();
        let whole = match keys {
            Keys::OfBatch { key, content } => {
                let is_new = self.is_new(*key, now);
                if is_new {
                    self.contents.insert(*key, *content);
                } else if self.contents.get(key).is_some_and(|known| known != content) {
                    return None;
                }
                is_new
            }
            _ => true,
        };
        for (place, line) in lines.iter().enumerate() {
            let is_new = match keys {
                Keys::OfRecords(keys) => self.is_new(keys[place], now),
                _ => whole,
            };
            match is_new {
                true => {
                    self.bytes.extend_from_slice(line);
                    self.bytes.push(b'\n');
                    self.borders.push(self.bytes.len());
                }
                false => duplicates.push(place as u32),
            }
        }
        Some(duplicates)
    }

    fn is_new(&mut self, key: u128, now: u64) -> bool {
        let is_new = self.keys.get(&key).is_none_or(|time| now - time >= WINDOW);
        if is_new {
            self.keys.insert(key, now);
            self.contents.remove(&key);
        }
        is_new
    }
}

fn open(folder: &Path, clock: &Arc<AtomicU64>) -> Wal {
    let clock = clock.clone();
    let options = Options {
        segment_bytes: 5000,
        max_bytes: 1 << 30,
        key_window: Duration::from_millis(WINDOW),
        ..Options::new(move || clock.load(Ordering::SeqCst))
    };
    Wal::open(folder, options).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_the_bytes_that_were_appended_and_not_released(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicU64::new(5_000));
        let mut wal = open(folder.path(), &clock);
        let mut model = Model { borders: vec![0], ..Model::default() };
        for step in steps {
            match step {
                Step::Append { lines, keys, whole } => {
                    let keys = match keys {
                        None => Keys::None,
                        Some(keys) if whole => {
                            Keys::OfBatch { key: u128::from(keys[0]) << 64, content: lines.len() as u128 % 2 }
                        }
                        Some(keys) => Keys::OfRecords(keys.into_iter().map(u128::from).collect()),
                    };
                    let before = model.bytes.len() as u64;
                    let duplicates = model.append(&lines, &keys, clock.load(Ordering::SeqCst));
                    let bytes: Vec<u8> = lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect();
                    let appended = wal.append(Batch { lines: bytes.into(), keys });
                    let Some(duplicates) = duplicates else {
                        prop_assert!(matches!(appended, Err(Error::KeyReused)));
                        continue;
                    };
                    let appended = appended.unwrap();
                    prop_assert_eq!(&appended.duplicates, &duplicates);
                    prop_assert!(appended.up_to <= model.bytes.len() as u64);
                    if duplicates.len() < lines.len() {
                        prop_assert_eq!((appended.first, appended.next), (before, model.bytes.len() as u64));
                    }
                }
                Step::Read { from, max_bytes } => {
                    // What is released may go at any moment.
                    let there: Vec<_> = model.borders.iter().filter(|at| **at >= model.released).collect();
                    let from = *there[from % there.len()];
                    let mut reader = wal.reader(from as u64).unwrap();
                    if let Some(lines) = reader.read(max_bytes, Duration::ZERO).unwrap() {
                        prop_assert_eq!(lines.first, from as u64);
                        prop_assert!(lines.data.len() <= max_bytes || memchr::memchr(b'\n', &lines.data) == Some(lines.data.len() - 1));
                        prop_assert!(model.borders.contains(&(lines.next() as usize)));
                        prop_assert!(model.bytes[from..].starts_with(&lines.data));
                    } else {
                        prop_assert_eq!(from, model.bytes.len());
                    }
                    prop_assert_eq!(&wal.tail(from as u64).unwrap()[..], &model.bytes[from.saturating_sub(1024)..from]);
                }
                Step::Release { up_to } => {
                    let up_to = model.borders[up_to % model.borders.len()];
                    model.released = model.released.max(up_to);
                    wal.release(up_to as u64);
                }
                Step::Reopen => {
                    drop(wal);
                    wal = open(folder.path(), &clock);
                    prop_assert_eq!(wal.warnings(), Vec::<String>::new());
                    wal.release(model.released as u64);
                }
                Step::Pass(time) => drop(clock.fetch_add(time, Ordering::SeqCst)),
            }
            prop_assert!(wal.first() <= model.released as u64);
            prop_assert_eq!(wal.next(), model.bytes.len() as u64);
        }
        prop_assert_eq!(&drain(&wal, model.released as u64, 1000)[..], &model.bytes[model.released..]);
    }
}
