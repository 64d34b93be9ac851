use super::*;
use proptest::prelude::*;

/// chrono's reading of the same text, in microseconds.
fn chrono(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros())
}

#[test]
fn every_rfc3339_form_is_the_instant_it_names() {
    let noon = chrono("2026-03-01T12:00:00Z").unwrap();
    for text in [
        "2026-03-01T12:00:00Z",
        "2026-03-01t12:00:00z",
        "2026-03-01 12:00:00Z",
        "2026-03-01T12:00:00+00:00",
        "2026-03-01T12:00:00-00:00",
        "2026-03-01T14:00:00+02:00",
        "2026-03-01T06:30:00-05:30",
        "2026-03-02T11:59:00+23:59",
        "2026-03-01T12:00:00.0Z",
        "2026-03-01T12:00:00.0000009Z",
        "2026-03-01T12:00:00.000000999999999999Z",
    ] {
        assert_eq!(parse_rfc3339(text), Some(noon), "{text}");
    }
    assert_eq!(parse_rfc3339("2026-03-01T12:00:00.1Z"), Some(noon + 100_000));
    assert_eq!(parse_rfc3339("2026-03-01T12:00:00.123456Z"), Some(noon + 123_456));
    assert_eq!(parse_rfc3339("2026-03-01T12:00:00.123456789+00:00"), Some(noon + 123_456));
}

#[test]
fn a_leap_second_stays_in_the_hour_it_ends() {
    let last = chrono("2016-12-31T23:59:59Z").unwrap() + 999_999;
    for text in
        ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z", "2017-01-01T01:59:60+02:00", "2016-12-31T15:59:60-08:00"]
    {
        assert_eq!(parse_rfc3339(text), Some(last), "{text}");
    }
    for text in ["2016-12-31T12:00:60Z", "2016-12-31T22:59:60Z", "2016-12-31T23:59:60+01:00", "2016-12-31T23:59:61Z"] {
        assert_eq!(parse_rfc3339(text), None, "{text}");
    }
}

#[test]
fn years_reach_from_0000_to_9999_in_utc() {
    assert_eq!(parse_rfc3339("0000-01-01T00:00:00Z"), Some(FIRST * MICROS));
    assert_eq!(parse_rfc3339("9999-12-31T23:59:59.999999Z"), Some(LAST * MICROS - 1));
    assert_eq!(parse_rfc3339("0000-01-01T00:00:00+00:01"), None);
    assert_eq!(parse_rfc3339("9999-12-31T23:59:59-00:01"), None);
}

#[test]
fn what_is_not_rfc3339_is_no_instant() {
    for text in [
        "",
        "2026",
        "2026-03-01",
        "2026-03-01T12:00:00",
        "2026-03-01T12:00Z",
        "2026-03-01T12:00:00.Z",
        "2026-03-01T12:00:00,5Z",
        "2026-03-01T12:00:00+0200",
        "2026-03-01T12:00:00+02",
        "2026-03-01T12:00:00+24:00",
        "2026-03-01T12:00:00+02:60",
        "2026-03-01T12:00:00ZZ",
        "2026-03-01T12:00:00 Z",
        " 2026-03-01T12:00:00Z",
        "2026-03-01_12:00:00Z",
        "2026-3-01T12:00:00Z",
        "2026-00-01T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-04-31T12:00:00Z",
        "2026-03-00T12:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T12:60:00Z",
        "+026-03-01T12:00:00Z",
        "20260301T120000Z",
        "1767225600",
    ] {
        assert_eq!(parse_rfc3339(text), None, "{text}");
    }
    assert!(parse_rfc3339("2024-02-29T12:00:00Z").is_some() && parse_rfc3339("2000-02-29T00:00:00Z").is_some());
    assert_eq!(parse_rfc3339("1900-02-29T00:00:00Z"), None);
}

#[test]
fn epoch_seconds_and_milliseconds_are_read_exactly() {
    let seconds = |text: &str| parse(text.as_bytes(), TimeUnit::EpochSeconds);
    let milliseconds = |text: &str| parse(text.as_bytes(), TimeUnit::EpochMilliseconds);
    assert_eq!(seconds("1767225600"), Some(1_767_225_600_000_000));
    assert_eq!(seconds("1767225600.123456"), Some(1_767_225_600_123_456));
    assert_eq!(seconds("1767225600.1234569"), Some(1_767_225_600_123_456));
    assert_eq!(seconds("1.7672256e9"), Some(1_767_225_600_000_000));
    assert_eq!(seconds("17672256E+2"), Some(1_767_225_600_000_000));
    assert_eq!(seconds("1767225600000e-3"), Some(1_767_225_600_000_000));
    assert_eq!(seconds("-1.5"), Some(-1_500_000));
    assert_eq!(seconds("-0.0000001"), Some(-1), "finer than a microsecond is cut towards the past");
    assert_eq!(seconds("0"), Some(0));
    assert_eq!(seconds("0e999999999999"), Some(0));
    assert_eq!(seconds("1e-999999999999"), Some(0));
    assert_eq!(milliseconds("1767225600123"), Some(1_767_225_600_123_000));
    assert_eq!(milliseconds("1767225600123.4567"), Some(1_767_225_600_123_456));
    assert_eq!(milliseconds("-62167219200000"), Some(FIRST * MICROS));
}

