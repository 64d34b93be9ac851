//! Validates JSON and says where its values are, in one pass, without building anything.
//!
//! What the decoder stands on: it accepts exactly the grammar of RFC 8259 (plus the depth limit), never recurses, and jumps over
//! what is inside strings. UTF-8 is the caller's to check: a text that is not valid UTF-8 is scanned safely, but may be accepted.

use super::stops::Stops;

/// Records nested deeper than this are refused.
pub const MAX_DEPTH: usize = 512;

/// Where a value is: `[start, end)` of the scanned bytes, quotes included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
    /// A string with at least one escape.
    pub escaped: bool,
}

impl Span {
    /// No value.
    pub const ABSENT: Span = Span { start: 0, end: 0, escaped: false };

    /// Whether there is no value.
    pub fn is_absent(self) -> bool {
        self.end == 0
    }

    /// The value's bytes.
    pub fn of(self, data: &[u8]) -> &[u8] {
        &data[self.start as usize..self.end as usize]
    }

    /// What is between a string's quotes.
    pub fn inside(self, data: &[u8]) -> &[u8] {
        &data[self.start as usize + 1..self.end as usize - 1]
    }

    fn new(start: usize, end: usize, escaped: bool) -> Span {
        Span { start: start as u32, end: end as u32, escaped }
    }
}

/// Why a text is not one JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What was expected at a byte of the scanned bytes.
    Expected { at: usize, what: &'static str },
    /// A value deeper than [`MAX_DEPTH`] opens here.
    TooDeep { at: usize },
}

type Scan<T> = Result<T, Fault>;

/// Scans `data[..end]`, which is shorter than 4 GiB, from left to right.
pub struct Scanner<'a> {
    data: &'a [u8],
    /// `data` up to `end`.
    text: &'a [u8],
    stops: &'a mut Stops,
}

impl<'a> Scanner<'a> {
    /// A scanner of `data[..end]`. It may look at bytes after `end`, and never takes them for the value's. `stops` is its
    /// scratch memory.
    #[inline]
    pub fn new(data: &'a [u8], end: usize, stops: &'a mut Stops) -> Self {
        stops.reset();
        Scanner { data, text: &data[..end], stops }
    }

    /// Validates the one value from `at` to the end, white space around it allowed, and hands over the members of an object:
    /// the key's span and the value's, in order. Returns the value's span.
    #[inline]
    pub fn document(&mut self, at: usize, member: impl FnMut(Span, Span)) -> Scan<Span> {
        let start = self.skip_space(at);
        let end = if self.byte(start) == b'{' { self.members(start, member)? } else { self.value(start)?.end as usize };
        let rest = self.skip_space(end);
        if rest < self.text.len() {
            return Err(Fault::Expected { at: rest, what: "the end of the record" });
        }
        let escaped = self.byte(start) == b'"' && memchr::memchr(b'\\', &self.data[start..end]).is_some();
        Ok(Span::new(start, end, escaped))
    }

    /// Hands over the members of the object that opens at `at`; returns where it ends.
    #[inline]
    pub fn members(&mut self, at: usize, mut member: impl FnMut(Span, Span)) -> Scan<usize> {
        let mut at = self.skip_space(at + 1);
        if self.byte(at) == b'}' {
            return Ok(at + 1);
        }
        loop {
            let key = self.key(at)?;
            let value = self.colon(key.end as usize)?;
            let value = self.value(value)?;
            member(key, value);
            at = self.skip_space(value.end as usize);
            match self.byte(at) {
                b',' => at = self.skip_space(at + 1),
                b'}' => return Ok(at + 1),
                _ => return self.fault(at, "`,` or `}`"),
            }
        }
    }

    /// Hands over the elements of the array that opens at `at`; returns where it ends.
    pub fn elements(&mut self, at: usize, mut element: impl FnMut(Span)) -> Scan<usize> {
        let mut at = self.skip_space(at + 1);
        if self.byte(at) == b']' {
            return Ok(at + 1);
        }
        loop {
            let value = self.value(at)?;
            element(value);
            at = self.skip_space(value.end as usize);
            match self.byte(at) {
                b',' => at = self.skip_space(at + 1),
                b']' => return Ok(at + 1),
                _ => return self.fault(at, "`,` or `]`"),
            }
        }
    }

