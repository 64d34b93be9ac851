//! The records that are dead letters, when a period is exported again.

use std::collections::{HashMap, HashSet};

use crate::commit::letters::{self, Letter};
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::plan::{Envelope, RecordKey};
use crate::record::Share;
use crate::source::Position;
use crate::telemetry::human;

/// The most dead letters that are looked at: they are held in memory.
const MOST: usize = 1 << 20;

/// The dead letters of an export, by their records.
#[derive(Debug, Default)]
pub(super) struct Refused {
    records: HashMap<RecordKey, Rows>,
}

/// How many rows of a record are dead letters, and whether others were exported.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows {
    refused: u32,
    in_part: bool,
    /// Records that are dead letters as a whole: one of several rows has one letter that says so.
    whole: u32,
}

const CANNOT_TELL: &str = "replay the dead letters of that file (`lakeport replay`) or delete them, then run again: it cannot be told \
                           which records they are";

impl Refused {
    /// Reads the dead letters below `partition`, the folder of an export's partition, whose files were read up to `position`.
    ///
    /// # Errors
    /// Of kind `Lake`; of kind `Data` where it cannot be told which records they are.
    pub async fn read(lake: &Lake, partition: &str, position: &Position, envelope: Envelope) -> Result<Refused> {
        let mut refused = Refused::default();
        each(lake, partition, |letter| {
            if !position.cursors.iter().any(|cursor| *cursor.origin.name == *letter.origin && !cursor.copied) {
                let message =
                    format!("a dead letter is from `{}`, which has another name now or is gone", letter.origin);
                return Err(Error::new(Kind::Data, message).with_help(CANNOT_TELL));
            }
            let rows = refused.records.entry(key(&letter, envelope)).or_default();
            rows.refused += 1;
            rows.in_part |= letter.share == Share::Part;
            rows.whole += u32::from(letter.share.is_whole());
            if refused.records.len() > MOST {
                let message = format!("there are more than {} dead letters", human::count(MOST as u64));
                return Err(Error::new(Kind::Data, message)
                    .with_help("replay them or delete them first (docs/dead-letters.md)"));
            }
            Ok(())
        })
        .await?;
        Ok(refused)
    }

    /// The records of which nothing was exported.
    pub fn whole(&self) -> HashSet<RecordKey> {
        self.records.iter().filter(|(_, rows)| !rows.in_part).map(|(key, _)| *key).collect()
    }

    /// How many dead letters there are.
    pub fn letters(&self) -> u64 {
        self.records.values().map(|rows| u64::from(rows.refused)).sum()
    }

    /// Every key, of which no record was met yet.
    pub fn unmet(&self) -> HashMap<RecordKey, u32> {
        self.records.keys().map(|key| (*key, 0)).collect()
    }

    /// Fails where fewer records were `met` than are dead letters below `partition`: another record is in the place of one.
    ///
    /// # Errors
    /// Of kind `Lake`; of kind `Data`, with the place of one.
    pub async fn check_met(
        &self,
        lake: &Lake,
        partition: &str,
        met: &HashMap<RecordKey, u32>,
        envelope: Envelope,
    ) -> Result<()> {
        let is_missing = |(key, rows): (&RecordKey, &Rows)| {
            let expected = if rows.in_part { 1 } else { rows.whole.max(1) };
            (met.get(key).copied().unwrap_or(0) < expected).then_some(*key)
        };
        let missing: HashSet<_> = self.records.iter().filter_map(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut example = None;
        each(lake, partition, |letter| {
            if missing.contains(&key(&letter, envelope)) {
                example.get_or_insert(letter);
            }
            Ok(())
        })
        .await?;
        let place = example.map_or_else(String::new, |Letter { origin, offset, .. }| {
            format!(
                "; one was in `{origin}` at {offset}: that file was renamed or replaced since, or the letter was edited"
            )
        });
        let message = format!(
            "the records of {} dead letters are not where they were{place}",
            human::count(missing.len() as u64)
        );
        Err(Error::new(Kind::Data, message).with_help(CANNOT_TELL))
    }

    /// Fails where a dead letter below `partition` is of a record, or of a row of it, that was none before.
    ///
    /// # Errors
    /// Of kind `Lake`; of kind `Data`, with the reason and the place of one.
    pub async fn cover(&self, lake: &Lake, partition: &str, envelope: Envelope) -> Result<()> {
        let (mut more, mut example) = (0, None);
        let mut rows = HashMap::new();
        each(lake, partition, |letter| {
            if !self.takes(&letter, envelope, &mut rows) {
                more += 1;
                example.get_or_insert(letter);
            }
            Ok(())
        })
        .await?;
        let Some(Letter { reason, origin, offset, .. }) = example else { return Ok(()) };
        let message = format!(
            "{} records were no dead letters before and are refused now; one of them, in `{origin}` at {offset}: {reason}",
            human::count(more)
        );
        Err(Error::new(Kind::Data, message).with_help(
            "correct the configuration or the plugin, then run again; where their dead letters were deleted, or edited and then \
             replayed, `lakeport run --again` without `--period` exports everything again (what was edited as the source has it)",
        ))
    }

    /// Whether a letter is of what was refused before. `rows` counts the letters of records in parts.
    fn takes(&self, letter: &Letter, envelope: Envelope, rows: &mut HashMap<RecordKey, u32>) -> bool {
        let key = key(letter, envelope);
        match self.records.get(&key) {
            None => false,
            Some(before) if !before.in_part => true,
            // No more rows than were refused, and others are exported still.
            Some(before) => {
                let rows = rows.entry(key).or_default();
                *rows += 1;
                letter.share == Share::Part && *rows <= before.refused
            }
        }
    }
}

fn key(letter: &Letter, envelope: Envelope) -> RecordKey {
    RecordKey::new(envelope, &letter.origin, letter.offset, &letter.record().raw)
}

/// Calls `take` with every dead letter below the folder of a partition.
async fn each(lake: &Lake, partition: &str, mut take: impl FnMut(Letter) -> Result<()>) -> Result<()> {
    let folder = letters::folder(partition);
    for meta in lake.list(&folder).await? {
        if !letters::is_letters(&folder, &meta.key) {
            continue;
        }
        let Some(object) = lake.get(&meta.key).await? else { continue };
        for line in object.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let letter = serde_json::from_slice(line).map_err(|_| {
                let message =
                    format!("`{}` has a line that is no dead letter: somebody has edited it", lake.url(&meta.key));
                Error::new(Kind::Data, message).with_help("correct the line or take it out, then run again")
            })?;
            take(letter)?;
        }
    }
    Ok(())
}
