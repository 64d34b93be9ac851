//! The files of one period: those that the lake has, and what becomes of them where others take their place.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};

use super::AT_ONCE;
use crate::commit::{Base, Commit, Content, Object, Part, Publication, Series, Tail, read_commits};
use crate::error::{Error, Kind, Result};
use crate::lake::{Lake, Meta, Staged, Version};
use crate::layout::{Template, part_key};
use crate::plan::ExportPlan;

/// The largest object that a store is sent once more to be put into the place of another. Larger ones are copied to a key of their own.
const LARGEST_SENT: u64 = 64 << 20;
/// The most names in a message.
const MOST_NAMES: usize = 5;

/// What the lake has of a period.
#[derive(Debug, Default)]
pub(super) struct PeriodFiles {
    /// The export's files, by series and part.
    pub files: BTreeMap<String, BTreeMap<u32, PeriodFile>>,
    /// The next part of each series that nothing has.
    next: BTreeMap<String, u32>,
    /// Series of the period of which segments wait to be sealed.
    pub pending: BTreeSet<String>,
    /// Files that the log names and that are gone.
    pub moved: Vec<String>,
    /// Files that are not as the export wrote them.
    edited: Vec<String>,
    /// Files with the name of a later part.
    strangers: Vec<String>,
    /// Files of which the log does not tell any more what was written to them, but for the length of some.
    pub unchecked: Vec<String>,
}

/// A file of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeriodFile {
    pub key: String,
    pub staged: Staged,
    pub version: Version,
}

/// What a commit says that replaces a period's files.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Replacement {
    pub objects: Vec<Object>,
    pub obsolete: Vec<String>,
    /// The state of all of the export's files after it.
    pub series: BTreeMap<String, Series>,
}

impl Replacement {
    /// Whether the files are there already, with the same bytes.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.obsolete.is_empty()
    }
}

