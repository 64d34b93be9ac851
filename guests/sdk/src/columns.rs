//! What a plugin asks the host to take out of each record.

use crate::bindings::records::ColumnRequest;

/// The columns of every batch, in this order. Written with [`columns!`](crate::columns!).
#[derive(Debug, Clone, Default)]
pub struct Columns(pub Vec<ColumnRequest>);

impl<const N: usize> From<[ColumnRequest; N]> for Columns {
    fn from(requests: [ColumnRequest; N]) -> Self {
        Columns(requests.into())
    }
}

/// One function for each column type, as [`columns!`](crate::columns!) reads them.
///
/// Each takes where the column comes from: an [`Attribute`](crate::Attribute), an RFC 6901 pointer into the body such as
/// `"/device/id"`, or a [`lookup`](request::lookup) in another export's table. A value that is absent or does not convert is
/// null.
pub mod request {
    use crate::bindings::records::{Attribute, ColumnRequest, ColumnType, Lookup, Selector};

    /// Where a column comes from.
    pub trait From {
        fn selector(self) -> Selector;
    }

    impl From for Attribute {
        fn selector(self) -> Selector {
            Selector::Attribute(self)
        }
    }

    impl From for &str {
        fn selector(self) -> Selector {
            Selector::Pointer(self.to_owned())
        }
    }

    impl From for String {
        fn selector(self) -> Selector {
            Selector::Pointer(self)
        }
    }

    impl From for Lookup {
        fn selector(self) -> Selector {
            Selector::Lookup(self)
        }
    }

    /// A value of another export's table: at `pointer` in the document whose key is the record's subject, as last committed.
    ///
    /// `table` is the name of an export of type `changes`; `pointer` is an RFC 6901 pointer, and an empty one is the whole
    /// document. A record whose subject is not in the table has no value.
    ///
    /// ```
    /// use lakeport_plugin::{prelude::*, testing};
    ///
    /// let columns = columns![text("/deviceId"), text(lookup("devices", "/name"))];
    /// let devices = [("devices", "d1", r#"{"name": "Kitchen"}"#)];
    /// let batch = testing::batch_with(&columns, &[r#"{"deviceId": "d1"}"#, r#"{"deviceId": "d2"}"#], &devices);
    /// assert_eq!((batch.row(0).text(1), batch.row(1).text(1)), (Some("Kitchen"), None));
    /// ```
    pub fn lookup(table: impl Into<String>, pointer: impl Into<String>) -> Lookup {
        Lookup { table: table.into(), pointer: pointer.into() }
    }

    /// The pointer to a member of the body, whatever its name is: `member("a/b")` is `/a~1b`.
    pub fn member(name: &str) -> String {
        format!("/{}", name.replace('~', "~0").replace('/', "~1"))
    }

    macro_rules! requests {
        ($($(#[$doc:meta])* $name:ident => $ty:ident,)*) => {$(
            $(#[$doc])*
            pub fn $name(from: impl From) -> ColumnRequest {
                ColumnRequest { selector: from.selector(), as_type: ColumnType::$ty }
            }
        )*};
    }

    requests! {
        /// Read with [`Row::boolean`](crate::Row::boolean).
        boolean => Boolean,
        /// Read with [`Row::integer`](crate::Row::integer).
        integer => Int64,
        /// Read with [`Row::number`](crate::Row::number).
        number => Float64,
        /// Read with [`Row::timestamp`](crate::Row::timestamp).
        timestamp => Timestamp,
        /// Read with [`Row::text`](crate::Row::text).
        text => Text,
        /// Read with [`Row::json`](crate::Row::json).
        json => Json,
        /// Read with [`Row::bytes`](crate::Row::bytes).
        bytes => Bytes,
        /// Read with [`Row::pairs`](crate::Row::pairs).
        pairs => TextMap,
    }
}

/// The columns a plugin wants: `columns![number("/temperature"), text(Attribute::Kind), text(lookup("devices", "/name"))]`.
///
/// The functions are those of [`request`].
#[macro_export]
macro_rules! columns {
    ($($request:expr),* $(,)?) => {{
        #[allow(unused_imports)]
        use $crate::request::{boolean, bytes, integer, json, lookup, number, pairs, text, timestamp};
        $crate::Columns(vec![$($request),*])
    }};
}
