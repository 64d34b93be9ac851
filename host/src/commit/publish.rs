//! Makes the objects of a commit visible: each at its key or, where that is not as the commit expects it, as the next part of
//! its series that is free.
//!
//! Everything here may be run again by a recovery, and at the same time by an owner that was replaced and has not noticed. So
//! bytes are looked for before they are written once more, and a refusal is followed by a look at the log.
//!
//! What was staged for an object is deleted as soon as that is published. So where both are gone, in a recovery, the object was
//! published and somebody has taken it.

mod catalog;
mod parts;
mod taken;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::entry::{Commit, Content, Object, Part, Publication, Series, Tail};
use super::files::{folder_of, parts_in_lake};
use super::log::read_newest;
use super::protocol::Slot;
use crate::error::{Error, Result};
use crate::fail;
use crate::lake::{Created, Lake, Meta, Publish, Staged, Version};

/// How often a store may contradict itself, and how often someone else may take the next part first.
const ATTEMPTS: u32 = 8;

/// Objects that are published, or looked at, at the same time.
pub(super) const AT_ONCE: usize = 16;

/// Publishes one commit.
pub(super) struct Publisher<'a> {
    pub(super) lake: &'a Lake,
    /// The partition's.
    pub(super) folder: &'a str,
    pub(super) nonce: u128,
    /// The commit's.
    pub(super) slot: Slot,
    /// The commit may have been published before.
    pub(super) recovers: bool,
    /// Set where a catalog that was changed by others is left as it is.
    pub(super) has_passed_over: &'a AtomicBool,
}

/// A part that is not where its commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elsewhere {
    planned: Part,
    /// Its part and length; `None` where it was published and somebody has moved or edited it since.
    found: Option<(u32, u64)>,
    /// How many parts the series has at least.
    parts: u32,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    AsPlanned,
    Elsewhere(Elsewhere),
    /// Another owner took over.
    Overtaken,
}

/// What a recovery knows before it begins.
#[derive(Default)]
struct Known {
    /// Staged objects that are still there: what is not was published.
    staged: HashSet<String>,
    /// The objects beside those that they become.
    beside: HashMap<String, Vec<Meta>>,
}

impl Elsewhere {
    /// Corrects the state that the commit has of the series.
    pub(super) fn correct(self, series: &mut BTreeMap<String, Series>) {
        let Some(state) = series.get_mut(&self.planned.series) else { return };
        state.parts = state.parts.max(self.parts);
        if state.tail.as_ref().is_some_and(|tail| tail.part == self.planned.part) {
            let header = state.tail.as_ref().and_then(|tail| tail.header);
            state.tail = self.found.map(|(part, length)| Tail { part, length, header });
        }
    }
}

