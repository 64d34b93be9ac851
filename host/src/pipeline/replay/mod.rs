//! Dead letters go through their export once more.
//!
//! A replay is a run of the export whose source yields the records of dead letters (`reader.rs`). The commit that makes their files
//! final also moves the letters: it makes the objects that held them superfluous, and writes those that were refused again, those that
//! were not tried, and those that are replayed now, each to an object of its own (`object.rs`). So a letter and what came of it move
//! together, and recovery is that of any commit. The position of the export's own source stays as it is.

mod object;
mod reader;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::commit::letters::Selection;

pub use object::{LetterObject, Outcome};
pub use reader::{Letters, Shared};

/// What a replay is told.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    pub selection: Selection,
    /// Only find out what would become of the letters.
    pub dry_run: bool,
}

/// What became of dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Replayed {
    /// Those that are dead letters no longer.
    pub replayed: u64,
    /// Those that were refused again.
    pub refused: u64,
    /// Those that cannot be tried.
    pub impossible: u64,
    /// Why letters were refused again, and how many.
    pub reasons: BTreeMap<String, u64>,
    /// Why letters cannot be tried, and how many.
    pub impossible_reasons: BTreeMap<String, u64>,
}

/// Reasons of one report that are told apart: they may name values of records.
const MOST_REASONS: usize = 100;

impl Replayed {
    /// Counts letters that were refused again.
    pub fn refuse(&mut self, reason: &str, letters: u64) {
        self.refused += letters;
        add(&mut self.reasons, reason, letters);
    }

    /// Counts letters that cannot be tried.
    pub fn pass_over(&mut self, reason: &str, letters: u64) {
        self.impossible += letters;
        add(&mut self.impossible_reasons, reason, letters);
    }

    /// Adds what became of others.
    pub fn add(&mut self, other: &Replayed) {
        self.replayed += other.replayed;
        other.reasons.iter().for_each(|(reason, letters)| self.refuse(reason, *letters));
        other.impossible_reasons.iter().for_each(|(reason, letters)| self.pass_over(reason, *letters));
    }
}

fn add(reasons: &mut BTreeMap<String, u64>, reason: &str, letters: u64) {
    let is_known = reasons.contains_key(reason) || reasons.len() < MOST_REASONS;
    *reasons.entry(if is_known { reason } else { "other reasons" }.to_owned()).or_default() += letters;
}
