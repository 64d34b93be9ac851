//! Transforms: each record becomes none, one or several.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Attribute, Batch, Column, Columns, Error, Rejected, Rejection, Result, Row, VarBytes, rows};

/// A transform's answer for a batch.
#[derive(Debug, Default)]
pub struct Transformed {
    /// For each output record, the row it comes from; never decreasing. What is not overridden is inherited from there.
    pub origins: Vec<u32>,
    /// New bodies, one for each output record; `None` keeps the origins'.
    pub bodies: Option<VarBytes>,
    /// Attributes set anew, a value for each output record.
    pub attributes: Vec<(Attribute, Column)>,
    /// Rows are distinct and rising.
    pub rejected: Vec<Rejected>,
}

/// Rewrites records.
///
/// Write `map`, or `apply` where whole columns are faster or attributes change.
pub trait Transform: Sized + 'static {
    /// The settings; [`NoSettings`](crate::NoSettings) where there are none.
    type Config: DeserializeOwned + JsonSchema;

    /// Opens the transform with settings that fit [`Transform::Config`].
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] where their values do not go together.
    fn open(config: Self::Config) -> Result<Self>;

    /// The columns of every batch. Asked once.
    fn columns(&self) -> Columns {
        Columns::default()
    }

    /// Gives what becomes of a record to `output`: nothing drops it.
    ///
    /// # Errors
    /// A [`Rejection`] sends the record to the dead letters, and nothing of it to the output.
    fn map(&self, row: Row, output: &mut Output) -> Result<(), Rejection>;

    /// Rewrites a whole batch; row by row unless overridden.
    ///
    /// # Errors
    /// An error fails the whole batch: prefer rejections.
    fn apply(&self, batch: &Batch) -> Result<Transformed> {
        rows::apply(self, batch)
    }
}

/// Takes what becomes of each record.
///
/// In one batch, all output records keep their origins' bodies, or all have new ones.
#[derive(Debug)]
pub struct Output {
    row: u32,
    origins: Vec<u32>,
    bodies: VarBytes,
}

impl Output {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Output { row: 0, origins: Vec::with_capacity(rows), bodies: VarBytes { offsets, data: Vec::new() } }
    }

    /// The record goes on with its own body.
    pub fn keep(&mut self) {
        self.origins.push(self.row);
    }

    /// A record with a new body.
    pub fn push(&mut self, body: impl AsRef<[u8]>) {
        self.origins.push(self.row);
        self.bodies.push(body.as_ref());
    }

    /// A record whose new body is `value` as JSON.
    ///
    /// # Errors
    /// A [`Rejection`] where `value` has no JSON form.
    pub fn push_json(&mut self, value: &impl Serialize) -> Result<(), Rejection> {
        serde_json::to_writer(&mut self.bodies.data, value)
            .map_err(|error| Rejection(format!("cannot be written as JSON: {error}")))?;
        self.origins.push(self.row);
        self.bodies.offsets.push(self.bodies.data.len() as u32);
        Ok(())
    }

    pub(crate) fn start(&mut self, row: Row) -> (usize, usize) {
        self.row = row.index() as u32;
        (self.origins.len(), self.bodies.offsets.len())
    }

    pub(crate) fn rewind(&mut self, (origins, offsets): (usize, usize)) {
        self.origins.truncate(origins);
        self.bodies.offsets.truncate(offsets);
        self.bodies.data.truncate(self.bodies.offsets[offsets - 1] as usize);
    }

    pub(crate) fn finish(self, rejected: Vec<Rejected>) -> Result<Transformed> {
        let bodies = match self.bodies.offsets.len() - 1 {
            0 => None,
            new if new == self.origins.len() => Some(self.bodies),
            new => {
                return Err(Error::Other(format!(
                    "of {} records of one batch, {new} have new bodies: use `push` for all of them, or `keep` for all",
                    self.origins.len()
                )));
            }
        };
        Ok(Transformed { origins: self.origins, bodies, attributes: Vec::new(), rejected })
    }
}

/// Exports a [`Transform`] from this crate; as [`export_filter!`](crate::export_filter!).
#[macro_export]
macro_rules! export_transform {
    ($transform:ty) => {
        $crate::export_transform!($transform, name = env!("CARGO_PKG_NAME"));
    };
    ($transform:ty, name = $name:expr) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Exported;
            $crate::__export_info!(Exported, <$transform as $crate::Transform>::Config, $name);
            impl $crate::bindings::transform::exports::lakeport::plugin::transform::Guest for Exported {
                type Mapper = $crate::glue::Mapper<$transform>;
            }
    $crate::bindings::transform::export!(Exported with_types_in $crate::bindings::transform);
        };
    };
}
