//! Sources of which a period is exported again: renamed, grown and packed files, and files that do not hold what they held.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use serde_json::Value;

use super::{AGAIN, HOUR, again, assert_refused, configure, divided, expected, fixed};
use crate::support::containers::{block, header, text};
use crate::support::lake_folder::{Installation, ids_of, signal};
use crate::support::process::wait_until;

#[test]
fn dead_letters_of_renamed_files_are_not_taken_for_other_records() {
    let installation = fixed("max-dead-letters = 1000");
    let late = "{\"id\":\"2000\",\"event\":\"Late\",\"signalTime\":\"2019-09-10T12:30:00Z\"}\n";
    installation.write("in/b.ndjson", format!("{late}{}\n", signal(4_000, 65)));
    installation.run_ok(&["run"]);
    assert_eq!(installation.dead_letters().len(), 1);
    let path = installation.path().join("lakeport.toml");
    let configuration = fs::read_to_string(&path).unwrap();
    fs::write(&path, configuration.replace("files = \"in/*\"", "files = \"in/*\"\nkind = \"/signalTime\"")).unwrap();

    // No run has met it under its new name.
    let (b, z) = (installation.path().join("in/b.ndjson"), installation.path().join("in/z.ndjson"));
    fs::rename(&b, &z).unwrap();
    // Another file has its name by now, with a good record in the place of the one that was refused.
    installation.write("in/b.ndjson", format!("{}\n{}\n", signal(4_001, 66), signal(4_002, 67)));
    let killed = installation.command(&AGAIN).env("LAKEPORT_FAIL_POINT", "again-replaced:1").output().unwrap();
    assert_eq!(killed.status.signal(), Some(libc::SIGKILL), "{}", String::from_utf8_lossy(&killed.stderr));
    let mut all = expected(true);
    all.insert("4000".into(), 1);
    assert!(ids_of(divided(installation.files()).0) == all, "it is left to a replay");

    // One has.
    installation.run_ok(&["run"]);
    assert_refused(&installation, 7, &["the records of 1 dead letters are not where they were", "b.ndjson` at 0"]);
    installation.run_ok(&["replay"]);
    again(&installation);
    all.extend(["4001", "4002", "2000"].map(|id| (id.to_owned(), 1)));
    assert!(ids_of(divided(installation.files()).0) == all, "each is there once");
}

#[test]
fn what_its_source_lacks_is_not_waited_for() {
    let installation = fixed("");
    fs::rename(installation.path().join("in/a.ndjson"), installation.path().join("a.ndjson")).unwrap();
    let mut child = installation.spawn(&["run", "--follow", "--again", "signals", "--period", HOUR, "--yes"]);
    wait_until("it has ended by itself", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("in/a.ndjson` is gone") && !error.contains("trying again"), "{error}");
}

#[test]
fn a_short_new_file_is_not_taken_for_the_one_that_had_its_name() {
    let installation = fixed("");
    let file = |name: &str| installation.path().join("in").join(name);
    // No run has met either.
    fs::rename(file("a.ndjson"), file("z.ndjson")).unwrap();
    installation.write("in/a.ndjson", signal(7_000, 70) + "\n");
    again(&installation);
    // The run that follows has read it.
    let mut all = expected(true);
    all.insert("7000".into(), 1);
    assert!(ids_of(divided(installation.files()).0) == all);

    let installation = fixed("");
    installation.write("in/a.ndjson", signal(7_000, 70) + "\n");
    assert_refused(&installation, 3, &["in/a.ndjson` has ", "it was truncated, or is another file now"]);
}

#[test]
fn a_source_that_does_not_hold_what_was_exported_is_refused_by_name() {
    let installation = fixed("");
    let path = installation.path().join("in/a.ndjson");
    let whole = fs::read(&path).unwrap();
    let is_read = |bytes: &[u8]| fs::write(&path, bytes).unwrap();

    fs::remove_file(&path).unwrap();
    assert_refused(&installation, 3, &["in/a.ndjson` is gone"]);
    is_read(&whole[..whole.len() / 2]);
    assert_refused(
        &installation,
        3,
        &["nothing was replaced: what was exported cannot be read again: `", "in/a.ndjson` has "],
    );
    is_read(&String::from_utf8(whole.clone()).unwrap().replacen("\"89\"", "\"98\"", 1).into_bytes());
    assert_refused(&installation, 3, &["in/a.ndjson` was changed"]);
    is_read(&[b"{}\n", &whole[..]].concat());
    assert_refused(&installation, 3, &["in/a.ndjson` is not read any more, or is another file now"]);
    is_read(&whole);
    again(&installation);
    assert!(ids_of(divided(installation.files()).0) == expected(true), "it is as it was");

    // Truncated and begun again: the log says where that one is, and nothing of the first.
    is_read((signal(3_000, 5) + "\n").as_bytes());
    installation.run_ok(&["run"]);
    assert_refused(&installation, 3, &["a file was truncated or replaced since"]);
}

