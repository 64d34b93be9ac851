//! `lakeport functions`: messages of queues and blobs are in the lake once, whatever the platform delivers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::collector::Collector;
use crate::support::functions::{Instance, blob, events_of, message, silent_lake};
use crate::support::http::request;
use crate::support::lake_folder::{Installation, records_of};
use crate::support::process::wait_until;
use crate::support::random::Random;
use crate::support::soak::stride;
use crate::support::stores::Store;

const ORDERS: &str = "[sources.orders]\nhttp = true\ntime = false\n\n\
                      [exports.orders]\nsource = \"orders\"\ntimestamp = \"write\"\nflush = { every = \"1h\" }\n\
                      path = \"{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n";
const QUEUE: &str = r#"{"bindings":[{"type":"queueTrigger","name":"message","direction":"in","queueName":"orders","connection":"STORE"}]}"#;
const BLOB: &str = r#"{"bindings":[{"type":"blobTrigger","name":"blob","direction":"in","path":"incoming/{name}","connection":"STORE","dataType":"binary"}]}"#;

const CLOCK: &str = r#"{"bindings":[{"type":"timerTrigger","name":"timer","schedule":"0 */5 * * * *"}]}"#;

/// An invocation by a timer.
fn timer() -> Value {
    json!({"Data": {"timer": {"ScheduleStatus": null, "IsPastDue": false}}, "Metadata": {}})
}

fn queue_app(more: &str) -> Installation {
    let app = Installation::new(&ORDERS.replace("http = true", &format!("http = true\n{more}")));
    app.write("orders/function.json", QUEUE);
    app
}

/// An app that is told of blobs, whose container is the folder `incoming`.
fn blob_app() -> Installation {
    let configuration = format!(
        "{}[lakes.lake]\nurl = \"./lake\"\n\n[lakes.incoming]\nurl = \"./incoming\"\n",
        ORDERS
            .replace("http = true", "http = true\nlake = \"incoming\"")
            .replace("source = \"orders\"", "source = \"orders\"\nlake = \"lake\"")
    );
    let app = Installation::new(&configuration);
    app.write("orders/function.json", BLOB);
    app
}

