//! Who is at work on a partition, as far as another process can tell: signs of life, and how they are judged.
//!
//! An owner's newest log entry is a sign, and so is its note (`health.rs`), which it renews while it has nothing to commit.
//! Judging them keeps two owners from fencing each other for ever; that nothing is exported twice is the fence's work alone.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::health::{Health, State};
use super::process::{self, Process};

/// The longest and the shortest time between two signs of life.
const LONGEST: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(10);

/// How to recognise an owner that is at work. Entries and notes of earlier versions do not say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Author {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "process::text")]
    pub process: Option<Process>,
    /// The time between two signs of life, in seconds.
    pub interval: u64,
}

impl Author {
    /// This process, for an export that is flushed `every` so often.
    pub fn this(every: Duration) -> Self {
        Author { process: Process::this().cloned(), interval: every.clamp(SHORTEST, LONGEST).as_secs() }
    }

    /// The time between two signs of life.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval)
    }

    /// Without a sign for this long, an owner is taken for dead.
    pub fn patience(&self) -> Duration {
        self.interval().saturating_mul(2)
    }
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// The owner's nonce.
    pub owner: u128,
    /// Host and process, for people.
    pub writer: String,
    pub author: Author,
    /// When it was given, by the store's clock.
    pub time: DateTime<Utc>,
}

impl Sign {
    /// The sign that a log entry is; `None` for one of an earlier version.
    pub fn of_entry(entry: &Entry, time: DateTime<Utc>) -> Option<Self> {
        let (owner, writer, author) = match entry {
            Entry::Fence(fence) => (fence.nonce, &fence.writer, &fence.author),
            Entry::Commit(commit) => (commit.nonce, &commit.writer, &commit.author),
        };
        Some(Sign { owner, writer: writer.clone(), author: author.clone()?, time })
    }

    /// The sign that a note is, where its writer is at work.
    fn of_note(note: &Health) -> Option<Self> {
        let (owner, author) = (note.owner?, note.author.clone()?);
        let sign = Sign { owner, writer: note.writer.clone(), author, time: note.noted? };
        // One that waits for its store is at work, unless it said that it ended.
        let waits = note.state == State::Waiting && note.ended.is_none_or(|ended| ended.owner != owner);
        (note.state == State::Healthy || waits).then_some(sign)
    }

    /// How long ago it was given.
    pub fn age(&self, now: DateTime<Utc>) -> Duration {
        (now - self.time).to_std().unwrap_or_default()
    }
}

/// The sign of another process that is at work, the newest where there are several.
///
/// `entry`: of the newest log entry; `now`: by the store's clock.
pub fn at_work(entry: Option<&Sign>, note: Option<&Health>, now: DateTime<Utc>) -> Option<Sign> {
    let has_ended = |sign: &&Sign| note.and_then(|note| note.ended).is_some_and(|ended| ended.owner == sign.owner);
    let of_entry = entry.filter(|sign| !has_ended(sign)).cloned();
    let of_note = note.and_then(Sign::of_note);
    let signs = of_entry.into_iter().chain(of_note);
    signs.filter(|sign| is_at_work(sign, now)).max_by_key(|sign| sign.time)
}

fn is_at_work(sign: &Sign, now: DateTime<Utc>) -> bool {
    let process = sign.author.process.as_ref();
    let is_this = process.is_some() && process == Process::this();
    !is_this && sign.age(now) < sign.author.patience() && !process.is_some_and(Process::is_gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::health::Ended;

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
    }

    /// A sign of a process on another machine.
    fn sign(owner: u128, at: i64) -> Sign {
        let author = Author { process: None, interval: 60 };
        Sign { owner, writer: "host:1".into(), author, time: time(at) }
    }

    fn note(state: State, owner: u128, at: i64) -> Health {
        let Sign { writer, author, time, .. } = sign(owner, at);
        let (owner, author) = (Some(owner), Some(author));
        Health { state, since: time, reason: None, writer, owner, author, ended: None, noted: Some(time) }
    }

    fn owner(entry: Option<&Sign>, note: Option<&Health>, now: i64) -> Option<u128> {
        at_work(entry, note, time(now)).map(|sign| sign.owner)
    }

    #[test]
    fn an_owner_is_at_work_until_it_is_silent_for_two_intervals() {
        assert_eq!(owner(None, None, 0), None);
        assert_eq!(owner(Some(&sign(1, 0)), None, 119), Some(1));
        assert_eq!(owner(Some(&sign(1, 0)), None, 120), None);
        assert_eq!(owner(Some(&sign(1, 30)), None, 0), Some(1), "given a moment after the time was asked for");
        let follower = note(State::Healthy, 1, 1_000);
        assert_eq!(owner(Some(&sign(1, 0)), Some(&follower), 1_119), Some(1), "it has nothing to commit");
        assert_eq!(owner(Some(&sign(1, 0)), Some(&follower), 1_120), None);
    }

    #[test]
    fn an_owner_that_has_ended_is_not_at_work() {
        for (state, is_published) in [(State::Ended, true), (State::Failed, false), (State::Waiting, false)] {
            let ended = Some(Ended { owner: 1, is_published });
            let note = Health { ended, ..note(state, 1, 10) };
            assert_eq!(owner(Some(&sign(1, 0)), Some(&note), 20), None, "{state:?}");
            assert_eq!(owner(Some(&sign(2, 5)), Some(&note), 20), Some(2), "another one came after it");
        }
        let follower = Health { ended: Some(Ended { owner: 1, is_published: true }), ..note(State::Healthy, 3, 10) };
        assert_eq!(owner(Some(&sign(1, 0)), Some(&follower), 20), Some(3), "one that has committed nothing yet");
    }

    #[test]
    fn this_process_and_those_that_have_died_here_are_not_at_work() {
        let this = Author::this(Duration::from_secs(1));
        assert_eq!(this.interval, 10);
        assert_eq!(owner(Some(&Sign { author: this.clone(), ..sign(1, 0) }), None, 1), None);
        let process = this.process.unwrap().to_string();
        let (before, started) = process.rsplit_once(' ').unwrap();
        let died = format!("{before} {}", started.parse::<u64>().unwrap() + 1).parse().ok();
        assert_eq!(owner(Some(&Sign { author: Author { process: died, interval: 60 }, ..sign(1, 0) }), None, 1), None);
        let elsewhere = format!("another{process}").parse().ok();
        let elsewhere = Sign { author: Author { process: elsewhere, interval: 60 }, ..sign(1, 0) };
        assert_eq!(owner(Some(&elsewhere), None, 1), Some(1));
    }
}
