//! Events that are delivered to a partition, by their numbers: what is known is cut off.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use lakeport::error::Error;
use lakeport::source::{Chunk, Extent, Framing, Mark, Origin, Position, Tail};

use crate::delivery::{EventRun, Refused};
use crate::numbers::{Numbers, SequenceNumber, may_be_same};
use crate::stats::Stats;

/// The events of one partition.
pub(crate) struct Events {
    origin: Arc<Origin>,
    /// The offset of the next event; `None` where there never was one.
    next: Option<u64>,
    /// The last event that was read. Logs of earlier versions have none where offsets are the stream's own numbers.
    mark: Option<Arc<Mark>>,
    accepts_gaps: bool,
}

/// By so much the clocks of a hub's servers may differ, which take the events of a partition one after the other.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(10);

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
    mark: Option<Arc<Mark>>,
    /// What is missing before them, which may be accepted.
    missing: Option<Missing>,
}

/// Events that are missing before others.
struct Missing {
    refused: Refused,
    /// For people.
    what: String,
}

/// Events whose numbers are offsets.
struct Counted<'a> {
    stream: &'a Arc<str>,
    first: u64,
    follows: Option<u64>,
    enqueued: &'a [Option<DateTime<Utc>>],
    count: usize,
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

    /// Takes the events that are new. What is known `is_fresh` where it was read from the log after they came: only then is it certain
    /// that events without a place have none.
    ///
    /// # Errors
    /// Says why the whole run was refused; none of its events is taken then.
    pub(crate) fn take(&mut self, run: EventRun, is_fresh: bool, stats: &Stats) -> Result<Placed, Refused> {
        let EventRun { numbers, lines, starts } = run;
        let place = match &numbers {
            Numbers::Counted { stream, first, follows, enqueued } => {
                let numbers = Counted { stream, first: *first, follows: *follows, enqueued, count: starts.len() };
                self.counted(&numbers)
            }
            Numbers::Ascending { stream, numbers } => self.ascending(stream, numbers),
        };
        let mut place = match place {
            Ok(place) => place,
            Err(refused @ Refused::Failed(_)) => return Err(refused),
            Err(_) if !is_fresh => return Err(Refused::Stale),
            Err(refused) => return Err(refused),
        };
        if let Some(missing) = place.missing.take() {
            if !is_fresh {
                return Err(Refused::Stale);
            }
            stats.gap();
            if !self.accepts_gaps {
                return Err(missing.refused);
            }
            tracing::warn!("`{}`: {}, and gaps are accepted", self.origin.name, missing.what);
        }
        let Place { known, next, end, mark, missing: _ } = place;
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

    /// Places events whose numbers are offsets.
    fn counted(&self, numbers: &Counted<'_>) -> Result<Place, Refused> {
        let &Counted { stream, first, follows, enqueued, count } = numbers;
        if let Some(mark) = self.mark.as_ref().filter(|mark| !may_be_same(&mark.stream, stream)) {
            return Err(Refused::OtherStream { known: mark.stream.clone(), given: stream.clone() });
        }
        let end = first.checked_add(count as u64).ok_or_else(|| {
            Refused::Failed(Error::source(format!("`{}`: event {first} has no number after it", self.origin.name)))
        })?;
        let mut next = self.next.unwrap_or(first);
        let mut missing = None;
        if first > next {
            if follows.is_none_or(|before| before >= next) {
                let what = format!("events {next} to {} were never delivered", first - 1);
                missing = Some(Missing { refused: Refused::Gap { expected: next }, what });
            }
            next = first;
        }
        // No more events than have a place in memory.
        let known = (end.min(next) - first) as usize;
        self.check_age(first, &enqueued[..known.min(enqueued.len())])?;
        let mark = Mark {
            // A name that says more is kept.
            stream: self.mark.as_ref().map_or(stream, |mark| (&mark.stream).max(stream)).clone(),
            sequence: (end.saturating_sub(1)).to_string().into(),
            enqueued: enqueued.last().copied().flatten(),
        };
        Ok(Place { known, next, end, mark: Some(Arc::new(mark)), missing })
    }

    /// Refuses events whose numbers, from `first` on, were taken before, and that came later than the last one that was taken: a
    /// partition takes events in the order of their numbers.
    fn check_age(&self, first: u64, enqueued: &[Option<DateTime<Utc>>]) -> Result<(), Refused> {
        let Some(last) = self.mark.as_ref().and_then(|mark| mark.enqueued) else { return Ok(()) };
        let mut numbered = (first..).zip(enqueued.iter().flatten());
        match numbered.find(|(_, enqueued)| enqueued.signed_duration_since(last) > CLOCKS_DIFFER) {
            Some((number, enqueued)) => Err(Refused::Anew { number, enqueued: *enqueued, last }),
            None => Ok(()),
        }
    }

    /// Places events whose numbers ascend: those after the last one that was read are new, and offsets count them.
    fn ascending(&self, stream: &Arc<str>, numbers: &[SequenceNumber]) -> Result<Place, Refused> {
        let next = self.next.unwrap_or(0);
        let (mut known, mut missing) = (0, None);
        if let Some(Mark { stream: of, sequence: taken, .. }) = self.mark.as_deref() {
            if of != stream {
                return Err(Refused::OtherStream { known: of.clone(), given: stream.clone() });
            }
            known = numbers.partition_point(|number| !number.is_after_digits(taken));
            // What is delivered in order has the last event that was taken, or begins after it.
            if (1..numbers.len()).contains(&known) && numbers[known - 1].digits() != *taken {
                let what = format!("events around event {taken} come out of order");
                missing = Some(Missing { refused: Refused::OutOfOrder { taken: taken.clone() }, what });
            }
        }
        let end = next + (numbers.len() - known) as u64;
        let last = numbers[known..].last();
        let mark = last.map(|number| Mark { stream: stream.clone(), sequence: number.digits(), enqueued: None }.into());
        Ok(Place { known, next, end, mark, missing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Lines;
    use crate::numbers::hub_name;

    const STREAM: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/s";

    fn lines(count: usize) -> (bytes::Bytes, Arc<[u32]>) {
        let mut lines = Lines::default();
        (0..count).for_each(|_| lines.push(b"{}"));
        lines.finish()
    }

    /// Events of a Kinesis stream with these numbers.
    fn ascending(stream: &str, numbers: &[u64]) -> EventRun {
        let (lines, starts) = lines(numbers.len());
        let numbers = numbers.iter().map(|number| SequenceNumber::parse(&number.to_string()).unwrap()).collect();
        EventRun { numbers: Numbers::Ascending { stream: stream.into(), numbers }, lines, starts }
    }

    /// Events of a hub, of which a second after `since` has each number.
    fn counted(stream: &Arc<str>, numbers: std::ops::Range<u64>, since: i64) -> EventRun {
        let (lines, starts) = lines(numbers.clone().count());
        let first = numbers.start;
        let enqueued = numbers.map(|n| DateTime::from_timestamp(since + n as i64, 0)).collect();
        let numbers = Numbers::Counted { stream: stream.clone(), first, follows: None, enqueued };
        EventRun { numbers, lines, starts }
    }

    /// Takes a run with what is known for certain, and returns how many of its events are new.
    fn taken(events: &mut Events, run: EventRun) -> usize {
        let placed = events.take(run, true, &Stats::default()).unwrap();
        placed.chunk.map_or(0, |chunk| chunk.data.split_inclusive(|byte| *byte == b'\n').count())
    }

    fn refused(events: &mut Events, run: EventRun) -> Refused {
        events.take(run, true, &Stats::default()).err().unwrap()
    }

    /// The events of a reader that goes on where another one has taken a run.
    fn after(events: &mut Events, run: EventRun) -> Events {
        let mut position = Position::default();
        position.advance(&events.take(run, true, &Stats::default()).unwrap().chunk.unwrap().extent);
        let position = serde_json::from_str(&serde_json::to_string(&position).unwrap()).unwrap();
        Events::new("s/0", &position, false)
    }

    #[test]
    fn of_ascending_numbers_those_after_the_last_one_are_taken() {
        let mut events = Events::new("s/0", &Position::default(), false);
        assert_eq!(taken(&mut events, ascending(STREAM, &[3, 9, 9, 20])), 4);
        assert_eq!(taken(&mut events, ascending(STREAM, &[3, 9, 9, 20])), 0);
        assert_eq!(taken(&mut events, ascending(STREAM, &[9, 9, 20, 100])), 1);
        let placed = events.take(ascending(STREAM, &[1_000]), true, &Stats::default()).unwrap();
        let extent = placed.chunk.unwrap().extent;
        assert_eq!((extent.first, extent.next, placed.up_to), (5, 6, 6));
        // The position brings another reader to the same place.
        let mut events = after(&mut events, ascending(STREAM, &[2_000]));
        assert_eq!(taken(&mut events, ascending(STREAM, &[1_000, 2_000, 2_001])), 1);
    }

    #[test]
    fn what_is_out_of_order_or_of_another_stream_is_refused() {
        let mut events = Events::new("s/0", &Position::default(), false);
        taken(&mut events, ascending(STREAM, &[1, 3, 5]));
        let out_of_order = refused(&mut events, ascending(STREAM, &[2, 4, 6]));
        assert!(matches!(out_of_order, Refused::OutOfOrder { taken } if &*taken == "5"));
        let other = refused(&mut events, ascending("t", &[6]));
        assert!(matches!(other, Refused::OtherStream { known, given } if (&*known, &*given) == (STREAM, "t")));
        let hub = counted(&hub_name(None, "s"), 0..1, 0);
        assert!(matches!(refused(&mut events, hub), Refused::OtherStream { .. }));
        assert_eq!(taken(&mut events, ascending(STREAM, &[3, 5, 7])), 1);
        events.accepts_gaps = true;
        assert_eq!(taken(&mut events, ascending(STREAM, &[6, 8])), 1);
    }

    #[test]
    fn a_reader_that_may_be_stale_neither_refuses_nor_accepts_what_does_not_fit() {
        let hub = hub_name(Some("n"), "h");
        for accepts_gaps in [false, true] {
            let (mut of_hub, stats) = (Events::new("s/0", &Position::default(), accepts_gaps), Stats::default());
            let mut of_shard = Events::new("s/0", &Position::default(), accepts_gaps);
            taken(&mut of_hub, counted(&hub, 0..100, 0));
            taken(&mut of_shard, ascending(STREAM, &[1, 3, 5]));
            let stale = [
                of_hub.take(counted(&hub, 200..210, 0), false, &stats),
                of_hub.take(counted(&hub_name(Some("n"), "other"), 0..10, 0), false, &stats),
                of_hub.take(counted(&hub, 0..10, 10_000), false, &stats),
                of_shard.take(ascending(STREAM, &[4, 6]), false, &stats),
            ];
            assert!(stale.iter().all(|placed| matches!(placed, Err(Refused::Stale))), "nothing is said of it");
            assert!(stats.families().iter().all(|family| family.samples[0].value == 0.0), "no gap is counted");
            assert_eq!(of_hub.take(counted(&hub, 200..210, 0), true, &stats).is_ok(), accepts_gaps);
            assert_eq!(of_shard.take(ascending(STREAM, &[4, 6]), true, &stats).is_ok(), accepts_gaps);
            // What is known fits, and so does what follows.
            let placed = of_hub.take(counted(&hub, 95..300, 0), false, &stats).unwrap();
            assert!(placed.chunk.is_some());
        }
    }

    #[test]
    fn events_of_another_hub_are_refused_and_a_log_without_a_name_gets_one() {
        let (hub, other) = (hub_name(Some("n"), "h"), hub_name(Some("n"), "other"));
        let mut earlier = Position::default();
        earlier.advance(&Extent::new(Arc::new(Origin::named("partition:s/0")), 0, 50));
        let mut events = Events::new("s/0", &earlier, false);
        let mut events = after(&mut events, counted(&hub, 40..60, 0));
        let refusal = refused(&mut events, counted(&other, 0..5, 0));
        assert!(matches!(refusal, Refused::OtherStream { known, given } if known == hub && given == other));
        assert!(matches!(refused(&mut events, ascending(STREAM, &[70])), Refused::OtherStream { .. }));
        // A host that does not say the namespace does not make it forgotten.
        let mut events = after(&mut events, counted(&hub_name(None, "H"), 55..61, 0));
        assert!(matches!(
            refused(&mut events, counted(&hub_name(Some("m"), "h"), 61..62, 0)),
            Refused::OtherStream { .. }
        ));
        assert_eq!(taken(&mut events, counted(&hub, 60..62, 0)), 1);
    }

    #[test]
    fn a_hub_that_was_made_anew_is_recognised_by_events_that_are_later_than_the_last_one() {
        let hub = hub_name(Some("n"), "h");
        let mut events = after(&mut Events::new("s/0", &Position::default(), false), counted(&hub, 0..100, 0));
        assert_eq!(taken(&mut events, counted(&hub, 0..100, 0)), 0);
        // A second of difference between two servers is none.
        assert_eq!(taken(&mut events, counted(&hub, 90..101, 1)), 1);
        match refused(&mut events, counted(&hub, 0..5, 1_000)) {
            Refused::Anew { number: 0, last, .. } => assert_eq!(last.timestamp(), 101),
            other => panic!("{other:?}"),
        }
    }
}
