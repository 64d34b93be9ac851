//! Avro's binary encoding of single values (specification, "Binary Encoding"): what every record kind is written with.

/// The most bytes that a long takes.
pub const LONGEST: usize = 10;

/// Zigzag: small magnitudes of both signs become small numbers.
#[inline]
pub fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// An int or a long.
#[inline]
pub fn put_long(number: i64, out: &mut Vec<u8>) {
    let mut rest = zigzag(number);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// How many bytes [`put_long`] takes.
pub fn long_size(number: i64) -> usize {
    let bits = 64 - zigzag(number).leading_zeros() as usize;
    bits.div_ceil(7).max(1)
}

/// Bytes, or the UTF-8 of a string.
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// The items of an array or a map, in one block of a positive count; `items` adds them and says how many there are.
pub fn put_items<E>(out: &mut Vec<u8>, items: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>) -> Result<(), E> {
    let start = out.len();
    // A count below 64 takes this one byte; a larger one moves the items.
    out.push(0);
    let count = items(out)? as i64;
    if count == 0 {
        return Ok(());
    }
    match long_size(count) {
        1 => out[start] = zigzag(count) as u8,
        _ => {
            let mut prefix = Vec::with_capacity(LONGEST);
            put_long(count, &mut prefix);
            out.splice(start..=start, prefix);
        }
    }
    out.push(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(number: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put_long(number, &mut out);
        assert_eq!(out.len(), long_size(number), "{number}");
        out
    }

    #[test]
    fn longs_are_as_in_the_specification() {
        assert_eq!(long(0), [0]);
        assert_eq!(long(-1), [1]);
        assert_eq!(long(1), [2]);
        assert_eq!(long(-64), [0x7f]);
        assert_eq!(long(64), [0x80, 0x01]);
        assert_eq!(long(i64::MAX), [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert_eq!(long(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn items_are_one_block_or_none() {
        let items = |count: usize| {
            let mut out = vec![9];
            let items = |out: &mut Vec<u8>| {
                out.extend(vec![7; count]);
                Ok::<usize, ()>(count)
            };
            put_items(&mut out, items).unwrap();
            out
        };
        assert_eq!(items(0), [9, 0]);
        assert_eq!(items(2), [9, 4, 7, 7, 0]);
        assert_eq!(items(64)[..4], [9, 0x80, 0x01, 7]);
        assert_eq!(items(64).len(), 1 + 2 + 64 + 1);
    }
}
