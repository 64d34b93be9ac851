//! What readers are told of a dataset: the catalog, which the format's plugin makes, as the last object of a commit.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::dataset::{Additions, Dataset};
use crate::commit::{Content, Object, Publication};
use crate::dataset::{Described, DescribedPartition, DescribedTable, TableEntry, file_key, period, rfc3339};
use crate::error::{Error, Result};
use crate::fail;
use crate::lake::Lake;
use crate::plugin::{CatalogFile, Moment};

impl Dataset {
    /// What readers are told, as of a commit at `write_time`.
    fn described(&self, write_time: i64) -> Described {
        let table = |(name, entry): (&String, &TableEntry)| DescribedTable {
            schema: entry.published.clone().unwrap_or_else(|| entry.schema.clone()),
            monthly: entry.monthly,
            partitions: entry
                .files
                .iter()
                .flat_map(|(partition, files)| {
                    files.iter().enumerate().map(move |(number, file)| (*partition, number, file))
                })
                .map(|(partition, number, file)| {
                    let period = period(partition, entry.monthly);
                    let key = file_key(name, partition, entry.monthly, file.written, &self.extension);
                    DescribedPartition {
                        name: if number == 0 { period.clone() } else { format!("{period}-{}", number + 1) },
                        period,
                        // A key may hold percent signs of its own.
                        location: format!("{}{}", self.plan.public_url, key.replace('%', "%25")),
                        refreshed: rfc3339(file.written),
                        rows: file.rows,
                    }
                })
                .collect(),
            sync: entry.sync,
            synced: entry.synced.map(rfc3339),
        };
        Described {
            name: self.export.name.clone(),
            description: self.plan.description.clone(),
            modified: rfc3339(write_time),
            tables: self.state.tables.iter().map(table).collect(),
        }
    }

    /// What a commit at `write_time` has to tell readers that they have not been told, and what stands for it.
    pub(super) fn catalog_news(&self, write_time: i64) -> Option<(Described, String)> {
        let described = Described { modified: String::new(), ..self.described(write_time) };
        let digest = hex::encode(&Sha256::digest(format!("{} {described:?}", self.export.format.config))[..16]);
        let modified = rfc3339(write_time);
        (digest != self.state.catalog).then_some((Described { modified, ..described }, digest))
    }

    /// Writes the catalog anew.
    ///
    /// # Errors
    /// Of kind `Lake` or `Plugin`.
    pub(super) async fn describe(
        &mut self,
        lake: &Lake,
        (described, digest): (Described, String),
        (folder, moment): (&str, Moment),
        additions: &mut Additions,
    ) -> Result<()> {
        let (export, toolbox) = (self.export.clone(), self.toolbox.clone());
        let opened = blocking(move || toolbox.catalog(&export.format, moment)).await?;
        let mut previous = Vec::new();
        let mut versions = BTreeMap::new();
        for path in opened.paths().to_vec() {
            if let Some(object) = lake.get(&format!("{}/{path}", self.plan.root)).await? {
                versions.insert(path.clone(), object.version);
                let content_type = String::new();
                previous.push(CatalogFile { path, content_type, bytes: object.bytes.to_vec() });
            }
        }
        let (files, previous) = blocking(move || {
            let mut catalog = opened;
            let files = catalog.render(&described, &previous);
            Ok((files.map_err(|failure| Error::plugin(failure.to_string()))?, previous))
        })
        .await?;
        for file in files {
            if previous.iter().any(|known| known.path == file.path && known.bytes == file.bytes) {
                continue;
            }
            let staged = additions.next_name(folder);
            let mut staging = lake.stage(&staged).await?;
            staging.write(file.bytes.into()).await?;
            let whole = staging.finish().await?;
            additions.written.push(Object {
                key: format!("{}/{}", self.plan.root, file.path),
                content: Content::Staged(staged),
                length: whole.length,
                sha256: whole.sha256,
                rows: 0,
                publication: Publication::Replace(versions.remove(&file.path)),
            });
        }
        fail::point("catalog");
        self.state.catalog = digest;
        Ok(())
    }
}

/// Runs what a plugin does on a thread on which that may take its time.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let work = tokio::task::spawn_blocking(work).await;
    work.unwrap_or_else(|e| Err(Error::internal(format!("work on the tables ended early: {e}"))))
}
