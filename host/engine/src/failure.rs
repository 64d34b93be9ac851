//! Why a delivery did not get through, and whether it may do so when it is tried again.

use lakeport::error::{Error, Kind};
use lakeport::plan::ExportPlan;

use crate::delivery::{Delivery, Refused};

/// Why a delivery did not get through.
pub(crate) enum Failure {
    /// It may get through when it is tried again.
    Passing(Error),
    Lasting(Error),
    /// Too many deliveries wait: it may get through later.
    Busy(Error),
    /// Another instance may have had the partition meanwhile: it has to be tried with a reader that is opened from now on.
    Stale,
}

/// Why a delivery is not in the lake when its time is over.
#[derive(Debug, Clone)]
pub(crate) struct Undelivered {
    pub(crate) error: Error,
    /// Too many others waited.
    pub(crate) is_busy: bool,
}

impl From<Undelivered> for Error {
    fn from(undelivered: Undelivered) -> Error {
        undelivered.error
    }
}

impl From<Error> for Undelivered {
    fn from(error: Error) -> Undelivered {
        Undelivered { error, is_busy: false }
    }
}

impl Failure {
    pub(crate) fn of(error: Error) -> Failure {
        if may_pass(&error) { Failure::Passing(error) } else { Failure::Lasting(error) }
    }

    /// The failure of a delivery to a partition of `export` that was refused.
    pub(crate) fn of_refused(refused: Refused, export: &ExportPlan, delivery: &Delivery) -> Failure {
        let (name, partition, source) = (&export.name, &export.partition, &export.source.name);
        let lasting = |message: String, help: &str| {
            let message = format!("partition `{partition}` of source `{source}`: {message}");
            Failure::Lasting(Error::source(message).with_help(help))
        };
        match refused {
            Refused::Stale => Failure::Stale,
            Refused::Gap { expected } => lasting(
                format!("event {} was delivered, and {expected} is next", first_of(delivery)),
                "nothing was taken: the events between have to be delivered first; where the hub does not have them any more, set \
                 `gaps = \"accept\"` in the source",
            ),
            Refused::OutOfOrder { taken } => lasting(
                format!(
                    "events from {} on were delivered around event {taken}, which had been taken and is not among them: they come out of \
                     order",
                    first_of(delivery)
                ),
                "deliver one batch of a partition at a time: set `ParallelizationFactor` of a Kinesis stream's trigger to 1; where the \
                 trigger's filter was changed, `gaps = \"accept\"` in the source goes on after that event",
            ),
            Refused::OtherStream { known, given } => lasting(
                format!("it holds events of the stream `{known}`, and was given events of `{given}`"),
                "nothing was taken, for the numbers of one stream mean nothing in another: give each stream a source of its own, or, where \
                 this one takes the place of the other, give the export another name",
            ),
            Refused::Anew { number, enqueued, last } => lasting(
                format!(
                    "event {number} of {enqueued} has a number that was taken before, and came after the last event, of {last}: the hub was \
                     made anew, and its numbers begin again"
                ),
                "nothing was taken: give the export another name, so that it begins with the new hub",
            ),
            Refused::Busy => {
                let message =
                    format!("too many deliveries of partition `{partition}` of source `{source}` wait for the lake");
                Failure::Busy(Error::source(message).with_help("let the platform deliver them again later"))
            }
            Refused::Failed(error) => Failure::of(error),
            Refused::Ended => Failure::Passing(Error::lake(format!(
                "export `{name}` ended before what was delivered to partition `{partition}` was in the lake"
            ))),
        }
    }
}

/// The number of the first event of a delivery, for people.
fn first_of(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Events(events) => events.numbers.first(),
        Delivery::Messages(_) | Delivery::Object(_) => String::new(),
    }
}

/// Whether a failure may pass by itself: a store that is down, another instance that was asked for the same partition.
pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(error.kind, Kind::Lake | Kind::Fenced)
}
