//! Stores that are away for a while: no response is lost, nothing is written twice, and whoever waits says so.

use std::io::Write;
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lakeport::lake::{Created, Lake, Publish, Staged, Version};
use lakeport::plan::{AzureCredential, LakePlan, Location, S3Credential};
use serde_json::Value;

use crate::support::lake_folder::{Installation, ids_of, signals};
use crate::support::process::{self, wait_until};
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::{AZURITE_ACCOUNT, AZURITE_KEY, Server};
use crate::support::stores::{Store, visible};

fn plan(location: Location, retry_for: u64) -> LakePlan {
    let retry_for = Duration::from_secs(retry_for);
    LakePlan { name: "main".into(), location, log_folder: "_lakeport".into(), retry_for }
}

fn azure(proxy: &Proxy) -> Location {
    Location::Azure {
        account: AZURITE_ACCOUNT.into(),
        container: "exports".into(),
        prefix: "product".into(),
        endpoint: Some(format!("{}/{AZURITE_ACCOUNT}", proxy.url())),
        credential: AzureCredential::AccountKey(AZURITE_KEY.into()),
    }
}

fn s3(proxy: &Proxy) -> Location {
    Location::S3 {
        bucket: "exports".into(),
        prefix: "product".into(),
        region: "eu-central-1".into(),
        endpoint: Some(proxy.url()),
        credential: S3Credential::Keys { id: "test".into(), secret: "SECRET".into(), session_token: None },
    }
}

async fn staged(lake: &Lake, key: &str, bytes: &'static [u8]) -> Staged {
    let mut staging = lake.stage(key).await.unwrap();
    staging.write(bytes.into()).await.unwrap();
    staging.finish().await.unwrap()
}

async fn over(lake: &Lake, from: &str, staged: &Staged, expected: Option<&Version>) -> Version {
    match lake.publish_over(from, staged, "grows", expected).await.unwrap() {
        Publish::Published(version) => version,
        other => panic!("{other:?}"),
    }
}

