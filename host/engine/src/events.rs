//! Events that are delivered to a partition, by their numbers: what is known is cut off.

use std::sync::Arc;

use lakeport::error::Error;
use lakeport::source::{Chunk, Extent, Framing, Mark, Origin, Position, Tail};

use crate::delivery::{EventRun, Refused};
use crate::numbers::{Numbers, SequenceNumber};
use crate::stats::Stats;

/// The events of one partition.
pub(crate) struct Events {
    origin: Arc<Origin>,
    /// The offset of the next event; `None` where there never was one.
    next: Option<u64>,
    /// The last event that was read, where offsets are not the stream's own numbers.
    mark: Option<Mark>,
    accepts_gaps: bool,
}

/// Events of a run that are to be read, and what there is to wait for.
pub(crate) struct Placed {
    /// Everything before this offset has to be in the lake.
    pub(crate) up_to: u64,
    /// Those that are new.
    pub(crate) chunk: Option<Chunk>,
}

/// The place of a run of events in its partition.
struct Place {
    /// The number of events, from the first on, that were read before.
    known: usize,
    /// The offset of the first event that is new.
    next: u64,
    /// The offset after the last one.
    end: u64,
    mark: Option<Mark>,
}

impl Events {
    pub(crate) fn new(place: &str, from: &Position, accepts_gaps: bool) -> Events {
        let origin = Arc::new(Origin::named(format!("partition:{place}")));
        let cursor = from.cursor(&origin.name);
        let (next, mark) = (cursor.map(|cursor| cursor.next), cursor.and_then(|cursor| cursor.mark.clone()));
        Events { origin, next, mark, accepts_gaps }
    }

    /// The origin of the partition: its offsets count events.
    pub(crate) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Takes the events that are new.
    ///
    /// # Errors
    /// Says why the whole run was refused; none of its events is taken then.
    pub(crate) fn take(&mut self, run: EventRun, stats: &Stats) -> Result<Placed, Refused> {
        let EventRun { numbers, lines, starts } = run;
        let Place { known, next, end, mark } = match &numbers {
            Numbers::Counted { first, follows } => self.counted((*first, *follows), starts.len(), stats)?,
            Numbers::Ascending { stream, numbers } => self.ascending(stream, numbers, stats)?,
        };
        if known > 0 {
            stats.known_events(known as u64);
            let (name, count) = (&self.origin.name, starts.len());
            tracing::info!("`{name}`: {known} of {count} events that were delivered had been taken before");
        }
        let Some(&cut) = starts.get(known) else { return Ok(Placed { up_to: end, chunk: None }) };
        let starts = starts[known..].iter().map(|start| start - cut).collect();
        (self.next, self.mark) = (Some(end), mark.clone());
        let data = lines.slice(cut as usize..);
        let extent = Extent { tail: Tail::of(&data), mark, ..Extent::new(self.origin.clone(), next, end) };
        Ok(Placed { up_to: end, chunk: Some(Chunk { data, extent, framing: Framing::Numbered(starts) }) })
    }

    /// Places `count` events whose numbers are offsets.
    fn counted(&self, (first, follows): (u64, Option<u64>), count: usize, stats: &Stats) -> Result<Place, Refused> {
        let name = &self.origin.name;
        if let Some(mark) = &self.mark {
            return Err(Refused::OtherStream { known: mark.stream.clone() });
        }
        let end = first
            .checked_add(count as u64)
            .ok_or_else(|| Refused::Failed(Error::source(format!("`{name}`: event {first} has no number after it"))))?;
        let mut next = self.next.unwrap_or(first);
        if first > next {
            if follows.is_none_or(|before| before >= next) {
                stats.gap();
                if !self.accepts_gaps {
                    return Err(Refused::Gap { expected: next });
                }
                tracing::warn!("`{name}`: events {next} to {} were never delivered, and gaps are accepted", first - 1);
            }
            next = first;
        }
        // No more events than have a place in memory.
        let known = (end.min(next) - first) as usize;
        Ok(Place { known, next, end, mark: None })
    }

