//! Publishing the parts of a series: at the planned key or, where that is not as the commit expects it, as the next part that is free.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{ATTEMPTS, Elsewhere, Known, Place, Publisher, publish_inline};
use crate::commit::entry::{Base, Object, Part, Publication};
use crate::commit::files::folder_of;
use crate::error::{Error, Result};
use crate::fail;
use crate::lake::{Meta, Publish, Staged};
use crate::layout::part_of;

/// What is new of an object: its header, and its bytes from an offset on.
#[derive(Debug, Clone, Copy)]
struct Alone {
    header: u64,
    from: u64,
    whole: u64,
}

impl Alone {
    fn length(self) -> u64 {
        self.whole - self.from + if self.from == 0 { 0 } else { self.header }
    }
}

impl Object {
    fn alone(&self) -> Alone {
        match &self.publication {
            Publication::Grow { base: Some(Base { length, header, .. }), .. } => {
                Alone { header: *header, from: *length, whole: self.length }
            }
            _ => Alone { header: 0, from: 0, whole: self.length },
        }
    }
}

impl Publisher<'_> {
    pub(super) async fn publish_part(
        &self,
        object: &Object,
        (staged, part): (&str, &Part),
        known: &Known,
        siblings: &BTreeSet<u32>,
    ) -> Result<Place> {
        let alone = object.alone();
        // What grows passes through memory where it cannot be renamed.
        let passes = matches!(object.publication, Publication::Grow { .. }) && !self.lake.is_local();
        let _held = self.lake.hold(if passes { object.length } else { 0 }).await;
        // An earlier attempt may have gone to a later part, and what was in its way may be gone.
        if let Some(beside) = known.beside.get(folder_of(&part.series))
            && let Some(there) = self.find(object, staged, (part, alone), beside, siblings).await?
        {
            return Ok(Place::Elsewhere(there));
        }
        let published = match &object.publication {
            Publication::Grow { base, .. } => {
                let expected = base.as_ref().map(|base| &base.version);
                self.lake.publish_over(staged, &object.staged(), &object.key, expected).await?
            }
            _ => self.lake.publish_new(staged, &object.staged(), &object.key).await?,
        };
        if let Publish::Published(_) = published {
            return Ok(Place::AsPlanned);
        }
        if self.is_overtaken().await? {
            return Ok(Place::Overtaken);
        }
        if self.lake.head(staged).await?.is_none() {
            return match self.recovers {
                true => self.look_after(object).await,
                false => self.refuse_lost(object),
            };
        }
        if self.has_grown(object).await? {
            self.warn_of_change(object);
            return self.lost(object).await;
        }
        self.publish_next(object, (staged, part), alone, siblings).await
    }

    /// Whether the object was published, and somebody has added to it since.
    pub(super) async fn has_grown(&self, object: &Object) -> Result<bool> {
        if self.lake.head(&object.key).await?.is_none_or(|meta| meta.size <= object.length) {
            return Ok(false);
        }
        let beginning = self.lake.get_range(&object.key, 0..object.length).await?;
        Ok(beginning.is_some_and(|bytes| Staged::of(&bytes) == object.staged()))
    }

    /// Publishes what is new as the next part that is free.
    async fn publish_next(
        &self,
        object: &Object,
        (staged, part): (&str, &Part),
        alone: Alone,
        siblings: &BTreeSet<u32>,
    ) -> Result<Place> {
        for _ in 0..ATTEMPTS {
            let beside = self.lake.list(folder_of(&part.series)).await?;
            if let Some(there) = self.find(object, staged, (part, alone), &beside, siblings).await? {
                return Ok(Place::Elsewhere(there));
            }
            let taken = beside.iter().filter_map(|meta| part_of(&part.series, &meta.key)).max();
            let last = taken.max(siblings.last().copied()).unwrap_or(part.part);
            let next = Part { part: last.max(part.part) + 1, ..part.clone() };
            // The log after the list: a later owner that has gone on with what it published is seen in either.
            if self.is_overtaken().await? {
                return Ok(Place::Overtaken);
            }
            let key = next.key();
            fail::point("publish-next");
            let published = match &object.publication {
                Publication::Grow { .. } => {
                    let Some(bytes) = self.read_alone(staged, alone).await? else { return self.refuse_lost(object) };
                    publish_inline(self.lake, &key, &bytes).await?
                }
                _ => self.lake.publish_new(staged, &object.staged(), &key).await?,
            };
            match published {
                Publish::Published(_) => {
                    fail::point("published-next");
                    let (from, to) = (self.lake.url(&object.key), self.lake.url(&key));
                    tracing::warn!("`{from}` was moved or edited by someone: what is new is in `{to}`");
                    return Ok(Place::Elsewhere(settled(part, next.part, alone)));
                }
                Publish::Conflict => {}
                Publish::Missing if self.is_overtaken().await? => return Ok(Place::Overtaken),
                Publish::Missing => return self.refuse_lost(object),
            }
        }
        let url = self.lake.url(&object.key);
        Err(Error::lake(format!("no part after `{url}` can be created: each one is taken before it is written"))
            .with_help("find out what else writes there and stop it, then run again: the committed bytes are kept"))
    }

    /// The part in `beside` that holds what is new, where an earlier attempt wrote it. `siblings` hold what is new of others.
    async fn find(
        &self,
        object: &Object,
        staged: &str,
        (part, alone): (&Part, Alone),
        beside: &[Meta],
        siblings: &BTreeSet<u32>,
    ) -> Result<Option<Elsewhere>> {
        let mut pinned = None;
        for meta in beside.iter().filter(|meta| meta.size == alone.length()) {
            let Some(number) = part_of(&part.series, &meta.key).filter(|number| *number > part.part) else { continue };
            if siblings.contains(&number) {
                continue;
            }
            let wanted = match &mut pinned {
                Some(wanted) => wanted,
                none => match self.read_alone(staged, alone).await? {
                    Some(bytes) => none.insert(Staged::of(&bytes)),
                    None => return Ok(None),
                },
            };
            if self.lake.digest(&meta.key).await?.as_ref() == Some(wanted) {
                tracing::info!("`{}` holds what is new of `{}`", self.lake.url(&meta.key), object.key);
                return Ok(Some(settled(part, number, alone)));
            }
        }
        Ok(None)
    }

    /// Reads what is new from what is staged, behind a header; `None` where it is gone.
    async fn read_alone(&self, staged: &str, alone: Alone) -> Result<Option<Bytes>> {
        let Some(object) = self.lake.get(staged).await? else { return Ok(None) };
        let at = |offset: u64| usize::try_from(offset).map_or(object.bytes.len(), |at| at.min(object.bytes.len()));
        Ok(Some(match alone.from {
            0 => object.bytes,
            from => [&object.bytes[..at(alone.header)], &object.bytes[at(from)..]].concat().into(),
        }))
    }
}

/// The outcome where `number` holds what is new.
fn settled(planned: &Part, number: u32, alone: Alone) -> Elsewhere {
    let found = Some((number, alone.length()));
    Elsewhere { planned: planned.clone(), found, parts: number + 1 }
}
