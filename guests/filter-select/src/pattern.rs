//! Names with `*` in them.

/// Whether `pattern` matches all of `text`; `*` stands for any run of bytes, also none, and everything else for itself.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // On a mismatch, only the last star can take one byte more: that finds a match if there is one, in time linear in the
    // product of the lengths and without recursion.
    let (mut p, mut t) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            last_star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star, taken)) = last_star {
            last_star = Some((star, taken + 1));
            (p, t) = (star + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_match_anywhere_and_nothing_else_is_special() {
        for (pattern, text, expected) in [
            ("Brew*", "BrewStarted", true),
            ("Brew*", "Brew", true),
            ("*Started", "BrewStarted", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a*b", "ab", true),
            ("a*b", "abc", false),
            ("a**b", "a-b", true),
            ("*ab", "aab", true),
            ("Brew?", "Brews", false),
            ("[a]*", "[a]b", true),
            ("*", "", true),
            ("a*", "", false),
            ("*é", "café", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "`{pattern}` on `{text}`");
        }
    }

    #[test]
    fn many_stars_stay_fast() {
        let pattern = "*a".repeat(50) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(5_000).as_bytes()));
    }
}
