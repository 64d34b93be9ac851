//! Recognises an exported file in its copy: one that was compressed, or copied before it was truncated.
//!
//! Equal contents alone make no copy: two files may well hold the same. A copy has a name that a rotation gives to the original,
//! begins with what was exported and has the same bytes before the place where that ended, and the original is not there any
//! more: it is gone, truncated, or another file.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::known::{HEAD, is_same, path_of};
use crate::source::Cursor;

/// A file's name, as rotations change it: `app.log.1`, `app.1.log`, `app-20260301.log.gz`.
#[derive(Debug, PartialEq, Eq)]
pub struct Rotated<'n> {
    folder: &'n str,
    /// What they leave as it is, without the extension.
    pub base: &'n str,
    extension: &'n str,
    turn: Turn<'n>,
    is_compressed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn<'n> {
    None,
    Number(u32),
    Date(&'n str),
}

impl<'n> Rotated<'n> {
    /// What the last part of the path `name` says.
    pub fn of(name: &'n str) -> Rotated<'n> {
        let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
        let plain = [".gz", ".zst", ".zstd"].iter().find_map(|ending| name.strip_suffix(ending));
        let (is_compressed, name) = (plain.is_some(), plain.unwrap_or(name));
        // The turn is behind the extension or before it.
        let (rest, behind) = without_turn(name);
        let (stem, extension) = without_extension(rest);
        let (base, turn) = if behind == Turn::None { without_turn(stem) } else { (stem, behind) };
        Rotated { folder, base, extension, turn, is_compressed }
    }

    /// Whether a rotation may have made this of a file that was `original`, of which at least `exported` bytes tell it from others.
    /// `is_taken` tells whether the original's name is that of another file now, where that matters.
    pub fn may_be_of(&self, original: &Rotated<'_>, exported: u64, is_taken: impl FnOnce() -> bool) -> bool {
        let is_much = exported >= 2 * HEAD as u64;
        // Small files of two folders may well be equal.
        (self.base, self.extension) == (original.base, original.extension)
            && (self.folder == original.folder || is_much && is_near(self.folder, original.folder))
            && match (original.turn, self.turn) {
                (Turn::None, Turn::None) => self.is_compressed != original.is_compressed,
                (Turn::None, _) => true,
                (Turn::Number(before), Turn::Number(now)) if before == now => self.is_compressed,
                // Its number rose as well, and the next one has its name. Else small files of two turns may be equal.
                (Turn::Number(before), Turn::Number(now)) => {
                    self.is_compressed && before + 1 == now && (is_much || is_taken())
                }
                (Turn::Date(before), Turn::Date(now)) => before == now && self.is_compressed,
                _ => false,
            }
    }
}

/// A name without the number or the date at its end.
fn without_turn(name: &str) -> (&str, Turn<'_>) {
    let is_of_date = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'T' | b':' | b'.');
    let at = name.len() - name.bytes().rev().take_while(is_of_date).count();
    let digits = name[at..].bytes().filter(u8::is_ascii_digit).count();
    if digits >= 6 && !name[at..].starts_with(|c: char| c.is_ascii_digit()) {
        return (&name[..at], Turn::Date(&name[at + 1..]));
    }
    match name.rfind('.').map(|at| (at, name[at + 1..].parse())) {
        Some((at, Ok(number))) if name.len() - at <= 4 => (&name[..at], Turn::Number(number)),
        _ => (name, Turn::None),
    }
}

/// A name and what kind of file it says it is: short, and letters.
fn without_extension(name: &str) -> (&str, &str) {
    match name.rsplit_once('.') {
        Some((stem, extension))
            if !stem.is_empty() && extension.len() <= 8 && extension.bytes().all(|byte| byte.is_ascii_alphabetic()) =>
        {
            (stem, extension)
        }
        _ => (name, ""),
    }
}

/// Whether one folder holds the other, or both are in the same one: where rotations move what they made (`olddir`).
fn is_near(a: &str, b: &str) -> bool {
    let parent = |folder: &'_ str| folder.rfind('/').map(|at| folder[..at].to_owned());
    let (above_a, above_b) = (parent(a), parent(b));
    above_a.as_deref() == Some(b) || above_b.as_deref() == Some(a) || above_a.is_some() && above_a == above_b
}

