//! `lakeport solution`: a configuration leaves one environment as a file and arrives in another, or not at all.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::lake_folder::Installation;
use crate::support::servers::free_port;

const FILE: &str = r#"# account-key = "hunter2-in-a-comment"
# or, for the password: hunter2

# Our own.
[lakes.main]
url = "s3://exports/product"
endpoint = "http://127.0.0.1:9"   # development
access-key-id = "env:SOLUTION_ID"
secret-access-key = "env:SOLUTION_SECRET"

[plugins.odd]
path = "../odd.wasm"

[sources.readings]
files = "in/*.ndjson"
kind = false
time = "/at"

[exports.readings]
source = "readings"
filters = [{ plugin = "odd", mode = "behave" }]
format = { plugin = "avro", record = "schema", schema = { from-file = "schemas/reading.avsc" } } # ours
files = "rolling"
path = "readings/{part}.{ext}"
"#;

const SCHEMA: &str = r#"{"type": "record", "name": "Reading", "fields": [{"name": "id", "type": "string"}]}"#;

/// What a local lake needs set, beside its `url` and the source's files.
const LOCAL: [&str; 6] =
    ["--set", "lakes.main.endpoint=", "--set", "lakes.main.access-key-id=", "--set", "lakes.main.secret-access-key="];

/// The environment that is exported: the configuration lies in `here`, its plugin beside that.
fn exported() -> (Installation, Value) {
    let installation = Installation::new("");
    fs::copy(test_guests::FILTER, installation.path().join("odd.wasm")).unwrap();
    installation.write("here/lakeport.toml", FILE);
    installation.write("here/schemas/reading.avsc", SCHEMA);
    let said = installation.run_ok(&["solution", "export", "here/lakeport.toml", "--output", "shop.json"]);
    assert!(said.starts_with("shop.json: the configuration, texts: 1, plugins: 1; an import sets\n"), "{said}");
    assert!(said.contains("  lakes.main.secret-access-key  env:SOLUTION_SECRET\n"), "{said}");
    let solution = serde_json::from_slice(&fs::read(installation.path().join("shop.json")).unwrap()).unwrap();
    (installation, solution)
}

/// Imports into `there`, with what a local lake needs and these arguments.
fn import(installation: &Installation, more: &[&str]) -> Result<String, (Option<i32>, String)> {
    let set = ["--set", "lakes.main.url=./lake", "--set", "sources.readings.files=../data/*.ndjson"];
    import_with(installation, &[&set[..], &LOCAL, more].concat())
}

fn import_with(installation: &Installation, args: &[&str]) -> Result<String, (Option<i32>, String)> {
    let output = installation.run(&[&["solution", "import", "shop.json", "--into", "there"], args].concat());
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err((output.status.code(), String::from_utf8(output.stderr).unwrap())),
    }
}

/// The error of an import that left nothing.
fn refused(installation: &Installation, import: Result<String, (Option<i32>, String)>) -> (Option<i32>, String) {
    let refused = import.expect_err("the import is refused");
    assert!(!installation.path().join("there").exists(), "{refused:?}");
    let left: Vec<_> = fs::read_dir(installation.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().contains("import")), "{left:?}");
    refused
}

