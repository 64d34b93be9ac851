//! Rows of a table on their way to lanes: those of one partition together, as many as are worth a call.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::row_writer::Portion;
use crate::commit::File;
use crate::dataset::TableSchema;
use crate::error::{Error, Result};
use crate::table::{Document, Gone, Head};

/// Rows that are encoded together.
const PORTION: usize = 4096;
/// Bytes of rows that wait for others of their file.
const WAITING: usize = 32 << 20;

/// Rows on their way to lanes, by file.
pub struct Portions {
    schema: Arc<TableSchema>,
    gone: Arc<[Gone]>,
    /// By partition.
    pub files: BTreeMap<i32, Arc<File>>,
    waiting: BTreeMap<i32, (Vec<Document>, usize)>,
    bytes: usize,
    ready: VecDeque<Portion>,
}

impl Portions {
    /// Nothing yet of a table with these columns. `gone`: what is null in earlier rows.
    pub fn new(schema: Arc<TableSchema>, gone: Arc<[Gone]>) -> Portions {
        let (files, waiting, ready) = Default::default();
        Portions { schema, gone, files, waiting, bytes: 0, ready }
    }

    /// Adds rows; `file` makes the file of a partition that is new.
    ///
    /// # Errors
    /// Of kind `Internal`, where a row has no head.
    pub fn add(&mut self, documents: Vec<Document>, file: impl Fn(i32) -> Arc<File>) -> Result<()> {
        for document in documents {
            let body = document.body.as_ref();
            let head = body.and_then(|body| Head::of(body));
            let head = head.ok_or_else(|| Error::internal("a table holds a row without its head"))?;
            let bytes = body.map_or(0, bytes::Bytes::len) + size_of::<Document>();
            self.files.entry(head.partition).or_insert_with(|| file(head.partition));
            let (rows, size) = self.waiting.entry(head.partition).or_default();
            rows.push(document);
            *size += bytes;
            self.bytes += bytes;
            if rows.len() == PORTION {
                self.take(head.partition);
            }
        }
        if self.bytes >= WAITING {
            self.finish();
        }
        Ok(())
    }

    /// Everything that waits is ready.
    pub fn finish(&mut self) {
        let partitions: Vec<i32> = self.waiting.keys().copied().collect();
        partitions.into_iter().for_each(|partition| self.take(partition));
    }

    fn take(&mut self, partition: i32) {
        if let Some((rows, bytes)) = self.waiting.remove(&partition) {
            self.bytes -= bytes;
            let (schema, gone, file) = (self.schema.clone(), self.gone.clone(), self.files[&partition].clone());
            self.ready.push_back(Portion { schema, gone, file, rows });
        }
    }

    /// Whether there is something to be encoded.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What is to be encoded next.
    pub fn next(&mut self) -> Option<Portion> {
        self.ready.pop_front()
    }
}
