//! What becomes of a period's file when its format is set otherwise: one file has one header.

use apache_avro::types::Value;

use crate::support::avro::{member, records};
use crate::support::lake_folder::Installation;

fn configuration(files: &str, format: &str) -> String {
    format!(
        "[sources.signals]\nfiles = \"signals.ndjson\"\nkind = false\ntime = \"/time\"\n\n[exports.signals]\nsource = \"signals\"\n\
         files = \"{files}\"\nformat = {{ plugin = \"avro\", {format} }}\n"
    )
}

fn schema(more: &str) -> String {
    format!(
        "record = \"schema\", schema = '{{\"type\":\"record\",\"name\":\"r\",\"fields\":[{{\"name\":\"n\",\"type\":\"long\"}}{more}]}}'"
    )
}

fn run(installation: &Installation, lines: std::ops::Range<usize>) {
    let line = |n| format!("{{\"n\":{n},\"time\":\"2026-03-04T06:00:00Z\"}}\n");
    installation.write("signals.ndjson", (0..lines.end).map(line).collect::<String>());
    installation.run_ok(&["run", "--quiet"]);
}

/// Each file's numbers, in the order of their paths.
fn numbers(installation: &Installation) -> Vec<Vec<i64>> {
    let number = |record: &Value| match member(record, "n") {
        Value::Long(n) => *n,
        other => panic!("{other:?}"),
    };
    installation.files().values().map(|bytes| records(bytes).iter().map(number).collect()).collect()
}

#[test]
fn a_growing_file_is_not_extended_by_blocks_of_another_schema_or_codec() {
    let installation = Installation::new(&configuration("growing", &schema("")));
    run(&installation, 0..2);
    run(&installation, 2..4);
    assert_eq!(numbers(&installation), [[0, 1, 2, 3]]);
    let more = r#",{"name":"more","type":["null","string"],"default":null}"#;
    installation.write("lakeport.toml", configuration("growing", &schema(more)));
    run(&installation, 4..6);
    run(&installation, 6..7);
    assert_eq!(numbers(&installation), [vec![0, 1, 2, 3], vec![4, 5, 6]]);
    installation.write("lakeport.toml", configuration("growing", &(schema(more) + ", codec = \"deflate\"")));
    run(&installation, 7..8);
    assert_eq!(numbers(&installation), [vec![0, 1, 2, 3], vec![4, 5, 6], vec![7]]);
}

#[test]
fn segments_of_another_schema_are_sealed_by_themselves() {
    // Late enough that the file waits over the first runs.
    let waiting = "sealed\"\nlateness = \"36500d";
    let installation = Installation::new(&configuration(waiting, &schema("")));
    run(&installation, 0..2);
    run(&installation, 2..4);
    assert!(installation.files().is_empty());
    let more = r#",{"name":"more","type":["null","string"],"default":null}"#;
    installation.write("lakeport.toml", configuration(waiting, &schema(more)));
    run(&installation, 4..6);
    assert_eq!(numbers(&installation), [[0, 1, 2, 3]]);
    installation.write("lakeport.toml", configuration("sealed", &schema(more)));
    run(&installation, 6..7);
    assert_eq!(numbers(&installation), [vec![0, 1, 2, 3], vec![4, 5, 6]]);
}

#[test]
fn segments_that_wait_appear_where_files_are_not_sealed_any_more() {
    for (mode, expected) in [("growing", vec![vec![0, 1], vec![2, 3]]), ("rolling", vec![vec![0, 1], vec![2, 3]])] {
        let waiting = configuration("sealed\"\nlateness = \"36500d", &schema(""));
        let installation = Installation::new(&waiting);
        run(&installation, 0..2);
        installation.write("lakeport.toml", configuration(mode, &schema("")));
        run(&installation, 2..4);
        assert_eq!(numbers(&installation), expected, "{mode}");

        // Without another record, too.
        let installation = Installation::new(&waiting);
        run(&installation, 0..2);
        installation.write("lakeport.toml", configuration(mode, &schema("")));
        run(&installation, 2..2);
        assert_eq!(numbers(&installation), [[0, 1]], "{mode}");
    }
}

#[test]
fn more_files_than_a_format_has_open_at_once_are_written_whole() {
    const HOURS: usize = 300;
    let installation = Installation::new(&configuration("rolling", &schema("")));
    let line = |n: usize| {
        let (day, hour) = (1 + n % HOURS / 24, n % HOURS % 24);
        format!("{{\"n\":{n},\"time\":\"2026-03-{day:02}T{hour:02}:00:00Z\"}}\n")
    };
    installation.write("signals.ndjson", (0..20_000).map(line).collect::<String>());
    installation.run_ok(&["run", "--quiet"]);
    let expected: Vec<Vec<i64>> = (0..HOURS).map(|hour| (hour as i64..20_000).step_by(HOURS).collect()).collect();
    assert!(numbers(&installation) == expected);
}
