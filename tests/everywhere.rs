//! One configuration and one plugin of a user, however the records come: the files in the lake are the same, byte for byte.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::functions::{Instance, blob, events_of};
use crate::support::http::Serving;
use crate::support::lake_folder::{Installation, signals};

/// An installation whose source has these lines, and whose transform is a component that was built outside of the host.
fn installation(input: &str, server: &str) -> Installation {
    Installation::new(&format!(
        "{server}[lakes.lake]\nurl = \"./lake\"\n\n[lakes.raw]\nurl = \"./raw\"\n\n[plugins.odd]\npath = \"{}\"\n\n\
         [sources.signals]\n{input}\n\n[exports.signals]\nsource = \"signals\"\nlake = \"lake\"\n\
         transforms = [{{ plugin = \"odd\", mode = \"duplicate\" }}]\nflush = {{ every = \"1h\" }}\n\
         path = \"{{export}}/{{kind}}/{{partition}}/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"\n",
        test_guests::TRANSFORM
    ))
}

/// Sends records to `lakeport serve`, and returns the files that are in the lake then.
fn served(server: &str, target: &str, records: &str) -> BTreeMap<String, Vec<u8>> {
    let installation = installation("http = true", server);
    let serving = Serving::start(&installation);
    let answer = serving.post(target, &[("Content-Type", LINES)], records.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    drop(serving);
    installation.files()
}

/// Invokes a function of this trigger, and returns the files that are in the lake then.
fn invoked(trigger: &str, more: &str, records: &str, body: &Value) -> BTreeMap<String, Vec<u8>> {
    let app = installation(&format!("http = true\n{more}"), "");
    app.write("signals/function.json", format!(r#"{{"bindings":[{trigger}]}}"#));
    app.write("raw/signals.ndjson", records);
    let instance = Instance::start(&app);
    let answer = instance.call("signals", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    drop(instance);
    app.files()
}

const LINES: &str = "application/x-ndjson";
const HUB: &str =
    r#"{"type":"eventHubTrigger","name":"events","cardinality":"many","eventHubName":"hub","connection":"HUB"}"#;
const BUS: &str =
    r#"{"type":"serviceBusTrigger","name":"messages","cardinality":"many","queueName":"signals","connection":"BUS"}"#;
const BLOB: &str =
    r#"{"type":"blobTrigger","name":"blob","path":"raw/{name}","connection":"STORE","dataType":"binary"}"#;
const HTTP: &str = r#"{"type":"httpTrigger","name":"req"},{"type":"http","name":"res","direction":"out"}"#;

#[test]
fn files_requests_and_every_trigger_give_the_same_files() {
    let records = signals(100);
    let from_files = installation("files = \"raw/signals.ndjson\"", "");
    from_files.write("raw/signals.ndjson", &records);
    from_files.run_ok(&["run"]);
    let expected = from_files.files();
    assert!(expected.len() > 1, "{:?}", expected.keys());

    let bodies: Vec<_> = records.lines().map(str::to_owned).collect();
    let numbers: Vec<_> = (0..bodies.len()).collect();
    let times: Vec<_> = numbers.iter().map(|n| format!("2026-11-21T00:00:00.{n:03}")).collect();
    let messages = json!({
        "Data": {"messages": json!(bodies).to_string()},
        "Metadata": {"SequenceNumberArray": json!(numbers).to_string(), "EnqueuedTimeUtcArray": json!(times).to_string()}
    });
    let request = json!({"Data": {"req": {"Url": "https://a/api/signals", "Method": "POST", "Query": {}, "Params": {},
        "Headers": {"Content-Type": [LINES]}, "Body": records}}, "Metadata": {}});
    let without_disk = "[server]\nacknowledge = \"lake\"\n\n";
    for (how, found) in [
        ("served", served("", "/v1/ingest/signals?wait=commit", &records)),
        ("served without a disk", served(without_disk, "/v1/ingest/signals", &records)),
        ("events of a hub", invoked(HUB, "", &records, &events_of("0", 17, &bodies))),
        ("messages of a queue", invoked(BUS, "", &records, &messages)),
        ("a blob", invoked(BLOB, "lake = \"raw\"", &records, &blob("raw", "signals.ndjson", None))),
        ("a request", invoked(HTTP, "", &records, &request)),
    ] {
        assert!(found == expected, "{how}: {:?}", found.keys());
    }
}
