//! Times: parsed, never sliced, so that each record is in the file of its own UTC period; what is no time is a dead letter.

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::lake_folder::{Installation, every_id, ids_of, signal, signals};

/// Runs an export of a record for each time, as it stands in the JSON, and answers with each one's folder: of the files without
/// `signals/` and `/00.ndjson`, or `dead: ` and the reason.
fn folders(source: &str, export: &str, times: &[&str]) -> Vec<String> {
    let installation = Installation::new(&format!(
        "[sources.signals]\nfiles = \"in.ndjson\"\n{source}\n[exports.signals]\nsource = \"signals\"\nmax-dead-letters = 100\n{export}\n"
    ));
    let line = |(id, time): (usize, &&str)| format!("{{\"name\":\"a\",\"id\":\"{id}\",\"signalTime\":{time}}}");
    let lines: Vec<_> = times.iter().enumerate().map(line).collect();
    installation.write("in.ndjson", lines.join("\n"));
    installation.run_ok(&["run"]);
    let mut found = vec![String::new(); times.len()];
    for (path, bytes) in installation.files() {
        let folder = path.strip_prefix("signals/").and_then(|path| path.strip_suffix("/00.ndjson")).unwrap();
        for line in std::str::from_utf8(&bytes).unwrap().lines() {
            let row = lines.iter().position(|known| known == line).expect("a line as it was read");
            assert_eq!(found[row], "", "{line} came twice");
            found[row] = folder.to_owned();
        }
    }
    for letter in installation.dead_letters() {
        let row = lines.iter().position(|line| letter["record"] == **line).expect("a line as it was read");
        assert_eq!(found[row], "", "{} came twice", lines[row]);
        found[row] = format!("dead: {}", letter["reason"].as_str().unwrap());
    }
    found
}

/// Each time with the folder it belongs to.
fn assert_folders(source: &str, export: &str, cases: &[(&str, &str)]) {
    let times: Vec<_> = cases.iter().map(|(time, _)| *time).collect();
    for ((time, folder), found) in cases.iter().zip(folders(source, export, &times)) {
        assert_eq!(found, *folder, "{time}");
    }
}

