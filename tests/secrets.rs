//! What `lakeport serve` shows: no secret, and in its log nothing that a client could have written.

use serde_json::{Value, json};

use crate::support::collector::Collector;
use crate::support::http::{LINES, Serving};
use crate::support::lake_folder::{Installation, signal, visible_files};
use crate::support::process::wait_until;
use crate::support::proxy::{Mode, Proxy};
use crate::support::stores::Store;

const WAIT: &str = "/v1/ingest/signals?wait=commit";

#[test]
fn secrets_are_in_nothing_that_is_shown() {
    const TOKEN: &str = "canary-token-9d41c07e55aa4f1b";
    const SIGNING: &str = "canary-signing-1b7e93d2c04f4a6e";
    const COLLECTOR: &str = "canary-collector-77c1";
    const LAKE: &str = "canary-lake-secret-3fe07a2c";
    let store = Store::s3();
    let proxy = Proxy::before(&store.url());
    let collector = Collector::start();
    let configuration = format!(
        "[lakes.main]\n{}\n[sources.signals]\nhttp = true\n[exports.signals]\nsource = \"signals\"\nflush = {{ every = \"100ms\" }}\n\
         [server.keys.sender]\ntoken = \"env:TOKEN\"\nmetrics = true\n[server.keys.signer]\nhmac = \"file:signing\"\n",
        store.lake(&proxy.url(), "exports"),
    );
    let mut seen = String::new();
    for form in ["text", "json"] {
        let installation = Installation::new(&configuration);
        installation.write("signing", SIGNING);
        let command = |arguments: &[&str]| {
            let mut command = installation.command(arguments);
            command
                .env("LAKE_KEY", LAKE)
                .env("TOKEN", TOKEN)
                .env("LAKEPORT_LOG", "trace")
                .env("LAKEPORT_TRACES", "debug");
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address));
            command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("api-key={COLLECTOR}"));
            command
        };
        let serving = Serving::start_command(command(&["serve", "--listen", "127.0.0.1:0", "--log", form]));
        let bearer = format!("Bearer {TOKEN}");
        let good = ("Authorization", bearer.as_str());
        assert_eq!(serving.post(WAIT, &[LINES, good], (signal(0, 0) + "\n").as_bytes()).status, 200);
        proxy.set(Mode::Unavailable);
        assert_eq!(serving.post("/v1/ingest/signals", &[LINES, good], (signal(1, 0) + "\n").as_bytes()).status, 202);
        let hits = proxy.hits();
        wait_until("the store is asked in vain", || proxy.hits() > hits);
        let wrong: [&[(&str, &str)]; 6] = [
            &[],
            &[("Authorization", TOKEN)],
            &[("Authorization", &format!("Basic {TOKEN}"))],
            &[good, good],
            &[("Lakeport-Key", SIGNING), ("Lakeport-Timestamp", TOKEN), ("Lakeport-Signature", SIGNING)],
            &[
                ("Lakeport-Key", "signer"),
                ("Lakeport-Timestamp", "1"),
                ("Lakeport-Signature", &format!("v1={SIGNING}")),
            ],
        ];
        let targets = ["/v1/ingest/signals".to_owned(), format!("/v1/ingest/signals?token={TOKEN}")];
        for (headers, target) in wrong.iter().flat_map(|headers| targets.iter().map(move |target| (headers, target))) {
            let answer = serving.post(target, headers, b"{}");
            assert!(matches!(answer.status, 400 | 401), "{answer:?}");
            seen += &format!("{answer:?}{}", String::from_utf8_lossy(&answer.body));
        }
        let asking: [&[(&str, &str)]; 2] = [&[], &[good]];
        for headers in asking {
            for page in ["/metrics", "/readyz", "/healthz", "/v1/openapi.json"] {
                let answer = crate::support::http::request(serving.address, "GET", page, headers, b"").unwrap();
                seen += &format!("{answer:?}{}", String::from_utf8_lossy(&answer.body));
            }
        }
        let unauthenticated = "lakeport_serve_refusals_total{reason=\"unauthenticated\"}";
        assert!(seen.contains(unauthenticated), "{seen}");
        // A lake that is not there, and one that is away, are told of without what opens them.
        proxy.set(Mode::Pass);
        installation.write("wrong.toml", configuration.replace("exports/product/", "none-such/product/"));
        for arguments in [["status", "lakeport.toml"], ["check", "lakeport.toml"], ["status", "wrong.toml"]] {
            let output = command(&arguments).output().unwrap();
            seen += &(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr));
        }
        serving.signal(libc::SIGHUP);
        wait_until("the keys are read again", || serving.log().contains("read the keys"));
        // One that cannot be used is told of, and not shown.
        installation.write("signing", "canary-s");
        serving.signal(libc::SIGHUP);
        wait_until("they stay", || serving.log().contains("the old one stays"));
        assert_eq!(serving.post(WAIT, &[LINES, good], (signal(2, 0) + "\n").as_bytes()).status, 200);
        let log = serving.log_after_stop(0);
        let refusals = log.matches("refused a request").count();
        assert!((1..=6).contains(&refusals), "each reason once in a while: {refusals}");
        seen += &log;
        for command_line in ["status --json", "dead-letters --json", "replay --json", "check --json", "run --json"] {
            let output = command(&command_line.split(' ').collect::<Vec<_>>()).output().unwrap();
            seen += &(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr));
        }
        let log = visible_files(&installation.path().join("lakeport-wal"));
        let lake = tokio::runtime::Runtime::new().unwrap().block_on(store.objects("exports"));
        assert!(!log.is_empty() && !lake.is_empty());
        for (name, bytes) in log.into_iter().chain(lake) {
            seen += &(name + &String::from_utf8_lossy(&bytes));
        }
    }
    // The collector's own header is what authenticates to it.
    seen += &collector.text().replace(&format!("api-key: {COLLECTOR}"), "");
    assert!(seen.len() > 10_000 && seen.contains("POST /v1/ingest/{source}"));
    for secret in [TOKEN, SIGNING, COLLECTOR, LAKE, "canary-s"] {
        let at = seen
            .find(secret)
            .map(|at| seen[..at].chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect::<String>());
        assert_eq!(at, None, "`{secret}` is shown");
    }
}

