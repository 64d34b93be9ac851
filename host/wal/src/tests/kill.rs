//! Processes that are killed at any moment: what was acknowledged is there, and nothing is there twice.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, io, thread};

use super::{drain, options};
use crate::{Batch, Keys, Options, Wal};

const THREADS: usize = 4;
const ROUNDS: usize = 20;

fn open(folder: impl AsRef<std::path::Path>) -> Wal {
    Wal::open(folder, Options { segment_bytes: 20_000, max_bytes: 1 << 30, ..options() }).unwrap()
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    // How far each thread was answered.
    let mut acknowledged = [0_usize; THREADS];
    let mut torn = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "tests::kill::append_until_killed", "--ignored", "--nocapture"])
            .env("LAKEPORT_WAL_FOLDER", folder.path())
            .env("LAKEPORT_WAL_FROM", acknowledged.map(|n| n.to_string()).join(","))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(20 + 17 * round as u64 % 130));
        child.kill().unwrap();
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        child.wait().unwrap();
        // The last line may be cut.
        let whole = output.rfind('\n').map_or("", |end| &output[..end]);
        for answer in whole.lines().filter_map(|line| line.strip_prefix("acknowledged ")) {
            let (caller, n) = answer.split_once(' ').unwrap();
            let caller = &mut acknowledged[caller.parse::<usize>().unwrap()];
            *caller = n.parse::<usize>().unwrap().max(*caller);
        }
        let wal = open(folder.path());
        torn += wal.stats().torn_bytes;
        let mut found: HashMap<String, usize> = HashMap::new();
        for line in String::from_utf8(drain(&wal, 0, 5000)).unwrap().lines() {
            *found.entry(line.to_string()).or_default() += 1;
        }
        assert!(found.values().all(|times| *times == 1), "round {round}");
        for (caller, answered) in acknowledged.iter().enumerate() {
            for n in 0..*answered {
                assert!(found.contains_key(&line(caller, n)), "round {round}: {caller} {n} of {answered} is lost");
            }
        }
    }
    assert!(acknowledged.iter().all(|n| *n > 20), "{acknowledged:?}");
    println!("{acknowledged:?} acknowledged, {torn} bytes cut off");
}

fn line(caller: usize, n: usize) -> String {
    format!("{{\"caller\":{caller},\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(n * 7 % 400))
}

#[test]
#[ignore = "a process of what_was_acknowledged_before_a_kill_is_there_once"]
fn append_until_killed() {
    let Some(folder) = env::var_os("LAKEPORT_WAL_FOLDER") else { return };
    let from = env::var("LAKEPORT_WAL_FROM").unwrap();
    let wal = open(folder);
    thread::scope(|scope| {
        for (caller, from) in from.split(',').enumerate() {
            let from: usize = from.parse().unwrap();
            let wal = &wal;
            scope.spawn(move || {
                // Three lines at a time, of which the first repeats one that was acknowledged.
                for n in (from..).step_by(2) {
                    let numbers = [n.saturating_sub(1), n, n + 1];
                    let lines = numbers.map(|n| line(caller, n) + "\n").concat();
                    let keys = numbers.map(|n| ((caller as u128) << 64) | n as u128).to_vec();
                    wal.append(Batch { lines: lines.into(), keys: Keys::OfRecords(keys) }).unwrap();
                    let mut output = io::stdout().lock();
                    writeln!(output, "acknowledged {caller} {}", n + 2).unwrap();
                }
            });
        }
    });
}
