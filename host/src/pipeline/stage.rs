//! A plugin in its place in a lane.

use arrow_array::ArrayRef;

use crate::plan::PluginUse;
use crate::record::Batch;

/// A plugin's instance, and where its columns stand in the batch.
pub struct Stage<P: ?Sized> {
    pub instance: Box<P>,
    pub plugin: PluginUse,
    pub columns: Vec<usize>,
}

impl<P: ?Sized> Stage<P> {
    /// The plugin's columns of a batch.
    pub fn pick(&self, batch: &Batch) -> Vec<ArrayRef> {
        self.columns.iter().map(|column| batch.columns[*column].clone()).collect()
    }
}
