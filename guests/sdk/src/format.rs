//! Formats: records as the bytes of files.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use crate::bindings::format::exports::lakeport::plugin::format::{FileContext, FileType, Segment};
use crate::{Batch, Columns, Rejection, Result, Row, rows};

/// Turns records into the bytes of one file: `header`, any number of `encode`s, `trailer`.
///
/// Write `write`, or `encode` where whole columns are faster.
pub trait Format: Sized + 'static {
    /// The settings; [`NoSettings`](crate::NoSettings) where there are none.
    type Config: DeserializeOwned + JsonSchema;

    /// Opens the format with settings that fit [`Format::Config`]; each file has its own.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) where their values do not go together.
    fn open(config: Self::Config) -> Result<Self>;

    /// The columns of every batch. Asked once.
    fn columns(&self) -> Columns;

    /// What its files are.
    fn file_type(&self) -> FileType;

    /// The bytes a file begins with. For a file that is resumed they are not written, but may set the encoder up.
    ///
    /// # Errors
    /// An error ends the file.
    fn header(&mut self, _file: &FileContext) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Adds a record to `out`.
    ///
    /// # Errors
    /// A [`Rejection`] sends the record to the dead letters; what it added to `out` is taken away.
    fn write(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), Rejection>;

    /// The bytes of a whole batch; row by row unless overridden.
    ///
    /// # Errors
    /// An error fails the whole batch: prefer rejections.
    fn encode(&mut self, batch: &Batch) -> Result<Segment> {
        rows::encode(self, batch)
    }

    /// The bytes a file ends with; nothing where the format is appendable.
    ///
    /// # Errors
    /// An error ends the file.
    fn trailer(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

/// Exports a [`Format`] from this crate; as [`export_filter!`](crate::export_filter!).
#[macro_export]
macro_rules! export_format {
    ($format:ty) => {
        $crate::export_format!($format, name = env!("CARGO_PKG_NAME"));
    };
    ($format:ty, name = $name:expr) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Exported;
            $crate::__export_info!(Exported, <$format as $crate::Format>::Config, $name);
            impl $crate::bindings::format::exports::lakeport::plugin::format::Guest for Exported {
                type Encoder = $crate::glue::Encoder<$format>;
            }
    $crate::bindings::format::export!(Exported with_types_in $crate::bindings::format);
        };
    };
}
