//! Events in files that grow and are rotated, exported in all three ways at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::Job;
use crate::support::avro;
use crate::support::lake_folder::{Installation, signal, visible_files};
use crate::support::random::Random;

/// What is exported: how a line of input comes to be, what of it has to be in the lake, and how the exports are configured.
#[derive(Clone, Copy)]
pub struct Events {
    source: &'static str,
    format: &'static str,
    line: fn(usize) -> String,
    exported: fn(usize) -> String,
    found: fn(&str, &[u8]) -> Vec<String>,
}

/// Lines of JSON, byte for byte.
pub const NDJSON: Events =
    Events { source: "", format: "", line: signal_of, exported: signal_of, found: |_, bytes| lines(bytes) };

/// IoT Hub's messages as Avro, whose bodies are compared.
pub const MESSAGES: Events = Events {
    source: "envelope = \"iot-hub\"\n",
    format: "format = { plugin = \"avro\", record = \"message\" }\ngranularity = \"hour\"\ntimestamp = \"event\"\n\
             path = \"{export}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n",
    line: message_of,
    exported: body_of,
    found: |_, bytes| avro::bodies(bytes).into_iter().map(|body| String::from_utf8(body).unwrap()).collect(),
};

const MODES: [(&str, &str); 3] = [
    ("rolling", "files = \"rolling\""),
    ("growing", "files = \"growing\"\nroll-size = \"6KiB\""),
    ("sealed", "files = \"sealed\"\nlateness = \"1h\""),
];

/// Three exports of one source.
pub struct Lines {
    events: Events,
    written: usize,
    rotated: usize,
    /// Open from the first line until it is rotated.
    file: Option<File>,
    /// The rest of a line whose first half was written.
    rest: String,
}

impl Lines {
    pub fn new(events: Events) -> Self {
        Lines { events, written: 0, rotated: 0, file: None, rest: String::new() }
    }

    fn write(&mut self, folder: &Path, text: &str) {
        let text = std::mem::take(&mut self.rest) + text;
        let file = self.file.get_or_insert_with(|| {
            fs::create_dir_all(folder).unwrap();
            OpenOptions::new().create(true).append(true).open(folder.join("app.ndjson")).unwrap()
        });
        file.write_all(text.as_bytes()).unwrap();
    }

    /// As logrotate does: every file gets the next number, and the newest one is written to until the end.
    fn rotate(&mut self, folder: &Path) {
        for number in (1..=self.rotated).rev() {
            fs::rename(folder.join(format!("app.{number}.ndjson")), folder.join(format!("app.{}.ndjson", number + 1)))
                .unwrap();
        }
        fs::rename(folder.join("app.ndjson"), folder.join("app.1.ndjson")).unwrap();
        self.write(folder, "");
        self.rotated += 1;
        self.file = None;
    }
}

impl Job for Lines {
    fn exports(&self) -> String {
        let mut text = format!("[sources.signals]\nfiles = \"in/*.ndjson\"\n{}", self.events.source);
        for (name, mode) in MODES {
            text += &format!(
                "[exports.{name}]\nsource = \"signals\"\n{mode}\n{}flush = {{ bytes = \"2KiB\", every = \"50ms\" }}\n",
                self.events.format
            );
        }
        text
    }

    fn act(&mut self, installation: &Installation, random: &mut Random) -> &'static str {
        let folder = installation.path().join("in");
        let rotates = self.file.is_some() && random.happens(350);
        if rotates {
            self.rotate(&folder);
        }
        let more = random.within(1..=30) as usize;
        let text: String = (self.written..self.written + more).map(|id| (self.events.line)(id) + "\n").collect();
        self.written += more;
        // Now and then half a line, whose rest comes with the next ones, or after the rotation.
        let cut = if random.happens(300) { text.len() - random.within(1..=40) as usize } else { text.len() };
        let cut = text.floor_char_boundary(cut);
        self.write(&folder, &text[..cut]);
        text[cut..].clone_into(&mut self.rest);
        if rotates { "rotate and append" } else { "append" }
    }

    fn loose_export(&self) -> Option<&'static str> {
        Some("growing")
    }

    fn has_what_is_staged(&self, path: &str, file: &[u8], staged: &[u8]) -> bool {
        let last = |bytes| (self.events.found)(path, bytes).pop();
        last(file).is_some_and(|record| last(staged) == Some(record))
    }

    fn assert_complete(&self, installation: &Installation) {
        // A whole object is a record without its line feed, too.
        let half = usize::from(self.rest.len() > 1);
        let expected: BTreeSet<String> = (0..self.written - half).map(self.events.exported).collect();
        let mut files = installation.files();
        files.extend(visible_files(&installation.path().join("moved")));
        for (name, _) in MODES {
            // In which files each line is.
            let mut found: BTreeMap<String, Vec<&str>> =
                expected.iter().map(|line| (line.clone(), Vec::new())).collect();
            for (path, bytes) in files.iter().filter(|(path, _)| path.contains(&format!("{name}/"))) {
                for line in (self.events.found)(path, bytes) {
                    found.entry(line).or_default().push(path);
                }
            }
            found.retain(|line, paths| paths.len() != 1 || !expected.contains(line));
            assert!(found.is_empty(), "{name}: of {} lines these are not there once: {found:#?}", expected.len());
            let commit = installation.last_commit(name);
            assert_eq!(commit["totals"]["records-written"], expected.len(), "by the log, {name}");
        }
        assert_eq!(installation.log().keys().filter(|path| path.contains("/dead-letters/")).count(), 0, "{files:?}");
    }
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.ends_with('\n'), "a file ends in half a line: {text}");
    // Whoever edits a file leaves an empty line.
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Over three hours, some late.
fn signal_of(id: usize) -> String {
    signal(id, if id.is_multiple_of(10) { id % 60 } else { 60 + id % 120 })
}

fn body_of(id: usize) -> String {
    format!(r#"{{"id":"{id}","humidity":{}.5,"note":"{}"}}"#, id % 100, "é".repeat(id % 20))
}

fn message_of(id: usize) -> String {
    format!(
        r#"{{"EnqueuedTimeUtc":"2018-06-11T{:02}:{:02}:08.2250000Z","Properties":{{}},"SystemProperties":{{"connectionDeviceId":"d{}"}},"Body":{}}}"#,
        id % 3,
        id % 60,
        id % 7,
        body_of(id)
    )
}
