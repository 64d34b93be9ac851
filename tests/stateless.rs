//! `lakeport serve` without a disk: who is answered has its records in the lake, once, whichever server is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::http::{Serving, request};
use crate::support::lake_folder::{Installation, signals};
use crate::support::process::{signal, wait_until};
use crate::support::random::Random;
use crate::support::servers::free_port;
use crate::support::soak::stride;
use crate::support::tools::{printed, python, root, tool};

const EVENTS: &str = "[server]\nacknowledge = \"lake\"\n\n\
                      [sources.events]\nhttp = true\nenvelope = \"cloudevents\"\npartitions = 2\n\n\
                      [exports.events]\nsource = \"events\"\nflush = { every = \"1h\" }\n\
                      path = \"{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n";
const SIGNALS: &str = "[server]\nacknowledge = \"lake\"\n\n[sources.signals]\nhttp = true\n\n\
                       [exports.signals]\nsource = \"signals\"\nflush = { every = \"1h\" }\n";
const BATCH: [(&str, &str); 1] = [("Content-Type", "application/cloudevents-batch+json")];

fn event(id: u64) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/d","type":"t","time":"2026-01-01T00:00:00Z","data":{{"id":"{id}"}}}}"#
    )
}

fn batch(ids: impl Iterator<Item = u64>) -> String {
    format!("[{}]", ids.map(event).collect::<Vec<_>>().join(","))
}

fn once(ids: std::ops::Range<u64>) -> BTreeMap<String, usize> {
    ids.map(|id| (id.to_string(), 1)).collect()
}

#[test]
fn a_request_is_answered_when_its_records_are_in_the_lake_and_repeated_events_are_recognised_by_any_server() {
    let installation = Installation::new(EVENTS);
    let serving = Serving::start(&installation);
    let answer = serving.post("/v1/ingest/events", &BATCH, batch(0..10).as_bytes());
    assert_eq!((answer.status, answer.json()["duplicates"].as_u64()), (200, Some(0)), "{answer:?}");
    assert_eq!(installation.ids(), once(0..10));
    let other = Serving::start(&installation);
    let answer = other.post("/v1/ingest/events", &BATCH, batch(5..15).as_bytes());
    assert_eq!((answer.status, answer.json()["duplicates"].as_u64()), (200, Some(5)), "{answer:?}");
    // The first one has lost the partitions, and finds in the lake what the other one wrote.
    let answer = serving.post("/v1/ingest/events", &BATCH, batch(0..20).as_bytes());
    assert_eq!((answer.status, answer.json()["duplicates"].as_u64()), (200, Some(15)), "{answer:?}");
    assert_eq!(installation.ids(), once(0..20));
    assert!(!installation.path().join("lakeport-wal").exists(), "it needs no disk");
    let metrics = String::from_utf8(serving.get("/metrics").body).unwrap();
    assert!(metrics.contains("lakeport_delivery_duplicates_total 15\n"), "{metrics}");
    // Several partitions took them; what they did is added up. The other server wrote five.
    assert!(metrics.contains("lakeport_export_written_records_total{export=\"events\"} 15\n"), "{metrics}");
    assert!(metrics.contains("lakeport_plugin_records_total{export=\"events\",plugin=\"ndjson\"} "), "{metrics}");
    assert!(metrics.contains("lakeport_export_epoch{export=\"events\",partition=\"0\"} "), "{metrics}");
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect::<Vec<_>>();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "a metric is there twice: {metrics}");
    assert!(other.stop().success() && serving.stop().success());
}

