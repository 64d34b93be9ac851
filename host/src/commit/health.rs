//! The state of an export, for `lakeport status` in other processes: one small object beside the log.
//!
//! Written when it changes and never read by the protocol: losing it loses a notice, and nothing else.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::entry::nonce;
use super::log::partition_folder;
use super::presence::Author;
use crate::error::Result;
use crate::lake::Lake;

/// The most bytes of a reason that are kept.
const MAX_REASON: usize = 2_000;

/// The state of an export, as the last process that ran it wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Health {
    pub state: State,
    /// When it came into this state.
    pub since: DateTime<Utc>,
    /// Why, where it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Host and process that noted it.
    pub writer: String,
    /// The nonce of the run that noted it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nonce::optional")]
    pub owner: Option<u128>,
    /// The process and its interval, by which others tell whether it is at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// The last owner that is known to have ended; kept by those who note something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// When it was last written, by the store's clock.
    #[serde(skip)]
    pub noted: Option<DateTime<Utc>>,
}

/// An owner that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ended {
    #[serde(with = "nonce")]
    pub owner: u128,
    /// Everything that it, or an owner before it, committed is published, and what was staged for it is cleaned up.
    pub is_published: bool,
}

/// A state of [`Health`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is at work.
    Healthy,
    /// It waits for another owner to end.
    Standby,
    /// A follower failed and will try again.
    Waiting,
    /// A run ended with an error.
    Failed,
    /// Another process took over.
    Replaced,
    /// The last run ended well.
    Ended,
    /// It was at work, and has given no sign of life for too long. Never written: it is what readers make of an old note.
    Silent,
}

impl State {
    /// The state as people read it.
    pub const fn name(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Standby => "standby",
            State::Waiting => "waiting",
            State::Failed => "failed",
            State::Replaced => "replaced",
            State::Ended => "ended",
            State::Silent => "silent",
        }
    }
}

impl Health {
    /// Reads what was noted of a partition; `None` where nothing was, or nothing that this version understands.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn read(lake: &Lake, export: &str, partition: &str) -> Result<Option<Health>> {
        read(lake, &key(lake, export, partition)).await
    }

    /// Notes it, in the place of what was noted before. A long reason is cut.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn write(self, lake: &Lake, export: &str, partition: &str) -> Result<()> {
        self.write_to(lake, &key(lake, export, partition)).await
    }

    /// Reads what the process noted that waits for the owner to end; `None` where there is none.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn read_standby(lake: &Lake, export: &str, partition: &str) -> Result<Option<Health>> {
        read(lake, &standby_key(lake, export, partition)).await
    }

    /// Notes that this process waits for the owner to end. The owner's own note stays as it is.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn write_standby(self, lake: &Lake, export: &str, partition: &str) -> Result<()> {
        self.write_to(lake, &standby_key(lake, export, partition)).await
    }

    /// Notes that it waits no longer.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn clear_standby(lake: &Lake, export: &str, partition: &str) -> Result<()> {
        lake.delete(&standby_key(lake, export, partition)).await
    }

    async fn write_to(mut self, lake: &Lake, key: &str) -> Result<()> {
        if let Some(reason) = &mut self.reason {
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
        }
        let bytes = serde_json::to_vec(&self).expect("strings, numbers and times");
        lake.replace(key, bytes.into()).await
    }
}

async fn read(lake: &Lake, key: &str) -> Result<Option<Health>> {
    let Some(object) = lake.get(key).await? else { return Ok(None) };
    let health: Option<Health> = serde_json::from_slice(&object.bytes).ok();
    Ok(health.map(|health| Health { noted: Some(object.modified), ..health }))
}

fn key(lake: &Lake, export: &str, partition: &str) -> String {
    format!("{}/health.json", partition_folder(lake, export, partition))
}

fn standby_key(lake: &Lake, export: &str, partition: &str) -> String {
    format!("{}/standby.json", partition_folder(lake, export, partition))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn the_last_note_counts() {
        let lake = Lake::with_store(Arc::new(InMemory::new()), "health", "_lakeport");
        let health = |state, reason: Option<String>| {
            let ended = Some(Ended { owner: u128::MAX, is_published: true });
            let (writer, owner, author) = ("host:1".into(), Some(7), Some(Author { process: None, interval: 60 }));
            Health { state, since: DateTime::UNIX_EPOCH, reason, writer, owner, author, ended, noted: None }
        };
        assert_eq!(Health::read(&lake, "e", "0").await.unwrap(), None);
        health(State::Healthy, None).write(&lake, "e", "0").await.unwrap();
        let written = health(State::Waiting, Some("ä".repeat(MAX_REASON)));
        written.clone().write(&lake, "e", "0").await.unwrap();
        let read = Health::read(&lake, "e", "0").await.unwrap().unwrap();
        assert_eq!(read.reason.as_ref().unwrap().len(), MAX_REASON);
        assert!(read.noted.is_some());
        assert_eq!(read, Health { reason: read.reason.clone(), noted: read.noted, ..written });
    }

    #[tokio::test]
    async fn a_note_of_an_earlier_version_is_understood() {
        let lake = Lake::with_store(Arc::new(InMemory::new()), "old-health", "_lakeport");
        let old = r#"{"state":"healthy","since":"2019-09-10T11:12:13Z","writer":"host:1"}"#;
        lake.replace(&key(&lake, "e", "0"), old.into()).await.unwrap();
        let read = Health::read(&lake, "e", "0").await.unwrap().unwrap();
        assert_eq!((read.state, read.owner, read.author, read.ended), (State::Healthy, None, None, None));
    }

    #[tokio::test]
    async fn a_standby_has_a_note_of_its_own() {
        let lake = Lake::with_store(Arc::new(InMemory::new()), "standby", "_lakeport");
        let (state, writer) = (State::Standby, "host:2".to_owned());
        let (since, reason, owner, author, ended, noted) = (DateTime::UNIX_EPOCH, None, None, None, None, None);
        let standby = Health { state, since, reason, writer, owner, author, ended, noted };
        standby.write_standby(&lake, "e", "0").await.unwrap();
        assert_eq!(Health::read(&lake, "e", "0").await.unwrap(), None);
        assert_eq!(Health::read_standby(&lake, "e", "0").await.unwrap().unwrap().writer, "host:2");
        Health::clear_standby(&lake, "e", "0").await.unwrap();
        assert_eq!(Health::read_standby(&lake, "e", "0").await.unwrap(), None);
    }
}
