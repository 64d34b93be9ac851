//! Finds what could be a secret in a configuration's text, so that no error shows it.
//!
//! Works on text and not on parsed values: a file that does not parse, a misspelled key and a comment hide secrets too.
//! References (`env:NAME`, `file:PATH`) are no secrets.

use std::ops::Range;

use super::keys::{Form, LAKE};

/// The spans of everything that stands where a secret could.
pub fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('=') {
        let key = text[..at].trim_end_matches([' ', '\t', '"', '\'']);
        let start = key.rfind(|c: char| !(c.is_alphanumeric() || "-_.\"'".contains(c)));
        let start = start.map_or(0, |at| at + key[at..].chars().next().map_or(0, char::len_utf8));
        let value = content(text, at + 1);
        if names_a_secret(&key[start..]) && !(&key[start..] == "key" && is_of_a_table(&text[..at])) {
            if !is_reference(&text[value.clone()]) && !value.is_empty() {
                found.push(value);
            }
        } else {
            found.extend(in_url(&text[value.clone()]).map(|part| value.start + part.start..value.start + part.end));
        }
    }
    found
}

/// Whether a comment could hold a secret: a word says so, or a URL has a part that may be one.
pub fn could_hold_a_secret(comment: &str) -> bool {
    is_telling(&plain(comment)) || !secrets(comment).is_empty() || in_url(comment).next().is_some()
}

/// Whether what comes after `before` describes a table, whose `key` says where its rows have theirs.
fn is_of_a_table(before: &str) -> bool {
    let header = before.lines().rev().map(str::trim_start).find(|line| line.starts_with('['));
    header.is_some_and(|header| header.starts_with("[exports.") && header.contains(".tables."))
}

/// Whether `value` is `env:NAME` or `file:PATH`.
pub fn is_reference(value: &str) -> bool {
    value.strip_prefix("env:").is_some_and(is_variable) || value.strip_prefix("file:").is_some()
}

/// Whether `name` can be the name of an environment variable.
pub fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What to hide of the line `line` of `text`, which is not TOML, so that nothing is sure of it.
///
/// All of it but its key, if a secret could be meant: where a lake is described, and where a word says so.
pub fn broken_line(text: &str, line: Range<usize>) -> Option<Range<usize>> {
    let shown = &text[line.clone()];
    let is_header = |line: &&str| line.trim_start().starts_with('[');
    let header = text[..line.start].lines().rev().find(is_header).unwrap_or_default();
    let in_lake = !is_header(&shown) && (header.contains("lake") || shown.contains("lakes"));
    let is_key = |key: &str| key.chars().all(|c| c.is_alphanumeric() || "-_. ".contains(c));
    let value = shown.find('=').filter(|at| is_key(&shown[..*at])).map(|at| line.start + at + 1..line.end);
    let harmless = value.as_ref().is_some_and(|value| {
        let key = shown.split('=').next().unwrap_or_default().trim();
        let known = LAKE.keys.iter().any(|known| known.name == key && !matches!(known.form, Form::Secret));
        known && !text[value.clone()].contains('=')
    });
    match in_lake && !harmless || is_telling(&plain(shown)) {
        true => Some(value.unwrap_or(line)),
        false => None,
    }
}

/// Whether a secret may stand behind a key of this name, spelled rightly or not, dotted or not.
fn names_a_secret(key: &str) -> bool {
    let (whole, last) = (plain(key), plain(key.rsplit('.').next().unwrap_or(key)));
    let near = |known: &str| {
        let known = plain(known);
        [&whole, &last].into_iter().any(|key| key.len() < 40 && strsim::damerau_levenshtein(&known, key) <= 3)
    };
    is_telling(&whole) || LAKE.keys.iter().any(|known| matches!(known.form, Form::Secret) && near(known.name))
}

fn is_telling(plain: &str) -> bool {
    ["key", "secret", "token", "hmac", "passw", "pwd", "credential", "signature"]
        .iter()
        .any(|word| plain.contains(word))
}

