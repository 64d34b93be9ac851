//! Files brought to more columns: a comma for each at the end of every row, since null is nothing between commas.
//!
//! A row ends at a line feed outside quotes. A quote within quotes is doubled, so that counting quotes is enough, wherever the
//! bytes are cut.

use lakeport_plugin::prelude::*;

use crate::layout::Layout;

/// Adds columns at the end of every row.
#[derive(Debug)]
pub struct CsvWidener {
    /// A comma for each column that is new.
    commas: Vec<u8>,
    quoted: bool,
    /// The last byte was the end of a row, or there was none.
    between_rows: bool,
}

impl CsvWidener {
    /// A widener from the columns `before` to the columns `after`.
    ///
    /// # Errors
    /// Where `after` is not `before` and more columns behind it.
    pub fn new(before: &TableSchema, after: &TableSchema) -> Result<CsvWidener> {
        let (old, new) = (Layout::new(before)?, Layout::new(after)?);
        let mut names = new.names();
        for (at, name) in old.names().enumerate() {
            let found = names.next();
            if found != Some(name) {
                let found = found.map_or(String::from("nothing"), |found| format!("`{found}`"));
                return Err(Error::UnsupportedSchema(format!(
                    "files of table `{}` have `{name}` as column {}, and now {found} stands there, expected new columns behind the \
                     others only; unlink the table and link it again",
                    before.table,
                    at + 1
                )));
            }
        }
        Ok(CsvWidener { commas: vec![b','; names.count()], quoted: false, between_rows: true })
    }
}

impl Widener for CsvWidener {
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
        let mut from = 0;
        for at in memchr::memchr2_iter(b'"', b'\n', bytes) {
            if bytes[at] == b'"' {
                self.quoted = !self.quoted;
            } else if !self.quoted {
                out.extend_from_slice(&bytes[from..at]);
                out.extend_from_slice(&self.commas);
                from = at;
            }
        }
        out.extend_from_slice(&bytes[from..]);
        if let Some(last) = bytes.last() {
            self.between_rows = *last == b'\n' && !self.quoted;
        }
        Ok(out)
    }

    fn finish(&mut self) -> Result<Vec<u8>> {
        match self.between_rows {
            true => Ok(Vec::new()),
            false => Err(Error::Other("the file ends in the middle of a row, expected a line feed at its end".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lakeport_plugin::testing::table_schema;
    use proptest::prelude::*;

    fn schema(columns: &[&str], added: &[&str]) -> TableSchema {
        let all: Vec<(&str, &str)> = columns.iter().chain(added).map(|name| (*name, "string")).collect();
        let mut schema = table_schema("account", &all);
        schema.columns.iter_mut().skip(columns.len()).for_each(|column| column.added = true);
        schema
    }

    fn widened(chunks: &[&str]) -> String {
        let mut widener = CsvWidener::new(&schema(&["a"], &[]), &schema(&["a"], &["b", "c"])).unwrap();
        let mut out: Vec<u8> = chunks.iter().flat_map(|chunk| widener.push(chunk.as_bytes()).unwrap()).collect();
        out.extend(widener.finish().unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_row_gets_a_comma_for_each_new_column() {
        assert_eq!(widened(&["1,\"x\"\n2,\n"]), "1,\"x\",,\n2,,,\n");
        assert_eq!(widened(&[]), "");
    }

    #[test]
    fn a_line_feed_in_quotes_ends_no_row() {
        assert_eq!(widened(&["1,\"x\n\"\"\n\",\"\"\n"]), "1,\"x\n\"\"\n\",\"\",,\n");
    }

    #[test]
    fn a_file_that_ends_within_a_row_is_refused() {
        for text in ["1", "1,\"x\n", "1\n2"] {
            let mut widener = CsvWidener::new(&schema(&["a"], &[]), &schema(&["a"], &["b"])).unwrap();
            widener.push(text.as_bytes()).unwrap();
            let error = widener.finish().unwrap_err().to_string();
            assert_eq!(error, "the file ends in the middle of a row, expected a line feed at its end");
        }
    }

    #[test]
    fn columns_that_are_not_behind_the_others_are_refused() {
        let error = CsvWidener::new(&schema(&["a"], &[]), &schema(&["a", "b"], &[])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "files of table `account` have `versionnumber` as column 5, and now `b` stands there, expected new columns behind the \
             others only; unlink the table and link it again"
        );
        let error = CsvWidener::new(&schema(&["a"], &["b"]), &schema(&["a"], &[])).unwrap_err();
        assert!(error.to_string().contains("have `b` as column 7, and now nothing stands there"), "{error}");
        assert!(CsvWidener::new(&schema(&["a"], &[]), &schema(&["a"], &[])).is_ok());
    }

    proptest! {
        #[test]
        fn bytes_may_be_cut_anywhere(
            text in "([a,]{0,3}|\"([a,\n]|\"\"){0,4}\"|\n){0,12}",
            cuts in prop::collection::vec(0..40_usize, 0..5),
        ) {
            let whole = text + "\n";
            prop_assume!(whole.matches('"').count().is_multiple_of(2));
            let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            ends.sort_unstable();
            ends.push(whole.len());
            let mut from = 0;
            let mut pieces = Vec::new();
            for end in ends {
                pieces.push(&whole[from..end]);
                from = end;
            }
            prop_assert_eq!(widened(&pieces), widened(&[&whole]));
        }
    }
}
