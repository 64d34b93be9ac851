//! A run that writes nothing: what real records would become. Same lanes, same layout; the bytes stay in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::PARTITION;
use super::lane::{Lane, SpanContext};
use crate::clock::Surroundings;
use crate::commit::{FileTable, read_last};
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::plan::ExportPlan;
use crate::plugin::{Moment, Toolbox};
use crate::record::DeadLetter;
use crate::source::{Read, Reader};

/// Bytes of each file that are kept to be shown.
const SHOWN: usize = 4 << 10;

/// What records would become.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Preview {
    pub records: u64,
    pub bytes: u64,
    pub files: Vec<PreviewFile>,
    pub dead_letters: u64,
    /// The first few.
    #[serde(skip)]
    pub letters: Vec<DeadLetter>,
}

/// One object that would be written.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PreviewFile {
    pub key: String,
    /// It exists, and would grow.
    pub grows: bool,
    pub rows: u64,
    pub bytes: u64,
    /// How it begins.
    #[serde(skip)]
    pub head: Vec<u8>,
}

/// Runs what `reader` has, up to about `limit` bytes, through the export's stages. Call it where blocking is allowed.
///
/// `lake` may be opened for reading only: it is asked which parts exist.
///
/// # Errors
/// As a run's.
pub fn preview(
    plan: Arc<ExportPlan>,
    lake: &Lake,
    toolbox: Arc<dyn Toolbox>,
    mut reader: Box<dyn Reader>,
    surroundings: &Surroundings,
    limit: u64,
) -> Result<Preview> {
    let runtime = tokio::runtime::Handle::current();
    let last = runtime.block_on(read_last(lake, &plan.name, PARTITION))?;
    let series = last.map(|(_, commit)| commit.series).unwrap_or_default();
    let moment = Moment { write_time: surroundings.clock.now(), seed: (surroundings.chance)() };
    let files = FileTable::new(lake.clone(), (&plan.name, PARTITION), plan.files, Arc::new(series), i64::MAX);
    let span = SpanContext { number: 1, moment, files };
    let mut lane = Lane::open(plan, toolbox, runtime, moment)?;
    let mut preview = Preview::default();
    let mut files = BTreeMap::new();
    while preview.bytes < limit {
        let chunk = match reader.read(Duration::ZERO)? {
            Read::Chunk(chunk) => chunk,
            Read::Idle | Read::End => break,
        };
        preview.bytes += chunk.data.len() as u64;
        let processed = lane.process(&chunk, &span)?;
        preview.records += processed.records;
        preview.dead_letters += processed.dead.len() as u64;
        let room = 5_usize.saturating_sub(preview.letters.len());
        preview.letters.extend(processed.dead.into_iter().take(room));
        for (file, bytes, rows) in processed.segments {
            add(files.entry(file.key.clone()).or_insert_with(|| new_file(&file)), &bytes, rows);
        }
    }
    for (file, bytes) in lane.finish_files()? {
        add(files.entry(file.key.clone()).or_insert_with(|| new_file(&file)), &bytes, 0);
    }
    preview.files = files.into_values().filter(|file: &PreviewFile| file.rows > 0).collect();
    if preview.records == 0 && preview.bytes > 0 {
        return Err(Error::source(format!("there is no record in the first {} bytes", preview.bytes)));
    }
    Ok(preview)
}

fn new_file(file: &crate::commit::File) -> PreviewFile {
    PreviewFile { key: file.key.clone(), grows: file.tail.is_some(), ..PreviewFile::default() }
}

fn add(file: &mut PreviewFile, bytes: &[u8], rows: u32) {
    file.rows += u64::from(rows);
    file.bytes += bytes.len() as u64;
    let room = SHOWN.saturating_sub(file.head.len()).min(bytes.len());
    file.head.extend_from_slice(&bytes[..room]);
}
