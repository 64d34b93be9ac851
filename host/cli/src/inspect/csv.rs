//! CSV, with or without a row of names: rows and columns are counted.

use std::io::{self, Read};

use csv::{ByteRecord, ReaderBuilder};

use super::LONGEST;
use super::input::{Input, Stop};

/// What is in the rows.
#[derive(Debug, Default)]
pub struct Csv {
    pub records: u64,
    /// The columns of the shortest and of the longest row.
    pub columns: Option<(usize, usize)>,
    /// Where the first row has them.
    pub names: Option<Vec<String>>,
    pub first: Vec<Vec<String>>,
}

impl Csv {
    /// Reads a whole file, and keeps the first `most` rows; the very first has names where there are `headers`.
    pub fn read(&mut self, input: &mut Input, most: usize, headers: bool) -> Result<(), Stop> {
        let guarded = Guarded { input, since: 0, quotes: 0, too_long: false };
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(guarded);
        let mut row = ByteRecord::new();
        let mut start = 0;
        while reader.read_byte_record(&mut row).map_err(io::Error::from)? {
            start = row.position().map_or(start, csv::Position::byte);
            if reader.get_ref().too_long {
                return Err(Stop::damaged(start, format!("a row of at most {LONGEST} bytes")));
            }
            reader.get_mut().since = 0;
            let fields = || row.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
            if headers && self.names.is_none() {
                self.names = Some(fields());
                continue;
            }
            self.records += 1;
            let (fewest, widest) = self.columns.unwrap_or((row.len(), row.len()));
            self.columns = Some((fewest.min(row.len()), widest.max(row.len())));
            if self.first.len() < most {
                self.first.push(fields());
            }
        }
        match reader.get_ref().quotes % 2 {
            0 => Ok(()),
            _ => Err(Stop::damaged(start, "a row in which every quote is closed")),
        }
    }

    /// What the columns are called: by their names, or by their numbers.
    pub fn titles(&self) -> Vec<String> {
        let mut titles = self.names.clone().unwrap_or_default();
        let columns = self.columns.map_or(0, |(_, widest)| widest);
        titles.extend((titles.len()..columns).map(|column| (column + 1).to_string()));
        titles
    }
}

/// Ends where a row does not: a quote that is never closed makes one of the rest of the file.
struct Guarded<'a> {
    input: &'a mut Input,
    /// Bytes read since a row ended.
    since: u64,
    quotes: u64,
    /// Set for good once a row was ended that goes on.
    too_long: bool,
}

impl Read for Guarded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.too_long |= self.since > LONGEST;
        if self.too_long {
            return Ok(0);
        }
        let read = self.input.read(buf)?;
        self.since += read as u64;
        self.quotes += memchr::memchr_iter(b'"', &buf[..read]).count() as u64;
        Ok(read)
    }
}
