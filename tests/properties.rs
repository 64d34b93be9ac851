//! What holds for any input: keys are injective and under the root, a time is in one period, NDJSON comes back as it was.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path};

use lakeport::layout::{Period, Template, Values, encode_segment, part_key, part_of};
use lakeport::plan::Granularity;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value};

use crate::support::lake_folder::Installation;

/// The text that [`encode_segment`] made a segment of, where it is not cut.
fn decode_segment(segment: &str) -> String {
    if segment == "%" {
        return String::new();
    }
    let mut parts = segment.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// Text that is awkward in a key, and any other.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[%~./_\\\\a2Eé\u{0}{} ]{0,6}",
        any::<String>(),
        "\\PC{0,80}",
        Just("..".to_owned()),
        Just("CON".to_owned()),
        Just("{part}".to_owned()),
        ("[ä%a]{170,200}", any::<u8>()).prop_map(|(long, end)| format!("{long}{end}")),
    ]
}

fn granularity() -> impl Strategy<Value = Granularity> {
    prop_oneof![Just(Granularity::Minute), Just(Granularity::Hour), Just(Granularity::Day)]
}

/// Every instant of the years 0000 to 9999.
fn time() -> impl Strategy<Value = i64> {
    let years = -62_167_219_200_000_000..253_402_300_800_000_000_i64;
    // Around the borders of days, which are those of hours and minutes too.
    prop_oneof![
        years,
        (-719_528..2_932_896_i64, -2..=2_i64).prop_map(|(day, off)| (day + 1) * 86_400_000_000 + off.min(-1))
    ]
}

#[test]
fn short_awkward_texts_all_have_keys_of_their_own() {
    let alphabet = ["%", "~", ".", "_", "-", "/", "\\", "a", "A", "2", "E", "é", "\0", " ", "{", "}"];
    let mut texts = vec![String::new()];
    for _ in 0..3 {
        let longer: Vec<_> = texts.iter().flat_map(|text| alphabet.map(|c| format!("{text}{c}"))).collect();
        texts.extend(longer);
    }
    let texts: HashSet<_> = texts.into_iter().collect();
    let keys: HashSet<_> = texts.iter().map(|text| encode_segment(text)).collect();
    assert_eq!((keys.len(), texts.len()), (texts.len(), 1 + 16 + 256 + 4_096));
}

