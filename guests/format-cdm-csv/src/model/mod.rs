//! `model.json`: the tables, their columns and their files, as the Common Data Model has them.
//!
//! What is here is what `docs/cdm.md` says of the file; [`merge`] keeps what others wrote into the one that is there.

mod merge;

use lakeport_plugin::prelude::*;
use lakeport_plugin::serde_json::{self, Map, Value, json};
use lakeport_plugin::{Partition, SyncState, Table};

use crate::layout::{Field, Layout, Type};
use crate::settings::Config;

/// Below the dataset's root.
pub const PATH: &str = "model.json";

/// The annotation that says which entities are tables of an export, and not somebody else's.
const OURS: &str = "lakeport:table";

/// The annotation that says which description of the model is the export's, and not somebody else's.
const DESCRIPTION: &str = "lakeport:description";

/// The file.
///
/// # Errors
/// A table or a model that the Common Data Model cannot name, or a previous file that is no model.
pub fn render(config: &Config, dataset: &Dataset, previous: &[CatalogFile]) -> Result<CatalogFile> {
    let name = &config.model_name;
    if name.trim() != name || name.chars().any(char::is_control) {
        let error = format!("`model-name` is `{name}`, expected a name without space around it, such as `cdm`");
        return Err(Error::InvalidConfig(error));
    }
    let mut tables: Vec<&Table> = dataset.tables.iter().collect();
    tables.sort_by(|one, other| one.schema.table.cmp(&other.schema.table));
    let entities = tables.into_iter().map(entity).collect::<Result<Vec<Value>>>()?;
    let mut model = object(json!({
        "name": name,
        "version": "1.0",
        "modifiedTime": dataset.modified,
    }));
    if !dataset.description.is_empty() {
        model.insert("description".into(), dataset.description.as_str().into());
    }
    let before = previous.iter().find(|file| file.path == PATH);
    let model = merge::model(before.map_or(&b""[..], |file| &file.bytes), model, entities)?;
    let mut bytes = serde_json::to_vec(&model).map_err(|error| Error::Other(error.to_string()))?;
    bytes.push(b'\n');
    Ok(CatalogFile { path: PATH.into(), content_type: "application/json".into(), bytes })
}

fn entity(table: &Table) -> Result<Value> {
    let layout = Layout::new(&table.schema)?;
    let state = match table.initial_sync {
        SyncState::NotStarted => "NotStarted",
        SyncState::InProgress => "InProgress",
        SyncState::Completed => "Completed",
    };
    let mut annotations = vec![
        annotation(OURS, &table.schema.table),
        annotation("Athena:PartitionGranularity", if table.monthly { "Month" } else { "Year" }),
        annotation("Athena:InitialSyncState", state),
    ];
    if let Some(completed) = &table.initial_sync_completed {
        annotations.push(annotation("Athena:InitialSyncDataCompletedTime", completed));
    }
    Ok(json!({
        "$type": "LocalEntity",
        "name": table.schema.table,
        "annotations": annotations,
        "attributes": layout.fields.iter().map(attribute).collect::<Vec<Value>>(),
        "partitions": table.partitions.iter().map(partition).collect::<Vec<Value>>(),
    }))
}

fn attribute(field: &Field) -> Value {
    let max_length = field.max_length.filter(|_| field.data_type == Type::String);
    let mut traits = Vec::new();
    if let Some(length) = max_length {
        traits.push(trait_of(CONSTRAINED, &[("maximumLength", length.into())]));
    }
    if field.data_type == Type::Decimal {
        let precision = field.precision.map(|precision| ("precision", Value::from(precision)));
        let scale = field.scale.map(|scale| ("scale", Value::from(scale)));
        let arguments: Vec<(&str, Value)> = precision.into_iter().chain(scale).collect();
        if !arguments.is_empty() {
            traits.push(trait_of(SHAPED, &arguments));
        }
    }
    let mut attribute = object(json!({
        "name": field.name,
        "dataType": field.data_type.name(),
        "maxLength": max_length.map_or(-1, i64::from),
    }));
    if !traits.is_empty() {
        attribute.insert("cdm:traits".into(), traits.into());
    }
    attribute.into()
}

/// The traits of attributes that say what a column's limits are.
const CONSTRAINED: &str = "is.constrained";
const SHAPED: &str = "is.dataFormat.numeric.shaped";

fn partition(partition: &Partition) -> Value {
    let year = partition.period.split('-').next().unwrap_or_default();
    json!({
        "name": partition.name,
        "refreshTime": partition.refreshed,
        "location": partition.location,
        "fileFormatSettings": {
            "$type": "CsvFormatSettings",
            "columnHeaders": false,
            "delimiter": ",",
            "quoteStyle": "QuoteStyle.Csv",
            "csvStyle": "CsvStyle.QuoteAlways",
            "encoding": "UTF-8",
        },
        "annotations": [annotation("Athena:PartitionYear", year)],
        // The service says `true`: rows of its files may end early. Here every row has every column.
        "cdm:traits": [trait_of("is.partition.format.CSV", &[("raggedRight", Value::from("false"))])],
    })
}

fn annotation(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn trait_of(name: &str, arguments: &[(&str, Value)]) -> Value {
    let arguments = arguments.iter().map(|(name, value)| json!({ "name": name, "value": value }));
    json!({ "traitReference": name, "arguments": arguments.collect::<Vec<Value>>() })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
