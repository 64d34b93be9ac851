//! Avro container files as others write them, and as others leave them: what is whole is exported, what is not is told of, and
//! nothing takes more memory than the data has.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::support::containers::{block, header, header_in_blocks, items, long, sized_items, text};
use crate::support::lake_folder::Installation;

const SCHEMA: &str = r#"{"type":"record","name":"Signal","fields":[{"name":"name","type":"string"},{"name":"signalTime","type":"string"},
    {"name":"id","type":"string"},{"name":"marks","type":{"type":"array","items":"null"}}]}"#;

const EXPORT: &str = "[sources.files]\nfiles = \"in/\"\nenvelope = \"avro\"\n[exports.signals]\nsource = \"files\"\n";

/// A record whose array has so many nulls, as it says.
fn record(id: usize, nulls: i64) -> Vec<u8> {
    let marks = if nulls == 0 { long(0) } else { [long(nulls), long(0)].concat() };
    [text("Brew"), text("2024-05-06T10:00:00Z"), text(id.to_string()), marks].concat()
}

fn texts(installation: &Installation) -> Vec<String> {
    installation.lines().into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Runs a command to its end, and answers with its exit code and the most memory that it had, in MiB.
#[expect(clippy::zombie_processes, reason = "`wait4` waits for it")]
fn ended(command: &mut Command) -> (i32, i64) {
    let child = command.spawn().unwrap();
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both places may be written to, and of `rusage` all bits zero is a value.
    let usage = unsafe {
        let pid = libc::wait4(child.id() as i32, &raw mut status, 0, usage.as_mut_ptr());
        assert_eq!(pid, child.id() as i32);
        usage.assume_init()
    };
    assert!(libc::WIFEXITED(status), "it ended by a signal: {status}");
    (libc::WEXITSTATUS(status), usage.ru_maxrss / 1024)
}

#[test]
fn every_whole_block_is_exported_and_none_takes_memory_for_what_it_says_to_hold() {
    let installation = Installation::new(EXPORT);
    let one = |id: usize| block(1, &record(id, 0));
    let half = one(61);
    let files: [(&str, &[Vec<u8>]); 8] = [
        (
            "no-deflate",
            &[
                header(SCHEMA, Some("deflate")),
                block(1, &deflated(&record(0, 0))),
                block(1, b"\xfe\xfe not deflated"),
                block(1, &deflated(&record(1, 0))),
            ],
        ),
        (
            "too-few-records",
            &[header(SCHEMA, Some("null")), one(10), block(3, &[record(11, 0), record(12, 0)].concat()), one(13)],
        ),
        (
            "bytes-left-over",
            &[header(SCHEMA, Some("null")), block(1, &[record(20, 0), vec![1, 2, 3]].concat()), one(21)],
        ),
        (
            "text-of-a-terabyte",
            &[header(SCHEMA, Some("null")), block(1, &[long(1 << 40), b"Brew".to_vec()].concat()), one(31)],
        ),
        ("array-without-end", &[header(SCHEMA, Some("null")), block(1, &record(40, 1 << 62)), one(41)]),
        ("records-without-end", &[header(SCHEMA, Some("null")), block(1 << 60, &record(50, 0)), one(51)]),
        ("half-a-block", &[header(SCHEMA, Some("null")), one(60), half[..half.len() - 24].to_vec()]),
        (
            "wrong-marker",
            &[
                header(SCHEMA, Some("null")),
                one(70),
                block(1, &record(71, 0)).into_iter().map(|byte| if byte == b'x' { b'y' } else { byte }).collect(),
                one(72),
            ],
        ),
    ];
    for (name, parts) in files {
        installation.write(&format!("in/{name}.avro"), parts.concat());
    }
    let mut command = installation.command(&["run"]);
    let log = fs::File::create(installation.path().join("said")).unwrap();
    let (code, peak) = ended(command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null()));
    let said = fs::read_to_string(installation.path().join("said")).unwrap();
    assert_eq!(code, 0, "{said}");
    assert!(peak < 1_000, "{peak} MiB");
    let whole = |ids: &[usize]| -> BTreeMap<String, usize> { ids.iter().map(|id| (id.to_string(), 1)).collect() };
    let mut found = installation.ids();
    // A block with something wrong in it is a dead letter as a whole, or from there on.
    found.retain(|id, _| !["11", "12", "20", "40", "50"].contains(&id.as_str()));
    assert_eq!(found, whole(&[0, 1, 10, 13, 21, 31, 41, 51, 60, 70]), "{said}");
    assert!(installation.ids().values().all(|count| *count == 1), "{:?}", installation.ids());
    for warning in ["half-a-block.avro", "wrong-marker.avro", "sync marker"] {
        assert!(said.contains(warning), "{warning}: {said}");
    }
    let letters = installation.dead_letters();
    for name in [
        "no-deflate",
        "too-few-records",
        "bytes-left-over",
        "text-of-a-terabyte",
        "array-without-end",
        "records-without-end",
    ] {
        let of_it = letters.iter().filter(|letter| letter["origin"].to_string().contains(name)).count();
        assert_eq!(of_it, 1, "{name}: {letters:#?}");
    }

    // The writer completes its block, and another one.
    installation.write("in/half-a-block.avro", [header(SCHEMA, Some("null")), one(60), half, one(62)].concat());
    installation.run_ok(&["run", "--quiet"]);
    let ids = installation.ids();
    assert_eq!([60, 61, 62].map(|id: usize| ids.get(&id.to_string()).copied()), [Some(1); 3], "{ids:?}");
}

