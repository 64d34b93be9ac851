//! Device twins as hubs tell of them: with properties that are taken away, late, twice, and of devices that come again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::avro::records;
use crate::support::lake_folder::Installation;

/// A message of a hub about a device.
fn message(operation: &str, device: &str, hour: usize, body: &Value) -> String {
    let source = if operation.ends_with("Identity") { "deviceLifecycleEvents" } else { "twinChangeEvents" };
    let time = format!("2024-05-06T{hour:02}:00:00.0000000Z");
    let message = json!({
        "EnqueuedTimeUtc": time,
        "Properties": { "opType": operation, "deviceId": device, "hubName": "plant", "operationTimestamp": time },
        "SystemProperties": { "connectionDeviceId": device, "iothub-message-source": source },
        "Body": body,
    });
    format!("{message}\n")
}

/// The documents of all devices, each of which is in one snapshot.
fn documents(lines: &[String]) -> BTreeMap<String, Value> {
    let installation = Installation::new(
        "[sources.hub]\nfiles = \"hub.ndjson\"\nenvelope = \"iot-hub\"\n\
         [exports.twins]\ntype = \"changes\"\nsource = \"hub\"\nshape = \"twin\"\ndeletes = \"mark\"\n\
         format = { plugin = \"avro\", record = \"device\" }\n",
    );
    installation.write("hub.ndjson", lines.concat());
    installation.run_ok(&["run", "--quiet"]);
    assert_eq!(installation.dead_letters(), [""; 0]);
    let mut documents = BTreeMap::new();
    for record in installation.files().values().flat_map(|file| records(file)) {
        let document = Value::try_from(record).unwrap();
        let id = document["id"].as_str().unwrap().to_owned();
        assert_eq!(documents.insert(id.clone(), document), None, "`{id}` stands twice");
    }
    documents
}

/// Desired properties, reported ones, and tags.
fn sections(document: &Value) -> [&Value; 3] {
    ["/settings/device", "/properties/device", "/properties/cloud"].map(|pointer| document.pointer(pointer).unwrap())
}

#[test]
fn null_takes_a_property_away_and_what_comes_late_or_twice_changes_nothing() {
    let desired = |body: Value| json!({ "desired": body });
    let documents = documents(&[
        message(
            "createDeviceIdentity",
            "kiln",
            8,
            &json!({ "deviceId": "kiln", "version": 1, "tags": { "hall": "B", "line": 2 },
            "properties": { "desired": { "target": 900, "mode": "ramp", "$version": 1, "$metadata": { "$lastUpdated": "x" } },
                            "reported": { "open": false } } }),
        ),
        message(
            "updateTwin",
            "kiln",
            10,
            &json!({ "version": 4, "properties": desired(json!({ "target": 950, "mode": null, "hold": 30 })) }),
        ),
        // It was sent before the one above.
        message(
            "updateTwin",
            "kiln",
            9,
            &json!({ "version": 3, "properties": desired(json!({ "target": 1, "mode": "late" })) }),
        ),
        // The same once more, with something else in it.
        message(
            "updateTwin",
            "kiln",
            10,
            &json!({ "version": 4, "properties": desired(json!({ "target": 2, "mode": "twice" })) }),
        ),
        message(
            "updateTwin",
            "kiln",
            11,
            &json!({ "version": 5, "tags": { "hall": null, "crew": { "lead": "Ada", "size": 4 } } }),
        ),
        message("updateTwin", "kiln", 12, &json!({ "version": 6, "tags": { "crew": { "lead": null } } })),
        message("updateTwin", "kiln", 13, &json!({ "version": 7, "properties": { "reported": { "open": true } } })),
    ]);
    let expected = [
        json!({ "target": 950.0, "hold": 30.0 }),
        json!({ "open": true }),
        json!({ "line": 2.0, "crew": r#"{"size":4}"# }),
    ];
    assert_eq!(sections(&documents["kiln"]), expected.each_ref());
}

#[test]
fn a_replaced_twin_is_what_it_is_replaced_by() {
    let documents = documents(&[
        message(
            "createDeviceIdentity",
            "press",
            8,
            &json!({ "deviceId": "press", "version": 1, "tags": { "hall": "A" },
            "properties": { "desired": { "force": 5 }, "reported": { "force": 4 } } }),
        ),
        message("replaceTwin", "press", 9, &json!({ "version": 6, "properties": { "desired": { "stroke": 12 } } })),
    ]);
    assert_eq!(sections(&documents["press"]), [json!({ "stroke": 12.0 }), json!({}), json!({})].each_ref());
}

#[test]
fn a_device_that_is_created_again_begins_with_its_own_versions() {
    let born = |version: u32, tags: Value| json!({ "deviceId": "d", "version": version, "tags": tags });
    let documents = documents(&[
        message("createDeviceIdentity", "d", 8, &born(3, json!({ "owner": "first" }))),
        message("updateTwin", "d", 9, &json!({ "version": 70, "tags": { "floor": 1 } })),
        message("deleteDeviceIdentity", "d", 10, &json!({ "deviceId": "d", "version": 71 })),
        message("createDeviceIdentity", "d", 11, &born(1, json!({ "owner": "second" }))),
        message("updateTwin", "d", 12, &json!({ "version": 2, "tags": { "floor": 7 } })),
        // Deleted, and told of once more by what came late.
        message(
            "createDeviceIdentity",
            "gone",
            8,
            &json!({ "deviceId": "gone", "version": 1, "tags": { "owner": "none" } }),
        ),
        message("deleteDeviceIdentity", "gone", 10, &json!({ "deviceId": "gone", "version": 9 })),
        message("updateTwin", "gone", 9, &json!({ "version": 8, "tags": { "owner": "late" } })),
        // Of this one nobody said that it was created.
        message("updateTwin", "stranger", 9, &json!({ "version": 2, "properties": { "reported": { "seen": 1 } } })),
    ]);
    assert_eq!(*sections(&documents["d"])[2], json!({ "owner": "second", "floor": 7.0 }));
    assert_eq!(*sections(&documents["stranger"])[1], json!({ "seen": 1.0 }));
    // It came and went before a snapshot had it.
    assert!(documents.get("gone").is_none_or(|document| document["deleted"] == true), "{documents:?}");
    assert_eq!(documents["d"]["deleted"], false);
}
