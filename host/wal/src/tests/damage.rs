//! Files that were cut or changed: lines are never wrong, and none that later ones prove to be acknowledged is dropped silently.

use std::fs;
use std::path::{Path, PathBuf};

use super::{batch, drain, open, options};
use crate::{Error, Wal};

/// A copy of `folder` in which `change` was done to the file `name`.
fn changed(folder: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let path = copy.path().join(name);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    copy
}

/// A log of five batches, of which each was acknowledged before the next was appended, and where each ends.
fn small(folder: &Path) -> (Vec<u8>, Vec<usize>) {
    let wal = open(folder);
    let mut ends = vec![0];
    for n in 0..5 {
        ends.push(wal.append(batch(n * 2, 2)).unwrap().next as usize);
    }
    (drain(&wal, 0, 1000), ends)
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    paths.sort();
    paths
}

const FIRST: &str = "00000000000000000000.wal";

#[test]
fn a_log_cut_at_any_byte_holds_the_batches_before() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, ends) = small(folder.path());
    let size = fs::metadata(folder.path().join(FIRST)).unwrap().len() as usize;
    let frame = (size - 40) / 5;
    for length in 0..size {
        let copy = changed(folder.path(), FIRST, |bytes| bytes.truncate(length));
        let wal = open(copy.path());
        let whole = length.saturating_sub(40) / frame;
        assert_eq!(drain(&wal, 0, 1000), &lines[..ends[whole]], "{length}");
        let torn = if length < 40 { length } else { (length - 40) % frame };
        assert_eq!(wal.stats().torn_bytes, torn as u64, "{length}");
        assert_eq!(wal.warnings().len(), usize::from(torn > 0 || length == 0), "{length}");
        let appended = wal.append(batch(77, 1)).unwrap();
        assert_eq!(appended.first, ends[whole] as u64);
        drop(wal);
        assert_eq!(drain(&open(copy.path()), 0, 1000), [&lines[..ends[whole]], b"{\"n\":77}\n"].concat());
    }
}

#[test]
fn a_changed_byte_anywhere_is_an_error_or_cuts_off_the_last_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, ends) = small(folder.path());
    let size = fs::metadata(folder.path().join(FIRST)).unwrap().len() as usize;
    let last = size - (size - 40) / 5;
    for at in 0..size {
        for bit in [0x01, 0x80] {
            let copy = changed(folder.path(), FIRST, |bytes| bytes[at] ^= bit);
            match Wal::open(copy.path(), options()) {
                Ok(wal) => {
                    assert!(at >= last, "{at}");
                    assert_eq!(drain(&wal, 0, 1000), &lines[..ends[4]], "{at}");
                    assert_eq!(wal.warnings().len(), 1);
                }
                Err(Error::Damaged { path, .. }) => {
                    assert_eq!(path, copy.path().join(FIRST));
                    // The file stays as it is, for whoever repairs it.
                    assert_eq!(fs::metadata(path).unwrap().len() as usize, size);
                }
                Err(error) => panic!("{at}: {error}"),
            }
        }
    }
}

#[test]
fn a_changed_identity_is_an_error_and_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let line = fs::read(folder.path().join(".lakeport-wal")).unwrap().iter().position(|byte| *byte == b'\n').unwrap();
    for at in 0..=line {
        let copy = changed(folder.path(), ".lakeport-wal", |bytes| bytes[at] ^= 1);
        let error = Wal::open(copy.path(), options()).err().unwrap();
        assert!(matches!(error, Error::Damaged { .. }), "{at}: {error}");
        assert_eq!(fs::read(copy.path().join(FIRST)).unwrap(), fs::read(folder.path().join(FIRST)).unwrap());
    }
}

#[test]
fn damage_in_an_earlier_file_and_a_missing_file_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open(folder.path());
    (0..400).for_each(|n| drop(wal.append(batch(n * 3, 3)).unwrap()));
    drop(wal);
    let paths = segments(folder.path());
    assert!(paths.len() > 3);
    let name = |number: usize| paths[number].file_name().unwrap().to_str().unwrap();
    let size = fs::metadata(&paths[1]).unwrap().len() as usize;
    let changes: [(usize, usize); 4] = [(1, size - 1), (1, size / 2), (1, 0), (paths.len() - 1, 5)];
    for (number, length) in changes {
        if number == 1 {
            let copy = changed(folder.path(), name(number), |bytes| bytes.truncate(length));
            assert!(matches!(Wal::open(copy.path(), options()), Err(Error::Damaged { .. })), "{number} {length}");
        }
        let copy = changed(folder.path(), name(number), |bytes| bytes[length.min(size - 1)] ^= 4);
        assert!(matches!(Wal::open(copy.path(), options()), Err(Error::Damaged { .. })), "{number} {length}");
    }
    let copy = changed(folder.path(), name(1), |_| {});
    fs::remove_file(copy.path().join(name(1))).unwrap();
    let error = Wal::open(copy.path(), options()).err().unwrap();
    assert!(error.to_string().contains("a file is missing"), "{error}");
    // A reader finds what was damaged since the log was opened.
    let copy = changed(folder.path(), name(0), |_| {});
    let wal = open(copy.path());
    let mut bytes = fs::read(copy.path().join(name(2))).unwrap();
    bytes[size / 2] ^= 1;
    fs::write(copy.path().join(name(2)), bytes).unwrap();
    let mut reader = wal.reader(0).unwrap();
    let error = loop {
        match reader.read(1000, std::time::Duration::ZERO) {
            Ok(lines) => assert!(lines.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Damaged { path, .. } if path.ends_with(name(2))));
}

#[test]
fn lines_that_look_like_a_later_frame_do_not_make_a_cut_write_look_like_damage() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    small(other.path());
    let mut frames = fs::read(other.path().join(FIRST)).unwrap();
    frames.push(b'\n');
    open(folder.path()).append(crate::Batch::new(frames)).unwrap();
    let copy = changed(folder.path(), FIRST, |bytes| bytes.truncate(bytes.len() - 1));
    assert_eq!(open(copy.path()).next(), 0);
}

#[test]
fn frames_of_one_flush_that_reached_the_disk_out_of_order_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open(folder.path());
    let before = wal.append(batch(0, 1)).unwrap().next;
    drop(wal);
    let size = fs::metadata(folder.path().join(FIRST)).unwrap().len() as usize;
    let log = super::faults::Held::open(folder.path());
    let _block = log.append_blocked(&[batch(1, 1), batch(2, 1), batch(3, 1)]);
    drop(log);
    // The first of the three frames is lost, the others are there.
    let copy = changed(folder.path(), FIRST, |bytes| bytes[size..size + 60].fill(0));
    let wal = open(copy.path());
    assert_eq!((wal.next(), wal.warnings().len()), (before, 1));
}
