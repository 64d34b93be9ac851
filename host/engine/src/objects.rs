//! Objects that are announced to a partition: each version of each is read once, by ranges, from the lake that its source names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakeport::error::{Error, Result};
use lakeport::lake::{Lake, Meta};
use lakeport::plan::{Envelope, ExportPlan, LakePlan, Location};
use lakeport::source::object::{Object, ObjectRead, origin};
use lakeport::source::{Chunk, Extent, Framing, MessageId, Origin, Position};
use tokio::runtime::Handle;

use crate::delivery::ObjectRef;
use crate::inbox::Known;

/// A request that fails is tried again for this long: whoever announced the object waits.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// The objects of one partition.
pub(crate) struct Objects {
    source: String,
    plan: Option<Arc<LakePlan>>,
    envelope: Envelope,
    /// Bytes of a line that are held.
    longest: usize,
    runtime: Handle,
    /// Counts objects that were read, or are gone.
    origin: Arc<Origin>,
    next: u64,
    /// The last ones.
    known: Known,
    /// How far others were read: by the names of their origins, the version and the offset.
    begun: HashMap<Arc<str>, (String, u64)>,
    lake: Option<Lake>,
    reading: Option<Reading>,
}

struct Reading {
    object: Object,
    id: MessageId,
    origin: Origin,
    url: String,
}

/// How an object begins.
pub(crate) enum Begun {
    /// [`Objects::step`] reads on.
    Reading,
    /// It was read already.
    Known,
    /// It is not there any more. Where it had been begun, the chunk says that it is done with.
    Gone {
        why: String,
        chunk: Option<Chunk>,
    },
    Failed(Error),
}

/// What was read of the object that was begun.
pub(crate) enum Step {
    Chunk(Chunk),
    /// It is done with. The chunk says so, without bytes; `gone` says why it was not read to its end.
    End {
        chunk: Chunk,
        gone: Option<String>,
    },
    Failed(Error),
}

impl Objects {
    pub(crate) fn new(export: &ExportPlan, place: &str, from: &Position, longest: usize) -> Objects {
        let origin = Arc::new(Origin::named(format!("objects:{place}")));
        let done = from.cursor(&origin.name);
        let begun = from.cursors.iter().filter(|cursor| cursor.origin.name.starts_with("object:"));
        let begun = begun.map(|cursor| (cursor.origin.name.clone(), (cursor.origin.hash.clone(), cursor.next)));
        Objects {
            source: export.source.name.clone(),
            plan: export.source.lake.clone(),
            envelope: export.source.mapping.envelope,
            longest,
            runtime: Handle::current(),
            next: done.map_or(0, |cursor| cursor.next),
            known: Known::new(done.map(|cursor| &cursor.ids)),
            origin,
            begun: begun.collect(),
            lake: None,
            reading: None,
        }
    }

    /// Up to where objects are done with.
    pub(crate) fn done_with(&self) -> (&Arc<Origin>, u64) {
        (&self.origin, self.next)
    }

    /// Begins to read an object, or goes on with it.
    pub(crate) fn begin(&mut self, announced: &ObjectRef) -> Begun {
        self.try_begin(announced).unwrap_or_else(|error| {
            // Its client may be what fails.
            self.lake = None;
            Begun::Failed(error)
        })
    }

    fn try_begin(&mut self, announced: &ObjectRef) -> Result<Begun> {
        let plan = self.plan.clone().ok_or_else(|| {
            Error::config(format!("source `{}` is told of an object, and has no `lake`", self.source))
                .with_help("set `lake = \"NAME\"` in the source: the lake of the configuration that holds the objects")
        })?;
        let key = plan.location.key_of(&announced.container, &announced.name).ok_or_else(|| {
            let ObjectRef { container, name, .. } = announced;
            Error::config(format!("object `{name}` of `{container}` is not in lake `{}`", plan.name)).with_help(
                format!("let the lake of source `{}` have the container, and a folder above it", self.source),
            )
        })?;
        let lake = self.lake(&plan)?;
        let url = lake.url(&key);
        let announced = announced.etag.as_deref().map(|etag| id_of(&url, etag));
        if announced.is_some_and(|id| self.known.has(&id)) {
            return Ok(Begun::Known);
        }
        let Some(meta) = self.runtime.block_on(lake.head(&key))? else {
            self.check_container(&lake, &plan)?;
            let gone = Origin::named(format!("object:{url}"));
            return Ok(self.gone(&gone.name, format!("`{url}` was deleted before it was read")));
        };
        let id = id_of(&url, meta.version.as_str());
        if self.known.has(&id) {
            return Ok(Begun::Known);
        }
        let origin = origin(&lake, &meta);
        let begun = self.begun.get(&origin.name).filter(|(version, _)| *version == origin.hash);
        let at = begun.map_or(0, |(_, at)| *at);
        match self.open(&lake, &meta, at)? {
            Some(object) => {
                self.reading = Some(Reading { object, id, origin, url });
                Ok(Begun::Reading)
            }
            None => Ok(self.gone(&origin.name, format!("`{url}` was deleted or replaced before it was read"))),
        }
    }

