//! Finds the bytes at which a string may end, 64 at a time, ahead of the scanner that wants them.
//!
//! What makes scanning fast: the positions of quotes, backslashes and control characters are found without looking at what they
//! mean, so that the processor works on many at once, and the scanner then jumps from one to the next.

/// Bytes that are looked at ahead of the scanner: a few records.
const WINDOW: usize = 4096;
const BLOCK: usize = 64;

/// The stops of a text, from one position on; a window of them at a time.
pub struct Stops {
    /// `positions[next..filled]` are the stops that were found and not taken. One block more than a window has.
    positions: Vec<u32>,
    next: usize,
    filled: usize,
    /// The bytes before this one were looked at.
    seen: usize,
}

impl Default for Stops {
    fn default() -> Self {
        Stops { positions: vec![0; WINDOW + BLOCK], next: 0, filled: 0, seen: 0 }
    }
}

impl Stops {
    /// Forgets the text that was scanned before.
    #[inline]
    pub fn reset(&mut self) {
        (self.next, self.filled, self.seen) = (0, 0, 0);
    }

    /// Takes the first stop of `data[..end]` at `from` or after it; `end` where there is none. `from` never goes back.
    #[inline(always)]
    pub fn take(&mut self, data: &[u8], end: usize, from: usize) -> usize {
        loop {
            while self.next < self.filled {
                let at = self.positions[self.next] as usize;
                self.next += 1;
                if at >= from {
                    return at;
                }
            }
            if self.seen >= end || from >= end {
                return end;
            }
            self.refill(data, end, from);
        }
    }

    /// Looks at the next window, from `from` on if nothing before that was looked at.
    #[inline(never)]
    fn refill(&mut self, data: &[u8], end: usize, from: usize) {
        let start = self.seen.max(from);
        self.seen = end.min(start + WINDOW);
        self.next = 0;
        self.filled = index(data, start, self.seen, &mut self.positions);
    }
}

