//! `lakeport serve`: what is accepted over HTTP is in the lake once, through kills, restarts and repetitions.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::http::{Serving, request};
use crate::support::lake_folder::{Installation, every_id, ids_of, signal, signals};
use crate::support::process::wait_until;
use crate::support::proxy::{Mode, Proxy};
use crate::support::random::Random;
use crate::support::stores::{Store, visible};
use crate::support::tools::{printed, python, root, tool};

const SIGNALS: &str =
    "[sources.signals]\nhttp = true\n\n[exports.signals]\nsource = \"signals\"\nflush = { every = \"100ms\" }\n";
const EVENTS: &str = "[sources.events]\nhttp = true\nenvelope = \"cloudevents\"\n\n\
                      [exports.events]\nsource = \"events\"\npath = \"{export}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n\
                      flush = { every = \"100ms\" }\n";

const LINES: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// The installation's write-ahead log of a source.
fn log_folder(source: &str) -> String {
    format!("lakeport-wal/{source}")
}

#[test]
fn what_is_accepted_comes_into_the_lake() {
    let installation = Installation::new(SIGNALS);
    let serving = Serving::start(&installation);
    let accepted = serving.ingest("signals", &signals(10));
    assert_eq!((accepted.status, accepted.json()["records"].as_u64()), (202, Some(10)), "{accepted:?}");
    wait_until("they are in the lake", || installation.ids().len() == 10);
    // The one that waits for the lake finds it there.
    let committed = serving.post(
        "/v1/ingest/signals?wait=commit",
        &[("Content-Type", "application/x-ndjson")],
        (signal(10, 0) + "\n").as_bytes(),
    );
    assert_eq!(committed.status, 200, "{committed:?}");
    assert_eq!(installation.ids().len(), 11);
    assert!(installation.ids().values().all(|count| *count == 1));
    let metrics = serving.get("/metrics");
    assert!(metrics.header("content-type").is_some_and(|form| form.starts_with("text/plain")), "{metrics:?}");
    let metrics = String::from_utf8(metrics.body).unwrap();
    for line in [
        "lakeport_export_records_total{export=\"signals\"} 11",
        "lakeport_export_lag_bytes{export=\"signals\",source=\"signals\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no `{line}` in {metrics}");
    }
    assert!(serving.stop().success());
}

#[test]
fn what_was_acknowledged_before_a_kill_comes_into_the_lake_with_the_next_start() {
    let slow = SIGNALS.replace("100ms", "1h");
    let installation = Installation::new(&slow);
    let serving = Serving::start(&installation);
    assert_eq!(serving.ingest("signals", &signals(10)).status, 202);
    serving.kill();
    assert!(installation.files().is_empty());
    let serving = Serving::start(&installation);
    wait_until("the log is gone on with", || {
        // A commit now, whatever the interval.
        let more = serving.post(
            "/v1/ingest/signals?wait=commit",
            &[("Content-Type", "application/x-ndjson"), ("Idempotency-Key", "more")],
            (signal(10, 0) + "\n").as_bytes(),
        );
        more.status == 200
    });
    let ids = installation.ids();
    assert_eq!(ids.len(), 11);
    assert!(ids.values().all(|count| *count == 1), "{ids:?}");
}

#[test]
fn a_stop_exports_what_was_accepted_up_to_then() {
    let installation = Installation::new(&SIGNALS.replace("100ms", "1h"));
    for round in 0..5 {
        let serving = Serving::start(&installation);
        for request in 0..20 {
            assert_eq!(serving.ingest("signals", &(signal(round * 20 + request, 0) + "\n")).status, 202);
        }
        let log = serving.log_after_stop(0);
        assert!(!log.contains("stay in the write-ahead log"), "{log}");
        assert_eq!(installation.ids(), every_id((round + 1) * 20));
    }
    assert_eq!(installation.export()["records-read"], 0);
}

