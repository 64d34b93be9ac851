//! Records that are durable per second: this project's write-ahead log, two kept libraries, and a bare file.
//!
//! Callers append batches of records of 300 bytes, one at a time each, and wait until each is on the disk. The libraries and the bare
//! file get the same group commit from a thread here: what waits is written together and flushed once. The log brings its own.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use lakeport_wal::{Batch, Options, Wal};
use redb::{Durability, TableDefinition};

const RECORD: usize = 300;
const TIME: Duration = Duration::from_secs(1);
/// Bytes of a group, as in the log.
const GROUP: usize = 8 << 20;
const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

/// Makes batches durable together.
trait Sink: Send {
    fn commit(&mut self, batches: &[Vec<u8>]);
}

impl Sink for File {
    fn commit(&mut self, batches: &[Vec<u8>]) {
        let all = batches.concat();
        self.write_all(&all).expect("write");
        self.sync_data().expect("fdatasync");
    }
}

struct Fjall(Database, Keyspace, u64);

impl Sink for Fjall {
    fn commit(&mut self, batches: &[Vec<u8>]) {
        for batch in batches {
            self.1.insert(self.2.to_be_bytes(), batch).expect("insert");
            self.2 += 1;
        }
        self.0.persist(PersistMode::SyncData).expect("persist");
    }
}

struct Redb(redb::Database, u64);

impl Sink for Redb {
    fn commit(&mut self, batches: &[Vec<u8>]) {
        let mut transaction = self.0.begin_write().expect("begin");
        transaction.set_durability(Durability::Immediate).expect("durability");
        {
            let mut table = transaction.open_table(TABLE).expect("table");
            for batch in batches {
                table.insert(self.1, batch.as_slice()).expect("insert");
                self.1 += 1;
            }
        }
        transaction.commit().expect("commit");
    }
}

type Waiting = (Vec<u8>, SyncSender<()>);

/// Commits what waits, together.
fn serve(mut sink: Box<dyn Sink>, waiting: &Receiver<Waiting>) {
    while let Ok((batch, answer)) = waiting.recv() {
        let mut bytes = batch.len();
        let (mut batches, mut answers) = (vec![batch], vec![answer]);
        while bytes < GROUP
            && let Ok((batch, answer)) = waiting.try_recv()
        {
            bytes += batch.len();
            batches.push(batch);
            answers.push(answer);
        }
        sink.commit(&batches);
        answers.into_iter().for_each(|answer| answer.send(()).expect("the caller waits"));
    }
}

/// Has `callers` append for a second, and returns records per second.
fn measure(callers: usize, records: usize, append: impl Fn(Vec<u8>) + Sync) -> f64 {
    let line = [vec![b'x'; RECORD - 1], vec![b'\n']].concat();
    let batch = line.repeat(records);
    let done = AtomicU64::new(0);
    let start = Barrier::new(callers + 1);
    let took = thread::scope(|scope| {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let began = Instant::now();
                    while began.elapsed() < TIME {
                        append(batch.clone());
                        done.fetch_add(records as u64, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        callers.into_iter().for_each(|caller| caller.join().expect("a caller"));
        began.elapsed()
    });
    done.load(Ordering::Relaxed) as f64 / took.as_secs_f64()
}

fn of_sink(sink: Box<dyn Sink>, callers: usize, records: usize) -> f64 {
    let (sender, receiver) = sync_channel::<Waiting>(1024);
    thread::scope(|scope| {
        scope.spawn(move || serve(sink, &receiver));
        let rate = measure(callers, records, |batch| {
            let (answer, done) = sync_channel(1);
            sender.send((batch, answer)).expect("the sink lives");
            done.recv().expect("an answer");
        });
        drop(sender);
        rate
    })
}

fn run(name: &str, folder: &Path, callers: usize, records: usize) -> f64 {
    match name {
        "lakeport-wal" => {
            let options = Options { max_bytes: 32 << 30, ..Options::new(|| 0) };
            let wal = Wal::open(folder.join("log"), options).expect("open");
            measure(callers, records, |batch| drop(wal.append(Batch::new(batch)).expect("append")))
        }
        "file" => {
            let file = OpenOptions::new().append(true).create_new(true).open(folder.join("log")).expect("open");
            of_sink(Box::new(file), callers, records)
        }
        "fjall" => {
            let database = Database::builder(folder.join("fjall")).open().expect("open");
            let keyspace = database.keyspace("log", KeyspaceCreateOptions::default).expect("keyspace");
            of_sink(Box::new(Fjall(database, keyspace, 0)), callers, records)
        }
        "redb" => {
            let database = redb::Database::create(folder.join("redb")).expect("open");
            of_sink(Box::new(Redb(database, 0)), callers, records)
        }
        other => panic!("no such log: {other}"),
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().expect("usage: wal-bench FOLDER [RUNS]");
    let runs: usize = arguments.next().map_or(5, |runs| runs.parse().expect("RUNS is a number"));
    println!("| callers | records a batch | lakeport-wal | fjall | redb | file |\n|--:|--:|--:|--:|--:|--:|");
    for callers in [1, 32] {
        for records in [1, 100, 1000] {
            let names = ["lakeport-wal", "fjall", "redb", "file"];
            let mut rates = names.map(|_| Vec::new());
            // In turns, so that what else the machine does hits all of them.
            for _ in 0..runs {
                for (name, rates) in names.iter().zip(&mut rates) {
                    let folder = tempfile::tempdir_in(&place).expect("a folder");
                    rates.push(run(name, folder.path(), callers, records));
                }
            }
            let medians = rates.map(|mut rates| {
                rates.sort_by(f64::total_cmp);
                format!("{:.0}", rates[rates.len() / 2])
            });
            println!("| {callers} | {records} | {} |", medians.join(" | "));
        }
    }
}
