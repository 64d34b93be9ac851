//! Filters: which records an export keeps.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Batch, Columns, Rejected, Rejection, Result, Row, rows};

/// A filter's answer for a batch.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Bit `i % 8` of byte `i / 8` is 1 where row `i` is kept.
    pub keep: Vec<u8>,
    /// Rows are distinct and rising; a rejected row's bit in `keep` is ignored.
    pub rejected: Vec<Rejected>,
}

/// Decides which records an export keeps.
///
/// Write `keep`, or `evaluate` where whole columns are faster.
pub trait Filter: Sized + 'static {
    /// The settings; [`NoSettings`](crate::NoSettings) where there are none.
    type Config: DeserializeOwned + JsonSchema;

    /// Opens the filter with settings that fit [`Filter::Config`].
    ///
    /// # Errors
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) where their values do not go together.
    fn open(config: Self::Config) -> Result<Self>;

    /// The columns of every batch. Asked once.
    fn columns(&self) -> Columns {
        Columns::default()
    }

    /// Whether a record is kept.
    ///
    /// # Errors
    /// A [`Rejection`] sends the record to the dead letters.
    fn keep(&self, row: Row) -> Result<bool, Rejection>;

    /// Decides on a whole batch; row by row unless overridden.
    ///
    /// # Errors
    /// An error fails the whole batch: prefer rejections.
    fn evaluate(&self, batch: &Batch) -> Result<Verdict> {
        rows::evaluate(self, batch)
    }
}

/// Exports a [`Filter`] from this crate: `export_filter!(TooHot);`
///
/// Its name is the crate's, or a given one: `export_filter!(TooHot, name = "too-hot");`
#[macro_export]
macro_rules! export_filter {
    ($filter:ty) => {
        $crate::export_filter!($filter, name = env!("CARGO_PKG_NAME"));
    };
    ($filter:ty, name = $name:expr) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Exported;
            $crate::__export_info!(Exported, <$filter as $crate::Filter>::Config, $name);
            impl $crate::bindings::filter::exports::lakeport::plugin::filter::Guest for Exported {
                type Predicate = $crate::glue::Predicate<$filter>;
            }
    $crate::bindings::filter::export!(Exported with_types_in $crate::bindings::filter);
        };
    };
}