impl PeriodFiles {
    /// Looks up the files whose keys `of_period` can make. `last` is the export's last commit.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn look_up(lake: &Lake, export: &ExportPlan, of_period: &Template, last: &Commit) -> Result<PeriodFiles> {
        let mut found = PeriodFiles::default();
        let series_of = |key: &str| of_period.parts_of(&export.name, key);
        let is_of_period = |series: &str| series_of(&part_key(series, 0)).is_some_and(|(of, _)| of == series);
        let mut written: BTreeMap<String, Staged> = BTreeMap::new();
        for commit in &read_commits(lake, &export.name, &export.partition).await? {
            for (series, state) in commit.series.iter().filter(|(series, _)| is_of_period(series)) {
                found.takes(series, state.parts);
            }
            let objects = commit.objects.iter().filter(|object| object.publication != Publication::Segment);
            for object in objects.filter(|object| series_of(&object.key).is_some()) {
                let staged = Staged { length: object.length, sha256: object.sha256.clone() };
                written.insert(object.key.clone(), staged);
            }
            // Another commit has put others into their place.
            commit.obsolete.iter().for_each(|key| _ = written.remove(key));
        }
        for (series, state) in last.series.iter().filter(|(series, _)| is_of_period(series)) {
            found.takes(series, state.parts);
            if !state.pending.is_empty() {
                found.pending.insert(series.clone());
            }
        }
        let mut there = Vec::new();
        for Meta { key, .. } in lake.list(of_period.folder()).await? {
            if key.starts_with(&format!("{}/", lake.log_folder())) {
                continue;
            }
            let Some((series, part)) = series_of(&key) else { continue };
            let is_stranger = last.series.get(&series).is_some_and(|state| part >= state.parts);
            found.takes(&series, part + 1);
            match is_stranger {
                true => found.strangers.push(key),
                false => there.push((series, part, key)),
            }
        }
        let read = stream::iter(there).map(|(series, part, key)| async move {
            // The version first: what somebody makes of the file after that is not replaced.
            let Some(meta) = lake.head(&key).await? else { return Ok(None) };
            let Some(staged) = lake.digest(&key).await? else { return Ok(None) };
            Ok::<_, Error>(Some((series, part, PeriodFile { key, staged, version: meta.version })))
        });
        let read: Vec<_> = read.buffered(AT_ONCE).try_collect().await?;
        for (series, part, file) in read.into_iter().flatten() {
            let tail = last.series.get(&series).and_then(|state| state.tail.as_ref()).filter(|tail| tail.part == part);
            match written.remove(&file.key) {
                Some(written) if written == file.staged => {}
                None if tail.is_none_or(|tail| tail.length == file.staged.length) => {
                    found.unchecked.push(file.key.clone());
                }
                _ => found.edited.push(file.key.clone()),
            }
            found.files.entry(series).or_default().insert(part, file);
        }
        found.moved = written.into_keys().collect();
        Ok(found)
    }

    /// Checks that every file is the export's.
    ///
    /// # Errors
    /// Of kind `Data` where a file is not as the export wrote it, or has the name of a later part.
    pub fn check(&self, lake: &Lake) -> Result<()> {
        for (keys, what) in [
            (&self.edited, "not as lakeport wrote it: someone has edited it or put it there"),
            (&self.strangers, "named as a part of the export's file, and none of its parts"),
        ] {
            if !keys.is_empty() {
                let urls: Vec<_> = keys.iter().map(|key| lake.url(key)).collect();
                let help = "it was not changed: move it to another folder, then run again";
                return Err(Error::new(Kind::Data, format!("{} {what}", names(&urls))).with_help(help));
            }
        }
        Ok(())
    }

    /// Notes that parts up to `parts` are taken.
    fn takes(&mut self, series: &str, parts: u32) {
        let next = self.next.entry(series.to_owned()).or_default();
        *next = (*next).max(parts);
    }

    /// How many files there are.
    pub fn count(&self) -> usize {
        self.files.values().map(BTreeMap::len).sum()
    }

    /// Puts `new` files into the place of these. `last` is the export's last commit, `made` has the state of the new ones.
    ///
    /// Where one file takes the place of one, it gets its key, in one step. Otherwise the new ones get parts that nothing has, so
    /// that readers miss nothing while the old ones are deleted.
    pub fn replace_by(
        &self,
        new: BTreeMap<String, Vec<(u32, PeriodFile)>>,
        (last, made): (&BTreeMap<String, Series>, &BTreeMap<String, Series>),
        (touched, ends, is_local): (i64, i64, bool),
    ) -> Replacement {
        let mut replacement = Replacement { series: last.clone(), ..Replacement::default() };
        let names: BTreeSet<_> = self.files.keys().chain(&self.pending).chain(new.keys()).collect();
        let (none, nothing) = (BTreeMap::new(), Vec::new());
        for name in names {
            let (old, new) = (self.files.get(name).unwrap_or(&none), new.get(name).unwrap_or(&nothing));
            let is_same = old.values().map(|file| &file.staged).eq(new.iter().map(|(_, file)| &file.staged));
            if is_same && !self.pending.contains(name) {
                continue;
            }
            let next = self.next.get(name).copied().unwrap_or(0);
            let before = last.get(name);
            let pending = before.iter().flat_map(|state| &state.pending).map(|segment| segment.staged.clone());
            replacement.obsolete.extend(pending);
            let in_place = match (old.iter().next(), new.as_slice()) {
                (Some((part, file)), [(_, new)])
                    if old.len() == 1 && (is_local || new.staged.length <= LARGEST_SENT) =>
                {
                    Some((*part, file))
                }
                _ => None,
            };
            if in_place.is_none() {
                replacement.obsolete.extend(old.values().map(|file| file.key.clone()));
            }
            let place = |made: u32| in_place.map_or(next + made, |(part, _)| part);
            for (made, file) in new {
                let part = Part { series: name.clone(), part: place(*made) };
                let key = part.key();
                let publication = match in_place {
                    // Nothing of the version stays: where somebody has edited it by then, all of the object is a part of its own.
                    Some((_, old)) => {
                        let base = Base { version: old.version.clone(), length: 0, header: 0 };
                        Publication::Grow { part, base: Some(base) }
                    }
                    None => Publication::Part(part),
                };
                if in_place.is_none_or(|(_, old)| old.staged != file.staged) {
                    let Staged { length, sha256 } = file.staged.clone();
                    let content = Content::Staged(file.key.clone());
                    replacement.objects.push(Object { key, content, length, sha256, rows: 0, publication });
                }
            }
            let state = made.get(name);
            let made_parts = new.iter().map(|(made, _)| place(*made) + 1).max().unwrap_or(0);
            let tail = state.and_then(|state| state.tail.clone()).map(|tail| Tail { part: place(tail.part), ..tail });
            replacement.series.insert(
                name.clone(),
                Series {
                    parts: next.max(made_parts),
                    format: state.filter(|_| tail.is_some()).map_or_else(String::new, |state| state.format.clone()),
                    tail,
                    pending: Vec::new(),
                    ends: state.or(before).map_or(ends, |state| state.ends),
                    touched,
                },
            );
        }
        replacement
    }
}

