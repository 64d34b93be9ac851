//! Standard input: lines as they come, once.
//!
//! A thread of its own reads, so that waiting for bytes can end; a few blocks between it and the reader hold it back where the
//! lake is slow. Not replayable: offsets count the bytes of this run.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::content::Beginning;
use super::lines::{CHUNK, Lines, Run};
use super::{Chunk, Extent, Framing, Origin, Position, Read, Reader};
use crate::error::{Error, Result};

/// Bytes that are read at once, and how many such blocks may wait.
pub(super) const BLOCK: usize = 256 << 10;
pub(super) const BLOCKS: usize = 8;

/// Reads a stream; see the module.
pub struct Stdin {
    blocks: Receiver<io::Result<Vec<u8>>>,
    beginning: Beginning,
    lines: Lines,
    origin: Arc<Origin>,
    ended: bool,
    /// Something was read since it was last said that everything is.
    unsaid: bool,
}

impl Stdin {
    /// Reads `stream` to its end, on a thread that it starts. `run` tells this run's input from that of others; a line is held up to `longest`
    /// bytes.
    pub fn new(stream: impl io::Read + Send + 'static, run: &str, longest: usize) -> Self {
        let (sender, blocks) = sync_channel(BLOCKS);
        thread::spawn(move || pump(stream, &sender));
        let origin = Origin::named(format!("stdin:{run}"));
        let (beginning, lines) = (Beginning::default(), Lines::new(0, longest));
        Stdin { blocks, beginning, lines, origin: Arc::new(origin), ended: false, unsaid: false }
    }

    /// What there is, waiting for it until `deadline`.
    fn next(&mut self, deadline: Instant) -> Result<Read<Run>> {
        Ok(match self.run(deadline)? {
            Some(run) => {
                self.unsaid = true;
                Read::Chunk(run)
            }
            None if self.has_ended() => Read::End,
            None if std::mem::take(&mut self.unsaid) => Read::Reached,
            None => Read::Idle,
        })
    }

    /// Whether everything was read.
    fn has_ended(&self) -> bool {
        self.ended && self.lines.rest().is_empty()
    }

    fn take(&mut self, block: io::Result<Vec<u8>>) -> Result<()> {
        let block = block.map_err(unreadable)?;
        self.beginning.take(&block)?;
        self.lines.push(&block);
        Ok(())
    }

    /// The next whole lines, waiting until `deadline` for them; at the end also an unterminated one.
    fn run(&mut self, deadline: Instant) -> Result<Option<Run>> {
        loop {
            if let Some(run) = self.lines.take() {
                return Ok(Some(run));
            }
            if self.ended {
                return Ok(self.lines.finish());
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.blocks.recv_timeout(wait) {
                Ok(block) => self.take(block)?,
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
            // What is there already makes larger chunks.
            while self.lines.rest().len() < CHUNK
                && let Ok(block) = self.blocks.try_recv()
            {
                self.take(block)?;
            }
        }
    }
}

impl Reader for Stdin {
    fn read(&mut self, wait: Duration) -> Result<Read> {
        Ok(match self.next(Instant::now() + wait)? {
            Read::Chunk(Run { data, first, next, dropped }) => {
                let extent = Extent { dropped, ..Extent::new(self.origin.clone(), first, next) };
                Read::Chunk(Chunk { data, extent, framing: Framing::Lines })
            }
            Read::Reached => Read::Reached,
            Read::Idle => Read::Idle,
            Read::Commit => Read::Commit,
            Read::End => Read::End,
        })
    }

    fn committed(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

pub(super) fn unreadable(error: io::Error) -> Error {
    Error::source(format!("cannot read standard input: {error}"))
}

/// Sends what `stream` has until it ends, fails, or nobody listens.
fn pump(mut stream: impl io::Read, blocks: &SyncSender<io::Result<Vec<u8>>>) {
    let mut buffer = vec![0; BLOCK];
    loop {
        let sent = match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => blocks.send(Ok(buffer[..read].to_vec())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // Nobody listens any more where this fails too.
                blocks.send(Err(error)).ok();
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 1 << 20;

    fn read_all(input: &'static [u8]) -> Vec<Chunk> {
        let mut stdin = Stdin::new(input, "r1", LONGEST);
        let mut chunks = Vec::new();
        loop {
            match stdin.read(Duration::from_secs(5)).unwrap() {
                Read::Chunk(chunk) => chunks.push(chunk),
                Read::End => return chunks,
                Read::Reached | Read::Commit => {}
                Read::Idle => panic!("the stream has ended"),
            }
        }
    }

    #[test]
    fn the_last_line_is_a_record_without_a_terminator_too() {
        let chunks = read_all(b"{}\n{\"half\":");
        let data: Vec<_> =
            chunks.iter().map(|chunk| (&chunk.data[..], chunk.extent.first, chunk.extent.next)).collect();
        assert_eq!(data, [(&b"{}\n"[..], 0, 3), (b"{\"half\":", 3, 11)]);
        assert_eq!(&*chunks[0].extent.origin.name, "stdin:r1");
        assert!(read_all(b"").is_empty());
    }

    #[test]
    fn waiting_for_a_silent_stream_ends() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut stdin = Stdin::new(reader, "r", LONGEST);
        assert!(matches!(stdin.read(Duration::from_millis(20)).unwrap(), Read::Idle));
        io::Write::write_all(&mut writer, b"one\ntw").unwrap();
        let Read::Chunk(chunk) = stdin.read(Duration::from_secs(5)).unwrap() else { panic!("bytes are there") };
        assert_eq!(&chunk.data[..], b"one\n");
        assert!(matches!(stdin.read(Duration::from_secs(5)).unwrap(), Read::Reached));
        assert!(matches!(stdin.read(Duration::from_millis(20)).unwrap(), Read::Idle));
        drop(writer);
        let Read::Chunk(chunk) = stdin.read(Duration::from_secs(5)).unwrap() else { panic!("the last line") };
        assert_eq!((&chunk.data[..], chunk.extent.first), (&b"tw"[..], 4));
        while !matches!(stdin.read(Duration::from_secs(5)).unwrap(), Read::End) {}
    }

    #[test]
    fn what_is_no_lines_is_refused_by_name() {
        for (input, what) in [
            (&b"\x1f\x8b\x08\0"[..], "gzip data"),
            (b"\x28\xb5\x2f\xfd", "zstd data"),
            (b"PK\x03\x04", "a zip archive"),
            (b"PAR1\x15\x04", "a Parquet file"),
            (b"Obj\x01\x04", "an Avro container file"),
        ] {
            // Also where its first bytes come one by one.
            for input in [Box::new(input) as Box<dyn io::Read + Send>, Box::new(OneByOne(input))] {
                let error = Stdin::new(input, "r", LONGEST).read(Duration::from_secs(5)).unwrap_err();
                assert_eq!(error.message, format!("standard input is {what}, expected lines of text"));
                assert!(error.help.is_some(), "{what}");
            }
        }
        assert_eq!(read_all(b"PK\nPK\x03\x04\n").len(), 1, "only the first bytes tell");
    }

    struct OneByOne(&'static [u8]);
    impl io::Read for OneByOne {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            (buffer[0], self.0) = (*first, rest);
            Ok(1)
        }
    }

    #[test]
    fn an_error_of_the_stream_is_one_of_the_source() {
        struct Broken;
        impl io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the wire was cut"))
            }
        }
        let error = Stdin::new(Broken, "r", LONGEST).read(Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.message, "cannot read standard input: the wire was cut");
    }
}
