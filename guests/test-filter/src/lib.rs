//! A filter that misbehaves as its settings say.

use std::hint::black_box;

use lakeport_plugin::Rejected;
use lakeport_plugin::prelude::*;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Keeps everything: what a fresh instance does after all the others.
    Behave,
    Loop,
    LoopInOpen,
    Recurse,
    /// Allocates until it is refused, and panics.
    Grow,
    /// Allocates until it is refused, gives that back, and answers.
    GrowAndRecover,
    /// Panics where a body holds `"trap":true`, after saying so.
    TrapOnSome,
    FloodStdout,
    FloodStderr,
    /// One line without an end.
    FloodOneLine,
    ForgeLogLine,
    Sleep,
    Exit,
    /// Answers with an error.
    Fail,
    /// Does not accept its settings.
    RefuseConfig,
    ShortBitmap,
    LongBitmap,
    RejectOutOfRange,
    RejectTwice,
    /// Rejects every odd row, and sets their bits too.
    RejectOdd,
    InvalidUtf8,
    /// Rejects each row with a long reason.
    HugeReasons,
    BadPointer,
    /// Rejects row 0 with what it finds of files, variables, arguments and the network.
    LookAround,
}

/// Its settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub mode: Mode,
}

/// The filter.
pub struct Misbehaving(Mode);

impl Filter for Misbehaving {
    type Config = Config;

    fn open(config: Config) -> Result<Self> {
        match config.mode {
            Mode::LoopInOpen => endless(),
            Mode::RefuseConfig => Err(Error::InvalidConfig("mode: never\u{1b}[2J".into())),
            mode => Ok(Misbehaving(mode)),
        }
    }

    fn columns(&self) -> Columns {
        match self.0 {
            Mode::BadPointer => columns![text("name")],
            _ => columns![json(Attribute::Body)],
        }
    }

    fn keep(&self, row: Row) -> Result<bool, Rejection> {
        let body = row.bytes(0).unwrap_or_default();
        if self.0 == Mode::TrapOnSome && body.windows(11).any(|window| window == b"\"trap\":true") {
            panic!("met a trap");
        }
        Ok(true)
    }

    fn evaluate(&self, batch: &Batch) -> Result<Verdict> {
        let rows = batch.rows();
        let keep = vec![0xff; rows.div_ceil(8)];
        let reject = |row: usize, reason: String| Rejected { row: row as u32, reason };
        let mut rejected = Vec::new();
        match self.0 {
            Mode::Loop => endless(),
            Mode::Recurse => return Ok(Verdict { keep: vec![recurse(1) as u8], rejected }),
            Mode::Grow => drop(black_box(vec![1_u8; 1 << 30])),
            Mode::GrowAndRecover => {
                let mut hoard: Vec<Vec<u8>> = Vec::new();
                loop {
                    let mut more = Vec::new();
                    if more.try_reserve_exact(1 << 20).is_err() {
                        break;
                    }
                    hoard.push(black_box(more));
                }
            }
            Mode::TrapOnSome => {
                let kept: Result<Vec<bool>, Rejection> = batch.iter().map(|row| self.keep(row)).collect();
                assert_eq!(kept.map(|kept| kept.len()), Ok(rows));
            }
            Mode::FloodStdout => (0..100_000).for_each(|n| println!("line {n}")),
            Mode::FloodStderr => (0..100_000).for_each(|n| eprintln!("line {n}")),
            Mode::FloodOneLine => (0..10_000).for_each(|_| print!("{}", "x".repeat(1_000))),
            Mode::ForgeLogLine => println!("done\r\u{1b}[2K2026-01-01T00:00:00Z  INFO lakeport: all is well"),
            Mode::Sleep => std::thread::sleep(std::time::Duration::from_secs(3_600)),
            #[expect(clippy::disallowed_methods, reason = "what the mode is there for")]
            Mode::Exit => std::process::exit(3),
            Mode::Fail => return Err(Error::Other("no luck today".into())),
            Mode::ShortBitmap => return Ok(Verdict { keep: keep[1..].to_vec(), rejected }),
            Mode::LongBitmap => return Ok(Verdict { keep: [keep, vec![0]].concat(), rejected }),
            Mode::RejectOutOfRange => rejected.push(reject(rows, "beyond".into())),
            Mode::RejectTwice => rejected.extend([reject(0, "once".into()), reject(0, "twice".into())]),
            Mode::RejectOdd => {
                rejected.extend((1..rows).step_by(2).map(|row| reject(row, format!("row {row} is odd"))))
            }
            // SAFETY: unsound on purpose, in WebAssembly only: what the host does with such text is what is tested.
            Mode::InvalidUtf8 => rejected.push(reject(0, unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe]) })),
            Mode::HugeReasons => rejected.extend((0..rows).map(|row| reject(row, "y".repeat(100_000)))),
            Mode::LookAround => rejected.push(reject(0, look_around())),
            Mode::Behave | Mode::LoopInOpen | Mode::RefuseConfig | Mode::BadPointer => {}
        }
        Ok(Verdict { keep, rejected })
    }
}

fn endless() -> ! {
    loop {
        black_box(());
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if black_box(depth) == u64::MAX {
        return depth;
    }
    recurse(depth + 1) + frame[black_box(3)]
}

fn look_around() -> String {
    let files = ["/", ".", "/etc/passwd"].into_iter().filter(|path| std::fs::metadata(path).is_ok()).count();
    let written = std::fs::write("/tmp/lakeport-was-here", "x").is_ok();
    let connected = std::net::TcpStream::connect(("127.0.0.1", 80)).err().map(|error| error.kind());
    let resolved = std::net::ToSocketAddrs::to_socket_addrs("localhost:80").is_ok();
    let (variables, arguments) = (std::env::vars().count(), std::env::args().count());
    format!(
        "files {files} written {written} connect {connected:?} resolved {resolved} variables {variables} arguments {arguments}"
    )
}

lakeport_plugin::export_filter!(Misbehaving);