#[test]
fn renamed_and_grown_files_are_read_as_far_as_they_were_exported() {
    let installation = fixed("");
    installation.write("in/b.ndjson", signal(4_000, 65) + "\n");
    installation.write("in/c.ndjson", signal(4_001, 66));
    installation.run_ok(&["run"]);
    fs::rename(installation.path().join("in/b.ndjson"), installation.path().join("in/z.ndjson")).unwrap();
    installation.write("in/b.ndjson", signal(4_002, 67) + "\n");
    // Goes on behind a last line that had no end yet.
    installation.append("in/c.ndjson", &format!("\n{}\n", signal(4_003, 68)));
    let killed = installation.command(&AGAIN).env("LAKEPORT_FAIL_POINT", "again-replaced:1").output().unwrap();
    assert_eq!(killed.status.signal(), Some(libc::SIGKILL));
    let status: Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
    assert_eq!(status["exports"].as_array().unwrap().len(), 1, "what is left beside is no partition: {status}");
    let mut all = expected(true);
    all.extend(["4000", "4001"].map(|id| (id.to_owned(), 1)));
    assert!(ids_of(divided(installation.files()).0) == all, "what was exported, and nothing that came after");
    installation.run_ok(&["run"]);
    all.extend(["4002", "4003"].map(|id| (id.to_owned(), 1)));
    assert!(ids_of(divided(installation.files()).0) == all);
}

#[test]
fn packed_files_and_containers_are_read_as_they_were() {
    let records = |ids: std::ops::Range<usize>| -> String { ids.map(|id| signal(id, 60 + id % 60) + "\n").collect() };
    let gzip = |text: &str| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let installation = fixed("");
    installation.write("in/b.gz", gzip(&records(500..600)));
    installation.run_ok(&["run"]);
    installation.write("in/b.gz", [gzip(&records(500..600)), gzip(&records(600..700))].concat());
    let more = |ids: std::ops::Range<usize>| {
        let mut all = expected(true);
        all.extend(ids.map(|id| (id.to_string(), 1)));
        all
    };
    let hour = |installation: &Installation| ids_of(divided(installation.files()).0);
    let killed = installation.command(&AGAIN).env("LAKEPORT_FAIL_POINT", "again-replaced:1").output().unwrap();
    assert_eq!(killed.status.signal(), Some(libc::SIGKILL), "{}", String::from_utf8_lossy(&killed.stderr));
    assert!(hour(&installation) == more(500..600));
    installation.run_ok(&["run"]);
    assert!(hour(&installation) == more(500..700));

    // Of a compressed block, all records have one offset. One of them has no time, and is a dead letter.
    let installation = Installation::new("");
    let fields = ["name", "signalTime", "id"].map(|name| format!("{{\"name\":\"{name}\",\"type\":\"string\"}}"));
    let schema = format!("{{\"type\":\"record\",\"name\":\"Signal\",\"fields\":[{}]}}", fields.join(","));
    let record = |name: &str, time: &str, id: &str| [text(name), text(time), text(id)].concat();
    let signals = [
        record("Brew", "2019-09-10T12:00:00Z", "1"),
        record("Brew", "soon", "2"),
        record("Door", "2019-09-10T12:10:00Z", "3"),
        record("Brew", "2019-09-10T13:10:00Z", "4"),
    ];
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(&signals.concat()).unwrap();
    let blocks = [header(&schema, Some("deflate")), block(4, &deflate.finish().unwrap())];
    installation.write("in/a.avro", blocks.concat());
    for (is_fixed, ids) in [(false, &["1"][..]), (true, &["1", "3"])] {
        configure(&installation, is_fixed, "");
        let path = installation.path().join("lakeport.toml");
        let configuration = fs::read_to_string(&path).unwrap();
        fs::write(&path, configuration.replacen("files = \"in/*\"", "files = \"in/*\"\nenvelope = \"avro\"", 1))
            .unwrap();
        installation.run_ok(&["run"]);
        if is_fixed {
            again(&installation);
        }
        assert!(hour(&installation).keys().eq(ids), "{:?}", installation.ids());
        assert_eq!((installation.dead_letters().len(), installation.ids().get("4")), (1, Some(&1)));
    }
}
