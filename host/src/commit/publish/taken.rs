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
            // A stale owner publishes and deletes at the same time: what is at the key then is what somebody made of the file.
            if self.lake.head(staged).await?.is_none() {
                return match self.recovers {
                    true => self.look_after(object).await,
                    false => self.refuse_lost(object),
                };
            }
            if self.has_grown(object).await? {
                self.warn_of_change(object);
                return Ok(Place::AsPlanned);
            }
            // The version first: what somebody writes there after this is not replaced.
            let there = self.lake.head(key).await?.map(|meta| meta.version);
            let aside = numbered(key, number);
            if there.is_some() {
                match self.lake.set_aside(key, &aside).await? {
                    Publish::Published(_) => {
                        let (url, aside) = (self.lake.url(key), self.lake.url(&aside));
                        tracing::warn!("`{url}` held bytes that lakeport did not write: they are in `{aside}` now");
                    }
                    Publish::Conflict => continue,
                    // Whoever put it there has taken it away.
                    Publish::Missing => {}
                }
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
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use bytes::Bytes;
    use object_store::memory::InMemory;

    use super::*;
    use crate::commit::entry::{Content, Publication};
    use crate::lake::{Created, Lake, Staged};

    const STAGED: &str = "_lakeport/e/0/stage/1/1";

    /// Makes room for rows at `e/a.csv` in a recovery; answers with the keys that there are in the end.
    async fn make_room(lake: &Lake) -> Vec<String> {
        let Staged { length, sha256 } = Staged::of(b"rows\n");
        let (key, content) = ("e/a.csv".into(), Content::Staged(STAGED.into()));
        let object = Object { key, content, length, sha256, rows: 1, publication: Publication::New };
        let has_passed_over = &AtomicBool::new(false);
        let publisher = Publisher { lake, folder: "_lakeport/e/0", nonce: 1, slot: 2, recovers: true, has_passed_over };
        assert_eq!(publisher.make_room(&object, STAGED).await.unwrap(), Place::AsPlanned);
        lake.list("e").await.unwrap().into_iter().map(|meta| meta.key).collect()
    }

    #[tokio::test]
    async fn a_file_of_somebody_else_gives_way_and_one_that_a_stale_owner_just_published_stays() {
        for is_published in [false, true] {
            let lake = Lake::with_store(Arc::new(InMemory::new()), "taken", "_lakeport");
            let put = async |key, bytes| assert_eq!(lake.create(key, bytes).await.unwrap(), Created::Created);
            put("e/a.csv", Bytes::from_static(b"theirs\n")).await;
            if !is_published {
                put(STAGED, Bytes::from_static(b"rows\n")).await;
            }
            let keys = make_room(&lake).await;
            let at_key = lake.get("e/a.csv").await.unwrap().unwrap().bytes;
            match is_published {
                true => assert_eq!((keys, &*at_key), (vec!["e/a.csv".into()], &b"theirs\n"[..])),
                false => assert_eq!((keys, &*at_key), (vec!["e/a-2.csv".into(), "e/a.csv".into()], &b"rows\n"[..])),
            }
        }
    }

    #[test]
    fn a_number_stands_before_the_extension() {
        assert_eq!(numbered("a.b/2019.csv", 2), "a.b/2019-2.csv");
        assert_eq!(numbered("a.b/2019", 3), "a.b/2019-3");
        assert_eq!(numbered("x.parquet", 2), "x-2.parquet");
    }
}
