//! JSON numbers as they are written: exactly, whatever their size.

/// A decimal number, `digits × 10^exponent`. Digits neither begin nor end with a zero; zero has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    negative: bool,
    /// Each 0 to 9.
    digits: Vec<u8>,
    exponent: i64,
}

impl Number {
    /// Reads `-12.50e3`; text that is no number in JSON's grammar is `None`, but zeros in front are taken.
    pub fn parse(text: &[u8]) -> Option<Number> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.iter().position(|&byte| byte == b'.') {
            Some(at) if at + 1 < mantissa.len() => (&mantissa[..at], &mantissa[at + 1..]),
            Some(_) => return None,
            None => (mantissa, &b""[..]),
        };
        if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return None;
        }
        let mut digits: Vec<u8> =
            whole.iter().chain(fraction).map(|digit| digit - b'0').skip_while(|&digit| digit == 0).collect();
        let kept = digits.iter().rposition(|&digit| digit != 0).map_or(0, |last| last + 1);
        let dropped = (digits.len() - kept) as i64;
        digits.truncate(kept);
        let exponent = match kept {
            0 => 0,
            _ => exponent - fraction.len() as i64 + dropped,
        };
        Some(Number { negative: negative && kept > 0, digits, exponent })
    }

    /// The integer that it is; `None` where it has a fraction or is out of range.
    fn integer(&self) -> Option<i64> {
        let zeros =
            u32::try_from(self.exponent).ok().filter(|zeros| self.digits.len() as u64 + u64::from(*zeros) <= 19)?;
        let digits = self.digits.iter().fold(0_i128, |sum, &digit| sum * 10 + i128::from(digit));
        let magnitude = digits * 10_i128.pow(zeros);
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Its digits as a big-endian two's complement of the least length, and how many of them are behind the point;
    /// `None` where there are more than `precision`, or where they are further from the point than 32 bits can say.
    pub fn significant(&self, precision: usize) -> Option<(Vec<u8>, i32)> {
        let digits = Number { exponent: 0, ..self.clone() };
        Some((digits.unscaled(precision, 0)?, i32::try_from(-self.exponent).ok()?))
    }

    /// `self × 10^scale` as a big-endian two's complement of the least length; `None` where that is no integer, or has
    /// more than `precision` digits.
    pub fn unscaled(&self, precision: usize, scale: usize) -> Option<Vec<u8>> {
        let zeros = usize::try_from(self.exponent.checked_add_unsigned(scale as u64)?).ok();
        if self.digits.is_empty() {
            return Some(vec![0]);
        }
        let zeros = zeros.filter(|zeros| self.digits.len().saturating_add(*zeros) <= precision)?;
        let mut magnitude = Vec::new();
        self.digits.iter().for_each(|&digit| append(&mut magnitude, digit));
        (0..zeros).for_each(|_| append(&mut magnitude, 0));
        Some(complement(magnitude, self.negative))
    }
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
    const FAR: i64 = i64::MAX / 100;
    let size = digits.iter().fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(FAR));
    Some(if negative { -size } else { size })
}

/// Multiplies a little-endian magnitude by ten and adds `digit`.
fn append(magnitude: &mut Vec<u8>, digit: u8) {
    let mut carry = u16::from(digit);
    for byte in magnitude.iter_mut() {
        let product = u16::from(*byte) * 10 + carry;
        *byte = product as u8;
        carry = product >> 8;
    }
    if carry > 0 {
        magnitude.push(carry as u8);
    }
}

/// The shortest big-endian two's complement of a little-endian magnitude.
fn complement(mut bytes: Vec<u8>, negative: bool) -> Vec<u8> {
    bytes.push(0);
    if negative {
        let mut carry = true;
        for byte in &mut bytes {
            let (sum, over) = (!*byte).overflowing_add(u8::from(carry));
            *byte = sum;
            carry = over;
        }
    }
    let sign = if negative { 0xff } else { 0 };
    while let [.., second, last] = bytes[..]
        && last == sign
        && (second ^ sign) < 0x80
    {
        bytes.pop();
    }
    bytes.reverse();
    bytes
}

/// The integer that a JSON number is; `None` where it has a fraction or is out of range.
pub fn integer(text: &[u8]) -> Option<i64> {
    let plain = std::str::from_utf8(text).ok()?.parse().ok();
    plain.or_else(|| Number::parse(text)?.integer())
}

