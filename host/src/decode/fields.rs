//! Which values of a record are wanted, and finding them while it is validated.
//!
//! A [`Fields`] is compiled once from the pointers that anyone asked for; a *slot* is a distinct pointer. Each object on the way
//! to a wanted value is gone through once, however many values are wanted of it. Of keys that a JSON object has twice the last
//! counts, at every level, as serde_json, Python and JavaScript read it.

use crate::error::{Error, Result};
use crate::record::pointer::{beginning, check_length};

use super::scan::{Fault, Scanner, Span, unescape};
use super::stops::Stops;

/// Number of a distinct pointer.
pub type Slot = usize;

/// The most slots: each record of a batch has one value of each, wanted or on the way to one that is.
const MAX_SLOTS: usize = 4096;

/// Every pointer that is wanted of a record.
#[derive(Debug, Default)]
pub struct Fields {
    /// By slot; `None` for a slot that no pointer fills.
    pointers: Vec<Option<String>>,
    /// The slot of the whole body.
    root: Option<Slot>,
    top: Node,
}

/// What is wanted of one object or array.
#[derive(Debug, Default)]
struct Node {
    members: Vec<Member>,
    /// Bit `n` is set where a wanted key has `n` bytes, the last bit where one has that many or more.
    lengths: u64,
    /// What is wanted of members, by the member's slot.
    inner: Vec<(Slot, Node)>,
}

/// One reference token of an RFC 6901 pointer.
#[derive(Debug)]
struct Segment {
    key: Box<[u8]>,
    /// What it means in an array.
    index: Option<usize>,
}

#[derive(Debug)]
struct Member {
    segment: Segment,
    slot: Slot,
}

impl Fields {
    /// The slot of `pointer`, the same for equal pointers.
    ///
    /// # Errors
    /// Of kind `Config`, where it is no RFC 6901 pointer or too long, or there are too many.
    pub fn add(&mut self, pointer: &str) -> Result<Slot> {
        let segments = parse(pointer)?;
        if self.pointers.len() + segments.len() > MAX_SLOTS {
            self.check_room(pointer, &segments)?;
        }
        let Fields { pointers, root, top } = self;
        let mut new_slot = |pointer: &str| {
            pointers.push(Some(pointer.to_owned()));
            pointers.len() - 1
        };
        let (mut node, mut end, mut last) = (top, 0, None);
        for segment in segments {
            if let Some(slot) = last {
                node = node.inside(slot);
            }
            // What leads to a value has a slot, too.
            end = pointer[end + 1..].find('/').map_or(pointer.len(), |at| end + 1 + at);
            last = Some(match node.members.iter().find(|member| member.segment.key == segment.key) {
                Some(member) => member.slot,
                None => {
                    let slot = new_slot(&pointer[..end]);
                    node.lengths |= length_bit(segment.key.len());
                    node.members.push(Member { segment, slot });
                    slot
                }
            });
        }
        Ok(last.unwrap_or_else(|| *root.get_or_insert_with(|| new_slot(""))))
    }

    /// Refuses a pointer that leads through more new values than there is room for.
    fn check_room(&self, pointer: &str, segments: &[Segment]) -> Result<()> {
        let (mut node, mut known) = (Some(&self.top), 0);
        for segment in segments {
            let member = node.and_then(|node| node.members.iter().find(|member| member.segment.key == segment.key));
            let Some(member) = member else { break };
            known += 1;
            node = node.and_then(|node| node.inner.iter().find(|(slot, _)| *slot == member.slot)).map(|(_, node)| node);
        }
        if self.pointers.len() + segments.len() - known <= MAX_SLOTS {
            return Ok(());
        }
        let pointer = beginning(pointer);
        Err(Error::config(format!(
            "`{pointer}` is one pointer too many: those that the configuration and the plugins of an export ask for may lead \
             through {MAX_SLOTS} values together"
        ))
        .with_help("ask for fewer values, or for an object as a whole"))
    }

    /// A slot that no pointer fills, and no scan touches.
    pub fn reserve(&mut self) -> Slot {
        self.pointers.push(None);
        self.pointers.len() - 1
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.pointers.len()
    }

    /// Whether any pointer was added.
    pub fn has_pointers(&self) -> bool {
        self.root.is_some() || !self.top.members.is_empty()
    }

    /// The pointer of a slot.
    pub fn pointer(&self, slot: Slot) -> &str {
        self.pointers[slot].as_deref().unwrap_or_default()
    }

    /// Forgets what a scan found before it failed.
    #[cold]
    pub fn clear(&self, found: &mut [Span]) {
        for (span, _) in found.iter_mut().zip(&self.pointers).filter(|(_, pointer)| pointer.is_some()) {
            *span = Span::ABSENT;
        }
    }