/// Every conditional request of a lake takes effect, and its response is lost.
async fn loses_every_conditional_response(proxy: &Proxy, location: Location, copy: &'static str) {
    let lake = Lake::open(&plan(location, 60)).await.unwrap();
    let lost = |method, header| proxy.set(Mode::LoseResponse { method, header });
    let (one, two) = (staged(&lake, "s/1", b"one").await, staged(&lake, "s/2", b"one two").await);

    lost("PUT", "if-none-match");
    assert_eq!(lake.create("slot", "mine".into()).await.unwrap(), Created::Exists, "by this very call");
    assert_eq!(lake.get("slot").await.unwrap().unwrap().bytes, "mine");
    lost("PUT", "if-none-match");
    let first = over(&lake, "s/1", &one, None).await;
    lost("PUT", "if-match");
    let second = over(&lake, "s/2", &two, Some(&first)).await;
    assert_ne!(first, second);
    assert_eq!(lake.get("grows").await.unwrap().unwrap().bytes, "one two");
    lost("PUT", copy);
    let published = lake.publish_new("s/1", &one, "new").await.unwrap();
    assert!(matches!(published, Publish::Published(_)), "{published:?}");
    assert_eq!(lake.get("new").await.unwrap().unwrap().bytes, "one");
    assert_eq!(proxy.hits(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_response_of_azure_loses_and_doubles_nothing() {
    let server = Server::azurite();
    let proxy = Proxy::before(&server.url());
    loses_every_conditional_response(&proxy, azure(&proxy), "x-ms-copy-source").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_response_of_s3_loses_and_doubles_nothing() {
    let server = Server::moto();
    let proxy = Proxy::before(&server.url());
    loses_every_conditional_response(&proxy, s3(&proxy), "x-amz-copy-source").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_parts_survives_an_outage_and_a_lost_completion() {
    let server = Server::moto();
    let proxy = Proxy::before(&server.url());
    let lake = Lake::open(&plan(s3(&proxy), 60)).await.unwrap();
    let bytes = bytes::Bytes::from((0..20 << 20).map(|at: u32| (at >> 8) as u8).collect::<Vec<_>>());
    let mut staging = lake.stage("s/large").await.unwrap();
    staging.write(bytes.slice(..9 << 20)).await.unwrap();
    proxy.set(Mode::Unavailable);
    let back = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.set(Mode::LoseResponse { method: "POST", header: "content-length" });
    };
    let upload = async {
        staging.write(bytes.slice(9 << 20..)).await.unwrap();
        staging.finish().await.unwrap()
    };
    let ((), staged) = tokio::join!(back, upload);
    assert_eq!(staged, Staged::of(&bytes));
    assert!(lake.get("s/large").await.unwrap().unwrap().bytes == bytes);
    assert!(proxy.hits() > 1, "{}", proxy.hits());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_whose_store_is_away_takes_no_memory_from_another() {
    let server = Server::moto();
    let proxy = Proxy::before(&server.url());
    let away = Lake::open(&plan(s3(&proxy), 300)).await.unwrap();
    let Location::S3 { bucket, region, credential, .. } = s3(&proxy) else { panic!("it is in S3") };
    let endpoint = Some(server.url());
    let there = Location::S3 { bucket, region, credential, prefix: "other".into(), endpoint };
    let there = Lake::open(&plan(there, 300)).await.unwrap();
    // Every part that the lake may have on its way waits, and so does what it may read whole.
    let bytes = Bytes::from(vec![7; 40 << 20]);
    let mut waiting = tokio::task::JoinSet::new();
    let mut begun = Vec::new();
    for number in 0..10 {
        let mut staging = away.stage(&format!("s/{number}")).await.unwrap();
        staging.write(bytes.slice(..9 << 20)).await.unwrap();
        begun.push(staging);
    }
    proxy.set(Mode::Unavailable);
    for mut staging in begun {
        let bytes = bytes.slice(9 << 20..);
        waiting.spawn(async move {
            staging.write(bytes).await.unwrap();
            staging.finish().await.unwrap()
        });
    }
    let held = away.hold(u64::MAX).await;
    wait_until("they wait", || proxy.hits() > 32);
    let commits = async {
        for number in 0..3 {
            let key = format!("s/{number}");
            let mut staging = there.stage(&key).await.unwrap();
            staging.write(bytes.slice(..17 << 20)).await.unwrap();
            let staged = staging.finish().await.unwrap();
            drop(there.hold(staged.length).await);
            let published = there.publish_new(&key, &staged, &format!("k/{number}")).await.unwrap();
            assert!(matches!(published, Publish::Published(_)));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), commits).await.expect("the other lake goes on");
    assert!(waiting.try_join_next().is_none(), "the first one waits all the while");
    drop(held);
    proxy.set(Mode::Pass);
    while let Some(staged) = waiting.join_next().await {
        assert_eq!(staged.unwrap(), Staged::of(&bytes));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_retries_one_failure_is_the_error() {
    let server = Server::moto();
    let proxy = Proxy::before(&server.url());
    let lake = Lake::open(&plan(s3(&proxy), 0)).await.unwrap();
    proxy.set(Mode::Unavailable);
    let error = lake.get("k").await.unwrap_err().to_string();
    assert_eq!(proxy.hits(), 1);
    assert!(error.contains("the store answers 503 Service Unavailable") && !error.contains("tried"), "{error}");
    let some = lake.retrying_for(Duration::from_secs(1));
    let error = some.get("k").await.unwrap_err().to_string();
    assert!(error.contains("; tried ") && error.contains(" times in "), "{error}");
    proxy.set(Mode::Refuse);
    let error = some.get("k").await.unwrap_err().to_string();
    assert!(error.contains("refuses the connection"), "{error}");
}

/// An export into S3 through a proxy, run by the real binary.
struct Job {
    installation: Installation,
    proxy: Proxy,
    store: Store,
}

impl Job {
    fn new(lake: &str, export: &str) -> Job {
        let store = Store::s3();
        let proxy = Proxy::before(&store.url());
        let place = store.lake(&proxy.url(), "exports");
        let installation = Installation::new(&format!(
            "[lakes.main]\n{place}\n{lake}\n\
             [sources.signals]\nfiles = \"in.ndjson\"\n[exports.signals]\nsource = \"signals\"\n{export}\n"
        ));
        Job { installation, proxy, store }
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.installation.command(arguments);
        command
            .env("LAKE_KEY", self.store.secret())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    }

    fn append(&self, text: &str) {
        let path = self.installation.path().join("in.ndjson");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// What readers see, past the proxy.
    fn ids(&self) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ids = ids_of(visible(&runtime.block_on(self.store.objects("exports"))));
        ids.into_iter().flat_map(|(id, times)| std::iter::repeat_n(id, times)).collect()
    }
}

fn stop(child: Child) -> (Output, String, String) {
    process::signal(&child, libc::SIGINT);
    let output = child.wait_with_output().unwrap();
    let (out, log) = (output.stdout.clone(), output.stderr.clone());
    (output, String::from_utf8(out).unwrap(), String::from_utf8(log).unwrap())
}

#[test]
fn a_follower_waits_for_its_store_and_says_so() {
    let job = Job::new("", "files = \"growing\"\nflush = { every = \"100ms\" }");
    let lines = signals(40);
    let lines: Vec<_> = lines.split_inclusive('\n').collect();
    job.append(&lines[..20].concat());
    let follower = job.spawn(&["run", "--follow", "--json"]);
    wait_until("the first half is there", || job.ids().len() == 20);
    for (mode, until) in [(Mode::Refuse, 30), (Mode::Unavailable, 40)] {
        job.proxy.set(mode);
        job.append(&lines[until - 10..until].concat());
        std::thread::sleep(Duration::from_secs(6));
        job.proxy.set(Mode::Pass);
        wait_until("what came in between is there", || job.ids().len() == until);
    }
    let (output, summary, log) = stop(follower);
    assert!(output.status.success(), "{log}");
    assert_eq!(job.ids().len(), 40, "once each");
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert!(summary["exports"][0]["retries"].as_u64().unwrap() > 1, "{summary}");
    assert_eq!(summary["exports"][0]["restarts"], 0, "it is the same attempt");
    let waits: Vec<_> = log.lines().filter(|line| line.contains("waiting for the store")).collect();
    assert!(waits[0].contains("refuses the connection; waiting for the store, retrying for"), "{log}");
    assert!(log.contains("the store answers again after"), "{log}");
    assert!(waits.len() < 4, "a warning per outage: {log}");
    assert!(!log.contains("moto-takes-any"), "{log}");
}

#[test]
fn a_follower_outlasts_an_outage_that_is_longer_than_its_retries() {
    let job = Job::new("retry-for = \"1s\"", "files = \"growing\"\nflush = { every = \"100ms\" }");
    let lines = signals(40);
    let (first, second) = lines.split_at(lines.match_indices('\n').nth(19).unwrap().0 + 1);
    job.append(first);
    let follower = job.spawn(&["run", "--follow", "--json"]);
    wait_until("the first half is there", || job.ids().len() == 20);
    job.proxy.set(Mode::Refuse);
    job.append(second);
    std::thread::sleep(Duration::from_secs(5));
    job.proxy.set(Mode::Pass);
    wait_until("all is there", || job.ids().len() == 40);
    let (output, summary, log) = stop(follower);
    assert!(output.status.success(), "{log}");
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert!(summary["exports"][0]["restarts"].as_u64().unwrap() > 0, "{summary}");
    assert_eq!(job.ids().len(), 40, "once each");
}

#[test]
fn what_beginning_anew_waits_for_is_counted_and_shown() {
    let job = Job::new("", "files = \"growing\"");
    job.append(&signals(20));
    let run = |arguments: &[&str]| {
        let output = job.spawn(arguments).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    run(&["run", "--quiet"]);
    // Growing files are put; what replaces those of before is copied.
    job.proxy.set(Mode::LoseResponse { method: "PUT", header: "x-amz-copy-source" });
    let output = run(&["run", "--again", "signals", "--yes", "--json"]);
    // Some are on their way at once.
    let lost = job.proxy.hits();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(lost > 0 && summary["exports"][0]["retries"] == lost, "{lost}: {summary}");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("waiting for the store, retrying for"), "{log}");
    assert_eq!(job.ids().len(), 20, "once each");
}

#[test]
fn a_wait_ends_with_the_run() {
    let job = Job::new("", "flush = { every = \"100ms\" }");
    job.append(&signals(5));
    let follower = job.spawn(&["run", "--follow"]);
    wait_until("it is at work", || job.ids().len() == 5);
    job.proxy.set(Mode::Unavailable);
    let before = job.proxy.hits();
    job.append(&signals(1));
    wait_until("it waits", || job.proxy.hits() > before + 3);
    let begun = Instant::now();
    let (output, _, log) = stop(follower);
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    assert_eq!(output.status.code(), Some(4), "what was read is not committed: {log}");
    assert!(log.contains("the store answers 503 Service Unavailable"), "{log}");
}
