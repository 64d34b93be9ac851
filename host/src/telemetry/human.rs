//! Numbers as people read them. Units are decimal: 1 MB is 1,000,000 bytes.

/// Bytes: `812 B`, `16.8 MB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// A size as configurations write it, exactly: `16MiB`, `1GB`, `1001B`.
pub fn size(bytes: u64) -> String {
    let units = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1_000),
    ];
    let unit = units.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    unit.map_or_else(|| format!("{bytes}B"), |(unit, factor): &(_, u64)| format!("{}{unit}", bytes / factor))
}

/// Bytes a second: `512.3 MB/s`; `–` where no time passed.
pub fn byte_rate(bytes_: u64, seconds: f64) -> String {
    if seconds > 0.0 { format!("{}/s", bytes((bytes_ as f64 / seconds) as u64)) } else { "–".to_owned() }
}

/// A count with thousands apart: `1,000,000`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Things a second, a count; `–` where no time passed.
pub fn rate(things: u64, seconds: f64) -> String {
    if seconds > 0.0 { count((things as f64 / seconds) as u64) } else { "–".to_owned() }
}

/// A time: `0.42 s`, `12.3 s`, `2m 05s`, `1h 02m`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 9.995 => format!("{s:.2} s"),
        s if s < 59.95 => format!("{s:.1} s"),
        s => match (s.round() as u64 / 3_600, s.round() as u64 % 3_600) {
            (0, rest) => format!("{}m {:02}s", rest / 60, rest % 60),
            (hours, rest) => format!("{hours}h {:02}m", rest / 60),
        },
    }
}

/// Time for each of `things`: `23 ns`, `1.2 µs`; `–` for none.
pub fn each(nanoseconds: u64, things: u64) -> String {
    match things {
        0 => "–".to_owned(),
        _ => scaled(nanoseconds as f64 / things as f64, &["ns", "µs", "ms", "s"]),
    }
}

/// `text` without anything that a terminal would act on: control characters are escaped.
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        // Bidirectional controls can make text look like other text.
        match c {
            c if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c) => {
                out.extend(c.escape_default());
            }
            c => out.push(c),
        }
        out
    })
}

fn scaled(value: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    // 999.95 would be rounded to 1000.0.
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1_000.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} {}", units[0]) } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_unit_that_keeps_them_short() {
        assert_eq!(
            [bytes(0), bytes(999), bytes(1_000), bytes(999_960), bytes(16 << 20)],
            ["0 B", "999 B", "1.0 kB", "1.0 MB", "16.8 MB"]
        );
        assert_eq!(bytes(u64::MAX), "18446.7 PB");
        assert_eq!([count(0), count(999), count(1_000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([byte_rate(512_300_000, 1.0), byte_rate(1, 0.0), rate(3_000, 2.0)], ["512.3 MB/s", "–", "1,500"]);
        assert_eq!([each(23_000, 1_000), each(1_234, 1), each(1, 0)], ["23 ns", "1.2 µs", "–"]);
    }

    #[test]
    fn sizes_are_as_configurations_write_them() {
        assert_eq!([size(16 << 20), size(2_000_000), size(1_001), size(0)], ["16MiB", "2MB", "1001B", "0B"]);
    }

    #[test]
    fn times_get_coarser_as_they_grow() {
        for (time, shown) in [
            (0.0, "0.00 s"),
            (0.424, "0.42 s"),
            (9.999, "10.0 s"),
            (59.96, "1m 00s"),
            (125.2, "2m 05s"),
            (3_723.0, "1h 02m"),
        ] {
            assert_eq!(seconds(time), shown);
        }
    }

    #[test]
    fn nothing_printable_moves_the_cursor() {
        assert_eq!(printable("é\u{1b}[2J\r\n\u{202e}x"), "é\\u{1b}[2J\\r\\n\\u{202e}x");
    }
}
