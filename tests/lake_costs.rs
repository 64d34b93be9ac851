//! What the modes of files cost on a store: requests and bytes as a proxy counts them, compared with the table in docs/lakes.md.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::lake_folder::{Installation, signal};
use crate::support::proxy::{Proxy, Request};
use crate::support::stores::Store;

/// Files that each commit writes to: the table's `k`.
const FILES: u64 = 3;
/// Records in the input for each commit that is wanted; what a commit takes depends on where lines end.
const RECORDS: usize = 30;

/// What one run asked of a store for files, also while they are staged, and for its log.
#[derive(Debug, Default)]
struct Cost {
    commits: u64,
    /// Bytes of records, as they are in the files.
    written: u64,
    requests: BTreeMap<&'static str, u64>,
    log: u64,
    /// Bytes of puts, and of what gets answered.
    sent: u64,
    fetched: u64,
}

impl Cost {
    fn count(&mut self, request: &Request) {
        let has = |name: &str| request.headers.iter().any(|header| header == name);
        let is_list = request.target.contains("list-type=") || request.target.contains("comp=list");
        if is_list || request.target.contains("_lakeport") && !request.target.contains("/stage/") {
            self.log += 1;
            return;
        }
        let what = match request.method.as_str() {
            "PUT" if has("x-amz-copy-source") || has("x-ms-copy-source") => "copy",
            "PUT" => "put",
            "GET" => "get",
            "HEAD" => "head",
            "DELETE" => "delete",
            "POST" if request.target.contains("delete") => "delete",
            other => panic!("{other} {}", request.target),
        };
        *self.requests.entry(what).or_default() += 1;
        match what {
            "put" => self.sent += request.sent,
            "get" => self.fetched += request.received,
            _ => {}
        }
    }

    fn requests(&self, what: &str) -> u64 {
        self.requests.get(what).copied().unwrap_or(0)
    }
}

/// Exports about so many commits in one run, all of which write to the same files.
fn export(store: &Store, mode: &str, commits: usize) -> Cost {
    let proxy = Proxy::before(&store.url());
    let lake = store.lake(&proxy.url(), &format!("costs-{mode}-{commits}"));
    let line = |id: usize| signal(id, 0).replace("BrewStarted", &format!("Brew{}", id as u64 % FILES)) + "\n";
    let span: usize = (0..RECORDS).map(|id| line(id).len()).sum();
    let installation = Installation::new(&format!(
        "[lakes.main]\n{lake}\n[sources.signals]\nfiles = \"in.ndjson\"\n[exports.signals]\nsource = \"signals\"\n\
         path = \"{{export}}/{{kind}}/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"\n\
         files = \"{mode}\"\nflush = {{ bytes = \"{span}B\" }}\n",
    ));
    installation.write("in.ndjson", (0..commits * RECORDS).map(line).collect::<String>());
    let output = installation.command(&["run", "--json"]).env("LAKE_KEY", store.secret()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| summary["exports"][0][name].as_u64().unwrap_or_else(|| panic!("{name}: {summary}"));
    let mut cost = Cost { commits: number("commits"), written: number("bytes-written"), ..Cost::default() };
    proxy.take_requests().iter().for_each(|request| cost.count(request));
    cost
}

/// What the table says: requests a commit, by kind; requests at the end of the period; times each byte is sent and fetched, as
/// `n` commits make it.
struct Said {
    mode: &'static str,
    commit: [(&'static str, u64); 5],
    end: [(&'static str, u64); 2],
    sent: fn(f64) -> f64,
    fetched: fn(f64) -> f64,
}

const TABLE: [Said; 3] = [
    Said {
        mode: "growing",
        commit: [("put", 2 * FILES), ("get", 2 * FILES), ("head", 0), ("copy", 0), ("delete", FILES)],
        end: [("copy", 0), ("head", 0)],
        sent: |commits| commits,
        fetched: |commits| commits,
    },
    Said {
        mode: "rolling",
        commit: [("put", FILES), ("get", FILES), ("head", FILES), ("copy", FILES), ("delete", FILES)],
        end: [("copy", 0), ("head", 0)],
        sent: |_| 1.0,
        // The gets find nothing: what comes are error messages.
        fetched: |_| 0.0,
    },
    Said {
        mode: "sealed",
        commit: [("put", FILES), ("get", FILES), ("head", 0), ("copy", 0), ("delete", FILES)],
        end: [("copy", FILES), ("head", FILES)],
        sent: |_| 2.0,
        fetched: |_| 1.0,
    },
];

/// Two runs of different lengths tell what a commit costs from what a run costs.
fn cost_what_the_table_says(store: &Store) {
    for said in TABLE {
        let (short, long) = (export(store, said.mode, 10), export(store, said.mode, 30));
        let commits = long.commits - short.commits;
        let what = format!("{}: {short:?}, {long:?}", said.mode);
        assert!(short.commits >= 4 && commits >= 8, "{what}");
        for (kind, expected) in said.commit {
            assert_eq!(long.requests(kind) - short.requests(kind), expected * commits, "{kind}, {what}");
        }
        for (kind, expected) in said.end {
            let of_commits = said.commit.iter().find(|(named, _)| *named == kind).map_or(0, |(_, count)| *count);
            assert_eq!(long.requests(kind), expected + of_commits * long.commits, "{kind} at the end, {what}");
        }
        // Notes of the run's health come by time.
        let log = (long.log - short.log).div_ceil(commits);
        assert!((2..=3).contains(&log), "{log} requests a commit for the log, {what}");
        for (times, bytes) in [(said.sent, long.sent), (said.fetched, long.fetched)] {
            let (expected, found) = (times(long.commits as f64), bytes as f64 / long.written as f64);
            assert!((found - expected).abs() < 0.2 * expected.max(1.0), "{found} instead of {expected} times, {what}");
        }
    }
}

#[test]
fn the_modes_cost_on_s3_what_the_documentation_says() {
    cost_what_the_table_says(&Store::s3());
}

#[test]
fn the_modes_cost_on_azure_what_the_documentation_says() {
    cost_what_the_table_says(&Store::azure());
}
