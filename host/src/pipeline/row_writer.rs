//! The end of a lane for rows of one table: gives them the columns that the format asks for, and encodes them.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::columns::ColumnTable;
use super::encoder::Encoder;
use super::processed::{Processed, SpanContext, timed};
use super::rows;
use crate::commit::File;
use crate::dataset::TableSchema;
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::plan::ExportPlan;
use crate::plugin::{Moment, Toolbox};
use crate::record::ColumnRequest;
use crate::table::{Document, Gone};

/// Rows of one file.
#[derive(Debug)]
pub struct Portion {
    pub schema: Arc<TableSchema>,
    /// What is null in earlier rows.
    pub gone: Arc<[Gone]>,
    pub file: Arc<File>,
    pub rows: Vec<Document>,
}

/// The format's instance for one table.
pub struct RowWriter {
    schema: Arc<TableSchema>,
    encoder: Encoder,
    requests: Vec<ColumnRequest>,
    decoder: Decoder,
    origin: Arc<str>,
}

impl RowWriter {
    /// Opens the format for a table's columns.
    ///
    /// # Errors
    /// Of kind `Config` or `Plugin`, naming the plugin, also where the format's files cannot be extended.
    pub fn open(
        plan: &ExportPlan,
        toolbox: Arc<dyn Toolbox>,
        schema: Arc<TableSchema>,
        moment: Moment,
    ) -> Result<RowWriter> {
        let (format, columns) = (plan.format.clone(), schema.clone());
        let open = move |moment| toolbox.table_format(&format, &columns, moment);
        let mut table = ColumnTable::default();
        let encoder = Encoder::open(plan, Box::new(open), moment, &mut table)?;
        if !encoder.appendable() {
            let format = &plan.format.plugin.name;
            return Err(Error::config(format!("format `{format}` is not appendable: tables need one that is"))
                .with_help("take `format = { plugin = \"cdm-csv\" }`"));
        }
        let requests = table.into_requests();
        let decoder = Decoder::of_bodies(requests.clone())?;
        let origin = format!("table {} of {}", schema.table, plan.name).into();
        Ok(RowWriter { schema, encoder, requests, decoder, origin })
    }

    /// Whether it writes files of these columns.
    pub fn is_of(&self, schema: &TableSchema) -> bool {
        *self.schema == *schema
    }

    /// Leaves the files of the span before, and sets the format's clock.
    pub fn enter(&mut self, moment: Moment) {
        self.encoder.enter(moment);
    }

    /// Encodes rows.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn write(&mut self, portion: &Portion, span: &SpanContext, out: &mut Processed) -> Result<()> {
        let mut stages = out.stages;
        let batch = timed(&mut stages.decode, || {
            let mut batch = rows::batch(&self.origin, (&self.schema, &portion.gone), &portion.rows, &self.requests);
            batch.columns = self.decoder.extract(&batch.bodies, &batch.columns).columns;
            batch
        });
        let first = portion.rows.first().map_or(0, |row| xxh3_64(row.key.subject.as_bytes()));
        let moment = span.moment.at(&[first]);
        timed(&mut stages.encode, || self.encoder.encode(&batch, &portion.file, moment, out))?;
        out.stages = stages;
        Ok(())
    }
}
