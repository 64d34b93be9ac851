//! The main job into Azure's and Amazon's stores, through the real binary: once each, killed or not, and no secret in the lake.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::lake_folder::{Installation, ids_of, signal};
use crate::support::stores::{Store, visible};

const RECORDS: usize = 600;

const MODES: [(&str, &str); 3] = [
    ("rolling", "files = \"rolling\""),
    ("growing", "files = \"growing\"\nroll-size = \"20KiB\""),
    ("sealed", "files = \"sealed\"\nlateness = \"1h\""),
];

/// Three in four are.
fn is_kept(id: usize) -> bool {
    !id.is_multiple_of(4)
}

/// Over two hours, some late.
fn input() -> String {
    let line = |id: usize| {
        let line = signal(id, (id / 5 + id % 7 * 9) % 120);
        line.replace("BrewStarted", if is_kept(id) { "BrewStarted" } else { "DoorOpened" }) + "\n"
    };
    (0..RECORDS).map(line).collect()
}

fn expected(records: usize) -> BTreeMap<String, usize> {
    (0..records).filter(|id| is_kept(*id)).map(|id| (id.to_string(), 1)).collect()
}

/// An export into the lake that `lake` describes, and a key for it in the environment.
struct Job {
    installation: Installation,
    secret: &'static str,
}

impl Job {
    fn new(store: &Store, bucket: &str, mode: &str) -> Job {
        Job::with_secret(store, bucket, mode, store.secret())
    }

    fn with_secret(store: &Store, bucket: &str, mode: &str, secret: &'static str) -> Job {
        let lake = store.lake(&store.url(), bucket);
        let installation = Installation::new(&format!(
            "[lakes.main]\n{lake}\n[sources.signals]\nfiles = \"in.ndjson\"\n[exports.signals]\nsource = \"signals\"\n\
             filters = [{{ plugin = \"select\", kinds = [\"Brew*\"] }}]\n{mode}\nflush = {{ bytes = \"32KiB\" }}\n"
        ));
        Job { installation, secret }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.installation.command(arguments);
        command.env("LAKE_KEY", self.secret);
        command
    }

    fn run(&self) {
        let Output { status, stderr, .. } = self.command(&["run", "--quiet"]).output().unwrap();
        assert!(status.success() && stderr.is_empty(), "{status}: {}", String::from_utf8_lossy(&stderr));
    }
}

fn assert_no_secret(objects: &BTreeMap<String, Vec<u8>>, secret: &str) {
    assert!(objects.keys().any(|key| key.starts_with("product/_lakeport/")));
    for (key, bytes) in objects {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains(secret) && !text.contains("LAKE_KEY"), "`{key}` holds a secret, or where it is");
    }
}

/// Two runs over a growing input, then the same killed at ever later fail points.
async fn exports_exactly_once(store: &Store) {
    let input = input();
    let half: String = input.lines().take(RECORDS / 2).map(|line| format!("{line}\n")).collect();
    for (name, mode) in MODES {
        let bucket = format!("exports-{name}");
        let job = Job::new(store, &bucket, mode);
        job.installation.write("in.ndjson", &half);
        job.run();
        assert_eq!(ids_of(visible(&store.objects(&bucket).await)), expected(RECORDS / 2), "{name}, first half");
        job.installation.write("in.ndjson", &input);
        job.run();
        let found = store.objects(&bucket).await;
        assert_eq!(ids_of(visible(&found)), expected(RECORDS), "{name}");
        assert!(visible(&found).keys().all(|key| key.starts_with("signals/2019/09/10/1")), "{:?}", found.keys());
        assert_no_secret(&found, store.secret());
        job.run();
        assert_eq!(visible(&store.objects(&bucket).await), visible(&found), "{name}: nothing new, nothing changed");

        let mut kills = 0;
        for passage in [1, 3, 6, 10, 15, 21, 28, 36, 45] {
            let bucket = format!("exports-{name}-{passage}");
            let job = Job::new(store, &bucket, mode);
            job.installation.write("in.ndjson", &input);
            let mut command = job.command(&["run", "--quiet"]);
            let status = command.env("LAKEPORT_FAIL_POINT", format!("*:{passage}")).output().unwrap().status;
            if status.signal() != Some(libc::SIGKILL) {
                assert!(status.success(), "{name}, passage {passage}: {status}");
                break;
            }
            kills += 1;
            job.run();
            let found = store.objects(&bucket).await;
            assert_eq!(ids_of(visible(&found)), expected(RECORDS), "{name}, killed at passage {passage}");
            let staged: Vec<_> = found.keys().filter(|key| key.contains("/stage/")).collect();
            assert!(staged.is_empty(), "{name}, killed at passage {passage}: {staged:?}");
        }
        assert!(kills >= 5, "{name}: {kills} kills only");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_into_azure() {
    exports_exactly_once(&Store::azure()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_into_s3() {
    exports_exactly_once(&Store::s3()).await;
}

#[test]
fn status_and_dead_letters_are_read_from_a_store_and_no_log_line_has_the_key() {
    let store = Store::azure();
    let job = Job::new(&store, "exports", "");
    job.installation.write("in.ndjson", input() + "no signal\n");
    let mut printed = Vec::new();
    for arguments in [
        &["run", "--log", "json"][..],
        &["run"],
        &["status"],
        &["status", "--json"],
        &["dead-letters", "--json"],
        &["check"],
    ] {
        let output = job.command(arguments).env("LAKEPORT_LOG", "trace").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        printed.push(String::from_utf8(output.stdout).unwrap());
        printed.push(String::from_utf8(output.stderr).unwrap());
    }
    let status: Value = serde_json::from_str(&printed[6]).unwrap();
    assert_eq!(status["exports"][0]["records"], expected(RECORDS).len());
    assert_eq!(status["exports"][0]["dead-letters"], 1);
    let letter: Value = serde_json::from_str(&printed[8]).unwrap();
    assert_eq!(letter["record"], "no signal");
    for text in printed {
        assert!(!text.contains(store.secret()) && !text.contains("SharedKey"), "{text}");
    }
}

#[test]
fn a_wrong_key_is_refused_with_what_to_do_and_is_not_shown() {
    const WRONG: &str = "dGhpcy1pcy1ub3QtdGhlLWtleQ==";
    let store = Store::azure();
    let job = Job::with_secret(&store, "exports", "", WRONG);
    job.installation.write("in.ndjson", input());
    let output = job.command(&["run", "--quiet"]).env("LAKEPORT_LOG", "trace").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("help: check the credential"), "{stderr}");
    assert!(!stderr.contains(WRONG) && !stderr.contains("this-is-not-the-key"), "{stderr}");
}
