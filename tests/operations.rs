//! What operators see of `lakeport serve`: metrics, readiness, its description, its end.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{LINES, Serving};
use crate::support::lake_folder::{Installation, signal};
use crate::support::metrics::metrics;
use crate::support::process::wait_until;
use crate::support::proxy::{Mode, Proxy};
use crate::support::stores::Store;
use crate::support::tools::{printed, python, root, tool};

const WAIT: &str = "/v1/ingest/signals?wait=commit";

/// Signals of which one in ten makes the test filter trap.
fn trapping(ids: std::ops::Range<usize>) -> String {
    let line = |id: usize| match id % 10 {
        7 => signal(id, 0).replacen('{', r#"{"trap":true,"#, 1) + "\n",
        _ => signal(id, 0) + "\n",
    };
    ids.map(line).collect()
}

#[test]
fn metrics_tell_of_rejections_traps_and_a_store_that_fails() {
    let store = Store::s3();
    let proxy = Proxy::before(&store.url());
    let installation = Installation::new(&format!(
        "[lakes.main]\n{}\n[plugins.picky]\npath = \"{}\"\n[sources.signals]\nhttp = true\n[sources.files]\nfiles = \"in.ndjson\"\n\
         [exports.signals]\nsource = \"signals\"\nflush = {{ every = \"100ms\" }}\n\
         filters = [{{ plugin = \"picky\", mode = \"trap-on-some\" }}]\n\
         [exports.files]\nsource = \"files\"\nflush = {{ every = \"1h\" }}\n",
        store.lake(&proxy.url(), "exports"),
        test_guests::FILTER,
    ));
    installation.write("in.ndjson", trapping(0..3));
    let mut command = installation.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("LAKE_KEY", store.secret());
    let serving = Serving::start_command(command);
    assert_eq!(serving.post(WAIT, &[LINES], trapping(0..40).as_bytes()).status, 200);
    proxy.set(Mode::Unavailable);
    assert_eq!(serving.ingest("signals", &trapping(40..50)).status, 202);
    let waiting = r#"lakeport_export_state{"export":"signals","state":"waiting"}"#;
    let mut away = BTreeMap::new();
    wait_until("the export waits for its store", || {
        away = metrics(&serving, &installation);
        away[waiting] == 1.0
    });
    assert_eq!(away[r#"lakeport_export_lag_records{"export":"signals"}"#], 10.0);
    assert!(away[r#"lakeport_export_lag_seconds{"export":"signals"}"#] > 0.0);
    assert!(away[r#"lakeport_export_lag_bytes{"export":"signals","source":"signals"}"#] > 1_000.0);
    // What is accepted is safe, so that records are taken on.
    assert_eq!(serving.get("/readyz").status, 200);
    proxy.set(Mode::Pass);
    assert_eq!(serving.post(WAIT, &[LINES], trapping(50..60).as_bytes()).status, 200);

    let seen = metrics(&serving, &installation);
    let of = |name: &str| *seen.get(name).unwrap_or_else(|| panic!("no `{name}` in {seen:#?}"));
    let export = |name: &str| of(&format!(r#"lakeport_export_{name}{{"export":"signals"}}"#));
    assert_eq!(
        (export("records_total"), export("kept_records_total"), export("written_records_total")),
        (60.0, 54.0, 54.0)
    );
    assert_eq!((export("dead_letters_total"), export("lag_records"), export("lag_seconds")), (6.0, 0.0, 0.0));
    assert!(export("read_bytes_total") > 60.0 * 80.0 && export("written_bytes_total") > 54.0 * 80.0);
    assert!(export("kept_bytes_total") > 54.0 * 80.0 && export("dead_letter_bytes_total") > 6.0 * 80.0);
    assert!(export("commits_total") >= 3.0 && export("files_total") >= 1.0);
    assert!(export("restarts_total") >= 0.0);
    let of_files = |name: &str| of(&format!(r#"lakeport_export_{name}{{"export":"files"}}"#));
    assert_eq!(
        (of_files("records_total"), of_files("written_records_total"), of_files("lag_records")),
        (3.0, 0.0, 3.0)
    );
    assert!(of_files("lag_seconds") > 0.0);
    let commits = of(r#"lakeport_export_commit_duration_seconds_count{"export":"signals","result":"ok"}"#);
    assert_eq!(commits, export("commits_total"));
    for (operation, result) in [("create", "ok"), ("stage", "ok"), ("publish", "ok"), ("read", "absent")] {
        let labels = format!(r#"{{"lake":"main","operation":"{operation}","result":"{result}"}}"#);
        assert!(of(&format!("lakeport_store_request_duration_seconds_count{labels}")) > 0.0);
    }
    let throttled: f64 = seen
        .iter()
        .filter(|(name, _)| {
            name.starts_with("lakeport_store_request_duration_seconds_count") && name.contains("throttled")
        })
        .map(|(_, count)| count)
        .sum();
    assert!(throttled > 0.0 && of(r#"lakeport_store_retries_total{"export":"signals"}"#) > 0.0);
    let plugin = |name: &str| of(&format!(r#"lakeport_plugin_{name}{{"export":"signals","plugin":"picky"}}"#));
    assert!(plugin("traps_total") >= 6.0 && plugin("calls_total") > plugin("traps_total"));
    assert!(plugin("time_seconds_total") > 0.0 && plugin("memory_peak_bytes") >= 65_536.0);
    assert!(plugin("records_total") >= 60.0);
    assert_eq!((plugin("rejected_records_total"), plugin("broken_rules_total")), (0.0, 0.0));
    assert_eq!(of(r#"lakeport_export_epoch{"export":"signals","partition":"0"}"#), 1.0);
    let owner = seen.keys().find(|name| name.starts_with("lakeport_export_owner_info{\"export\":\"signals\""));
    assert!(owner.is_some_and(|owner| owner.contains(r#""owner":""#)), "{owner:?}");
    assert_eq!(of(r#"lakeport_wal_records_total{"source":"signals"}"#), 60.0);
    assert!(of(r#"lakeport_wal_bytes{"source":"signals"}"#) > 60.0 * 80.0);
    assert!(of(r#"lakeport_wal_flush_duration_seconds_count{"source":"signals"}"#) >= 3.0);
    assert_eq!(of(r#"lakeport_serve_records_total{"source":"signals"}"#), 60.0);
    documented(&seen, "## Deliveries");
    // What is in the log after a restart counts, too.
    proxy.set(Mode::Unavailable);
    assert_eq!(serving.ingest("signals", &trapping(60..65)).status, 202);
    serving.kill();
    let mut command = installation.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("LAKE_KEY", store.secret());
    let serving = Serving::start_command(command);
    let lag = || metrics(&serving, &installation)[r#"lakeport_export_lag_records{"export":"signals"}"#];
    assert!(lag() >= 5.0);
    proxy.set(Mode::Pass);
    wait_until("it is in the lake", || lag() == 0.0);
}

#[test]
fn metrics_of_a_server_without_a_log_tell_of_deliveries_rejections_and_commits_that_fail() {
    let installation = Installation::new(&format!(
        "[server]\nacknowledge = \"lake\"\n\n[plugins.picky]\npath = \"{}\"\n\n[sources.signals]\nhttp = true\n\n\
         [exports.signals]\nsource = \"signals\"\nflush = {{ every = \"1h\" }}\n\
         filters = [{{ plugin = \"picky\", mode = \"reject-odd\" }}]\n",
        test_guests::FILTER,
    ));
    let send = |to: &Serving, ids: std::ops::Range<usize>| {
        let lines: String = ids.map(|id| signal(id, 0) + "\n").collect();
        assert_eq!(to.post("/v1/ingest/signals", &[LINES], lines.as_bytes()).status, 200);
    };
    let (serving, other) = (Serving::start(&installation), Serving::start(&installation));
    send(&serving, 0..10);
    send(&other, 10..20);
    // The other server has the partition: it is taken back, and what was not committed comes once more.
    send(&serving, 20..30);
    let commits = |seen: &BTreeMap<String, f64>, result: &str| {
        let labels = format!(r#"{{"export":"signals","result":"{result}"}}"#);
        seen.get(&format!("lakeport_export_commit_duration_seconds_count{labels}")).copied().unwrap_or_default()
    };
    let seen = metrics(&serving, &installation);
    assert_eq!((commits(&seen, "ok"), commits(&seen, "overtaken"), commits(&seen, "failed")), (2.0, 1.0, 0.0));
    assert_eq!((seen["lakeport_deliveries_total{}"], seen["lakeport_delivery_retries_total{}"]), (2.0, 1.0));
    let rejected = seen[r#"lakeport_plugin_rejected_records_total{"export":"signals","plugin":"picky"}"#];
    assert_eq!(rejected, 15.0, "half of what was read, and of that five twice");
    assert_eq!(seen[r#"lakeport_export_dead_letters_total{"export":"signals"}"#], 15.0);
    documented(&seen, "## Write-ahead logs");
    // A log that cannot be written to.
    let log = installation.path().join("lake/_lakeport/signals/0/log");
    let aside = log.with_extension("aside");
    std::fs::rename(&log, &aside).unwrap();
    std::fs::write(&log, "").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| send(&serving, 30..40));
        wait_until("a commit has failed", || commits(&metrics(&serving, &installation), "failed") > 0.0);
        std::fs::remove_file(&log).unwrap();
        std::fs::rename(&aside, &log).unwrap();
    });
    assert!(metrics(&serving, &installation)["lakeport_delivery_retries_total{}"] > 1.0);
    assert_eq!(installation.lines().len(), 20);
    assert!(serving.stop().success() && other.stop().success());
}

/// Each metric has its line in docs/metrics.md, and no other has one outside of the section `without`.
fn documented(seen: &BTreeMap<String, f64>, without: &str) {
    let docs = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let (before, section) = docs.split_once(&format!("{without}\n")).unwrap();
    let (_, after) = section.split_once("\n## ").unwrap();
    let docs = format!("{before}\n{after}");
    let listed: Vec<&str> = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let family = |sample: &String| {
        let name = sample.split('{').next().unwrap();
        let histogram = |name: &str| {
            Some(name.strip_suffix("_bucket").or(name.strip_suffix("_sum")).or(name.strip_suffix("_count"))?.to_owned())
        };
        histogram(name).filter(|name| name.ends_with("_seconds")).unwrap_or_else(|| name.to_owned())
    };
    let found: std::collections::BTreeSet<String> = seen.keys().map(family).collect();
    for name in &found {
        assert!(listed.contains(&&**name), "docs/metrics.md does not have `{name}`");
    }
    for name in listed {
        // Those need a client that does wrong, a source that went, or a collector.
        let rare =
            ["lakeport_serve_connection_failures_total", "lakeport_serve_refusals_total", "lakeport_wal_unread_bytes"];
        let is_rare = rare.contains(&name)
            || name.starts_with("lakeport_traces_")
            || name == "lakeport_export_lag_bytes" && without == "## Write-ahead logs";
        assert!(is_rare || found.contains(name), "docs/metrics.md has `{name}`, which there is not");
    }
}

#[test]
fn readiness_names_the_export_that_keeps_records_from_the_lake() {
    let installation = Installation::new(
        "[lakes.main]\nurl = \"./lake\"\n[lakes.other]\nurl = \"./other\"\n\
         [sources.signals]\nhttp = true\n[sources.more]\nhttp = true\n\
         [exports.signals]\nsource = \"signals\"\nlake = \"main\"\n[exports.more]\nsource = \"more\"\nlake = \"other\"\n",
    );
    // Another lake's log is no log of this export's kind: the export fails and is not tried again.
    let first = Serving::start(&installation);
    wait_until("all exports are open", || first.get("/readyz").status == 200);
    let ready = first.get("/readyz").json();
    assert_eq!((&ready["status"], &ready["exports"][0]["state"]), (&"ok".into(), &"at-work".into()), "{ready}");
    assert_eq!(first.post("/v1/ingest/more?wait=commit", &[LINES], (signal(0, 0) + "\n").as_bytes()).status, 200);
    assert!(first.stop().success());
    let configuration = std::fs::read_to_string(installation.path().join("lakeport.toml")).unwrap();
    installation
        .write("lakeport.toml", configuration.replace("lake = \"other\"\n", "lake = \"other\"\ntype = \"changes\"\n"));
    let serving = Serving::start(&installation);
    let mut failed = Value::Null;
    wait_until("the export has failed", || {
        let ready = serving.get("/readyz");
        failed = ready.json();
        ready.status == 503 && failed["exports"].as_array().unwrap().iter().all(|export| export["state"] != "opening")
    });
    let export = failed["exports"].as_array().unwrap().iter().find(|export| export["name"] == "more").unwrap();
    assert_eq!((&export["state"], &export["ready"]), (&"failed".into(), &false.into()), "{failed}");
    let reason = export["reason"].as_str().unwrap();
    assert!(
        !reason.is_empty() && failed["reasons"][0].as_str().unwrap().starts_with("export `more` is failed: "),
        "{failed}"
    );
    assert_eq!(serving.get("/healthz").status, 200);
    // The others are at work.
    assert_eq!(serving.post(WAIT, &[LINES], (signal(0, 0) + "\n").as_bytes()).status, 200);
}

/// Sends a server what its description allows and what it does not, and wants it to answer as that says.
fn schemathesis(installation: &Installation, serving: &Serving, examples: &str, headers: &[&str]) {
    wait_until("it is ready", || serving.get("/readyz").status == 200);
    // The names of sources are those that there are, so that records reach them.
    let mut description = serving.get("/v1/openapi.json").json();
    let ingest = &mut description["paths"]["/v1/ingest/{source}"];
    let mut source = ingest["parameters"][0].clone();
    source["schema"]["enum"] = json!(["signals", "events"]);
    ingest["post"]["parameters"].as_array_mut().unwrap().push(source);
    installation.write("openapi.json", description.to_string());
    let mut command = Command::new(tool("py/bin/python"));
    command.arg(root().join("tests/verify/openapi.py")).args(["run", "openapi.json"]);
    command.args(["--url", &format!("http://{}", serving.address), "--phases", "examples,coverage,fuzzing"]);
    command.args(["--max-examples", examples, "--seed", "7", "--generation-database", "none", "--no-color"]);
    command.args(["--checks", "all"]);
    // What a schema cannot say: lines of JSON, and which content types a source takes.
    command.args(["--exclude-checks", "positive_data_acceptance"]);
    command.args(headers.iter().flat_map(|header| ["--header", header]));
    let began = std::time::Instant::now();
    println!("{}", printed(installation.path(), command));
    println!("schemathesis: {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(serving.get("/healthz").status, 200);
}

const DESCRIBED: &str = "[sources.signals]\nhttp = true\n[sources.events]\nhttp = true\nenvelope = \"cloudevents\"\n\
                         [exports.signals]\nsource = \"signals\"\n[exports.events]\nsource = \"events\"\n";

#[test]
fn the_server_is_as_its_description_says() {
    let installation = Installation::new(DESCRIBED);
    let serving = Serving::start(&installation);
    schemathesis(&installation, &serving, "20", &[]);
    assert!(serving.stop().success());
}

#[test]
fn a_server_with_keys_and_one_without_a_disk_are_as_the_description_says() {
    let installation = Installation::new(DESCRIBED);
    // The key is good for one of the two sources, and not for metrics.
    let key = "[server.keys.one]\ntoken = \"file:token\"\nsources = [\"signals\"]\n";
    installation.write("token", "a-token-of-many-bytes");
    for (more, headers) in [
        (key, &[][..]),
        (key, &["Authorization: Bearer a-token-of-many-bytes"]),
        ("[server]\nacknowledge = \"lake\"\n", &[]),
    ] {
        installation.write("lakeport.toml", format!("{more}{DESCRIBED}"));
        let serving = Serving::start(&installation);
        schemathesis(&installation, &serving, "5", headers);
        assert!(serving.stop().success());
    }
}

/// A way to a store that, once it is shut, neither answers nor ends.
fn door(store: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, is_shut) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let carry = |mut from: TcpStream, mut to: TcpStream, is_shut: Arc<AtomicBool>| {
        std::thread::spawn(move || {
            let mut bytes = [0; 16 << 10];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                while is_shut.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                if to.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            // The other end may be gone already.
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    let shut = is_shut.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(store) else { continue };
            carry(client.try_clone().unwrap(), server.try_clone().unwrap(), shut.clone());
            carry(server, client, shut.clone());
        }
    });
    (address, is_shut)
}

#[test]
fn a_stop_ends_within_its_deadline_and_loses_nothing() {
    let store = Store::s3();
    let (door, is_shut) = door(store.url().strip_prefix("http://").unwrap().parse().unwrap());
    let installation = Installation::new(&format!(
        "[lakes.main]\n{}\n[sources.signals]\nhttp = true\n[exports.signals]\nsource = \"signals\"\nflush = {{ every = \"1h\" }}\n",
        store.lake(&format!("http://{door}"), "exports")
    ));
    let start = |within: &str| {
        let mut command = installation.command(&["serve", "--listen", "127.0.0.1:0", "--stop-within", within]);
        command.env("LAKE_KEY", store.secret());
        let serving = Serving::start_command(command);
        wait_until("it is ready", || serving.get("/readyz").status == 200);
        serving
    };
    let serving = start("2s");
    assert_eq!(serving.ingest("signals", &trapping(0..10)).status, 202);
    wait_until("it was read", || {
        metrics(&serving, &installation)[r#"lakeport_export_records_total{"export":"signals"}"#] == 10.0
    });
    is_shut.store(true, Ordering::Relaxed);
    let began = std::time::Instant::now();
    let log = serving.log_after_stop(130);
    assert!((1..8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(log.contains("not everything that was read is in the lake 2s after the server was told to end"), "{log}");
    is_shut.store(false, Ordering::Relaxed);
    // What was acknowledged comes into the lake with the next one, whose stop commits it.
    let serving = start("20s");
    wait_until("it was read", || {
        metrics(&serving, &installation)[r#"lakeport_export_records_total{"export":"signals"}"#] == 10.0
    });
    serving.log_after_stop(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ids = crate::support::lake_folder::ids_of(crate::support::stores::visible(
        &runtime.block_on(store.objects("exports")),
    ));
    assert_eq!((ids.len(), ids.values().sum::<usize>()), (10, 10));
}

#[test]
fn what_is_deployed_parses_and_its_commands_serve() {
    let folder = tempfile::tempdir().unwrap();
    let found: Value = serde_json::from_str(&python(folder.path(), "deploy.py", &[root().join("deploy")])).unwrap();
    let docs = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let metrics = found["metrics"].as_array().unwrap();
    assert!(metrics.len() > 20, "{found}");
    for metric in metrics {
        let metric = metric.as_str().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| metric.strip_suffix(end)).unwrap_or(metric);
        assert!(
            docs.contains(&format!("| `{family}` |")) || docs.contains(&format!("| `{metric}` |")),
            "there is no `{metric}`"
        );
    }
    for command in found["commands"].as_array().unwrap() {
        let words: Vec<&str> = command["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let installation = Installation::new(command["configuration"].as_str().unwrap());
        let manager = UnixDatagram::bind(installation.path().join("notify")).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut started = installation.command(&words);
        started
            .env("SENSORS_TOKEN", "a-token-of-many-bytes")
            .env("METRICS_TOKEN", "another-of-many-bytes")
            .env("LAKE_KEY_ID", "id")
            .env("LAKE_KEY", "key");
        started.env("NOTIFY_SOCKET", installation.path().join("notify")).env("WATCHDOG_USEC", "200000");
        let serving = Serving::start_command(started);
        let hear = || {
            let mut bytes = [0; 64];
            let read = manager.recv(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..read]).into_owned()
        };
        assert_eq!(hear(), "READY=1");
        assert_eq!((hear(), hear()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
        assert!(serving.log().starts_with('{'), "logs are JSON: {}", serving.log());
        assert_eq!(serving.get("/healthz").status, 200);
        serving.signal(libc::SIGTERM);
        wait_until("the service manager hears of the end", || hear() == "STOPPING=1");
    }
}