fn order(n: u64) -> String {
    format!(r#"{{"name":"Order","number":"{n}"}}"#)
}

fn orders(numbers: impl Iterator<Item = u64>) -> String {
    numbers.map(|n| order(n) + "\n").collect()
}

/// How often each number stands in files.
fn numbers(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, usize> {
    let mut numbers = BTreeMap::new();
    for record in files.iter().flat_map(|(path, bytes)| records_of(path, bytes)) {
        *numbers.entry(record["number"].as_str().unwrap_or_else(|| panic!("{record}")).to_owned()).or_default() += 1;
    }
    numbers
}

/// Wants each of so many orders to be in the lake once.
fn assert_once(app: &Installation, count: u64) {
    let numbers = numbers(&app.files());
    assert!(numbers.values().all(|count| *count == 1), "{numbers:?}");
    assert_eq!(numbers.len() as u64, count, "{numbers:?}");
}

#[test]
fn an_instance_counts_what_its_exports_do_and_traces_their_commits() {
    let app = queue_app("");
    let collector = Collector::start();
    let endpoint = format!("http://{}", collector.address);
    let instance = Instance::start_with(&app, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    (0..3).for_each(|n| instance.succeed("orders", &message(&format!("m{n}"), &order(n), 1)));
    let metrics = request(instance.address, "GET", "/metrics", &[], b"").unwrap();
    let metrics = String::from_utf8(metrics.body).unwrap();
    for expected in [
        "lakeport_export_records_total{export=\"orders\"} 3\n",
        "lakeport_export_written_records_total{export=\"orders\"} 3\n",
        "lakeport_export_commits_total{export=\"orders\"} 3\n",
        "lakeport_export_state{export=\"orders\",state=\"at-work\"} 1\n",
        "lakeport_export_epoch{export=\"orders\",partition=\"0\"} 1\n",
        "lakeport_plugin_records_total{export=\"orders\",plugin=\"ndjson\"} 3\n",
        "lakeport_store_request_duration_seconds_count{lake=\"",
    ] {
        assert!(metrics.contains(expected), "no {expected} in {metrics}");
    }
    wait_until("the collector has the commits", || {
        collector.spans().iter().filter(|span| span["name"] == "commit").count() == 3
    });
    instance.stop();
}

#[test]
fn a_message_that_comes_again_is_recognised_also_by_another_instance() {
    let app = queue_app("partitions = 3");
    let instance = Instance::start(&app);
    (0..6).for_each(|n| instance.succeed("orders", &message(&format!("m{n}"), &order(n), 1)));
    assert_once(&app, 6);
    (0..6).for_each(|n| instance.succeed("orders", &message(&format!("m{n}"), &order(n), 2)));
    assert_once(&app, 6);
    // Of a killed one nothing is left but the lake.
    instance.kill();
    let instance = Instance::start(&app);
    (0..8).for_each(|n| instance.succeed("orders", &message(&format!("m{n}"), &order(n), 3)));
    assert_once(&app, 8);
    assert!(app.files().len() > 1, "messages are divided: {:?}", app.files().keys());
}

#[test]
fn a_message_that_hides_its_id_is_kept_as_often_as_it_comes() {
    let app = queue_app("");
    let instance = Instance::start(&app);
    // The host says `Id: 7` of both, as their senders do.
    for (id, n) in [("a", 1), ("b", 2), ("b", 2)] {
        let body = format!(r#"{{"name":"Order","number":"{n}","id":"7"}}"#);
        instance.succeed("orders", &message(id, &body, 1));
    }
    assert_eq!(numbers(&app.files()), [("1".to_owned(), 1), ("2".to_owned(), 2)].into());
}

#[test]
fn a_blob_is_read_from_its_store_once_and_again_when_it_is_replaced() {
    let app = blob_app();
    app.write("incoming/a/orders.ndjson", orders(0..100));
    let instance = Instance::start(&app);
    instance.succeed("orders", &blob("incoming", "a/orders.ndjson", Some("0x1")));
    assert_once(&app, 100);
    instance.succeed("orders", &blob("incoming", "a/orders.ndjson", None));
    instance.kill();
    let instance = Instance::start(&app);
    instance.succeed("orders", &blob("incoming", "a/orders.ndjson", Some("0x1")));
    assert_once(&app, 100);
    // Without a line feed at its end, and compressed.
    app.write("incoming/a/orders.ndjson", orders(100..150).trim_end());
    instance.succeed("orders", &blob("incoming", "a/orders.ndjson", None));
    app.write("incoming/b.ndjson.zst", zstd::encode_all(orders(150..200).as_bytes(), 0).unwrap());
    instance.succeed("orders", &blob("incoming", "b.ndjson.zst", None));
    assert_once(&app, 200);
    let commit = app.last_commit("orders");
    let cursors = commit["position"]["cursors"].as_array().unwrap();
    assert_eq!(cursors.len(), 1, "what was read to its end leaves its ID only: {cursors:?}");
}

#[test]
fn a_blob_that_was_deleted_is_passed_over_and_one_that_cannot_be_read_fails() {
    let app = blob_app();
    app.write("incoming/zip.ndjson", b"PK\x03\x04....");
    app.write("incoming/damaged.gz", [&b"\x1f\x8b\x08\0"[..], &[0xff; 64]].concat());
    let instance = Instance::start(&app);
    instance.succeed("orders", &blob("incoming", "gone.ndjson", None));
    let failed = |name: &str, expected: &str| {
        let response = instance.call("orders", &blob("incoming", name, None));
        let error = String::from_utf8_lossy(&response.body).into_owned();
        assert!(response.status == 500 && error.contains(expected), "{response:?} {error}");
    };
    failed("zip.ndjson", "is a zip archive");
    failed("damaged.gz", "is damaged");
    let response = instance.call("orders", &blob("elsewhere", "a.ndjson", None));
    assert!(String::from_utf8_lossy(&response.body).contains("is not in lake `incoming`"), "{response:?}");
    assert!(app.files().is_empty());
    assert_eq!(instance.metric("lakeport_objects_gone_total"), 1.0);
}

#[test]
fn a_blob_that_is_deleted_after_it_was_read_in_part_leaves_nothing_in_the_log() {
    let app = blob_app();
    let mut cut = zstd::encode_all(orders(0..200_000).as_bytes(), 0).unwrap();
    cut.truncate(cut.len() - 100);
    app.write("incoming/cut.ndjson.zst", cut);
    let instance = Instance::start(&app);
    let cut = blob("incoming", "cut.ndjson.zst", None);
    assert_eq!(instance.call("orders", &cut).status, 500);
    wait_until("what was read of it is committed", || !app.files().is_empty());
    let cursors = || app.last_commit("orders")["position"]["cursors"].as_array().unwrap().clone();
    let begun = |cursor: &Value| cursor["origin"]["name"].as_str().unwrap().starts_with("object:");
    assert!(cursors().iter().any(begun), "{:?}", cursors());
    std::fs::remove_file(app.path().join("incoming/cut.ndjson.zst")).unwrap();
    instance.succeed("orders", &cut);
    assert!(!cursors().iter().any(begun), "{:?}", cursors());
    // One that is there all the same is read anew.
    app.write("incoming/cut.ndjson.zst", zstd::encode_all(orders(200_000..200_010).as_bytes(), 0).unwrap());
    instance.succeed("orders", &cut);
    let numbers = numbers(&app.files());
    assert!((200_000..200_010).all(|n: u64| numbers.get(&n.to_string()) == Some(&1)));
}

#[test]
fn requests_are_answered_in_an_output_or_as_they_are_once_their_records_are_in_the_lake() {
    let app = queue_app("");
    app.write(
        "orders/function.json",
        r#"{"bindings":[{"type":"httpTrigger","name":"req","direction":"in","route":"shop/orders","methods":["post"]},
            {"type":"http","name":"answer","direction":"out"}]}"#,
    );
    let collector = Collector::start();
    let endpoint = format!("http://{}", collector.address);
    let instance = Instance::start_with(&app, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let invoke = |method: &str, query: &str, key: &str, body: &str| {
        let headers = json!({"Content-Type": ["application/x-ndjson"], "Idempotency-Key": [key]});
        let url = format!("https://app.azurewebsites.net/api/shop/orders?code=secret{query}");
        let request =
            json!({"Url": url, "Method": method, "Query": "{}", "Headers": headers, "Params": {}, "Body": body});
        let response = instance.call("orders", &json!({"Data": {"req": request}, "Metadata": {}}));
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["Outputs"]["answer"].clone()
    };
    let answered = |answer: &Value| {
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        (answer["statusCode"].as_u64().unwrap(), body)
    };
    let (status, body) = answered(&invoke("POST", "", "one", &orders(0..3)));
    assert_eq!((status, body), (200, json!({"position": "0/3", "records": 3, "duplicates": 0})));
    assert_once(&app, 3);
    let (status, body) = answered(&invoke("POST", "", "one", &orders(0..3)));
    assert_eq!((status, &body["duplicates"]), (200, &json!(3)));
    let (status, body) = answered(&invoke("POST", "&partial=allow", "two", &format!("{}\nnull\n", order(3))));
    assert_eq!((status, &body["rejected"]["errors"][0]["index"]), (200, &json!(1)), "{body}");
    let refused = invoke("POST", "", "three", "null\n");
    assert_eq!(refused["headers"]["content-type"], "application/problem+json");
    let (status, body) = answered(&refused);
    assert_eq!((status, &body["type"]), (400, &json!("urn:lakeport:problem:invalid-records")), "{body}");
    assert_eq!(answered(&invoke("GET", "", "four", "")).0, 405);
    // With `enableForwardingHttpRequest`, the host hands on the request itself.
    let forwarded = |path: &str| {
        let parent = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let headers = [("Content-Type", "application/x-ndjson"), ("Idempotency-Key", "five"), parent];
        request(instance.address, "POST", path, &headers, orders(4..6).as_bytes()).unwrap()
    };
    assert_eq!(forwarded("/api/shop/orders?code=secret").json()["records"], 2);
    assert_eq!(forwarded("/api/Shop/Orders/").json()["duplicates"], 2);
    assert_eq!(forwarded("/api/orders").status, 404);
    assert_once(&app, 6);
    let is_forwarded = |span: &Value| span["name"] == "POST /{prefix}/{route}";
    wait_until("the collector has them", || collector.spans().iter().filter(|span| is_forwarded(span)).count() == 3);
    let spans = collector.spans();
    let forwarded: Vec<_> = spans.iter().filter(|span| is_forwarded(span)).collect();
    assert!(forwarded.iter().all(|span| span["traceId"] == "0af7651916cd43dd8448eb211c80319c"), "{forwarded:#?}");
    assert!(!collector.text().contains("code=secret"));
    instance.stop();
    // Below the prefix that the app has, or without one, beside functions that something else starts.
    app.write("clock/function.json", CLOCK);
    for (prefix, path) in [("v2/public", "/v2/public/shop/orders"), ("", "/shop/orders")] {
        let host = json!({"version": "2.0", "extensions": {"http": {"routePrefix": prefix}},
            "customHandler": {"enableForwardingHttpRequest": true}});
        app.write("host.json", host.to_string());
        let instance = Instance::start(&app);
        let forwarded = |path: &str| {
            let key = format!("six-{}", prefix.len());
            let headers = [("Content-Type", "application/x-ndjson"), ("Idempotency-Key", &*key)];
            request(instance.address, "POST", path, &headers, orders(6..7).as_bytes()).unwrap().status
        };
        assert_eq!((forwarded(path), forwarded("/api/shop/orders")), (200, 404), "{prefix}");
        instance.succeed("clock", &timer());
        instance.stop();
    }
    assert_eq!(numbers(&app.files())["6"], 2, "each request has a key of its own");
}

#[test]
fn an_event_of_event_grid_is_a_record_or_announces_a_blob() {
    let event = |id: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "Order", "time": "2026-11-21T00:00:00Z",
            "data": {"number": id}})
    };
    let app = Installation::new(
        &ORDERS.replace("time = false", "envelope = \"cloudevents\"").replace("timestamp = \"write\"\n", ""),
    );
    app.write("orders/function.json", r#"{"bindings":[{"type":"eventGridTrigger","name":"event","direction":"in"}]}"#);
    let instance = Instance::start(&app);
    for id in ["1", "2", "1"] {
        instance.succeed("orders", &json!({"Data": {"event": event(id)}, "Metadata": {}}));
    }
    assert_eq!(app.lines().len(), 2);
    // Where the source does not know events, they would not be recognised.
    app.write("lakeport.toml", ORDERS);
    let refused = app.command(&["functions"]).env("FUNCTIONS_CUSTOMHANDLER_PORT", "1").output().unwrap();
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("the envelope `plain`"), "{error}");

    let app = blob_app();
    app.write("orders/function.json", QUEUE);
    app.write("incoming/a/b.ndjson", orders(0..5));
    let instance = Instance::start(&app);
    let announced = |kind: &str, name: &str| {
        let event = json!({"topic": "/t", "id": "1", "eventType": kind, "eventTime": "2026-11-21T00:00:00Z", "dataVersion": "",
            "subject": format!("/blobServices/default/containers/incoming/blobs/{name}"), "data": {"api": "PutBlob"}});
        message("m", &event.to_string(), 1)
    };
    instance.succeed("orders", &announced("Microsoft.Storage.BlobCreated", "a/b.ndjson"));
    instance.succeed("orders", &announced("Microsoft.Storage.BlobCreated", "a/b.ndjson"));
    instance.succeed("orders", &announced("Microsoft.Storage.BlobDeleted", "a/b.ndjson"));
    assert_once(&app, 5);
    assert_eq!(instance.call("orders", &message("m", &order(9), 1)).status, 500);
}