    /// An object that is not there any more. What was read of it is not gone on with.
    fn gone(&mut self, origin: &Arc<str>, why: String) -> Begun {
        let chunk = self.begun.contains_key(origin).then(|| self.end(origin, None));
        Begun::Gone { why, chunk }
    }

    fn open(&self, lake: &Lake, meta: &Meta, at: u64) -> Result<Option<Object>> {
        Object::open((lake, meta), self.runtime.clone(), at, (self.envelope, self.longest))
    }

    fn lake(&mut self, plan: &LakePlan) -> Result<Lake> {
        if let Some(lake) = &self.lake {
            return Ok(lake.clone());
        }
        if let Location::Local(folder) = &plan.location
            && !folder.is_dir()
        {
            return Err(Error::lake(format!("lake `{}`: there is no folder `{}`", plan.name, folder.display())));
        }
        let lake = self.runtime.block_on(Lake::open_for_lookups(plan))?.retrying_for(RETRY_FOR.min(plan.retry_for));
        self.lake = Some(lake.clone());
        Ok(lake)
    }

    /// Tells an object that is gone from a container that never was.
    fn check_container(&self, lake: &Lake, plan: &LakePlan) -> Result<()> {
        match self.runtime.block_on(lake.is_container_missing())? {
            false => Ok(()),
            true => Err(Error::lake(format!("`{}` does not exist", lake.url("")))
                .with_help(format!("mend `url` of lake `{}`, or make the container", plan.name))),
        }
    }

    /// Reads on. One has to be begun.
    pub(crate) fn step(&mut self) -> Step {
        let Some(mut reading) = self.reading.take() else {
            return Step::Failed(Error::internal("no object was begun"));
        };
        match reading.object.read_next() {
            Ok(ObjectRead::Chunk(chunk)) => {
                let version = reading.origin.hash.clone();
                self.begun.insert(reading.origin.name.clone(), (version, chunk.extent.next));
                self.reading = Some(reading);
                Step::Chunk(chunk)
            }
            Ok(ObjectRead::End) => Step::End { chunk: self.end(&reading.origin.name, Some(reading.id)), gone: None },
            Ok(ObjectRead::Gone) => {
                let gone = format!("`{}` was deleted or replaced while it was read", reading.url);
                Step::End { chunk: self.end(&reading.origin.name, None), gone: Some(gone) }
            }
            Err(error) => {
                self.lake = None;
                Step::Failed(error)
            }
        }
    }

    /// The chunk which says that an object is done with.
    fn end(&mut self, origin: &Arc<str>, id: Option<MessageId>) -> Chunk {
        self.begun.remove(origin);
        if let Some(id) = id {
            self.known.insert(id);
            self.known.trim(1);
        }
        let first = self.next;
        self.next += 1;
        let extent = Extent::new(self.origin.clone(), first, self.next);
        let extent = Extent { ends: Some(origin.clone()), ids: id.into_iter().collect(), ..extent };
        Chunk { data: Bytes::new(), extent, framing: Framing::Lines }
    }
}

/// By which a version of an object is recognised. Not every announcement has the quotes that belong to an ETag.
fn id_of(url: &str, etag: &str) -> MessageId {
    MessageId::of(&[b"object", url.as_bytes(), etag.trim_matches('"').as_bytes()])
}
