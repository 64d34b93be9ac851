//! `lakeport tables list`: every table, and how far it is.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use serde::Serialize;

use crate::Config;
use crate::status::{TableState, table_states};
use lakeport::commit::read_last;
use lakeport::dataset::Sync;
use lakeport::error::Result;
use lakeport::lake::Lake;
use lakeport::plan::{ExportPlan, Exports, Partition, TablePlan, Write};
use lakeport::telemetry::{Align, Table};

/// Show every table: whether it is linked, how it is written, and how far it is
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A table as it is listed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    pub export: String,
    pub kind: String,
    pub linked: bool,
    pub write: &'static str,
    pub partition: &'static str,
    /// Its name, and what the last commit says of it.
    #[serde(flatten)]
    pub state: TableState,
}

/// What is said of a table that the last commit does not have: it was never exported, or is no more.
fn not_started(table: &str) -> TableState {
    TableState {
        table: table.to_owned(),
        sync: Sync::NotStarted,
        synced: None,
        stopped: None,
        rows: 0,
        columns: 0,
        files: 0,
        waiting: 0,
        snapshot: None,
    }
}

/// The tables, as text or as one JSON object.
pub fn run(args: &Args) -> Result<String> {
    let plan = args.config.load()?;
    let listed = crate::runtime()?.block_on(try_join_all(plan.exports.iter().map(tables)))?;
    Ok(render(&listed.concat(), args.json))
}

async fn tables(export: &ExportPlan) -> Result<Vec<Listed>> {
    let Exports::Tables(plan) = &export.exports else { return Ok(Vec::new()) };
    let lake = Lake::open_read_only(&export.lake).await?;
    let last = read_last(&lake, &export.name, &export.partition).await?;
    let states = last.map_or_else(Vec::new, |(_, commit)| table_states(&commit));
    let mut states: BTreeMap<_, _> = states.into_iter().map(|state| (state.table.clone(), state)).collect();
    let listed = |(name, table): (&String, &TablePlan)| Listed {
        export: export.name.clone(),
        kind: table.kinds.join(", "),
        linked: table.linked,
        write: match table.write {
            Write::InPlace => "in-place",
            Write::AppendOnly => "append-only",
        },
        partition: match table.partition {
            Partition::Year => "year",
            Partition::Month => "month",
        },
        state: states.remove(name).unwrap_or_else(|| not_started(name)),
    };
    Ok(plan.tables.iter().map(listed).collect())
}

fn render(tables: &[Listed], json: bool) -> String {
    if json {
        return format!("{}\n", serde_json::json!({ "tables": tables }));
    }
    let mut shown = Table::new([
        ("export", Align::Left),
        ("table", Align::Left),
        ("linked", Align::Left),
        ("write", Align::Left),
        ("partition", Align::Left),
        ("state", Align::Left),
    ]);
    for table in tables {
        let linked = if table.linked { "yes" } else { "no" };
        shown.row([
            table.export.clone(),
            table.state.table.clone(),
            linked.to_owned(),
            table.write.to_owned(),
            table.partition.to_owned(),
            table.state.state(),
        ]);
    }
    match shown.is_empty() {
        true => "no export has `type = \"table\"`\n".to_owned(),
        false => shown.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::states_of;
    use lakeport::dataset::{DatasetState, TableEntry};

    #[test]
    fn every_state_is_shown() {
        let table = |linked, state: TableState| Listed {
            export: "crm".into(),
            kind: state.table.clone(),
            linked,
            write: "in-place",
            partition: "year",
            state,
        };
        let entry = TableEntry { sync: Sync::InProgress, ..TableEntry::default() };
        let synced = Some(1_568_113_933_000_000);
        let done = TableEntry { sync: Sync::Completed, synced, ..TableEntry::default() };
        let states = [("account", done), ("contact", entry)];
        let tables = states.into_iter().map(|(name, entry)| (name.to_owned(), entry)).collect();
        let states = states_of(&DatasetState { tables, ..DatasetState::default() });
        let [account, contact] = states.try_into().unwrap();
        let tables = [table(true, account), table(true, contact), table(false, not_started("order"))];
        let text = render(&tables, false);
        let states: Vec<_> = text.lines().skip(1).map(|line| line.split("year       ").nth(1).unwrap()).collect();
        assert_eq!(states, ["completed 2019-09-10T11:12:13.000Z", "in progress", "not started"], "{text}");
        let json: serde_json::Value = serde_json::from_str(&render(&tables, true)).unwrap();
        assert_eq!((&json["tables"][0]["sync"], &json["tables"][2]["linked"]), (&"completed".into(), &false.into()));
        let members = |at: usize| json["tables"][at].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(members(0), members(2), "a table that was never exported has the members of one that was");
        assert_eq!(render(&[], false), "no export has `type = \"table\"`\n");
    }
}
