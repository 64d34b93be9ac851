//! Records that no table takes, counted by their kinds.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// So many kinds are told apart.
const MOST_KINDS: usize = 100;
/// So many of them are named to people.
const MOST_NAMED: usize = 5;

/// How many records were passed over, and of which kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PassedOver {
    pub records: u64,
    /// By kind; of further kinds only `records` knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, u64>,
}

impl PassedOver {
    /// Counts records of a kind.
    pub fn add(&mut self, kind: &str, records: u64) {
        self.records += records;
        if let Some(known) = self.kinds.get_mut(kind) {
            *known += records;
        } else if self.kinds.len() < MOST_KINDS {
            self.kinds.insert(kind.to_owned(), records);
        }
    }

    /// Counts what `other` did.
    pub fn add_all(&mut self, other: &PassedOver) {
        let named: u64 = other.kinds.values().sum();
        other.kinds.iter().for_each(|(kind, records)| self.add(kind, *records));
        self.records += other.records - named.min(other.records);
    }

    /// Forgets kinds that tables take now.
    pub fn retain(&mut self, is_passed_over: impl Fn(&str) -> bool) {
        self.kinds.retain(|kind, records| {
            let stays = is_passed_over(kind);
            self.records -= if stays { 0 } else { (*records).min(self.records) };
            stays
        });
    }

    /// Whether nothing was passed over.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }
}

/// `3 records of kinds `a` (2), `b` (1)`, the most frequent first.
impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, records)| std::cmp::Reverse(**records));
        let named: Vec<_> =
            kinds.iter().take(MOST_NAMED).map(|(kind, records)| format!("`{kind}` ({records})")).collect();
        let records = if self.records == 1 { "1 record".to_owned() } else { format!("{} records", self.records) };
        let kinds = if named.len() == 1 { "kind" } else { "kinds" };
        write!(f, "{records} of {kinds} {}", named.join(", "))?;
        match self.kinds.len().saturating_sub(MOST_NAMED) {
            0 => Ok(()),
            more if self.kinds.len() < MOST_KINDS => write!(f, " and {more} more"),
            more => write!(f, " and {more} or more others"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_kinds_are_named_and_all_are_counted() {
        let mut passed = PassedOver::default();
        passed.add("a", 1);
        assert_eq!(passed.to_string(), "1 record of kind `a` (1)");
        for number in 0..200 {
            passed.add(&format!("k{number:03}"), number);
        }
        assert_eq!((passed.records, passed.kinds.len()), (1 + 199 * 100, MOST_KINDS));
        let expected = "19901 records of kinds `k098` (98), `k097` (97), `k096` (96), `k095` (95), `k094` (94) and 95 or more others";
        assert_eq!(passed.to_string(), expected);
        let mut sum = PassedOver::default();
        sum.add_all(&passed);
        assert_eq!(sum, passed);
        sum.retain(|kind| kind == "a");
        assert_eq!(sum.kinds.len(), 1);
    }
}
