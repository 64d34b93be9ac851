//! The dialect of the files: text in quotes, quotes doubled, everything else bare, null nothing at all.

/// Of every file in the dialect.
pub const CONTENT_TYPE: &str = "text/csv";

/// Adds `text` in quotes. `guard`: text that a spreadsheet would take for a formula gets an apostrophe before it.
#[inline]
pub fn put_text(text: &[u8], guard: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    if guard && is_formula(text) {
        out.push(b'\'');
    }
    let mut from = 0;
    for at in memchr::memchr_iter(b'"', text) {
        out.extend_from_slice(&text[from..=at]);
        out.push(b'"');
        from = at + 1;
    }
    out.extend_from_slice(&text[from..]);
    out.push(b'"');
}

/// Whether spreadsheets calculate with `text` where they open it: OWASP's list for CSV injection.
pub fn is_formula(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r'))
}

/// Adds `True` or `False`.
pub fn put_boolean(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"True" } else { b"False" });
}

/// Adds a whole number.
pub fn put_integer(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}
