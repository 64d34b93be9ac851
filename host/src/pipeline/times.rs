//! Event times in words: why a record has none that can be used, and times that look as if they were read in the wrong unit.
//!
//! Off the hot path: a record is looked at again only once it is refused.

use crate::decode::{time, values_at};
use crate::plan::{Envelope, ExportPlan, Place, SourcePlan, TimeUnit};
use crate::record::Batch;

/// So many characters of a value are shown.
const SHOWN: usize = 40;

/// 2001-09-09 to 2103-02-07, in seconds since 1970-01-01T00:00:00Z: what a number that stands for a time in seconds is nearly always.
const LIKELY_SECONDS: std::ops::Range<f64> = 1e9..4.2e9;

/// Why the record of a row without a usable time is refused: what it has instead, what was expected, and which setting may be wrong.
/// `timed_by` names the transform that set the times.
pub fn no_time(plan: &ExportPlan, batch: &Batch, row: usize, timed_by: Option<&str>) -> String {
    if let Some(plugin) = timed_by {
        return format!("no usable time: plugin `{plugin}` sets `time`, and gave none");
    }
    let mapping = &plan.source.mapping;
    let (place, setting) = match mapping.time {
        Place::Nowhere => (&mapping.enqueued_time, "enqueued-time"),
        _ => (&mapping.time, "time"),
    };
    // What came is the record as it was read; a transform may have made another body of it.
    let (pointer, record) = match place {
        Place::Within(pointer) => (pointer, batch.raw.value(row)),
        Place::Body(pointer) if mapping.envelope == Envelope::Plain => (pointer, batch.raw.value(row)),
        Place::Body(pointer) => (pointer, batch.bodies.value(row)),
        Place::Envelope | Place::Nowhere => return format!("no `{setting}` in the envelope that is a time"),
    };
    let found = values_at(record, std::slice::from_ref(pointer)).and_then(|values| values[0]);
    let unit = mapping.time_unit;
    let expected = in_words(unit);
    let Some(found) = found.filter(|value| *value != b"null") else {
        return format!(
            "no usable time at `{pointer}`: found nothing, expected {expected}; `{setting}` in the source says where"
        );
    };
    let is_text = found[0] == b'"';
    let text = if is_text { &found[1..found.len() - 1] } else { found };
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    let hint = unit_of(&text).filter(|likely| *likely != unit).map_or(String::new(), |likely| {
        format!("; it looks like {}: set `time-unit = \"{}\"` in the source", in_words(likely), likely.name())
    });
    format!("no usable time at `{pointer}`: found `{shown}`, expected {expected}{hint}")
}

/// Whether an event time of a source that has milliseconds would be a likely one if it were seconds. `time`: microseconds since
/// 1970-01-01T00:00:00Z.
pub fn looks_like_seconds(source: &SourcePlan, time: i64) -> bool {
    source.mapping.time_unit == TimeUnit::EpochMilliseconds && LIKELY_SECONDS.contains(&(time as f64 / 1e3))
}

/// What to say of times that look like seconds; `time` is one of them.
pub fn seconds_as_milliseconds(source: &SourcePlan, time: i64) -> String {
    format!(
        "times such as `{}` are in the first weeks of 1970 as milliseconds; they look like seconds: set `time-unit = \"epoch-seconds\"` \
         in [sources.{}]",
        time / 1000,
        source.name
    )
}

/// The unit that a value is most likely in.
fn unit_of(text: &str) -> Option<TimeUnit> {
    if time::parse_rfc3339(text).is_some() {
        return Some(TimeUnit::Rfc3339);
    }
    let number: f64 = text.parse().ok()?;
    if LIKELY_SECONDS.contains(&number) {
        return Some(TimeUnit::EpochSeconds);
    }
    LIKELY_SECONDS.contains(&(number / 1e3)).then_some(TimeUnit::EpochMilliseconds)
}

fn in_words(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Rfc3339 => "an RFC 3339 time with a zone",
        TimeUnit::EpochSeconds => "seconds since 1970",
        TimeUnit::EpochMilliseconds => "milliseconds since 1970",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_value_is_told_by_its_size() {
        assert_eq!(unit_of("2026-03-01T10:00:00Z"), Some(TimeUnit::Rfc3339));
        assert_eq!(unit_of("1767225600.25"), Some(TimeUnit::EpochSeconds));
        assert_eq!(unit_of("1767225600250"), Some(TimeUnit::EpochMilliseconds));
        for neither in ["yesterday", "12", "1767225600250000", "-1767225600", "nan", ""] {
            assert_eq!(unit_of(neither), None, "{neither}");
        }
    }
}
