//! Answers by name, remembered.

/// Distinct names remembered at once. One more empties the memo: inputs with that many kinds are no worse off than without it.
const NAMES: usize = 4096;
/// Twice as many slots as names keep runs of taken slots short.
const SLOTS: usize = 2 * NAMES;

/// A hash table from names to answers that allocates nothing to look one up.
///
/// Names differ from row to row, so what costs time here is a branch on a name's length or bytes that the CPU cannot foresee,
/// and `memcmp`, which WebAssembly does not have. A name of up to 24 bytes is therefore three words, read without looking at
/// its length and masked afterwards; comparing the words compares the names. Only what is longer is compared byte by byte.
#[derive(Default)]
pub struct Memo {
    /// Empty until the first name.
    slots: Vec<Slot>,
    /// What names have after their words, end to end.
    rests: Vec<u8>,
    count: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    key: Key,
    /// Where the rest is in `rests`.
    rest: u32,
    taken: bool,
    answer: bool,
}

/// A name's length and first bytes, with zeros after its end.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Key {
    words: [u64; WORDS],
    length: u32,
}

const WORDS: usize = 3;
const BYTES: usize = 8 * WORDS;

/// The lowest 0, 1, … 8 bytes of a word.
const MASKS: [u64; 9] = [0, 0xff, 0xffff, 0xff_ffff, 0xffff_ffff, 0xff_ffff_ffff, !0 >> 16, !0 >> 8, !0];

impl Key {
    #[inline]
    fn new(data: &[u8], start: usize, length: usize) -> Key {
        let mut copy = [0; BYTES];
        // Reads on into the names that follow; the last few names have none and are copied.
        let window = data.get(start..).and_then(|from| from.first_chunk()).unwrap_or_else(|| {
            let short = length.min(BYTES);
            copy[..short].copy_from_slice(&data[start..start + short]);
            &copy
        });
        let mut words = [0; WORDS];
        for (at, (word, bytes)) in words.iter_mut().zip(window.as_chunks::<8>().0).enumerate() {
            *word = u64::from_le_bytes(*bytes) & MASKS[length.saturating_sub(8 * at).min(8)];
        }
        Key { words, length: length as u32 }
    }

    /// The slot that the name is looked for first.
    #[inline]
    fn home(&self) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |state: u64, word: &u64| (state.rotate_left(23) ^ word).wrapping_mul(MIX);
        (self.words.iter().fold(self.length.into(), mix) >> 32) as usize % SLOTS
    }
}

impl Memo {
    /// The answer for the name `data[start..end]`: `work_out` of it, or what that gave before.
    #[inline]
    pub fn answer(&mut self, data: &[u8], start: usize, end: usize, work_out: impl FnOnce(&[u8]) -> bool) -> bool {
        let key = Key::new(data, start, end - start);
        let rest = if end - start > BYTES { &data[start + BYTES..end] } else { &[] };
        let mut at = key.home();
        while let Some(slot) = self.slots.get(at).filter(|slot| slot.taken) {
            if slot.key == key && (rest.is_empty() || self.rests[slot.rest as usize..].starts_with(rest)) {
                return slot.answer;
            }
            at = (at + 1) % SLOTS;
        }
        let answer = work_out(&data[start..end]);
        self.remember(key, rest, answer);
        answer
    }

    #[cold]
    fn remember(&mut self, key: Key, rest: &[u8], answer: bool) {
        if self.count == NAMES || self.slots.is_empty() {
            self.slots.clear();
            self.slots.resize(SLOTS, Slot::default());
            self.rests.clear();
            self.count = 0;
        }
        let slot = Slot { key, rest: self.rests.len() as u32, taken: true, answer };
        self.rests.extend_from_slice(rest);
        let mut at = key.home();
        while self.slots[at].taken {
            at = (at + 1) % SLOTS;
        }
        self.slots[at] = slot;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_worked_out_once() {
        let mut memo = Memo::default();
        let long = "abcdefghijklmnopqrstuvwxyz".repeat(3);
        let of_every_length = (0..long.len()).map(|length| long[..length].to_owned());
        // One byte changed, wherever it is, is another name.
        let changed = (0..30).map(|at| format!("{}_{}", &long[..at], &long[at + 1..30]));
        for name in of_every_length.chain(changed) {
            let mut asked = false;
            // Between other bytes, and at the very end, where there is nothing to read on into.
            let (amid, at_the_end) = (format!("<{name}>{long}"), format!("<{name}"));
            let end = 1 + name.len();
            assert!(memo.answer(amid.as_bytes(), 1, end, |given| {
                asked = given == name.as_bytes();
                true
            }));
            assert!(asked, "`{name}` is new");
            assert!(memo.answer(at_the_end.as_bytes(), 1, end, |_| panic!("`{name}` is known")));
        }
    }

    #[test]
    fn more_names_than_fit_start_it_afresh() {
        let mut memo = Memo::default();
        for n in 0..3 * NAMES {
            let name = n.to_string();
            assert_eq!(memo.answer(name.as_bytes(), 0, name.len(), |_| n % 3 == 0), n % 3 == 0);
        }
        assert_eq!(memo.count, NAMES);
        assert!(!memo.answer(b"0", 0, 1, |_| false), "the first names were forgotten");
    }
}
