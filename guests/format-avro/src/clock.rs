//! Instants, dates and times of day as text: written in IoT Hub's form, read as RFC 3339 has them.
//!
//! Text is read as the host reads it: `T` may be `t` or a space, any number of fraction digits, and second 60 stands
//! for the last instant of the second before.

const DAY: i64 = 86_400;
/// 0000-01-01T00:00:00Z and the second after 9999-12-31T23:59:59Z, in seconds.
const YEARS: std::ops::Range<i64> = -719_528 * DAY..2_932_897 * DAY;

/// `2018-06-11T00:00:08.2250000Z`.
pub const FORM: [u8; 28] = *b"0000-00-00T00:00:00.0000000Z";

/// The text, where it has the form of [`FORM`].
#[inline]
pub fn in_form(text: &[u8]) -> Option<&[u8; 28]> {
    let text = <&[u8; 28]>::try_from(text).ok()?;
    // Without branches, so that it becomes vector instructions.
    let fits = |(&byte, &form): (&u8, &u8)| byte.wrapping_sub(form) <= if form == b'0' { 9 } else { 0 };
    text.iter().zip(&FORM).map(fits).fold(true, |all, fits| all & fits).then_some(text)
}

/// Writes instants in [`FORM`]; remembers the last one, since neighbouring records share it, or its second.
pub struct Clock {
    micros: i64,
    second: i64,
    text: [u8; 28],
}

impl Default for Clock {
    fn default() -> Self {
        Clock { micros: 0, second: 0, text: *b"1970-01-01T00:00:00.0000000Z" }
    }
}

impl Clock {
    /// Microseconds since 1970-01-01T00:00:00Z as text; `None` outside the years 0 to 9999.
    #[inline]
    pub fn text(&mut self, micros: i64) -> Option<&[u8; 28]> {
        if micros != self.micros {
            let second = micros.div_euclid(1_000_000);
            if second != self.second {
                self.turn(second)?;
            }
            put_digits(&mut self.text[20..26], micros.rem_euclid(1_000_000) as u32);
            self.micros = micros;
        }
        Some(&self.text)
    }

    fn turn(&mut self, second: i64) -> Option<()> {
        if !YEARS.contains(&second) {
            return None;
        }
        let (year, month, day) = civil(second.div_euclid(DAY));
        let time = second.rem_euclid(DAY) as u32;
        put_digits(&mut self.text[0..4], year);
        put_digits(&mut self.text[5..7], month);
        put_digits(&mut self.text[8..10], day);
        put_digits(&mut self.text[11..13], time / 3600);
        put_digits(&mut self.text[14..16], time / 60 % 60);
        put_digits(&mut self.text[17..19], time % 60);
        self.second = second;
        Some(())
    }
}

fn put_digits(to: &mut [u8], mut number: u32) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day since 1970-01-01, of the years 0 to 9999, in the proleptic Gregorian calendar; years
/// are counted from March, so that the leap day comes last.
fn civil(day: i64) -> (u32, u32, u32) {
    let day = (day + 719_468 + 146_097) as u32;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u32::from(month <= 2) - 400, month, day_of_month)
}

/// An instant or a time of day: seconds, and the digits behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment<'a> {
    seconds: i64,
    fraction: &'a [u8],
}

impl Moment<'_> {
    /// In units of which a second has `10^digits`, and whether nothing was cut off; `None` where that is no long.
    pub fn units(self, digits: u32) -> Option<(i64, bool)> {
        let digit = |at: usize| self.fraction.get(at).map_or(0, |digit| i64::from(digit - b'0'));
        let part = (0..digits as usize).fold(0, |sum, at| sum * 10 + digit(at));
        let cut = self.fraction.iter().skip(digits as usize).any(|&digit| digit != b'0');
        // Wider than a long: at the range's lower end, whole seconds alone lie outside of it.
        let units = i128::from(self.seconds) * 10_i128.pow(digits) + i128::from(part);
        Some((i64::try_from(units).ok()?, !cut))
    }
}

/// The instant of an RFC 3339 date-time.
pub fn instant(text: &[u8]) -> Option<Moment<'_>> {
    let (moment, zone) = date_time(text)?;
    let seconds = moment.seconds - offset(zone)?;
    YEARS.contains(&seconds).then_some(Moment { seconds, ..moment })
}

/// The date and time that the clock on the wall shows: an RFC 3339 date-time, of which the zone may be missing and does
/// not count.
pub fn wall_clock(text: &[u8]) -> Option<Moment<'_>> {
    let (moment, zone) = date_time(text)?;
    (zone.is_empty() || offset(zone).is_some()).then_some(moment)
}

/// Days since 1970-01-01 of `YYYY-MM-DD`.
pub fn date(text: &[u8]) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    let year = year + 400 - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some((365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468 - 146_097) as i32)
}

/// The time of day of `HH:MM:SS`, with or without a fraction.
pub fn time_of_day(text: &[u8]) -> Option<Moment<'_>> {
    let (moment, rest) = time(text)?;
    rest.is_empty().then_some(moment)
}

