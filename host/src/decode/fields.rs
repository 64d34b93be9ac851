//! Which values of a record are wanted, and finding them while it is validated.
//!
//! A [`Fields`] is compiled once from the pointers that anyone asked for; a *slot* is a distinct pointer. Of keys that a JSON
//! object has twice the last counts, at every level, as serde_json, Python and JavaScript read it.

use crate::error::{Error, Result};

use super::scan::{Fault, Scanner, Span, unescape};
use super::stops::Stops;

/// Number of a distinct pointer.
pub type Slot = usize;

/// Every pointer that is wanted of a record.
#[derive(Debug, Default)]
pub struct Fields {
    pointers: Vec<String>,
    /// The slot of the whole body.
    root: Option<Slot>,
    /// Members of the body itself: they are found in the validating pass.
    members: Vec<(Box<[u8]>, Slot)>,
    /// Bit `n` is set where a wanted key has `n` bytes, the last bit where one has that many or more.
    lengths: u64,
    /// What lies in a member: the member's slot, the further segments, the slot.
    nested: Vec<(Slot, Box<[Segment]>, Slot)>,
}

/// One reference token of an RFC 6901 pointer.
#[derive(Debug)]
struct Segment {
    key: Box<[u8]>,
    /// What it means in an array.
    index: Option<usize>,
}

impl Fields {
    /// The slot of `pointer`, the same for equal pointers.
    ///
    /// # Errors
    /// Of kind `Config`, where it is no RFC 6901 pointer.
    pub fn add(&mut self, pointer: &str) -> Result<Slot> {
        if let Some(root) = self.root.filter(|_| pointer.is_empty()) {
            return Ok(root);
        }
        if let Some(known) = self.slot_of(pointer) {
            return Ok(known);
        }
        let mut segments = parse(pointer)?;
        if segments.is_empty() {
            let slot = self.new_slot(pointer);
            self.root = Some(slot);
            return Ok(slot);
        }
        let first = segments.remove(0);
        if segments.is_empty() {
            let slot = self.new_slot(pointer);
            self.lengths |= length_bit(first.key.len());
            self.members.push((first.key, slot));
            return Ok(slot);
        }
        let member = pointer[1..].find('/').map_or(pointer, |end| &pointer[..=end]);
        let member = self.add(member)?;
        let slot = self.new_slot(pointer);
        self.nested.push((member, segments.into(), slot));
        Ok(slot)
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.pointers.len()
    }

    /// The pointer of a slot.
    pub fn pointer(&self, slot: Slot) -> &str {
        &self.pointers[slot]
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
        let body = Scanner::new(data, end, stops).document(start, |key, value| {
            let escaped = key.escaped;
            let key = key.inside(data);
            if escaped {
                self.escaped_member(key, value, found);
            } else if self.lengths & length_bit(key.len()) != 0 {
                self.member(key, value, found);
            }
        })?;
        if let Some(root) = self.root {
            found[root] = body;
        }
        for (member, path, slot) in &self.nested {
            found[*slot] = resolve(data, found[*member], path, stops);
        }
        if data[body.start as usize] == b'[' {
            self.members_of_array(data, body, found, stops);
        }
        Ok(body)
    }

    #[inline]
    fn member(&self, key: &[u8], value: Span, found: &mut [Span]) {
        for (wanted, slot) in &self.members {
            if wanted.len() == key.len() && **wanted == *key {
                found[*slot] = value;
                return;
            }
        }
    }

    #[cold]
    fn escaped_member(&self, key: &[u8], value: Span, found: &mut [Span]) {
        let mut plain = Vec::new();
        if unescape(key, &mut plain) {
            self.member(&plain, value, found);
        }
    }

    /// A body that a transform made may be an array: pointers then begin with an index.
    #[cold]
    fn members_of_array(&self, data: &[u8], body: Span, found: &mut [Span], stops: &mut Stops) {
        for (slot, pointer) in self.pointers.iter().enumerate() {
            let path = parse(pointer).expect("checked when it was added");
            found[slot] = resolve(data, body, &path, stops);
        }
    }

    fn slot_of(&self, pointer: &str) -> Option<Slot> {
        self.pointers.iter().position(|known| known == pointer)
    }

    fn new_slot(&mut self, pointer: &str) -> Slot {
        self.pointers.push(pointer.to_string());
        self.pointers.len() - 1
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

/// What `path` leads to in a validated value.
fn resolve(data: &[u8], value: Span, path: &[Segment], stops: &mut Stops) -> Span {
    path.iter().fold(value, |value, segment| {
        if value.is_absent() {
            return Span::ABSENT;
        }
        let mut scanner = Scanner::new(data, value.end as usize, stops);
        let mut found = Span::ABSENT;
        let scanned = match data[value.start as usize] {
            b'{' => scanner.members(value.start as usize, |key, value| {
                if is_key(data, key, &segment.key) {
                    found = value;
                }
            }),
            b'[' => {
                let mut index = 0;
                scanner.elements(value.start as usize, |value| {
                    if segment.index == Some(index) {
                        found = value;
                    }
                    index += 1;
                })
            }
            _ => return Span::ABSENT,
        };
        debug_assert!(scanned.is_ok(), "the value was validated");
        found
    })
}

fn is_key(data: &[u8], key: Span, wanted: &[u8]) -> bool {
    let inside = key.inside(data);
    if !key.escaped {
        return inside == wanted;
    }
    let mut plain = Vec::new();
    unescape(inside, &mut plain) && plain == wanted
}
