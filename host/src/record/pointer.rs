//! How long a JSON pointer (RFC 6901) may be.

/// Bytes of a pointer.
const MAX_BYTES: usize = 4096;
/// Segments of a pointer.
const MAX_SEGMENTS: usize = 64;

/// Refuses a pointer that is too long, and says why: an end for "the pointer `/a/b…` …".
pub fn check_length(pointer: &str) -> Result<(), String> {
    let segments = pointer.bytes().filter(|&byte| byte == b'/').count();
    if segments > MAX_SEGMENTS {
        return Err(format!("has {segments} segments, expected at most {MAX_SEGMENTS}"));
    }
    if pointer.len() > MAX_BYTES {
        return Err(format!("has {} bytes, expected at most {MAX_BYTES}", pointer.len()));
    }
    Ok(())
}

/// A pointer's beginning, for messages.
pub fn beginning(pointer: &str) -> String {
    const SHOWN: usize = 60;
    match pointer.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &pointer[..end]),
        None => pointer.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_have_a_longest_length() {
        for fine in [String::new(), "/a".repeat(MAX_SEGMENTS), format!("/{}", "x".repeat(MAX_BYTES - 1))] {
            check_length(&fine).unwrap();
        }
        assert_eq!(check_length(&"/a".repeat(65)).unwrap_err(), "has 65 segments, expected at most 64");
        assert_eq!(
            check_length(&format!("/{}", "é".repeat(3000))).unwrap_err(),
            "has 6001 bytes, expected at most 4096"
        );
    }

    #[test]
    fn a_long_pointer_is_shown_by_its_beginning() {
        assert_eq!(beginning("/short"), "/short");
        assert_eq!(beginning(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
    }
}
