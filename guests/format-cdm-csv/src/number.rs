//! Numbers as text: whether they fit their column. They are written as they were received.

/// A number in JSON's grammar: the value is `0.d₁d₂…` × 10^`point`, its digits neither beginning nor ending with a zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    digits: i64,
    point: i64,
}

/// Whether `text` is a number in JSON's grammar.
pub fn is_number(text: &[u8]) -> bool {
    decimal(text).is_some()
}

/// Whether `text` is a whole number of 64 bits, written without point and exponent.
pub fn is_int64(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    // Eighteen digits always fit.
    plain && (digits.len() <= 18 || std::str::from_utf8(text).is_ok_and(|text| text.parse::<i64>().is_ok()))
}

/// Whether `text` is a number with at most `scale` digits behind the point and `precision` in all; no limit where there is none.
pub fn is_decimal(text: &[u8], precision: Option<u8>, scale: Option<u8>) -> bool {
    let Some(number) = decimal(text) else { return false };
    let behind = (number.digits - number.point).max(0);
    let before = number.point.max(0);
    let scale = scale.map(i64::from);
    let fits = |precision: u8| before <= i64::from(precision) - scale.unwrap_or(behind);
    number.digits == 0 || (scale.is_none_or(|scale| behind <= scale) && precision.is_none_or(fits))
}

fn decimal(text: &[u8]) -> Option<Decimal> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (mantissa, exponent) = match memchr::memchr2(b'e', b'E', text) {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, fraction) = match memchr::memchr(b'.', mantissa) {
        Some(at) if at + 1 < mantissa.len() => (&mantissa[..at], &mantissa[at + 1..]),
        Some(_) => return None,
        None => (mantissa, &b""[..]),
    };
    let leading_zero = whole.len() > 1 && whole[0] == b'0';
    if whole.is_empty() || leading_zero || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let mut all = whole.iter().chain(fraction);
    let Some(first) = all.clone().position(|&digit| digit != b'0') else {
        return Some(Decimal { digits: 0, point: 0 });
    };
    let trailing = all.by_ref().rev().take_while(|&&digit| digit == b'0').count();
    let digits = (whole.len() + fraction.len() - first - trailing) as i64;
    Some(Decimal { digits, point: whole.len() as i64 - first as i64 + exponent })
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Beyond any number that fits anything, all exponents are the same.
    const FAR: i64 = 1 << 32;
    let size = digits.iter().fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(FAR));
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_json() {
        for text in ["0", "-0", "12", "-1.50", "1e5", "1.5E-3", "0.1e+9", "123456789012345678901234567890"] {
            assert!(is_number(text.as_bytes()), "{text}");
        }
        for text in ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "NaN", "1 ", "--1", "1.2.3", "1e5e5"] {
            assert!(!is_number(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn whole_numbers_have_64_bits() {
        for text in ["0", "-0", "7", "999999999999999999", "9223372036854775807", "-9223372036854775808"] {
            assert!(is_int64(text.as_bytes()), "{text}");
        }
        for text in ["9223372036854775808", "-9223372036854775809", "1.0", "1e3", "", "-", "+1", "007", "1a"] {
            assert!(!is_int64(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_decimal_has_its_digits_on_both_sides_of_the_point() {
        let fits = |text: &str, precision, scale| is_decimal(text.as_bytes(), precision, scale);
        assert!(fits("123.45", Some(5), Some(2)) && fits("-123.45", Some(5), Some(2)));
        assert!(fits("123.4500", Some(5), Some(2)), "zeros at the end are no digits");
        assert!(!fits("123.456", Some(9), Some(2)));
        assert!(!fits("1234.5", Some(5), Some(2)));
        assert!(fits("0.01", Some(2), Some(2)) && !fits("1.01", Some(2), Some(2)));
        assert!(fits("1.5e2", Some(3), Some(0)) && !fits("1.5e0", Some(3), Some(0)));
        assert!(!fits("1e999999999999999999999", Some(38), Some(0)));
        assert!(fits("0e999999999999999999999", Some(1), Some(0)));
        assert!(fits("12345678901234567890123456789012345678", Some(38), Some(0)));
        assert!(!fits("123456789012345678901234567890123456789", Some(38), Some(0)));
        assert!(fits("123456789012345678901234567890123456789.5", None, None));
        assert!(fits("12.5", Some(3), None) && !fits("12.55", Some(3), None));
        assert!(!fits("NaN", None, None) && !fits("Infinity", None, None));
    }
}