#[test]
fn a_timer_writes_the_files_of_periods_that_are_over_though_nothing_is_delivered() {
    let hourly = "files = \"sealed\"\ngranularity = \"hour\"\nlateness = \"0s\"\n";
    let app = queue_app("");
    app.write("lakeport.toml", ORDERS.replace("timestamp", &format!("{hourly}timestamp")));
    app.write("clock/function.json", CLOCK);
    let timer = timer();
    let instance = Instance::start(&app);
    instance.succeed("orders", &message("m0", &order(0), 1));
    instance.succeed("clock", &timer);
    assert!(app.files().is_empty(), "its hour is not over");
    instance.stop();
    let later = Instance::start_with(&app, &[("LAKEPORT_CLOCK_AHEAD", "7200")]);
    later.succeed("clock", &timer);
    assert_once(&app, 1);
    let log = app.log().len();
    later.succeed("clock", &timer);
    assert_eq!(app.log().len(), log, "nothing is due any more");
    later.stop();
}

#[test]
fn a_timer_ends_within_the_time_of_an_invocation_and_the_next_one_goes_on() {
    let total = 50_000;
    let app = Installation::new(
        "[sources.signals]\nfiles = \"signals.ndjson\"\ntime = false\n[exports.signals]\nsource = \"signals\"\n\
         timestamp = \"write\"\nflush = { every = \"100ms\" }\n",
    );
    app.write("clock/function.json", CLOCK);
    app.write("signals.ndjson", orders(0..total));
    let (mut unfinished, mut millis) = (0, 10);
    loop {
        app.write("host.json", format!(r#"{{"functionTimeout":"00:00:{:02}.{:03}"}}"#, millis / 1000, millis % 1000));
        let instance = Instance::start(&app);
        let answer = instance.call("clock", &timer());
        instance.stop();
        if answer.status == 200 {
            break;
        }
        let error = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(error.contains("nearly over") && error.contains("raise `functionTimeout`"), "{error}");
        (unfinished, millis) = (unfinished + 1, (millis * 4).min(59_000));
    }
    assert!(unfinished > 0, "the first one had hardly the time to begin");
    assert_once(&app, total);
}

#[test]
fn a_timer_is_answered_in_time_though_the_lake_does_not_answer() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let app = Installation::new(&format!(
        "[sources.signals]\nfiles = \"signals.ndjson\"\n[exports.signals]\nsource = \"signals\"\nlake = \"main\"\n\n\
         [server]\nstop-within = \"1s\"\n\n{}",
        silent_lake(&silent)
    ));
    app.write("clock/function.json", CLOCK);
    app.write("signals.ndjson", orders(0..10));
    app.write("host.json", r#"{"functionTimeout":"00:00:02"}"#);
    let instance = Instance::start_with(&app, &[("LAKE_KEY", "secret")]);
    let begun = Instant::now();
    assert_eq!(instance.call("clock", &timer()).status, 500);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// What a platform delivers: each number of a queue's messages, of a hub's events and of blobs at least once, to any instance.
struct Platform<'a> {
    instances: [&'a Mutex<Option<Instance>>; 2],
    random: Random,
}

impl Platform<'_> {
    /// Delivers to one of the instances; whether it was taken.
    fn deliver(&mut self, function: &str, body: &Value) -> bool {
        let address = {
            let instance = self.random.one_of(&self.instances).lock().unwrap();
            instance.as_ref().map(|instance| instance.address)
        };
        let Some(address) = address else { return false };
        let headers = [("Content-Type", "application/json")];
        let answer = request(address, "POST", &format!("/{function}"), &headers, body.to_string().as_bytes());
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Delivers until it is taken, and now and then once more.
    fn deliver_at_least_once(&mut self, function: &str, body: &Value) {
        let begun = Instant::now();
        while !self.deliver(function, body) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{function} is never taken: {body}");
            std::thread::sleep(Duration::from_millis(self.random.within(10..=100)));
        }
        if self.random.happens(300) {
            self.deliver(function, body);
        }
    }
}

/// Messages, events and blobs for two instances at once, which are killed at random: everything is in the lake once.
fn two_instances(app: &Installation, variables: &[(&str, &str)], count: u64, kills: bool) {
    let instances = [(); 2].map(|()| Mutex::new(Some(Instance::start_with(app, variables))));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let platform = |seed| Platform { instances: [&instances[0], &instances[1]], random: Random::new(seed) };
        let senders = [
            scope.spawn({
                let mut platform = platform(1);
                move || {
                    for n in 0..count {
                        platform.deliver_at_least_once("orders", &message(&format!("m{n}"), &order(n), 1));
                        // An old one comes again, out of order.
                        let old = n - platform.random.within(0..=n.min(20));
                        platform.deliver("orders", &message(&format!("m{old}"), &order(old), 2));
                    }
                }
            }),
            scope.spawn({
                let mut platform = platform(2);
                move || {
                    let mut at = 0;
                    let begun = Instant::now();
                    while at < count {
                        assert!(begun.elapsed() < Duration::from_secs(240), "the hub is stuck at {at}");
                        // A checkpoint may be old, and a gap is refused.
                        let first = if platform.random.happens(100) {
                            at + 3
                        } else {
                            at - platform.random.within(0..=at.min(10))
                        };
                        let end = (first + platform.random.within(1..=25)).min(count);
                        if first < end
                            && platform
                                .deliver("events", &events_of("7", first, &(first..end).map(order).collect::<Vec<_>>()))
                        {
                            assert!(first <= at, "a gap was accepted");
                            at = at.max(end);
                        }
                    }
                }
            }),
            scope.spawn({
                let mut platform = platform(3);
                move || {
                    for n in 0..count / 10 {
                        platform.deliver_at_least_once("files", &blob("incoming", &format!("{n}.ndjson"), None));
                    }
                }
            }),
        ];
        scope.spawn(|| {
            let mut random = Random::new(4);
            while kills && !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(random.within(300..=1_200)));
                let place = &instances[random.within(0..=1) as usize];
                place.lock().unwrap().take().expect("it is there between kills").kill();
                *place.lock().unwrap() = Some(Instance::start_with(app, variables));
            }
        });
        let ended = senders.map(|sender| sender.join());
        over.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
}