#[test]
fn a_request_with_a_key_is_taken_once() {
    let installation = Installation::new(SIGNALS);
    let keyed = [("Content-Type", "application/x-ndjson"), ("Idempotency-Key", "one")];
    let serving = Serving::start(&installation);
    assert_eq!(serving.post("/v1/ingest/signals", &keyed, signals(3).as_bytes()).status, 200);
    assert_eq!(serving.post("/v1/ingest/signals", &keyed, signals(4).as_bytes()).status, 422);
    serving.kill();
    let serving = Serving::start(&installation);
    let again = serving.post("/v1/ingest/signals", &keyed, signals(3).as_bytes());
    assert_eq!((again.status, again.json()["duplicates"].as_u64()), (200, Some(3)), "{again:?}");
    assert_eq!(installation.ids(), once(0..3));
    // A server that does not know what the key was used with takes what else comes with it.
    let other = Serving::start(&installation);
    let more = other.post("/v1/ingest/signals", &keyed, signals(5).replace("\"id\":\"0\"", "\"id\":\"5\"").as_bytes());
    assert_eq!(more.status, 200, "{more:?}");
    assert_eq!(installation.ids().len(), 6);
    let ready = other.get("/readyz").json();
    assert_eq!(
        (&ready["exports"][0]["name"], &ready["exports"][0]["state"]),
        (&"signals".into(), &"at-work".into()),
        "{ready}"
    );
}

#[test]
fn events_of_other_producers_are_in_the_lake_when_they_are_answered() {
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
    // Nothing is left to do at the end.
    serving.kill();
    let status: Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
    let sum = |of: &str| status["exports"].as_array().unwrap().iter().map(|export| export[of].as_u64().unwrap()).sum();
    let (records, dead): (u64, u64) = (sum("records"), sum("dead-letters"));
    // The one whose data is bytes has no line of JSON.
    assert_eq!((records, dead), (7, 1), "{status}");
}

#[test]
fn the_port_is_the_platforms_and_a_server_that_is_told_to_end_ends_its_requests() {
    let installation = Installation::new(SIGNALS);
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = installation.command(&["serve"]);
    let mut child = command.env("PORT", address.port().to_string()).stderr(Stdio::inherit()).spawn().unwrap();
    wait_until("it is ready", || request(address, "GET", "/readyz", &[], b"").is_ok_and(|answer| answer.status == 200));
    let sent = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let headers = [("Content-Type", "application/x-ndjson")];
                    let send = || request(address, "POST", "/v1/ingest/signals", &headers, signals(2).as_bytes());
                    (0..50).map_while(|_| send().ok()).filter(|answer| answer.status == 200).count()
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, libc::SIGTERM);
        senders.into_iter().map(|sender| sender.join().unwrap()).sum::<usize>()
    });
    assert!(child.wait().unwrap().success());
    let found = installation.lines().len();
    assert!(sent > 0 && found >= 2 * sent, "{sent} requests were answered, and {found} records are there");
    let output = installation.command(&["serve"]).env("PORT", "x").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("PORT is `x`, expected a port"));
}

#[test]
fn two_servers_that_are_killed_keep_every_event_once() {
    const CLIENTS: u64 = 3;
    let each = 2_000 / stride(20) as u64;
    let installation = Installation::new(EVENTS);
    let servers = [(); 2].map(|()| Mutex::new(Some(Serving::start(&installation))));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let servers = &servers;
                scope.spawn(move || {
                    let mut random = Random::new(client);
                    let mut at = client * each;
                    while at < (client + 1) * each {
                        let end = (at + random.within(1..=5)).min((client + 1) * each);
                        let again = at - random.within(0..=(at - client * each).min(5));
                        if send(&mut random, servers, &batch(again..end)).is_ok_and(|status| status == 200) {
                            at = end;
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut random = Random::new(9);
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(random.within(300..=1_200)));
                let server = &servers[random.within(0..=1) as usize];
                server.lock().unwrap().take().expect("it is there between kills").kill();
                *server.lock().unwrap() = Some(Serving::start(&installation));
            }
        });
        let ended: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        over.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
    assert_eq!(installation.ids(), once(0..CLIENTS * each));
}

/// Sends a batch to one of the servers, which may be away.
fn send(random: &mut Random, servers: &[Mutex<Option<Serving>>], batch: &str) -> io::Result<u16> {
    let server = &servers[random.within(0..=1) as usize];
    let address = server.lock().unwrap().as_ref().map(|serving| serving.address);
    let address = address.ok_or_else(|| io::Error::other("it starts"));
    let answer = address.and_then(|address| request(address, "POST", "/v1/ingest/events", &BATCH, batch.as_bytes()));
    if answer.is_err() {
        std::thread::sleep(Duration::from_millis(random.within(10..=50)));
    }
    answer.map(|answer| answer.status)
}
