//! Format `cdm-csv`: the rows of tables as the CSV files of a Common Data Model folder, and the `model.json` that describes them.
//!
//! A file has no header, and every row has every column of the table's [`Layout`]: `docs/cdm.md` says what readers see. A value
//! comes as the JSON that was received, so that numbers keep every digit, and is written once it is known to fit its column.

mod choices;
mod dialect;
mod layout;
mod model;
mod number;
mod settings;
mod time;
mod value;
mod widen;

#[cfg(test)]
mod tests;

use lakeport_plugin::prelude::*;

pub use layout::Layout;
pub use settings::{Config, Dates};
use value::Writer;
pub use widen::CsvWidener;

/// The format.
pub struct CdmCsv {
    layout: Layout,
    writer: Writer,
}

impl Format for CdmCsv {
    type Config = Config;

    fn open(_: Config) -> Result<Self> {
        Err(Error::UnsupportedSchema(
            "it writes the rows of tables, and these records are of none; use it in an export with `type = \"table\"`"
                .into(),
        ))
    }

    fn columns(&self) -> Columns {
        self.layout.requests()
    }

    fn file_type(&self) -> FileType {
        FileType { extension: "csv".into(), content_type: dialect::CONTENT_TYPE.into(), appendable: true }
    }

    fn write(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), Rejection> {
        self.writer.row(&self.layout, row, out)
    }
}

impl TableFormat for CdmCsv {
    type Widener = CsvWidener;

    fn open_table(config: Config, schema: TableSchema) -> Result<Self> {
        Ok(CdmCsv { layout: Layout::new(&schema)?, writer: Writer::new(&config) })
    }

    fn paths(_: &Config) -> Result<Vec<String>> {
        Ok(vec![choices::PATH.into(), model::PATH.into()])
    }

    fn render(config: &Config, dataset: &Dataset, previous: &[CatalogFile]) -> Result<Vec<CatalogFile>> {
        let model = model::render(config, dataset, previous)?;
        Ok(choices::render(config, dataset)?.into_iter().chain([model]).collect())
    }

    fn widen(_: &Config, before: &TableSchema, after: &TableSchema) -> Result<CsvWidener> {
        CsvWidener::new(before, after)
    }
}

lakeport_plugin::export_table_format!(CdmCsv, name = "cdm-csv");
