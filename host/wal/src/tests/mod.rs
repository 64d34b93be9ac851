//! What a log promises.

mod basic;
mod damage;
mod faults;
mod kill;
mod model;
mod threads;

use std::path::Path;
use std::time::Duration;

use crate::{Batch, Keys, Options, Wal};

/// A log with small segments.
fn options() -> Options {
    Options { segment_bytes: 4096, batch_bytes: 1 << 16, max_bytes: 1 << 20, ..Options::new(|| 1_000_000) }
}

fn open(folder: &Path) -> Wal {
    Wal::open(folder, options()).unwrap()
}

/// All lines from `from` on, read in pieces of up to `max_bytes`.
fn drain(wal: &Wal, from: u64, max_bytes: usize) -> Vec<u8> {
    let mut reader = wal.reader(from).unwrap();
    let mut all = Vec::new();
    while let Some(lines) = reader.read(max_bytes, Duration::ZERO).unwrap() {
        assert_eq!(lines.first, from + all.len() as u64);
        assert_eq!(lines.data.last(), Some(&b'\n'));
        all.extend_from_slice(&lines.data);
    }
    all
}

/// `lines` numbered lines from `from` on.
fn batch(from: usize, lines: usize) -> Batch {
    Batch::new((from..from + lines).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>())
}

/// One numbered line with the key `n`.
fn keyed(n: usize) -> Batch {
    Batch { keys: Keys::OfBatch { key: n as u128, content: 0 }, ..batch(n, 1) }
}
