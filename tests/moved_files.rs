//! Somebody moves or edits a growing file at every step of an export: each record stays or comes once, their file is left as it
//! is, and no run fails.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::lake_folder::{Installation, every_id, ids_of, signal};
use crate::support::process::{Following, wait_until};
use crate::support::soak::stride;
use crate::support::stores::{Store, below_lake, visible};

/// In one hour, and so in one file.
fn input(count: usize) -> String {
    (0..count).map(|id| signal(id, id % 60) + "\n").collect()
}

/// The growing files of an export; blocks of Avro end with the marker that their file's header has.
const FORMATS: [&str; 2] = [
    "files = \"growing\"",
    concat!(
        "files = \"growing\"\nformat = { plugin = \"avro\", codec = \"deflate\" }\ngranularity = \"hour\"\n",
        "timestamp = \"event\"\npath = \"{export}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\""
    ),
];

/// What somebody does to the last part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Move,
    Edit,
}

/// An installation, and what somebody has taken from its lake or left there.
struct Scene {
    installation: Installation,
    /// What the deeds made, by path.
    moved: Vec<PathBuf>,
    edited: BTreeMap<String, Vec<u8>>,
}

impl Scene {
    /// One whose first half is exported.
    fn new(format: &str) -> Self {
        let installation = Installation::exporting("in.ndjson", format);
        installation.write("in.ndjson", input(10));
        installation.run_ok(&["run", "--quiet"]);
        installation.write("in.ndjson", input(20));
        Scene { installation, moved: Vec::new(), edited: BTreeMap::new() }
    }

    fn do_to_last_part(&mut self, deed: Deed) {
        let Some(last) = self.installation.files().into_keys().next_back() else { return };
        let path = self.installation.lake().join(&last);
        match deed {
            Deed::Move => {
                let extension = path.extension().unwrap().to_owned();
                let to = self.installation.path().join(format!("moved-{}", self.moved.len())).with_extension(extension);
                fs::rename(&path, &to).unwrap();
                self.moved.push(to);
            }
            Deed::Edit => {
                // As an editor does it: a new file in the place of the old one, with all of its records once more.
                let bytes = fs::read(&path).unwrap();
                let bytes = match last.ends_with(".avro") {
                    true => [&bytes[..], b"\n"].concat(),
                    false => [b"\n", &bytes[..]].concat(),
                };
                fs::remove_file(&path).unwrap();
                fs::write(&path, &bytes).unwrap();
                self.edited.insert(last, bytes);
            }
        }
    }

    /// Runs and is killed at a fail point; false where it was not passed.
    fn is_killed_at(&self, point: &str) -> bool {
        let mut command = self.installation.command(&["run", "--quiet"]);
        let status = command.env("LAKEPORT_FAIL_POINT", point).output().unwrap().status;
        assert!(status.success() || status.signal() == Some(libc::SIGKILL), "{point}: {status}");
        !status.success()
    }

    fn assert_complete(&self, what: &str) {
        for _ in 0..2 {
            self.installation.run_ok(&["run", "--quiet"]);
        }
        let mut files = self.installation.files();
        for (path, bytes) in &self.edited {
            assert!(files.get(path) == Some(bytes), "`{path}` was changed, {what}");
            // The records of an Avro file are those before what was added.
            if path.ends_with(".avro") {
                files.insert(path.clone(), bytes[..bytes.len() - 1].to_vec());
            }
        }
        for path in &self.moved {
            files.insert(path.display().to_string(), fs::read(path).unwrap());
        }
        assert_eq!(ids_of(files), every_id(20), "{what}");
        let staged: Vec<_> = self.installation.log().into_keys().filter(|path| path.contains("/stage/")).collect();
        assert_eq!(staged, [""; 0], "left over, {what}");
    }
}

