//! CloudEvents in binary mode: attributes in `ce-*` headers, the body is the data.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode;
use serde_json::value::RawValue;

use super::content::MediaType;
use crate::answer::{Problem, Reason};
use crate::escape::Escaped;

/// The attributes of an event in binary mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BinaryEvent {
    attributes: BTreeMap<String, String>,
    /// The data is JSON: its type says so, or there is none.
    is_json: bool,
    content_type: Option<String>,
}

impl BinaryEvent {
    /// Reads the attributes. Their values are unquoted and percent-decoded once, as the binding for HTTP says.
    pub(super) fn of(headers: &HeaderMap, media: Option<&MediaType>) -> Result<BinaryEvent, Problem> {
        let mut attributes = BTreeMap::new();
        for (name, value) in headers {
            let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
            let shown = Escaped(name.as_str().as_bytes());
            if attribute.is_empty() || !attribute.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            {
                return Err(invalid(format!(
                    "the header `{shown}` is no attribute: its name has letters and digits only"
                )));
            }
            if matches!(attribute, "data" | "datacontenttype") {
                return Err(invalid(format!(
                    "the header `{shown}` is no attribute: the body is the data, `Content-Type` its type"
                )));
            }
            let value = decode(value).map_err(|detail| invalid(format!("the header `{shown}` {detail}")))?;
            if attributes.insert(attribute.to_owned(), value).is_some() {
                return Err(invalid(format!("the header `{shown}` is there twice")));
            }
        }
        let is_json = media.is_none_or(MediaType::is_json);
        if let Some(media) = media
            && is_json
        {
            media.refuse_charset()?;
        }
        Ok(BinaryEvent { attributes, is_json, content_type: media.map(|media| media.text.clone()) })
    }

    /// Returns the event in structured JSON, on one line. It is checked like any other event.
    pub(super) fn to_structured(&self, data: &[u8]) -> Result<Vec<u8>, String> {
        let mut event = Vec::with_capacity(data.len() * 4 / 3 + 512);
        let mut member = |name: &str, value: &[u8]| {
            event.push(if event.is_empty() { b'{' } else { b',' });
            event.extend_from_slice(to_json(name).as_bytes());
            event.push(b':');
            event.extend_from_slice(value);
        };
        for (name, value) in &self.attributes {
            member(name, to_json(value).as_bytes());
        }
        if let Some(content_type) = &self.content_type {
            member("datacontenttype", to_json(content_type).as_bytes());
        }
        match data {
            [] => {}
            data if self.is_json => {
                let value: &RawValue = serde_json::from_slice(data).map_err(|error| match self.content_type {
                    Some(_) => format!("the data is not JSON, as `Content-Type` says: {error}"),
                    None => format!("the data is not JSON, which data without a `Content-Type` is: {error}"),
                })?;
                member("data", value.get().as_bytes());
            }
            data => member("data_base64", to_json(&STANDARD.encode(data)).as_bytes()),
        }
        event.push(b'}');
        Ok(event)
    }
}

/// Unquotes and percent-decodes a value.
fn decode(value: &HeaderValue) -> Result<String, &'static str> {
    let value = value.as_bytes();
    let unquoted = match value {
        [b'"', inner @ .., b'"'] => {
            let mut unquoted = Vec::with_capacity(inner.len());
            let mut bytes = inner.iter();
            while let Some(&byte) = bytes.next() {
                match byte {
                    b'\\' => unquoted.push(*bytes.next().ok_or("ends with a backslash")?),
                    b'"' => return Err("has a quote in quotes"),
                    byte => unquoted.push(byte),
                }
            }
            unquoted
        }
        value => value.to_vec(),
    };
    let decoded = percent_decode(&unquoted).collect();
    String::from_utf8(decoded).map_err(|_| "is not UTF-8 once it is percent-decoded")
}

fn to_json(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

fn invalid(detail: String) -> Problem {
    Problem::new(Reason::InvalidRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(headers: &[(&'static str, &[u8])]) -> Result<BinaryEvent, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let json = MediaType { essence: "application/json".into(), charset: None, text: "application/json".into() };
        BinaryEvent::of(&map, Some(&json))
    }

    fn structured(headers: &[(&'static str, &[u8])], data: &[u8]) -> String {
        String::from_utf8(event(headers).unwrap().to_structured(data).unwrap()).unwrap()
    }

    #[test]
    fn values_are_unquoted_and_percent_decoded_once() {
        assert_eq!(
            structured(&[("ce-a", b"Euro%20%E2%82%AC%2520")], b""),
            r#"{"a":"Euro €%20","datacontenttype":"application/json"}"#
        );
        assert_eq!(
            structured(&[("ce-a", br#""x \"y\" %41""#)], b""),
            r#"{"a":"x \"y\" A","datacontenttype":"application/json"}"#
        );
        assert_eq!(structured(&[("ce-a", b"100%")], b""), r#"{"a":"100%","datacontenttype":"application/json"}"#);
        for wrong in [&b"%ff"[..], b"%ED%A0%80", br#""a"b""#, br#""\""#] {
            assert_eq!(event(&[("ce-a", wrong)]).unwrap_err().reason, Reason::InvalidRequest, "{}", Escaped(wrong));
        }
    }

    #[test]
    fn attributes_are_not_taken_from_elsewhere() {
        for wrong in ["ce-data", "ce-datacontenttype", "ce-a-b", "ce-a_b", "ce-"] {
            assert!(event(&[(wrong, b"x")]).is_err(), "{wrong}");
        }
        let twice = event(&[("ce-id", b"1"), ("ce-id", b"1")]).unwrap_err();
        assert_eq!(twice.detail, "the header `ce-id` is there twice");
    }

    #[test]
    fn data_is_json_or_base64() {
        assert_eq!(
            structured(&[("ce-id", b"1")], b" [1.0e400] "),
            r#"{"id":"1","datacontenttype":"application/json","data":[1.0e400]}"#
        );
        let problem = event(&[("ce-id", b"1")]).unwrap().to_structured(b"{").unwrap_err();
        assert!(problem.starts_with("the data is not JSON"), "{problem}");
        let bytes = BinaryEvent { attributes: BTreeMap::new(), is_json: false, content_type: Some("image/png".into()) };
        let event = bytes.to_structured(b"\xff\0").unwrap();
        assert_eq!(event, br#"{"datacontenttype":"image/png","data_base64":"/wA="}"#);
        let none = BinaryEvent { attributes: BTreeMap::new(), is_json: true, content_type: None };
        assert_eq!(none.to_structured(b"1").unwrap(), br#"{"data":1}"#);
    }
}
