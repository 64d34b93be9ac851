//! A configuration that changes while `lakeport serve` is at work: exports come, change and go, and no record is lost or there twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::http::{LINES, Serving, request};
use crate::support::lake_folder::{Installation, ids_of, signal, visible_files};
use crate::support::process::wait_until;
use crate::support::random::Random;
use crate::support::tools::{python, root};

const WAIT: &str = "/v1/ingest/signals?wait=commit";
const STARTED: &str = "the exports are started as the configuration is now";
const REFUSED: &str = "the configuration cannot be used, and the old one stays";
const SIGNALS: &str =
    "[sources.signals]\nhttp = true\n\n[exports.signals]\nsource = \"signals\"\nflush = { every = \"50ms\" }\n";
const MORE: &str = "[exports.more]\nsource = \"signals\"\nflush = { every = \"50ms\" }\n";

/// Clients that send records with keys, each until it is acknowledged.
struct Load {
    port: AtomicU16,
    over: AtomicBool,
    next: AtomicUsize,
    acknowledged: Mutex<BTreeSet<usize>>,
}

impl Load {
    fn to(serving: &Serving) -> Load {
        Load {
            port: AtomicU16::new(serving.address.port()),
            over: AtomicBool::default(),
            next: AtomicUsize::default(),
            acknowledged: Mutex::default(),
        }
    }

    /// Runs `during` while two clients send; then lets them end. Returns how many records were sent.
    fn while_sending<T>(&self, during: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..2).map(|_| scope.spawn(|| self.send())).collect();
            // However it ends, the clients do.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
            self.over.store(true, Ordering::Relaxed);
            clients.into_iter().for_each(|client| client.join().unwrap());
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn send(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let (body, key) = (signal(id, id % 60) + "\n", id.to_string());
            let headers = [LINES, ("Idempotency-Key", key.as_str())];
            wait_until("the request is acknowledged", || {
                let address = SocketAddr::from(([127, 0, 0, 1], self.port.load(Ordering::Relaxed)));
                let answer = request(address, "POST", "/v1/ingest/signals", &headers, body.as_bytes());
                let Ok(answer) = answer else { return false };
                assert!(matches!(answer.status, 200 | 202 | 429 | 503), "{answer:?}");
                assert!(answer.status < 300 || answer.header("retry-after").is_some(), "{answer:?}");
                answer.status < 300
            });
            self.acknowledged.lock().unwrap().insert(id);
        }
    }

    fn acknowledged(&self) -> BTreeSet<usize> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Asserts that `found` has every record once.
    fn assert_once(&self, found: &BTreeMap<String, usize>) {
        let expected: BTreeMap<_, _> = self.acknowledged().iter().map(|id| (id.to_string(), 1)).collect();
        assert!(expected.len() > 10, "hardly anything was sent: {}", expected.len());
        let wrong: Vec<_> = expected.iter().filter(|(id, times)| found.get(*id) != Some(times)).collect();
        assert!(wrong.is_empty() && found.len() == expected.len(), "{} found, wrong: {wrong:?}", found.len());
    }
}

/// The identifiers in the files of an export.
fn ids(installation: &Installation, export: &str) -> BTreeMap<String, usize> {
    let folder = format!("{export}/");
    ids_of(installation.files().into_iter().filter(|(path, _)| path.starts_with(&folder)).collect())
}

/// Replaces the configuration, tells the server, and waits until its exports run with it.
fn reload(serving: &Serving, installation: &Installation, configuration: &str) {
    let before = serving.log().matches(STARTED).count();
    installation.write("lakeport.toml", configuration);
    serving.signal(libc::SIGHUP);
    wait_until("the exports are started again", || serving.log().matches(STARTED).count() > before);
}

fn sample(serving: &Serving, name: &str) -> f64 {
    let metrics = String::from_utf8(serving.get("/metrics").body).unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no `{name}` in {metrics}")).parse().unwrap()
}

fn warnings(serving: &Serving) -> String {
    serving.get("/readyz").json()["warnings"].to_string()
}