#[test]
fn a_stop_says_what_stays_in_the_log_and_waits_for_no_lake_that_does_not_answer() {
    let store = Store::s3();
    let proxy = Proxy::before(&store.url());
    let lake = format!("[lakes.main]\n{}\nretry-for = \"1s\"\n", store.lake(&proxy.url(), "stopped"));
    let installation = Installation::new(&format!("{lake}{SIGNALS}"));
    let start = || {
        let mut command = installation.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("LAKE_KEY", store.secret());
        Serving::start_command(command)
    };
    let serving = start();
    wait_until("it is ready", || serving.get("/readyz").status == 200);
    proxy.set(Mode::Unavailable);
    assert_eq!(serving.ingest("signals", &signals(7)).status, 202);
    wait_until("it waits for its lake", || serving.get("/readyz").json().to_string().contains("waiting"));
    let log = serving.log_after_stop(4);
    assert!(log.contains("stay in the write-ahead log") && log.contains("records=7"), "{log}");
    proxy.set(Mode::Pass);
    let serving = start();
    wait_until("it is ready", || serving.get("/readyz").status == 200);
    serving.log_after_stop(0);
    let objects = tokio::runtime::Runtime::new().unwrap().block_on(store.objects("stopped"));
    assert_eq!(ids_of(visible(&objects)), every_id(7));
}

#[test]
fn a_run_exports_what_a_server_left() {
    let installation = Installation::new(&SIGNALS.replace("100ms", "1h"));
    let serving = Serving::start(&installation);
    assert_eq!(serving.ingest("signals", &signals(10)).status, 202);
    serving.kill();
    let summary = installation.export();
    assert_eq!((&summary["records-read"], &summary["records-written"]), (&10.into(), &10.into()), "{summary}");
    assert_eq!(installation.export()["records-read"], 0);
    assert_eq!(installation.ids().len(), 10);
}

