//! `lakeport status --watch`: how the exports are, again and again; at a terminal on a screen of its own.

use std::io::{self, IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{ExportStatus, look_at};
use lakeport::clock::Surroundings;
use lakeport::commit::HealthState;
use lakeport::error::{Error, Result};
use lakeport::plan::Plan;
use lakeport::telemetry::human::{bytes, count, printable, rate, seconds};
use lakeport::telemetry::{Align, Table};

/// The width of lines where there is no terminal.
const WIDTH: usize = 80;
/// The most characters of an export's name.
const NAME: usize = 20;
/// The most characters of an owner.
const OWNER: usize = 15;

/// Shows the status every so often, until Ctrl-C, SIGTERM, `q`, or nobody reads it any more.
pub async fn watch(plan: &Plan, every: Duration, json: bool, out: &mut dyn Write) -> Result<()> {
    let clock = Surroundings::system().clock;
    let listen = |kind| signal(kind).map_err(|error| Error::internal(format!("signals cannot be heard: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let screen = (!json && io::stdout().is_terminal()).then(Screen::open);
    let mut keys = screen.as_ref().map(|_| keys());
    let mut before: Option<(Instant, Vec<ExportStatus>)> = None;
    loop {
        let next = async {
            let looked = look_at(plan).await;
            let (at, now) = (Instant::now(), DateTime::from_timestamp_micros(clock.now()).unwrap_or_default());
            let text = match (&looked, json) {
                (Ok(exports), true) => line(now, "exports", &exports),
                (Err(error), true) => line(now, "error", &error),
                (Ok(exports), false) => {
                    let before = before.as_ref().map(|(since, exports)| (at - *since, exports.as_slice()));
                    block(now, exports, before)
                }
                (Err(error), false) => format!("{}\n\n{error}\n", time(now)),
            };
            (text, looked.ok().map(|exports| (at, exports)))
        };
        let shown = tokio::select! {
            shown = next => shown,
            () = asked_to_end(&mut keys) => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        before = shown.1.or(before);
        let written = match &screen {
            Some(screen) => screen.draw(&shown.0, every, out),
            None => out.write_all(format!("{}{}", shown.0, if json { "" } else { "\n" }).as_bytes()),
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => crate::written(written)?,
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = asked_to_end(&mut keys) => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

/// One JSON object on a line.
fn line(now: DateTime<Utc>, name: &str, value: &impl serde::Serialize) -> String {
    let time = now.to_rfc3339_opts(SecondsFormat::Millis, true);
    format!("{}\n", serde_json::json!({ "time": time, name: value }))
}

fn time(now: DateTime<Utc>) -> String {
    now.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The exports, those first with which something is wrong. `before` are the same exports some time ago.
fn block(now: DateTime<Utc>, exports: &[ExportStatus], before: Option<(Duration, &[ExportStatus])>) -> String {
    let mut exports: Vec<_> = exports.iter().collect();
    exports.sort_by_key(|export| (urgency(export), export.name()));
    let mut table = Table::new([
        ("export", Align::Left),
        ("state", Align::Left),
        ("records/s", Align::Right),
        ("files", Align::Right),
        ("dead letters", Align::Right),
        ("last commit", Align::Right),
    ]);
    let mut work = Table::new([
        ("export", Align::Left),
        ("read", Align::Right),
        ("records", Align::Right),
        ("written", Align::Right),
        ("epoch", Align::Right),
        ("owner", Align::Left),
    ]);
    let mut reasons = String::new();
    for export in exports {
        work.row([
            cut(&export.name(), NAME),
            bytes(export.bytes_read),
            count(export.records),
            bytes(export.bytes_written),
            export.last_commit.as_ref().map_or_else(|| "–".to_owned(), |commit| count(commit.epoch)),
            export.state.as_ref().map_or_else(|| "–".to_owned(), |state| cut(&printable(&state.by), OWNER)),
        ]);
        let earlier = before.and_then(|(since, exports)| {
            let same = exports.iter().find(|other| other.name() == export.name())?;
            Some(rate(export.records.saturating_sub(same.records), since.as_secs_f64()))
        });
        table.row([
            cut(&export.name(), NAME),
            export.state.as_ref().map_or("new", |state| state.state.name()).to_owned(),
            earlier.unwrap_or_else(|| "–".to_owned()),
            count(export.files),
            count(export.dead_letters),
            export.last_commit.as_ref().map_or_else(|| "never".to_owned(), |commit| age(&commit.time, now)),
        ]);
        let reason = export.state.as_ref().and_then(|state| state.reason.as_ref());
        if let Some(reason) = reason {
            reasons += &format!("{}: {}\n", export.name(), printable(reason));
        }
    }
    let gap = if reasons.is_empty() { "" } else { "\n" };
    format!("{}\n\n{table}{gap}{reasons}\n{work}", time(now))
}

/// What is worse comes first.
fn urgency(export: &ExportStatus) -> u8 {
    match export.state.as_ref().map(|state| state.state) {
        Some(HealthState::Failed) => 0,
        Some(HealthState::Silent | HealthState::Replaced) => 1,
        Some(HealthState::Waiting) => 2,
        Some(HealthState::Standby) => 3,
        Some(HealthState::Healthy | HealthState::Ended) => 4,
        None => 5,
    }
}

/// How long ago a commit was.
fn age(commit: &str, now: DateTime<Utc>) -> String {
    match DateTime::parse_from_rfc3339(commit) {
        Ok(time) => format!("{} ago", seconds((now - time.to_utc()).as_seconds_f64().max(0.0).round())),
        Err(_) => commit.to_owned(),
    }
}

/// The first characters of a text.
fn cut(text: &str, most: usize) -> String {
    match text.chars().count() {
        length if length > most => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        _ => text.to_owned(),
    }
}

/// Lines of at most `width` characters; a longer one goes on in the next, indented.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    // Each further line has an indent of two.
    let width = width.max(3);
    for line in text.lines() {
        let mut rest: Vec<char> = line.chars().collect();
        while rest.len() > width {
            let tail = rest.split_off(width);
            lines.push(rest.into_iter().collect());
            rest = "  ".chars().chain(tail).collect();
        }
        lines.push(rest.into_iter().collect());
    }
    lines
}

/// The terminal's other screen, without echo and without waiting for the end of a line. Dropping it brings back the first one.
struct Screen {
    before: Option<libc::termios>,
}

impl Screen {
    fn open() -> Screen {
        let before = change_terminal();
        print!("\x1b[?1049h\x1b[?25l");
        Screen { before }
    }

    /// Draws over what is there, within the terminal's size.
    fn draw(&self, text: &str, every: Duration, out: &mut dyn Write) -> io::Result<()> {
        let (width, height) = size();
        let mut lines = wrapped(text, width);
        if let Some(first) = lines.first_mut() {
            *first = cut(&format!("{first}, every {}; q ends", humantime::format_duration(every)), width);
        }
        let hidden = lines.len().saturating_sub(height);
        if hidden > 0 {
            lines.truncate(height.saturating_sub(1));
            lines.push(cut(&format!("and {} lines more", hidden + 1), width));
        }
        out.write_all(format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")).as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print!("\x1b[?25h\x1b[?1049l");
        // A terminal that is gone needs nothing.
        let _ = io::stdout().flush();
        if let Some(before) = &self.before {
            // SAFETY: `before` came from `tcgetattr` of the same descriptor.
            unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, before) };
        }
    }
}

/// Lets keys be read one by one and not be shown. Nothing where standard input is no terminal.
fn change_terminal() -> Option<libc::termios> {
    // SAFETY: `termios` is plain data, and both calls get a pointer to one that outlives them.
    unsafe {
        let mut now: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(libc::STDIN_FILENO, &raw mut now) != 0 {
            return None;
        }
        let before = now;
        now.c_lflag &= !(libc::ICANON | libc::ECHO);
        libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const now);
        Some(before)
    }
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    // SAFETY: `winsize` is plain data, and the call gets a pointer to one that outlives it.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size);
        size
    };
    match (usize::from(size.ws_col), usize::from(size.ws_row)) {
        (0, _) | (_, 0) => (WIDTH, 24),
        size => size,
    }
}

/// The keys that are pressed; they are read until the process ends.
fn keys() -> mpsc::Receiver<u8> {
    let (pressed, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        for key in io::stdin().lock().bytes().map_while(io::Result::ok) {
            if pressed.blocking_send(key).is_err() {
                break;
            }
        }
    });
    keys
}

/// Ends when `q` is pressed.
async fn asked_to_end(keys: &mut Option<mpsc::Receiver<u8>>) {
    if let Some(keys) = keys {
        while let Some(key) = keys.recv().await {
            if matches!(key, b'q' | b'Q') {
                return;
            }
        }
    }
    // No keys come any more.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{ExportState, LastCommit};

    fn export(name: &str, state: HealthState, reason: Option<&str>, records: u64) -> ExportStatus {
        let state = ExportState { state, since: String::new(), by: "host:1".into(), reason: reason.map(str::to_owned) };
        let last = LastCommit { number: 1, epoch: 1, time: "2026-11-30T10:00:00Z".into() };
        ExportStatus { state: Some(state), records, last_commit: Some(last), ..ExportStatus::new(name, "main") }
    }

    #[test]
    fn a_terminal_may_be_as_narrow_as_it_likes() {
        for width in 0..5 {
            let lines = wrapped("0123456789", width);
            assert!(lines.iter().all(|line| line.chars().count() <= width.max(3)), "{lines:?}");
        }
    }

    #[test]
    fn what_is_wrong_comes_first_and_rates_are_those_of_the_last_interval() {
        let now = DateTime::from_timestamp(1_796_032_805, 0).unwrap();
        let exports = [
            export("fine", HealthState::Healthy, None, 3_000),
            export(&"a-name-that-is-long".repeat(2), HealthState::Waiting, Some("the store\x1b[2J is away"), 0),
            export("broken", HealthState::Failed, Some("no such plugin"), 0),
        ];
        let before = [export("fine", HealthState::Healthy, None, 1_000)];
        let text = block(now, &exports, Some((Duration::from_secs(2), &before)));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[3].starts_with("broken") && lines[4].starts_with("a-name-that-is-long… "), "{text}");
        assert!(lines[5].contains("fine") && lines[5].contains("1,000"), "{text}");
        assert!(text.contains("broken: no such plugin") && !text.contains('\x1b'), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        let work = lines.iter().filter(|line| line.contains("host:1")).count();
        assert_eq!(work, 3, "each has its owner: {text}");
    }

    #[test]
    fn long_lines_go_on_in_the_next() {
        assert_eq!(wrapped("abcdef\nx", 4), ["abcd", "  ef", "x"]);
        assert!(wrapped(&"x".repeat(500), 80).iter().all(|line| line.chars().count() <= 80));
    }
}
