//! The progress bars of a run: one for each export, drawn from its live counters.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Live;
use super::human::{byte_rate, bytes, count, seconds};

const INTERVAL: Duration = Duration::from_millis(100);

/// The process's standard error as bars and log lines share it.
static SCREEN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Runs `write` while no bar is on the screen.
pub(super) fn aside<T>(write: impl FnOnce() -> T) -> T {
    SCREEN.suspend(write)
}

/// Bars that move until they are dropped or finished. Without anything to draw, it does nothing.
#[derive(Debug, Default)]
pub struct Progress {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Whether people would see bars: standard error is a terminal, and neither `--quiet` nor `--json` was given.
    pub fn wanted(quiet: bool, json: bool) -> bool {
        !quiet && !json && std::io::stderr().is_terminal()
    }

    /// Starts a bar for each export, by name, if `wanted`.
    pub fn start(exports: Vec<(String, Arc<Live>)>, wanted: bool) -> Self {
        if !wanted {
            return Progress::default();
        }
        let width = exports.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let bars: Vec<_> = exports
            .into_iter()
            .map(|(name, live)| (SCREEN.add(ProgressBar::no_length().with_prefix(format!("{name:<width$}"))), live))
            .collect();
        let (stop, stopped) = mpsc::channel();
        let started = Instant::now();
        let thread = std::thread::spawn(move || {
            loop {
                for (bar, live) in &bars {
                    draw(bar, live, started.elapsed());
                }
                // A sender that is gone, or that says so: stop.
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            for (bar, _) in bars {
                bar.finish_and_clear();
                SCREEN.remove(&bar);
            }
        });
        Progress { running: Some((stop, thread)) }
    }

    /// Takes the bars off the screen.
    pub fn finish(self) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A drawing thread that panicked has nothing more to draw.
            _ = thread.join();
        }
    }
}

fn draw(bar: &ProgressBar, live: &Live, elapsed: Duration) {
    let total = get(&live.bytes_total);
    let template = match total {
        0 => "{prefix} {spinner} {msg}",
        _ => "{prefix} {bar:24} {percent:>3}% {msg}, {eta} left",
    };
    if bar.length() != (total > 0).then_some(total) || bar.position() == 0 {
        if total > 0 {
            bar.set_length(total);
        }
        bar.set_style(ProgressStyle::with_template(template).expect("the template is one"));
    }
    bar.set_message(line(live, elapsed));
    bar.set_position(get(&live.bytes));
    bar.tick();
}

/// Rate, bytes, records, and what was kept; and how long the store is away.
fn line(live: &Live, elapsed: Duration) -> String {
    let read = get(&live.bytes);
    let mut line = format!(
        "{}, {}, {} records, {} kept",
        byte_rate(read, elapsed.as_secs_f64()),
        bytes(read),
        count(get(&live.records)),
        count(get(&live.kept))
    );
    match get(&live.dead_letters) {
        0 => {}
        1 => line += ", 1 dead letter",
        letters => line += &format!(", {} dead letters", count(letters)),
    }
    if let Some(outage) = live.retries.outage() {
        line += &format!(", waiting for the store for {}", seconds(outage.began.elapsed().as_secs_f64()));
    }
    line
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_fast_how_much_and_what_was_kept() {
        let live = Live::default();
        Live::add(&live.bytes, 294_000_000);
        Live::add(&live.records, 1_000_000);
        Live::add(&live.kept, 203_114);
        assert_eq!(line(&live, Duration::from_millis(500)), "588.0 MB/s, 294.0 MB, 1,000,000 records, 203,114 kept");
        Live::add(&live.dead_letters, 2);
        assert!(line(&live, Duration::ZERO).ends_with("203,114 kept, 2 dead letters"));
    }

    #[test]
    fn bars_start_and_stop_whether_they_are_seen_or_not() {
        let exports = || vec![("signals".to_owned(), Arc::new(Live::default()))];
        assert!(Progress::start(exports(), false).running.is_none());
        let progress = Progress::start(exports(), true);
        assert!(progress.running.is_some());
        progress.finish();
    }
}