impl Publisher<'_> {
    /// Publishes `commit`: catalogs last and in order, everything else in any order. `None` where another owner took over, which
    /// publishes it then.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub(super) async fn publish(&self, commit: &Commit) -> Result<Option<Vec<Elsewhere>>> {
        let known = match self.recovers {
            true => self.look(commit).await?,
            false => Known::default(),
        };
        let is_catalog = |object: &&Object| matches!(object.publication, Publication::Replace(_));
        let (catalogs, files): (Vec<&Object>, Vec<&Object>) = commit.objects.iter().partition(is_catalog);
        // Parts of one series one after the other: two that go elsewhere must not take each other for themselves.
        let mut groups: BTreeMap<&str, Vec<&Object>> = BTreeMap::new();
        for object in files {
            groups.entry(object.part().map_or(&*object.key, |part| &*part.series)).or_default().push(object);
        }
        // Collected at once: a stream of closures that borrow is too much for the compiler.
        let published: Vec<_> = groups.into_values().map(|objects| self.publish_in_order(objects, &known)).collect();
        let published: Vec<Option<Vec<Elsewhere>>> =
            stream::iter(published).buffer_unordered(AT_ONCE).try_collect().await?;
        let Some(elsewhere) = published.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        for catalog in catalogs {
            fail::point("publish-object");
            if self.publish_catalog(catalog).await? == Place::Overtaken {
                return Ok(None);
            }
        }
        Ok(Some(elsewhere.into_iter().flatten().collect()))
    }

    async fn publish_in_order(&self, objects: Vec<&Object>, known: &Known) -> Result<Option<Vec<Elsewhere>>> {
        let mut elsewhere = Vec::new();
        let mut siblings: BTreeSet<u32> = objects.iter().filter_map(|object| Some(object.part()?.part)).collect();
        for object in objects {
            fail::point("publish-object");
            match self.publish_file(object, known, &siblings).await? {
                Place::AsPlanned => {}
                Place::Elsewhere(moved) => {
                    siblings.extend(moved.found.map(|(part, _)| part));
                    elsewhere.push(moved);
                }
                Place::Overtaken => return Ok(None),
            }
            self.delete_staged(object).await?;
        }
        Ok(Some(elsewhere))
    }

    /// Deletes what was staged for an object that is published. A rename has left nothing of it.
    async fn delete_staged(&self, object: &Object) -> Result<()> {
        match object.staged_key() {
            Some(staged) if object.publication != Publication::Segment => {
                fail::point("published-object");
                self.lake.delete(staged).await
            }
            _ => Ok(()),
        }
    }

    /// Finds out what is still staged, and what is beside the objects that were to be published.
    async fn look(&self, commit: &Commit) -> Result<Known> {
        let mut known = Known::default();
        if let Some(folder) = common_folder(commit.objects.iter().filter_map(Object::staged_key)) {
            known.staged = self.lake.list(folder).await?.into_iter().map(|meta| meta.key).collect();
        }
        let waiting = commit.objects.iter().filter(|object| known.waits(object));
        let folders = waiting.filter_map(|object| Some(folder_of(&object.part()?.series))).collect();
        known.beside = list_all(self.lake, folders).await?;
        Ok(known)
    }

    async fn publish_file(&self, object: &Object, known: &Known, siblings: &BTreeSet<u32>) -> Result<Place> {
        let whole = object.staged();
        match (&object.publication, &object.content) {
            (Publication::Segment, _) => Ok(Place::AsPlanned),
            (Publication::New, Content::Inline(bytes)) => match publish_inline(self.lake, &object.key, bytes).await? {
                Publish::Conflict if !self.recovers => self.refuse(object).await,
                Publish::Conflict => {
                    self.warn_of_change(object);
                    Ok(Place::AsPlanned)
                }
                Publish::Published(_) | Publish::Missing => Ok(Place::AsPlanned),
            },
            (_, Content::Staged(_)) if self.recovers && !known.waits(object) => self.look_after(object).await,
            (Publication::New, Content::Staged(staged)) => {
                match self.lake.publish_new(staged, &whole, &object.key).await? {
                    Publish::Conflict => self.make_room(object, staged).await,
                    published => self.refuse_conflict(object, published).await,
                }
            }
            (Publication::Over(expected), Content::Staged(staged)) => {
                let published = self.lake.publish_over(staged, &whole, &object.key, expected.as_ref()).await?;
                self.refuse_conflict(object, published).await
            }
            (Publication::Part(part) | Publication::Grow { part, .. }, Content::Staged(staged)) => {
                self.publish_part(object, (staged, part), known, siblings).await
            }
            (Publication::Replace(_), _) => unreachable!("catalogs are published after everything else"),
            (Publication::Over(_) | Publication::Part(_) | Publication::Grow { .. }, Content::Inline(_)) => {
                unreachable!("files are staged")
            }
        }
    }

    /// Says what became of an object whose staged bytes are gone: it was published, and somebody may have moved it since.
    async fn look_after(&self, object: &Object) -> Result<Place> {
        match self.lake.head(&object.key).await? {
            Some(meta) if meta.size == object.length => return Ok(Place::AsPlanned),
            // Files that are final may be taken away.
            None if !matches!(object.publication, Publication::Grow { .. }) => {}
            _ => self.warn_of_change(object),
        }
        self.lost(object).await
    }

    /// What is known of a part that was published, and is not there any more.
    async fn lost(&self, object: &Object) -> Result<Place> {
        let Some(part) = object.part() else { return Ok(Place::AsPlanned) };
        let parts = parts_in_lake(self.lake, &part.series).await?.max(part.part + 1);
        Ok(Place::Elsewhere(Elsewhere { planned: part.clone(), found: None, parts }))
    }

    async fn refuse_conflict(&self, object: &Object, published: Publish) -> Result<Place> {
        match published {
            Publish::Published(_) => Ok(Place::AsPlanned),
            Publish::Conflict => self.refuse(object).await,
            Publish::Missing if self.recovers => Ok(Place::AsPlanned),
            Publish::Missing if self.is_overtaken().await? => Ok(Place::Overtaken),
            Publish::Missing => self.refuse_lost(object),
        }
    }

    /// The error for an object whose key is taken and cannot be another, unless a later owner is at it.
    async fn refuse(&self, object: &Object) -> Result<Place> {
        if self.is_overtaken().await? {
            return Ok(Place::Overtaken);
        }
        let url = self.lake.url(&object.key);
        Err(Error::lake(format!("`{url}` holds bytes that lakeport did not write"))
            .with_help("move that file away, then run again: the committed bytes are kept until then"))
    }

    fn refuse_lost(&self, object: &Object) -> Result<Place> {
        let (staged, url) = (object.staged_key().unwrap_or_default(), self.lake.url(&object.key));
        Err(Error::lake(format!(
            "`{}` was deleted before it was published as `{url}`: {} records are missing there",
            self.lake.url(staged),
            object.rows
        ))
        .with_help("something else deletes in the log folder: find it and stop it; then read those records again"))
    }

    fn warn_of_change(&self, object: &Object) {
        tracing::warn!("`{}` was moved or edited by someone since it was published", self.lake.url(&object.key));
    }

    /// Whether another owner has been here since the commit was made.
    async fn is_overtaken(&self) -> Result<bool> {
        let newest = read_newest(self.lake, self.folder, self.slot).await?;
        Ok(newest.is_some_and(|newest| newest.entry.seen(0).nonce != self.nonce))
    }
}