#[test]
fn repeated_requests_and_events_are_recognised_across_restarts() {
    let installation = Installation::new(&format!("{SIGNALS}{EVENTS}"));
    let keyed = [("Content-Type", "application/x-ndjson"), ("Idempotency-Key", "one")];
    let event = |id: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/d","type":"t","time":"2026-01-01T00:00:00Z","data":{{"id":"{id}"}}}}"#
        )
    };
    let structured = [("Content-Type", "application/cloudevents+json")];
    let serving = Serving::start(&installation);
    assert_eq!(serving.post("/v1/ingest/signals", &keyed, signals(3).as_bytes()).status, 202);
    assert_eq!(serving.post("/v1/ingest/events", &structured, event("a").as_bytes()).status, 202);
    let again = serving.post("/v1/ingest/signals", &keyed, signals(3).as_bytes());
    assert_eq!(again.json()["duplicates"], 3, "{again:?}");
    let other = serving.post("/v1/ingest/signals", &keyed, signals(4).as_bytes());
    assert_eq!(other.status, 422, "{other:?}");
    serving.kill();
    let serving = Serving::start(&installation);
    // The log itself knows what the key was used with.
    let other = serving.post("/v1/ingest/signals", &keyed, signals(4).as_bytes());
    assert_eq!(other.status, 422, "{other:?}");
    let again = serving.post("/v1/ingest/signals?wait=commit", &keyed, signals(3).as_bytes());
    assert_eq!((again.status, again.json()["duplicates"].as_u64()), (200, Some(3)), "{again:?}");
    let batch = [("Content-Type", "application/cloudevents-batch+json")];
    let two = format!("[{},{}]", event("a"), event("b"));
    let half = serving.post("/v1/ingest/events?wait=commit", &batch, two.as_bytes());
    assert_eq!((half.status, half.json()["duplicates"].as_u64()), (200, Some(1)), "{half:?}");
    let mut expected: BTreeMap<String, usize> = (0..3).map(|id| (id.to_string(), 1)).collect();
    expected.extend([("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert_eq!(installation.ids(), expected);
}

#[test]
fn of_requests_at_the_same_time_with_one_key_and_other_records_one_is_taken_and_the_others_are_told() {
    let installation = Installation::new(SIGNALS);
    let serving = Serving::start(&installation);
    for round in 0..20 {
        let key = round.to_string();
        let keyed = [LINES, ("Idempotency-Key", key.as_str())];
        let answers: Vec<_> = std::thread::scope(|scope| {
            let send =
                |id: usize| serving.post("/v1/ingest/signals?wait=commit", &keyed, (signal(id, 0) + "\n").as_bytes());
            let sent: Vec<_> =
                (0..4).map(|place| scope.spawn(move || (4 * round + place, send(4 * round + place).status))).collect();
            sent.into_iter().map(|sent| sent.join().unwrap()).collect()
        });
        let taken: Vec<_> = answers.iter().filter(|(_, status)| *status == 200).collect();
        assert!(taken.len() == 1 && answers.iter().filter(|(_, status)| *status == 422).count() == 3, "{answers:?}");
        assert!(installation.ids().contains_key(&taken[0].0.to_string()));
    }
    assert_eq!(installation.ids().len(), 20);
}

#[test]
fn events_of_other_producers_are_understood_in_every_mode_and_come_once() {
    let installation = Installation::new(EVENTS);
    let serving = Serving::start(&installation);
    let url = format!("http://{}/v1/ingest/events", serving.address);
    let mut sent: Vec<String> =
        python(installation.path(), "cloudevents_producer.py", &[&url]).lines().map(str::to_owned).collect();
    let mut node = Command::new("node");
    node.arg(root().join("tests/verify/cloudevents_producer.js")).arg(&url);
    node.env("NODE_PATH", tool("node/node_modules"));
    sent.extend(printed(installation.path(), node).lines().map(str::to_owned));
    assert_eq!(sent.len(), 8);
    assert!(serving.stop().success());
    let status: Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
    // The one whose data is bytes has no line of JSON.
    assert_eq!(
        (&status["exports"][0]["records"], &status["exports"][0]["dead-letters"]),
        (&7.into(), &1.into()),
        "{status}"
    );
}

#[test]
fn a_folder_of_others_is_no_log_and_stays_as_it_is() {
    let installation = Installation::new(SIGNALS);
    installation.write(&format!("{}/mine.txt", log_folder("signals")), "mine");
    let output = installation.run(&["serve", "--listen", "127.0.0.1:0"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("is not a write-ahead log: it holds `mine.txt`"), "{error}");
    let mine = installation.path().join(log_folder("signals")).join("mine.txt");
    assert_eq!(std::fs::read(mine).unwrap(), b"mine");
}

#[test]
fn a_log_that_was_replaced_behind_a_position_is_refused() {
    let installation = Installation::new(SIGNALS);
    let serving = Serving::start(&installation);
    let wait = [("Content-Type", "application/x-ndjson")];
    assert_eq!(serving.post("/v1/ingest/signals?wait=commit", &wait, signals(5).as_bytes()).status, 200);
    assert!(serving.stop().success());
    // Made anew: its records are others, and none is taken for one that was exported.
    std::fs::remove_dir_all(installation.path().join("lakeport-wal")).unwrap();
    let serving = Serving::start(&installation);
    assert_eq!(serving.post("/v1/ingest/signals?wait=commit", &wait, (signal(5, 0) + "\n").as_bytes()).status, 200);
    assert_eq!(installation.ids().len(), 6);
}

/// A signal of so many bytes.
fn large(id: usize, bytes: usize) -> String {
    let head = format!(r#"{{"name":"N","id":"{id}","signalTime":"2019-09-10T11:00:00Z","note":""#);
    format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))
}

/// Both exports read the source; the second one's files are in a folder of its own.
const TWO: &str = "[sources.signals]\nhttp = true\n[exports.signals]\nsource = \"signals\"\nflush = { every = \"100ms\" }\n[exports.more]\nsource = \"signals\"\n";

/// A server that keeps the keys of requests for no time, so that what all exports have is deleted at once.
const FORGETS: &str = "[server]\nlog-size = \"8MiB\"\nmax-decoded = \"512KiB\"\nidempotency-window = \"0s\"\n";

#[test]
fn an_export_that_was_not_configured_for_a_while_is_told_of_the_gap_and_may_accept_it() {
    let installation = Installation::new(&format!("{FORGETS}{TWO}"));
    let send = |serving: &Serving, ids: std::ops::Range<usize>| {
        for id in ids {
            let line = large(id, 100_000) + "\n";
            assert_eq!(serving.post("/v1/ingest/signals?wait=commit", &[LINES], line.as_bytes()).status, 200);
        }
    };
    let serving = Serving::start(&installation);
    send(&serving, 0..2);
    assert!(serving.stop().success());
    installation.write("lakeport.toml", format!("{FORGETS}{SIGNALS}"));
    let serving = Serving::start(&installation);
    send(&serving, 2..20);
    wait_until("what was exported is deleted", || {
        let metrics = String::from_utf8(serving.get("/metrics").body).unwrap();
        metrics.contains("lakeport_wal_segments{source=\"signals\"} 1\n")
    });
    assert!(serving.stop().success());
    installation.write("lakeport.toml", format!("{FORGETS}{TWO}"));
    let serving = Serving::start(&installation);
    let reason = || serving.get("/readyz").json()["reasons"].to_string();
    wait_until("the export has failed", || reason().contains("export `more` is failed"));
    let (told, log) = (reason(), serving.log_after_stop(2));
    assert!(told.contains("of the write-ahead log were deleted before export `more` read them"), "{told}");
    assert!(
        log.contains("set `gaps = \\\"accept\\\"` in [sources.signals]")
            || log.contains("set `gaps = \"accept\"` in [sources.signals]"),
        "{log}"
    );
    assert!(!log.contains("move it away"), "{log}");
    installation
        .write("lakeport.toml", format!("{FORGETS}{}", TWO.replace("http = true", "http = true\ngaps = \"accept\"")));
    let serving = Serving::start(&installation);
    send(&serving, 20..21);
    assert!(serving.log().contains("and gaps are accepted"), "{}", serving.log());
    assert!(serving.stop().success());
    // The last one is there for both, the others for the one that was configured.
    let ids = installation.ids();
    assert_eq!((ids.len(), ids["20"], ids["0"], ids["5"]), (21, 2, 2, 1), "{ids:?}");
}

#[test]
fn a_log_that_nobody_reads_is_told_of_and_one_with_records_keeps_a_server_from_working_without_logs() {
    let installation = Installation::new(&SIGNALS.replace("100ms", "1h"));
    let serving = Serving::start(&installation);
    assert_eq!(serving.ingest("signals", &signals(10)).status, 202);
    serving.kill();
    // The source is renamed: its records are of nobody.
    installation.write(
        "lakeport.toml",
        SIGNALS.replace("sources.signals", "sources.renamed").replace("\"signals\"", "\"renamed\""),
    );
    let serving = Serving::start(&installation);
    wait_until("it is ready", || serving.get("/readyz").status == 200);
    let warnings = serving.get("/readyz").json()["warnings"].to_string();
    assert!(warnings.contains("write-ahead log `signals` is that of no source"), "{warnings}");
    let metrics = String::from_utf8(serving.get("/metrics").body).unwrap();
    assert!(metrics.contains("lakeport_wal_unread_bytes{source=\"signals\"} "), "{metrics}");
    assert!(serving.stop().success());
    // Without logs nobody would ever read them.
    let direct = format!("[server]\nacknowledge = \"lake\"\n{SIGNALS}");
    installation.write("lakeport.toml", &direct);
    let output = installation.run(&["serve", "--listen", "127.0.0.1:0"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("lakeport-wal/signals` holds 10 records"), "{error}");
    assert!(error.contains("`lakeport run` exports what the logs hold"), "{error}");
    assert_eq!(installation.export()["records-written"], 10);
    // Now they are in the lake, and it works.
    let serving = Serving::start(&installation);
    assert_eq!(serving.ingest("signals", &(signal(10, 0) + "\n")).status, 200);
    assert!(serving.stop().success());
    assert_eq!(installation.ids().len(), 11);
}

#[test]
fn as_much_as_a_body_may_have_is_taken_and_no_more() {
    let server = "[server]\nmax-decoded = \"1MiB\"\nlog-size = \"9MiB\"\n";
    let installation = Installation::new(&format!("{server}{SIGNALS}{EVENTS}"));
    let serving = Serving::start(&installation);
    // Without the last line feed.
    let lines = (0..65).map(|id| large(id, 16_000)).collect::<Vec<_>>().join("\n");
    let whole = format!("{lines}\n{}", large(65, (1 << 20) - lines.len() - 1));
    assert_eq!(whole.len(), 1 << 20);
    assert_eq!(serving.post("/v1/ingest/signals?wait=commit", &[LINES], whole.as_bytes()).status, 200);
    assert_eq!(serving.post("/v1/ingest/signals", &[LINES], format!("{whole} ").as_bytes()).status, 413);
    // As many small events as fit, each with a key.
    let event = |id: usize| format!(r#"{{"specversion":"1.0","id":"{id:06}","source":"/d","type":"t"}}"#);
    let events = (0..(1 << 20) / (event(0).len() + 1)).map(event).collect::<Vec<_>>().join("\n");
    let taken = serving.post("/v1/ingest/events?wait=commit", &[LINES], events.as_bytes());
    assert_eq!(taken.status, 200, "{taken:?}");
    // Data that becomes base64 has room, too.
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "b"),
        ("ce-source", "/d"),
        ("ce-type", "t"),
        ("Content-Type", "image/png"),
    ];
    let large = serving.post("/v1/ingest/events?wait=commit", &binary, &vec![0xff; 780_000]);
    assert_eq!(large.status, 200, "{large:?}");
    assert!(serving.stop().success());
}

#[test]
fn an_address_that_others_reach_needs_keys() {
    let installation = Installation::new(SIGNALS);
    let output = installation.run(&["serve", "--listen", "0.0.0.0:0"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && error.contains("can be reached from other machines, and no keys are set"),
        "{error}"
    );
}

#[test]
fn requests_are_in_the_lake_and_keyed_ones_once_though_clients_retry_and_the_server_is_killed() {
    const CLIENTS: usize = 4;
    let requests = 10_000 / CLIENTS;
    let installation = Installation::new(SIGNALS);
    let port = AtomicU16::new(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(7);
            while !over.load(Ordering::Relaxed) {
                let serving = Serving::start(&installation);
                port.store(serving.address.port(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(random.within(100..=900)));
                serving.kill();
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let port = &port;
                scope.spawn(move || {
                    let mut random = Random::new(client as u64);
                    for number in 0..requests {
                        let id = client * requests + number;
                        send(port, id);
                        // A client that did not hear the answer sends it again.
                        if random.happens(300) {
                            send(port, id);
                        }
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        over.store(true, Ordering::Relaxed);
    });
    installation.run_ok(&["run", "--quiet"]);
    let found = installation.ids();
    let is_right = |id: &usize| {
        let times = found.get(&id.to_string()).copied().unwrap_or_default();
        if has_key(*id) { times == 1 } else { times >= 1 }
    };
    let wrong: Vec<_> = (0..CLIENTS * requests).filter(|id| !is_right(id)).collect();
    assert_eq!((found.len(), wrong), (CLIENTS * requests, Vec::new()));
}

/// Whether a record is sent with a key: four of five are.
fn has_key(id: usize) -> bool {
    !id.is_multiple_of(5)
}

/// Sends a record until it is acknowledged.
fn send(port: &AtomicU16, id: usize) {
    let (body, key) = (signal(id, id % 60) + "\n", id.to_string());
    let headers = [("Content-Type", "application/x-ndjson"), ("Idempotency-Key", key.as_str())];
    let headers = if has_key(id) { &headers[..] } else { &headers[..1] };
    wait_until("the request is acknowledged", || {
        let address = SocketAddr::from(([127, 0, 0, 1], port.load(Ordering::Relaxed)));
        let answer: io::Result<_> = request(address, "POST", "/v1/ingest/signals", headers, body.as_bytes());
        answer.is_ok_and(|answer| answer.status == 202)
    });
}
