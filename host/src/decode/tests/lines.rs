use super::*;
use crate::decode::MAX_DEPTH;
use crate::record::MAX_ROWS;

#[test]
fn bodies_and_offsets_are_those_of_the_lines() {
    let decoded = decode("{\"name\":\"a\"}\n {\"name\":\"b\", \"x\": [1, {}]} \n{\"name\":\"c\"}");
    assert_eq!(bodies(&decoded), ["{\"name\":\"a\"}", " {\"name\":\"b\", \"x\": [1, {}]} ", "{\"name\":\"c\"}"]);
    assert_eq!(offsets(&decoded), [0, 13, 42]);
    assert_eq!((decoded.records, decoded.dead.len()), (3, 0));
    assert_eq!(&*decoded.batches[0].origin, "/in/a.ndjson");
}

#[test]
fn crlf_ends_a_line_as_lf_does() {
    let decoded = decode("{\"name\":\"a\"}\r\n{\"name\":\"b\"}\r\n");
    assert_eq!(bodies(&decoded), ["{\"name\":\"a\"}", "{\"name\":\"b\"}"]);
    assert_eq!(offsets(&decoded), [0, 14]);
}

#[test]
fn empty_and_blank_lines_are_no_records() {
    let decoded = decode("\n\r\n  \t \n{\"name\":\"a\"}\n\n \r\n");
    assert_eq!((decoded.records, rows(&decoded), decoded.dead.len()), (1, 1, 0));
    assert_eq!(decode("").records, 0);
}

#[test]
fn a_bom_is_skipped_at_the_start_of_an_origin_only() {
    let decoded = decode("\u{feff}{\"name\":\"a\"}\n");
    assert_eq!((bodies(&decoded), offsets(&decoded)), (vec!["{\"name\":\"a\"}".to_string()], vec![3]));
    assert_eq!(decode("\u{feff}").records, 0);
    let later = decoder(vec![]).decode(&chunk(100, "\u{feff}{\"name\":\"a\"}\n"), 0);
    assert_eq!(later.dead[0].reason, "not valid JSON at byte 1: expected a value, found `\u{feff}`");
    assert_eq!(later.dead[0].offset, 100);
}

#[test]
fn a_batch_has_at_most_max_rows() {
    let decoded = decode("{\"name\":\"a\"}\n".repeat(2 * MAX_ROWS + 1));
    assert_eq!(decoded.batches.iter().map(|batch| batch.rows()).collect::<Vec<_>>(), [MAX_ROWS, MAX_ROWS, 1]);
    assert_eq!(offsets(&decoded)[2 * MAX_ROWS], 13 * 2 * MAX_ROWS as u64);
}

#[test]
fn a_dead_letter_keeps_the_line_without_its_terminator_and_where_it_was() {
    let decoded = decoder(vec![]).decode(&chunk(1000, "{\"name\":\"a\"}\nnope\r\n{\"name\":\"b\"}\n"), 0);
    let dead = &decoded.dead[0];
    assert_eq!((&dead.raw[..], dead.offset, &*dead.origin), (&b"nope"[..], 1013, "/in/a.ndjson"));
    assert_eq!((decoded.records, rows(&decoded)), (3, 2));
}

#[test]
fn invalid_json_says_where_and_what_was_expected() {
    for (line, expected) in [
        ("{\"name\":\"a\"", "not valid JSON at byte 12: expected `,` or `}`, found the end of the record"),
        ("{\"name\":\"a\",}", "not valid JSON at byte 13: expected a key in double quotes, found `}`"),
        ("{\"name\" \"a\"}", "not valid JSON at byte 9: expected `:`, found `\"`"),
        ("{\"name\":}", "not valid JSON at byte 9: expected a value, found `}`"),
        ("{\"name\":\"a\"} x", "not valid JSON at byte 14: expected the end of the record, found `x`"),
        ("{\"name\":\"a\"}{}", "not valid JSON at byte 13: expected the end of the record, found `{`"),
        (
            "{\"name\":\"a",
            "not valid JSON at byte 11: expected the closing quote of a string, found the end of the record",
        ),
        ("{\"name\":tru}", "not valid JSON at byte 9: expected `true`, found `t`"),
        ("{\"x\":01}", "not valid JSON at byte 7: expected no digit after a leading zero, found `1`"),
        ("{\"x\":1.}", "not valid JSON at byte 8: expected a digit, found `}`"),
        ("{\"x\":\"\\q\"}", "not valid JSON at byte 8: expected an escape such as `\\n` or `\\u0041`, found `q`"),
        ("{\"x\":\"\\u12g4\"}", "not valid JSON at byte 11: expected four hexadecimal digits, found `g`"),
        (
            "{\"x\":\"a\tb\"}",
            "not valid JSON at byte 8: expected no control character in a string, found the control character `0x09`",
        ),
        ("{\"x\":[1 2]}", "not valid JSON at byte 9: expected `,` or `]`, found `2`"),
        ("{'name':1}", "not valid JSON at byte 2: expected a key in double quotes, found `'`"),
        ("NaN", "not valid JSON at byte 1: expected a value, found `N`"),
    ] {
        assert_eq!(reason(line), expected, "{line}");
        assert_eq!(reason(format!("{line}\n")), expected, "{line} with a terminator");
    }
}

#[test]
fn nul_bytes_are_named() {
    assert_eq!(reason("\0\0\0\n"), "not valid JSON at byte 1: expected a value, found a NUL byte");
    assert_eq!(
        reason("{\"name\":\"a\0b\"}"),
        "not valid JSON at byte 11: expected no control character in a string, found a NUL byte"
    );
}