#[test]
fn counts_may_be_negative_with_the_size_behind_them() {
    let schema = r#"{"type":"record","name":"Signal","fields":[{"name":"name","type":"string"},{"name":"signalTime","type":"string"},
        {"name":"tags","type":{"type":"map","values":"int"}},
        {"name":"rows","type":{"type":"array","items":{"type":"array","items":"string"}}}]}"#;
    let tag = |name: &str, value: i64| [text(name), long(value)].concat();
    let tags = [tag("a", 1), tag("b", -2), tag("c", 3), tag("d", 4), tag("e", 5)];
    let of = |list: fn(&[Vec<u8>]) -> Vec<u8>| {
        let rows = [list(&[text("x"), text("y"), text("z")]), list(&[]), list(&[text("\u{e9}")])];
        [text("Brew"), text("2024-05-06T10:00:00Z"), list(&tags), list(&rows)].concat()
    };
    let installation = Installation::new(EXPORT);
    installation.write("in/plain.avro", [header(schema, None), block(1, &of(items))].concat());
    installation
        .write("in/sized.avro", [header_in_blocks(schema), block(2, &[of(sized_items), of(items)].concat())].concat());
    installation.run_ok(&["run", "--quiet"]);
    let line = "{\"name\":\"Brew\",\"signalTime\":\"2024-05-06T10:00:00Z\",\"tags\":{\"a\":1,\"b\":-2,\"c\":3,\"d\":4,\"e\":5},\
                \"rows\":[[\"x\",\"y\",\"z\"],[],[\"\u{e9}\"]]}";
    let lines = texts(&installation);
    assert_eq!(lines, [line; 3]);
}

#[test]
fn schemas_that_strict_readers_refuse_are_read_as_what_their_data_is() {
    // Defaults are for readers that have a field more, and a logical type that is none is no reason to refuse the data.
    let fields: [(&str, Vec<u8>, &str); 9] = [
        (r#"{"name":"x","type":{"type":"array","items":"long"},"default":null}"#, items(&[long(7)]), "[7]"),
        (r#"{"name":"x","type":["long","null"],"default":"none"}"#, [long(0), long(8)].concat(), "8"),
        (r#"{"name":"x-y","type":"int","default":"zero"}"#, long(9), "9"),
        (
            r#"{"name":"x","type":{"type":"bytes","logicalType":"decimal","precision":1,"scale":4}}"#,
            text(b"\x01\xff"),
            "\"Af8=\"",
        ),
        (r#"{"name":"x","type":{"type":"string","logicalType":"date"}}"#, text("someday"), "\"someday\""),
        (r#"{"name":"x","type":{"type":"int","logicalType":"of-mine"}}"#, long(-1), "-1"),
        (
            r#"{"name":"x","type":{"type":"enum","name":"E","symbols":["on-off","C"],"default":"D"}}"#,
            long(0),
            "\"on-off\"",
        ),
        (r#"{"name":"x","type":{"type":{"type":"string","avro.java.string":"String"}}}"#, text("s"), "\"s\""),
        (
            r#"{"name":"x","type":["double"],"doc":7,"aliases":["y"],"order":"ignore"}"#,
            [long(0), 2.5_f64.to_le_bytes().to_vec()].concat(),
            "2.5",
        ),
    ];
    let installation = Installation::new(EXPORT);
    let mut expected = Vec::new();
    for (number, (field, data, json)) in fields.into_iter().enumerate() {
        let schema = format!(
            r#"{{"type":"record","name":"Old-{number}","fields":[{{"name":"name","type":"string"}},{{"name":"signalTime","type":"string"}},{field}]}}"#
        );
        let record = [text("Brew"), text("2024-05-06T10:00:00Z"), data].concat();
        installation.write(&format!("in/{number}.avro"), [header(&schema, None), block(1, &record)].concat());
        let name = if field.contains("x-y") { "x-y" } else { "x" };
        expected.push(format!(r#"{{"name":"Brew","signalTime":"2024-05-06T10:00:00Z","{name}":{json}}}"#));
    }
    installation.run_ok(&["run", "--quiet"]);
    let lines = texts(&installation);
    assert_eq!(lines, expected);
}
