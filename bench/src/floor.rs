//! The floor: the least that an export of validated records has to do.
//!
//! Read, find lines, validate each whole line and take name and time out of it in that pass, write the kept lines to a file an
//! hour. With the host's own decoder, what Lakeport adds to this (plugins, commits, hashes) is what its figures show above it.
//! With sonic-rs, the difference is what the host's scanner is there for; the hour is then sliced out of the text, which is right
//! for generated signals only.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use chrono::DateTime;
use lakeport::decode::Decoder;
use lakeport::plan::Mapping;
use lakeport::record::{Attribute, ColumnRequest, ColumnType};
use lakeport::source::{Chunk, Extent, Framing, Origin};
use sonic_rs::LazyValue;

const CHUNK: usize = 1 << 20;

/// What validates the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Json {
    /// The host's decoder.
    Host,
    /// sonic-rs, member by member.
    Sonic,
}

/// What a run did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub read: u64,
    pub written: u64,
}

/// Runs over `input` on `threads` threads, which take turns reading. With more than one, lines keep their order inside a
/// chunk only.
pub fn run(input: File, out: &Path, threads: usize, json: Json) -> io::Result<Tally> {
    let input = Mutex::new(Lines { input, rest: Vec::new() });
    let files = Mutex::new(Files { folder: out, open: HashMap::new() });
    let work = || match json {
        Json::Host => with_the_decoder(&input, &files),
        Json::Sonic => with_sonic(&input, &files),
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_fold(Tally::default(), |sum, worker| {
            let tally = worker.join().expect("a worker does not panic")?;
            Ok(Tally { read: sum.read + tally.read, written: sum.written + tally.written })
        })
    })
}

fn with_the_decoder(input: &Mutex<Lines>, files: &Mutex<Files>) -> io::Result<Tally> {
    let kept: HashSet<String> = crate::kept_names().into_iter().collect();
    let mapping = Mapping::plain();
    let columns = vec![
        ColumnRequest::attribute(Attribute::Kind, ColumnType::Text),
        ColumnRequest::attribute(Attribute::Time, ColumnType::Timestamp),
    ];
    let mut decoder = Decoder::new(&mapping, "signals", columns, 1 << 20).map_err(io::Error::other)?;
    let origin = Arc::new(Origin { name: "floor".into(), inode: 0, hashed: 0, hash: String::new() });
    let mut tally = Tally::default();
    let mut hours: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    loop {
        let mut bytes = Vec::with_capacity(CHUNK);
        input.lock().expect("no worker panics").next_chunk(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(tally);
        }
        let extent = Extent::new(origin.clone(), 1, 1 + bytes.len() as u64);
        let decoded = decoder.decode(&Chunk { data: bytes.into(), extent, framing: Framing::Lines }, 0);
        tally.read += decoded.records;
        if let Some(dead) = decoded.dead.first() {
            return Err(io::Error::other(dead.reason.clone()));
        }
        for batch in decoded.batches {
            let kinds = batch.columns[0].as_string_view();
            let times = batch.columns[1].as_primitive::<TimestampMicrosecondType>();
            for row in (0..batch.rows()).filter(|row| kept.contains(kinds.value(*row))) {
                tally.written += 1;
                let hour = DateTime::from_timestamp_micros(times.value(row)).unwrap_or_default().format("%Y-%m-%dT%H");
                let lines = hours.entry(hour.to_string().into_bytes()).or_default();
                lines.extend_from_slice(batch.bodies.value(row));
                lines.push(b'\n');
            }
        }
        files.lock().expect("no worker panics").append(&mut hours)?;
    }
}

fn with_sonic(input: &Mutex<Lines>, files: &Mutex<Files>) -> io::Result<Tally> {
    let kept: HashSet<String> = crate::kept_names().iter().map(|name| format!("\"{name}\"")).collect();
    let mut tally = Tally::default();
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut hours: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    loop {
        input.lock().expect("no worker panics").next_chunk(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(tally);
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &chunk) {
            let line = &chunk[start..=end];
            start = end + 1;
            tally.read += 1;
            let (name, time) = name_and_time(line)?;
            if kept.contains(name.as_raw_str()) {
                tally.written += 1;
                let hour = &time.as_raw_str().as_bytes()["\"".len()..][.."2026-03-04T06".len()];
                if let Some(lines) = hours.get_mut(hour) {
                    lines.extend_from_slice(line);
                } else {
                    hours.insert(hour.to_vec(), line.to_vec());
                }
            }
        }
        files.lock().expect("no worker panics").append(&mut hours)?;
    }
}

/// A signal's name and time, once the whole line is known to be one valid object and nothing else.
fn name_and_time(line: &[u8]) -> io::Result<(LazyValue<'_>, LazyValue<'_>)> {
    let (mut name, mut time, mut end) = (None, None, 0);
    // The iterator reads every member; `get_many` would stop behind the last value that it was asked for.
    for member in sonic_rs::to_object_iter(line) {
        let (key, value) = member.map_err(io::Error::other)?;
        end = value.as_raw_str().as_bytes().as_ptr_range().end.addr() - line.as_ptr().addr();
        match &*key {
            "name" => name = Some(value),
            "signalTime" => time = Some(value),
            _ => {}
        }
    }
    match (name, time, line[end..].trim_ascii()) {
        (Some(name), Some(time), b"}") => Ok((name, time)),
        _ => Err(io::Error::other("not a signal with a name and a time")),
    }
}

/// Whole lines of the input, a chunk at a time.
struct Lines {
    input: File,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
}

impl Lines {
    /// Fills `chunk` with whole lines; leaves it empty at the end. A last line without its end is not one.
    fn next_chunk(&mut self, chunk: &mut Vec<u8>) -> io::Result<()> {
        chunk.clear();
        chunk.append(&mut self.rest);
        (&self.input).take((CHUNK - chunk.len()) as u64).read_to_end(chunk)?;
        let lines = memchr::memrchr(b'\n', chunk).map_or(0, |end| end + 1);
        self.rest.extend_from_slice(&chunk[lines..]);
        chunk.truncate(lines);
        Ok(())
    }
}

/// A file an hour.
struct Files<'a> {
    folder: &'a Path,
    open: HashMap<Vec<u8>, File>,
}

impl Files<'_> {
    /// Appends each hour's lines to its file, and empties them.
    fn append(&mut self, hours: &mut HashMap<Vec<u8>, Vec<u8>>) -> io::Result<()> {
        for (hour, lines) in hours.iter_mut().filter(|(_, lines)| !lines.is_empty()) {
            let file = match self.open.entry(hour.clone()) {
                Entry::Occupied(open) => open.into_mut(),
                Entry::Vacant(new) => {
                    let name = format!("{}.ndjson", String::from_utf8_lossy(hour));
                    new.insert(File::create(self.folder.join(name))?)
                }
            };
            file.write_all(lines)?;
            lines.clear();
        }
        Ok(())
    }
}