/// Three functions of one app, whose lake has these lines of configuration.
fn app_of_three(lake: &str, count: u64) -> Installation {
    let export = |name: &str, source: &str| {
        format!(
            "[sources.{name}]\nhttp = true\ntime = false\n{source}\n[exports.{name}]\nsource = \"{name}\"\nlake = \"lake\"\n\
             timestamp = \"write\"\nflush = {{ every = \"1h\" }}\n\
             path = \"{{export}}/{{partition}}/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"\n\n"
        )
    };
    let app = Installation::new(&format!(
        "{}{}{}[lakes.incoming]\nurl = \"./incoming\"\n\n[lakes.lake]\n{lake}\n",
        export("orders", "partitions = 2\n"),
        export("events", ""),
        export("files", "partitions = 2\nlake = \"incoming\"\n"),
    ));
    app.write("orders/function.json", QUEUE);
    app.write("files/function.json", BLOB);
    app.write(
        "events/function.json",
        r#"{"bindings":[{"type":"eventHubTrigger","name":"events","cardinality":"many","eventHubName":"hub","connection":"HUB"}]}"#,
    );
    (0..count / 10).for_each(|n| app.write(&format!("incoming/{n}.ndjson"), orders(n * 10..n * 10 + 10)));
    app
}

/// Wants every order, event and line of a blob to be in the files of its export once.
fn assert_all_once(files: &BTreeMap<String, Vec<u8>>, count: u64) {
    for export in ["orders", "events", "files"] {
        let own = files.iter().filter(|(path, _)| path.contains(&format!("{export}/")));
        let found = numbers(&own.map(|(path, bytes)| (path.clone(), bytes.clone())).collect());
        let expected: BTreeMap<String, usize> = (0..count).map(|n| (n.to_string(), 1)).collect();
        let differ: Vec<_> = expected.iter().filter(|(id, times)| found.get(*id) != Some(*times)).collect();
        assert!(found.len() == expected.len() && differ.is_empty(), "{export}: {differ:?} of {}", found.len());
    }
}

#[test]
fn two_instances_that_are_killed_write_everything_once() {
    let count = 2_000 / stride(20) as u64;
    let app = app_of_three("url = \"./lake\"", count);
    two_instances(&app, &[], count, true);
    assert_all_once(&app.files(), count);
}

#[test]
fn two_instances_write_everything_once_to_azure() {
    let store = Store::azure();
    let count = 1_000 / stride(20) as u64;
    let app = app_of_three(&store.lake(&store.url(), "exports"), count);
    two_instances(&app, &[("LAKE_KEY", store.secret())], count, false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let objects = runtime.block_on(store.objects("exports"));
    let is_visible = |path: &String| !path.contains("/_lakeport/");
    assert_all_once(&objects.into_iter().filter(|(path, _)| is_visible(path)).collect(), count);
}
