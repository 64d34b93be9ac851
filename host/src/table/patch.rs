//! Merge patches (RFC 7396) on the bytes of documents: what a patch does not name stays as it was written.
//!
//! Everything here has been found to be valid JSON before; a [`Fault`] means that it was not after all.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::decode::scan::{Fault, Scanner, unescape};
use crate::decode::stops::Stops;

/// A member of an object.
#[derive(Debug)]
pub struct Member<'a> {
    /// Its name's characters.
    pub name: Cow<'a, [u8]>,
    /// From the name's quote to the end of the value.
    pub text: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> Member<'a> {
    /// What stands before the value.
    fn head(&self) -> &'a [u8] {
        &self.text[..self.text.len() - self.value.len()]
    }
}

/// Applies patches and compares values. Holds scratch memory only.
#[derive(Default)]
pub struct Patcher {
    stops: Stops,
}

impl Patcher {
    /// `patch` applied to `target`.
    pub fn merge(&mut self, target: Option<&[u8]>, patch: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::with_capacity(target.map_or(0, <[u8]>::len) + patch.len());
        self.merge_into(&mut out, target.map(<[u8]>::trim_ascii), patch.trim_ascii())?;
        Ok(out)
    }

    /// `patch` applied to the object `target`, whose members are replaced as a whole.
    pub fn replace_members(&mut self, target: Option<&[u8]>, patch: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::with_capacity(target.map_or(0, <[u8]>::len) + patch.len());
        self.merge_object(&mut out, target.map(<[u8]>::trim_ascii), patch.trim_ascii(), false)?;
        Ok(out)
    }

    /// Adds the result to `out`. Goes as deep as the patch does, which is at most [`crate::decode::MAX_DEPTH`].
    fn merge_into(&mut self, out: &mut Vec<u8>, target: Option<&[u8]>, patch: &[u8]) -> Result<(), Fault> {
        let target = target.filter(|target| target.starts_with(b"{"));
        let removes = || memchr::memmem::find(patch, b"null").is_some();
        if !patch.starts_with(b"{") || (target.is_none() && !removes()) {
            out.extend_from_slice(patch);
            return Ok(());
        }
        self.merge_object(out, target, patch, true)
    }

    /// The same for two objects. `deep`: members are merged; else they are replaced.
    fn merge_object(
        &mut self,
        out: &mut Vec<u8>,
        target: Option<&[u8]>,
        patch: &[u8],
        deep: bool,
    ) -> Result<(), Fault> {
        let (changes, named) = last_of_each(self.members(patch)?);
        let stored = match target {
            Some(target) => self.members(target)?,
            None => Vec::new(),
        };
        // For each change, the last stored member of that name.
        let mut place = vec![None; changes.len()];
        for (at, member) in stored.iter().enumerate() {
            if let Some(&change) = named.get(&member.name) {
                place[change] = Some(at);
            }
        }
        out.push(b'{');
        let start = out.len();
        let separate = |out: &mut Vec<u8>| {
            if out.len() > start {
                out.push(b',');
            }
        };
        for (at, member) in stored.iter().enumerate() {
            let Some(&change) = named.get(&member.name) else {
                separate(out);
                out.extend_from_slice(member.text);
                continue;
            };
            if place[change] == Some(at) && changes[change].value != b"null" {
                separate(out);
                out.extend_from_slice(member.head());
                match deep {
                    true => self.merge_into(out, Some(member.value), changes[change].value)?,
                    false => out.extend_from_slice(changes[change].value),
                }
            }
        }
        for (change, place) in changes.iter().zip(&place) {
            if place.is_none() && change.value != b"null" {
                separate(out);
                out.extend_from_slice(change.head());
                match deep {
                    true => self.merge_into(out, None, change.value)?,
                    false => out.extend_from_slice(change.value),
                }
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Whether two values are the same: objects in any order of their members, numbers as they are written.
    pub fn same(&mut self, a: &[u8], b: &[u8]) -> Result<bool, Fault> {
        let (a, b) = (a.trim_ascii(), b.trim_ascii());
        if a == b {
            return Ok(true);
        }
        match (a.first(), b.first()) {
            (Some(b'{'), Some(b'{')) => {
                let (ours, _) = last_of_each(self.members(a)?);
                let (theirs, named) = last_of_each(self.members(b)?);
                if ours.len() != theirs.len() {
                    return Ok(false);
                }
                for member in &ours {
                    let Some(&at) = named.get(&member.name) else { return Ok(false) };
                    if !self.same(member.value, theirs[at].value)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Some(b'['), Some(b'[')) => {
                let (ours, theirs) = (self.elements(a)?, self.elements(b)?);
                if ours.len() != theirs.len() {
                    return Ok(false);
                }
                for (a, b) in ours.into_iter().zip(theirs) {
                    if !self.same(a, b)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Some(b'"'), Some(b'"')) => Ok(characters(&a[1..a.len() - 1]) == characters(&b[1..b.len() - 1])),
            _ => Ok(false),
        }
    }

    /// The members of an object, in order.
    pub fn members<'a>(&mut self, object: &'a [u8]) -> Result<Vec<Member<'a>>, Fault> {
        let object = object.trim_ascii();
        let mut members = Vec::new();
        Scanner::new(object, object.len(), &mut self.stops).members(0, |key, value| {
            let inside = key.inside(object);
            members.push(Member {
                name: if key.escaped { characters(inside) } else { Cow::Borrowed(inside) },
                text: &object[key.start as usize..value.end as usize],
                value: value.of(object),
            });
        })?;
        Ok(members)
    }

    fn elements<'a>(&mut self, array: &'a [u8]) -> Result<Vec<&'a [u8]>, Fault> {
        let mut elements = Vec::new();
        Scanner::new(array, array.len(), &mut self.stops).elements(0, |value| elements.push(value.of(array)))?;
        Ok(elements)
    }
}

/// Of members with the same name the last, and where each name is.
fn last_of_each<'a>(members: Vec<Member<'a>>) -> (Vec<Member<'a>>, HashMap<Cow<'a, [u8]>, usize>) {
    let mut kept: Vec<Member<'a>> = Vec::with_capacity(members.len());
    let mut named = HashMap::with_capacity(members.len());
    for member in members {
        match named.get(&member.name) {
            Some(&at) => kept[at] = member,
            None => {
                named.insert(member.name.clone(), kept.len());
                kept.push(member);
            }
        }
    }
    (kept, named)
}

/// What a string's `inside` stands for. One that is no Unicode text is the same only as one that is written the same.
fn characters(inside: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Vec::new();
    if memchr::memchr(b'\\', inside).is_none() {
        return Cow::Borrowed(inside);
    }
    if !unescape(inside, &mut text) {
        text = [b"\xff", inside].concat();
    }
    Cow::Owned(text)
}
