//! Dates and times: read in the forms of change feeds and databases, written in those of CDM folders.
//!
//! Nothing is rounded, and a zone moves an instant to UTC; what has no zone is never given one by guessing, but where a form says
//! UTC. Years are 1 to 9999, which is what every reader's own types have.

const DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z and the second after 9999-12-31T23:59:59Z, in seconds.
const SECONDS: std::ops::Range<i64> = -719_162 * DAY..2_932_897 * DAY;

/// A date and a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    date: Date,
    time: Time,
    /// It is in UTC; else the clock on some wall.
    utc: bool,
}

/// A day of the years 1 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Date {
    year: u32,
    month: u32,
    day: u32,
}

/// A time of day, with as many digits behind the point as were written, up to nine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    second: u32,
    nanos: u32,
    digits: usize,
}

/// Whether `text` is an infinite date or time of PostgreSQL.
pub fn is_infinite(text: &[u8]) -> bool {
    matches!(text, b"infinity" | b"-infinity")
}

/// Whether `text` is `YYYY-MM-DD`.
pub fn is_date(text: &[u8]) -> bool {
    date(text).is_some()
}

/// Whether `text` is `HH:MM:SS`, with or without up to nine digits of a fraction; the day's end may be `24:00:00`, as in PostgreSQL.
pub fn is_time(text: &[u8]) -> bool {
    let digits = text.len().saturating_sub(9);
    if let Some(fraction) = text.strip_prefix(b"24:00:00") {
        let zeros = fraction.strip_prefix(b".").unwrap_or_default();
        return fraction.is_empty() || ((1..=9).contains(&zeros.len()) && zeros.iter().all(|digit| *digit == b'0'));
    }
    digits <= 9
        && time(text).is_some_and(|(time, rest)| rest.is_empty() && time.second < DAY as u32 && text[6..8] != *b"60")
}

impl Stamp {
    /// Reads RFC 3339, `T` or a space between date and time; PostgreSQL's text, whose zone may be `+02` and may be missing; and
    /// `/Date(1624638072123)/`, milliseconds since 1970-01-01T00:00:00Z.
    pub fn parse(text: &[u8]) -> Option<Stamp> {
        if let Some(inner) = text.strip_prefix(b"/Date(") {
            return Stamp::milliseconds(inner.strip_suffix(b")/")?);
        }
        let (day, rest) = text.split_first_chunk::<10>()?;
        let (b'T' | b't' | b' ', rest) = rest.split_first()? else { return None };
        let date = date(day)?;
        let (time, zone) = time(rest)?;
        let local = Stamp { date, time, utc: !zone.is_empty() };
        match zone {
            b"" => Some(local),
            zone => match offset(zone)? {
                0 => Some(local),
                offset => Stamp::at(local.seconds() - offset, time),
            },
        }
    }