    /// Places events whose numbers ascend: those after the last one that was read are new, and offsets count them.
    fn ascending(&self, stream: &Arc<str>, numbers: &[SequenceNumber], stats: &Stats) -> Result<Place, Refused> {
        let next = self.next.unwrap_or(0);
        let mut known = 0;
        if let Some(Mark { stream: of, sequence: taken }) = &self.mark {
            if of != stream {
                return Err(Refused::OtherStream { known: of.clone() });
            }
            known = numbers.partition_point(|number| !number.is_after_digits(taken));
            // What is delivered in order has the last event that was taken, or begins after it.
            if (1..numbers.len()).contains(&known) && numbers[known - 1].digits() != *taken {
                stats.gap();
                if !self.accepts_gaps {
                    return Err(Refused::OutOfOrder { taken: taken.clone() });
                }
                let name = &self.origin.name;
                tracing::warn!("`{name}`: events around event {taken} come out of order, and gaps are accepted");
            }
        }
        let end = next + (numbers.len() - known) as u64;
        let last = numbers[known..].last();
        let mark = last.map(|number| Mark { stream: stream.clone(), sequence: number.digits() });
        Ok(Place { known, next, end, mark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Lines;

    fn run(stream: &str, numbers: &[u64]) -> EventRun {
        let mut lines = Lines::default();
        numbers.iter().for_each(|number| lines.push(number.to_string().as_bytes()));
        let numbers = numbers.iter().map(|number| SequenceNumber::parse(&number.to_string()).unwrap()).collect();
        let (lines, starts) = lines.finish();
        EventRun { numbers: Numbers::Ascending { stream: stream.into(), numbers }, lines, starts }
    }

    /// Takes a run, and returns the new lines as text.
    fn taken(events: &mut Events, numbers: &[u64]) -> String {
        let placed = events.take(run("s", numbers), &Stats::default()).unwrap();
        placed.chunk.map_or_else(String::new, |chunk| String::from_utf8(chunk.data.to_vec()).unwrap())
    }

    #[test]
    fn of_ascending_numbers_those_after_the_last_one_are_taken() {
        let mut events = Events::new("s/0", &Position::default(), false);
        assert_eq!(taken(&mut events, &[3, 9, 9, 20]), "3\n9\n9\n20\n");
        assert_eq!(taken(&mut events, &[3, 9, 9, 20]), "");
        assert_eq!(taken(&mut events, &[9, 9, 20, 100]), "100\n");
        // The position brings another reader to the same place.
        let mut position = Position::default();
        let placed = events.take(run("s", &[1_000]), &Stats::default()).unwrap();
        let extent = placed.chunk.unwrap().extent;
        assert_eq!((extent.first, extent.next, placed.up_to), (5, 6, 6));
        position.advance(&extent);
        let position = serde_json::from_str(&serde_json::to_string(&position).unwrap()).unwrap();
        let mut events = Events::new("s/0", &position, false);
        assert_eq!(taken(&mut events, &[100, 1_000, 1_001]), "1001\n");
    }

    #[test]
    fn what_is_out_of_order_or_of_another_stream_is_refused() {
        let mut events = Events::new("s/0", &Position::default(), false);
        taken(&mut events, &[1, 3, 5]);
        let refused = |events: &mut Events, run| events.take(run, &Stats::default()).err().unwrap();
        assert!(matches!(refused(&mut events, run("s", &[2, 4, 6])), Refused::OutOfOrder { taken } if &*taken == "5"));
        assert!(matches!(refused(&mut events, run("t", &[6])), Refused::OtherStream { known } if &*known == "s"));
        let counted = EventRun { numbers: Numbers::Counted { first: 0, follows: None }, ..run("s", &[6]) };
        assert!(matches!(refused(&mut events, counted), Refused::OtherStream { .. }));
        assert_eq!(taken(&mut events, &[3, 5, 7]), "7\n");
        events.accepts_gaps = true;
        assert_eq!(taken(&mut events, &[6, 8]), "8\n");
    }
}
