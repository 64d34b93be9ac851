//! The state of an export, for `lakeport status` in other processes: one small object beside the log.
//!
//! Written when it changes and never read by the protocol: losing it loses a notice, and nothing else.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::log::partition_folder;
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
}

/// A state of [`Health`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A follower is at work.
    Healthy,
    /// A follower failed and will try again.
    Waiting,
    /// A run ended with an error.
    Failed,
    /// Another process took over.
    Replaced,
}

impl State {
    /// The state as people read it.
    pub const fn name(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Waiting => "waiting",
            State::Failed => "failed",
            State::Replaced => "replaced",
        }
    }
}

impl Health {
    /// Reads what was noted of a partition; `None` where nothing was, or nothing that this version understands.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn read(lake: &Lake, export: &str, partition: &str) -> Result<Option<Health>> {
        let object = lake.get(&key(lake, export, partition)).await?;
        Ok(object.and_then(|object| serde_json::from_slice(&object.bytes).ok()))
    }

    /// Notes it, in the place of what was noted before. A long reason is cut.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn write(mut self, lake: &Lake, export: &str, partition: &str) -> Result<()> {
        if let Some(reason) = &mut self.reason {
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
        }
        let bytes = serde_json::to_vec(&self).expect("strings and a time");
        lake.replace(&key(lake, export, partition), bytes.into()).await
    }

    /// Removes what was noted before `time`.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn clear(lake: &Lake, export: &str, partition: &str, time: DateTime<Utc>) -> Result<()> {
        match Health::read(lake, export, partition).await? {
            Some(health) if health.since < time => lake.delete(&key(lake, export, partition)).await,
            _ => Ok(()),
        }
    }
}

fn key(lake: &Lake, export: &str, partition: &str) -> String {
    format!("{}/health.json", partition_folder(lake, export, partition))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    fn health(state: State, since: i64, reason: Option<String>) -> Health {
        let since = DateTime::from_timestamp_micros(since).unwrap();
        Health { state, since, reason, writer: "host:1".into() }
    }

    #[tokio::test]
    async fn the_last_note_counts_until_it_is_cleared() {
        let lake = Lake::with_store(Arc::new(InMemory::new()), "health", "_lakeport");
        assert_eq!(Health::read(&lake, "e", "0").await.unwrap(), None);
        health(State::Healthy, 1, None).write(&lake, "e", "0").await.unwrap();
        health(State::Waiting, 2, Some("ä".repeat(MAX_REASON))).write(&lake, "e", "0").await.unwrap();
        let read = Health::read(&lake, "e", "0").await.unwrap().unwrap();
        assert_eq!((read.state, read.reason.unwrap().len()), (State::Waiting, MAX_REASON));
        let clear = |time| {
            let lake = lake.clone();
            async move { Health::clear(&lake, "e", "0", DateTime::from_timestamp_micros(time).unwrap()).await }
        };
        clear(2).await.unwrap();
        assert!(Health::read(&lake, "e", "0").await.unwrap().is_some(), "noted at that very time");
        clear(3).await.unwrap();
        assert_eq!(Health::read(&lake, "e", "0").await.unwrap(), None);
    }
}
