use super::*;
use proptest::prelude::*;

fn written(text: &str, put: impl FnOnce(&Stamp, &mut Vec<u8>)) -> Option<String> {
    let mut out = Vec::new();
    put(&Stamp::parse(text.as_bytes())?, &mut out);
    Some(String::from_utf8(out).unwrap())
}

fn iso(text: &str) -> Option<String> {
    written(text, |stamp, out| stamp.put_iso(false, out))
}

#[test]
fn instants_come_to_utc_with_every_digit() {
    for (text, expected) in [
        ("2021-06-25T16:21:12Z", "2021-06-25T16:21:12Z"),
        ("2021-06-25t18:21:12.5+02:00", "2021-06-25T16:21:12.5Z"),
        ("2021-06-25 16:21:12.123456+02", "2021-06-25T14:21:12.123456Z"),
        ("2021-06-25 16:21:12.120000-0330", "2021-06-25T19:51:12.120000Z"),
        ("1890-01-01 00:00:00+00:53:28", "1889-12-31T23:06:32Z"),
        ("2021-06-25T16:21:12.1234567891Z", "2021-06-25T16:21:12.123456789Z"),
        ("2021-06-25T16:21:12.123456-00:00", "2021-06-25T16:21:12.123456Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999999Z"),
        ("/Date(1624638072123)/", "2021-06-25T16:21:12.123Z"),
        ("/Date(-1)/", "1969-12-31T23:59:59.999Z"),
        ("/Date(1624638072123+0200)/", "2021-06-25T16:21:12.123Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"),
        ("2000-03-01T00:30:00+01:00", "2000-02-29T23:30:00Z"),
    ] {
        assert_eq!(iso(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn what_has_no_zone_gets_none_but_where_it_is_utc() {
    assert_eq!(iso("2021-06-25 16:21:12.123456").unwrap(), "2021-06-25T16:21:12.123456");
    let utc = written("2021-06-25 16:21:12", |stamp, out| stamp.put_iso(true, out));
    assert_eq!(utc.unwrap(), "2021-06-25T16:21:12Z");
}

#[test]
fn what_is_no_date_time_of_these_years_is_refused() {
    for text in [
        "",
        "2021-06-25",
        "2021-06-25T16:21",
        "2021-06-25T16:21:12.",
        "2021-06-25T24:00:00Z",
        "2021-02-29T00:00:00Z",
        "2021-06-25T16:21:12 CET",
        "2021-06-25T16:21:12+24:00",
        "2021-06-25T16:21:12*02:00",
        "0044-03-15 12:00:00 BC",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "10000-01-01 00:00:00",
        "/Date()/",
        "/Date(1e3)/",
        "/Date(9223372036854775807)/",
        "infinity",
    ] {
        assert_eq!(iso(text), None, "{text}");
    }
}

#[test]
fn the_service_has_three_forms() {
    let text = "2021-06-28T18:34:35.7654321+02:00";
    assert_eq!(written(text, Stamp::put_service).unwrap(), "2021-06-28T16:34:35Z");
    assert_eq!(written(text, Stamp::put_service_creation).unwrap(), "2021-06-28T16:34:35.7654321+00:00");
    assert_eq!(written(text, Stamp::put_service_sink).unwrap(), "6/28/2021 4:34:35 PM");
    let sink = |text: &str| written(text, Stamp::put_service_sink).unwrap();
    assert_eq!(sink("2021-12-01T00:00:00Z"), "12/1/2021 12:00:00 AM");
    assert_eq!(sink("2021-12-31T12:05:09Z"), "12/31/2021 12:05:09 PM");
    assert_eq!(sink("0099-01-02T11:59:59Z"), "1/2/0099 11:59:59 AM");
}

#[test]
fn dates_and_times_of_day_are_validated() {
    assert!(is_date(b"2021-06-25") && is_date(b"2000-02-29") && is_date(b"0001-01-01"));
    for text in ["2021-6-25", "1900-02-29", "2021-13-01", "0000-01-01", "2021-06-25 BC", "12021-06-25"] {
        assert!(!is_date(text.as_bytes()), "{text}");
    }
    assert!(is_time(b"16:21:12.123") && is_time(b"00:00:00") && is_time(b"23:59:59.123456789"));
    assert!(is_time(b"24:00:00") && is_time(b"24:00:00.000000"), "the day's end");
    for text in ["24:00:01", "24:00:00.", "24:00:00.0000001", "24:00:00.0000000000", "24:00:00+02"] {
        assert!(!is_time(text.as_bytes()), "{text}");
    }
    for text in ["16:21", "25:00:00", "16:21:12+02", "16:21:60", "16:21:12.", "16:21:12.1234567891", ""] {
        assert!(!is_time(text.as_bytes()), "{text}");
    }
    assert!(is_infinite(b"infinity") && is_infinite(b"-infinity") && !is_infinite(b"Infinity"));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
        let stamp = Stamp::micros(micros).unwrap();
        let mut out = Vec::new();
        stamp.put_iso(false, &mut out);
        prop_assert_eq!(Stamp::parse(&out), Some(stamp));
        prop_assert_eq!(stamp.seconds(), micros.div_euclid(1_000_000));
    }
}