fn date_time(text: &[u8]) -> Option<(Moment<'_>, &[u8])> {
    let (day, rest) = text.split_first_chunk::<10>()?;
    let (b'T' | b't' | b' ', rest) = rest.split_first()? else { return None };
    let (time, zone) = time(rest)?;
    Some((Moment { seconds: i64::from(date(day)?) * DAY + time.seconds, ..time }, zone))
}

fn time(text: &[u8]) -> Option<(Moment<'_>, &[u8])> {
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
    let seconds = hour * 3600 + minute * 60 + second.min(59);
    Some((Moment { seconds, fraction: if second == 60 { b"999999999" } else { fraction } }, rest))
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(micros: i64) -> Option<String> {
        Clock::default().text(micros).map(|text| String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn instants_are_written_as_the_service_writes_them() {
        assert_eq!(text(1_528_675_208_225_000).unwrap(), "2018-06-11T00:00:08.2250000Z");
        assert_eq!(text(0).unwrap(), "1970-01-01T00:00:00.0000000Z");
        assert_eq!(text(951_782_400_000_001).unwrap(), "2000-02-29T00:00:00.0000010Z");
    }

    #[test]
    fn instants_before_1970_are_written_too() {
        assert_eq!(text(-1).unwrap(), "1969-12-31T23:59:59.9999990Z");
        assert_eq!(text(-62_167_219_200_000_000).unwrap(), "0000-01-01T00:00:00.0000000Z");
        assert_eq!(text(-62_167_219_200_000_001), None);
        assert_eq!(text(253_402_300_799_999_999).unwrap(), "9999-12-31T23:59:59.9999990Z");
        assert_eq!(text(253_402_300_800_000_000), None);
    }

    #[test]
    fn a_clock_that_was_out_of_range_goes_on() {
        let mut clock = Clock::default();
        assert_eq!(clock.text(i64::MAX), None);
        assert_eq!(clock.text(5), Some(b"1970-01-01T00:00:00.0000050Z"));
    }

    #[test]
    fn the_services_form_is_recognised() {
        assert!(in_form(b"2018-06-11T00:00:08.2250000Z").is_some());
        for other in ["2018-06-11T00:00:08.225000Z", "2018-06-11 00:00:08.2250000Z", "2018-06-11T00:00:08.22500000", ""]
        {
            assert!(in_form(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn date_times_are_read_with_their_zone() {
        let millis = |text: &str| instant(text.as_bytes()).and_then(|moment| moment.units(3));
        assert_eq!(millis("1970-01-01T00:00:01.5Z"), Some((1_500, true)));
        assert_eq!(millis("1970-01-01t01:00:00.0019+01:00"), Some((1, false)));
        assert_eq!(millis("1969-12-31 23:59:59.999Z"), Some((-1, true)));
        assert_eq!(millis("2016-12-31T23:59:60Z"), Some((1_483_228_799_999, false)));
        for wrong in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-02-29T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "0000-01-01T00:00:00+01:00",
        ] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
        let nanos = |text: &str| instant(text.as_bytes()).and_then(|moment| moment.units(9));
        assert_eq!(nanos("2262-04-12T00:00:00Z"), None);
        assert_eq!(nanos("1677-09-21T00:12:43.145224192Z"), Some((i64::MIN, true)));
        assert_eq!(nanos("1677-09-21T00:12:43.145224191Z"), None);
        assert_eq!(nanos("2262-04-11T23:47:16.854775807Z"), Some((i64::MAX, true)));
        assert_eq!(nanos("2262-04-11T23:47:16.854775808Z"), None);
    }

    #[test]
    fn a_wall_clock_needs_no_zone() {
        let micros = |text: &str| wall_clock(text.as_bytes()).and_then(|moment| moment.units(6));
        assert_eq!(micros("1970-01-01T01:00:00"), Some((3_600_000_000, true)));
        assert_eq!(micros("1970-01-01T01:00:00.000001+01:00"), Some((3_600_000_001, true)));
        assert_eq!(micros("1970-01-01T01:00:00 CET"), None);
    }

    #[test]
    fn dates_and_times_of_day_are_read() {
        assert_eq!((date(b"1970-01-01"), date(b"1969-12-31"), date(b"2000-02-29")), (Some(0), Some(-1), Some(11_016)));
        assert_eq!((date(b"1900-02-29"), date(b"1970-13-01"), date(b"1970-1-1")), (None, None, None));
        assert_eq!(time_of_day(b"23:59:59.5").unwrap().units(3), Some((86_399_500, true)));
        assert_eq!((time_of_day(b"23:59"), time_of_day(b"23:59:59Z"), time_of_day(b"23:59:59.")), (None, None, None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in -62_167_219_200_000_000_i64..253_402_300_800_000_000) {
            let text = text(micros).unwrap();
            prop_assert!(in_form(text.as_bytes()).is_some());
            prop_assert_eq!(instant(text.as_bytes()).unwrap().units(6), Some((micros, true)));
        }
    }
}
