//! Dead letters as they stand in the lake: lines of JSON, published with the commit that refused them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::record::{DeadLetter, Share};

/// One refused record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Letter {
    pub reason: String,
    /// Where it was read: a file's path, `stdin`.
    pub origin: String,
    /// Its offset there.
    pub offset: u64,
    /// When it was refused: the commit's write time.
    pub time: String,
    /// The record's length, where less of it is kept. Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_from: Option<u64>,
    /// The bytes that came, where they are text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The bytes that came, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_base64: Option<String>,
    /// How much of the record it stands for.
    #[serde(default, skip_serializing_if = "Share::is_whole")]
    pub share: Share,
    /// When it was replayed: that commit's write time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<String>,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those only whose reason holds this text.
    pub reason: Option<String>,
    /// Those only that were refused at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Those only that were refused before this time.
    pub until: Option<DateTime<Utc>>,
}

impl Selection {
    /// Returns whether a dead letter is meant.
    pub fn takes(&self, letter: &Letter) -> bool {
        let time = || DateTime::parse_from_rfc3339(&letter.time).ok();
        self.reason.as_ref().is_none_or(|text| letter.reason.contains(text.as_str()))
            && self.since.is_none_or(|since| time().is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| time().is_some_and(|time| time < until))
    }
}

impl Letter {
    /// The letter for a record that was refused at `time`.
    pub fn new(letter: &DeadLetter, time: DateTime<Utc>) -> Self {
        let text = text_of(letter).map(str::to_owned);
        Letter {
            reason: letter.reason.clone(),
            origin: letter.origin.to_string(),
            offset: letter.offset,
            time: shown(time),
            cut_from: (letter.length > letter.raw.len() as u64).then_some(letter.length),
            record_base64: text.is_none().then(|| STANDARD.encode(&letter.raw)),
            record: text,
            share: letter.share,
            replayed: None,
        }
    }

    /// Appends the letter's line.
    pub fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(&mut *out, self).expect("a line of strings and numbers");
        out.push(b'\n');
    }

    /// The record that was refused. Base64 that was edited gives no bytes.
    pub fn record(&self) -> DeadLetter {
        let raw = match (&self.record, &self.record_base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).unwrap_or_default(),
            (None, None) => Vec::new(),
        };
        DeadLetter {
            reason: self.reason.clone(),
            origin: self.origin.as_str().into(),
            offset: self.offset,
            number: 0,
            length: self.cut_from.unwrap_or(raw.len() as u64),
            raw: raw.into(),
            share: self.share,
        }
    }
}

/// A time as letters have it.
pub fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A time as the names of objects have it.
pub fn named(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true).replace(':', "")
}

/// The record as text; of one that was cut, without a character that the cut went through.
fn text_of(letter: &DeadLetter) -> Option<&str> {
    match std::str::from_utf8(&letter.raw) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() && letter.length > letter.raw.len() as u64 => {
            std::str::from_utf8(&letter.raw[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

/// The folder of a partition's dead letters, below the partition's folder.
pub fn folder(partition: &str) -> String {
    format!("{partition}/dead-letters")
}

/// Whether `key` is an object of letters that Lakeport wrote into `folder`, by its name: copies that somebody made are none.
pub fn is_letters(folder: &str, key: &str) -> bool {
    let name = key.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| name.ends_with(".ndjson") && !name.starts_with('.') && !name.contains('/'))
}

/// The folder of those that were replayed.
pub fn replayed_folder(partition: &str) -> String {
    format!("{partition}/replayed-letters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_somebody_made_are_no_letters() {
        let inside = folder("l/e/0");
        assert!(is_letters(&inside, &format!("{inside}/2026-11-30T100000.000000Z.ndjson")));
        for name in ["/x.ndjson~", "/x.ndjson.bak", "/old/x.ndjson", "/.x.ndjson", "x.ndjson", ""] {
            assert!(!is_letters(&inside, &format!("{inside}{name}")), "{name}");
        }
    }
}
