//! How sizes, durations, names and pointers are written.

use std::time::Duration;

use crate::record::pointer::{beginning, check_length};

/// The units of sizes, as they are written.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Why a text is not what it should be: an end for "`x` is …", and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    pub message: String,
    pub help: String,
}

impl Complaint {
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Complaint { message: message.into(), help: help.into() }
    }
}

/// A size: a whole number and a unit, `64MiB`. Bytes.
pub fn size(text: &str) -> Result<u64, Complaint> {
    let help =
        "write a whole number and a unit: `64MiB`; units are `B`, `KiB`, `MiB`, `GiB`, `TiB`, `kB`, `MB`, `GB`, `TB`";
    let wrong = || Complaint::new(format!("`{text}` is not a size"), help);
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = (&text[..digits], text[digits..].trim_start());
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let size = number.checked_mul(*factor).ok_or_else(|| Complaint::new(format!("`{text}` is too large"), help))?;
    if size == 0 {
        return Err(Complaint::new(format!("`{text}` is no size at all"), help));
    }
    Ok(size)
}

/// A duration, `90s` or `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, Complaint> {
    humantime::parse_duration(text).map_err(|_| {
        let help = "write a whole number and a unit: `60s`; units are `ms`, `s`, `m`, `h`, `days`; `1h 30m` adds up";
        Complaint::new(format!("`{text}` is not a duration"), help)
    })
}

/// An RFC 6901 pointer to something in a record.
pub fn pointer(text: &str) -> Result<(), Complaint> {
    check_length(text).map_err(|why| {
        Complaint::new(format!("the pointer `{}` {why}", beginning(text)), "point at an object that holds the value")
    })?;
    if !text.starts_with('/') {
        let help = match text {
            "" => "name a member: `/name`".to_owned(),
            _ => format!("a pointer starts with `/`: `/{}`", text.trim_start_matches(['$', '.'])),
        };
        return Err(Complaint::new(format!("`{text}` is not a JSON pointer to a member"), help));
    }
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !escapes {
        let help = "in a pointer, `~` is written `~0`, and a `/` in a name `~1`";
        return Err(Complaint::new(format!("`{text}` is not a JSON pointer"), help));
    }
    Ok(())
}

/// The name of a source, a lake, a plugin or an export.
pub fn name(text: &str) -> Result<(), Complaint> {
    let help = "names are up to 64 letters, digits, `-` and `_`, and start with a letter or a digit";
    let right = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if right { Ok(()) } else { Err(Complaint::new(format!("`{text}` cannot be a name"), help)) }
}

/// The name of a table, as the Common Data Model names entities.
pub fn table_name(text: &str) -> Result<(), Complaint> {
    let help = "names of tables have up to 256 characters, no `.`, `\"` or slash, and no space at either end";
    let strange = |c: char| matches!(c, '.' | '"' | '/' | '\\') || c.is_control();
    let right = (1..=256).contains(&text.chars().count()) && text.trim() == text && !text.contains(strange);
    if right { Ok(()) } else { Err(Complaint::new(format!("`{text}` cannot be a table"), help)) }
}

/// The help where `given` is none of `known`: the nearest one, if one is near, and all of them, if they are few.
pub fn suggest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match nearest(given, &known) {
        Some(near) if known.len() > 8 => format!("did you mean `{near}`?"),
        Some(near) if known.len() > 1 => format!("did you mean `{near}`? known: {list}"),
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {list}"),
    }
}

/// The name that `given` is most likely meant to be; none where all are far.
fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let given = given.get(..64).unwrap_or(given).to_lowercase().replace('_', "-");
    let distance = |name: &&str| strsim::damerau_levenshtein(name, &given);
    let near = known.iter().min_by_key(|name| distance(name))?;
    if distance(near) <= near.len().max(3) / 3 {
        return Some(near);
    }
    let begins =
        |name: &&&str| name.len() >= 3 && given.len() >= 3 && (given.starts_with(**name) || name.starts_with(&given));
    known.iter().find(begins).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_a_whole_number_and_a_unit() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1 GB"), Ok(1_000_000_000));
        for wrong in ["", "64", "MiB", "1.5GiB", "64mib", "-1B", "64MiB ", "0B", "99999999TiB", "99999999999999999999B"]
        {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_add_up() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "60", "-1s", "1 fortnight", "s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pointers_start_with_a_slash_and_escape_tildes() {
        assert_eq!(pointer("/a~1b/~0c/0"), Ok(()));
        assert_eq!(pointer("$.name").unwrap_err().help, "a pointer starts with `/`: `/name`");
        let long = pointer(&"/a".repeat(100)).unwrap_err().message;
        assert!(long.ends_with("…` has 100 segments, expected at most 64"), "{long}");
        assert!(pointer("").is_err() && pointer("/a~2").is_err() && pointer("/a~").is_err());
    }

    #[test]
    fn the_nearest_name_is_suggested_and_no_far_one() {
        let known = ["granularity", "path", "lake"];
        assert!(suggest("granulrity", known).starts_with("did you mean `granularity`?"));
        assert!(suggest("gran", known).starts_with("did you mean `granularity`?"));
        assert!(suggest("Lake", known).starts_with("did you mean `lake`?"));
        assert_eq!(suggest("xyzzy", known), "known: `granularity`, `path`, `lake`");
    }

    proptest! {
        #[test]
        fn a_size_is_its_number_times_its_unit(number in 1u64..1 << 20, unit in 0..UNITS.len(), space in " ?") {
            let (name, factor) = UNITS[unit];
            prop_assert_eq!(size(&format!("{number}{space}{name}")), Ok(number * factor));
        }

        #[test]
        fn a_size_is_shown_as_it_is_read(bytes in 1u64.., shift in 0u32..64) {
            let bytes = (bytes >> shift).max(1);
            prop_assert_eq!(size(&crate::telemetry::human::size(bytes)), Ok(bytes));
        }

        #[test]
        fn a_duration_is_read_as_it_is_written(seconds in 0u64..1 << 40, millis in 0u32..1_000) {
            let duration_ = Duration::new(seconds, millis * 1_000_000);
            prop_assert_eq!(duration(&humantime::format_duration(duration_).to_string()), Ok(duration_));
        }

        #[test]
        fn no_text_breaks_a_parser(text in ".{0,20}") {
            let _ = (size(&text), duration(&text), pointer(&text), name(&text), suggest(&text, ["a", "path"]));
        }
    }
}