#[test]
fn exports_come_change_and_go_under_load_and_each_record_is_there_once() {
    let installation = Installation::new(SIGNALS);
    let serving = Serving::start(&installation);
    let load = Load::to(&serving);
    let filtered = SIGNALS.replace("flush", "filters = [{ plugin = \"select\", kinds = [\"Brew*\"] }]\nflush");
    let of_more = load.while_sending(|| {
        std::thread::sleep(Duration::from_millis(300));
        reload(&serving, &installation, &format!("{SIGNALS}{MORE}"));
        std::thread::sleep(Duration::from_millis(300));
        reload(&serving, &installation, &format!("{filtered}{MORE}"));
        let other = signal(1_000_000, 0).replace("BrewStarted", "Other") + "\n";
        assert_eq!(serving.post(WAIT, &[LINES], other.as_bytes()).status, 200);
        assert!(!ids(&installation, "signals").contains_key("1000000"), "the filter drops it");
        // Everything that was acknowledged before a commit of all exports is in the lakes of all of them.
        let of_more = load.acknowledged();
        let last = signal(1_000_001, 0).replace("BrewStarted", "Other") + "\n";
        assert_eq!(serving.post(WAIT, &[LINES], last.as_bytes()).status, 200);
        reload(&serving, &installation, &filtered);
        std::thread::sleep(Duration::from_millis(300));
        of_more
    });
    assert_eq!(sample(&serving, "lakeport_config_reloads_total{result=\"taken\"}"), 3.0);
    assert!(sample(&serving, "lakeport_export_records_total{export=\"signals\"}") >= load.acknowledged().len() as f64);
    assert!(serving.stop().success());
    load.assert_once(&ids(&installation, "signals"));
    let found = ids(&installation, "more");
    assert!(found.values().all(|times| *times == 1), "{found:?}");
    let missing: Vec<_> = of_more.iter().filter(|id| !found.contains_key(&id.to_string())).collect();
    assert!(missing.is_empty() && found["1000000"] == 1, "{missing:?}");
}

