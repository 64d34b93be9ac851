//! Publishing files that have no next part, such as those of tables, where their key holds something else.

use super::{ATTEMPTS, Place, Publisher};
use crate::commit::entry::Object;
use crate::error::Result;
use crate::fail;
use crate::lake::Publish;

impl Publisher<'_> {
    /// Publishes a file whose key somebody has taken. A catalog names that key, so what is there goes to a free key beside it, byte
    /// for byte. A file that was published and only added to stays.
    pub(super) async fn make_room(&self, object: &Object, staged: &str) -> Result<Place> {
        let _held = self.lake.hold(object.length).await;
        let (key, whole) = (&object.key, object.staged());
        for number in 2..2 + ATTEMPTS {
            if self.is_overtaken().await? {
                return Ok(Place::Overtaken);
            }
            if self.has_grown(object).await? {
                self.warn_of_change(object);
                return Ok(Place::AsPlanned);
            }
            // The version first: what somebody writes there after this is not replaced.
            let there = self.lake.head(key).await?.map(|meta| meta.version);
            let aside = numbered(key, number);
            if there.is_some() && self.lake.set_aside(key, &aside).await? == Publish::Conflict {
                continue;
            }
            fail::point("set-aside");
            let published = match &there {
                // Only copied: it is still there.
                Some(version) if !self.lake.is_local() => {
                    self.lake.publish_over(staged, &whole, key, Some(version)).await?
                }
                _ => self.lake.publish_new(staged, &whole, key).await?,
            };
            if published != Publish::Conflict {
                let (url, aside) = (self.lake.url(key), self.lake.url(&aside));
                tracing::warn!("`{url}` held bytes that lakeport did not write: they are in `{aside}` now");
                return self.refuse_conflict(object, published).await;
            }
        }
        self.refuse(object).await
    }
}

/// The key beside `key` with this number: `a/b-2.csv` for `a/b.csv`.
fn numbered(key: &str, number: u32) -> String {
    let name = key.rfind('/').map_or(0, |slash| slash + 1);
    let dot = key[name..].rfind('.').map_or(key.len(), |dot| name + dot);
    format!("{}-{number}{}", &key[..dot], &key[dot..])
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn a_number_stands_before_the_extension() {
        assert_eq!(numbered("a.b/2019.csv", 2), "a.b/2019-2.csv");
        assert_eq!(numbered("a.b/2019", 3), "a.b/2019-3");
        assert_eq!(numbered("x.parquet", 2), "x-2.parquet");
    }
}
