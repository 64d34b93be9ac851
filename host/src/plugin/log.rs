//! What a plugin prints, line by line into the host's log.
//!
//! The lines of a call are logged once it ended: standard output at level `info`, standard error at `warn`. Those of a call that
//! failed are logged at `debug`: its failure, which is told or kept with the records that it refuses, has the last of them.
//! Lines are escaped, at most [`LINE`] bytes, and so many a call; what is over is cut and counted, so that a plugin can neither
//! fill a disk nor forge a line of the host's.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes of a line, after escaping.
pub(super) const LINE: usize = 1024;
/// How much a plugin may be told to write at once.
const WRITE: usize = 64 << 10;
/// Lines kept to explain a trap.
const REMEMBERED: usize = 4;

/// `text` with what could move a cursor or hide in a line escaped, at most `limit` bytes.
pub(super) fn printable(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        let before = out.len();
        let hidden =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        match c.is_control() || hidden {
            true => write!(out, "{}", c.escape_default()).expect("a string takes all"),
            false => out.push(c),
        }
        if out.len() > limit {
            out.truncate(before);
            while out.len() + '…'.len_utf8() > limit && out.pop().is_some() {}
            out.push('…');
            break;
        }
    }
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// The log of one instance; its streams share it.
#[derive(Debug, Clone)]
pub(super) struct Log(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    plugin: Arc<str>,
    limit: u32,
    this_call: u32,
    cut: u64,
    out: Partial,
    err: Partial,
    /// The lines of this call.
    printed: Vec<(Stream, String)>,
    /// The last lines of standard error in this call: a panic's message is there.
    remembered: Vec<String>,
}

#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl Log {
    pub(super) fn new(plugin: Arc<str>, lines_per_call: u32) -> Self {
        Log(Arc::new(Mutex::new(Lines {
            plugin,
            limit: lines_per_call,
            this_call: 0,
            cut: 0,
            out: Partial::default(),
            err: Partial::default(),
            printed: Vec::new(),
            remembered: Vec::new(),
        })))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins.
    pub(super) fn begin(&self) {
        let mut lines = self.lines();
        lines.this_call = 0;
        lines.remembered.clear();
    }

    /// A call ended: ends unfinished lines, and gives how many lines were cut, for length or number.
    pub(super) fn end(&self) -> u64 {
        let mut lines = self.lines();
        for stream in [Stream::Out, Stream::Err] {
            if !lines.partial(stream).bytes.is_empty() {
                lines.print(stream);
            }
        }
        std::mem::take(&mut lines.cut)
    }

    /// Logs the lines of the call that ended.
    pub(super) fn flush(&self, failed: bool) {
        let mut lines = self.lines();
        let printed = std::mem::take(&mut lines.printed);
        let plugin = &*lines.plugin;
        for (stream, line) in printed {
            match stream {
                _ if failed => tracing::debug!(target: "lakeport::plugin", plugin, "{line}"),
                Stream::Out => tracing::info!(target: "lakeport::plugin", plugin, "{line}"),
                Stream::Err => tracing::warn!(target: "lakeport::plugin", plugin, "{line}"),
            }
        }
    }

    /// What standard error said last in this call, on one line.
    pub(super) fn last_words(&self) -> Option<String> {
        let lines = self.lines();
        (!lines.remembered.is_empty()).then(|| lines.remembered.join(" "))
    }

    pub(super) fn stdout(&self) -> impl StdoutStream + use<> {
        Tap { log: self.clone(), stream: Stream::Out }
    }

    pub(super) fn stderr(&self) -> impl StdoutStream + use<> {
        Tap { log: self.clone(), stream: Stream::Err }
    }
}

impl Lines {
    fn partial(&mut self, stream: Stream) -> &mut Partial {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let mut pieces = bytes.split(|&byte| byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let partial = self.partial(stream);
            let room = LINE.saturating_sub(partial.bytes.len()).min(piece.len());
            partial.bytes.extend_from_slice(&piece[..room]);
            partial.overflowed |= room < piece.len();
            if pieces.peek().is_some() {
                self.print(stream);
            }
        }
    }

    fn print(&mut self, stream: Stream) {
        let partial = std::mem::take(self.partial(stream));
        self.this_call += 1;
        if self.this_call > self.limit {
            self.cut += 1;
            return;
        }
        let text = String::from_utf8_lossy(&partial.bytes);
        let line = printable(text.trim_end_matches('\r'), LINE);
        self.cut += u64::from(partial.overflowed || line.ends_with('…'));
        // Rust's advice on backtraces is for those who can set the plugin's environment: nobody.
        if stream == Stream::Err && !line.trim().is_empty() && !line.starts_with("note: ") {
            if self.remembered.len() == REMEMBERED {
                self.remembered.remove(0);
            }
            self.remembered.push(line.trim().to_owned());
        }
        self.printed.push((stream, line));
    }
}

/// One handle to standard output or error.
struct Tap {
    log: Log,
    stream: Stream,
}

impl IsTerminal for Tap {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Tap {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Tap { log: self.log.clone(), stream: self.stream })
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Asked for by WASI 0.3 only, which plugins cannot import.
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for Tap {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.lines().write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE)
    }
}

#[async_trait]
impl Pollable for Tap {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log::new("noisy".into(), 2)
    }

    #[test]
    fn control_characters_are_escaped_and_long_text_is_cut_on_a_character() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{202e}é", 100), "a\\u{1b}[2Jb\\r\\u{202e}é");
        assert_eq!(printable("éééé", 8), "éééé");
        assert_eq!(printable("ééééé", 8), "éé…");
        assert!(printable(&"\u{0}".repeat(5_000), LINE).len() <= LINE);
    }

    #[test]
    fn lines_over_the_number_are_counted_not_printed() {
        let log = log();
        log.begin();
        log.lines().write(Stream::Out, b"1\n2\n3\n4\n");
        assert_eq!(log.end(), 2);
        assert_eq!(log.lines().printed, [(Stream::Out, "1".to_owned()), (Stream::Out, "2".to_owned())]);
        log.flush(false);
        assert!(log.lines().printed.is_empty());
        log.begin();
        log.lines().write(Stream::Out, b"again\n");
        assert_eq!(log.end(), 0);
    }

    #[test]
    fn a_line_may_come_in_pieces_and_without_an_end() {
        let log = log();
        log.begin();
        log.lines().write(Stream::Err, b"thread panicked\n\nnote: run with a backtrace\nat the ");
        log.lines().write(Stream::Err, b"disco");
        log.lines().limit = 100;
        log.end();
        assert_eq!(log.last_words().as_deref(), Some("thread panicked at the disco"));
    }

    #[test]
    fn an_endless_line_holds_little_memory_and_is_counted() {
        let log = log();
        log.begin();
        for _ in 0..1_000 {
            log.lines().write(Stream::Out, &[b'x'; 1_000]);
        }
        assert_eq!(log.lines().out.bytes.len(), LINE);
        assert_eq!(log.end(), 1);
    }
}
