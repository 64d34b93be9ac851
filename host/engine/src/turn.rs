//! Whose turn it is: what is due may take longer than there is time, and goes on the next time where it ended.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard};

/// The order in which partitions of exports are looked at, round after round. Each process has an order of its own: one that is started
/// anew for every round prefers none.
#[derive(Debug, Default)]
pub struct Turn {
    order: RandomState,
    /// The places of the export and of its partition that were begun last.
    last: Mutex<Option<(u64, u64)>>,
}

/// Which partitions of an export a step of a round is for, by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    After(u64),
    UpTo(u64),
}

impl Turn {
    /// The steps of the next round: exports, by their names, and which of their partitions. The first step goes on after the partition
    /// that was begun last, which is in the last step.
    pub fn steps<'a, T: Copy>(&self, exports: impl Iterator<Item = (&'a str, T)>) -> Vec<(T, Part)> {
        let mut exports: Vec<_> = exports.map(|(name, export)| (self.order.hash_one(name), export)).collect();
        exports.sort_by_key(|(place, _)| *place);
        let Some((last, partition)) = *self.last() else {
            return exports.into_iter().map(|(_, export)| (export, Part::All)).collect();
        };
        let (before, from): (Vec<_>, Vec<_>) = exports.into_iter().partition(|(place, _)| *place < last);
        let again = from.first().filter(|(place, _)| *place == last).copied();
        let part = |(place, export): (u64, T)| (export, if place == last { Part::After(partition) } else { Part::All });
        let round = from.into_iter().chain(before).map(part);
        round.chain(again.map(|(_, export)| (export, Part::UpTo(partition)))).collect()
    }

    /// The partitions of a step, in order.
    pub fn partitions(&self, part: Part, partitions: Vec<String>) -> Vec<String> {
        let mut partitions: Vec<_> = partitions.into_iter().map(|name| (self.order.hash_one(&*name), name)).collect();
        partitions.retain(|(place, _)| match part {
            Part::All => true,
            Part::After(last) => *place > last,
            Part::UpTo(last) => *place <= last,
        });
        partitions.sort_unstable();
        partitions.into_iter().map(|(_, name)| name).collect()
    }

    /// Notes that an export is begun: until one of its partitions is, the next round goes on behind it.
    pub fn begin_export(&self, export: &str) {
        *self.last() = Some((self.order.hash_one(export), u64::MAX));
    }

    /// Notes that a partition is begun.
    pub fn begin(&self, export: &str, partition: &str) {
        *self.last() = Some((self.order.hash_one(export), self.order.hash_one(partition)));
    }

    fn last(&self) -> MutexGuard<'_, Option<(u64, u64)>> {
        self.last.lock().expect("nothing panics while it is held")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const EXPORTS: [&str; 3] = ["a", "b", "c"];
    const PARTITIONS: [&str; 4] = ["0", "1", "2", "10"];

    /// The partitions that a round begins, as long as `goes_on` says so of each.
    fn round(turn: &Turn, mut goes_on: impl FnMut(&(&str, String)) -> bool) -> Vec<(&'static str, String)> {
        let mut begun = Vec::new();
        for (export, part) in turn.steps(EXPORTS.iter().map(|name| (*name, *name))) {
            for partition in turn.partitions(part, PARTITIONS.map(str::to_owned).to_vec()) {
                turn.begin(export, &partition);
                begun.push((export, partition));
                if !goes_on(&begun[begun.len() - 1]) {
                    return begun;
                }
            }
        }
        begun
    }

    #[test]
    fn every_partition_has_its_turn_however_few_a_round_has_time_for() {
        let all = EXPORTS.len() * PARTITIONS.len();
        for at_once in 1..=all + 1 {
            let turn = Turn::default();
            let mut begun: BTreeMap<_, usize> = BTreeMap::new();
            for _ in 0..all {
                let mut left = at_once;
                let of_round = round(&turn, |_| {
                    left -= 1;
                    left > 0
                });
                assert_eq!(of_round.len(), at_once.min(all));
                of_round.into_iter().for_each(|place| *begun.entry(place).or_default() += 1);
            }
            assert!(
                begun.len() == all && begun.values().all(|times| *times == at_once.min(all)),
                "{at_once}: {begun:?}"
            );
        }
    }

    #[test]
    fn a_partition_that_takes_all_the_time_keeps_no_other_from_its_turn() {
        let slow = ("b", "1".to_owned());
        let turn = Turn::default();
        round(&turn, |place| *place != slow);
        let second = round(&turn, |place| *place != slow);
        assert_eq!((second.len(), second.last()), (12, Some(&slow)), "it is the last one now");
    }

    #[test]
    fn an_export_that_cannot_be_opened_keeps_no_other_from_its_turn() {
        let turn = Turn::default();
        let first = turn.steps(EXPORTS.iter().map(|name| (*name, *name)))[0].0;
        turn.begin_export(first);
        let begun = round(&turn, |(export, _)| *export == first);
        assert_ne!(begun[0].0, first, "{begun:?}");
        turn.begin_export(first);
        assert_eq!(round(&turn, |_| true).len(), 12);
    }

    #[test]
    fn exports_and_partitions_that_are_gone_are_no_hindrance() {
        let turn = Turn::default();
        turn.begin("gone", "gone");
        assert_eq!(round(&turn, |_| true).len(), 12);
        turn.begin("a", "gone");
        assert_eq!(round(&turn, |_| true).len(), 12);
    }
}