/// The lower-case letters and digits of `text` alone.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The span of the value that begins at or after `at`: what stands between the quotes, or up to the line's end.
fn content(text: &str, at: usize) -> Range<usize> {
    let rest = &text[at..];
    let start = at + rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let value = &text[start..];
    let line = value.find('\n').unwrap_or(value.len());
    for quotes in ["\"\"\"", "'''"] {
        if let Some(inner) = value.strip_prefix(quotes) {
            return start + 3..start + 3 + inner.find(quotes).unwrap_or(inner.len());
        }
    }
    for quote in ['"', '\''] {
        if let Some(inner) = value[..line].strip_prefix(quote) {
            let mut escaped = false;
            let end = inner.find(|c| {
                let closes = c == quote && !escaped;
                escaped = quote == '"' && c == '\\' && !escaped;
                closes
            });
            return start + 1..start + 1 + end.unwrap_or(inner.len());
        }
    }
    start..start + value[..line].trim_end().len()
}

/// The parts of a URL that may be secret: its query, and the password before the host.
fn in_url(value: &str) -> impl Iterator<Item = Range<usize>> {
    let scheme = value.find("://").map(|at| at + 3);
    let query = scheme.and(value.find('?')).map(|at| at + 1..value.len());
    let password = scheme.and_then(|start| {
        let host = value[start..].find(['/', '?', '"', '\'']).map_or(value.len(), |at| start + at);
        let at = start + value[start..host].rfind('@')?;
        let colon = start + value[start..at].find(':')?;
        Some(colon + 1..at)
    });
    query.into_iter().chain(password).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_tables_rows_is_no_secret() {
        let table = "[exports.crm.tables.account]\nkey = \"/accountid\"";
        assert_eq!(shown(table), table);
        for text in [
            "key = \"/hunter2\"",
            "[exports.crm]\nkey = \"/hunter2\"",
            "[exports.crm.tables.a]\nsas-token = \"hunter2\"",
        ] {
            assert!(!shown(text).contains("hunter2"), "{text}");
        }
    }

    fn shown(text: &str) -> String {
        let mut shown = text.to_owned();
        let mut found = secrets(text);
        found.sort_by_key(|span| std::cmp::Reverse(span.start));
        for span in found {
            if shown.is_char_boundary(span.end.min(shown.len())) {
                shown.replace_range(span.start..span.end.min(shown.len()), "***");
            }
        }
        shown
    }

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        for text in [
            "account-key = \"hunter2\"",
            "account-key = 'hunter2'",
            "account-key = \"hunter2",
            "account-key = hunter2",
            "account-key=\"\"\"\nhunter2\n\"\"\"",
            "account-key = \"\"\"\nhunter2",
            "acount-kye = \"hunter2\"",
            "# account-key = \"hunter2\"",
            "\"account-key\" = \"hunter2\"",
            "main = { url = \"./x\", sas-token = \"hunter2\", region = 1 }",
            "main.account-key = \"a\\\"hunter2\"",
            "account-key = \"env:hunter2+/\"",
            "url = \"https://a.blob.core.windows.net/c?sig=hunter2\"",
            "url = \"https://me:hunter2@a.blob.core.windows.net/c\"",
            "Password = \"hunter2\"",
            "lakes.main.sas-tkoen = \"hunter2\"",
            "account-k.ey = \"hunter2\"",
        ] {
            assert!(!shown(text).contains("hunter2"), "{text} → {}", shown(text));
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "account-key = \"env:LAKE_KEY\"",
            "account-key = \"file:secrets/key\"",
            "url = \"abfss://exports@contoso.dfs.core.windows.net/product/\"",
            "granularity = \"hour\"",
            "kinds = [\"a?b\"]",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn a_broken_line_hides_all_that_could_be_a_secret() {
        let hidden = |text: &str| broken_line(text, text.rfind('\n').map_or(0, |at| at + 1)..text.len());
        let text = "account-k\"ey = \"\"hunter2\"";
        assert_eq!(hidden(text), Some(0..text.len()));
        assert_eq!(hidden("[lakes.main]\nsession- oken = 'hunter2'"), Some(28..38));
        assert_eq!(hidden("[lakes.main]\nhunter2\"\"\""), Some(13..23));
        assert_eq!(hidden("[lakes.main]\nurl = ./lake"), None);
        assert_eq!(hidden("[lakes.main]\n[lakes"), None);
        assert_eq!(hidden("[sources.s]\nfiles = signals/*.ndjson"), None);
    }

    proptest::proptest! {
        #[test]
        fn every_span_is_text(text in "([a-z =\"'\n?:/@é\\\\]|account-key){0,60}") {
            for span in secrets(&text) {
                proptest::prop_assert!(text.get(span).is_some());
            }
        }
    }
}
