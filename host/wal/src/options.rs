//! What a log may take, hold and remember.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};

/// The most bytes of a batch, lines and keys together, whatever [`Options::batch_bytes`] says.
pub const MAX_BATCH: u64 = 88 << 20;

/// Limits of a log. All have defaults but the clock.
#[derive(Clone)]
pub struct Options {
    /// A segment of this many bytes is followed by the next one. A larger batch has a segment of its own. Default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes that the log's files may have together: when they are reached, batches are refused with [`Error::Full`]. At least three
    /// times the larger of `segment_bytes` and `batch_bytes`, and at least 12 KiB. Default 4 GiB.
    pub max_bytes: u64,
    /// Bytes of batches that may wait to be written; above, batches are refused with [`Error::Busy`]. One batch always may.
    /// Default 64 MiB.
    pub queue_bytes: u64,
    /// Bytes that one batch may have, lines and keys together; up to [`MAX_BATCH`]. Default 16 MiB.
    pub batch_bytes: u64,
    /// How long a key is remembered, at least as far as `max_keys` and `max_bytes` allow. Default 1 hour.
    pub key_window: Duration,
    /// Keys that are remembered, of about 100 bytes of memory each; of more, the oldest are forgotten. Default 1,000,000.
    pub max_keys: usize,
    /// The time in milliseconds since 1970-01-01T00:00:00Z; it decides how old a key is.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Options {
    /// The defaults, with a clock that gives milliseconds since 1970-01-01T00:00:00Z.
    ///
    /// ```
    /// let options = lakeport_wal::Options { max_bytes: 1 << 30, ..lakeport_wal::Options::new(|| 1_764_500_000_000) };
    /// ```
    pub fn new(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Options {
            segment_bytes: 64 << 20,
            max_bytes: 4 << 30,
            queue_bytes: 64 << 20,
            batch_bytes: 16 << 20,
            key_window: Duration::from_secs(3600),
            max_keys: 1_000_000,
            clock: Arc::new(clock),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let least = self.segment_bytes.max(self.batch_bytes).max(4096).saturating_mul(3);
        let wrong = if self.segment_bytes == 0 || self.batch_bytes == 0 {
            "`segment_bytes` and `batch_bytes` must be more than 0".to_string()
        } else if self.batch_bytes > MAX_BATCH {
            format!("`batch_bytes` is {}, the most is {MAX_BATCH}", self.batch_bytes)
        } else if self.max_bytes < least {
            format!("`max_bytes` is {}, the least with these segments and batches is {least}", self.max_bytes)
        } else {
            return Ok(());
        };
        Err(Error::Options(wrong))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("max_bytes", &self.max_bytes)
            .field("queue_bytes", &self.queue_bytes)
            .field("batch_bytes", &self.batch_bytes)
            .field("key_window", &self.key_window)
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}
