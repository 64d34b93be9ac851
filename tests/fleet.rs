//! The fleet example through the real binary, read by tools that are not ours: the documentation's own programs, fastavro, Apache's
//! reader, pandavro and avsc.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::avro::{member, records, text};
use crate::support::lake_folder::{Installation, LAKEPORT};
use crate::support::tools::{printed, python, root, tool};

/// A copy of the example, with the first minute's input.
fn fleet() -> Installation {
    let folder = root().join("examples/fleet");
    let installation = Installation::new(&fs::read_to_string(folder.join("lakeport.toml")).unwrap());
    installation.write("simulate.py", fs::read(folder.join("simulate.py")).unwrap());
    installation
}

fn node(installation: &Installation, script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("node");
    command.env("NODE_PATH", tool("node/node_modules"));
    command.arg(root().join("tests/verify").join(script)).args(arguments);
    printed(installation.path(), command)
}

fn simulate(installation: &Installation, arguments: &[&str]) {
    let mut command = Command::new(tool("py/bin/python"));
    command.arg("simulate.py").args(arguments);
    printed(installation.path(), command);
}

/// Runs the binary as it will be in some minutes.
fn run_ahead(installation: &Installation, minutes: u32, arguments: &[&str]) {
    let mut command = installation.command(arguments);
    command.env("LAKEPORT_CLOCK_AHEAD", (minutes * 60).to_string());
    printed(installation.path(), command);
}

