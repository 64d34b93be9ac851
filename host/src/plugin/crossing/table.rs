//! Schemas of tables, and datasets, on their way to a plugin: borrowed throughout.

use crate::dataset::{Choice, Described, DescribedPartition, DescribedTable, Sync, TableSchema};
use crate::plugin::bindings::exports::lakeport::plugin::catalog as wit;
use crate::plugin::bindings::lakeport::plugin::schema;

/// Lends `table` to `f` as the interface has it.
pub(crate) fn with_schema<R>(table: &TableSchema, f: impl FnOnce(schema::TableSchema<'_>) -> R) -> R {
    let choices = choices(table);
    let columns = columns(table, &choices);
    f(lowered(table, &columns))
}

/// Lends `dataset` to `f` as the interface has it.
pub(crate) fn with_dataset<R>(dataset: &Described, f: impl FnOnce(wit::Dataset<'_>) -> R) -> R {
    let tables = &dataset.tables;
    let choices: Vec<_> = tables.iter().map(|table| choices(&table.schema)).collect();
    let columns: Vec<_> = tables.iter().zip(&choices).map(|(table, choices)| columns(&table.schema, choices)).collect();
    let partitions: Vec<_> = tables.iter().map(partitions).collect();
    let tables: Vec<_> = tables
        .iter()
        .zip(columns.iter().zip(&partitions))
        .map(|(table, (columns, partitions))| wit::Table {
            schema: lowered(&table.schema, columns),
            monthly: table.monthly,
            partitions,
            initial_sync: match table.sync {
                Sync::NotStarted => wit::SyncState::NotStarted,
                Sync::InProgress => wit::SyncState::InProgress,
                Sync::Completed => wit::SyncState::Completed,
            },
            initial_sync_completed: table.synced.as_deref(),
        })
        .collect();
    f(wit::Dataset {
        name: &dataset.name,
        description: &dataset.description,
        modified: &dataset.modified,
        tables: &tables,
    })
}

fn choices(table: &TableSchema) -> Vec<Vec<schema::Choice<'_>>> {
    fn lower(choice: &Choice) -> schema::Choice<'_> {
        schema::Choice { value: choice.value, label: &choice.label, language: choice.language }
    }
    table.columns.iter().map(|column| column.choices.iter().map(lower).collect()).collect()
}

fn columns<'a>(table: &'a TableSchema, choices: &'a [Vec<schema::Choice<'a>>]) -> Vec<schema::ColumnSchema<'a>> {
    table
        .columns
        .iter()
        .zip(choices)
        .map(|(column, choices)| schema::ColumnSchema {
            name: &column.name,
            data_type: column.data_type.name(),
            max_length: column.max_length,
            precision: column.precision,
            scale: column.scale,
            retired: column.retired,
            added: column.added,
            choices,
            choice_set: column.choice_set.as_deref(),
        })
        .collect()
}

fn lowered<'a>(table: &'a TableSchema, columns: &'a [schema::ColumnSchema<'a>]) -> schema::TableSchema<'a> {
    schema::TableSchema { table: &table.table, history: table.history, columns }
}

fn partitions(table: &DescribedTable) -> Vec<wit::Partition<'_>> {
    fn lower(partition: &DescribedPartition) -> wit::Partition<'_> {
        let DescribedPartition { name, period, location, refreshed, rows } = partition;
        wit::Partition { name, period, location, refreshed, rows: *rows }
    }
    table.partitions.iter().map(lower).collect()
}
