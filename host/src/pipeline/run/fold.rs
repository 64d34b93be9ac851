//! Rows whose key turned out to hold GUIDs when some had been read: from then on they are kept under it in lower case.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::dataset::{Additions, Dataset, Written};
use super::table::state_object;
use crate::dataset::partition_of;
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::table::{
    self, Apply, Change, Document, Emit, Found, Gone, Head, Key, Operation, Reader, RowTerms, Shape, Wanted,
};

/// Bytes of rows that get their new keys together.
const AT_ONCE: usize = 32 << 20;

impl Dataset {
    /// Brings the keys of a table's rows to lower case where they are GUIDs. Of two rows that become one, the newer one stays.
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
            emit: Emit::Everything,
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
        let (Some(plan), Some(entry)) = (self.plan.tables.get(name), self.state.tables.get_mut(name)) else {
            return Ok(());
        };
        if rows.is_empty() {
            return Ok(());
        }
        tracing::info!("table `{name}`: {} rows get their keys in lower case, which are GUIDs", rows.len());
        let gone: Arc<[_]> = entry.gone().into();
        let wanted: Vec<_> = rows.iter().map(|(key, _)| Wanted { subject: key, source: "" }).collect();
        let reader = Reader::new(lake.clone(), &entry.rows, self.cache.clone());
        let found = reader.find(&wanted).await?.ok_or_else(|| table::missing(&lake.url(lake.log_folder())))?;
        let mut changes = Vec::with_capacity(2 * rows.len());
        for ((key, document), now) in rows.into_iter().zip(found) {
            changes.extend(moved(key, document, now.as_ref(), &gone)?);
        }
        let partition = partition_of(written.filed, plan.partition).unwrap_or_default();
        let request = Apply {
            changes,
            emit: Emit::Nothing,
            mark_deletes: false,
            staged_key: additions.next_name(folder),
            rows: RowTerms { write_time: written.at, partition, gone, ..RowTerms::default() },
        };
        let (applied, _) = table::apply_and_collect(lake, &self.cache, &entry.rows, request).await?;
        additions.written.extend(applied.written.map(state_object));
        additions.obsolete.extend(applied.obsolete);
        entry.rows = applied.state;
        entry.changed.extend(applied.touched);
        Ok(())
    }
}

/// What moves a row to `subject`, where `now` is what has that key.
fn moved(subject: String, row: Document, now: Option<&Found>, gone: &[Gone]) -> Result<Vec<Change>> {
    let Document { key, version, time, body: Some(body), .. } = row else { return Ok(Vec::new()) };
    let change = |subject, operation, version, body| {
        let key = Key { subject, ..key.clone() };
        Change::new(Shape::Row, key, operation, version, time, Bytes::from_static(body)).map_err(Error::internal)
    };
    let mut changes = vec![change(key.subject.clone(), Operation::Delete, None, b"")?];
    let modified = |body: &Bytes| Head::of(body).map(|head| head.modified);
    // Versions decide where the change is applied.
    let is_as_new = |now: &Found| now.version.zip(version).is_none_or(|(now, version)| now == version);
    if !now.is_some_and(|now| is_as_new(now) && modified(&now.body) >= modified(&body)) {
        let mut come = change(subject, Operation::Patch, version, b"{}")?;
        come.base_on(&body, gone)?;
        changes.push(come);
    }
    Ok(changes)
}