#[test]
fn a_value_that_is_no_object_is_no_record() {
    for (line, what) in
        [("[1]", "an array"), ("\"a\"", "a string"), ("1", "a number"), ("null", "null"), ("true", "a boolean")]
    {
        assert_eq!(reason(line), format!("not a JSON object but {what}: a record is an object"));
    }
}

#[test]
fn a_line_that_is_not_utf8_leaves_the_others_alone() {
    let decoded = decode(b"{\"name\":\"a\"}\n{\"name\":\"b\xff\"}\n{\"name\":\"\xc3\xa9\"}\n".to_vec());
    assert_eq!(rows(&decoded), 2);
    assert_eq!(decoded.dead[0].reason, "not UTF-8 at byte 11: `0xff` starts no character there");
    assert_eq!(&decoded.dead[0].raw[..], b"{\"name\":\"b\xff\"}");
    // A sequence that the end of the line cuts.
    assert_eq!(reason(b"{\"name\":\"\xc3\n".to_vec()), "not UTF-8 at byte 10: `0xc3` starts no character there");
}

#[test]
fn a_record_without_a_usable_name_says_where_it_was_looked_for() {
    assert_eq!(reason("{}"), "no name: there is nothing at `/name`; set `kind` to where records have it");
    assert_eq!(reason("{\"name\":7}"), "the name at `/name` is a number, expected a string; set `kind` to where it is");
    assert_eq!(reason("{\"name\":\"\"}"), "the name at `/name` is empty");
    assert_eq!(
        reason("{\"name\":\"\\ud800\"}"),
        "the name at `/name` holds half of a surrogate pair, which is no Unicode text"
    );
    assert!(reason("{\"name\":\"a\",\"name\":null}").starts_with("the name at `/name` is null"), "the last one counts");
}

#[test]
fn without_a_mapping_for_it_no_name_is_needed() {
    let mut decoder = Decoder::new(&Mapping { kind: Place::Nowhere, ..mapping() }, "signals", vec![], LIMIT).unwrap();
    assert_eq!(rows(&decoder.decode(&chunk(0, "{}\n{\"name\":7}\n"), 0)), 2);
}

#[test]
fn a_record_may_be_as_large_as_the_limit_and_no_larger() {
    let mut decoder = Decoder::new(&mapping(), "signals", vec![], 14).unwrap();
    let decoded = decoder.decode(&chunk(0, "{\"name\":\"abc\"}\r\n{\"name\":\"abcd\"}\n"), 0);
    assert_eq!(rows(&decoded), 1);
    assert_eq!(decoded.dead[0].reason, "larger than max-record-size: 15 bytes, at most 14 are allowed");
}

#[test]
fn dropped_bytes_make_a_dead_letter_that_says_so() {
    let mut chunk = chunk(0, "{\"name\":\"a\"}\n{\"name\":\"b\"}");
    chunk.extent.dropped = 100;
    let decoded = decoder(vec![]).decode(&chunk, 0);
    assert_eq!((decoded.records, rows(&decoded)), (2, 1));
    assert_eq!(
        decoded.dead[0].reason,
        "larger than max-record-size: 112 bytes, at most 1048576 are allowed; the first 12 are kept here"
    );
}

#[test]
fn depth_up_to_the_limit_is_accepted_and_one_more_is_refused() {
    let nested = |levels: usize, open: &str, close: &str| {
        format!("{{\"name\":\"a\",\"x\":{}1{}}}", open.repeat(levels - 1), close.repeat(levels - 1))
    };
    assert_eq!(rows(&decode(nested(MAX_DEPTH, "[", "]"))), 1);
    assert_eq!(rows(&decode(nested(MAX_DEPTH, "{\"k\":", "}"))), 1);
    assert_eq!(
        reason(nested(MAX_DEPTH + 1, "[", "]")),
        "nested too deep: level 513 opens at byte 528, at most 512 are allowed"
    );
    assert!(reason(nested(MAX_DEPTH + 1, "{\"k\":", "}")).starts_with("nested too deep"));
    // Brackets in strings are no levels.
    assert_eq!(rows(&decode(format!("{{\"name\":\"{}\"}}", "[{".repeat(1000)))), 1);
}

#[test]
fn depth_100000_overflows_no_stack() {
    for (open, close) in [("[", "]"), ("{\"k\":", "}"), ("[{\"a\":", "}]")] {
        let deep = format!("{{\"name\":\"a\",\"x\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        let reason = thread.spawn(move || reason(deep)).unwrap().join().unwrap();
        assert!(reason.starts_with("nested too deep"), "{reason}");
    }
    assert!(reason("[".repeat(100_000)).starts_with("nested too deep"));
}

#[test]
fn mixed_nesting_closes_in_the_order_it_was_opened() {
    assert_eq!(rows(&decode("{\"name\":\"a\",\"x\":[{\"y\":[[],{}]},{\"z\":{}}, [ ] ]}")), 1);
    for line in
        ["{\"x\":[}]", "{\"x\":{]}", "{\"x\":[{\"y\":1]}}", "{\"x\":[1,]}", "{\"x\":{\"y\":1,}}", "{\"x\":[,1]}"]
    {
        assert!(reason(line).starts_with("not valid JSON"), "{line}");
    }
}

#[test]
fn a_long_line_is_one_record() {
    let line = format!("{{\"name\":\"a\",\"x\":\"{}\"}}\n", "y".repeat(20 << 20));
    let mut decoder = Decoder::new(&mapping(), "signals", vec![], 1 << 30).unwrap();
    let decoded = decoder.decode(&chunk(0, line), 0);
    assert_eq!((decoded.records, rows(&decoded)), (1, 1));
}
