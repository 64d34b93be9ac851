//! The status as text, or as one JSON object.

use std::fmt::Write;

use lakeport::telemetry::human::{bytes, count, printable};
use lakeport::telemetry::{Align, Table};

use super::ExportStatus;

/// The most origins of an export that the text lists; the JSON form has all of them.
const MOST_ORIGINS: usize = 20;

/// The status as text, or as one JSON object.
pub fn render(exports: &[ExportStatus], json: bool) -> String {
    if json {
        return format!("{}\n", serde_json::json!({ "exports": exports }));
    }
    let mut table = Table::new([
        ("export", Align::Left),
        ("lake", Align::Left),
        ("files", Align::Right),
        ("records", Align::Right),
        ("dead letters", Align::Right),
        ("commits", Align::Right),
        ("last commit", Align::Left),
    ]);
    for export in exports {
        let last = export.last_commit.as_ref();
        table.row([
            export.name(),
            export.lake.clone(),
            count(export.files),
            count(export.records),
            count(export.dead_letters),
            count(export.commits),
            last.map_or("never".to_owned(), |commit| format!("{} (number {})", commit.time, commit.number)),
        ]);
    }
    let mut text = table.to_string();
    text += &states(exports);
    let kept = exports.iter().filter_map(|export| Some((export, export.documents.as_ref()?)));
    let mut documents = Table::new([
        ("documents of", Align::Left),
        ("keys", Align::Right),
        ("waiting", Align::Right),
        ("ignored", Align::Right),
        ("next snapshot", Align::Left),
    ]);
    for (export, kept) in kept {
        let next = kept.next_snapshot.as_deref().unwrap_or("first").to_owned();
        let waiting = if kept.full { "all".to_owned() } else { count(kept.waiting) };
        documents.row([export.name(), count(kept.keys), waiting, count(kept.ignored), next]);
    }
    if !documents.is_empty() {
        write!(text, "\n{documents}").expect("a String takes everything");
    }
    let mut tables = Table::new([
        ("tables of", Align::Left),
        ("table", Align::Left),
        ("initial sync", Align::Left),
        ("rows", Align::Right),
        ("columns", Align::Right),
        ("files", Align::Right),
        ("waiting", Align::Right),
        ("snapshot", Align::Left),
    ]);
    for (export, table) in exports.iter().flat_map(|export| export.tables.iter().map(move |table| (export, table))) {
        tables.row([
            export.name(),
            printable(&table.table),
            table.state(),
            count(table.rows),
            count(table.columns as u64),
            count(table.files as u64),
            count(table.waiting as u64),
            table.snapshot.clone().unwrap_or_else(|| "none".to_owned()),
        ]);
    }
    if !tables.is_empty() {
        write!(text, "\n{tables}").expect("a String takes everything");
    }
    for stopped in exports.iter().flat_map(|export| &export.tables).filter_map(|table| table.stopped.as_ref()) {
        write!(text, "\n{}\n", printable(stopped)).expect("a String takes everything");
    }
    for export in exports.iter().filter(|export| !export.passed_over.is_empty()) {
        let passed_over = printable(&export.passed_over.to_string());
        writeln!(text, "\n{}: passed over: {passed_over}, which no table has", export.name())
            .expect("a String takes everything");
    }
    for export in exports.iter().filter(|export| !export.position.is_empty()) {
        let mut positions = Table::new([("read", Align::Right), ("", Align::Left)]);
        for reached in export.position.iter().take(MOST_ORIGINS) {
            positions.row([bytes(reached.next), printable(&reached.origin)]);
        }
        write!(text, "\n{}\n{positions}", export.name()).expect("a String takes everything");
        if let Some(more) = export.position.len().checked_sub(MOST_ORIGINS).filter(|more| *more > 0) {
            writeln!(text, "and {} more; `--json` lists all", count(more as u64)).expect("a String takes everything");
        }
    }
    text
}

/// Writes a line for each export: its state, the reason, and what waits.
fn states(exports: &[ExportStatus]) -> String {
    let mut table =
        Table::new([("state of", Align::Left), ("", Align::Left), ("since", Align::Left), ("by", Align::Left)]);
    let mut notes = String::new();
    for export in exports {
        for state in export.state.iter().chain(&export.standby) {
            table.row([export.name(), state.state.name().into(), state.since.clone(), printable(&state.by)]);
            if let Some(reason) = &state.reason {
                writeln!(notes, "{}: {}", export.name(), printable(reason)).expect("a String takes everything");
            }
        }
        if export.replayed > 0 {
            let (name, replayed) = (export.name(), count(export.replayed));
            let (all, left) = (count(export.dead_letters), count(export.dead_letters.saturating_sub(export.replayed)));
            writeln!(notes, "{name}: {replayed} of {all} dead letters were replayed, {left} are left")
                .expect("a String takes everything");
        }
        if export.waiting_files > 0 {
            let (name, files) = (export.name(), count(export.waiting_files));
            writeln!(notes, "{name}: {files} sealed files wait for their time to be over")
                .expect("a String takes everything");
        }
    }
    let tables = if table.is_empty() { String::new() } else { format!("\n{table}") };
    let notes = if notes.is_empty() { notes } else { format!("\n{notes}") };
    tables + &notes
}
