//! Dead letters: whatever cannot be exported is kept as it came, says why, and is counted everywhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use lakeport::record::KEPT;

use crate::support::lake_folder::{Installation, signal};

/// One line of every kind, and the reason it is refused for.
fn refused() -> Vec<(Vec<u8>, String)> {
    let large = format!(r#"{{"name":"a","signalTime":"2019-09-10T11:00:00Z","x":"{}"}}"#, "x".repeat(1 << 20));
    let too_large = format!(
        "larger than max-record-size: {} bytes, at most 1048576 are allowed; the first 1048576 are kept here",
        large.len()
    );
    let no_time = "no usable time at `/signalTime`: found nothing, expected an RFC 3339 time with a zone; `time` in the source says where";
    let no_zone = "no usable time at `/signalTime`: found `2019-09-10T11:00:00`, expected an RFC 3339 time with a zone";
    [
        (
            &br#"{"name":"a","#[..],
            "not valid JSON at byte 13: expected a key in double quotes, found the end of the record",
        ),
        (b"not json at all", "not valid JSON at byte 1: expected `null`, found `n`"),
        (br#"["a"]"#, "not a JSON object but an array: a record is an object"),
        (b"42", "not a JSON object but a number: a record is an object"),
        (b"{\"name\":\"\xff\xfe\"}", "not UTF-8 at byte 10: `0xff` starts no character there"),
        (
            br#"{"signalTime":"2019-09-10T11:00:00Z"}"#,
            "no name: there is nothing at `/name`; set `kind` to where records have it",
        ),
        (br#"{"name":7}"#, "the name at `/name` is a number, expected a string; set `kind` to where it is"),
        (br#"{"name":""}"#, "the name at `/name` is empty"),
        (br#"{"name":"a"}"#, no_time),
        (br#"{"name":"a","signalTime":"2019-09-10T11:00:00"}"#, no_zone),
        (large.as_bytes(), &too_large),
    ]
    .map(|(line, reason)| (line.to_vec(), reason.to_owned()))
    .to_vec()
}

fn installation(more: &str) -> Installation {
    let installation = Installation::exporting("in.ndjson", more);
    let mut input = format!("{}\r\n", signal(0, 0)).into_bytes();
    for (id, (line, _)) in refused().into_iter().enumerate() {
        input.extend([line, b"\n".to_vec(), format!("{}\n", signal(id + 1, 0)).into_bytes()].concat());
    }
    installation.write("in.ndjson", input);
    installation
}

/// The bytes that a letter kept.
fn kept(letter: &Value) -> Vec<u8> {
    match letter.get("record") {
        Some(text) => text.as_str().unwrap().as_bytes().to_vec(),
        None => STANDARD.decode(letter["record-base64"].as_str().unwrap()).unwrap(),
    }
}

#[test]
fn every_kind_is_kept_with_reason_origin_offset_time_and_bytes() {
    let installation = installation("");
    let input = std::fs::read(installation.path().join("in.ndjson")).unwrap();
    let summary = installation.export();
    let count = refused().len();
    assert_eq!((&summary["dead-letters"], &summary["records-written"]), (&json!(count), &json!(count + 1)));
    assert_eq!(installation.lines().len(), count + 1);

    let commit = installation.last_commit("signals");
    let written = chrono::DateTime::parse_from_rfc3339(commit["write-time"].as_str().unwrap()).unwrap();
    let letters = installation.dead_letters();
    assert_eq!(letters.len(), count);
    let path = installation.path().join("in.ndjson");
    for (letter, (line, reason)) in letters.iter().zip(refused()) {
        assert_eq!(letter["reason"], reason);
        assert_eq!((&letter["export"], &letter["origin"]), (&json!("signals"), &json!(path)));
        assert!(kept(letter) == line[..line.len().min(KEPT)], "{reason}: other bytes were kept");
        assert_eq!(letter["length"], line.len(), "{reason}");
        let offset = letter["offset"].as_u64().unwrap() as usize;
        assert!(input[offset..].starts_with(&line), "{reason}: it was not at {offset}");
        let time = chrono::DateTime::parse_from_rfc3339(letter["time"].as_str().unwrap()).unwrap();
        assert!((written - time).num_milliseconds() <= 1, "{reason}: {time}, committed at {written}");
        assert_eq!(letter.get("record-base64").is_some(), line.contains(&0xff), "{reason}");
    }
}

#[test]
fn the_raw_form_can_be_mended_and_exported_again() {
    let installation = installation("");
    installation.run_ok(&["run"]);
    let raw = installation.run(&["dead-letters", "--raw"]).stdout;
    let kept = |line: Vec<u8>| [&line[..line.len().min(KEPT)], b"\n"].concat();
    let expected: Vec<u8> = refused().into_iter().flat_map(|(line, _)| kept(line)).collect();
    assert!(raw == expected, "{}", String::from_utf8_lossy(&raw[..1_000]));
}

#[test]
fn what_a_plugin_rejects_or_fails_on_is_kept_with_the_plugins_name() {
    for (mode, ids) in [("reject-odd", [1, 3]), ("trap-on-some", [0, 3])] {
        let installation = Installation::new(&format!(
            "[plugins.picky]\npath = \"{}\"\n[sources.signals]\nfiles = \"in.ndjson\"\n[exports.signals]\nsource = \"signals\"\n\
             filters = [{{ plugin = \"picky\", mode = \"{mode}\" }}]\n",
            test_guests::FILTER
        ));
        let line = |id: usize| match mode {
            "trap-on-some" if ids.contains(&id) => signal(id, 0).replacen('{', r#"{"trap":true,"#, 1),
            _ => signal(id, 0),
        };
        let lines: Vec<_> = (0..5).map(line).collect();
        installation.write("in.ndjson", lines.join("\n"));
        let summary = installation.export();
        assert_eq!((&summary["records-written"], &summary["dead-letters"]), (&json!(3), &json!(2)), "{mode}");
        let letters = installation.dead_letters();
        for (letter, id) in letters.iter().zip(ids) {
            assert_eq!(letter["record"], lines[id], "{mode}");
            assert!(letter["reason"].as_str().unwrap().contains("picky"), "{mode}: {letter}");
        }
        let mut all = [installation.lines(), letters.iter().map(kept).collect()].concat();
        all.sort();
        let mut lines: Vec<_> = lines.into_iter().map(String::into_bytes).collect();
        lines.sort();
        assert!(all == lines, "{mode}: each record is in a file or a dead letter");
    }
}

#[test]
fn dead_letters_are_counted_in_the_summary_and_the_status_over_all_runs() {
    let installation = installation("");
    let summary = installation.run_ok(&["run"]);
    let row: Vec<_> =
        summary.lines().nth(1).unwrap().split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect();
    assert_eq!((row[0], row[5]), ("signals", "11"), "{summary}");
    let status = || -> Value {
        serde_json::from_str::<Value>(&installation.run_ok(&["status", "--json"])).unwrap()["exports"][0]["dead-letters"].clone()
    };
    assert_eq!(status(), 11);
    installation.write("in.ndjson", signal(50, 0) + "\noops\n");
    assert_eq!(installation.export()["dead-letters"], 1);
    assert_eq!(status(), 12);
    assert_eq!(installation.dead_letters().len(), 12);
    assert_eq!(installation.export()["dead-letters"], 0);
    assert_eq!(installation.dead_letters().len(), 12);
}

#[test]
fn more_dead_letters_than_allowed_stop_the_run_and_commit_nothing() {
    for (more, arguments) in
        [("max-dead-letters = 10", &["run"][..]), ("max-dead-letters = 100", &["run", "--max-dead-letters", "10"])]
    {
        let installation = installation(more);
        let output = installation.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(7), "{stderr}");
        assert!(stderr.contains("11 records were refused, and `max-dead-letters` is 10"), "{stderr}");
        assert!(stderr.contains("help: nothing of this span was committed: mend the input"), "{stderr}");
        assert_eq!(installation.files().len(), 0);
        assert_eq!(installation.dead_letters().len(), 0);
        let status: Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
        assert_eq!(status["exports"][0]["last-commit"], Value::Null);

        let mended: Vec<_> = (0..12).map(|id| signal(id, 0) + "\n").collect();
        installation.write("in.ndjson", mended.concat());
        installation.run_ok(&["run"]);
        assert_eq!(installation.lines().concat(), mended.concat().replace('\n', "").into_bytes());
        assert_eq!(installation.dead_letters().len(), 0);
    }
}

#[test]
fn as_many_dead_letters_as_are_allowed_stop_nothing() {
    let installation = installation("max-dead-letters = 11");
    installation.run_ok(&["run"]);
    assert_eq!((installation.lines().len(), installation.dead_letters().len()), (12, 11));
    // The limit is one run's, not all time's.
    installation.write("in.ndjson", "oops\n");
    installation.run_ok(&["run"]);
    assert_eq!(installation.dead_letters().len(), 12);
}

#[test]
fn hundreds_of_records_that_a_plugin_fails_on_cost_no_other_record() {
    let installation = Installation::new(&format!(
        "[plugins.picky]\npath = \"{}\"\n[sources.signals]\nfiles = \"in.ndjson\"\n[exports.signals]\nsource = \"signals\"\n\
         filters = [{{ plugin = \"picky\", mode = \"trap-on-some\" }}]\n",
        test_guests::FILTER
    ));
    let line = |id: usize| match id % 20 {
        3 => signal(id, 0).replacen('{', r#"{"trap":true,"#, 1) + "\n",
        _ => signal(id, 0) + "\n",
    };
    installation.write("in.ndjson", (0..6_000).map(line).collect::<String>());
    let summary = installation.export();
    assert_eq!((&summary["records-written"], &summary["dead-letters"]), (&json!(5_700), &json!(300)));
    let ids = installation.ids();
    assert!(ids.len() == 5_700 && ids.values().all(|times| *times == 1), "each of the others once");
}

#[test]
fn of_a_large_record_the_beginning_and_the_length_are_kept() {
    let installation = Installation::exporting("in.ndjson", "");
    installation.write(
        "in.ndjson",
        format!("{}ä\n", "x".repeat((1 << 20) - 1)) + &"y".repeat(3 << 20) + "\n" + &signal(0, 0) + "\n",
    );
    assert_eq!(installation.export()["dead-letters"], 2);
    let letters = installation.dead_letters();
    let length = |at: usize| letters[at]["record"].as_str().unwrap().len();
    assert_eq!((length(0), &letters[0]["length"]), ((1 << 20) - 1, &json!((1 << 20) + 1)));
    assert_eq!((length(1), &letters[1]["length"]), (1 << 20, &json!(3 << 20)));
}

#[test]
fn a_body_that_is_not_json_is_not_said_to_be_none() {
    let installation = Installation::new(
        "[sources.hub]\nfiles = \"in.ndjson\"\nenvelope = \"iot-hub\"\n[exports.hub]\nsource = \"hub\"\ntimestamp = \"write\"\n\
         max-dead-letters = 10\n",
    );
    let line = |body: &str| {
        format!(
            "{{\"EnqueuedTimeUtc\":\"2019-09-10T11:00:00Z\",\"SystemProperties\":{{\"connectionDeviceId\":\"d\"}}{body}}}\n"
        )
    };
    // `21;C` in base64, as a device sends it that knows no JSON.
    installation.write("in.ndjson", [line(",\"Body\":\"MjE7Qw==\""), line(""), line(",\"Body\":{\"t\":1}")].concat());
    installation.run_ok(&["run"]);
    let reasons: Vec<_> = installation.dead_letters().iter().map(|letter| letter["reason"].clone()).collect();
    let fault = "plugin `ndjson`: the record has no JSON body: its body is not valid JSON at byte 3: expected";
    assert!(reasons[0].as_str().unwrap().starts_with(fault), "{reasons:?}");
    assert_eq!(reasons[1..], ["plugin `ndjson`: the record has no JSON body"]);
}

#[test]
fn they_are_selected_counted_by_reason_and_written_into_a_file() {
    let installation = Installation::exporting("in.ndjson", "");
    let (good, nameless) = (signal(0, 0), r#"{"signalTime":"2019-09-10T11:00:00Z"}"#);
    installation.write("in.ndjson", format!("{good}\nnot json\n{nameless}\n{nameless}\n{good}\n{good}\n{good}\n"));
    installation.export();
    let counts = installation.run_ok(&["dead-letters", "--by-reason", "--json"]);
    let counts: Vec<Value> = counts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((counts.len(), &counts[0]["records"], &counts[1]["records"]), (2, &json!(2), &json!(1)), "{counts:?}");
    assert!(installation.run_ok(&["dead-letters", "--by-reason"]).contains("signals        2  no name"));
    let raw = |arguments: &[&str]| installation.run_ok(&[&["dead-letters", "--raw"], arguments].concat());
    assert_eq!(raw(&["--reason", "no name"]), format!("{nameless}\n{nameless}\n"));
    assert_eq!(raw(&["--since", "1h"]).lines().count(), 3);
    assert_eq!(raw(&["--since", "2100-01-01T00:00:00Z"]), "");
    assert_eq!(raw(&["--reason", "not valid", "--export-to", "mine.ndjson"]), "");
    assert_eq!(std::fs::read_to_string(installation.path().join("mine.ndjson")).unwrap(), "not json\n");
    let again = installation.run(&["dead-letters", "--output", "mine.ndjson"]);
    assert!(!again.status.success(), "a file of somebody is replaced");
    assert_eq!(std::fs::read_to_string(installation.path().join("mine.ndjson")).unwrap(), "not json\n");
}