/// The lines of an input file.
fn input(installation: &Installation, name: &str) -> Vec<Value> {
    let lines = fs::read_to_string(installation.path().join("input").join(name)).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The files of an export, in the order of their paths, below the installation's folder.
fn files(installation: &Installation, export: &str) -> Vec<String> {
    let files = installation.files().into_keys().filter(|path| path.starts_with(&format!("{export}/")));
    files.map(|path| format!("lake/{path}")).collect()
}

#[test]
fn the_documentations_own_programs_print_ids_humidities_and_fan_speeds() {
    let installation = fleet();
    simulate(&installation, &["--devices", "20"]);
    installation.run_ok(&["run", "--quiet"]);
    let telemetry = input(&installation, "telemetry.ndjson");
    let registry = input(&installation, "registry.ndjson");
    let of_kind = |kind: &'static str| registry.iter().filter(move |change| change["kind"] == kind);
    let humidities = telemetry.iter().map(|message| {
        let id = message["SystemProperties"]["connectionDeviceId"].as_str().unwrap();
        // Some devices do not say that they send JSON.
        let body = match &message["Body"] {
            Value::String(base64) => serde_json::from_slice(&STANDARD.decode(base64).unwrap()).unwrap(),
            body => body.clone(),
        };
        (id.to_owned(), body["humidity"].as_f64().unwrap())
    });
    let humidities = ordered(humidities.collect());
    let fans = of_kind("device").map(|change| {
        let speed = change["body"]["settings"]["device"]["fanSpeed"].as_f64().unwrap();
        (change["key"].as_str().unwrap().to_owned(), speed)
    });
    let fans = ordered(fans.collect());
    assert_eq!((humidities.len(), fans.len(), of_kind("device-template").count()), (60, 20, 2));
    let [measurements, devices, templates] = ["measurements", "devices", "deviceTemplates"].map(|export| {
        let files = files(&installation, export);
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_iter().next().unwrap()
    });
    let by_python = |program: &str, file: &str| python(installation.path(), "seed/run_seed.py", &[program, file]);
    let by_node = |program: &str, file: &str| node(&installation, "seed/run_seed.js", &[program, file]);

    let printed = by_python("measurements", &measurements);
    let found = printed.lines().skip(1).map(|line| (word(line, 1), number(line)));
    // pandas prints six digits behind the point.
    assert_pairs(found.collect(), &humidities, 0.000_000_6, &printed);
    let printed = by_node("measurements", &measurements);
    let lines: Vec<_> = printed.lines().collect();
    let found = lines.chunks(2).map(|pair| {
        assert!(pair[0].starts_with("Device ID: ") && pair[1].starts_with("Humidity: "), "{pair:?}");
        (word(pair[0], 2), number(pair[1]))
    });
    assert_pairs(found.collect(), &humidities, 0.0, &printed);

    let printed = by_python("devices", &devices);
    assert_pairs(printed.lines().skip(1).map(|line| (word(line, 1), number(line))).collect(), &fans, 0.0, &printed);
    let printed = by_node("devices", &devices);
    assert_pairs(printed.lines().map(|line| (word(line, 1), number(line))).collect(), &fans, 0.0, &printed);

    let (by_python, by_node) = (by_python("device_templates", &templates), by_node("device_templates", &templates));
    let (by_python, by_node): (Vec<_>, Vec<_>) = (by_python.lines().skip(1).collect(), by_node.lines().collect());
    // They print no names.
    let stored = records(&fs::read(installation.path().join(&templates)).unwrap());
    assert_eq!((by_python.len(), by_node.len(), stored.len()), (2, 2, 2), "{by_python:?} {by_node:?}");
    for change in of_kind("device-template") {
        let (id, version) = (change["key"].as_str().unwrap(), change["body"]["version"].as_str().unwrap());
        let is_it = |line: &&&str, at| word(line, at) == id;
        let line = by_python.iter().find(|line| is_it(line, 1)).unwrap_or_else(|| panic!("{id}: {by_python:?}"));
        assert!(word(line, 2) == version && line.contains("'name': 'Fan Speed'"), "{line}");
        let line = by_node.iter().find(|line| is_it(line, 2)).unwrap_or_else(|| panic!("{id}: {by_node:?}"));
        assert!(word(line, 5) == version && line.contains(r#""name":{"string":"Fan Speed"}"#), "{line}");
        let template = stored.iter().find(|template| text(template, "id") == id).unwrap();
        assert_eq!(text(template, "name"), change["body"]["name"]);
    }
}

/// A word of a line, without a comma after it.
fn word(line: &str, place: usize) -> String {
    let word = line.split_whitespace().nth(place).unwrap_or_else(|| panic!("`{line}` has no word {place}"));
    word.trim_end_matches(',').to_owned()
}

/// The number that a line ends with.
fn number(line: &str) -> f64 {
    let word = line.split_whitespace().last().unwrap_or_default();
    word.parse().unwrap_or_else(|error| panic!("`{line}` ends with no number: {error}"))
}

fn ordered(mut pairs: Vec<(String, f64)>) -> Vec<(String, f64)> {
    pairs.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
    pairs
}

/// Compares what was printed of each record, in any order, with what was sent; numbers may differ by so much.
fn assert_pairs(found: Vec<(String, f64)>, expected: &[(String, f64)], off: f64, text: &str) {
    let found = ordered(found);
    assert_eq!(found.len(), expected.len(), "{text}");
    for (found, expected) in found.iter().zip(expected) {
        let same = found.0 == expected.0 && (found.1 - expected.1).abs() <= off;
        assert!(same, "found {found:?}, expected {expected:?}, in\n{text}");
    }
}

#[test]
fn every_reader_reads_every_codec_it_knows() {
    for codec in ["null", "deflate", "snappy", "zstandard"] {
        let installation = fleet();
        let configuration = fs::read_to_string(installation.path().join("lakeport.toml")).unwrap();
        let configuration =
            configuration.replace("plugin = \"avro\"", &format!("plugin = \"avro\", codec = \"{codec}\""));
        assert!(configuration.contains(codec));
        installation.write("lakeport.toml", configuration);
        simulate(&installation, &["--devices", "12"]);
        installation.run_ok(&["run", "--quiet"]);
        simulate(&installation, &["--append"]);
        run_ahead(&installation, 2, &["run", "--quiet"]);
        let avro: Vec<_> = ["measurements", "devices", "deviceTemplates"]
            .iter()
            .flat_map(|export| files(&installation, export))
            .collect();
        assert!(avro.len() >= 5, "{avro:?}");
        let arguments: Vec<_> = avro.iter().map(String::as_str).collect();
        let by_python = python(installation.path(), "avro.py", &arguments);
        let by_node = node(&installation, "avsc.js", &arguments);
        for report in [&by_python, &by_node] {
            let reports: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(reports.len(), avro.len());
            for (report, file) in reports.iter().zip(&avro) {
                let bytes = fs::read(installation.path().join(file)).unwrap();
                assert_eq!(report["codec"], codec, "{file}");
                assert_eq!(report["records"].as_u64(), Some(records(&bytes).len() as u64), "{file}");
            }
        }
        let messages = avro.iter().filter(|file| file.contains("measurements"));
        let messages: usize =
            messages.map(|file| records(&fs::read(installation.path().join(file)).unwrap()).len()).sum();
        assert_eq!(messages, input(&installation, "telemetry.ndjson").len(), "no measurement is lost");
    }
}

#[test]
fn measurements_know_their_devices() {
    let installation = fleet();
    simulate(&installation, &["--devices", "20"]);
    installation.run_ok(&["run", "--quiet"]);
    let registry = input(&installation, "registry.ndjson");
    let device = |id: &str| registry.iter().find(|change| change["key"] == id).map(|change| &change["body"]).unwrap();
    let mut seen = BTreeSet::new();
    let telemetry = input(&installation, "telemetry.ndjson");
    let mut enriched = 0;
    for (path, bytes) in installation.files().into_iter().filter(|(path, _)| path.starts_with("humidity/")) {
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let measurement: Value = serde_json::from_slice(line).unwrap_or_else(|e| panic!("{path}: {e}"));
            let added = &measurement["device"];
            let name = added["name"].as_str().unwrap_or_else(|| panic!("no name in {measurement}"));
            let known = registry.iter().find(|change| change["body"]["name"] == name).unwrap();
            let known = device(known["key"].as_str().unwrap());
            assert_eq!(added["template"], known["deviceTemplate"]["id"]);
            assert_eq!(added["location"], known["properties"]["cloud"]["location"]);
            seen.insert(name.to_owned());
            enriched += 1;
        }
    }
    assert_eq!(enriched, telemetry.len());
    assert_eq!(seen.len(), 20);
}

#[test]
fn what_the_examples_readme_shows_works() {
    let page = fs::read_to_string(root().join("examples/fleet/README.md")).unwrap();
    let installation = fleet();
    let binary = Path::new(LAKEPORT).parent().unwrap();
    let path = format!("{}:{}:{}", tool("py/bin").display(), binary.display(), std::env::var("PATH").unwrap());
    let mut shown = Vec::new();
    let mut minutes = 0;
    for block in page.split("\n```").skip(1).step_by(2) {
        let (language, script) = block.split_once('\n').unwrap();
        let mut command = match language {
            "sh" => {
                let mut shell = Command::new("sh");
                shell.args(["-e", "-c", script]);
                // Each of them is about another minute.
                minutes += 2;
                shell
            }
            "python" => {
                let mut python = Command::new(tool("py/bin/python"));
                python.args(["-c", script]);
                python
            }
            other => panic!("a block of `{other}`"),
        };
        command.env("PATH", &path).env("LAKEPORT_CLOCK_AHEAD", (minutes * 60).to_string());
        command.env("LAKEPORT_CACHE_DIR", crate::support::lake_folder::cache()).env("NO_COLOR", "1");
        shown.push(printed(installation.path(), command));
    }
    assert!(shown.len() >= 5, "{shown:#?}");
    assert!(shown[1].contains("fan_speed") && shown[1].contains("humidity"), "{}", shown[1]);
    let devices = files(&installation, "devices");
    let everything = |file: &String| records(&fs::read(installation.path().join(file)).unwrap()).len() >= 99;
    assert_eq!(devices.len(), 3, "{devices:?}");
    assert!(everything(&devices[0]) && !everything(&devices[1]) && everything(&devices[2]));
}

#[test]
fn a_schema_of_ones_own_is_filled_by_name_and_what_does_not_fit_says_where() {
    let installation = Installation::new(
        "[sources.readings]\nfiles = \"in.ndjson\"\nkind = false\ntime = \"/at\"\n\n\
         [exports.readings]\nsource = \"readings\"\n\
         format = { plugin = \"avro\", record = \"schema\", schema = { from-file = \"reading.avsc\" } }\n",
    );
    installation.write(
        "reading.avsc",
        r#"{"type": "record", "name": "Reading", "fields": [
            {"name": "id", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "values", "type": {"type": "array", "items": "double"}},
            {"name": "note", "type": ["null", "string"], "default": null}]}"#,
    );
    installation.write(
        "in.ndjson",
        "{\"id\":\"a\",\"at\":\"2019-09-10T11:00:00.5Z\",\"values\":[1,2.5]}\n\
         {\"id\":\"b\",\"at\":\"2019-09-10T11:00:00Z\",\"values\":[1,\"wet\"]}\n\
         {\"id\":\"c\",\"at\":\"2019-09-10T11:00:01Z\",\"values\":[],\"note\":\"é\",\"more\":1}\n",
    );
    installation.run_ok(&["run", "--quiet"]);
    let files = installation.files();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["readings/2019/09/10/11/00.avro"]);
    let found = records(&files["readings/2019/09/10/11/00.avro"]);
    assert_eq!(found.iter().map(|record| text(record, "id")).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(*member(&found[0], "at"), apache_avro::types::Value::TimestampMillis(1_568_113_200_500));
    let letters = installation.dead_letters();
    let reason = letters[0]["reason"].as_str().unwrap();
    assert!(reason.contains("`/values/1`") && reason.contains("wet") && reason.contains("double"), "{reason}");
    let path = installation.path().join("lake/readings/2019/09/10/11/00.avro");
    python(installation.path(), "avro.py", &[path.to_str().unwrap()]);
}
