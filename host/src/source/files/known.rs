//! How far each file was exported, and recognising it again.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::copies::Rotated;
use crate::source::{Cursor, Extent, Origin, Position, RecentIds};

/// A file's first bytes are looked at up to here; those of an Avro container file up to its header's end, where that is later.
pub const HEAD: usize = 1024;

/// The cursors of a position, by what a file is recognised by.
pub struct Known {
    by_name: HashMap<Arc<str>, Cursor>,
    /// Inode numbers are unique in one file system only, and are given again.
    by_inode: HashMap<u64, Vec<Cursor>>,
}

/// What a file is, seen from what was exported before.
#[derive(Debug, PartialEq, Eq)]
pub enum Recognised {
    /// Nothing of it was exported.
    New,
    /// It goes on here, if the bytes before that are those which were exported.
    At(Cursor),
    /// Something else was exported under this name; the sentence says how that shows.
    Replaced(String),
}

/// The hash of some bytes, as an [`Origin`] holds it.
pub fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

/// Whether a file that begins with `head` is what `origin` was.
pub fn is_same(origin: &Origin, head: &[u8]) -> bool {
    head.get(..origin.hashed as usize).is_some_and(|first| hash(first) == origin.hash)
}

/// The name of the file at `path`: the path, where that is UTF-8; else with every byte that is not, and `%`, percent-encoded, and a
/// further `/` before it, which tells it from a file whose name has these characters.
pub fn name_of(path: &Path) -> Arc<str> {
    if let Some(name) = path.to_str() {
        return name.into();
    }
    let mut name = String::from("/");
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        name.push_str(&chunk.valid().replace('%', "%25"));
        chunk.invalid().iter().for_each(|byte| name.push_str(&format!("%{byte:02X}")));
    }
    name.into()
}

/// The path of the file that [`name_of`] names.
pub fn path_of(name: &str) -> PathBuf {
    // Two slashes are before an encoded name only, or before a path that was configured so.
    match name.strip_prefix('/').filter(|rest| rest.starts_with('/')).map(decoded) {
        Some(bytes) if std::str::from_utf8(&bytes).is_err() => OsString::from_vec(bytes).into(),
        _ => name.into(),
    }
}

/// Replaces every `%` and the two hexadecimal digits behind it by the byte that they stand for.
fn decoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes
}

/// Says that a file does not hold what was exported under its name.
pub fn replaced(name: &str, next: u64) -> String {
    format!(
        "`{name}` is no longer what was exported up to byte {next}: it was truncated or replaced, and is read from its start"
    )
}

impl Known {
    pub fn new(position: &Position) -> Self {
        let mut known = Known { by_name: HashMap::new(), by_inode: HashMap::new() };
        position.cursors.iter().for_each(|cursor| known.insert(cursor.clone()));
        known
    }

    /// Moves on past `extent`, as [`Position::advance`] does.
    pub fn advance(&mut self, extent: &Extent) {
        if let Some(before) = &extent.ends
            && let Some(cursors) = self.by_inode.get_mut(&extent.origin.inode)
        {
            cursors.retain(|cursor| cursor.origin.name != *before);
        }
        self.insert(Cursor::after(extent, RecentIds::default()));
    }

    /// How far the file of this name, inode and first bytes was exported under this name. `size`: its length, where that counts
    /// in the same bytes as a cursor. `elsewhere`: whether the file of a cursor is known to be at some other path now.
    pub fn recognise(
        &self,
        name: &str,
        inode: u64,
        head: &[u8],
        size: Option<u64>,
        elsewhere: impl Fn(&Cursor) -> bool,
    ) -> Recognised {
        let Some(cursor) = self.by_name.get(name) else {
            return Recognised::New;
        };
        if cursor.origin.inode != inode && elsewhere(cursor) {
            return Recognised::New;
        }
        if size.is_some_and(|size| size < cursor.next) || !is_same(&cursor.origin, head) {
            return Recognised::Replaced(replaced(name, cursor.next));
        }
        Recognised::At(cursor.clone())
    }

    /// The cursors that a file may have which now has `name`, and was exported under another one: the newest first.
    pub fn renamed(&self, name: &str, inode: u64) -> impl Iterator<Item = &Cursor> {
        let in_place = self.by_name.get(name).is_some_and(|known| known.origin.inode == inode);
        let cursors = self.by_inode.get(&inode).filter(|_| !in_place).into_iter().flatten().rev();
        cursors.filter(move |cursor| cursor.origin.name.as_ref() != name && cursor.next > 0)
    }

    /// The newest cursor of this name.
    pub fn cursor(&self, name: &str) -> Option<&Cursor> {
        self.by_name.get(name)
    }

    /// All cursors, by what rotations leave of their files' names.
    pub fn by_base(&self) -> HashMap<&str, Vec<&Cursor>> {
        let mut cursors: HashMap<&str, Vec<&Cursor>> = HashMap::new();
        for cursor in self.by_name.values().chain(self.by_inode.values().flatten()).filter(|cursor| cursor.next > 0) {
            cursors.entry(Rotated::of(&cursor.origin.name).base).or_default().push(cursor);
        }
        cursors
    }

    /// The file of this name was read to its end and left: what has its name now is something new.
    pub fn forget(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    fn insert(&mut self, cursor: Cursor) {
        if cursor.origin.inode != 0 {
            let cursors = self.by_inode.entry(cursor.origin.inode).or_default();
            cursors.retain(|known| known.origin.name != cursor.origin.name);
            cursors.push(cursor.clone());
        }
        self.by_name.insert(cursor.origin.name.clone(), cursor);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_name_leads_back_to_its_path() {
        for path in [&b"/in/a"[..], b"/in/%FF", b"/in/\xff%25", b"//in/a%FF", b"/in/\xc3\xa4\xc3", b"/in/%"] {
            let path = Path::new(OsStr::from_bytes(path));
            let name = name_of(path);
            // Of `//in/a%FF` the name is that of another file.
            let is_ambiguous = path.as_os_str() == "//in/a%FF";
            assert_eq!(path_of(&name) == path, !is_ambiguous, "{path:?} {name}");
        }
    }
}