#[test]
fn a_file_that_is_moved_or_edited_between_runs_goes_on_as_the_next_part() {
    for format in FORMATS {
        for deed in [Deed::Move, Deed::Edit] {
            let mut scene = Scene::new(format);
            scene.do_to_last_part(deed);
            let output = scene.installation.run(&["run"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && said.contains("was moved or edited by someone"), "{said}");
            scene.assert_complete(&format!("{deed:?}"));
            let parts: Vec<_> = scene.installation.files().into_keys().collect();
            assert!(parts.iter().any(|path| path.contains("/01.")), "{parts:?}");
        }
    }
}

#[test]
fn a_file_that_is_moved_or_edited_after_a_kill_at_any_fail_point_goes_on_as_the_next_part() {
    let mut kills = 0;
    for format in FORMATS {
        for deed in [Deed::Move, Deed::Edit] {
            for passage in (1..).step_by(stride(3)) {
                let mut scene = Scene::new(format);
                if !scene.is_killed_at(&format!("*:{passage}")) {
                    break;
                }
                kills += 1;
                scene.do_to_last_part(deed);
                scene.assert_complete(&format!("{deed:?} after passage {passage} of {format}"));
            }
        }
    }
    assert!(kills >= 80 / stride(3), "{kills} kills only");
}

#[test]
fn what_is_committed_and_lost_its_file_is_published_once_however_often_the_recovery_is_killed() {
    for format in FORMATS {
        for deed in [Deed::Move, Deed::Edit] {
            let mut kills = 0;
            for passage in (1..).step_by(stride(3)) {
                let mut scene = Scene::new(format);
                assert!(scene.is_killed_at("create-commit:2"));
                scene.do_to_last_part(deed);
                if !scene.is_killed_at(&format!("*:{passage}")) {
                    break;
                }
                kills += 1;
                scene.assert_complete(&format!("{deed:?}, recovery killed at passage {passage} of {format}"));
            }
            assert!(kills >= 10 / stride(3), "{kills} kills only");
        }
    }
}

#[test]
fn files_of_others_at_the_keys_of_next_parts_are_left_alone() {
    for files in ["growing", "rolling", "sealed"] {
        let installation = Installation::exporting("in.ndjson", &format!("files = \"{files}\""));
        installation.write("in.ndjson", input(10));
        let theirs = ["00", "01", "05"].map(|part| format!("lake/signals/2019/09/10/11/{part}.ndjson"));
        // A period that the log does not know is looked up: only what comes in between is in the way.
        let mut command = installation.command(&["run", "--quiet"]);
        let status = command.env("LAKEPORT_FAIL_POINT", "create-commit:2").output().unwrap().status;
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        theirs.iter().for_each(|path| installation.write(path, "theirs\n"));
        let output = installation.run(&["run"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains("06.ndjson"), "{said}");
        let mut found = installation.files();
        for path in &theirs {
            assert_eq!(found.remove(path.strip_prefix("lake/").unwrap()).unwrap(), b"theirs\n");
        }
        assert_eq!(ids_of(found), every_id(10), "{files}");
        installation.write("in.ndjson", input(20));
        installation.run_ok(&["run"]);
        let found = installation.files().into_iter().filter(|(_, bytes)| bytes != b"theirs\n").collect();
        assert_eq!(ids_of(found), every_id(20), "{files}");
    }
}

#[test]
fn a_log_of_version_1_is_continued() {
    let installation = Installation::exporting("in.ndjson", "");
    installation.write("in.ndjson", input(10));
    installation.run_ok(&["run", "--quiet"]);
    for (path, bytes) in installation.log() {
        if !path.contains("/log/") {
            continue;
        }
        let mut entry: Value = serde_json::from_slice(&bytes).unwrap();
        entry["version"] = 1.into();
        for object in entry["objects"].as_array_mut().into_iter().flatten() {
            object["publication"] = serde_json::json!({ "over": null });
        }
        for series in entry["series"].as_object_mut().into_iter().flat_map(|series| series.values_mut()) {
            series["tail"].as_object_mut().unwrap().remove("header");
        }
        installation.write(&format!("lake/{path}"), entry.to_string());
    }
    installation.write("in.ndjson", input(20));
    installation.run_ok(&["run", "--quiet"]);
    assert_eq!(installation.ids(), every_id(20));
    assert_eq!(installation.files().len(), 1, "the file grew");
    assert_eq!(installation.last_commit("signals")["version"], 2);
}

#[test]
fn a_follower_goes_on_while_its_files_are_moved_away() {
    const RECORDS: usize = 30_000;
    const STEPS: usize = 12;
    let installation = Installation::exporting("in.ndjson", "flush = { every = \"30ms\" }");
    installation.write("in.ndjson", "");
    let lines: Vec<String> = input(RECORDS).lines().map(|line| format!("{line}\n")).collect();
    let append = |lines: &[String]| {
        let mut file = fs::OpenOptions::new().append(true).open(installation.path().join("in.ndjson")).unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
    };
    let following = Following::start(&installation);
    let mut moved = BTreeMap::new();
    for lines in lines.chunks(RECORDS / STEPS) {
        append(lines);
        wait_until("something is exported", || !installation.files().is_empty());
        for path in installation.files().into_keys() {
            let to = installation.path().join(format!("moved-{}.ndjson", moved.len()));
            fs::rename(installation.lake().join(&path), &to).unwrap();
            moved.insert(to.display().to_string(), fs::read(&to).unwrap());
        }
    }
    let all = || {
        let mut files = installation.files();
        files.extend(moved.clone());
        ids_of(files)
    };
    wait_until("everything is exported", || all().len() == RECORDS);
    let output = following.end(libc::SIGINT);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    installation.run_ok(&["run", "--quiet"]);
    assert!(moved.len() >= STEPS && all() == every_id(RECORDS), "{} files were moved", moved.len());
}

/// An export into a store, of which the first half is there.
struct Far<'a> {
    installation: Installation,
    store: &'a Store,
    bucket: String,
    /// How many records there are.
    records: usize,
    /// What somebody edited, by key.
    edited: BTreeMap<String, Vec<u8>>,
}

impl<'a> Far<'a> {
    fn new(store: &'a Store, bucket: String, format: &str) -> Self {
        let lake = store.lake(&store.url(), &bucket);
        let installation = Installation::new(&format!(
            "[lakes.main]\n{lake}\n[sources.signals]\nfiles = \"in.ndjson\"\n[exports.signals]\nsource = \"signals\"\n{format}\n"
        ));
        let far = Far { installation, store, bucket, records: 20, edited: BTreeMap::new() };
        far.installation.write("in.ndjson", input(10));
        far.run();
        far.installation.write("in.ndjson", input(far.records));
        far
    }

    fn command(&self) -> Command {
        let mut command = self.installation.command(&["run", "--quiet"]);
        command.env("LAKE_KEY", self.store.secret());
        command
    }

    fn run(&self) {
        let output = self.command().output().unwrap();
        assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }

    fn kill_at(&self, point: &str) {
        let status = self.command().env("LAKEPORT_FAIL_POINT", point).output().unwrap().status;
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{point}: {status}");
    }

    async fn do_to_last_part(&mut self, deed: Deed) {
        let files = visible(&self.store.objects(&self.bucket).await);
        let (last, bytes) = files.into_iter().next_back().unwrap();
        match deed {
            Deed::Move => {
                self.store.replace(&self.bucket, &format!("moved/{last}"), Some(bytes)).await;
                self.store.replace(&self.bucket, &last, None).await;
            }
            Deed::Edit => {
                let bytes = [&bytes[..], signal(19, 0).replace("\"19\"", "\"mine\"").as_bytes(), b"\n"].concat();
                self.store.replace(&self.bucket, &last, Some(bytes.clone())).await;
                self.edited.insert(last, bytes);
            }
        }
    }

    async fn assert_complete(&self, what: &str) {
        self.run();
        self.run();
        let objects = self.store.objects(&self.bucket).await;
        let files = visible(&objects);
        let mut expected = every_id(self.records);
        for (path, bytes) in &self.edited {
            assert!(files.get(path) == Some(bytes), "`{path}` was changed, {what}");
            expected.insert("mine".to_owned(), 1);
        }
        assert_eq!(ids_of(files), expected, "{what}");
        let staged: Vec<_> = objects.keys().filter(|key| key.contains("/stage/")).collect();
        assert!(staged.is_empty(), "left over, {what}: {staged:?}");
    }
}

/// Fail points before a file is published, and after what was staged for it is deleted, which is the very next request: a file that
/// is moved in between is published once more.
const DECIDABLE: [&str; 10] = [
    "stage:1",
    "staged:1",
    "create-commit:1",
    "create-commit:2",
    "publish:1",
    "publish-object:1",
    "publish:2",
    "acknowledge:1",
    "discard:1",
    "discard:2",
];

async fn goes_on_in_a_store(store: &Store) {
    let mut number = 0;
    let mut place = || {
        number += 1;
        format!("moved-{number}")
    };
    for deed in [Deed::Move, Deed::Edit] {
        for point in DECIDABLE {
            let mut far = Far::new(store, place(), FORMATS[0]);
            far.kill_at(point);
            far.do_to_last_part(deed).await;
            far.assert_complete(&format!("{deed:?} after {point}")).await;
        }
        for point in ["publish-next:1", "published-next:1", "publish:2", "sweep-orphans:1", "sweep-orphans:2"] {
            let mut far = Far::new(store, place(), FORMATS[0]);
            far.kill_at("create-commit:2");
            far.do_to_last_part(deed).await;
            far.kill_at(point);
            far.assert_complete(&format!("{deed:?}, recovery killed at {point}")).await;
        }
    }
    // Somebody added to a file that was published, before what was staged for it was deleted: it was published all the same.
    let mut far = Far::new(store, place(), FORMATS[0]);
    far.kill_at("published-object:1");
    far.do_to_last_part(Deed::Edit).await;
    far.assert_complete("edited between publication and clean-up").await;
    // A consumer takes what is published while the rest of the commit is not, and then the process dies.
    for files in ["growing", "rolling"] {
        let mut far = Far::new(store, place(), &format!("files = \"{files}\"\ngranularity = \"minute\""));
        far.records = 60;
        far.installation.write("in.ndjson", input(far.records));
        far.kill_at("publish-object:40");
        let found = below_lake(store.objects(&far.bucket).await);
        let commit = found.iter().rfind(|(key, _)| key.contains("/log/")).unwrap().1;
        let commit: Value = serde_json::from_slice(commit).unwrap();
        let all = commit["objects"].as_array().unwrap();
        let is_taken = |object: &&Value| {
            let has = |key: &Value| found.contains_key(key.as_str().unwrap());
            has(&object["key"]) && !has(&object["content"]["staged"])
        };
        let taken: Vec<_> = all.iter().filter(is_taken).map(|object| object["key"].as_str().unwrap()).collect();
        // Sixteen are on their way at a time.
        assert!(taken.len() >= 5 && taken.len() < all.len(), "{} of {} files", taken.len(), all.len());
        for key in taken {
            store.replace(&far.bucket, &format!("moved/{key}"), Some(found[key].clone())).await;
            store.replace(&far.bucket, key, None).await;
        }
        far.assert_complete(&format!("taken while others of the commit, {files}, were published")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_moved_or_edited_in_azure_goes_on_as_the_next_part() {
    goes_on_in_a_store(&Store::azure()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_moved_or_edited_in_s3_goes_on_as_the_next_part() {
    goes_on_in_a_store(&Store::s3()).await;
}
