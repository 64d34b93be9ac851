//! Transforms: each mode of the test transform, those that are useful and those that break a rule.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use lakeport::plugin::{Failure, Moment, Toolbox, Transformed};
use lakeport::record::{Attribute, ColumnType, Selector};
use serde_json::json;
use test_guests::transform;

use super::{MOMENT, bodies, kinds, limits, open_transform, sandbox, texts, used};
use crate::support::lake_folder::{Installation, signals};

fn apply(mode: transform::Mode, rows: &[&str]) -> Result<Transformed, Failure> {
    open_transform(limits(), mode, MOMENT).apply(rows.len(), &[bodies(rows)])
}

#[test]
fn transforms_that_break_a_rule_fail_alone_and_by_name() {
    use transform::Mode::*;
    for mode in [
        Keep,
        Duplicate,
        Split,
        Chance,
        Number,
        SetAttributes,
        Drop,
        Spread,
        HugeBody,
        HugeList,
        OffsetsDecrease,
        OffsetsOutOfRange,
        OffsetsStartLate,
        OffsetsTooFew,
        OriginsDecrease,
        OriginsOutOfRange,
        RejectAndKeep,
        TextNotUtf8,
        TextCutInsideACharacter,
        AttributeTwice,
        AttributeOfWrongType,
        AttributeTooShort,
        AttributeIsBody,
        PairsOutOfRange,
    ] {
        let broken = match mode {
            Keep => {
                let answer = apply(mode, &["{}", "[]"]).unwrap();
                assert_eq!((answer.origins, answer.bodies.is_none()), (vec![0, 1], true));
                continue;
            }
            Duplicate => {
                let answer = apply(mode, &["{}", "[1, 2, 3, 4, 5, 6, 7]"]).unwrap();
                assert_eq!(answer.origins, [0, 0, 1, 1]);
                let long = "[1, 2, 3, 4, 5, 6, 7]";
                assert_eq!(texts(&answer.bodies.unwrap()), ["{}", "{}", long, long]);
                continue;
            }
            Split => {
                let answer = apply(mode, &["[1, {\"a\": 2}]", "{}", "[]", "[3]"]).unwrap();
                assert_eq!(answer.origins, [0, 0, 3]);
                assert_eq!(texts(&answer.bodies.unwrap()), ["1", "{\"a\":2}", "3"]);
                assert_eq!(answer.rejected[0].row, 1);
                assert!(answer.rejected[0].reason.starts_with("does not parse: "), "{}", answer.rejected[0].reason);
                continue;
            }
            Drop => {
                assert!(apply(mode, &["{}"]).unwrap().origins.is_empty());
                continue;
            }
            Spread => {
                assert_eq!(apply(mode, &["{}", r#"{"spread":true}"#]).unwrap().origins.len(), 10_001);
                continue;
            }
            Chance => {
                repeats();
                continue;
            }
            Number => {
                assert!(texts(&apply(mode, &["{}"; 2]).unwrap().bodies.unwrap())[0].contains("\"number\":\""));
                continue;
            }
            SetAttributes => {
                sets_attributes();
                continue;
            }
            HugeList => {
                assert_eq!(apply(mode, &["{}"; 10]).unwrap().origins.len(), 1_000);
                let many = vec!["{}"; 8_192];
                match apply(mode, &many).unwrap_err() {
                    Failure::BrokeRule(text) => assert!(text.contains("made 819200 records of 8192"), "{text}"),
                    other => panic!("{other:?}"),
                }
                continue;
            }
            HugeBody => "passed more than its limit of 32MiB",
            OffsetsDecrease => "gave offset 4 of `bodies` after 9, expected offsets that never decrease",
            OffsetsOutOfRange => "gave offsets of `bodies` up to 6000, but 6 bytes or pairs",
            OffsetsStartLate => "gave offsets of `bodies` that start at 1, expected 0",
            OffsetsTooFew => "gave 3 offsets of `bodies` for 3 rows, expected 4",
            OriginsDecrease => "gave origin 1 after 2, expected origins that never decrease",
            OriginsOutOfRange => "gave origin 3 in a batch of 3 rows",
            RejectAndKeep => "both rejected row 0 and made records of it",
            TextNotUtf8 => "gave text of `kind` that is not UTF-8, in row 0",
            TextCutInsideACharacter => "gave text of `kind` that is not UTF-8, in row 0",
            AttributeTwice => "set the attribute `kind` twice",
            AttributeOfWrongType => "set the attribute `time` to values of another type, expected [Timestamp]",
            AttributeTooShort => "gave 2 values of `time` for 3 rows",
            AttributeIsBody => "set the attribute `body`, expected new bodies in `bodies`",
            PairsOutOfRange => "gave offsets of `properties` up to 21, but 3 bytes or pairs",
        };
        let failure = apply(mode, &["{}"; 3]).unwrap_err();
        assert_eq!(
            failure,
            Failure::BrokeRule(format!("plugin `turn` broke the interface in `apply`: it {broken}")),
            "{mode:?}"
        );
        assert_eq!(apply(Keep, &["{}"; 3]).unwrap().origins, [0, 1, 2], "a fresh instance works");
    }
}

fn repeats() {
    let run = |moment: Moment| {
        let mut chance = open_transform(limits(), transform::Mode::Chance, moment);
        let first = chance.apply(1, &[bodies(&["{}"])]).unwrap().bodies.unwrap();
        chance.set_moment(Moment { write_time: 5_000_000, ..moment });
        let second = chance.apply(1, &[bodies(&["{}"])]).unwrap().bodies.unwrap();
        (texts(&first)[0].to_owned(), texts(&second)[0].to_owned())
    };
    let (first, second) = run(MOMENT);
    assert!(first.starts_with(r#"{"now":1700000000123456,"#), "{first}");
    assert!(second.starts_with(r#"{"now":5000000,"#), "{second}");
    assert_eq!(run(MOMENT), (first.clone(), second), "the same moment, the same answers");
    assert_ne!(run(Moment { seed: 8, ..MOMENT }).0, first, "another seed, another order");
}

fn sets_attributes() {
    let answer = apply(transform::Mode::SetAttributes, &["{}"; 3]).unwrap();
    let names: Vec<Attribute> = answer.attributes.iter().map(|(attribute, _)| *attribute).collect();
    use Attribute::*;
    assert_eq!(names, [Kind, Subject, Time, Version, Properties]);
    let column = |at: usize| &answer.attributes[at].1;
    assert_eq!(column(0).as_string_view().iter().collect::<Vec<_>>(), [Some("neu ä"); 3]);
    assert_eq!(column(1).as_string_view().value(2), "a subject of more than twelve bytes");
    let times = column(2).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.iter().collect::<Vec<_>>(), [None, Some(1), Some(2)]);
    assert_eq!(column(3).as_primitive::<Int64Type>().values(), &[7, 7, 7]);
    let pairs = column(4).as_map().value(2);
    assert_eq!(pairs.column(0).as_string::<i32>().value(0), "row");
    assert_eq!(pairs.column(1).as_string::<i32>().value(0), "2");
}

#[test]
fn enrich_asks_for_lookups_and_adds_what_they_find() {
    let config = json!({ "table": "devices", "template": false, "properties": { "place": "/location" } });
    let plugin = used("enrich", None, limits(), config);
    let mut enrich = sandbox().toolbox().transform(&plugin, MOMENT).unwrap();
    let lookups: Vec<_> = enrich.columns()[3..].to_vec();
    for (request, pointer) in lookups.iter().zip(["/name", "/location"]) {
        let selector = Selector::Lookup { table: "devices".to_owned(), pointer: pointer.to_owned() };
        assert_eq!((&request.selector, request.as_type), (&selector, ColumnType::Json));
    }
    let measurements = bodies(&[r#"{"h":5.0}"#, r#"{"h":6}"#]);
    let (names, places) = (bodies(&["\"Küche\"", "\"Bad\""]), bodies(&["{\"lat\": 1.0}", "null"]));
    let columns = [kinds(&[Some("d1"), Some("d2")]), measurements.clone(), measurements, names, places];
    let answer = enrich.apply(2, &columns).unwrap();
    assert_eq!(answer.origins, [0, 1]);
    assert_eq!(
        texts(&answer.bodies.unwrap()),
        [
            r#"{"h":5.0,"device":{"name":"Küche","place":{"lat": 1.0}}}"#,
            r#"{"h":6,"device":{"name":"Bad","place":null}}"#
        ]
    );
}

#[test]
fn a_transform_that_repeats_large_records_without_end_breaks_a_rule() {
    let installation = turned("huge-list", "");
    let large =
        format!("{{\"name\":\"n\",\"signalTime\":\"2026-03-01T10:00:00Z\",\"p\":\"{}\"}}\n", "x".repeat(400_000));
    let small = "{\"name\":\"n\",\"signalTime\":\"2026-03-01T10:00:00Z\"}\n";
    installation.write("in.ndjson", large + small);
    let summary = installation.export();
    assert_eq!((&summary["records-written"], &summary["dead-letters"]), (&json!(100), &json!(1)), "{summary}");
    let reason = installation.dead_letters()[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("it repeated records to 40"), "{reason}");
    assert!(reason.ends_with("more than its limit of 33554432 (`limits.transfer`)"), "{reason}");
    assert!(summary["plugins"]["turn"]["broken-rules"].as_u64() >= Some(1), "{summary}");
    assert!(
        summary["plugins"]["turn"]["first-broken-rule"].as_str().unwrap().contains("repeated records"),
        "{summary}"
    );
}

#[test]
fn numbers_that_plugins_draw_are_unique_over_lanes_and_instances() {
    let installation = turned("number", "flush = { bytes = \"1GiB\" }");
    installation.write("in.ndjson", signals(40_000));
    installation.run_ok(&["run", "--quiet"]);
    let lines = installation.lines();
    let numbers: std::collections::BTreeSet<_> = lines.iter().collect();
    assert_eq!((lines.len(), numbers.len()), (40_000, 40_000));
}

#[test]
fn a_transform_that_makes_records_for_too_many_files_breaks_a_rule() {
    let installation = turned("spread", "");
    let record = "{\"name\":\"n\",\"signalTime\":\"2026-03-01T10:00:00Z\"}\n";
    let spread = record.replace("\"n\"", "\"n\",\"spread\":true");
    installation.write("in.ndjson", [record, &spread, record].concat());
    let summary = installation.export();
    assert_eq!((&summary["records-written"], &summary["dead-letters"]), (&json!(2), &json!(1)), "{summary}");
    let reason = installation.dead_letters()[0]["reason"].as_str().unwrap().to_owned();
    let expected = "plugin `turn` broke the interface in `apply`: it made 10000 records for more than 8192 files, by their times, \
                    kinds and sources";
    assert_eq!(reason, expected);
}

#[test]
fn a_transform_that_takes_the_time_away_is_named() {
    let installation = turned("set-attributes", "");
    installation.write("in.ndjson", signals(3));
    let summary = installation.export();
    assert_eq!((&summary["records-written"], &summary["dead-letters"]), (&json!(2), &json!(1)), "{summary}");
    let reason = installation.dead_letters()[0]["reason"].as_str().unwrap().to_owned();
    assert_eq!(reason, "no usable time: plugin `turn` sets `time`, and gave none");
}

/// An export whose records go through the transform of the tests.
fn turned(mode: &str, more: &str) -> Installation {
    Installation::new(&format!(
        "[plugins.turn]\npath = \"{}\"\n[sources.signals]\nfiles = \"in.ndjson\"\n[exports.signals]\nsource = \"signals\"\n{more}\n\
         transforms = [{{ plugin = \"turn\", mode = \"{mode}\" }}]\n",
        test_guests::TRANSFORM
    ))
}