proptest! {
    #[test]
    fn a_segment_is_safe_and_gives_its_text_back(text in text()) {
        let segment = encode_segment(&text);
        prop_assert!(segment.len() <= 180 && !segment.is_empty());
        prop_assert!(segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._%~".contains(&byte)), "{}", segment);
        prop_assert!(!segment.starts_with(['.', '_']) && !segment.ends_with('.'), "{}", segment);
        match segment.contains("%~") {
            false => prop_assert_eq!(decode_segment(&segment), text),
            true => prop_assert!(text.len() > 60, "only long texts are cut"),
        }
    }

    #[test]
    fn long_texts_that_differ_in_one_place_have_different_segments(text in "[ä%a]{100,300}", at in any::<prop::sample::Index>()) {
        let mut other: Vec<char> = text.chars().collect();
        let at = at.index(other.len());
        other[at] = 'b';
        prop_assert_ne!(encode_segment(&text), encode_segment(&other.into_iter().collect::<String>()));
    }

    #[test]
    fn keys_are_under_the_root_and_tell_everything_apart(
        kinds in [text(), text()], sources in [text(), text()], times in [time(), time()], parts in [0..300_u32, 0..300],
        granularity in granularity(),
    ) {
        let template = Template::parse("x/{kind}/s={source}/{YYYY}/{MM}/{dd}/{HH}/{mm}/{part}.{ext}").unwrap();
        let of = |at: usize| {
            let period = Period::of(times[at], granularity);
            let values = Values {
                export: "e", kind: &kinds[at], source: &sources[at], partition: "0",
                period: period.fields().unwrap(), extension: "ndjson",
            };
            let series = template.series(&values);
            ((&kinds[at], &sources[at], period, parts[at]), part_key(&series, parts[at]), part_of(&series, &part_key(&series, parts[at])))
        };
        let [(what, key, part), (other, other_key, _)] = [of(0), of(1)];
        prop_assert_eq!(part, Some(parts[0]));
        prop_assert_eq!(what == other, key == other_key, "{} {}", key, other_key);
        prop_assert!(Path::new(&key).components().all(|part| matches!(part, Component::Normal(_))), "{}", key);
        prop_assert!(key.split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '_']) && part.len() < 250), "{}", key);
        prop_assert_eq!(key.split('/').count(), 9);
        prop_assert!(object_store::path::Path::parse(&key).is_ok(), "{}", key);
    }

    #[test]
    fn a_time_is_in_exactly_one_period(time in time(), granularity in granularity()) {
        let period = Period::of(time, granularity);
        prop_assert!(period.start() <= time && time < period.end());
        prop_assert_eq!(period.end() - period.start(), granularity.micros());
        for inside in [period.start(), period.end() - 1] {
            prop_assert_eq!(Period::of(inside, granularity), period);
        }
        for outside in [period.start() - 1, period.end()] {
            prop_assert_ne!(Period::of(outside, granularity), period);
        }
        prop_assert_eq!(Period::of(period.end(), granularity).start(), period.end());
        // A minute is in one hour, an hour in one day.
        let day = Period::of(time, Granularity::Day);
        prop_assert!(day.start() <= period.start() && period.end() <= day.end());
    }

    #[test]
    fn the_fields_of_a_period_are_its_start(time in time(), granularity in granularity()) {
        let period = Period::of(time, granularity);
        let f = period.fields().unwrap();
        let start = chrono::NaiveDate::from_ymd_opt(f.year, f.month, f.day).unwrap().and_hms_opt(f.hour, f.minute, 0).unwrap();
        prop_assert_eq!(start.and_utc().timestamp_micros(), period.start());
    }
}

/// Any JSON value, up to four deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn any_objects_come_back_from_the_real_pipeline_as_they_were() {
    const RECORDS: usize = 2_000;
    let mut runner = TestRunner::deterministic();
    let members = prop::collection::btree_map(any::<String>(), value(), 0..8);
    let fields = (members, "\\PC{1,12}", time(), any::<bool>());
    let mut lines = BTreeMap::new();
    for id in 0..RECORDS {
        let (members, name, time, spaced) = fields.new_tree(&mut runner).unwrap().current();
        let time =
            chrono::DateTime::from_timestamp_micros(time).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut object: Map<String, Value> = members.into_iter().collect();
        object.extend(
            [("id", Value::from(id)), ("name", name.into()), ("signalTime", time.into())]
                .map(|(k, v)| (k.to_owned(), v)),
        );
        let object = Value::Object(object);
        let line = if spaced { format!("{object:#}").replace('\n', "") } else { object.to_string() };
        lines.insert(id, line);
    }
    let installation =
        Installation::exporting("in.ndjson", "granularity = \"day\"\npath = \"{export}/{YYYY}/{MM}{dd}-{part}.{ext}\"");
    installation.write("in.ndjson", lines.values().map(|line| format!("{line}\n")).collect::<String>());
    let summary = installation.export();
    assert_eq!(installation.dead_letters(), [""; 0]);
    assert_eq!(summary["records-written"], RECORDS);
    for (path, bytes) in installation.files() {
        for line in std::str::from_utf8(&bytes).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let id = record["id"].as_u64().unwrap() as usize;
            assert_eq!(lines.remove(&id).as_deref(), Some(line), "{path}");
            let day: String = record["signalTime"].as_str().unwrap()[..10].replace('-', "");
            assert_eq!(path.replace(|c: char| !c.is_ascii_digit(), "")[..8], day, "{path}: {line}");
        }
    }
    assert!(lines.is_empty(), "{} are missing", lines.len());
}
