//! What people and machines read: all of standard output and standard error, and the exit code.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::golden::expect;
use crate::support::lake_folder::{Installation, LAKEPORT, signal};
use crate::support::servers::free_port;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/cli");

/// The command lines and all that they print, one after the other, as `tests/golden/cli/{name}.txt` has it.
fn expect_session(name: &str, installation: &Installation, lines: &[&str]) {
    let session: Vec<_> = lines.iter().map(|line| shown(installation, line)).collect();
    expect(&Path::new(FOLDER).join(format!("{name}.txt")), &session.join("\n"));
}

fn shown(installation: &Installation, line: &str) -> String {
    let arguments: Vec<_> = line.split_whitespace().collect();
    let Output { status, stdout, stderr } = installation.run(&arguments);
    let normal = |bytes: Vec<u8>| normalised(&String::from_utf8(bytes).unwrap(), installation.path());
    let mut session = format!("$ lakeport {line}\n{}", normal(stdout));
    if !stderr.is_empty() {
        session += &format!("--- standard error\n{}", normal(stderr));
    }
    match status.code() {
        Some(0) => session,
        code => format!("{session}--- exit code {}\n", code.expect("it was not killed")),
    }
}

/// `text` without what differs from run to run: the folder, digests, times, processes, durations and rates.
fn normalised(text: &str, folder: &Path) -> String {
    let text = text.replace(folder.to_str().unwrap(), "FOLDER");
    let blocks = text.split("\n\n").map(|block| {
        let is_measured = block.lines().any(|line| line.contains("  time  ") || line.contains("  time a record  "));
        let lines = block.split('\n').map(|line| match serde_json::from_str::<Value>(line) {
            Ok(mut object @ Value::Object(_)) if line.starts_with('{') => {
                blur(&mut object);
                format!("{object:#}")
            }
            _ if is_measured => cells_normalised(line),
            _ => line.split(' ').map(word_normalised).collect::<Vec<_>>().join(" "),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    blocks.collect::<Vec<_>>().join("\n\n")
}

fn blur(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match name.as_str() {
                    "seconds" | "nanoseconds" | "peak-memory" => *value = "MEASURED".into(),
                    "stages" => value.as_object_mut().unwrap().values_mut().for_each(|time| *time = "MEASURED".into()),
                    _ => blur(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blur),
        Value::String(text) => *text = text.split(' ').map(word_normalised).collect::<Vec<_>>().join(" "),
        _ => {}
    }
}

/// A line of a table of measurements; its cells are two spaces apart afterwards, however wide its columns were.
fn cells_normalised(line: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for cell in line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()) {
        out.push(match (out.last(), cell.split_once(' ')) {
            (Some(&"RATE"), _) => "RATE",
            (Some(&("TIME" | "–")), Some((_, "MB"))) => "MEMORY",
            (_, Some((number, "s" | "ns" | "µs" | "ms"))) if number.parse::<f64>().is_ok() => "TIME",
            (_, Some((number, unit))) if number.parse::<f64>().is_ok() && unit.ends_with("B/s") => "RATE",
            _ => cell,
        });
    }
    format!("{}{}", if line.starts_with("  ") { "  " } else { "" }, out.join("  "))
}

/// Times in the tests' records are older, those of runs are not. Seconds since 1970.
const YEAR_2020: i64 = 1_577_836_800;

fn word_normalised(word: &str) -> String {
    let bare = word.trim_end_matches([')', ',', ':', '`']);
    let rest = &word[bare.len()..];
    match bare {
        _ if bare.len() == 64 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) => format!("DIGEST{rest}"),
        _ if chrono::DateTime::parse_from_rfc3339(bare).is_ok_and(|time| time.timestamp() > YEAR_2020) => {
            format!("NOW{rest}")
        }
        _ if is_process(bare) => format!("HOST:PID{rest}"),
        _ => word.to_owned(),
    }
}

/// Whether a word names a process of this machine, as notes do.
fn is_process(word: &str) -> bool {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    word.strip_prefix(host.trim()).and_then(|rest| rest.strip_prefix(':')).is_some_and(|id| id.parse::<u32>().is_ok())
}

/// Sixty signals over two hours, and two lines that are none.
fn installation() -> Installation {
    let installation =
        Installation::exporting("in/*.ndjson", "filters = [{ plugin = \"select\", kinds = [\"Brew*\"] }]");
    let mut lines: Vec<_> = (0..60).map(|id| signal(id, id * 2)).collect();
    lines.insert(20, lines[20].replace("BrewStarted", "WaterTankEmpty"));
    lines.insert(30, "no signal".to_owned());
    lines.push(r#"{"name":"BrewStarted","signalTime":"11 o'clock"}"#.to_owned());
    installation.write("in/a.ndjson", lines.join("\n") + "\n");
    installation
}

// --- output, whole ----------------------------------------------------------------------------------------------------

#[test]
fn a_first_look_at_the_main_job() {
    expect_session(
        "main-job",
        &installation(),
        &["check", "status", "dead-letters", "run", "run", "status", "dead-letters", "check"],
    );
}

#[test]
fn json_is_for_machines() {
    let session = ["check --json", "run --json", "run --json", "status --json", "dead-letters --json"];
    expect_session("json", &installation(), &session);
}

#[test]
fn quiet_says_nothing() {
    let installation = installation();
    for _ in 0..2 {
        let output = installation.run(&["run", "--quiet"]);
        assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }
    assert_eq!(installation.lines().len(), 60);
}

#[test]
fn a_sample_shows_the_files_it_would_make_and_writes_nothing() {
    let installation = installation();
    installation.write("sample.ndjson", signal(1, 0) + "\n{}\n");
    expect_session("sample", &installation, &["check --sample sample.ndjson", "check --sample nowhere.ndjson"]);
    assert!(!installation.lake().exists());
}

#[test]
fn what_is_wrong_is_shown_with_what_to_do() {
    let session =
        ["run", "check", "status", "run --json", "run nowhere.toml", "run --export x", "frobnicate", "run --log xml"];
    let wrong = Installation::exporting("in", "granularty = \"day\"");
    expect_session("wrong-key", &wrong, &session[..5]);
    expect_session("wrong-arguments", &installation(), &session[4..]);
    let empty = Installation::exporting("in/*.ndjson", "");
    expect_session("no-input", &empty, &["run", "check", "run --json"]);
    let folder = Installation::exporting("in.ndjson", "");
    folder.write("lake", "a file");
    folder.write("in.ndjson", "");
    expect_session("lake-is-a-file", &folder, &["run", "status"]);
}

#[test]
fn help_explains_every_command() {
    let commands = [
        "",
        "run ",
        "check ",
        "status ",
        "dead-letters ",
        "replay ",
        "inspect ",
        "tables ",
        "tables link ",
        "tables unlink ",
        "plugin ",
        "plugin new ",
        "solution ",
        "solution export ",
        "solution import ",
        "completions ",
    ];
    let lines: Vec<_> = commands.iter().map(|command| format!("{command}--help")).collect();
    expect_session("help", &installation(), &lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn completions_are_made_for_every_shell() {
    let installation = installation();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = installation.run_ok(&["completions", shell]);
        assert!(script.contains("dead-letters") && script.contains("max-dead-letters"), "{shell}");
        if shell == "bash" {
            installation.write("completions.bash", script);
            let mut bash = std::process::Command::new("bash");
            let checked = bash.arg("-n").arg(installation.path().join("completions.bash")).status().unwrap();
            assert!(checked.success());
        }
    }
}

#[test]
fn a_reader_that_goes_away_ends_nothing_badly() {
    let installation = installation();
    installation.run_ok(&["run"]);
    let line = format!("'{LAKEPORT}' dead-letters | head -n 1");
    let mut shell = std::process::Command::new("bash");
    let output = shell.args(["-o", "pipefail", "-c", &line]).current_dir(installation.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

// --- exit codes -------------------------------------------------------------------------------------------------------

#[test]
fn the_exit_codes_of_the_help_are_those_of_the_documentation() {
    let help = installation().run_ok(&["--help"]);
    let codes = |lines: &mut dyn Iterator<Item = &str>| -> BTreeSet<u8> {
        lines.filter_map(|cell| cell.trim().parse().ok()).collect()
    };
    let (_, table) = help.split_once("Exit codes:\n").unwrap();
    let helped = codes(&mut table.lines().map(|line| line.trim_start().split(' ').next().unwrap()));
    let page = include_str!("../docs/exit-codes.md");
    let documented = codes(&mut page.lines().filter_map(|line| line.split('|').nth(1)));
    assert_eq!(helped, documented);
    assert_eq!(helped, BTreeSet::from([0, 2, 3, 4, 5, 6, 7, 70, 130]));
}

#[test]
fn an_export_that_fails_stops_no_other_and_gives_its_exit_code() {
    let installation = Installation::new(
        "[lakes.good]\nurl = \"./lake\"\n[lakes.bad]\nurl = \"./blocked\"\n[sources.signals]\nfiles = \"in.ndjson\"\n\
         [exports.bad]\nsource = \"signals\"\nlake = \"bad\"\n[exports.signals]\nsource = \"signals\"\nlake = \"good\"\n",
    );
    installation.write("blocked", "a file");
    installation.write("in.ndjson", (0..10).map(|id| signal(id, id) + "\n").collect::<String>());
    expect_session("one-of-two-fails", &installation, &["run"]);
    assert_eq!(installation.lines().len(), 10);
    let output = installation.run(&["run", "--json"]);
    assert_eq!(output.status.code(), Some(4));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&summary["exports"][0]["error"]["kind"], &summary["exports"][1]["error"]),
        (&"lake".into(), &Value::Null)
    );
}

// --- secrets ----------------------------------------------------------------------------------------------------------

#[test]
fn a_secret_is_never_printed() {
    const SECRET: &str = "bm90aGluZy1mb3ItdGhlLXNjcmVlbg==";
    let port = free_port();
    let azure = format!(
        "url = \"https://account.dfs.core.windows.net/exports/\"\nendpoint = \"http://127.0.0.1:{port}/account\"\n"
    );
    let s3 = format!("url = \"s3://exports/\"\nendpoint = \"http://127.0.0.1:{port}\"\n");
    for lake in [
        format!("{azure}account-key = \"env:LAKE_KEY\""),
        format!("{azure}sas-token = \"env:LAKE_SAS\""),
        format!("{azure}account-key = \"file:secret.txt\""),
        format!("{s3}access-key-id = \"id\"\nsecret-access-key = \"env:LAKE_KEY\"\nsession-token = \"env:LAKE_KEY\""),
        format!(
            "url = \"gs://exports/\"\nendpoint = \"http://127.0.0.1:{port}\"\nservice-account-key = \"env:LAKE_KEY\""
        ),
        format!("{azure}account-key = \"{SECRET}\""),
        format!("{azure}account-key = \"{SECRET}\nsas-token = 3"),
    ] {
        let installation = Installation::new(&format!(
            "[lakes.main]\nretry-for = \"300ms\"\n{lake}\n[sources.signals]\nfiles = \"in.ndjson\"\n[exports.signals]\nsource = \"signals\"\n"
        ));
        installation.write("secret.txt", SECRET);
        installation.write("in.ndjson", signal(1, 0));
        for arguments in [&["run", "--log", "json"][..], &["run", "--json"], &["check"], &["status", "--json"]] {
            let mut command = installation.command(arguments);
            command.env("LAKE_KEY", SECRET).env("LAKE_SAS", format!("sv=2024-01-01&sig={SECRET}"));
            let output = command.env("LAKEPORT_LOG", "trace").output().unwrap();
            let printed = [output.stdout, output.stderr].concat();
            let printed = String::from_utf8_lossy(&printed);
            assert!(matches!(output.status.code(), Some(2 | 4)), "{lake}: {printed}");
            assert!(
                !printed.contains("bm90aGluZy") && !printed.contains("nothing-for-the"),
                "{lake}, {arguments:?}: {printed}"
            );
        }
    }
}
