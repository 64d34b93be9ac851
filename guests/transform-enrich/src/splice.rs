//! A member added to a JSON object's text, or replaced in it; all other bytes stay.
//!
//! The text is valid JSON, which the host has checked: what is looked for is where the top level's members begin and end. On
//! text that is none, places are wrong, and nothing worse.

use lakeport_plugin::serde_json;

use crate::quoted;

/// The text of a JSON object.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    text: &'a [u8],
    /// Behind the opening brace.
    first: usize,
}

impl<'a> Object<'a> {
    /// `None` where `json` is another value.
    pub fn new(json: &'a [u8]) -> Option<Self> {
        let start = skip_space(json, 0);
        (json.get(start) == Some(&b'{')).then_some(Object { text: json, first: start + 1 })
    }

    /// Writes the object to `out`, with `value` as what its member `name` is: in the place of what it was, or at the end.
    pub fn with_member(self, name: &str, value: &[u8], out: &mut Vec<u8>) {
        let text = self.text;
        let (mut at, mut copied, mut is_empty) = (skip_space(text, self.first), 0, true);
        while text.get(at) == Some(&b'"') {
            is_empty = false;
            let key = at..string_end(text, at);
            let colon = skip_space(text, key.end);
            let start = skip_space(text, colon + 1);
            let end = value_end(text, start);
            // A name may be there several times; readers differ in which one they take.
            if is_name(&text[key], name) {
                out.extend_from_slice(&text[copied..start]);
                out.extend_from_slice(value);
                copied = end;
            }
            at = skip_space(text, end);
            if text.get(at) == Some(&b',') {
                at = skip_space(text, at + 1);
            }
        }
        if copied == 0 {
            // `at` is where the closing brace is.
            out.extend_from_slice(&text[..at]);
            if !is_empty {
                out.push(b',');
            }
            out.extend_from_slice(quoted(name).as_bytes());
            out.push(b':');
            out.extend_from_slice(value);
            copied = at;
        }
        out.extend_from_slice(&text[copied..]);
    }
}

/// Whether the string `key`, quotes and escapes included, is `name`.
fn is_name(key: &[u8], name: &str) -> bool {
    match key.contains(&b'\\') {
        false => key.get(1..key.len() - 1) == Some(name.as_bytes()),
        true => serde_json::from_slice::<String>(key).is_ok_and(|key| key == name),
    }
}

fn skip_space(text: &[u8], from: usize) -> usize {
    let from = from.min(text.len());
    from + text[from..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// Behind the string whose opening quote is at `start`.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        match rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
            Some(next) if rest[next] == b'\\' => at += next + 2,
            Some(next) => return at + next + 1,
            None => return text.len(),
        }
    }
}

/// Behind the value that begins at `start`.
fn value_end(text: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(body: &str, name: &str, value: &str) -> String {
        let mut out = Vec::new();
        Object::new(body.as_bytes()).unwrap().with_member(name, value.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_new_member_comes_last_and_everything_else_stays() {
        for (body, expected) in [
            ("{}", r#"{"d":1}"#),
            (" { } ", r#" { "d":1} "#),
            (r#"{"a": 1.50}"#, r#"{"a": 1.50,"d":1}"#),
            (
                "{\"a\":\"}\\\"\",\r\n\t\"b\":[{\"d\":2},[]] }\n",
                "{\"a\":\"}\\\"\",\r\n\t\"b\":[{\"d\":2},[]] ,\"d\":1}\n",
            ),
            (r#"{"a":"d","dd":null,"":true}"#, r#"{"a":"d","dd":null,"":true,"d":1}"#),
        ] {
            assert_eq!(with(body, "d", "1"), expected);
        }
    }

    #[test]
    fn a_member_of_that_name_is_replaced_wherever_it_is() {
        for (body, expected) in [
            (r#"{"d":0}"#, r#"{"d":1}"#),
            (r#"{"d" : {"x":[1,"]"]} , "a":2}"#, r#"{"d" : 1 , "a":2}"#),
            (r#"{"a":2,"d":"old\\" }"#, r#"{"a":2,"d":1 }"#),
            (r#"{"d":-1e5,"a":{"d":3},"d":[]}"#, r#"{"d":1,"a":{"d":3},"d":1}"#),
            (r#"{"\u0064":null}"#, r#"{"\u0064":1}"#),
        ] {
            assert_eq!(with(body, "d", "1"), expected);
        }
    }

    #[test]
    fn names_are_escaped_where_they_are_new_and_found_where_they_are_not() {
        assert_eq!(with("{}", "a\"b\n", "1"), r#"{"a\"b\n":1}"#);
        assert_eq!(with(r#"{"a\"b\n":0}"#, "a\"b\n", "1"), r#"{"a\"b\n":1}"#);
        assert_eq!(with(r#"{"ä":0}"#, "ä", "1"), r#"{"ä":1}"#);
    }

    #[test]
    fn other_values_are_no_object() {
        for json in ["", "[{}]", "null", "\"{}\"", "7"] {
            assert!(Object::new(json.as_bytes()).is_none(), "{json}");
        }
    }

    #[test]
    fn text_that_is_cut_off_anywhere_does_no_harm() {
        let body = r#"{"a" : "x\"" , "d":[{"b":"\\"},-1e5] ,"c":null }"#;
        for end in 1..body.len() {
            with(&body[..end], "d", "1");
        }
    }

    #[test]
    fn the_result_reads_as_the_object_with_the_member() {
        for body in [r#"{"a":[1,{"b":"c"}],"d":{"e":[]},"f":"\\\""}"#, r#"{"x":1}"#, "{ }"] {
            let mut expected: serde_json::Value = serde_json::from_str(body).unwrap();
            expected["d"] = serde_json::json!({"name": "Küche"});
            let actual: serde_json::Value = serde_json::from_str(&with(body, "d", r#"{"name":"Küche"}"#)).unwrap();
            assert_eq!(actual, expected);
        }
    }
}