    /// Validates the value in `[start, end)` of `data` and puts what is wanted of it into `found`, one span a slot, all absent
    /// before. Returns the whole value's span.
    #[inline]
    pub fn scan(
        &self,
        data: &[u8],
        start: usize,
        end: usize,
        found: &mut [Span],
        stops: &mut Stops,
    ) -> Result<Span, Fault> {
        let body =
            Scanner::new(data, end, stops).document(start, |key, value| self.top.member(data, key, value, found))?;
        if let Some(root) = self.root {
            found[root] = body;
        }
        if data[body.start as usize] == b'[' {
            self.top.elements(data, body, found, stops);
        }
        self.top.descend(data, found, stops);
        Ok(body)
    }

    /// Puts what is wanted of a value that was validated into `found`, all absent before.
    pub fn find(&self, data: &[u8], value: Span, found: &mut [Span], stops: &mut Stops) {
        if let Some(root) = self.root {
            found[root] = value;
        }
        self.top.find(data, value, found, stops);
    }
}

impl Node {
    /// What is wanted of the member with this slot.
    fn inside(&mut self, slot: Slot) -> &mut Node {
        let at = self.inner.iter().position(|(member, _)| *member == slot).unwrap_or_else(|| {
            self.inner.push((slot, Node::default()));
            self.inner.len() - 1
        });
        &mut self.inner[at].1
    }

    fn find(&self, data: &[u8], value: Span, found: &mut [Span], stops: &mut Stops) {
        if value.is_absent() || self.members.is_empty() {
            return;
        }
        match data[value.start as usize] {
            b'{' => {
                let scanned = Scanner::new(data, value.end as usize, stops)
                    .members(value.start as usize, |key, value| self.member(data, key, value, found));
                debug_assert!(scanned.is_ok(), "the value was validated");
            }
            b'[' => self.elements(data, value, found, stops),
            _ => return,
        }
        self.descend(data, found, stops);
    }

    /// Goes on inside the members that were found.
    #[inline]
    fn descend(&self, data: &[u8], found: &mut [Span], stops: &mut Stops) {
        for (member, node) in &self.inner {
            node.find(data, found[*member], found, stops);
        }
    }

    #[inline(always)]
    fn member(&self, data: &[u8], key: Span, value: Span, found: &mut [Span]) {
        let escaped = key.escaped;
        let key = key.inside(data);
        if escaped {
            self.escaped_member(key, value, found);
        } else if self.lengths & length_bit(key.len()) != 0 {
            self.plain_member(key, value, found);
        }
    }

    #[inline]
    fn plain_member(&self, key: &[u8], value: Span, found: &mut [Span]) {
        for wanted in &self.members {
            if wanted.segment.key.len() == key.len() && *wanted.segment.key == *key {
                found[wanted.slot] = value;
                return;
            }
        }
    }

    #[cold]
    fn escaped_member(&self, key: &[u8], value: Span, found: &mut [Span]) {
        let mut plain = Vec::new();
        if unescape(key, &mut plain) {
            self.plain_member(&plain, value, found);
        }
    }

    #[cold]
    fn elements(&self, data: &[u8], array: Span, found: &mut [Span], stops: &mut Stops) {
        let mut index = 0;
        let scanned = Scanner::new(data, array.end as usize, stops).elements(array.start as usize, |value| {
            for wanted in self.members.iter().filter(|wanted| wanted.segment.index == Some(index)) {
                found[wanted.slot] = value;
            }
            index += 1;
        });
        debug_assert!(scanned.is_ok(), "the value was validated");
    }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

/// The reference tokens of an RFC 6901 pointer.
fn parse(pointer: &str) -> Result<Vec<Segment>> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    check_length(pointer).map_err(|why| Error::config(format!("the pointer `{}` {why}", beginning(pointer))))?;
    let wrong = |expected: &str| {
        Error::config(format!("`{pointer}` is no JSON pointer (RFC 6901): {expected}"))
            .with_help("write `/name` for a member, `/device/id` for one inside it, `/list/0` for an element")
    };
    let rest = pointer.strip_prefix('/').ok_or_else(|| wrong("expected it to start with `/`"))?;
    rest.split('/')
        .map(|token| {
            if token.replace("~0", "").replace("~1", "").contains('~') {
                return Err(wrong("expected `~0` or `~1` where it has `~`"));
            }
            let key = token.replace("~1", "/").replace("~0", "~").into_bytes().into_boxed_slice();
            // "Leading zeros are not allowed", nor signs (RFC 6901, section 4).
            let canonical = token == "0" || !token.starts_with(['0', '+']);
            Ok(Segment { key, index: token.parse().ok().filter(|_| canonical) })
        })
        .collect()
}