/// Puts the stops in `data[start..end]` into `positions`; returns how many there are.
#[cfg(target_arch = "x86_64")]
fn index(data: &[u8], start: usize, end: usize, positions: &mut [u32]) -> usize {
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi1") {
        // SAFETY: the processor has what the function is compiled for.
        unsafe { x86::index_avx2(data, start, end, positions) }
    } else {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { x86::index_sse2(data, start, end, positions) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn index(data: &[u8], start: usize, end: usize, positions: &mut [u32]) -> usize {
    index_with(mask, data, start, end, positions)
}

/// `mask` says which bytes of a block are stops: bit `i` for byte `i`.
#[inline(always)]
fn index_with(
    mask: impl Fn(&[u8; BLOCK]) -> u64,
    data: &[u8],
    start: usize,
    end: usize,
    positions: &mut [u32],
) -> usize {
    // All masks first, at one place: else the compiler takes them apart bit by bit.
    let mut masks = [0; WINDOW / BLOCK];
    let blocks = (end - start).div_ceil(BLOCK);
    for (i, stops) in masks[..blocks].iter_mut().enumerate() {
        let at = start + i * BLOCK;
        let mut padded = [b' '; BLOCK];
        let block = match data[at..].first_chunk() {
            Some(block) => block,
            None => {
                padded[..data.len() - at].copy_from_slice(&data[at..]);
                &padded
            }
        };
        *stops = mask(block);
    }
    if let Some(last) = masks[..blocks].last_mut() {
        let after = blocks * BLOCK - (end - start);
        *last = *last << after >> after;
    }
    let mut filled = 0;
    for (i, &mask) in masks[..blocks].iter().enumerate() {
        let at = (start + i * BLOCK) as u32;
        let mut stops = mask;
        // Eight are written whether or not there are so many: that costs less than asking each time.
        let out: &mut [u32; BLOCK] = positions[filled..].first_chunk_mut().expect("a block more than a window has");
        let count = stops.count_ones() as usize;
        for eight in out.chunks_exact_mut(8).take(count.div_ceil(8).max(1)) {
            for position in eight {
                *position = at.wrapping_add(stops.trailing_zeros());
                stops &= stops.wrapping_sub(1);
            }
        }
        filled += count;
    }
    filled
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn mask(block: &[u8; BLOCK]) -> u64 {
    let is_stop = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    block.iter().enumerate().fold(0, |mask, (i, &byte)| mask | u64::from(is_stop(byte)) << i)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCK, index_with};

    #[target_feature(enable = "avx2,bmi1,popcnt")]
    pub fn index_avx2(data: &[u8], start: usize, end: usize, positions: &mut [u32]) -> usize {
        index_with(|block| mask_avx2(block), data, start, end, positions)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn mask_avx2(block: &[u8; BLOCK]) -> u64 {
        let half = |at: usize| {
            // SAFETY: 32 bytes from 0 or 32 on are inside the block; the load needs no alignment.
            let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().add(at).cast()) };
            let quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'"' as i8));
            let backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\' as i8));
            let control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
            _mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(quote, backslash), control)) as u32
        };
        u64::from(half(0)) | u64::from(half(32)) << 32
    }

    #[target_feature(enable = "sse2")]
    pub fn index_sse2(data: &[u8], start: usize, end: usize, positions: &mut [u32]) -> usize {
        index_with(|block| mask_sse2(block), data, start, end, positions)
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    fn mask_sse2(block: &[u8; BLOCK]) -> u64 {
        let quarter = |at: usize| {
            // SAFETY: 16 bytes from 0, 16, 32 or 48 on are inside the block; the load needs no alignment.
            let bytes = unsafe { _mm_loadu_si128(block.as_ptr().add(at).cast()) };
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            u64::from(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)) as u32)
        };
        quarter(0) | quarter(16) << 16 | quarter(32) << 32 | quarter(48) << 48
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stops_are_quotes_backslashes_and_control_characters(
            data in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'x'), Just(b'"')], 0..9000),
            from in 0usize..100, cut in 0usize..100,
        ) {
            let end = data.len().saturating_sub(cut);
            let expected: Vec<usize> = (from..end).filter(|&i| matches!(data[i], b'"' | b'\\' | 0..=0x1f)).collect();
            let (mut stops, mut found, mut at) = (Stops::default(), vec![], from);
            loop {
                let stop = stops.take(&data, end, at);
                if stop == end { break }
                found.push(stop);
                at = stop + 1;
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn every_instruction_set_finds_the_same(block in proptest::array::uniform32(any::<u8>()), more in proptest::array::uniform32(0u8..0x60)) {
            let block: [u8; BLOCK] = [block, more].concat().try_into().unwrap();
            let mut positions = vec![0; WINDOW + BLOCK];
            let count = index(&block, 0, BLOCK, &mut positions);
            let expected: Vec<u32> = (0..BLOCK as u32).filter(|i| mask(&block) >> i & 1 == 1).collect();
            prop_assert_eq!(&positions[..count], &expected[..]);
            #[cfg(target_arch = "x86_64")]
            {
                // SAFETY: SSE2 is part of x86-64.
                let count = unsafe { x86::index_sse2(&block, 0, BLOCK, &mut positions) };
                prop_assert_eq!(&positions[..count], &expected[..]);
            }
        }
    }

    #[test]
    fn what_lies_before_the_position_asked_for_is_skipped_across_windows() {
        let mut data = vec![b'x'; 3 * WINDOW];
        (data[5], data[WINDOW + 5], data[2 * WINDOW + 7]) = (b'"', b'"', b'"');
        let mut stops = Stops::default();
        assert_eq!(stops.take(&data, data.len(), 0), 5);
        assert_eq!(stops.take(&data, data.len(), 2 * WINDOW + 1), 2 * WINDOW + 7);
        assert_eq!(stops.take(&data, data.len(), 2 * WINDOW + 8), 3 * WINDOW);
        stops.reset();
        assert_eq!(stops.take(&data, 5, 0), 5, "nothing before the end");
    }
}
