//! The log folder of a local lake: who may read it, and what is left in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use crate::support::lake_folder::{Installation, signal, signals};

/// The mode of everything below a folder, itself included, by path.
fn modes(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![(folder.to_owned(), folder.metadata().unwrap().permissions().mode() & 0o777)];
    if folder.is_dir() {
        for entry in fs::read_dir(folder).unwrap() {
            found.extend(modes(&entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn raw_data_is_for_its_owner_only_and_published_files_get_the_umask() {
    for (number, files) in ["growing", "rolling", "sealed"].into_iter().enumerate() {
        let installation = Installation::exporting("in.ndjson", &format!("files = \"{files}\""));
        let refused = |bytes: usize| format!("{{\"refused\": \"{}\"}}\n", "x".repeat(bytes));
        let mut lines = signals(10);
        for bytes in [10, 100_000] {
            lines += &refused(bytes);
            installation.write("in.ndjson", &lines);
            lines += &signal(10 + bytes, 1);
            lines += "\n";
            let mut command = installation.command(&["run"]);
            // SAFETY: sets the mask of the child; touches no memory.
            let command = unsafe {
                command.pre_exec(|| {
                    libc::umask(0o027);
                    Ok(())
                })
            };
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        for (path, mode) in modes(&installation.lake().join("_lakeport")) {
            let private = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, private, "{}", path.display());
        }
        assert_eq!(installation.dead_letters().len(), 2);
        assert!(number == 2 || !installation.files().is_empty());
        for (path, _) in installation.files() {
            let file = installation.lake().join(path);
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640, "{}", file.display());
            let folder = file.parent().unwrap();
            assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o750, "{}", folder.display());
        }
    }
}

#[test]
fn published_commits_leave_no_folders_behind() {
    let installation = Installation::exporting("in.ndjson", "");
    for count in [10, 11, 12] {
        let more: String = (10..count).map(|id| signal(id, 0) + "\n").collect();
        installation.write("in.ndjson", signals(10) + &more);
        installation.run_ok(&["run"]);
    }
    assert!(!installation.lake().join("_lakeport/signals/0/stage").exists());
}

#[test]
fn an_export_may_be_named_as_a_folder_of_the_log() {
    for name in ["tmp", "probe", "plugins", "again"] {
        let installation =
            Installation::new(&format!("[sources.s]\nfiles = \"in.ndjson\"\n[exports.{name}]\nsource = \"s\"\n"));
        installation.write("in.ndjson", signals(10));
        installation.run_ok(&["run"]);
        let folder = fs::File::open(installation.lake().join("_lakeport").join(name).join("0")).unwrap();
        folder.set_modified(std::time::UNIX_EPOCH).unwrap();
        installation.write("in.ndjson", signals(10) + &signal(10, 0) + "\n");
        installation.run_ok(&["run"]);
        installation.run_ok(&["run", "--again", name, "--yes"]);
        assert_eq!(installation.ids().len(), 11, "{name}");
    }
}
