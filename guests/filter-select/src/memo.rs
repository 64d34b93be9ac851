//! Answers by name, remembered.

/// Distinct names remembered at once. One more empties the memo: inputs with that many kinds are no worse off than without it.
const NAMES: usize = 4096;
/// Twice as many slots as names keep runs of taken slots short.
const SLOTS: usize = 2 * NAMES;

/// A hash table from names to answers whose names lie end to end in one buffer, so that a look-up allocates nothing.
#[derive(Default)]
pub struct Memo {
    /// Empty until the first name; an entry whose `end` is 0 is free.
    slots: Vec<Slot>,
    names: Vec<u8>,
    count: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u32,
    start: u32,
    /// One more than where the name ends, so that an empty name at the start is taken.
    end: u32,
    answer: bool,
}

impl Memo {
    /// The answer for `name`: `work_out(name)`, or what that gave before.
    #[inline]
    pub fn answer(&mut self, name: &[u8], work_out: impl FnOnce(&[u8]) -> bool) -> bool {
        let hash = hash(name);
        let mut at = hash as usize % SLOTS;
        while let Some(slot) = self.slots.get(at).filter(|slot| slot.end != 0) {
            if slot.hash == hash && &self.names[slot.start as usize..slot.end as usize - 1] == name {
                return slot.answer;
            }
            at = (at + 1) % SLOTS;
        }
        let answer = work_out(name);
        self.remember(name, hash, answer);
        answer
    }

    #[cold]
    fn remember(&mut self, name: &[u8], hash: u32, answer: bool) {
        if self.count == NAMES || self.slots.is_empty() {
            self.slots.clear();
            self.slots.resize(SLOTS, Slot::default());
            self.names.clear();
            self.count = 0;
        }
        let start = self.names.len() as u32;
        self.names.extend_from_slice(name);
        let mut at = hash as usize % SLOTS;
        while self.slots[at].end != 0 {
            at = (at + 1) % SLOTS;
        }
        self.slots[at] = Slot { hash, start, end: self.names.len() as u32 + 1, answer };
        self.count += 1;
    }
}

/// Multiplies eight bytes at a time; the last word overlaps the one before, and short names are one padded word.
#[inline]
fn hash(name: &[u8]) -> u32 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let mut state = name.len() as u64 ^ MIX;
    let mut add = |word: u64| state = (state.rotate_left(5) ^ word).wrapping_mul(MIX);
    if name.len() >= 8 {
        name.chunks_exact(8).for_each(|chunk| add(word(chunk)));
        add(word(&name[name.len() - 8..]));
    } else {
        add(name.iter().fold(0, |packed, &byte| packed << 8 | u64::from(byte)));
    }
    (state >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_worked_out_once() {
        let mut memo = Memo::default();
        for name in ["", "a", "eight888", "eight888+", "eight888-"] {
            assert!(memo.answer(name.as_bytes(), |asked| asked == name.as_bytes()));
            assert!(memo.answer(name.as_bytes(), |_| panic!("`{name}` is known")));
        }
    }

    #[test]
    fn more_names_than_fit_start_it_afresh() {
        let mut memo = Memo::default();
        for n in 0..3 * NAMES {
            assert_eq!(memo.answer(n.to_string().as_bytes(), |_| n % 3 == 0), n % 3 == 0);
        }
        assert_eq!(memo.count, NAMES);
        assert!(!memo.answer(b"0", |_| false), "the first names were forgotten");
    }
}
