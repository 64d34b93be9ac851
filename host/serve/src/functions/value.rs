//! Values of the Functions host: JSON, or texts that contain JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::InvalidInvocation;

/// The members of an object, each as it came.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Members<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    /// Returns a member; `null` is none.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.get()).filter(|value| *value != "null")
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }
}

/// Returns the JSON that a value is: as it came, or what its text contains.
pub(super) fn json<'a>(value: &'a str) -> Cow<'a, str> {
    match serde_json::from_str::<Cow<'a, str>>(value) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() => Cow::Owned(text.into_owned()),
        _ => Cow::Borrowed(value),
    }
}

/// Returns the text that a value is: a JSON string, or one in a text; of any other value, its JSON.
pub(super) fn text(value: &str) -> String {
    let Ok(text) = serde_json::from_str::<String>(value) else { return value.to_owned() };
    serde_json::from_str::<String>(&text).unwrap_or(text)
}

/// Parses a value as `T`, in either form.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(name: &str, value: &str) -> Result<T, InvalidInvocation> {
    // As it came first: a text is wanted as such.
    let first = match serde_json::from_str(value) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    serde_json::from_str(&json(value)).map_err(|_| InvalidInvocation(format!("`{name}`: {first}")))
}

/// Parses an instant: RFC 3339, or without a zone, which is UTC. The first instant that there is stands for none.
pub(super) fn instant(name: &str, text: &str) -> Result<Option<DateTime<Utc>>, InvalidInvocation> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let time =
        zoned.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc()));
    match time {
        Ok(time) => Ok(Some(time).filter(|time| time.timestamp() > -62_135_596_800 + 86_400)),
        Err(_) => Err(InvalidInvocation(format!(
            "`{name}` is `{}`, expected a time like `2026-11-21T00:00:08.225`",
            text.escape_debug()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_or_texts_that_contain_it() {
        assert_eq!(json(r#""[1,2]""#), "[1,2]");
        assert_eq!(json("[1,2]"), "[1,2]");
        assert_eq!(json(r#""abc""#), r#""abc""#);
        assert_eq!(text(r#""abc""#), "abc");
        assert_eq!(text(r#""\"abc\"""#), "abc");
        assert_eq!(text(r#""{\"a\":1}""#), r#"{"a":1}"#);
        assert_eq!(text(r#"{"a":1}"#), r#"{"a":1}"#);
        assert_eq!(parse::<u32>("n", "1"), Ok(1));
        assert_eq!(parse::<u32>("n", r#""1""#), Ok(1));
        assert_eq!(parse::<String>("n", r#""1""#), Ok("1".to_owned()));
        assert!(parse::<u32>("n", r#""x""#).unwrap_err().0.starts_with("`n`: invalid type"));
    }

    #[test]
    fn times_without_a_zone_are_utc() {
        let time = |text| instant("t", text).map(|time| time.map(|time| time.to_rfc3339()));
        assert_eq!(time("2026-11-21T00:00:08.225").unwrap().unwrap(), "2026-11-21T00:00:08.225+00:00");
        assert_eq!(time("2026-11-21T00:00:08Z").unwrap().unwrap(), "2026-11-21T00:00:08+00:00");
        assert_eq!(time("2026-11-21T01:00:08+01:00").unwrap().unwrap(), "2026-11-21T00:00:08+00:00");
        assert_eq!(time("0001-01-01T00:00:00"), Ok(None));
        assert!(time("yesterday").is_err());
    }
}
