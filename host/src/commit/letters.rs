//! Dead letters as they stand in the lake: lines of JSON, published with the commit that refused them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::record::DeadLetter;

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
    /// The bytes that came, where they are text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The bytes that came, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_base64: Option<String>,
}

impl Letter {
    /// The letter for a record that was refused at `time`.
    pub fn new(letter: &DeadLetter, time: DateTime<Utc>) -> Self {
        let text = std::str::from_utf8(&letter.raw).ok().map(str::to_owned);
        Letter {
            reason: letter.reason.clone(),
            origin: letter.origin.to_string(),
            offset: letter.offset,
            time: time.to_rfc3339_opts(SecondsFormat::Millis, true),
            record_base64: text.is_none().then(|| STANDARD.encode(&letter.raw)),
            record: text,
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
            raw: raw.into(),
        }
    }
}

/// The folder of a partition's dead letters, below the partition's folder.
pub fn folder(partition: &str) -> String {
    format!("{partition}/dead-letters")
}