#[test]
fn each_log_line_is_one_and_none_is_a_clients() {
    const EVIL: &str = "\u{1b}[31m\r\n2026-01-01T00:00:00Z ERROR forged {\"level\":\"ERROR\"}";
    let encoded: String = EVIL.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let installation = Installation::new(
        "[plugins.odd]\npath = \"PATH\"\n[sources.signals]\nhttp = true\n[exports.signals]\nsource = \"signals\"\n\
         filters = [{ plugin = \"odd\", mode = \"forge-log-line\" }]\n"
            .replace("PATH", test_guests::FILTER)
            .as_str(),
    );
    for form in ["json", "text"] {
        let mut command = installation.command(&["serve", "--listen", "127.0.0.1:0", "--log", form]);
        command.env("LAKEPORT_LOG", "debug");
        let serving = Serving::start_command(command);
        assert_eq!(serving.post(&format!("/v1/ingest/{encoded}"), &[LINES], b"{}").status, 404);
        assert_eq!(serving.post(&format!("/v1/ingest/signals?{encoded}=1"), &[LINES], b"{}").status, 400);
        assert_eq!(serving.post("/v1/ingest/signals", &[LINES], EVIL.as_bytes()).status, 400);
        let kind = [("Content-Type", "a/\u{9b}31m")];
        assert_eq!(serving.post("/v1/ingest/signals", &kind, b"{}").status, 415);
        let traced = [LINES, ("traceparent", "00-\u{9b}31m-forged-01")];
        let body = format!("{}\n", json!({ "id": EVIL, "signalTime": EVIL, "name": EVIL }));
        assert_eq!(serving.post(WAIT, &traced, body.as_bytes()).status, 200);
        let log = serving.log_after_stop(0);
        assert!(log.contains("refused a request") && log.contains("all is well"), "{log}");
        assert!(!log.contains(['\u{1b}', '\u{9b}', '\r']), "{log:?}");
        for line in log.lines() {
            match form {
                "json" => {
                    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                    assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
                }
                _ => assert!(line.starts_with("20") && !line.starts_with("2026-01-01T00:00:00Z ERROR"), "{line}"),
            }
        }
    }
}
