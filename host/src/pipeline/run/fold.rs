//! Rows whose key turned out to hold GUIDs when some had been read: from then on they are kept under it in lower case.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::dataset::{Additions, Dataset, Written};
use super::table::state_object;
use crate::error::Result;
use crate::lake::Lake;
use crate::table::{self, Apply, Change, Document, Emit, RowTerms};

/// Bytes of rows that get their new keys together.
const AT_ONCE: usize = 32 << 20;

impl Dataset {
    /// Brings the keys of a table's rows, and of those that were deleted, to lower case where they are GUIDs. Of two that become one, the
    /// newer one stays.
    pub(super) async fn fold_keys(
        &mut self,
        lake: &Lake,
        name: &str,
        (folder, written): (&str, Written),
        additions: &mut Additions,
    ) -> Result<()> {
        let Some(entry) = self.state.tables.get(name).filter(|entry| !entry.rows.runs.is_empty()) else {
            return Ok(());
        };
        let (guids, rows, cache) = (entry.key_guids(), entry.rows.clone(), self.cache.clone());
        let everything = Apply {
            changes: Vec::new(),
            emit: Emit::Kept,
            mark_deletes: false,
            staged_key: additions.next_name(folder),
            rows: RowTerms::default(),
        };
        let (documents, mut received) = mpsc::channel(1);
        // The sender goes when everything was sent, the receiver where that is not wanted any more.
        let read = async move { table::apply(lake, &cache, &rows, everything, &documents).await };
        let fold = async move {
            let (mut waiting, mut bytes) = (Vec::new(), 0);
            while let Some(portion) = received.recv().await {
                for document in portion {
                    let subject = &document.key.subject;
                    if let Some(folded) = guids.fold(subject).filter(|folded| folded != subject) {
                        bytes += document.body.as_ref().map_or(0, Bytes::len);
                        waiting.push((folded, document));
                    }
                }
                if bytes > AT_ONCE {
                    self.keep_under(lake, name, std::mem::take(&mut waiting), (folder, written), additions).await?;
                    bytes = 0;
                }
            }
            self.keep_under(lake, name, waiting, (folder, written), additions).await
        };
        let (read, folded) = tokio::join!(read, fold);
        folded.and(read).map(drop)
    }

    /// Keeps rows under other keys, unless a newer row is there.
    async fn keep_under(
        &mut self,
        lake: &Lake,
        name: &str,
        rows: Vec<(String, Document)>,
        (folder, written): (&str, Written),
        additions: &mut Additions,
    ) -> Result<()> {
        let Some(entry) = self.state.tables.get_mut(name) else { return Ok(()) };
        if rows.is_empty() {
            return Ok(());
        }
        tracing::info!("table `{name}`: {} rows get their keys in lower case, which are GUIDs", rows.len());
        let changes = rows.into_iter().flat_map(|(folded, row)| {
            let before = row.key.clone();
            [Change::moved_to(folded, row), Change::moved_from(before)]
        });
        let request = Apply {
            changes: changes.collect(),
            emit: Emit::Nothing,
            mark_deletes: false,
            staged_key: additions.next_name(folder),
            rows: RowTerms { write_time: written.at, ..RowTerms::default() },
        };
        let (applied, _) = table::apply_and_collect(lake, &self.cache, &entry.rows, request).await?;
        additions.written.extend(applied.written.map(state_object));
        additions.obsolete.extend(applied.obsolete);
        entry.rows = applied.state;
        entry.changed.extend(applied.touched);
        Ok(())
    }
}
