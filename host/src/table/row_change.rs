//! What a change does to a row.
//!
//! | the change's version | in place | every version is kept |
//! |---|---|---|
//! | higher than the row's, or none | applies | applies, and is a version of the row |
//! | the row's | applies, unless it stood earlier in the same event and was applied before | the same; it is a version unless it was applied before |
//! | lower | changes nothing, but for a whole row that comes behind its own patches | the same |
//!
//! Where no two changes of a row have one version, the same version is the same change: it is ignored. A delete has none of its own
//! there: it names the last one of the row that goes.

use std::cmp::Ordering;

use bytes::Bytes;

use super::patch::Patcher;
use super::step::{Latest, Outcome};
use super::trace::{Partial, Trace};
use super::{Change, Head, Operation, without};
use crate::decode::scan::Fault;

impl Latest<'_> {
    /// Applies a change of a row. Answers whether what the row is now is one of its versions.
    pub(super) fn apply_to_row(
        &mut self,
        change: &Change,
        patcher: &mut Patcher,
        outcome: &mut Outcome,
    ) -> Result<bool, Fault> {
        if let Some(kept) = &change.kept {
            return self.move_row(change, kept, patcher, outcome).map(|()| false);
        }
        let mut trace = Head::trace(&self.body);
        let order = change.version.zip(self.facts.version).map(|(new, old)| new.cmp(&old));
        if order == Some(Ordering::Equal) && change.repeats_at_its_version() {
            outcome.ignored += 1;
            return Ok(false);
        }
        if order == Some(Ordering::Less) {
            return self.apply_below(change, trace, patcher, outcome);
        }
        let keeps_versions = self.terms.rows.versions;
        let mut is_repeated = false;
        if keeps_versions || change.position.is_some() {
            let digest = change.digest();
            is_repeated = order == Some(Ordering::Equal) && trace.has(digest);
            if is_repeated && trace.is_behind(change.position) {
                outcome.ignored += 1;
                return Ok(false);
            }
            if change.version.is_some() {
                if order != Some(Ordering::Equal) {
                    trace.begin_version();
                }
                trace.add(digest, change.position);
            }
        } else if change.version.is_some() {
            trace.begin_version();
        }
        let is_version = keeps_versions && !is_repeated;
        let has_changed = self.change_row(change, trace, (order, is_version), patcher)?;
        match has_changed {
            true => self.note_change(change.operation != Operation::Delete),
            false => outcome.unchanged += 1,
        }
        // A change without a version must not let older ones in.
        self.facts.version = change.version.or(self.facts.version);
        self.facts.time = change.time;
        if has_changed || is_version {
            outcome.touched.extend(Head::of(&self.body).map(|head| head.partition));
        }
        Ok(is_version)
    }

    /// Takes in what was kept of the row under another key, or forgets what moved to another one. What is older only fills in what
    /// patches left out.
    fn move_row(
        &mut self,
        change: &Change,
        kept: &Bytes,
        patcher: &mut Patcher,
        outcome: &mut Outcome,
    ) -> Result<(), Fault> {
        let (head, now) = (Head::of(kept), Head::of(&self.body));
        let is_forgotten = kept.is_empty() && change.version.is_none();
        let is_live = change.operation != Operation::Delete;
        let is_there = !is_forgotten && (now.is_some() || self.facts.version.is_some());
        let versions = change.version.zip(self.facts.version).map_or(Ordering::Equal, |(new, old)| new.cmp(&old));
        let modified = |head: Option<Head>| head.map(|head| head.modified);
        let stays = is_there && versions.then(modified(head).cmp(&modified(now))) != Ordering::Greater;
        let older = if stays {
            (kept.clone(), change.version, is_live && head.is_some() && !Head::is_partial(kept))
        } else {
            let is_whole = is_there && self.facts.live && now.is_some() && !Head::is_partial(&self.body);
            let before = (self.body.clone(), self.facts.version, is_whole);
            self.facts.version = change.version;
            self.facts.time = change.time;
            self.body = kept.clone();
            self.is_dirty = true;
            self.note_change(is_live);
            outcome.touched.extend([head, now].into_iter().flatten().map(|head| head.partition));
            before
        };
        if let (row, version, true) = older {
            let row = Change::row(change.key.clone(), version, Head::shared_row(&row));
            self.apply_below(&row, Head::trace(&self.body), patcher, outcome)?;
        }
        Ok(())
    }

    /// Brings the row to what a change that is not older makes of it. Answers whether it is another one then.
    fn change_row(
        &mut self,
        change: &Change,
        mut trace: Trace,
        (order, is_version): (Option<Ordering>, bool),
        patcher: &mut Patcher,
    ) -> Result<bool, Fault> {
        let rows = &self.terms.rows;
        let modified = rows.write_time.saturating_add(i64::from(change.after));
        let known = Head::of(&self.body);
        let live = known.filter(|_| self.facts.live);
        let stored = live.map(|_| Head::row(&self.body));
        let row = match change.operation {
            Operation::Delete => Vec::new(),
            Operation::Patch => {
                let rest = live
                    .zip(stored)
                    .and_then(|(head, row)| without(row, head.modified, self.facts.version, &rows.gone));
                patcher.replace_members(rest.as_deref().or(stored), &change.body)?
            }
            Operation::Create | Operation::Update => change.body.to_vec(),
        };
        trace.partial = match (change.operation, stored) {
            (Operation::Patch, Some(_)) => trace.partial,
            // Of a row that is not there a patch says a part only. Without versions, what comes later is never older.
            (Operation::Patch, None) if change.version.is_some() => {
                Some(Partial { base: self.facts.version, ..Partial::default() })
            }
            _ => None,
        };
        if let Some(partial) = &mut trace.partial {
            partial.members.extend(patcher.members(&change.body)?.iter().map(|member| text(&member.name)));
        }
        let deleted = change.operation == Operation::Delete;
        // A version is part of what is written of a row.
        let is_new = change.version.is_some() && order != Some(Ordering::Equal);
        let has_changed = match stored {
            None => !deleted,
            Some(stored) => deleted || is_new || !patcher.same(stored, &row)?,
        };
        let partition = change.partition.unwrap_or(rows.partition);
        let new = Head { partition, created: rows.write_time, modified, deleted };
        let head = match live {
            Some(head) if has_changed || is_version => Head { modified, deleted, ..head },
            Some(head) => head,
            // What is deleted once more was in its partition.
            None if deleted => Head { modified, deleted, ..known.unwrap_or(new) },
            None => new,
        };
        let row = if has_changed { &row } else { stored.unwrap_or_default() };
        let body = head.before_traced(&trace, row);
        // A deletion of what was never there leaves nothing but its version, unless that is to be recognised.
        if self.body != body && (has_changed || is_version || trace != Trace::default()) {
            self.body = body;
            self.is_dirty = true;
        }
        Ok(has_changed)
    }

    /// Takes in a change that is older than what is known of the row: the members that the row's patches did not give.
    fn apply_below(
        &mut self,
        change: &Change,
        mut trace: Trace,
        patcher: &mut Patcher,
        outcome: &mut Outcome,
    ) -> Result<bool, Fault> {
        let head = Head::of(&self.body).filter(|_| self.facts.live && change.operation != Operation::Patch);
        // What has the version of the base is part of it, and comes again.
        let partial = trace.partial.take_if(|partial| change.version > partial.base);
        let (Some(mut head), Some(mut partial)) = (head, partial) else {
            outcome.ignored += 1;
            return Ok(false);
        };
        let stored = Head::row(&self.body);
        let mut own = vec![b'{'];
        let mut left = partial.members.clone();
        for member in patcher.members(stored)? {
            if left.remove(&text(&member.name)) {
                push_member(&mut own, member.text);
            }
        }
        // What they made null is null, whatever the row was before.
        for name in left {
            push_member(&mut own, format!("{}:null", serde_json::Value::from(name)).as_bytes());
        }
        own.push(b'}');
        let whole = if change.operation == Operation::Delete { &b"{}"[..] } else { &change.body };
        let row = patcher.replace_members(Some(whole), &own)?;
        let has_changed = !patcher.same(stored, &row)?;
        partial.base = change.version;
        trace.partial = Some(partial);
        if has_changed {
            head.modified = self.terms.rows.write_time.saturating_add(i64::from(change.after));
            outcome.touched.insert(head.partition);
        }
        let body = head.before_traced(&trace, &row);
        (self.body, self.is_dirty) = (body, true);
        match has_changed {
            true => self.note_change(true),
            false => outcome.unchanged += 1,
        }
        Ok(has_changed && self.terms.rows.versions)
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn push_member(object: &mut Vec<u8>, member: &[u8]) {
    if object.len() > 1 {
        object.push(b',');
    }
    object.extend_from_slice(member);
}