#[test]
fn every_form_of_rfc_3339_lands_in_its_utc_hour() {
    assert_folders(
        "",
        "",
        &[
            (r#""2019-09-10T11:00:00Z""#, "2019/09/10/11"),
            (r#""2019-09-10t11:59:59z""#, "2019/09/10/11"),
            (r#""2019-09-10 11:59:59Z""#, "2019/09/10/11"),
            (r#""2019-09-10T12:30:00+02:00""#, "2019/09/10/10"),
            (r#""2019-09-10T01:30:00+02:00""#, "2019/09/09/23"),
            (r#""2019-12-31T23:30:00-00:30""#, "2020/01/01/00"),
            (r#""2019-09-10T11:15:00+05:45""#, "2019/09/10/05"),
            (r#""2019-09-10T00:00:00-23:59""#, "2019/09/10/23"),
            (r#""2019-09-10T11:00:00-00:00""#, "2019/09/10/11"),
            (r#""2019-09-10T10:59:59.999999999Z""#, "2019/09/10/10"),
            (r#""2019-09-10T10:59:59.9Z""#, "2019/09/10/10"),
            (r#""2019-09-10T11:00:00.000000000+00:00""#, "2019/09/10/11"),
            (r#""2016-12-31T23:59:60Z""#, "2016/12/31/23"),
            (r#""2016-12-31T23:59:60.999Z""#, "2016/12/31/23"),
            (r#""2017-01-01T00:59:60+01:00""#, "2016/12/31/23"),
            (r#""2020-02-29T00:00:00Z""#, "2020/02/29/00"),
            (r#""2000-02-29T00:00:00Z""#, "2000/02/29/00"),
            (r#""1969-12-31T23:59:59.999999Z""#, "1969/12/31/23"),
            (r#""0000-01-01T00:00:00Z""#, "0000/01/01/00"),
            (r#""9999-12-31T23:59:59Z""#, "9999/12/31/23"),
            (r#""2019-09-10T11\u003a00:00Z""#, "2019/09/10/11"),
        ],
    );
}

#[test]
fn what_is_no_time_is_a_dead_letter_that_names_the_pointer() {
    let times = [
        r#""2019-09-10T11:00:00""#,
        r#""2019-09-10""#,
        r#""2019-09-10T11:00Z""#,
        r#""2019-09-10T24:00:00Z""#,
        r#""2019-09-10T11:60:00Z""#,
        r#""2019-09-10T11:00:60Z""#,
        r#""2019-09-10T11:00:61Z""#,
        r#""2019-02-29T11:00:00Z""#,
        r#""1900-02-29T11:00:00Z""#,
        r#""2019-13-01T11:00:00Z""#,
        r#""2019-00-01T11:00:00Z""#,
        r#""2019-09-31T11:00:00Z""#,
        r#""2019-9-10T11:00:00Z""#,
        r#""2019-09-10T11:00:00.Z""#,
        r#""2019-09-10T11:00:00,5Z""#,
        r#""2019-09-10T11:00:00+24:00""#,
        r#""2019-09-10T11:00:00+0200""#,
        r#""2019-09-10T11:00:00+02""#,
        r#""2019-09-10T11:00:00 Z""#,
        r#"" 2019-09-10T11:00:00Z""#,
        r#""2019-09-10T11:00:00Z ""#,
        r#""+2019-09-10T11:00:00Z""#,
        r#""12019-09-10T11:00:00Z""#,
        r#""0000-01-01T00:00:00+01:00""#,
        r#""9999-12-31T23:59:59-01:00""#,
        r#""２019-09-10T11:00:00Z""#,
        r#""""#,
        r#""yesterday""#,
        "1568113200",
        "null",
        "true",
        "{}",
        r#"["2019-09-10T11:00:00Z"]"#,
    ];
    let found = folders("", "", &times);
    let is_number = |time: &str| time == "1568113200";
    let hint = |time| {
        if is_number(time) {
            "; it looks like seconds since 1970: set `time-unit = \"epoch-seconds\"` in the source"
        } else {
            ""
        }
    };
    for (time, found) in times.into_iter().zip(found) {
        let shown = match time {
            "null" => "nothing".to_owned(),
            _ => format!("`{}`", time.strip_prefix('"').map_or(time, |text| &text[..text.len() - 1])),
        };
        let place = "dead: no usable time at `/signalTime`: found";
        let says = if time == "null" { "; `time` in the source says where" } else { hint(time) };
        assert_eq!(found, format!("{place} {shown}, expected an RFC 3339 time with a zone{says}"));
    }
}

#[test]
fn a_long_value_is_cut_in_the_reason() {
    let long = format!("\"{}\"", "ä".repeat(500));
    let [reason] = &folders("", "", &[&long])[..] else { panic!("one record") };
    assert!(reason.contains(&format!("found `{}…`, expected", "ä".repeat(40))), "{reason}");
}

#[test]
fn seconds_that_are_read_as_milliseconds_are_pointed_out() {
    let installation = Installation::new(
        "[sources.signals]\nfiles = \"in.ndjson\"\ntime-unit = \"epoch-milliseconds\"\n[exports.signals]\nsource = \"signals\"\n",
    );
    installation
        .write("in.ndjson", "{\"name\":\"a\",\"signalTime\":1568113200}\n{\"name\":\"a\",\"signalTime\":1568113201}\n");
    let hint = "times such as `1568113200` are in the first weeks of 1970 as milliseconds; they look like seconds: set \
                `time-unit = \"epoch-seconds\"` in [sources.signals]";
    for command in ["check", "run"] {
        let printed: serde_json::Value = serde_json::from_str(&installation.run_ok(&[command, "--json"])).unwrap();
        let export = &printed["exports"][0];
        let warnings = if command == "check" { &export["preview"]["warnings"] } else { &export["warnings"] };
        assert_eq!(*warnings, serde_json::json!([hint]), "{command}");
    }
}

#[test]
fn a_record_without_the_time_member_is_a_dead_letter_that_names_the_pointer() {
    let installation = Installation::new(
        "[sources.signals]\nfiles = \"in.ndjson\"\ntime = \"/meta/at\"\n[exports.signals]\nsource = \"signals\"\n",
    );
    installation.write(
        "in.ndjson",
        "{\"name\":\"a\",\"signalTime\":\"2019-09-10T11:00:00Z\"}\n{\"name\":\"a\",\"meta\":{\"at\":\"2019-09-10T11:00:00Z\"}}\n",
    );
    installation.run_ok(&["run"]);
    assert_eq!(installation.lines().len(), 1);
    let reasons: Vec<_> = installation.dead_letters().iter().map(|letter| letter["reason"].clone()).collect();
    assert_eq!(
        reasons,
        [
            "no usable time at `/meta/at`: found nothing, expected an RFC 3339 time with a zone; `time` in the source says where"
        ]
    );
}

#[test]
fn epoch_seconds_and_milliseconds_are_read_where_they_are_configured() {
    let dead = |found: &str, looks_like: &str| {
        format!("dead: no usable time at `/signalTime`: found {found}, expected seconds since 1970{looks_like}")
    };
    let milliseconds =
        "; it looks like milliseconds since 1970: set `time-unit = \"epoch-milliseconds\"` in the source";
    let text = "; it looks like an RFC 3339 time with a zone: set `time-unit = \"rfc3339\"` in the source";
    assert_folders(
        "time-unit = \"epoch-seconds\"",
        "",
        &[
            ("1568113200", "2019/09/10/11"),
            ("1568113199.999999999", "2019/09/10/10"),
            ("1.5681132e9", "2019/09/10/11"),
            ("-1", "1969/12/31/23"),
            ("-0.0000001", "1969/12/31/23"),
            ("0", "1970/01/01/00"),
            // Milliseconds taken for seconds: far out of range, not a folder of the year 51661.
            ("1568113200000", &dead("`1568113200000`", milliseconds)),
            (r#""2019-09-10T11:00:00Z""#, &dead("`2019-09-10T11:00:00Z`", text)),
            ("null", &dead("nothing", "; `time` in the source says where")),
        ],
    );
    let dead = |found: &str, looks_like: &str| {
        format!("dead: no usable time at `/signalTime`: found `{found}`, expected milliseconds since 1970{looks_like}")
    };
    assert_folders(
        "time-unit = \"epoch-milliseconds\"",
        "",
        &[
            ("1568113200000", "2019/09/10/11"),
            ("1568113199999", "2019/09/10/10"),
            ("1568113199999.9999", "2019/09/10/10"),
            ("-1", "1969/12/31/23"),
            ("1e30", &dead("1e30", "")),
            (r#""2019-09-10T11:00:00Z""#, &dead("2019-09-10T11:00:00Z", text)),
        ],
    );
}

#[test]
fn minutes_and_days_have_folders_of_their_own() {
    assert_folders(
        "",
        "granularity = \"minute\"",
        &[
            (r#""2019-09-10T11:05:59.999999Z""#, "2019/09/10/11/05"),
            (r#""2019-09-10T11:06:00Z""#, "2019/09/10/11/06"),
            (r#""2019-09-10T11:36:00+00:30""#, "2019/09/10/11/06"),
        ],
    );
    assert_folders(
        "",
        "granularity = \"day\"",
        &[
            (r#""2019-09-10T23:59:59.999999Z""#, "2019/09/10"),
            (r#""2019-09-11T00:00:00Z""#, "2019/09/11"),
            (r#""2019-09-11T01:00:00+02:00""#, "2019/09/10"),
        ],
    );
}

#[test]
fn the_enqueued_time_counts_where_the_configuration_says_so() {
    let installation = Installation::exporting("in.ndjson", "event-time-missing = \"enqueued\"");
    installation.write(
        "in.ndjson",
        r#"{"name":"both","signalTime":"2019-09-10T11:00:00Z","serverTime":"2019-09-10T15:00:00Z"}
{"name":"late","signalTime":"soon","serverTime":"2019-09-10T15:00:00+02:00"}
{"name":"none","serverTime":"later"}
"#,
    );
    installation.run_ok(&["run"]);
    let files = installation.files();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["signals/2019/09/10/11/00.ndjson", "signals/2019/09/10/13/00.ndjson"]
    );
    assert_eq!(installation.dead_letters().len(), 1);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the real binary reads the real clock")]
fn by_write_time_a_record_is_in_the_period_in_which_it_was_written() {
    let before = Utc::now();
    let installation = Installation::exporting("in.ndjson", "timestamp = \"write\"\ngranularity = \"minute\"");
    let lines = ["\"2019-09-10T11:00:00Z\"", "\"no time at all\"", "null"]
        .map(|time| format!("{{\"name\":\"a\",\"signalTime\":{time}}}"));
    installation.write("in.ndjson", lines.join("\n"));
    installation.run_ok(&["run"]);
    let after = Utc::now();
    assert_eq!(installation.dead_letters(), [""; 0]);
    assert_eq!(installation.lines(), lines.map(String::into_bytes));

    let commit = installation.last_commit("signals");
    let written: DateTime<Utc> = commit["write-time"].as_str().unwrap().parse().unwrap();
    assert!(before - TimeDelta::seconds(1) <= written && written <= after, "{before} {written} {after}");
    let path = written.format("signals/%Y/%m/%d/%H/%M/00.ndjson").to_string();
    assert_eq!(installation.files().into_keys().collect::<Vec<_>>(), [path]);
}

#[test]
fn one_event_from_the_future_neither_closes_the_periods_before_it_nor_gets_lost() {
    for mode in ["files = \"growing\"", "files = \"rolling\"", "files = \"sealed\"\nlateness = \"1m\""] {
        let installation = Installation::exporting("in.ndjson", mode);
        let times = [
            "2024-05-06T10:10",
            "2099-01-01T00:00",
            "2024-05-06T10:40",
            "2024-05-06T11:05",
            "2024-05-06T10:59",
            "2024-05-06T09:00",
        ];
        for (id, time) in times.iter().enumerate() {
            installation
                .append("in.ndjson", &format!("{{\"name\":\"a\",\"id\":\"{id}\",\"signalTime\":\"{time}:00Z\"}}\n"));
            // Each pair of them is a run of its own.
            if id % 2 == 1 {
                installation.run_ok(&["run", "--quiet"]);
            }
        }
        // A sealed file is there when its hour is over.
        let mut later = installation.command(&["run", "--quiet"]);
        let output = later.env("LAKEPORT_CLOCK_AHEAD", (80_u64 * 366 * 24 * 3_600).to_string()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut found = Vec::new();
        for (path, bytes) in installation.files() {
            let hour = path.strip_prefix("signals/").unwrap().rsplit_once('/').unwrap().0.to_owned();
            found.extend(ids_of([(path, bytes)].into()).into_iter().map(|(id, count)| (id, hour.clone(), count)));
        }
        found.sort();
        let hour = |time: &str| time[..13].replace(['-', 'T'], "/");
        let expected: Vec<_> = (0..).zip(times).map(|(id, time): (usize, _)| (id.to_string(), hour(time), 1)).collect();
        assert_eq!(found, expected, "{mode}");
        assert_eq!(installation.dead_letters(), [""; 0], "{mode}");
    }
}

#[test]
fn a_time_too_far_ahead_is_a_dead_letter_where_there_is_a_limit() {
    let source = "time = \"/time\"\nkind = \"/name\"";
    for (limit, exported) in [("", 2), ("max-ahead = \"1day\"", 1)] {
        let installation = Installation::new(&format!(
            "[sources.s]\nfiles = \"in.ndjson\"\n{source}\n[exports.e]\nsource = \"s\"\n{limit}\n"
        ));
        installation.write(
            "in.ndjson",
            "{\"name\":\"a\",\"time\":\"2019-09-10T11:12:13Z\"}\n{\"name\":\"b\",\"time\":\"2099-09-10T11:12:13Z\"}\n",
        );
        installation.run_ok(&["run"]);
        assert_eq!(installation.lines().len(), exported, "{limit}");
        let letters = installation.dead_letters();
        assert_eq!(letters.len(), 2 - exported, "{limit}");
        for letter in letters {
            let reason = letter["reason"].as_str().unwrap();
            assert!(
                reason.contains("`2099-09-10T11:12:13Z` is more than `max-ahead` (1day) ahead of the clock"),
                "{reason}"
            );
        }
    }
}

#[test]
fn a_clock_that_was_ahead_once_does_not_decide_for_ever() {
    for files in ["growing", "rolling", "sealed"] {
        let installation = Installation::exporting(
            "in.ndjson",
            &format!("timestamp = \"write\"\ngranularity = \"day\"\nfiles = \"{files}\""),
        );
        let years = |installation: &Installation| -> Vec<String> {
            let paths = installation.files().into_keys();
            paths.map(|path| path.strip_prefix("signals/").unwrap()[..4].to_owned()).collect()
        };
        let run = |lines: usize, ahead_days: u32, arguments: &[&str]| {
            installation
                .write("in.ndjson", signals(10) + &(10..lines).map(|id| signal(id, 0) + "\n").collect::<String>());
            let seconds = (u64::from(ahead_days) * 86_400).to_string();
            let mut command = installation.command(&[&["run"], arguments].concat());
            let output = command.env("LAKEPORT_CLOCK_AHEAD", seconds).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            text
        };
        run(10, 0, &[]);
        run(11, 40_000, &[]);
        let text = run(12, 0, &[]);
        assert!(text.contains("run once with `--trust-clock`"), "{text}");
        let text = run(13, 0, &["--trust-clock"]);
        assert!(text.contains("by a clock that was ahead: going on at"), "{text}");
        let text = run(14, 0, &[]);
        assert!(!text.contains("clock"), "{text}");
        // Sealed files become visible when their time is over.
        run(15, 2, &[]);
        run(15, 4, &[]);
        assert_eq!(installation.ids(), every_id(15), "{files}");
        let years = years(&installation);
        assert!(years.iter().any(|year| year.starts_with("21")), "{files}: {years:?}");
        assert!(years.iter().any(|year| year.starts_with("20")), "{files}: {years:?}");
        assert!(installation.last_commit("signals")["write-time"].as_str().unwrap().starts_with("20"));
    }
}
