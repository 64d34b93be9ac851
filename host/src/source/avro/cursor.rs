//! Avro's binary encoding, as far as every part of a file shares it.

/// A place in bytes.
#[derive(Debug)]
pub struct Cursor<'a> {
    data: &'a [u8],
    pub at: usize,
}

/// Why nothing could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The bytes end before it does.
    End,
    /// What was found and what was expected.
    Wrong(String),
}

impl<'a> Cursor<'a> {
    pub fn new(data: &'a [u8], at: usize) -> Self {
        Cursor { data, at }
    }

    /// The next bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Trouble> {
        let end = self.at.checked_add(count).ok_or(Trouble::End)?;
        let taken = self.data.get(self.at..end).ok_or(Trouble::End)?;
        self.at = end;
        Ok(taken)
    }

    /// An `int` or `long`: variable length, zigzag.
    pub fn long(&mut self) -> Result<i64, Trouble> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(Trouble::Wrong("a number of more than 10 bytes".into()))
    }

    /// `bytes` or a `string`: a length, then so many.
    pub fn bytes(&mut self) -> Result<&'a [u8], Trouble> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| Trouble::Wrong(format!("a length of {length}")))?;
        self.take(length)
    }

    /// How many items the next block of an array or map has; `None` after its last.
    pub fn items(&mut self) -> Result<Option<u64>, Trouble> {
        let count = self.long()?;
        if count < 0 {
            // The block's size in bytes follows.
            self.long()?;
        }
        Ok(if count == 0 { None } else { Some(count.unsigned_abs()) })
    }
}
