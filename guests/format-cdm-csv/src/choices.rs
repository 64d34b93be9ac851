//! `GlobalOptionsetMetadata.csv`: the labels of the choices whose numbers stand in the rows.
//!
//! In the dialect of the rows, a line for each label: `OptionSetName`, `Option`, `IsUserLocalizedLabel`,
//! `LocalizedLabelLanguageCode`, `LocalizedLabel`, `GlobalOptionSetName`, `EntityName`, `ExternalValue`.

use lakeport_plugin::Choice;
use lakeport_plugin::prelude::*;

use crate::dialect::{CONTENT_TYPE, put_boolean, put_integer, put_text};
use crate::settings::Config;

/// Below the dataset's root.
pub const PATH: &str = "OptionsetMetadata/GlobalOptionsetMetadata.csv";

/// The file; `None` where no column is a choice.
///
/// # Errors
/// A label that CSV cannot hold.
pub fn render(config: &Config, dataset: &Dataset) -> Result<Option<CatalogFile>> {
    let mut labels: Vec<(&str, &ColumnSchema, &Choice)> = dataset
        .tables
        .iter()
        .flat_map(|table| table.schema.columns.iter().map(|column| (table.schema.table.as_str(), column)))
        .flat_map(|(table, column)| column.choices.iter().map(move |choice| (table, column, choice)))
        .collect();
    if labels.is_empty() {
        return Ok(None);
    }
    labels.sort_by_key(|(table, column, choice)| (*table, column.name.as_str(), choice.value, choice.language));
    let mut bytes = Vec::new();
    for (table, column, choice) in labels {
        if choice.label.contains('\0') {
            return Err(Error::UnsupportedSchema(format!(
                "the label of choice {} of column `{}` of table `{table}` has the character U+0000, which CSV cannot hold; give it \
                 another label",
                choice.value, column.name
            )));
        }
        let text = |text: &str, bytes: &mut Vec<u8>| {
            put_text(text.as_bytes(), config.formula_guard, bytes);
            bytes.push(b',');
        };
        text(&column.name, &mut bytes);
        put_integer(choice.value, &mut bytes);
        bytes.push(b',');
        put_boolean(column.choices.first().is_some_and(|first| first.language == choice.language), &mut bytes);
        bytes.push(b',');
        put_integer(i64::from(choice.language), &mut bytes);
        bytes.push(b',');
        text(&choice.label, &mut bytes);
        text(column.choice_set.as_deref().unwrap_or(&column.name), &mut bytes);
        text(table, &mut bytes);
        bytes.push(b'\n');
    }
    Ok(Some(CatalogFile { path: PATH.into(), content_type: CONTENT_TYPE.into(), bytes }))
}