    /// `1624638072123`, perhaps with an offset behind it, which says nothing of the instant.
    fn milliseconds(text: &[u8]) -> Option<Stamp> {
        let zone = text.iter().skip(1).position(|byte| matches!(byte, b'+' | b'-')).map_or(text.len(), |at| at + 1);
        let millis: i64 = std::str::from_utf8(&text[..zone]).ok()?.parse().ok()?;
        let fraction = millis.rem_euclid(1_000) as u32 * 1_000_000;
        Stamp::at(millis.div_euclid(1_000), Time { second: 0, nanos: fraction, digits: 3 })
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn micros(micros: i64) -> Option<Stamp> {
        let fraction = micros.rem_euclid(1_000_000) as u32 * 1_000;
        Stamp::at(micros.div_euclid(1_000_000), Time { second: 0, nanos: fraction, digits: 6 })
    }

    /// The second `seconds` of UTC, with the fraction of `time`.
    fn at(seconds: i64, time: Time) -> Option<Stamp> {
        SECONDS.contains(&seconds).then(|| Stamp {
            date: civil(seconds.div_euclid(DAY)),
            time: Time { second: seconds.rem_euclid(DAY) as u32, ..time },
            utc: true,
        })
    }

    fn seconds(&self) -> i64 {
        days(self.date) * DAY + i64::from(self.time.second)
    }

    /// Adds `2021-06-25T16:21:12.123456Z`: with the digits that were received, and without `Z` where no zone was.
    /// `utc`: it is UTC, whether a zone was received or not.
    pub fn put_iso(&self, utc: bool, out: &mut Vec<u8>) {
        self.put_seconds(out);
        let Time { nanos, digits, .. } = self.time;
        if digits > 0 {
            out.push(b'.');
            put_digits(nanos / 10_u32.pow(9 - digits as u32), digits, out);
        }
        if utc || self.utc {
            out.push(b'Z');
        }
    }

    /// Adds `2021-06-25T16:21:12Z`: the service's form of most columns.
    pub fn put_service(&self, out: &mut Vec<u8>) {
        self.put_seconds(out);
        out.push(b'Z');
    }

    /// Adds `2018-05-25T16:21:09.0000000+00:00`: the service's form of `createdon`.
    pub fn put_service_creation(&self, out: &mut Vec<u8>) {
        self.put_seconds(out);
        out.push(b'.');
        put_digits(self.time.nanos / 100, 7, out);
        out.extend_from_slice(b"+00:00");
    }

    /// Adds `6/28/2021 4:34:35 PM`: the service's form of `SinkCreatedOn` and `SinkModifiedOn`.
    pub fn put_service_sink(&self, out: &mut Vec<u8>) {
        let Date { year, month, day } = self.date;
        let (hour, minute, second) = self.time.parts();
        super::dialect::put_integer(i64::from(month), out);
        out.push(b'/');
        super::dialect::put_integer(i64::from(day), out);
        out.push(b'/');
        put_digits(year, 4, out);
        out.push(b' ');
        super::dialect::put_integer(i64::from((hour + 11) % 12 + 1), out);
        out.push(b':');
        put_digits(minute, 2, out);
        out.push(b':');
        put_digits(second, 2, out);
        out.extend_from_slice(if hour < 12 { b" AM" } else { b" PM" });
    }

    fn put_seconds(&self, out: &mut Vec<u8>) {
        let Date { year, month, day } = self.date;
        let (hour, minute, second) = self.time.parts();
        let mut text = *b"0000-00-00T00:00:00";
        for (at, number) in
            [(0, year / 100), (2, year % 100), (5, month), (8, day), (11, hour), (14, minute), (17, second)]
        {
            text[at] = b'0' + (number / 10) as u8;
            text[at + 1] = b'0' + (number % 10) as u8;
        }
        out.extend_from_slice(&text);
    }
}

impl Time {
    fn parts(self) -> (u32, u32, u32) {
        (self.second / 3600, self.second / 60 % 60, self.second % 60)
    }
}

fn put_digits(mut number: u32, count: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + count, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn date(text: &[u8]) -> Option<Date> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (year > 0 && (1..=length).contains(&day)).then_some(Date { year, month, day })
}

/// A time of day, and what follows it. Second 60 is the last instant of the second before; digits after the ninth are cut off.
fn time(text: &[u8]) -> Option<(Time, &[u8])> {
    let (&[h1, h2, b':', m1, m2, b':', s1, s2], rest) = text.split_first_chunk::<8>()? else { return None };
    let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, rest) = match rest.split_first() {
        Some((b'.', digits)) => {
            let count = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
            digits.split_at_checked(count).filter(|_| count > 0)?
        }
        _ => (&rest[..0], rest),
    };
    let digits = fraction.len().min(9);
    let nanos = (0..9).fold(0, |sum, at| sum * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0')));
    let time = Time { second: hour * 3600 + minute * 60 + second.min(59), nanos, digits };
    Some((if second == 60 { Time { nanos: 999_999_999, digits: 9, ..time } } else { time }, rest))
}

/// Seconds east of UTC: `Z`, `+02`, `+0200`, `+02:00`, and `+02:00:30` of times before there were zones.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes, seconds) = match *zone {
        [b'Z' | b'z'] => return Some(0),
        [sign, h1, h2] => (sign, two(h1, h2)?, 0, 0),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, two(h1, h2)?, two(m1, m2)?, 0),
        [sign, h1, h2, b':', m1, m2, b':', s1, s2] => (sign, two(h1, h2)?, two(m1, m2)?, two(s1, s2)?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let east = i64::from(hours * 3600 + minutes * 60 + seconds);
    match sign {
        b'+' => Some(east),
        b'-' => Some(-east),
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that the leap day comes last.
fn days(Date { year, month, day }: Date) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let day_of_year = i64::from((153 * ((month + 9) % 12) + 2) / 5 + day - 1);
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The day `day` since 1970-01-01, the reverse of [`days`].
fn civil(day: i64) -> Date {
    let day = (day + 719_468) as u32;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    Date { year: era * 400 + year + u32::from(month <= 2), month, day: day_of_month }
}

#[cfg(test)]
mod tests;