/// Whether a JSON number is written as an integer.
fn is_written_as_integer(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// The nearest double; `None` where there is none but infinity.
pub fn double(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// The nearest float, rounded once; `None` where there is none but infinity.
pub fn float(text: &[u8]) -> Option<f32> {
    let number: f32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// The double that stands for a JSON number without loss: the nearest one, but for an integer it must be that integer.
pub fn exact_double(text: &[u8]) -> Option<f64> {
    let number = double(text)?;
    // Integers of fifteen digits are all doubles.
    let exact = text.len() <= 15 || !is_written_as_integer(text) || format!("{number:.0}").as_bytes() == text;
    exact.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn integer(text: &str) -> Option<i64> {
        let exact = Number::parse(text.as_bytes()).unwrap().integer();
        assert_eq!(exact, super::integer(text.as_bytes()), "{text}");
        exact
    }

    #[test]
    fn an_integer_is_one_however_it_is_written() {
        assert_eq!(integer("5"), Some(5));
        assert_eq!(integer("-5.00"), Some(-5));
        assert_eq!(integer("1.25e2"), Some(125));
        assert_eq!(integer("1200e-2"), Some(12));
        assert_eq!(integer("-0.0"), Some(0));
        assert_eq!(integer("0e999999999999999999999"), Some(0));
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
    }

    #[test]
    fn fractions_and_what_is_too_large_are_no_integers() {
        for text in
            ["1.5", "1e-1", "9223372036854775808", "1e19", "1e999999999999999999999", "1e-999999999999999999999"]
        {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_number_is_none() {
        for text in ["", "-", "1.", ".5", "1e", "1e+", "0x1", "1 ", "--1", "1.2.3", "NaN", "+1"] {
            assert_eq!(Number::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_integer_that_a_double_cannot_hold_is_noticed() {
        assert_eq!(exact_double(b"9007199254740992"), Some(9_007_199_254_740_992.0));
        assert_eq!(exact_double(b"9007199254740993"), None);
        assert_eq!(exact_double(b"-9223372036854775808"), Some(i64::MIN as f64));
        assert_eq!(exact_double(b"9223372036854775807"), None);
        assert_eq!(exact_double(b"0.1"), Some(0.1));
        assert_eq!(exact_double(b"1e300"), Some(1e300));
        assert_eq!(double(b"1e400"), None);
    }

    #[test]
    fn what_does_not_fit_precision_and_scale_has_no_unscaled_value() {
        let unscaled =
            |text: &str, precision, scale| Number::parse(text.as_bytes()).unwrap().unscaled(precision, scale);
        assert_eq!(unscaled("12.5", 4, 2), Some(vec![0x04, 0xe2]));
        assert_eq!(unscaled("-12.50", 4, 2), Some(vec![0xfb, 0x1e]));
        assert_eq!(unscaled("12.505", 9, 2), None);
        assert_eq!(unscaled("123", 4, 2), None);
        assert_eq!(unscaled("0.000", 1, 0), Some(vec![0]));
        assert_eq!(unscaled("1e999999999", 9, 2), None);
        assert_eq!(unscaled("-1.28", 3, 2), Some(vec![0x80]));
        assert_eq!(unscaled("1.28", 3, 2), Some(vec![0x00, 0x80]));
    }

    proptest! {
        #[test]
        fn every_integer_has_its_shortest_twos_complement(number: i64) {
            let bytes = Number::parse(number.to_string().as_bytes()).unwrap().unscaled(19, 0).unwrap();
            let fill = if number < 0 { 0xff } else { 0 };
            let mut whole = [fill; 8];
            whole[8 - bytes.len()..].copy_from_slice(&bytes);
            prop_assert_eq!(i64::from_be_bytes(whole), number);
            let shorter = bytes.len() > 1 && bytes[0] == fill && (bytes[1] ^ fill) < 0x80;
            prop_assert!(!shorter, "{bytes:?}");
        }

        #[test]
        fn every_integer_is_read_back(number: i64) {
            prop_assert_eq!(integer(&number.to_string()), Some(number));
            prop_assert_eq!(exact_double(number.to_string().as_bytes()).is_some(), number as f64 as i128 == i128::from(number));
        }
    }
}
