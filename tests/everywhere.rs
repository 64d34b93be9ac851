//! One configuration and one plugin of a user, however the records come: the files in the lake are the same, byte for byte.

use std::collections::BTreeMap;

use crate::support::functions::{Instance, events_of};
use crate::support::http::Serving;
use crate::support::lake_folder::{Installation, signals};

/// An installation whose source has these lines, and whose transform is a component that was built outside of the host.
fn installation(input: &str, server: &str) -> Installation {
    Installation::new(&format!(
        "{server}[plugins.odd]\npath = \"{}\"\n\n[sources.signals]\n{input}\n\n[exports.signals]\nsource = \"signals\"\n\
         transforms = [{{ plugin = \"odd\", mode = \"duplicate\" }}]\nflush = {{ every = \"1h\" }}\n\
         path = \"{{export}}/{{kind}}/{{partition}}/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"\n",
        test_guests::TRANSFORM
    ))
}

const LINES: &str = "application/x-ndjson";

#[test]
fn files_requests_and_events_give_the_same_files() {
    let records = signals(100);
    let from_files = installation("files = \"signals.ndjson\"", "");
    from_files.write("signals.ndjson", &records);
    from_files.run_ok(&["run"]);
    let expected: BTreeMap<String, Vec<u8>> = from_files.files();
    assert!(expected.len() > 1, "{:?}", expected.keys());

    let served = installation("http = true", "");
    let serving = Serving::start(&served);
    let answer = serving.post("/v1/ingest/signals?wait=commit", &[("Content-Type", LINES)], records.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    drop(serving);

    let without_disk = installation("http = true", "[server]\nacknowledge = \"lake\"\n\n");
    let serving = Serving::start(&without_disk);
    let answer = serving.post("/v1/ingest/signals", &[("Content-Type", LINES)], records.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    drop(serving);

    let of_a_hub = installation("http = true", "");
    of_a_hub.write(
        "signals/function.json",
        r#"{"bindings":[{"type":"eventHubTrigger","name":"events","cardinality":"many","eventHubName":"hub","connection":"HUB"}]}"#,
    );
    let instance = Instance::start(&of_a_hub);
    let bodies: Vec<_> = records.lines().map(str::to_owned).collect();
    instance.succeed("signals", &events_of("0", 17, &bodies));
    drop(instance);

    for (how, other) in [("served", served), ("without a disk", without_disk), ("of a hub", of_a_hub)] {
        assert!(other.files() == expected, "{how}: {:?}", other.files().keys());
    }
}