impl Known {
    /// Whether the object's bytes wait to be published.
    fn waits(&self, object: &Object) -> bool {
        object.staged_key().is_some_and(|key| self.staged.contains(key))
    }
}

impl Object {
    pub(super) fn staged(&self) -> Staged {
        Staged { length: self.length, sha256: self.sha256.clone() }
    }

    pub(super) fn staged_key(&self) -> Option<&str> {
        match &self.content {
            Content::Staged(key) => Some(key),
            Content::Inline(_) => None,
        }
    }

    /// The part that it becomes, where it is one of a series.
    fn part(&self) -> Option<&Part> {
        match &self.publication {
            Publication::Part(part) | Publication::Grow { part, .. } => Some(part),
            _ => None,
        }
    }
}

/// Creates the object, or finds that it is there. A store may say that a key is taken and have nothing there: 409 is also
/// what it answers to two requests at once.
async fn publish_inline(lake: &Lake, key: &str, bytes: &Bytes) -> Result<Publish> {
    for _ in 0..ATTEMPTS {
        // What is gone by now was taken away.
        if lake.create(key, bytes.clone()).await? == Created::Created {
            return Ok(Publish::Published(Version::unknown()));
        }
        match lake.get(key).await? {
            Some(object) if object.bytes == *bytes => return Ok(Publish::Published(object.version)),
            Some(_) => return Ok(Publish::Conflict),
            None => {}
        }
    }
    let url = lake.url(key);
    Err(Error::lake(format!("`{url}` cannot be created: the store says that it exists, and it does not"))
        .with_help("run again: the committed bytes are kept until then"))
}

/// The innermost folder that all of `keys` are below.
fn common_folder<'a>(mut keys: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folder = |key: &'a str| key.rsplit_once('/').map_or("", |(folder, _)| folder);
    let first = folder(keys.next()?);
    Some(keys.fold(first, |common, key| {
        let is_below = |outer: &str| folder(key) == outer || key.starts_with(&format!("{outer}/"));
        let mut common = common;
        while !common.is_empty() && !is_below(common) {
            common = folder(common);
        }
        common
    }))
}

/// What is below each of `folders`.
async fn list_all(lake: &Lake, folders: HashSet<&str>) -> Result<HashMap<String, Vec<Meta>>> {
    let listed: Vec<_> = folders.into_iter().map(|folder| list_one(lake, folder.to_owned())).collect();
    stream::iter(listed).buffer_unordered(AT_ONCE).try_collect().await
}

async fn list_one(lake: &Lake, folder: String) -> Result<(String, Vec<Meta>)> {
    let metas = lake.list(&folder).await?;
    Ok((folder, metas))
}
