//! Measures the age of records when a reader of the lake can read them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::client::Client;
use crate::lakeport::Lakeport;

/// Sends a record every 5 ms for `time`, and returns the ages of all of them, sorted.
pub fn measure(server: &Lakeport, time: Duration) -> Vec<Duration> {
    let began = Instant::now();
    let total = (time.as_millis() / 5) as usize;
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut client = Client::connect(server.address);
            let mut sent = Vec::new();
            for number in 0..total {
                let due = Duration::from_millis(5) * number as u32;
                thread::sleep(due.saturating_sub(began.elapsed()));
                sent.push(began.elapsed());
                assert_eq!(client.post("/v1/ingest/signals", line(number).as_bytes()), 202);
            }
            sent
        });
        let reader = scope.spawn(|| {
            let (mut seen, mut read) = (HashMap::new(), HashMap::new());
            while seen.len() < total && !ended.load(Ordering::Relaxed) {
                for path in files(&server.lake) {
                    let text = more(&path, read.entry(path.clone()).or_default());
                    let now = began.elapsed();
                    let numbers = text.split("\"number\":").skip(1);
                    let numbers = numbers.filter_map(|rest| rest.split('}').next()?.parse::<usize>().ok());
                    numbers.for_each(|number| _ = seen.insert(number, now));
                }
                thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        let sent = sender.join().expect("the sender");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !reader.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        ended.store(true, Ordering::Relaxed);
        let seen = reader.join().expect("the reader");
        assert_eq!(seen.len(), total, "every record is in the lake");
        let mut ages: Vec<Duration> = seen.iter().map(|(number, at)| *at - sent[*number]).collect();
        ages.sort_unstable();
        ages
    })
}

fn line(number: usize) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_millis();
    format!("{{\"id\":\"age-{number}\",\"name\":\"aged\",\"time\":{now},\"number\":{number}}}\n")
}

/// Reads what was appended to a file since the last time.
fn more(path: &Path, read: &mut u64) -> String {
    let mut text = String::new();
    let Ok(mut file) = File::open(path) else { return text };
    if file.metadata().is_ok_and(|found| found.len() > *read) && file.seek(SeekFrom::Start(*read)).is_ok() {
        *read += file.read_to_string(&mut text).unwrap_or(0) as u64;
    }
    text
}

/// All data files of the lake.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("signals")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) => found.push(entry.path()),
                Err(_) => {}
            }
        }
    }
    found
}
