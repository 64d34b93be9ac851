//! GUIDs in rows' keys: they are the same in upper and lower case, and kept in lower case.

use super::{DataType, TableSchema, text_of};
use crate::decode::{fold_guid, is_guid, key_text, values_in};

/// Of each column of a table's key, in its order, whether it holds GUIDs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyGuids(Vec<bool>);

impl KeyGuids {
    /// For the columns at these pointers.
    pub fn new(key: &[String], mut holds_guids: impl FnMut(&String) -> bool) -> KeyGuids {
        KeyGuids(key.iter().map(&mut holds_guids).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }

    /// The key text of the values of the key's columns; `None` where one of them is absent or null.
    pub fn key_text<'v>(&self, values: impl IntoIterator<Item = Option<&'v [u8]>>) -> Option<String> {
        let given = |value: Option<&'v [u8]>| value.filter(|value| *value != b"null");
        let values = values.into_iter().map(given).collect::<Option<Vec<_>>>()?;
        if self.is_empty() {
            return Some(key_text(&values));
        }
        let fold = |(value, holds_guids): (&&[u8], &bool)| {
            let mut value = value.to_vec();
            if *holds_guids && text_of(&value).is_some_and(|text| is_guid(&text)) {
                value.make_ascii_lowercase();
            }
            value
        };
        let values: Vec<Vec<u8>> = values.iter().zip(&self.0).map(fold).collect();
        Some(key_text(&values.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    }

    /// The key text as rows have it of one that an envelope has; `None` where it is not that of as many columns.
    pub fn fold(&self, text: &str) -> Option<String> {
        match *self.0 {
            [false] => Some(text.to_owned()),
            [true] => Some(fold_guid(text.to_owned())),
            _ => {
                let values = values_in(text.as_bytes()).filter(|values| values.len() == self.0.len())?;
                self.key_text(values.into_iter().map(Some))
            }
        }
    }
}

/// Whether the column at `pointer`, one of a key, is a GUID in `schema`.
pub fn is_guid_column(pointer: &str, schema: &TableSchema) -> bool {
    let name = pointer.strip_prefix('/').map(|name| name.replace("~1", "/").replace("~0", "~"));
    let mut columns = schema.columns.iter();
    columns.any(|column| column.data_type == DataType::Guid && Some(&column.name) == name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPPER: &str = "60C4E274-0000-4000-8000-00000000000A";

    fn guids(holds_guids: &[bool]) -> KeyGuids {
        KeyGuids(holds_guids.to_vec())
    }

    #[test]
    fn a_guid_in_a_key_is_kept_in_lower_case() {
        let lower = UPPER.to_lowercase();
        assert_eq!(guids(&[true]).fold(UPPER).as_ref(), Some(&lower));
        assert_eq!(guids(&[false]).fold(UPPER).as_deref(), Some(UPPER));
        assert_eq!(guids(&[true]).fold("ABC").as_deref(), Some("ABC"), "that is none");
        let pair = format!(r#"["ABC","{UPPER}"]"#);
        assert_eq!(guids(&[false, true]).fold(&pair), Some(format!(r#"["ABC","{lower}"]"#)));
        assert_eq!(guids(&[false, false]).fold(&pair).as_ref(), Some(&pair));
        let values = [Some(&b"\"ABC\""[..]), Some(&pair.as_bytes()[7..45])];
        assert_eq!(guids(&[false, true]).key_text(values), guids(&[false, true]).fold(&pair));
    }

    #[test]
    fn a_key_of_several_columns_is_the_array_of_them_however_it_is_written() {
        let two = guids(&[false, false]);
        assert_eq!(two.fold("[ 7, \"\\u0062\" ]").as_deref(), Some(r#"[7,"b"]"#));
        for other in ["7", "[7]", "[7,null]", "[7,8,9]", "[7,8", "{}", ""] {
            assert_eq!(two.fold(other), None, "{other}");
        }
    }
}
