//! What `examples/` has for platforms is read whole, and takes what the platform would send it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::functions::{Instance, events_of, message};
use crate::support::http::{Serving, request};
use crate::support::lake_folder::Installation;
use crate::support::process::wait_until;
use crate::support::servers::AZURITE_KEY;
use crate::support::tools::{python, root};

/// The paths of all files of a folder, below it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name().into_string().unwrap())).unwrap();
        match path.is_dir() {
            true => found.extend(files(&path).into_iter().map(|file| format!("{name}/{file}"))),
            false => found.push(name),
        }
    }
    found.sort();
    found
}

/// A copy of an example, and the text of its configuration.
fn example(name: &str) -> (Installation, String) {
    let folder = root().join("examples").join(name);
    let installation = Installation::new("");
    files(&folder).iter().for_each(|file| installation.write(file, fs::read(folder.join(file)).unwrap()));
    (installation, fs::read_to_string(folder.join("lakeport.toml")).unwrap())
}

/// Wants `check` to find nothing wrong with the configuration as it is.
fn check(installation: &Installation, variables: &[(&str, &str)]) {
    let output = installation.command(&["check"]).envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Puts a folder beside the configuration into the place of a store.
fn with_folder(text: &str, lake: &str, folder: &str) -> String {
    let (before, rest) = text.split_once(&format!("[lakes.{lake}]\n")).unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    format!("{before}[lakes.{lake}]\nurl = \"./{folder}\"\n\n{after}")
}

/// The records that each export has in its lake.
fn records(installation: &Installation) -> Vec<(String, u64)> {
    let status: Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
    let exports = status["exports"].as_array().unwrap().iter();
    let mut found: Vec<_> =
        exports.map(|of| (of["export"].as_str().unwrap().to_owned(), of["records"].as_u64().unwrap_or(0))).collect();
    found.retain(|(_, records)| *records > 0);
    found.sort();
    found
}

#[test]
fn every_function_of_the_function_app_takes_what_its_trigger_brings() {
    let (app, text) = example("azure-functions");
    check(&app, &[("LAKE_KEY", AZURITE_KEY), ("UPLOADS_KEY", AZURITE_KEY)]);
    app.write("lakeport.toml", with_folder(&with_folder(&text, "main", "lake"), "uploads", "uploads"));
    app.write("uploads/a.ndjson", "{\"name\":\"Order\",\"signalTime\":\"2026-11-21T00:00:00Z\"}\n");
    let host: Value = serde_json::from_slice(&fs::read(app.path().join("host.json")).unwrap()).unwrap();
    let started = &host["customHandler"]["description"];
    assert_eq!(
        (&started["defaultExecutablePath"], &started["arguments"]),
        (&json!("lakeport"), &json!(["functions", "lakeport.toml", "--log", "json"]))
    );
    let instance = Instance::start(&app);
    assert_eq!(request(instance.address, "GET", "/", &[], b"").unwrap().status, 200);

    // Bodies that are binary come in base64.
    let bodies: Vec<_> = (0..3).map(|n| STANDARD.encode(format!(r#"{{"temperature":{n}}}"#))).collect();
    instance.succeed("telemetry", &events_of("3", 17, &bodies));
    let body = STANDARD.encode(r#"{"name":"Order","total":12}"#);
    let metadata = json!({"SequenceNumberArray": "[7,8]", "EnqueuedTimeUtcArray": r#"["2026-11-21T00:00:00","2026-11-21T00:00:01"]"#});
    instance.succeed("orders", &json!({"Data": {"messages": json!([body, body]).to_string()}, "Metadata": metadata}));
    let announced = json!({"topic": "/t", "id": "1", "eventType": "Microsoft.Storage.BlobCreated", "dataVersion": "",
        "subject": "/blobServices/default/containers/uploads/blobs/a.ndjson", "eventTime": "2026-11-21T00:00:00Z",
        "data": {"api": "PutBlob"}});
    let mut announced = message("m", &announced.to_string(), 1);
    announced["Data"] = json!({"event": announced["Data"]["message"]});
    instance.succeed("uploads", &announced);
    let event = json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "order",
        "time": "2026-11-21T00:00:00Z", "data": {"total": 12}});
    let asked = json!({"Url": "https://app.azurewebsites.net/api/ingest?code=KEY", "Method": "POST", "Query": "{}", "Params": {},
        "Headers": {"Content-Type": ["application/cloudevents+json"]}, "Body": event.to_string()});
    let answer = instance.call("ingest", &json!({"Data": {"req": asked}, "Metadata": {}})).json();
    assert_eq!(answer["Outputs"]["res"]["statusCode"], 200, "{answer}");
    let due = json!({"ScheduleStatus": null, "IsPastDue": false});
    instance.succeed("clock", &json!({"Data": {"timer": due}, "Metadata": {}}));
    instance.stop();

    let expected = [("ingest", 1), ("orders", 2), ("telemetry", 3), ("uploads", 1)].map(|(of, n)| (of.to_owned(), n));
    let mut found = BTreeMap::new();
    records(&app).into_iter().for_each(|(export, records)| *found.entry(export).or_insert(0) += records);
    assert_eq!(found, expected.clone().into());
    let functions = files(&root().join("examples/azure-functions"));
    let functions = functions.iter().filter(|file| file.ends_with("/function.json")).count();
    assert_eq!(functions, expected.len() + 1, "each function is invoked");
}

#[test]
fn the_service_for_knative_takes_the_events_of_its_broker() {
    let (service, text) = example("knative");
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    check(&service, &keys);
    let read: Value = serde_json::from_str(&python(service.path(), "knative.py", &["."])).unwrap();
    service.write("lakeport.toml", with_folder(&text, "main", "lake"));
    let arguments: Vec<&str> =
        read["arguments"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let arguments = [&arguments[..], &["--listen", "127.0.0.1:0"]].concat();
    let serving = Serving::start_command(service.command(&arguments));
    wait_until("it is ready", || serving.get(read["ready"].as_str().unwrap()).status == 200);
    // In binary mode, as the broker sends them; one comes again.
    for id in ["1", "2", "1"] {
        let headers = [
            ("Content-Type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", "/shop"),
            ("ce-type", "order"),
            ("ce-time", "2026-11-21T00:00:00Z"),
        ];
        let answer = serving.post(read["uri"].as_str().unwrap(), &headers, br#"{"total":12}"#);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(serving.stop().success());
    assert_eq!(records(&service).iter().map(|(_, records)| records).sum::<u64>(), 2);
    assert_eq!(
        files(&root().join("examples/knative")),
        ["Containerfile", "README.md", "lakeport.toml", "service.yaml", "trigger.yaml"]
    );
}
