//! Comments of a configuration that is carried elsewhere: those that could hold a secret are left out.

use std::ops::Range;

use super::mask;

/// A right configuration's text, with `***` in place of each comment that could hold a secret. Comments on lines that follow each other
/// are one: a secret may stand below the line that tells of it.
pub fn without_secrets(text: &str) -> String {
    let comments = comments(text);
    let mut without = String::with_capacity(text.len());
    let mut copied = 0;
    for one in comments.chunk_by(|one, next| go_on(&text[one.end..next.start])) {
        if one.iter().any(|line| mask::could_hold_a_secret(&text[line.clone()])) {
            for line in one {
                without += &text[copied..line.start];
                without += " ***";
                copied = line.end;
            }
        }
    }
    without + &text[copied..]
}

/// Whether comments with this between them are on lines that follow each other, with nothing before the second.
fn go_on(between: &str) -> bool {
    between.matches('\n').count() == 1 && between.trim() == "#"
}

/// The spans of the comments of `text`, which is TOML: what stands behind each `#`, to the line's end.
fn comments(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find(['#', '"', '\'']) {
        at += next;
        let rest = &text[at..];
        if let Some(comment) = rest.strip_prefix('#') {
            let length = comment.find('\n').unwrap_or(comment.len());
            let length = comment[..length].trim_end_matches('\r').len();
            found.push(at + 1..at + 1 + length);
            at += 1 + length;
        } else {
            at += length_of_text(rest);
        }
    }
    found
}

/// How long the TOML text is that `rest` starts with, with its quotes.
fn length_of_text(rest: &str) -> usize {
    let quote = &rest[..1];
    let long = quote.repeat(3);
    let delimiter = if rest.starts_with(&long) { &long } else { quote };
    let mut end = delimiter.len();
    while !rest[end..].starts_with(delimiter) {
        let escaped = quote == "\"" && rest[end..].starts_with('\\');
        let Some(width) = rest[end..].chars().take(1 + usize::from(escaped)).map(char::len_utf8).reduce(|a, b| a + b)
        else {
            return end;
        };
        end += width;
    }
    end += delimiter.len();
    // Text over several lines may itself end in one or two quotes.
    let more = rest[end..].bytes().take(2).take_while(|byte| *byte == quote.as_bytes()[0]).count();
    if delimiter.len() == 3 { end + more } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_comment_is_left_out_however_it_is_written() {
        for comment in [
            "account-key = \"hunter2\"",
            "password: hunter2",
            "the password is hunter2",
            "Pwd hunter2",
            "acount-kye = hunter2",
            "account-key is:\n# hunter2",
            "hunter2\n#\n# is the token",
            "https://a.blob.core.windows.net/c?sig=hunter2",
            "see https://me:hunter2@example.com/",
            "token = \"\"\"hunter2",
        ] {
            let text = format!("a = 1 # {comment}\nb = 2\n# {comment}\r\nc = 3\n# {comment}");
            let lines = text.lines().count();
            // Behind a value, a comment ends with its line or goes on below it.
            let without = without_secrets(&text);
            assert!(!without.contains("hunter2"), "{comment}: {without}");
            assert_eq!(without.parse::<toml::Table>().unwrap(), text.parse::<toml::Table>().unwrap());
            assert_eq!(without.lines().count(), lines, "{comment}: {without}");
        }
    }

    #[test]
    fn settings_and_other_comments_stay() {
        for text in [
            "# Our feed: every hour, 100 % of it.\nurl = \"./x\" # development\n",
            "sas-token = \"env:TOKEN\"\nfilters = [{ plugin = \"p\", key = \"/id\" }]\n",
            "a = \"# password: x\" # b\n\"# token\" = '# key \\'\n",
            "a = \"\\\"# key\"\nb = \"\"\"\n# key \\\"\"\"\n# key\"\"\"\"\"\nc = '''\n# key'' # key''''\nd = \"\"\n",
        ] {
            text.parse::<toml::Table>().unwrap();
            assert_eq!(without_secrets(text), text);
        }
        let text = "# One.\n\n# The token: hunter2\r\na = 1 # Two.\n";
        assert_eq!(without_secrets(text), "# One.\n\n# ***\r\na = 1 # Two.\n");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[a#\"'\\\\é\n\r=:k ]{0,40}") {
            without_secrets(&text);
        }
    }
}
