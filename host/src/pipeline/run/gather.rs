//! Puts a file together from published ones, brought to the columns that their table has now.

use std::sync::Arc;

use bytes::Bytes;

use crate::dataset::TableSchema;
use crate::error::{Error, Result};
use crate::lake::{Lake, Staged};
use crate::plan::PluginUse;
use crate::plugin::{Moment, Toolbox, Widener};

/// What is read at once.
const PIECE: u64 = 4 << 20;

/// Files to be put together.
pub(super) struct Gather<'a> {
    /// Oldest first.
    pub keys: Vec<String>,
    /// The columns that they have and those that they shall have, where those are more.
    pub widened: Option<(TableSchema, TableSchema)>,
    pub format: &'a PluginUse,
}

impl Gather<'_> {
    /// Stages the file under `staged`.
    ///
    /// # Errors
    /// Of kind `Lake`, also where a file is gone; of kind `Plugin`.
    pub async fn stage(
        &self,
        lake: &Lake,
        toolbox: &Arc<dyn Toolbox>,
        staged: &str,
        write_time: i64,
    ) -> Result<Staged> {
        let moment = Moment { write_time, seed: 0 };
        let mut staging = lake.stage(staged).await?;
        for key in &self.keys {
            let missing = || {
                Error::lake(format!("`{}` is gone, which lakeport wrote and still points readers at", lake.url(key)))
                    .with_help("restore it, or link its table anew: `lakeport tables link CONFIG TABLE --again`")
            };
            let size = lake.head(key).await?.ok_or_else(missing)?.size;
            let mut widener = match &self.widened {
                Some((before, after)) => Some(toolbox.widener(self.format, before, after, moment)?),
                None => None,
            };
            let mut at = 0;
            while at < size {
                let end = size.min(at + PIECE);
                let bytes = lake.get_range(key, at..end).await?.ok_or_else(missing)?;
                let bytes = match widener.take() {
                    Some(widening) => {
                        let (bytes, back) = widen(widening, bytes, end == size).await?;
                        widener = Some(back);
                        bytes
                    }
                    None => bytes,
                };
                staging.write(bytes).await?;
                at = end;
            }
        }
        staging.finish().await
    }
}

/// Widens a piece, on a thread on which work may take its time.
async fn widen(mut widener: Box<dyn Widener>, piece: Bytes, last: bool) -> Result<(Bytes, Box<dyn Widener>)> {
    let work = tokio::task::spawn_blocking(move || {
        let mut bytes = widener.push(&piece)?;
        if last {
            bytes.extend(widener.finish()?);
        }
        Ok((Bytes::from(bytes), widener))
    });
    let done = work.await.map_err(|e| Error::internal(format!("work on a table's file ended early: {e}")))?;
    done.map_err(|failure: crate::plugin::Failure| Error::plugin(failure.to_string()))
}