fn names(solution: &Value) -> Vec<&str> {
    solution["variables"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn a_solution_arrives_and_runs_elsewhere() {
    let (installation, solution) = exported();
    assert_eq!(
        names(&solution),
        [
            "lakes.main.url",
            "lakes.main.endpoint",
            "lakes.main.access-key-id",
            "lakes.main.secret-access-key",
            "sources.readings.files",
        ]
    );
    installation.write("data/1.ndjson", "{\"id\":\"a\",\"at\":\"2019-09-10T11:00:00Z\"}\n");
    let said = import(&installation, &[]).unwrap();
    let there = installation.path().join("there");
    assert_eq!(
        said,
        format!(
            "the configuration, its plugins and their settings are right\n\
             lakes that answered: 1; sources whose folders are there: 1\n\
             written into {}\n  schemas/reading.avsc\n  plugins/odd.wasm\n  lakeport.lock\n  lakeport.toml\n\
             next: lakeport check there/lakeport.toml\n",
            there.display()
        )
    );
    let text = fs::read_to_string(there.join("lakeport.toml")).unwrap();
    let expected = FILE
        .replace(" account-key = \"hunter2-in-a-comment\"\n# or, for the password: hunter2\n", " ***\n# ***\n")
        .replace("s3://exports/product", "./lake")
        .replace("endpoint = \"http://127.0.0.1:9\"   # development\n", "")
        .replace("access-key-id = \"env:SOLUTION_ID\"\nsecret-access-key = \"env:SOLUTION_SECRET\"\n", "")
        .replace("../odd.wasm", "plugins/odd.wasm")
        .replace("in/*.ndjson", "../data/*.ndjson");
    assert_eq!(text, expected);
    assert_eq!(fs::read(there.join("plugins/odd.wasm")).unwrap(), fs::read(test_guests::FILTER).unwrap());
    let lock = fs::read_to_string(there.join("lakeport.lock")).unwrap();
    assert!(lock.contains(solution["plugins"][0]["sha256"].as_str().unwrap()), "{lock}");

    installation.run_ok(&["run", "there/lakeport.toml", "--quiet"]);
    let written = fs::read(there.join("lake/readings/00.avro")).unwrap();
    assert!(apache_avro::Reader::new(&written[..]).unwrap().count() == 1);
}

#[test]
fn no_secret_is_in_a_solution() {
    let installation = Installation::new(&FILE.replace("../odd.wasm", "odd.wasm"));
    fs::copy(test_guests::FILTER, installation.path().join("odd.wasm")).unwrap();
    installation.write("schemas/reading.avsc", SCHEMA);
    let mut command = installation.command(&["solution", "export"]);
    command.env("SOLUTION_ID", "hunter2-id").env("SOLUTION_SECRET", "hunter2-secret");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("env:SOLUTION_SECRET"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let solution: Value = serde_json::from_str(&text).unwrap();
    let secret = &solution["variables"][3];
    assert_eq!((&secret["secret"], &secret["suggestion"]), (&true.into(), &"env:SOLUTION_SECRET".into()));

    installation.write("shop.json", text);
    let (code, said) = import(&installation, &["--set", "lakes.main.secret-access-key=hunter2"]).unwrap_err();
    assert!(code == Some(2) && said.contains("wants `env:NAME` or `file:PATH`"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_component_that_was_changed_is_refused() {
    let (installation, mut solution) = exported();
    let mut component = STANDARD.decode(solution["plugins"][0]["content"].as_str().unwrap()).unwrap();
    *component.last_mut().unwrap() ^= 1;
    solution["plugins"][0]["content"] = STANDARD.encode(component).into();
    installation.write("shop.json", solution.to_string());
    let (code, said) = refused(&installation, import(&installation, &["--offline"]));
    assert!(code == Some(2) && said.contains("`plugins/odd.wasm` in the solution has the SHA-256"), "{said}");
    assert!(said.contains("do not trust this one"), "{said}");
}

#[test]
fn a_plugin_that_is_not_the_accepted_one_is_not_exported() {
    let (installation, _) = exported();
    installation.write("here/lakeport.lock", format!("[plugins.odd]\nsha256 = \"{}\"\n", "1".repeat(64)));
    let output = installation.run(&["solution", "export", "here/lakeport.toml"]);
    assert!(output.status.code() == Some(2) && output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("plugin accept here/lakeport.toml odd"));
}

#[test]
fn what_is_missing_is_named_all_at_once() {
    let (installation, _) = exported();
    let (code, said) = refused(&installation, import_with(&installation, &["--set", "lakes.main.url=./lake"]));
    assert_eq!(code, Some(2));
    for line in [
        "variables `lakes.main.endpoint`, `lakes.main.access-key-id`, `lakes.main.secret-access-key`, `sources.readings.files`",
        "    # source `readings`: the files, folders and patterns to read\n    sources.readings.files = \"in/*.ndjson\"\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    // What the error says is a file of variables.
    let lines: String = said.lines().filter(|line| line.starts_with("    ")).map(|line| format!("{line}\n")).collect();
    installation.write("variables.toml", lines);
    let url = ["--set", "lakes.main.url=s3://exports/other"];
    let said =
        import_with(&installation, &[&url[..], &["--variables", "variables.toml", "--offline"]].concat()).unwrap();
    assert!(said.contains("lakes, sources and secrets were not looked at: `--offline`"), "{said}");
    let text = fs::read_to_string(installation.path().join("there/lakeport.toml")).unwrap();
    assert!(text.contains("url = \"s3://exports/other\"") && text.contains("\"env:SOLUTION_SECRET\""), "{text}");
}

#[test]
fn a_lake_that_does_not_answer_and_a_source_that_is_not_there_are_refused() {
    let (installation, _) = exported();
    installation.write("data/1.ndjson", "");
    let endpoint = format!("lakes.main.endpoint=http://127.0.0.1:{}", free_port());
    let mut args = vec!["solution", "import", "shop.json", "--into", "there", "--set", &endpoint];
    args.extend(["--set", "lakes.main.url=s3://exports/x", "--set", "sources.readings.files=../data/*"]);
    args.extend(["--set", "lakes.main.access-key-id=id", "--set", "lakes.main.secret-access-key=env:SOLUTION_SECRET"]);
    let mut command = installation.command(&args);
    let output = command.env("SOLUTION_SECRET", "hunter2").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("lake `main` cannot be reached") && said.contains("`--offline`"), "{said}");
    assert!(!installation.path().join("there").exists());

    fs::remove_dir_all(installation.path().join("data")).unwrap();
    let (code, said) = refused(&installation, import(&installation, &[]));
    assert!(code == Some(2) && said.contains("source `readings` reads in the folder"), "{said}");
    assert!(said.contains(&format!("{}/data`, which is not there", installation.path().display())), "{said}");
    let set = ["--set", "lakes.main.url=./lake", "--set", "sources.readings.files=../data/*.ndjson"];
    let nested = ["solution", "import", "shop.json", "--into", "there/is/none"];
    let said = String::from_utf8(installation.run(&[&nested[..], &set, &LOCAL].concat()).stderr).unwrap();
    assert!(said.contains("/there/is/data`, which is not there"), "{said}");
    refused(&installation, import(&installation, &[]));
}

#[test]
fn a_secret_in_a_file_is_read_where_it_will_lie() {
    let (installation, _) = exported();
    installation.write("data/1.ndjson", "");
    let port = format!("lakes.main.endpoint=http://127.0.0.1:{}", free_port());
    let more = [
        "--set",
        "lakes.main.url=s3://exports/x",
        "--set",
        &port,
        "--set",
        "lakes.main.access-key-id=id",
        "--set",
        "lakes.main.secret-access-key=file:secrets/key",
        "--set",
        "sources.readings.files=../data/*",
    ];
    let (code, said) = refused(&installation, import_with(&installation, &more));
    assert!(code == Some(2) && said.contains("/there/secrets/key`: no such file"), "{said}");
    installation.write("there/secrets/key", "hunter2");
    let (code, said) = import_with(&installation, &more).unwrap_err();
    assert!(code == Some(4) && said.contains("cannot be reached"), "the secret was found: {said}");
    assert_eq!(fs::read_to_string(installation.path().join("there/secrets/key")).unwrap(), "hunter2");
    assert_eq!(fs::read_dir(installation.path().join("there")).unwrap().count(), 1);
}

#[test]
fn a_schema_or_a_setting_that_is_wrong_is_refused() {
    let (installation, mut solution) = exported();
    installation.write("data/1.ndjson", "");
    let content = solution["configuration"]["content"].as_str().unwrap().to_owned();
    for (right, wrong, error) in [
        ("mode = \"behave\"", "mode = \"fly\"", "plugin `odd`"),
        ("schemas/reading.avsc", "/etc/hostname", "`/etc/hostname` in the solution is named by its configuration"),
        ("plugins/odd.wasm", "/opt/other.wasm", "`odd` in the solution is a plugin whose `path`"),
        ("source = \"readings\"", "sorce = \"readings\"", "there/lakeport.toml:17:1"),
        ("schema = { from-file = \"schemas/reading.avsc\" }", "schema = \"{}\"", "`avro`"),
    ] {
        let changed = content.replace(right, wrong);
        assert_ne!(changed, content);
        solution["configuration"]["content"] = changed.into();
        installation.write("shop.json", solution.to_string());
        let (code, said) = refused(&installation, import(&installation, &[]));
        assert!(code == Some(2) && said.contains(error), "{wrong}: {said}");
    }
}

#[test]
fn files_that_are_there_stay_unless_that_is_asked_for() {
    let (installation, _) = exported();
    installation.write("data/1.ndjson", "");
    for (taken, forced) in [("there/lakeport.lock/x", &["--force"][..]), ("there/schemas", &["--force", "--offline"])] {
        installation.write(taken, "mine");
        let (code, said) = import(&installation, forced).unwrap_err();
        assert!(
            code == Some(2) && said.contains("a folder is there, or a file is where its folder would be"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(installation.path().join(taken)).unwrap(), "mine");
        assert_eq!(fs::read_dir(installation.path().join("there")).unwrap().count(), 1);
        fs::remove_dir_all(installation.path().join("there")).unwrap();
    }
    installation.write("there/schemas/reading.avsc", "mine");
    let (code, said) = import(&installation, &[]).unwrap_err();
    assert!(code == Some(2) && said.contains("there/schemas/reading.avsc` is there already"), "{said}");
    let files = |folder: &Path| fs::read_dir(folder).unwrap().count();
    assert_eq!(files(&installation.path().join("there")), 1);
    import(&installation, &["--force"]).unwrap();
    assert_eq!(fs::read_to_string(installation.path().join("there/schemas/reading.avsc")).unwrap(), SCHEMA);
    assert_eq!(files(&installation.path().join("there")), 4);
}

#[test]
fn a_file_that_is_no_solution_is_refused() {
    let (installation, mut solution) = exported();
    solution["version"] = 2.into();
    for (content, error) in [
        (solution.to_string(), "is a solution of version 2, expected 1"),
        ("{}".into(), "is not a solution"),
        ("[exports]".into(), "is not JSON"),
        (r#"{"format": "lakeport-solution", "version": 1, "\u001b[2J": 1}"#.into(), r"unknown field `\u{1b}[2J`"),
    ] {
        installation.write("shop.json", content);
        let (code, said) = refused(&installation, import(&installation, &[]));
        assert!(code == Some(2) && said.contains(error), "{said}");
    }
}
