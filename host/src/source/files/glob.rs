//! Finds the files that a pattern matches.
//!
//! The `glob` crate matches names; walking the folders is done here, since `**` must not follow links: two links to a folder
//! above them make paths without end.

use std::fs;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::list::Found;
use crate::error::{Error, Result};

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// What a name between two slashes has to be.
enum Name {
    /// Any folders, none included: `**`.
    Folders,
    Is(String),
    Matches(Pattern),
}

/// Adds the files that the absolute path `pattern` matches; returns how many there are.
///
/// # Errors
/// Of kind `Source`: a pattern that is none, a folder that cannot be read.
pub fn matching(pattern: &str, found: &mut Found<'_>) -> Result<usize> {
    Pattern::new(pattern).map_err(|error| {
        Error::source(format!("`{pattern}` is no glob: {} at character {}", error.msg, error.pos + 1))
    })?;
    let mut names: Vec<Name> = pattern.split('/').filter(|name| !name.is_empty()).map(name).collect();
    names.dedup_by(|next, before| matches!((next, before), (Name::Folders, Name::Folders)));
    if matches!(names.last(), Some(Name::Folders)) {
        names.push(Name::Matches(Pattern::new("*").expect("a pattern")));
    }
    let before = found.files.len();
    let mut folders = vec![(PathBuf::from("/"), &names[..])];
    let mut matched = 0;
    while let Some((folder, names)) = folders.pop() {
        let Some((first, rest)) = names.split_first() else { continue };
        match first {
            Name::Is(name) => matched += step(folder.join(name), rest, &mut folders, found)?,
            Name::Matches(pattern) => {
                for entry in found.entries(&folder)? {
                    // A name that is not UTF-8 is compared as far as it is.
                    if pattern.matches_with(&entry.file_name().to_string_lossy(), OPTIONS) {
                        matched += step(entry.path(), rest, &mut folders, found)?;
                    }
                }
            }
            Name::Folders => {
                for entry in found.entries(&folder)? {
                    let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                    if !is_hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        folders.push((entry.path(), names));
                    }
                }
                folders.push((folder, rest));
            }
        }
    }
    Ok(matched.max(found.files.len() - before))
}

/// Goes on below `path`, or adds it where nothing is left to match.
fn step<'n>(
    path: PathBuf,
    rest: &'n [Name],
    folders: &mut Vec<(PathBuf, &'n [Name])>,
    found: &mut Found<'_>,
) -> Result<usize> {
    if !rest.is_empty() {
        if is_folder(&path) {
            folders.push((path, rest));
        }
        return Ok(0);
    }
    if is_folder(&path) || fs::symlink_metadata(&path).is_err() {
        return Ok(0);
    }
    found.add_found(&path)?;
    Ok(1)
}

fn is_folder(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn name(pattern: &str) -> Name {
    match literal(pattern) {
        _ if pattern == "**" => Name::Folders,
        Some(name) => Name::Is(name),
        None => Name::Matches(Pattern::new(pattern).expect("a part of a pattern is one")),
    }
}

/// The only name that `pattern` matches, where there is just one: escaped characters such as `[*]` are themselves.
fn literal(pattern: &str) -> Option<String> {
    let mut name = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        match next {
            '*' | '?' => return None,
            '[' => {
                name.push(rest.next().filter(|only| *only != '!')?);
                rest.next().filter(|close| *close == ']')?;
            }
            _ => name.push(next),
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_escaped_characters_is_a_name() {
        for (pattern, name) in [("a.b", Some("a.b")), ("[[]prod[]] x", Some("[prod] x")), ("a[*]b[?]", Some("a*b?"))] {
            assert_eq!(literal(pattern).as_deref(), name, "{pattern}");
        }
        for pattern in ["*", "a?", "[ab]", "[!a]", "[[]x*"] {
            assert_eq!(literal(pattern), None, "{pattern}");
        }
        assert_eq!(literal(&Pattern::escape("[]*?!a")).as_deref(), Some("[]*?!a"));
    }
}