#[test]
fn epoch_numbers_outside_the_years_0000_to_9999_are_no_instant() {
    let seconds = |text: &str| parse(text.as_bytes(), TimeUnit::EpochSeconds);
    assert!(seconds("253402300799.999999").is_some() && seconds("-62167219200").is_some());
    for text in [
        "253402300800",
        "-62167219200.0000001",
        "1e300",
        "1e999999999999",
        "99999999999999999999",
        "1767225600123000000",
    ] {
        assert_eq!(seconds(text), None, "{text}");
    }
    for text in ["", "-", ".5", "5.", "1e", "1e+", "+1", "0x10", "1 ", "one", "--1", "1e1.5", "NaN"] {
        assert_eq!(seconds(text), None, "{text}");
    }
}

#[test]
fn a_time_as_event_hubs_capture_writes_it_is_the_instant_it_names() {
    for (text, expected) in [
        ("6/11/2018 12:00:08 AM", "2018-06-11T00:00:08Z"),
        ("12/7/2018 10:22:49 AM", "2018-12-07T10:22:49Z"),
        ("6/11/2018 12:00:08.1234567 PM", "2018-06-11T12:00:08.123456Z"),
        ("12/31/2018 12:59:59 PM", "2018-12-31T12:59:59Z"),
        ("2/29/2024 11:59:59 PM", "2024-02-29T23:59:59Z"),
    ] {
        assert_eq!(parse_en_us(text), chrono(expected), "{text}");
    }
    for text in [
        "",
        "6/11/2018",
        "6/11/2018 12:00:08",
        "6/11/2018 12:00:08 am",
        "6/11/2018 0:00:08 AM",
        "6/11/2018 1:00:08. PM",
        "6/11/2018 1:00:08.1Z PM",
        "6/11/2018 1:00.5 PM",
        "6/11/2018 13:00:08 PM",
        "2/30/2018 1:00:08 PM",
        "13/1/2018 1:00:08 PM",
        "6/11/2018 1:60:08 PM",
        "6/11/2018 1:00 PM",
        "6/11/2018/1 1:00:00 PM",
        "6/11/+018 1:00:00 PM",
        "6/11/20181 1:00:00 PM",
    ] {
        assert_eq!(parse_en_us(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn it_agrees_with_chrono_on_every_valid_date_time(
        seconds in FIRST..LAST, nanos in 0u32..1_000_000_000, digits in 0usize..=9, offset in -1439i32..=1439,
    ) {
        let zone = chrono::FixedOffset::east_opt(offset * 60).unwrap();
        let local = chrono::DateTime::from_timestamp(seconds, nanos).unwrap().with_timezone(&zone);
        let year = chrono::Datelike::year(&local);
        prop_assume!((0..=9999).contains(&year));
        let fraction = if digits == 0 { String::new() } else { format!(".{}", &format!("{nanos:09}")[..digits]) };
        let text = format!("{}{fraction}{}", local.format("%Y-%m-%dT%H:%M:%S"), local.format("%:z"));
        prop_assert_eq!(parse_rfc3339(&text), chrono(&text));
    }

    #[test]
    fn it_accepts_nothing_near_a_date_time_that_chrono_refuses(
        at in 0usize..26, byte in prop::sample::select(b"0123456789-+:.TtZz ".to_vec()),
    ) {
        let mut text = b"2026-02-28T23:59:59.5+02:00".to_vec();
        text[at] = byte;
        let text = String::from_utf8(text).unwrap();
        let ours = parse_rfc3339(&text);
        // chrono takes second 60 anywhere.
        if ours != chrono(&text) {
            prop_assert!(&text[17..19] == "60", "{}: {:?}, chrono {:?}", text, ours, chrono(&text));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}", unit in prop::sample::select(vec![
        TimeUnit::Rfc3339, TimeUnit::EpochSeconds, TimeUnit::EpochMilliseconds,
    ])) {
        parse(text.as_bytes(), unit);
    }
}