/// Whether the file of `cursor` is where it was and holds what was exported of it.
pub fn stands(cursor: &Cursor) -> bool {
    stands_at(&path_of(&cursor.origin.name), cursor)
}

/// Whether the file of `cursor` is at `path` and holds what was exported of it. The inode alone says little: that of a file which is
/// gone is soon another's.
pub fn stands_at(path: &Path, cursor: &Cursor) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    if metadata.ino() != cursor.origin.inode {
        return false;
    }
    // A compressed one has other offsets.
    let is_plain = !Rotated::of(&cursor.origin.name).is_compressed;
    let Ok(file) = File::open(path) else { return true };
    let mut head = vec![0; cursor.origin.hashed as usize];
    let is_read = |bytes: &mut [u8], at| file.read_exact_at(bytes, at).is_ok();
    if !is_plain {
        return true;
    }
    if metadata.size() < cursor.next || !is_read(&mut head, 0) || !is_same(&cursor.origin, &head) {
        return false;
    }
    let Some(tail) = &cursor.tail else { return true };
    let mut last = vec![0; tail.hashed as usize];
    is_read(&mut last, cursor.next - u64::from(tail.hashed)) && tail.is_of(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_gives_numbers_and_dates() {
        let related =
            |original: &str, name: &str| Rotated::of(name).may_be_of(&Rotated::of(original), 1 << 20, || false);
        for (original, name) in [
            ("/a/app.log", "/a/app.log.1"),
            ("/a/app.log", "/old/app.log.2.gz"),
            ("/a/app.log", "/a/old/app.log.2.gz"),
            ("/a/live/app.log", "/a/app.log.1"),
            ("/a/app.log", "/a/app.log-20260301"),
            ("/a/app.log", "/a/app.log-2026-03-01T10.gz"),
            ("/a/app.log", "/a/app.log.gz"),
            ("/a/app.log", "/a/app.1.log"),
            ("/a/app.1.log", "/a/app.2.log.gz"),
            ("/a/app.log", "/a/app-20260301.log"),
            ("/a/app.log", "/a/app-2026-03-01.0.log.gz"),
            ("/a/app-2026-03-01.0.log", "/a/app-2026-03-01.0.log.gz"),
            ("/a/app.log.1", "/a/app.log.1.zst"),
            ("/a/app.log.1", "/a/app.log.2.gz"),
            ("/a/app.log-20260301", "/a/app.log-20260301.gz"),
            ("/a/10.ndjson", "/a/10.ndjson.gz"),
        ] {
            assert!(related(original, name), "{original} {name}");
        }
        for (original, name) in [
            ("/a/app.log", "/b/app.log"),
            ("/a/h1/app.log", "/b/h2/app.log.1"),
            ("/a/h1/app.log", "/a/archive/2026/app.log.1"),
            ("/a/app.log", "/a/other.log.1"),
            ("/a/app.log", "/a/app.txt.1"),
            ("/a/app.log", "/a/app.1.txt"),
            ("/a/app-20260301.log", "/a/app-20260302.log.gz"),
            ("/a/app.log.1", "/a/app.log"),
            ("/a/app.log.1", "/a/app.log.2"),
            ("/a/app.log.2", "/a/app.log.1.gz"),
            ("/a/app.log-20260301", "/a/app.log-20260302.gz"),
            ("/a/10.ndjson", "/a/11.ndjson"),
            ("/a/10.ndjson", "/a/11.ndjson.gz"),
        ] {
            assert!(!related(original, name), "{original} {name}");
        }
        let is_related = |is_taken| Rotated::of("a.2.gz").may_be_of(&Rotated::of("a.1"), 100, || is_taken);
        assert!(is_related(true) && !is_related(false), "small files may be equal");
        let is_elsewhere =
            |exported| Rotated::of("/b/app.log.1").may_be_of(&Rotated::of("/a/app.log"), exported, || false);
        assert!(is_elsewhere(1 << 20) && !is_elsewhere(100), "as those of two hosts");
    }
}
