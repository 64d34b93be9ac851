//! How the events of a partition are numbered.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

/// The numbers of the events of a run.
#[derive(Debug, Clone)]
pub enum Numbers {
    /// They count the events: each has the number after the one before.
    Counted {
        /// The stream's name for the whole world, as far as it is known: `hub_name` makes it of a hub.
        stream: Arc<str>,
        first: u64,
        /// The number of the event before the first one, where that is known: between the two there is none.
        follows: Option<u64>,
        /// When the stream took each of them, where it says so.
        enqueued: Arc<[Option<DateTime<Utc>>]>,
    },
    /// They ascend, and what lies between two of them means nothing. Events with the same number are taken together.
    Ascending {
        /// The stream's name for the whole world, such as its ARN.
        stream: Arc<str>,
        /// One for each event.
        numbers: Arc<[SequenceNumber]>,
    },
}

impl Numbers {
    /// The first event's number, for people.
    pub(crate) fn first(&self) -> String {
        match self {
            Numbers::Counted { first, .. } => first.to_string(),
            Numbers::Ascending { numbers, .. } => numbers.first().map_or_else(String::new, ToString::to_string),
        }
    }
}

/// The name of an Event Hub for the whole world, whose namespace is not always known. Names differ in nothing but case where they
/// are the same.
pub(crate) fn hub_name(namespace: Option<&str>, hub: &str) -> Arc<str> {
    format!("{HUB}{}/{hub}", namespace.unwrap_or_default()).to_lowercase().into()
}

/// How names of hubs begin, also in connection strings.
const HUB: &str = "sb://";

/// Whether two names of streams may be those of the same: of a hub whose namespace is not known, the other one's is not compared.
pub(crate) fn may_be_same(one: &str, other: &str) -> bool {
    let parts = |name| str::strip_prefix(name, HUB)?.split_once('/');
    match (parts(one), parts(other)) {
        (Some((here, hub)), Some((there, other))) => {
            hub == other && (here == there || here.is_empty() || there.is_empty())
        }
        _ => one == other,
    }
}

/// A decimal of many digits, without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceNumber(Arc<str>);

impl SequenceNumber {
    /// Most digits: Kinesis has up to 129.
    const LONGEST: usize = 129;

    /// Reads a decimal; `None` where `text` is none, or has too many digits.
    pub fn parse(text: &str) -> Option<SequenceNumber> {
        let is_decimal =
            !text.is_empty() && text.len() <= SequenceNumber::LONGEST && text.bytes().all(|byte| byte.is_ascii_digit());
        let digits = text.trim_start_matches('0');
        is_decimal.then(|| SequenceNumber(if digits.is_empty() { "0" } else { digits }.into()))
    }

    /// Its digits.
    pub(crate) fn digits(&self) -> Arc<str> {
        self.0.clone()
    }

    /// Whether it is greater than the number with these digits.
    pub(crate) fn is_after_digits(&self, other: &str) -> bool {
        (self.0.len(), &*self.0) > (other.len(), other)
    }

    /// Whether it is greater than `other`.
    pub fn is_after(&self, other: &SequenceNumber) -> bool {
        self.is_after_digits(&other.0)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_of_any_length_are_compared_by_value() {
        let number = |text: &str| SequenceNumber::parse(text).unwrap();
        let digits = [
            "0",
            "9",
            "10",
            "49590338271490256608559692538361571095921575989136588898",
            "149590338271490256608559692538361571095921575989136588898",
        ];
        for pair in digits.windows(2) {
            assert!(number(pair[1]).is_after(&number(pair[0])), "{pair:?}");
            assert!(!number(pair[0]).is_after(&number(pair[1])), "{pair:?}");
            assert!(!number(pair[0]).is_after(&number(pair[0])));
        }
        assert_eq!((number("0017"), number("000")), (number("17"), number("0")));
    }

    #[test]
    fn a_hub_is_known_by_its_namespace_where_that_is_known() {
        let (here, there) = (hub_name(Some("Here.servicebus.windows.net"), "Hub"), hub_name(Some("there"), "hub"));
        assert_eq!(&*here, "sb://here.servicebus.windows.net/hub");
        assert!(may_be_same(&here, &hub_name(None, "hub")) && may_be_same(&hub_name(None, "HUB"), &there));
        assert!(!may_be_same(&here, &there) && !may_be_same(&here, &hub_name(None, "other")));
        assert!(!may_be_same("arn:aws:kinesis:eu-central-1:123456789012:stream/hub", &hub_name(None, "hub")));
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", "-1", "1.0", " 1", "0x1", "shardId-0", &"1".repeat(130)] {
            assert_eq!(SequenceNumber::parse(text), None, "{text}");
        }
    }
}
