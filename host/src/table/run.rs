//! The file of a run: 256 compressed shards one after the other, and a footer that says where they are.
//!
//! A shard is the length of its entries (8 bytes) and a zstd frame, or nothing where it has no entries. The footer is of fixed size:
//! 257 offsets, 256 XXH3-64 of the shards as they stand in the file, the number of entries, the XXH3-64 of the footer up to here,
//! and the magic with the version. Numbers are of 8 bytes, little-endian.
//!
//! Nothing is believed before its checksum was compared: a damaged file is an error that names it.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::shard::Shard;
use super::{Run, SHARDS};
use crate::lake::{Lake, Staging};
use crate::{Error, Result, fail};

const MAGIC: &[u8; 8] = b"LPTABLE1";
/// Up to its own checksum.
const SUMMED: usize = (SHARDS + 1 + SHARDS + 1) * 8;
/// Bytes of the footer.
pub const FOOTER: u64 = SUMMED as u64 + 8 + 8;
/// zstd's fastest regular one: runs are written again and again.
const LEVEL: i32 = 1;

/// Where the shards of a run are.
#[derive(Debug)]
pub struct Footer {
    offsets: Vec<u64>,
    checksums: Vec<u64>,
    entries: u64,
}

impl Footer {
    /// The byte range of shards `first..end`.
    pub fn range(&self, first: usize, end: usize) -> std::ops::Range<u64> {
        self.offsets[first]..self.offsets[end]
    }

    /// XXH3-64 of a shard.
    pub fn checksum(&self, shard: u8) -> u64 {
        self.checksums[usize::from(shard)]
    }

    /// Bytes of memory.
    pub const fn weight() -> usize {
        SUMMED
    }

    /// Reads the footer of `run`; `None` where the file is gone.
    pub async fn read(lake: &Lake, run: &Run) -> Result<Option<Footer>> {
        let Some(start) = run.length.checked_sub(FOOTER) else {
            return Err(damaged(&lake.url(&run.key), "it is shorter than a footer"));
        };
        let Some(bytes) = lake.get_range(&run.key, start..run.length).await? else { return Ok(None) };
        match Footer::parse(&bytes, start) {
            Ok(footer) if footer.entries != run.entries => {
                Err(damaged(&lake.url(&run.key), "it has another number of entries than the commit says"))
            }
            Ok(footer) => Ok(Some(footer)),
            Err(what) => Err(damaged(&lake.url(&run.key), what)),
        }
    }

    fn parse(bytes: &[u8], start: u64) -> Result<Footer, &'static str> {
        if &bytes[SUMMED + 8..] != MAGIC {
            return Err("it does not end as a table's file of this version does");
        }
        let mut numbers = bytes[..SUMMED + 8].chunks_exact(8);
        let mut next = || u64::from_le_bytes(*numbers.next().expect("counted").first_chunk().expect("8 bytes"));
        let offsets: Vec<u64> = (0..=SHARDS).map(|_| next()).collect();
        let checksums: Vec<u64> = (0..SHARDS).map(|_| next()).collect();
        let entries = next();
        if next() != xxh3_64(&bytes[..SUMMED]) {
            return Err("its footer's checksum is another one");
        }
        if !offsets.is_sorted() || offsets[SHARDS] != start {
            return Err("its footer is of another file");
        }
        Ok(Footer { offsets, checksums, entries })
    }
}

/// A shard as it stands in a file.
#[derive(Debug, Clone)]
pub struct Packed {
    pub bytes: Bytes,
    pub checksum: u64,
    pub entries: u64,
}

/// Compresses entries.
pub fn pack(entries: &[u8], count: u64) -> Result<Packed> {
    if entries.is_empty() {
        return Ok(Packed { bytes: Bytes::new(), checksum: 0, entries: 0 });
    }
    let failed = |e| Error::internal(format!("cannot compress {} bytes of a table: {e}", entries.len()));
    let mut bytes = Vec::with_capacity(8 + zstd::zstd_safe::compress_bound(entries.len()));
    bytes.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&zstd::bulk::compress(entries, LEVEL).map_err(failed)?);
    bytes.shrink_to_fit();
    Ok(Packed { checksum: xxh3_64(&bytes), bytes: bytes.into(), entries: count })
}

/// What [`pack`] made of a shard, checked. `url` is for the error.
pub fn unpack(bytes: &[u8], checksum: u64, url: &str) -> Result<Shard> {
    if bytes.is_empty() {
        return Ok(Shard::default());
    }
    if xxh3_64(bytes) != checksum {
        return Err(damaged(url, "a shard's checksum is another one"));
    }
    let entries = bytes.split_first_chunk().and_then(|(length, frame)| {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let entries = zstd::bulk::decompress(frame, length).ok()?;
        Shard::parse(entries.into())
    });
    entries.ok_or_else(|| damaged(url, "a shard cannot be read"))
}

/// What to say of a file that holds something else than was written.
pub fn damaged(url: &str, what: &str) -> Error {
    Error::lake(format!("the table's file `{url}` is damaged: {what}"))
        .with_help("restore the file from a backup, or move the export's log away to begin the table anew")
}

/// What to say of a file that is not there.
pub fn missing(url: &str) -> Error {
    Error::lake(format!("the table's file `{url}` is gone although the last commit names it"))
        .with_help("restore the file from a backup, or move the export's log away to begin the table anew")
}

/// Writes a run, shard by shard.
pub struct RunWriter {
    staging: Staging,
    key: String,
    offsets: Vec<u64>,
    checksums: Vec<u64>,
    entries: u64,
}

impl RunWriter {
    /// Begins the run at `key`, which nobody else writes.
    pub async fn begin(lake: &Lake, key: &str) -> Result<RunWriter> {
        let staging = lake.stage(key).await?;
        Ok(RunWriter { staging, key: key.to_owned(), offsets: vec![0], checksums: Vec::new(), entries: 0 })
    }

    /// The shard that comes next; [`SHARDS`] when all are there.
    pub fn next(&self) -> usize {
        self.checksums.len()
    }

    /// Adds the next shard.
    pub async fn write(&mut self, shard: Packed) -> Result<()> {
        let end = self.offsets[self.checksums.len()] + shard.bytes.len() as u64;
        self.offsets.push(end);
        self.checksums.push(shard.checksum);
        self.entries += shard.entries;
        self.staging.write(shard.bytes).await
    }

    /// Makes the run durable. Nothing is left where it has no entry.
    pub async fn finish(mut self, change: u64) -> Result<Option<Run>> {
        debug_assert_eq!(self.next(), SHARDS, "every shard has its place");
        if self.entries == 0 {
            self.staging.abort().await?;
            return Ok(None);
        }
        let mut footer = Vec::with_capacity(FOOTER as usize);
        for number in self.offsets.iter().chain(&self.checksums).chain([&self.entries]) {
            footer.extend_from_slice(&number.to_le_bytes());
        }
        footer.extend_from_slice(&xxh3_64(&footer).to_le_bytes());
        footer.extend_from_slice(MAGIC);
        self.staging.write(footer.into()).await?;
        fail::point("table-run");
        let whole = self.staging.finish().await?;
        Ok(Some(Run { key: self.key, length: whole.length, sha256: whole.sha256, entries: self.entries, change }))
    }
}
