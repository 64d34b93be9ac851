//! The folder that an import fills: files are written into a folder of their own inside it, and moved once all was found right.
//!
//! An import that fails leaves everything as it was: replaced files come back, and what was new goes, folders too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lakeport::error::{Error, Result};

/// Files on their way into a folder; what is left of them goes when this goes.
pub struct Staged {
    /// Where the files lie for now.
    pub folder: PathBuf,
    /// Inside the folder they go into, so that no move crosses file systems.
    root: PathBuf,
    into: PathBuf,
    /// What was replaced could not be put back, and lies in `root`.
    keep: bool,
    made: Made,
}

impl Staged {
    /// Makes `into`, where it is not there, and a place in it.
    pub fn make(into: &Path) -> Result<Staged> {
        let root = into.join(format!(".import-{}", std::process::id()));
        let mut made = Made::default();
        let making = made.folder(into).and_then(|()| fs::create_dir(&root));
        making.map_err(|error| unwritable(&root, &error))?;
        Ok(Staged { folder: root.join("new"), root, into: into.to_owned(), keep: false, made })
    }

    /// Writes a file that is to go to `path`.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let path = self.folder.join(path);
        let parent = path.parent().unwrap_or(&self.folder);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, content));
        written.map_err(|error| unwritable(&path, &error))
    }

    /// Moves files to their places, in this order: all of them or none.
    pub fn publish(&mut self, places: &[&PathBuf]) -> Result<()> {
        let mut moves = Vec::new();
        let moving = places.iter().enumerate().try_for_each(|(number, place)| {
            self.place(number, place, &mut moves).map_err(|error| unwritable(&self.into.join(place), &error))
        });
        let Err(error) = moving else { return Ok(()) };
        for (from, to) in moves.iter().rev() {
            self.keep |= fs::rename(to, from).is_err();
        }
        Err(match self.keep {
            true => error.with_help(format!("put back what was replaced: it lies in `{}`", self.root.display())),
            false => error,
        })
    }

    /// Moves one file, and notes each move.
    fn place(&mut self, number: usize, place: &Path, moves: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
        let to = self.into.join(place);
        if to.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        self.made.folder(to.parent().unwrap_or(&self.into))?;
        let mut rename = |from: PathBuf, to: PathBuf| {
            fs::rename(&from, &to)?;
            moves.push((from, to));
            Ok(())
        };
        if fs::symlink_metadata(&to).is_ok() {
            rename(to.clone(), self.root.join(format!("replaced-{number}")))?;
        }
        rename(self.folder.join(place), to)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.keep {
            // What is left is of no use to anyone.
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// Folders that were not there, outermost first. Those that are empty in the end go.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => self.0.push(folder.to_owned()),
                // As a path with `..` finds, or somebody else made it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        match path.is_dir() {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // One that has something in it stays.
            let _ = fs::remove_dir(folder);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::config(format!("cannot write `{}`: {}", path.display(), error.to_string().to_lowercase()))
        .with_help("name a folder that may be written with `--into`")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file and folder below `folder`, with the files' content.
    fn all(folder: &Path) -> Vec<(PathBuf, Option<String>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push((path.clone(), fs::read_to_string(&path).ok()));
            if path.is_dir() {
                found.extend(all(&path));
            }
        }
        found.sort();
        found
    }

    fn publish(into: &Path, places: &[&str]) -> Result<()> {
        let mut staged = Staged::make(into)?;
        let places: Vec<_> = places.iter().map(PathBuf::from).collect();
        places.iter().try_for_each(|place| staged.write(place, b"new"))?;
        staged.publish(&places.iter().collect::<Vec<_>>())
    }

    #[test]
    fn all_files_are_put_in_place_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("into");
        fs::create_dir_all(into.join("taken")).unwrap();
        fs::write(into.join("a"), "old").unwrap();
        std::os::unix::fs::symlink("nowhere", into.join("b")).unwrap();
        let before = all(folder.path());
        for last in ["taken", "a/c"] {
            let error = publish(&into, &["deep/er/file", "a", "b", last]).unwrap_err();
            assert!(error.message.starts_with("cannot write"), "{error}");
            assert_eq!(all(folder.path()), before, "{last}");
            assert!(fs::symlink_metadata(into.join("b")).unwrap().is_symlink());
        }
        publish(&into, &["deep/er/file", "a", "b"]).unwrap();
        assert_eq!(all(folder.path()).iter().filter(|(_, text)| text.as_deref() == Some("new")).count(), 3);
        assert_eq!(all(&into).len(), 6, "nothing else is left: {:?}", all(&into));
    }

    #[test]
    fn a_folder_that_was_made_for_nothing_goes() {
        let folder = tempfile::tempdir().unwrap();
        drop(Staged::make(&folder.path().join("a/b/../c")).unwrap());
        assert_eq!(all(folder.path()), []);
    }

    #[test]
    fn a_folder_on_another_file_system_is_filled_through_a_link() {
        let (here, elsewhere) = (tempfile::tempdir().unwrap(), Path::new("/dev/shm"));
        // Where there is no second file system, a link to the first one shows as much as can be shown.
        let there = if elsewhere.is_dir() { tempfile::tempdir_in(elsewhere) } else { tempfile::tempdir() }.unwrap();
        std::os::unix::fs::symlink(there.path(), here.path().join("into")).unwrap();
        publish(&here.path().join("into"), &["x/a"]).unwrap();
        assert_eq!(fs::read_to_string(there.path().join("x/a")).unwrap(), "new");
        assert_eq!(all(there.path()).len(), 2);
    }
}
