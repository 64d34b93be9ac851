//! Table formats: the rows of tables as the bytes of files, and the files that describe them all.

pub use crate::bindings::catalog::exports::lakeport::plugin::catalog::{
    CatalogFile, Dataset, Partition, SyncState, Table,
};
pub use crate::bindings::schema::{Choice, ColumnSchema, TableSchema};
use crate::{Format, Result};

/// A [`Format`] that writes the rows of a table whose columns it is told, and describes the tables of a dataset.
///
/// The records of a table are its rows as they are now: the body is the row as a JSON object, `subject` its key, `version` that
/// of its last change, `time` the write time of the commit that changed it last, and `enqueued-time` that of the commit that had
/// it first. Where [`TableSchema::history`] is set, every version is a record, and one whose `operation`
/// is `delete`, without a body, says that the row went.
///
/// A whole one, which writes a table's columns behind tabs and lists the files of each table:
///
/// ```
/// use lakeport_plugin::prelude::*;
///
/// struct Tabs {
///     columns: Vec<ColumnSchema>,
/// }
///
/// impl Format for Tabs {
///     type Config = NoSettings;
///
///     fn open(_: NoSettings) -> Result<Self> {
///         Err(Error::UnsupportedSchema("it writes tables, and these are records".into()))
///     }
///
///     fn columns(&self) -> Columns {
///         Columns(self.columns.iter().map(|column| request::json(request::member(&column.name))).collect())
///     }
///
///     fn file_type(&self) -> FileType {
///         FileType { extension: "tsv".into(), content_type: "text/tab-separated-values".into(), appendable: true }
///     }
///
///     fn write(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), Rejection> {
///         for at in 0..self.columns.len() {
///             out.extend_from_slice(row.bytes(at).unwrap_or_default());
///             out.push(b'\t');
///         }
///         out.push(b'\n');
///         Ok(())
///     }
/// }
///
/// impl TableFormat for Tabs {
///     type Widener = More;
///
///     fn open_table(_: NoSettings, schema: TableSchema) -> Result<Self> {
///         Ok(Tabs { columns: schema.columns })
///     }
///
///     fn paths(_: &NoSettings) -> Result<Vec<String>> {
///         Ok(vec!["tables.txt".into()])
///     }
///
///     fn render(_: &NoSettings, dataset: &Dataset, _: &[CatalogFile]) -> Result<Vec<CatalogFile>> {
///         let files = dataset.tables.iter().flat_map(|table| &table.partitions);
///         let lines: String = files.map(|file| format!("{}\n", file.location)).collect();
///         Ok(vec![CatalogFile { path: "tables.txt".into(), content_type: "text/plain".into(), bytes: lines.into() }])
///     }
///
///     fn widen(_: &NoSettings, before: &TableSchema, after: &TableSchema) -> Result<More> {
///         Ok(More(after.columns.len() - before.columns.len()))
///     }
/// }
///
/// /// Adds tabs to every line.
/// struct More(usize);
///
/// impl Widener for More {
///     fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
///         let text = String::from_utf8_lossy(bytes);
///         Ok(text.replace('\n', &("\t".repeat(self.0) + "\n")).into())
///     }
/// }
///
/// export_table_format!(Tabs);
/// # use lakeport_plugin::testing;
/// # let schema = testing::table_schema("t", &[("a", "int64"), ("b/c", "string")]);
/// # let mut tabs = Tabs::open_table(NoSettings {}, schema).unwrap();
/// # let batch = testing::changes(&tabs.columns(), &[("{}", r#"{"a": 5, "b/c": "x"}"#)]);
/// # assert_eq!(testing::encoded(&mut tabs, &batch), "5\t\"x\"\t\n");
/// # assert_eq!(More(1).push(b"5\t\n").unwrap(), b"5\t\t\n");
/// ```
pub trait TableFormat: Format {
    /// What [`TableFormat::widen`] gives.
    type Widener: Widener;

    /// Opens the format for a file of a table's rows; [`Format::open`] is for records that are of no table.
    ///
    /// # Errors
    /// [`Error::UnsupportedSchema`](crate::Error::UnsupportedSchema) where such a table cannot be written: the text names table,
    /// column and what to do. [`Error::InvalidConfig`](crate::Error::InvalidConfig) as for [`Format::open`].
    fn open_table(config: Self::Config, schema: TableSchema) -> Result<Self>;

    /// The paths of the files that may describe a dataset, below its root, in the order in which they must be written: a file
    /// that refers to others comes after them.
    ///
    /// # Errors
    /// As for [`Format::open`].
    fn paths(config: &Self::Config) -> Result<Vec<String>>;

    /// Those files, in the same order; one that has nothing to say of this dataset is left out.
    ///
    /// `previous` are the files that are there. What others added to them stays.
    ///
    /// # Errors
    /// Where a previous file is not what it should be, or a table cannot be described: the text says what to do.
    fn render(config: &Self::Config, dataset: &Dataset, previous: &[CatalogFile]) -> Result<Vec<CatalogFile>>;

    /// Opens what brings one file of a table from the columns `before` to the columns `after`.
    ///
    /// # Errors
    /// [`Error::UnsupportedSchema`](crate::Error::UnsupportedSchema) where a file cannot be brought there.
    fn widen(config: &Self::Config, before: &TableSchema, after: &TableSchema) -> Result<Self::Widener>;
}

/// Brings a finished file to a schema that has more columns, which are null in all its rows.
pub trait Widener: 'static {
    /// The file's next bytes, of any length; what can be written of it by now.
    ///
    /// # Errors
    /// An error ends the file.
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>>;

    /// The rest, after the last byte.
    ///
    /// # Errors
    /// An error ends the file.
    fn finish(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

/// Exports a [`TableFormat`] from this crate; as [`export_filter!`](crate::export_filter!).
#[macro_export]
macro_rules! export_table_format {
    ($format:ty) => {
        $crate::export_table_format!($format, name = env!("CARGO_PKG_NAME"));
    };
    ($format:ty, name = $name:expr) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Exported;
            $crate::__export_info!(Exported, <$format as $crate::Format>::Config, $name);
            impl $crate::bindings::format::exports::lakeport::plugin::format::Guest for Exported {
                type Encoder = $crate::glue::Encoder<$format, $crate::glue::Tables>;
            }
            impl $crate::bindings::catalog::exports::lakeport::plugin::catalog::Guest for Exported {
                type Widener = $crate::glue::TableWidener<$format>;

                fn paths(config: String) -> Result<Vec<String>, $crate::bindings::records::Error> {
                    $crate::glue::paths::<$format>(&config)
                }

                fn render(
                    config: String,
                    dataset: $crate::Dataset,
                    previous: Vec<$crate::CatalogFile>,
                ) -> Result<Vec<$crate::CatalogFile>, $crate::bindings::records::Error> {
                    $crate::glue::render::<$format>(&config, &dataset, &previous)
                }
            }
    $crate::bindings::format::export!(Exported with_types_in $crate::bindings::format);
    $crate::bindings::catalog::export!(Exported with_types_in $crate::bindings::catalog);
        };
    };
}
