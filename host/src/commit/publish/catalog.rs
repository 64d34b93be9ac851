//! Publishing catalogs, which others may have changed since they were read.

use std::sync::atomic::Ordering;

use super::{ATTEMPTS, Place, Publisher};
use crate::commit::entry::{Object, Publication};
use crate::error::Result;
use crate::lake::{Publish, Version};

impl Publisher<'_> {
    /// Puts a catalog in the place of what others made of it since it was read.
    pub(super) async fn publish_catalog(&self, object: &Object) -> Result<Place> {
        let (Publication::Replace(expected), Some(staged)) = (&object.publication, object.staged_key()) else {
            unreachable!("a catalog is staged, and replaces");
        };
        let mut expected: Option<Version> = expected.clone();
        for _ in 0..ATTEMPTS {
            let published = self.lake.publish_over(staged, &object.staged(), &object.key, expected.as_ref()).await?;
            if published != Publish::Conflict {
                return Ok(Place::AsPlanned);
            }
            // What the last owner published may have been changed by people since. The next commit tells readers the rest.
            if self.recovers || self.lake.head(staged).await?.is_none() {
                self.has_passed_over.store(true, Ordering::Relaxed);
                return Ok(Place::AsPlanned);
            }
            // The version first: what a later owner puts there after this is not what is replaced then.
            expected = self.lake.head(&object.key).await?.map(|meta| meta.version);
            if self.is_overtaken().await? {
                return Ok(Place::Overtaken);
            }
        }
        self.refuse(object).await
    }
}
