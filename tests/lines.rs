//! What lines and files may be like: every whole record comes out byte for byte and once, nothing else stops a run.

use std::fs::{File, OpenOptions};
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::lake_folder::{Installation, signal};
use crate::support::process::{Following, wait_until};

/// A flush that tests need not wait for.
pub const SOON: &str = "flush = { every = \"50ms\" }";

fn of(input: &[u8]) -> Installation {
    let installation = Installation::exporting("in.ndjson", "");
    installation.write("in.ndjson", input);
    installation
}

/// `ids` as lines, all of one hour.
pub fn records(ids: impl IntoIterator<Item = usize>) -> Vec<u8> {
    ids.into_iter().flat_map(|id| format!("{}\n", signal(id, 0)).into_bytes()).collect()
}

pub fn append(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes.as_ref()).unwrap();
}

pub fn ids(installation: &Installation) -> Vec<(usize, usize)> {
    let mut ids: Vec<_> = installation.ids().into_iter().map(|(id, times)| (id.parse().unwrap(), times)).collect();
    ids.sort_unstable();
    ids
}

/// Each of these once.
pub fn once(ids: impl IntoIterator<Item = usize>) -> Vec<(usize, usize)> {
    ids.into_iter().map(|id| (id, 1)).collect()
}

fn texts(lines: &[Vec<u8>]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

// --- lines ------------------------------------------------------------------------------------------------------------

#[test]
fn an_exported_line_is_the_line_that_was_read_byte_for_byte() {
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let lines = [
        r#"{"name":"a","signalTime":"2019-09-10T11:00:00Z"}"#.to_owned(),
        "  { \"name\" :\t\"a\" , \"signalTime\":\"2019-09-10T11:00:00Z\" }\t ".to_owned(),
        r#"{"\u006eame":"\u00e9\ud83d\ude00\/","signalTime":"2019-09-10T11\u003a00:00Z"}"#.to_owned(),
        "{\"name\":\"é😀\u{2028}\u{feff}\",\"signalTime\":\"2019-09-10T11:00:00Z\"}".to_owned(),
        r#"{"name":"a","signalTime":"2019-09-10T11:00:00Z","n":-0.0e-00,"m":123456789012345678901234567890.10}"#
            .to_owned(),
        r#"{"name":"a","signalTime":"2019-09-10T11:00:00Z","half":"\ud83d","":{"":[]}}"#.to_owned(),
        format!(r#"{{"name":"a","signalTime":"2019-09-10T11:00:00Z","deep":{deep}}}"#),
        format!(r#"{{"name":"a","signalTime":"2019-09-10T11:00:00Z","long":"{}"}}"#, "x".repeat(900_000)),
    ];
    let input = lines.join("\n") + "\n";
    let installation = of(input.as_bytes());
    installation.run_ok(&["run"]);
    assert_eq!(installation.dead_letters(), [""; 0]);
    let files = installation.files();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["signals/2019/09/10/11/00.ndjson"]);
    assert!(files.values().next().unwrap() == input.as_bytes(), "the file is not the input");
}

#[test]
fn a_carriage_return_between_tokens_breaks_no_line() {
    let installation = of(b"{\"name\":\"a\",\r\"signalTime\":\"2019-09-10T11:00:00Z\"}\r\n");
    installation.run_ok(&["run"]);
    assert_eq!(texts(&installation.lines()), [r#"{"name":"a", "signalTime":"2019-09-10T11:00:00Z"}"#]);
}

#[test]
fn crlf_a_byte_order_mark_and_empty_lines_are_no_part_of_a_record() {
    let (a, b) = (signal(1, 0), signal(2, 0));
    let installation = of(format!("\u{feff}{a}\r\n\r\n\n   \t\n{b}\r\n\n").as_bytes());
    let summary = installation.export();
    assert_eq!((&summary["records-read"], &summary["dead-letters"]), (&2.into(), &0.into()));
    assert_eq!(texts(&installation.lines()), [a, b]);
}

#[test]
fn a_whole_record_without_a_newline_is_exported_and_its_newline_adds_nothing() {
    let installation = of(signal(1, 0).as_bytes());
    installation.run_ok(&["run"]);
    assert_eq!(texts(&installation.lines()), [signal(1, 0)]);
    append(installation.path().join("in.ndjson"), format!("\n{}", signal(2, 0)));
    installation.run_ok(&["run"]);
    assert_eq!(texts(&installation.lines()), [signal(1, 0), signal(2, 0)]);
    assert_eq!(installation.dead_letters(), [""; 0]);
}

#[test]
fn half_a_record_at_the_end_waits_for_its_other_half() {
    let (whole, torn) = (signal(1, 0), signal(2, 0));
    let (first, second) = torn.split_at(40);
    let installation = of(format!("{whole}\n{first}").as_bytes());
    let summary = installation.run_ok(&["run"]);
    let (start, path) = (whole.len() + 1, installation.path().join("in.ndjson"));
    let expected = format!(
        "warning: signals: `{}` ends in the middle of a line: the 40 bytes from byte {start} on are left for a later run",
        path.display()
    );
    assert!(summary.contains(&expected), "{summary}");
    assert_eq!(texts(&installation.lines()), [whole.as_str()]);

    append(path, format!("{second}\n"));
    let summary = installation.run_ok(&["run"]);
    assert!(!summary.contains("warning"), "{summary}");
    assert_eq!(texts(&installation.lines()), [whole, torn]);
    assert_eq!(installation.dead_letters(), [""; 0]);
}

#[test]
fn nul_bytes_make_a_dead_letter_of_their_line_alone() {
    let in_text = "{\"name\":\"a\0b\",\"signalTime\":\"2019-09-10T11:00:00Z\"}";
    let input = format!("{}\n{in_text}\n\0\0\0\0\n{}\n\0{}\n", signal(1, 0), signal(2, 0), signal(3, 0));
    let installation = of(input.as_bytes());
    installation.run_ok(&["run"]);
    assert_eq!(ids(&installation), once([1, 2]));
    let letters = installation.dead_letters();
    let records: Vec<_> = letters.iter().map(|letter| letter["record"].as_str().unwrap()).collect();
    assert_eq!(records, [in_text, "\0\0\0\0", &format!("\0{}", signal(3, 0))]);
    assert!(
        letters.iter().all(|letter| letter["reason"].as_str().unwrap().ends_with("found a NUL byte")),
        "{letters:?}"
    );
}

#[test]
fn of_duplicate_keys_the_last_decides_and_the_line_stays_as_it_is() {
    let line = r#"{"name":"Old","signalTime":"2019-09-10T11:00:00Z","name":"New","signalTime":"2019-09-10T15:00:00Z"}"#;
    let other = r#"{"name":"New","signalTime":"2019-09-10T11:00:00Z","name":"Old"}"#;
    let installation = Installation::exporting("in.ndjson", "filters = [{ plugin = \"select\", kinds = [\"New\"] }]");
    installation.write("in.ndjson", format!("{line}\n{other}\n"));
    installation.run_ok(&["run"]);
    let files = installation.files();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["signals/2019/09/10/15/00.ndjson"]);
    assert_eq!(texts(&installation.lines()), [line]);
}

#[test]
fn a_record_nested_a_hundred_thousand_deep_is_a_dead_letter() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!(
            r#"{{"name":"a","signalTime":"2019-09-10T11:00:00Z","d":{}1{}}}"#,
            open.repeat(100_000),
            close.repeat(100_000)
        );
        let installation =
            of(format!("{}\n{deep}\n{}\n{}", signal(1, 0), signal(2, 0), open.repeat(100_000)).as_bytes());
        installation.run_ok(&["run"]);
        assert_eq!(ids(&installation), once([1, 2]));
        let letters = installation.dead_letters();
        assert_eq!(letters.len(), 1, "what is cut off at the end waits");
        assert!(
            letters[0]["reason"].as_str().unwrap().starts_with("nested too deep: level 513 opens at byte"),
            "{open}"
        );
        assert_eq!(letters[0]["record"], deep);
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_a_dead_letter_with_its_beginning_and_its_length() {
    let long =
        format!(r#"{{"name":"a","signalTime":"2019-09-10T11:00:00Z","d":"{}"}}"#, "0123456789".repeat(10_000_000));
    let installation = of(&[records([1]), long.clone().into_bytes(), b"\n".to_vec(), records([2])].concat());
    installation.run_ok(&["run"]);
    assert_eq!(ids(&installation), once([1, 2]));
    let raw = installation.run(&["dead-letters", "--raw"]);
    assert!(
        raw.stdout.strip_suffix(b"\n") == Some(&long.as_bytes()[..1 << 20]),
        "{} bytes were kept",
        raw.stdout.len()
    );
    assert_eq!(installation.dead_letters()[0]["length"], long.len());
    let shown = installation.run_ok(&["dead-letters"]);
    let reason = format!("larger than max-record-size: {} bytes, at most 1048576 are allowed", long.len());
    assert!(shown.contains(&reason) && shown.len() < 1_000, "{shown}");
}

#[test]
fn a_record_of_many_megabytes_is_exported_where_the_configuration_allows_it() {
    let long =
        format!(r#"{{"name":"a","id":"3","signalTime":"2019-09-10T11:00:00Z","d":"{}"}}"#, "x".repeat(20_000_000));
    let installation = Installation::exporting("in.ndjson", "max-record-size = \"100MiB\"");
    let input = [records([1]), long.into_bytes(), b"\n".to_vec(), records([2])].concat();
    installation.write("in.ndjson", &input);
    installation.run_ok(&["run"]);
    assert_eq!(installation.dead_letters().len(), 0);
    assert!(installation.files().into_values().collect::<Vec<_>>().concat() == input, "not the bytes that were read");
}

// --- files that change ------------------------------------------------------------------------------------------------

#[test]
fn a_file_that_was_truncated_between_runs_is_read_from_its_start() {
    let installation = of(&records(0..10));
    append(installation.path().join("in.ndjson"), &signal(10, 0)[..30]);
    installation.run_ok(&["run"]);
    assert_eq!(ids(&installation), once(0..10));

    // As `logrotate` with `copytruncate` leaves it: the half record is gone with the rest.
    installation.write("in.ndjson", records(20..23));
    let summary = installation.run_ok(&["run"]);
    assert!(summary.contains("was truncated or replaced, and is read from its start"), "{summary}");
    assert_eq!(ids(&installation), once((0..10).chain(20..23)));
    installation.run_ok(&["run"]);
    assert_eq!(ids(&installation), once((0..10).chain(20..23)));
}

#[test]
fn a_file_that_was_truncated_to_nothing_waits_for_more() {
    let installation = of(&records(0..10));
    installation.run_ok(&["run"]);
    installation.write("in.ndjson", "");
    installation.run_ok(&["run"]);
    append(installation.path().join("in.ndjson"), records(10..12));
    installation.run_ok(&["run"]);
    assert_eq!(ids(&installation), once(0..12));
}

#[test]
fn a_followed_file_is_exported_as_it_grows_and_through_truncation() {
    let installation = Installation::exporting("in.ndjson", SOON);
    let path = installation.path().join("in.ndjson");
    let following = Following::start(&installation);
    append(&path, records(0..5));
    wait_until("the first lines are exported", || ids(&installation) == once(0..5));
    let torn = signal(5, 0) + "\n";
    append(&path, &torn[..30]);
    std::thread::sleep(Duration::from_millis(300));
    append(&path, &torn[30..]);
    wait_until("a line that came in halves is exported", || ids(&installation) == once(0..6));

    append(&path, &signal(6, 0)[..30]);
    std::thread::sleep(Duration::from_millis(300));
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    append(&path, records(20..22));
    wait_until("what came after the truncation is exported", || ids(&installation) == once((0..6).chain(20..22)));
    append(&path, records(22..24));
    wait_until("so is what follows", || ids(&installation) == once((0..6).chain(20..24)));
    let summary = following.stop();
    assert!(summary.contains("read from its start"), "{summary}");
    assert_eq!(installation.dead_letters(), [""; 0]);
}

#[test]
fn ctrl_c_commits_what_was_read_and_prints_the_summary() {
    for (name, signal) in [("SIGINT", libc::SIGINT), ("SIGTERM", libc::SIGTERM)] {
        let installation = Installation::exporting("in.ndjson", "flush = { every = \"1h\" }");
        installation.write("in.ndjson", records(0..100));
        let following = Following::start(&installation);
        following.wait_for(&installation.path().join("in.ndjson"));
        // It is read as soon as it is open.
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(ids(&installation), [], "{name}: nothing is due for an hour");
        let output = following.end(signal);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{name}: {stderr}");
        assert!(stderr.contains("committed 100 records"), "{name}: {stderr}");
        assert!(stdout.starts_with("export ") && stdout.contains("100 ("), "{name}: {stdout}");
        assert_eq!(ids(&installation), once(0..100), "{name}");
    }
}

// --- what files hold --------------------------------------------------------------------------------------------------

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(Cursor::new(bytes), 0).unwrap()
}

#[test]
fn gzip_and_zstandard_are_told_apart_by_content_not_by_name() {
    let installation = Installation::exporting("in", "");
    let half = records(30..32);
    let (first, second) = half.split_at(half.len() / 3);
    installation.write("in/a.ndjson", gzip(&records(0..10)));
    installation.write("in/b.gz", zstandard(&records(10..20)));
    installation.write("in/c.zst", records(20..25));
    installation.write("in/d.gz.zst", [gzip(&records(25..28)), gzip(b""), gzip(&records(28..30))].concat());
    installation.write("in/e", [zstandard(first), zstandard(second)].concat());
    installation.write("in/f.gz", gzip(signal(32, 0).as_bytes()));
    installation.write("in/empty.gz", "");
    installation.run_ok(&["run"]);
    assert_eq!(ids(&installation), once(0..33));
    assert_eq!(installation.dead_letters(), [""; 0]);
    installation.run_ok(&["run"]);
    assert_eq!(ids(&installation), once(0..33));
}

#[test]
fn compressed_data_that_is_cut_off_gives_its_whole_lines_and_a_warning() {
    let whole: Vec<u8> = (0..20_000).flat_map(|id| format!("{}\n", signal(id, 0)).into_bytes()).collect();
    for (name, bytes) in [("gzip", gzip(&whole)), ("zstd", zstandard(&whole))] {
        let installation = Installation::exporting("in", "");
        installation.write("in/a", &bytes[..bytes.len() * 2 / 3]);
        let summary = installation.run_ok(&["run"]);
        assert!(summary.contains(&format!("the {name} data is cut off after")), "{summary}");
        let exported = ids(&installation).len();
        assert!(exported > 100 && exported < 20_000, "{name}: {exported}");
        assert_eq!(ids(&installation), once(0..exported), "{name}");

        installation.write("in/a", &bytes);
        installation.run_ok(&["run"]);
        assert_eq!(ids(&installation), once(0..20_000), "{name}: the rest, once");
    }
}

#[test]
fn standard_input_is_exported_to_its_end() {
    let installation = Installation::new("[sources.live]\nstdin = true\n[exports.signals]\nsource = \"live\"\n");
    let mut child = installation.command(&["run"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&records(0..50)).unwrap();
    stdin.write_all(signal(50, 0).as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(ids(&installation), once(0..51));
}