/// Names for a message: `a`, `b` are.
pub(super) fn names(urls: &[String]) -> String {
    let shown = urls.iter().take(MOST_NAMES).map(|url| format!("`{url}`")).collect::<Vec<_>>().join(", ");
    let more = if urls.len() > MOST_NAMES { ", …" } else { "" };
    let verb = if urls.len() == 1 { "is" } else { "are" };
    format!("{shown}{more} {verb}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Pending;

    const DAY: &str = "e/2026/11/30/{part}.ndjson";

    fn file(key: &str, bytes: &[u8]) -> PeriodFile {
        PeriodFile { key: key.into(), staged: Staged::of(bytes), version: Version::unknown() }
    }

    /// Files with these bytes, under `key`s of their parts.
    fn files<'a>(parts: impl IntoIterator<Item = (u32, &'a [u8])>, folder: &str) -> Vec<(u32, PeriodFile)> {
        parts
            .into_iter()
            .map(|(part, bytes)| (part, file(&format!("{folder}{}", part_key(DAY, part)), bytes)))
            .collect()
    }

    fn lake(old: &[(u32, &'static [u8])], next: u32) -> PeriodFiles {
        let files = files(old.iter().copied(), "").into_iter().collect();
        PeriodFiles {
            files: BTreeMap::from([(DAY.into(), files)]),
            next: BTreeMap::from([(DAY.into(), next)]),
            ..PeriodFiles::default()
        }
    }

    fn replace(old: &PeriodFiles, new: &[(u32, &'static [u8])], is_local: bool) -> Replacement {
        let new = BTreeMap::from([(DAY.to_owned(), files(new.iter().copied(), "beside/"))]);
        let tail =
            new[DAY].last().map(|(part, file)| Tail { part: *part, length: file.staged.length, header: Some(0) });
        let made = Series { parts: new[DAY].len() as u32, format: "f".into(), tail, ..Series::default() };
        let other = ("e/2026/12/01/{part}.ndjson".to_owned(), Series { parts: 7, ..Series::default() });
        let made = BTreeMap::from([(DAY.to_owned(), made)]);
        let replacement = old.replace_by(new, (&BTreeMap::from([other.clone()]), &made), (5, 9, is_local));
        assert_eq!(replacement.series.get(&other.0), Some(&other.1), "of another period");
        replacement
    }

    #[test]
    fn one_file_takes_the_key_of_one_and_goes_on_growing() {
        let made = replace(&lake(&[(2, b"old")], 3), &[(0, b"new!")], true);
        let [object] = &made.objects[..] else { panic!("{made:?}") };
        assert_eq!(object.key, "e/2026/11/30/02.ndjson");
        assert!(matches!(&object.publication, Publication::Grow { base: Some(base), .. } if base.length == 0));
        assert!(made.obsolete.is_empty());
        let state = &made.series[DAY];
        assert_eq!((state.parts, state.tail.as_ref().unwrap().part, &*state.format), (3, 2, "f"));
    }

    #[test]
    fn several_files_get_parts_that_nothing_has() {
        for (old, new) in
            [(&[(0, &b"a"[..])][..], &[(0, &b"b"[..]), (1, b"c")][..]), (&[(0, b"a"), (1, b"b")], &[(0, b"b")])]
        {
            let made = replace(&lake(old, 4), new, true);
            let keys: Vec<_> = made.objects.iter().map(|object| object.key.clone()).collect();
            let expected: Vec<_> = (4..4 + new.len() as u32).map(|part| part_key(DAY, part)).collect();
            assert_eq!(keys, expected);
            assert!(made.objects.iter().all(|object| matches!(object.publication, Publication::Part(_))));
            assert_eq!(made.obsolete, old.iter().map(|(part, _)| part_key(DAY, *part)).collect::<Vec<_>>());
            assert_eq!(made.series[DAY].parts, 4 + new.len() as u32);
        }
    }

    #[test]
    fn the_same_bytes_change_nothing_and_what_waits_to_be_sealed_is_dropped() {
        let old = lake(&[(0, b"a"), (2, b"b")], 3);
        let made = replace(&old, &[(0, b"a"), (1, b"b")], true);
        assert!(made.is_empty() && !made.series.contains_key(DAY), "{made:?}");
        let waits = PeriodFiles { pending: BTreeSet::from([DAY.to_owned()]), ..lake(&[(0, b"a")], 1) };
        let segment = Pending { staged: "s".into(), length: 1, rows: 1 };
        let last = BTreeMap::from([(DAY.to_owned(), Series { parts: 1, pending: vec![segment], ..Series::default() })]);
        let new = BTreeMap::from([(DAY.to_owned(), files([(0, &b"a"[..])], "beside/"))]);
        let made = waits.replace_by(new, (&last, &BTreeMap::new()), (5, 9, true));
        assert!(made.objects.is_empty() && made.obsolete == ["s"], "{made:?}");
        assert_eq!((made.series[DAY].parts, made.series[DAY].pending.len(), made.series[DAY].ends), (1, 0, 0));
    }

    #[test]
    fn what_is_too_large_to_be_sent_again_gets_a_part_of_its_own() {
        let large =
            PeriodFile { staged: Staged { length: LARGEST_SENT + 1, sha256: String::new() }, ..file("beside/x", b"") };
        for (is_local, key) in [(true, "e/2026/11/30/00.ndjson"), (false, "e/2026/11/30/01.ndjson")] {
            let new = BTreeMap::from([(DAY.to_owned(), vec![(0, large.clone())])]);
            let made = lake(&[(0, b"a")], 1).replace_by(new, (&BTreeMap::new(), &BTreeMap::new()), (5, 9, is_local));
            assert_eq!(made.objects[0].key, key);
        }
    }
}
