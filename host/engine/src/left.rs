//! Write-ahead logs that hold records while a server works without logs.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lakeport::error::{Error, Result};
use lakeport::plan::Plan;
use lakeport::telemetry::human;
use lakeport_wal::{Pending, pending};

/// A log with records that are not in the lake.
#[derive(Debug)]
struct Left {
    folder: PathBuf,
    pending: Pending,
    /// Why it could not be read, where so.
    unreadable: Option<String>,
}

impl Left {
    /// The logs in `folder` that hold records.
    ///
    /// # Errors
    /// Of kind `Source`: the folder cannot be listed.
    fn find(folder: &Path) -> Result<Vec<Left>> {
        let failed = |error: std::io::Error| Error::source(format!("cannot list `{}`: {error}", folder.display()));
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut left = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if !path.is_dir() {
                continue;
            }
            let (pending, unreadable) = match pending(&path) {
                Ok(pending) => (pending, None),
                Err(error) => (Pending::default(), Some(error.to_string())),
            };
            if pending.records > 0 || unreadable.is_some() {
                left.push(Left { folder: path, pending, unreadable });
            }
        }
        left.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(left)
    }

    /// What the log holds.
    fn holds(&self) -> String {
        match &self.unreadable {
            Some(error) => format!("cannot be read ({error})"),
            None => {
                format!("holds {} records ({})", human::count(self.pending.records), human::bytes(self.pending.bytes))
            }
        }
    }
}

/// Refuses to work without logs while there are some that hold records.
///
/// # Errors
/// Of kind `Config`, with what to do; of kind `Source`.
pub fn refuse_left(plan: &Plan) -> Result<()> {
    let left = Left::find(&plan.server.log)?;
    let Some(first) = left.first() else { return Ok(()) };
    let others = match left.len() {
        1 => String::new(),
        more => format!(", as do {} others", more - 1),
    };
    let message = format!(
        "`server.acknowledge` is `lake`, and the write-ahead log `{}` {} that may not be in the lake{others}",
        first.folder.display(),
        first.holds()
    );
    Err(Error::config(message).with_help(
        "`lakeport run` exports what the logs hold; or set `acknowledge = \"log\"` again; or move the folder away to give it up",
    ))
}

#[cfg(test)]
mod tests {
    use lakeport_wal::{Batch, Options, Wal};

    use super::*;

    #[test]
    fn logs_with_records_are_found() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Left::find(&folder.path().join("none")).unwrap().is_empty());
        for (source, records) in [("a", 2), ("b", 0), ("c", 1)] {
            let wal = Wal::open(folder.path().join(source), Options::new(|| 1_000)).unwrap();
            (0..records).for_each(|_| drop(wal.append(Batch::new("{}\n")).unwrap()));
        }
        std::fs::create_dir(folder.path().join("other")).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let found = Left::find(folder.path()).unwrap();
        let found: Vec<_> = found.iter().map(|left| (left.folder.file_name().unwrap(), left.pending.records)).collect();
        assert_eq!(found, [("a".as_ref(), 2), ("c".as_ref(), 1)]);
        let damaged = folder.path().join("c/00000000000000000000.wal");
        std::fs::rename(&damaged, folder.path().join("c/00000000000000000009.wal")).unwrap();
        std::fs::write(folder.path().join("c/.lakeport-wal"), "x").unwrap();
        let left = Left::find(folder.path()).unwrap();
        assert!(left[1].holds().contains("cannot be read"), "{left:?}");
    }
}
