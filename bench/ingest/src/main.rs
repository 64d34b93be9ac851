//! Durable ingest over HTTP on loopback: `lakeport serve` and the least that a durable endpoint does, in turns.
//!
//!     cargo run --release --manifest-path bench/ingest/Cargo.toml -- PROGRAM FOLDER ROUNDS

mod age;
mod client;
mod floor;
mod lakeport;

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::client::load;
use crate::lakeport::Lakeport;

const CLIENTS: usize = 32;
const TIME: Duration = Duration::from_secs(5);
const RECORDS: [usize; 3] = [1, 100, 1000];

/// Lines of 300 bytes.
fn body(records: usize) -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_millis();
    let mut body = String::new();
    for number in 0..records {
        let line = format!("{{\"id\":\"machine-{number:06}\",\"time\":{now},\"name\":\"brewed\",\"text\":\"");
        body += &format!("{line}{}\"}}\n", "x".repeat(297 - line.len()));
    }
    body.into_bytes()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder, rounds] = arguments.as_slice() else { panic!("usage: PROGRAM FOLDER ROUNDS") };
    let (program, rounds) = (Path::new(program), rounds.parse::<usize>().expect("ROUNDS is a number"));
    println!("{CLIENTS} clients, {} s each, median of {rounds} rounds; records of 300 bytes", TIME.as_secs());
    println!("| records a request | tool | requests/s | records/s | MB/s | latency: median, p99 | refused |");
    println!("|---|---|---|---|---|---|---|");
    for records in RECORDS {
        let body = body(records);
        let mut taken = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            let place = tempfile::tempdir_in(folder).expect("folder");
            let address = floor::serve(place.path());
            taken[0].push(load(address, "/v1/ingest/signals", &body, CLIENTS, TIME));
            let server = Lakeport::start(program, place.path());
            taken[1].push(load(server.address, "/v1/ingest/signals", &body, CLIENTS, TIME));
            assert!(server.exports(), "the records are exported");
        }
        for (tool, rates) in ["axum + fdatasync", "lakeport serve"].into_iter().zip(taken) {
            let requests = median(rates.iter().map(|rate| rate.requests_per_second).collect());
            let millis = |share| median(rates.iter().map(|rate| rate.latency(share).as_secs_f64() * 1e3).collect());
            let (rows, refused) = (requests * records as f64, rates.iter().map(|rate| rate.refused).sum::<u64>());
            let megabytes = rows * 300.0 / 1e6;
            let (half, most) = (millis(0.5), millis(0.99));
            println!("| {records} | {tool} | {requests:.0} | {rows:.0} | {megabytes:.0} | {half:.1} ms, {most:.1} ms | {refused} |");
        }
    }
    let place = tempfile::tempdir_in(folder).expect("folder");
    let server = Lakeport::start(program, place.path());
    let (idle, _) = server.memory();
    let ages = age::measure(&server, Duration::from_secs(30));
    let at = |share: f64| ages[((ages.len() - 1) as f64 * share).round() as usize].as_secs_f64();
    println!("\nage of a record when it can be read, 200 records/s, a commit each second: median {:.2} s, p99 {:.2} s", at(0.5), at(0.99));
    load(server.address, "/v1/ingest/signals", &body(1000), CLIENTS, Duration::from_secs(20));
    let (_, most) = server.memory();
    std::thread::sleep(Duration::from_secs(10));
    let (after, _) = server.memory();
    println!("memory: {idle} MB idle, {most} MB at the most under load, {after} MB ten seconds after");
}