#[test]
fn what_cannot_be_used_leaves_the_old_exports_at_work_and_is_told() {
    let installation = Installation::new(SIGNALS);
    let serving = Serving::start(&installation);
    let plugin = |path: &str| {
        format!(
            "{SIGNALS}filters = [{{ plugin = \"odd\", mode = \"trap-on-some\" }}]\n[plugins.odd]\npath = \"{path}\"\n"
        )
    };
    let setting = SIGNALS.replace("flush", "filters = [{ plugin = \"select\", kinds = 5 }]\nflush");
    let wrong = [
        (SIGNALS.replace("source =", "sauce ="), "sauce"),
        (plugin("none.wasm"), "none.wasm"),
        (plugin(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")), "plugin `odd`"),
        (setting, "kinds"),
        (SIGNALS.replace("http = true", "stdin = true"), "reads standard input"),
    ];
    for (number, (configuration, reason)) in wrong.iter().enumerate() {
        installation.write("lakeport.toml", configuration);
        serving.signal(libc::SIGHUP);
        wait_until("it is told", || {
            let log = serving.log();
            log.lines().any(|line| line.contains(REFUSED) && line.contains(reason) && line.contains("ERROR"))
        });
        wait_until("it is shown", || warnings(&serving).contains(REFUSED));
        let answer = serving.post(WAIT, &[LINES], (signal(number, 0) + "\n").as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(sample(&serving, "lakeport_config_refused"), 1.0);
    }
    assert!(sample(&serving, "lakeport_config_reloads_total{result=\"refused\"}") >= wrong.len() as f64);
    assert_eq!(serving.get("/readyz").status, 200);
    installation.write("lakeport.toml", SIGNALS);
    wait_until("all is as it was", || warnings(&serving) == "null");
    assert_eq!(sample(&serving, "lakeport_config_refused"), 0.0);
    let log = serving.log_after_stop(0);
    assert!(!log.contains(STARTED), "nothing was restarted: {log}");
    assert_eq!(installation.ids(), (0..wrong.len()).map(|id| (id.to_string(), 1)).collect());
}

#[test]
fn signals_that_follow_each_other_fast_end_with_the_last_configuration() {
    let installation = Installation::new(SIGNALS);
    let serving = Serving::start(&installation);
    let load = Load::to(&serving);
    load.while_sending(|| {
        for round in 0..10 {
            let every = format!("{}ms", 40 + round);
            installation.write("lakeport.toml", SIGNALS.replace("50ms", &every));
            serving.signal(libc::SIGHUP);
            std::thread::sleep(Duration::from_millis(round * 7));
        }
        reload(&serving, &installation, &format!("{SIGNALS}{MORE}"));
    });
    wait_until("all is well", || warnings(&serving) == "null" && serving.get("/readyz").status == 200);
    assert_eq!(serving.post(WAIT, &[LINES], (signal(1_000_000, 0) + "\n").as_bytes()).status, 200);
    assert!(serving.stop().success());
    let mut found = ids(&installation, "signals");
    assert_eq!(found.remove("1000000"), Some(1));
    load.assert_once(&found);
    assert_eq!(ids(&installation, "more").get("1000000"), Some(&1));
}

#[test]
fn a_kill_in_the_middle_of_a_reload_loses_nothing() {
    let installation = Installation::new(SIGNALS);
    let mut random = Random::new(11);
    let load = Load::to(&Serving::start(&installation));
    load.while_sending(|| {
        for round in 0..8 {
            let serving = Serving::start(&installation);
            load.port.store(serving.address.port(), Ordering::Relaxed);
            wait_until("something was sent to it", || sample(&serving, "http_server_active_requests") >= 0.0);
            std::thread::sleep(Duration::from_millis(150));
            installation.write("lakeport.toml", SIGNALS.replace("50ms", &format!("{}ms", 51 + round)));
            serving.signal(libc::SIGHUP);
            std::thread::sleep(Duration::from_millis(random.within(0..=120)));
            serving.kill();
        }
        // The clients are answered by the last one.
        let serving = Serving::start(&installation);
        load.port.store(serving.address.port(), Ordering::Relaxed);
        load.over.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(500));
        assert!(serving.stop().success());
    });
    installation.run_ok(&["run", "--quiet"]);
    load.assert_once(&installation.ids());
}

#[test]
fn what_a_source_that_goes_leaves_in_its_log_is_told_and_exported_when_it_is_back() {
    let other = "[lakes.main]\nurl = \"./lake\"\n[lakes.other]\nurl = \"./other\"\n";
    let signals = format!("{other}{}", SIGNALS.replace("flush", "lake = \"main\"\nflush"));
    let both = format!(
        "{signals}[sources.more]\nhttp = true\n[exports.more]\nsource = \"more\"\nlake = \"other\"\nflush = {{ every = \"50ms\" }}\n"
    );
    let installation = Installation::new(&both);
    let serving = Serving::start(&installation);
    assert_eq!(serving.post("/v1/ingest/more?wait=commit", &[LINES], (signal(0, 0) + "\n").as_bytes()).status, 200);
    // A lake that takes nothing.
    let lake = installation.path().join("other");
    let away = lake.with_extension("away");
    fs::rename(&lake, &away).unwrap();
    fs::write(&lake, "no folder").unwrap();
    for id in 1..6 {
        assert_eq!(serving.ingest("more", &(signal(id, 0) + "\n")).status, 202);
    }
    reload(&serving, &installation, &signals);
    assert_eq!(serving.ingest("more", "{}\n").status, 404);
    assert!(
        serving.log().contains("source `more` is no longer read, and 5 records of its write-ahead log"),
        "{}",
        serving.log()
    );
    assert!(warnings(&serving).contains("the write-ahead log `more` is that of no source"), "{}", warnings(&serving));
    assert!(sample(&serving, "lakeport_wal_unread_bytes{source=\"more\"}") > 5.0 * 80.0);
    assert_eq!(serving.post(WAIT, &[LINES], (signal(7, 0) + "\n").as_bytes()).status, 200);
    // It is told at the next start, too.
    assert!(serving.stop().success());
    let serving = Serving::start(&installation);
    assert!(warnings(&serving).contains("the write-ahead log `more` is that of no source"), "{}", warnings(&serving));
    fs::remove_file(&lake).unwrap();
    fs::rename(&away, &lake).unwrap();
    reload(&serving, &installation, &both);
    assert_eq!(serving.post("/v1/ingest/more?wait=commit", &[LINES], (signal(6, 0) + "\n").as_bytes()).status, 200);
    assert_eq!(warnings(&serving), "null");
    // Back and forth at once: the log is closed and opened again.
    for configuration in [&signals, &both, &signals, &both] {
        reload(&serving, &installation, configuration);
    }
    assert!(serving.stop().success());
    assert_eq!(ids_of(visible_files(&lake)), (0..7).map(|id| (id.to_string(), 1)).collect());
}

#[test]
fn without_a_log_requests_are_answered_by_the_lake_all_along() {
    let stateless = format!("[server]\nacknowledge = \"lake\"\n\n{SIGNALS}");
    let installation = Installation::new(&stateless);
    let serving = Serving::start(&installation);
    wait_until("it is ready", || serving.get("/readyz").status == 200);
    let load = Load::to(&serving);
    load.while_sending(|| {
        for round in 0..4 {
            std::thread::sleep(Duration::from_millis(200));
            reload(&serving, &installation, &stateless.replace("50ms", &format!("{}ms", 60 + round)));
        }
    });
    assert!(sample(&serving, "lakeport_deliveries_total") >= load.acknowledged().len() as f64);
    assert!(serving.stop().success());
    load.assert_once(&installation.ids());
}

#[test]
fn a_plugin_that_was_replaced_is_taken_once_it_is_accepted() {
    let configuration = SIGNALS.replace("flush", "filters = [{ plugin = \"odd\", mode = \"trap-on-some\" }]\nflush")
        + "[plugins.odd]\npath = \"odd.wasm\"\n";
    let installation = Installation::new(&configuration);
    let mut component = fs::read(test_guests::FILTER).unwrap();
    installation.write("odd.wasm", &component);
    let serving = Serving::start(&installation);
    assert_eq!(serving.post(WAIT, &[LINES], (signal(0, 0) + "\n").as_bytes()).status, 200);
    // A custom section: another component that does the same.
    component.extend([0, 2, 1, b'x']);
    installation.write("odd.wasm", &component);
    wait_until("it is refused", || serving.log().contains("plugin `odd` has the SHA-256"));
    assert_eq!(serving.post(WAIT, &[LINES], (signal(1, 0) + "\n").as_bytes()).status, 200);
    installation.run_ok(&["plugin", "accept", "lakeport.toml", "odd"]);
    wait_until("it is taken", || serving.log().contains("changed: plugins"));
    assert_eq!(serving.post(WAIT, &[LINES], (signal(2, 0) + "\n").as_bytes()).status, 200);
    wait_until("nothing is wrong", || warnings(&serving) == "null");
    assert!(serving.stop().success());
    assert_eq!(installation.ids(), (0..3).map(|id| (id.to_string(), 1)).collect());
}

/// A key and a certificate of an authority made for tests.
fn tls(name: &str) -> std::path::PathBuf {
    root().join("host/serve/tests/serve/tls").join(name)
}

#[test]
fn keys_are_read_again_and_what_needs_a_restart_is_named() {
    let configuration = "[server.keys.sender]\ntoken = \"file:token\"\nmetrics = true\n[sources.signals]\nhttp = true\n\
                         [exports.signals]\nsource = \"signals\"\nflush = { every = \"100ms\" }\n";
    let installation = Installation::new(configuration);
    installation.write("token", "first-token-of-many-bytes\n");
    let serving = Serving::start(&installation);
    let post = |token: &str| {
        let bearer = format!("Bearer {token}");
        serving
            .post("/v1/ingest/signals", &[LINES, ("Authorization", &bearer)], (signal(0, 0) + "\n").as_bytes())
            .status
    };
    let warnings = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        let ready = crate::support::http::request(serving.address, "GET", "/readyz", &headers, b"").unwrap().json();
        ready["warnings"].to_string()
    };
    assert_eq!((post("first-token-of-many-bytes"), post("second-token-of-many-bytes")), (202, 401));
    // Without a signal: the file has changed.
    installation.write("token", "second-token-of-many-bytes\n");
    wait_until("the new token is good", || post("second-token-of-many-bytes") == 202);
    assert_eq!(post("first-token-of-many-bytes"), 401);
    assert_eq!(warnings("second-token-of-many-bytes"), "null");
    // A configuration that cannot be used leaves all as it is, and is told of until it is mended.
    installation.write("lakeport.toml", configuration.replace("source =", "sauce ="));
    serving.signal(libc::SIGHUP);
    wait_until("it is told of", || warnings("second-token-of-many-bytes").contains("the old one stays"));
    wait_until("it is logged", || serving.log().contains("sauce"));
    assert_eq!(post("second-token-of-many-bytes"), 202);
    // One with other settings, too: those of the server need a restart, and are named; the exports are started again.
    installation.write("lakeport.toml", configuration.replace("100ms", "200ms") + "[server]\nmax-body = \"1MiB\"\n");
    wait_until("they are named", || {
        warnings("second-token-of-many-bytes").contains("taken at the next start: `server.max-body`\"")
    });
    wait_until("the exports are started again", || serving.log().contains("changed: `signals`"));
    // How records are acknowledged decides how exports are fed: those wait for the restart, too.
    let stateless = configuration.replace("100ms", "300ms") + "[server]\nacknowledge = \"lake\"\n";
    installation.write("lakeport.toml", stateless);
    wait_until("they are named", || {
        warnings("second-token-of-many-bytes").contains("`server.acknowledge`, `exports.signals`")
    });
    installation.write("lakeport.toml", configuration);
    wait_until("all is as it was", || warnings("second-token-of-many-bytes") == "null");
    assert_eq!(post("second-token-of-many-bytes"), 202);
    wait_until("no record was lost", || installation.ids().get("0") == Some(&4));
    assert!(serving.stop().success());
    assert_eq!(installation.ids()["0"], 4, "none came twice");
}

#[test]
fn a_new_certificate_is_taken_and_a_wrong_one_is_not() {
    let installation = Installation::new(
        "[server]\ncertificate = \"own.pem\"\nprivate-key = \"own.key\"\n[sources.signals]\nhttp = true\n\
         [exports.signals]\nsource = \"signals\"\n",
    );
    let copy = |from: &str, to: &str| std::fs::copy(tls(from), installation.path().join(to)).unwrap();
    copy("server.pem", "own.pem");
    copy("server.key", "own.key");
    let serving = Serving::start(&installation);
    let subject = || python(installation.path(), "certificate.py", &[serving.address.port().to_string()]);
    let first = subject();
    // Half of a pair: it is told of, and connections go on with the old one.
    copy("client.pem", "own.pem");
    wait_until("it is told of", || serving.log().contains("do not belong together"));
    assert_eq!(subject(), first);
    copy("client.key", "own.key");
    wait_until("the new one is served", || subject() != first);
    assert!(serving.stop().success());
}

#[test]
fn clients_need_a_certificate_of_the_authority_that_the_configuration_names() {
    let server =
        "[server]\ncertificate = \"server.pem\"\nprivate-key = \"server.key\"\nclient-authorities = \"ca.pem\"\n";
    // The authority is authentication enough for any address.
    let installation = Installation::new(&format!("{server}{SIGNALS}"));
    for name in ["server.pem", "server.key", "ca.pem", "client.pem", "client.key"] {
        fs::copy(tls(name), installation.path().join(name)).unwrap();
    }
    let serving = Serving::start_command(installation.command(&["serve", "--listen", "0.0.0.0:0"]));
    let url = format!("https://127.0.0.1:{}/v1/ingest/signals", serving.address.port());
    let post = |id: usize, own: &[&str]| {
        let line = signal(id, 0);
        let arguments = [&[url.as_str(), line.as_str(), "ca.pem"], own].concat();
        python(installation.path(), "mutual_tls.py", &arguments).trim().to_owned()
    };
    assert_eq!((post(0, &[]), post(1, &["client.pem", "client.key"])), ("refused".to_owned(), "202".to_owned()));
    // The authorities are read again, too: a file that is none leaves them as they are.
    installation.write("ca.pem", "no certificate");
    wait_until("it is told", || serving.log().contains(REFUSED));
    fs::copy(tls("ca.pem"), installation.path().join("ca.pem")).unwrap();
    assert_eq!(post(3, &["client.pem", "client.key"]), "202");
    assert!(serving.stop().success());
    assert_eq!(installation.ids(), [("1".to_owned(), 1), ("3".to_owned(), 1)].into());
}
