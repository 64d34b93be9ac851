//! How many lines lie between an offset and the log's end, and since when, without reading them.

use std::collections::VecDeque;
use std::time::Duration;

/// The most marks that are kept; then each two become one.
const MOST: usize = 1_024;
const _: () = assert!(MOST.is_multiple_of(2));

/// What lies after an offset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Lines. A few too many, where the offset is within a run of batches that were counted together.
    pub records: u64,
    /// Since the first of them was appended; zero where there are none.
    pub age: Duration,
}

/// Where batches end, with their lines and times.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    marks: VecDeque<Mark>,
    /// A mark stands for two to the power of this many batches; the last one for fewer, so far.
    doublings: u32,
    /// Batches of the last mark.
    last: u64,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// The offset after the batch.
    next: u64,
    records: u64,
    time: u64,
}

impl Marks {
    /// A batch was appended.
    pub(crate) fn push(&mut self, next: u64, records: u64, time: u64) {
        match self.marks.back_mut() {
            Some(mark) if self.last < 1 << self.doublings => {
                mark.next = next;
                mark.records += records;
                self.last += 1;
            }
            _ => {
                self.marks.push_back(Mark { next, records, time });
                self.last = 1;
            }
        }
        if self.marks.len() > MOST {
            // The last one is alone, and has room for as many again.
            let both = |pair: &[Mark]| Mark {
                next: pair[pair.len() - 1].next,
                records: pair.iter().map(|mark| mark.records).sum(),
                time: pair[0].time,
            };
            self.marks = self.marks.make_contiguous().chunks(2).map(both).collect();
            self.doublings += 1;
        }
    }

    /// What is before this offset is not asked for any more.
    pub(crate) fn release(&mut self, up_to: u64) {
        let over = self.marks.partition_point(|mark| mark.next <= up_to);
        self.marks.drain(..over);
        if self.marks.is_empty() {
            self.doublings = 0;
        }
    }

    /// Returns what lies after an offset; `now` in milliseconds as the times of batches.
    pub(crate) fn after(&self, at: u64, now: u64) -> Backlog {
        let from = self.marks.partition_point(|mark| mark.next <= at);
        let open = self.marks.range(from..);
        let age = open.clone().next().map_or(0, |mark| now.saturating_sub(mark.time));
        Backlog { records: open.map(|mark| mark.records).sum(), age: Duration::from_millis(age) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_after_an_offset_is_counted() {
        let mut marks = Marks::default();
        (1..=3).for_each(|number| marks.push(number * 10, 2, number));
        let backlog = |records, age| Backlog { records, age: Duration::from_millis(age) };
        assert_eq!(marks.after(0, 3), backlog(6, 2));
        assert_eq!(marks.after(10, 3), backlog(4, 1));
        assert_eq!(marks.after(11, 3), backlog(4, 1));
        assert_eq!(marks.after(30, 3), Backlog::default());
        assert_eq!(marks.after(0, 0), backlog(6, 0), "a clock that was set back");
        marks.release(20);
        assert_eq!((marks.marks.len(), marks.after(0, 3).records), (1, 2));
    }

    #[test]
    fn many_batches_are_counted_together_and_none_is_lost() {
        let mut marks = Marks::default();
        let all = 100 * MOST as u64;
        (1..=all).for_each(|number| marks.push(number, 1, number));
        assert!(marks.marks.len() <= MOST, "{}", marks.marks.len());
        assert_eq!(marks.after(0, 11), Backlog { records: all, age: Duration::from_millis(10) });
        assert_eq!(marks.after(all, all), Backlog::default());
        let half = marks.after(all / 2, all);
        assert!(half.records >= all / 2 && half.records < all / 2 + all / 8, "{half:?}");
    }
}
