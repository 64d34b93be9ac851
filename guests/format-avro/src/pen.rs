//! Writing many short values fast: room for all of them is made once, and each is copied without a call.

use std::mem::MaybeUninit;

use crate::binary::zigzag;

/// Adds to `out` what `write` writes, which is at most `most` bytes.
#[inline(always)]
pub fn append(out: &mut Vec<u8>, most: usize, write: impl FnOnce(&mut Pen)) {
    let before = out.len();
    out.reserve(most);
    let mut pen = Pen { free: &mut out.spare_capacity_mut()[..most], written: 0 };
    write(&mut pen);
    let written = pen.written;
    // SAFETY: a pen writes all of the free bytes up to `written`, and they begin at `before`.
    unsafe { out.set_len(before + written) };
}

/// Writes one value after the other to bytes that are free.
pub struct Pen<'a> {
    free: &'a mut [MaybeUninit<u8>],
    written: usize,
}

impl Pen<'_> {
    #[inline(always)]
    fn put(&mut self, from: &[u8]) {
        let end = self.written + from.len();
        copy(from, &mut self.free[self.written..end]);
        self.written = end;
    }

    /// Bytes of a known length.
    #[inline(always)]
    pub fn array<const N: usize>(&mut self, from: &[u8; N]) {
        let end = self.written + N;
        self.free[self.written..end].write_copy_of_slice(from);
        self.written = end;
    }

    /// A length or a count.
    #[inline(always)]
    pub fn count(&mut self, count: usize) {
        // Most are of one byte or two.
        match zigzag(count as i64) {
            short @ 0..0x80 => self.array(&[short as u8]),
            middle @ 0x80..0x4000 => self.array(&[middle as u8 | 0x80, (middle >> 7) as u8]),
            long => self.long_count(long),
        }
    }

    #[inline(never)]
    fn long_count(&mut self, mut rest: u64) {
        while rest >= 0x80 {
            self.array(&[rest as u8 | 0x80]);
            rest >>= 7;
        }
        self.array(&[rest as u8]);
    }

    /// A length and the bytes.
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.put(bytes);
    }

    /// A key and a value.
    #[inline(always)]
    pub fn pair(&mut self, (key, value): (&[u8], &[u8])) {
        self.bytes(key);
        self.bytes(value);
    }

    /// The end of a map: the count of an empty one was the end already.
    #[inline(always)]
    pub fn end(&mut self, count: usize) {
        if count > 0 {
            self.array(&[0]);
        }
    }
}

/// From here on a call costs less than the steps do.
const LONG: usize = 128;

/// Copies all of `from` to `to`, which is as long.
///
/// In WebAssembly a copy whose length is not known is a call out of the plugin, which costs more than most of these
/// values do: so short ones are made of copies of a known length. The last one overlaps the one before.
#[inline(always)]
fn copy(from: &[u8], to: &mut [MaybeUninit<u8>]) {
    match from.len() {
        LONG.. => _ = to.write_copy_of_slice(from),
        33.. => {
            last::<32>(from, to);
            for (step, to) in from.as_chunks::<32>().0.iter().zip(to.as_chunks_mut::<32>().0) {
                to.write_copy_of_slice(step);
            }
        }
        16.. => {
            first::<16>(from, to);
            last::<16>(from, to);
        }
        8.. => {
            first::<8>(from, to);
            last::<8>(from, to);
        }
        4.. => {
            first::<4>(from, to);
            last::<4>(from, to);
        }
        2.. => {
            first::<2>(from, to);
            last::<2>(from, to);
        }
        _ => last::<1>(from, to),
    }
}

#[inline(always)]
fn first<const N: usize>(from: &[u8], to: &mut [MaybeUninit<u8>]) {
    if let Some((from, to)) = from.first_chunk::<N>().zip(to.first_chunk_mut::<N>()) {
        to.write_copy_of_slice(from);
    }
}

#[inline(always)]
fn last<const N: usize>(from: &[u8], to: &mut [MaybeUninit<u8>]) {
    if let Some((from, to)) = from.last_chunk::<N>().zip(to.last_chunk_mut::<N>()) {
        to.write_copy_of_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_are_copied_whole() {
        let text: Vec<u8> = (0..200).collect();
        for length in 0..200 {
            let mut out = vec![7];
            append(&mut out, 220, |pen| pen.pair((&text[..length], &text[length..])));
            let mut expected = vec![7];
            crate::binary::put_bytes(&text[..length], &mut expected);
            crate::binary::put_bytes(&text[length..], &mut expected);
            assert_eq!(out, expected);
        }
    }
}