    /// The byte at `at`; 0, which no grammar rule accepts, at the end.
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        match self.text.get(at) {
            Some(&byte) => byte,
            None => 0,
        }
    }

    #[inline(always)]
    fn skip_space(&self, mut at: usize) -> usize {
        // Most records have none: one comparison decides.
        while self.byte(at) <= b' ' && matches!(self.byte(at), b' ' | b'\t' | b'\r' | b'\n') {
            at += 1;
        }
        at
    }

    #[cold]
    fn fault<T>(&self, at: usize, what: &'static str) -> Scan<T> {
        Err(Fault::Expected { at: at.min(self.text.len()), what })
    }

    #[inline(always)]
    fn key(&mut self, at: usize) -> Scan<Span> {
        if self.byte(at) != b'"' {
            return self.fault(at, "a key in double quotes");
        }
        self.string(at)
    }

    /// Where the value after a key starts.
    #[inline(always)]
    fn colon(&self, at: usize) -> Scan<usize> {
        let at = self.skip_space(at);
        if self.byte(at) != b':' {
            return self.fault(at, "`:`");
        }
        Ok(self.skip_space(at + 1))
    }

    /// The value that starts at `at`.
    #[inline(always)]
    fn value(&mut self, at: usize) -> Scan<Span> {
        match self.byte(at) {
            b'"' => self.string(at),
            b'{' | b'[' => Ok(Span::new(at, self.container(at)?, false)),
            _ => Ok(Span::new(at, self.scalar(at)?, false)),
        }
    }

    #[inline(always)]
    fn scalar(&self, at: usize) -> Scan<usize> {
        match self.byte(at) {
            b'-' | b'0'..=b'9' => self.number(at),
            b't' => self.literal(at, b"true", "`true`"),
            b'f' => self.literal(at, b"false", "`false`"),
            b'n' => self.literal(at, b"null", "`null`"),
            _ => self.fault(at, "a value"),
        }
    }

    #[inline(always)]
    fn literal(&self, at: usize, text: &[u8], what: &'static str) -> Scan<usize> {
        if self.text[at..].starts_with(text) { Ok(at + text.len()) } else { self.fault(at, what) }
    }

    #[inline(always)]
    fn digits(&self, mut at: usize) -> Scan<usize> {
        if !self.byte(at).is_ascii_digit() {
            return self.fault(at, "a digit");
        }
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        Ok(at)
    }

    #[inline(always)]
    fn number(&self, at: usize) -> Scan<usize> {
        let first = at + usize::from(self.byte(at) == b'-');
        let mut at = self.digits(first)?;
        if self.byte(first) == b'0' && at > first + 1 {
            return self.fault(first + 1, "no digit after a leading zero");
        }
        if self.byte(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        if matches!(self.byte(at), b'e' | b'E') {
            at += 1 + usize::from(matches!(self.byte(at + 1), b'+' | b'-'));
            at = self.digits(at)?;
        }
        Ok(at)
    }

    /// The string whose opening quote is at `start`.
    #[inline(always)]
    fn string(&mut self, start: usize) -> Scan<Span> {
        let mut at = start + 1;
        let mut escaped = false;
        loop {
            at = self.stops.take(self.data, self.text.len(), at);
            match self.text.get(at) {
                Some(b'"') => return Ok(Span::new(start, at + 1, escaped)),
                Some(b'\\') => {
                    escaped = true;
                    at = self.escape(at)?;
                }
                Some(_) => return self.fault(at, "no control character in a string"),
                None => return self.fault(at, "the closing quote of a string"),
            }
        }
    }

    /// Where the escape whose backslash is at `at` ends.
    fn escape(&self, at: usize) -> Scan<usize> {
        match self.byte(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
            b'u' => match (at + 2..at + 6).find(|&digit| !self.byte(digit).is_ascii_hexdigit()) {
                None => Ok(at + 6),
                Some(digit) => self.fault(digit, "four hexadecimal digits"),
            },
            _ => self.fault(at + 1, "an escape such as `\\n` or `\\u0041`"),
        }
    }

    /// Where the object or array that opens at `at` ends. Kept out of the way of the flat records that most are.
    #[inline(never)]
    fn container(&mut self, at: usize) -> Scan<usize> {
        // One bit a level, 1 for an object. The record's own object is a level above.
        let mut objects = [0u64; MAX_DEPTH / 64];
        let mut depth = 0;
        let mut at = at;
        loop {
            // A value starts here.
            match self.byte(at) {
                opening @ (b'{' | b'[') => {
                    if depth + 1 == MAX_DEPTH {
                        return Err(Fault::TooDeep { at });
                    }
                    let (object, bit) = (opening == b'{', 1 << (depth % 64));
                    objects[depth / 64] = objects[depth / 64] & !bit | if object { bit } else { 0 };
                    depth += 1;
                    at = self.skip_space(at + 1);
                    if self.byte(at) != opening + 2 {
                        if object {
                            at = self.key(at)?.end as usize;
                            at = self.colon(at)?;
                        }
                        continue;
                    }
                    // `{}` and `[]`: the loop below closes them.
                }
                b'"' => at = self.string(at)?.end as usize,
                _ => at = self.scalar(at)?,
            }
            // A value ended: close what it ends, or go on to the next one.
            loop {
                if depth == 0 {
                    return Ok(at);
                }
                let object = objects[(depth - 1) / 64] >> ((depth - 1) % 64) & 1 == 1;
                at = self.skip_space(at);
                match (self.byte(at), object) {
                    (b'}', true) | (b']', false) => {
                        depth -= 1;
                        at += 1;
                    }
                    (b',', _) => {
                        at = self.skip_space(at + 1);
                        if object {
                            at = self.key(at)?.end as usize;
                            at = self.colon(at)?;
                        }
                        break;
                    }
                    (_, true) => return self.fault(at, "`,` or `}`"),
                    (_, false) => return self.fault(at, "`,` or `]`"),
                }
            }
        }
    }
}

/// Adds the characters that a valid string's `inside` stands for. False, with a part added, where it holds half of a
/// surrogate pair, which is no Unicode text.
pub fn unescape(inside: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let simple = match rest[at + 1] {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => 0,
            same => same,
        };
        if rest[at + 1] != b'u' {
            out.push(simple);
            rest = &rest[at + 2..];
            continue;
        }
        let first = hex(&rest[at + 2..at + 6]);
        rest = &rest[at + 6..];
        let mut code = first;
        if (0xd800..0xdc00).contains(&first) && rest.starts_with(b"\\u") {
            let second = hex(&rest[2..6]);
            if (0xdc00..0xe000).contains(&second) {
                code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                rest = &rest[6..];
            }
        }
        match char::from_u32(code) {
            Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => return false,
        }
    }
    out.extend_from_slice(rest);
    true
}

/// The number that validated hexadecimal digits stand for.
fn hex(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |sum, &digit| sum << 4 | (digit as char).to_digit(16).unwrap_or(0))
}
