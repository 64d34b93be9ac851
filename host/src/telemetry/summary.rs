//! What a run did: tables for people, one JSON object for machines. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::human::{byte_rate, bytes, count, each, printable, rate, seconds};
use super::{Align, ExportReport, Table};
use crate::plugin::Usage;

/// The reports as tables: the exports, their plugins, and below them what stopped or deserves a look.
pub fn summary(reports: &[ExportReport]) -> String {
    let mut exports = Table::new([
        ("export", Align::Left),
        ("read", Align::Right),
        ("records", Align::Right),
        ("written", Align::Right),
        ("files", Align::Right),
        ("dead letters", Align::Right),
    ]);
    // A table of its own: together they would not fit a terminal.
    let mut speeds = Table::new([
        ("export", Align::Left),
        ("commits", Align::Right),
        ("time", Align::Right),
        ("rate", Align::Right),
        ("records/s", Align::Right),
    ]);
    for report in reports {
        exports.row([
            report.export.clone(),
            bytes(report.bytes_read),
            count(report.records_read),
            format!("{} ({})", count(report.records_written), bytes(report.bytes_written)),
            count(report.files),
            count(report.dead_letters),
        ]);
        speeds.row([
            report.export.clone(),
            count(report.commits),
            seconds(report.seconds),
            byte_rate(report.bytes_read, report.seconds),
            rate(report.records_read, report.seconds),
        ]);
    }
    let mut text = format!("{exports}\n{speeds}");
    let plugins = usage_table(reports.iter().map(|report| (report.export.as_str(), &report.plugins)));
    if !plugins.is_empty() {
        write!(text, "\n{plugins}").expect("a String takes everything");
    }
    let notes = reports.iter().flat_map(notes).collect::<Vec<_>>().join("\n");
    if !notes.is_empty() {
        writeln!(text, "\n{notes}").expect("a String takes everything");
    }
    text
}

/// The plugins of exports as a table; the exports are named where there are several.
pub fn usage_table<'a>(exports: impl Iterator<Item = (&'a str, &'a BTreeMap<String, Usage>)> + Clone) -> Table {
    let several = exports.clone().count() > 1;
    let mut table = Table::new([
        ("plugin", Align::Left),
        ("calls", Align::Right),
        ("in", Align::Right),
        ("out", Align::Right),
        ("rejected", Align::Right),
        ("traps", Align::Right),
        ("time a record", Align::Right),
        ("peak memory", Align::Right),
    ]);
    for (export, plugins) in exports {
        for (name, usage) in plugins {
            table.row([
                if several { format!("{export}/{name}") } else { name.clone() },
                count(usage.calls),
                count(usage.rows_in),
                count(usage.rows_out),
                count(usage.rejected),
                count(usage.traps),
                each(usage.nanoseconds, usage.rows_in),
                bytes(usage.peak_memory),
            ]);
        }
    }
    table
}

/// The reports as one JSON object, `{"exports": […]}`.
pub fn summary_json(reports: &[ExportReport]) -> serde_json::Value {
    serde_json::json!({ "exports": reports })
}

fn notes(report: &ExportReport) -> Vec<String> {
    let export = &report.export;
    // The error itself is shown on its own.
    let stopped = report.error.iter().map(|_| format!("stopped early: {export}"));
    let restarts = (report.restarts > 0).then(|| {
        format!("warning: {export}: failed and was started again {} times; the log says why", count(report.restarts))
    });
    let retries = (report.retries > 0).then(|| {
        format!("warning: {export}: {} requests to the lake failed and were made again", count(report.retries))
    });
    let warnings = report.warnings.iter().map(|warning| format!("warning: {export}: {}", printable(warning)));
    let cut = report.plugins.iter().filter(|(_, usage)| usage.log_lines_cut > 0).map(|(name, usage)| {
        format!("warning: {export}: {} log lines of `{name}` were cut", count(usage.log_lines_cut))
    });
    let broken = report.plugins.iter().filter_map(|(name, usage)| {
        let first = printable(usage.first_broken_rule.as_ref()?);
        let times = count(usage.broken_rules);
        Some(format!(
            "warning: {export}: `{name}` broke the rules of the interface {times} times; the first time: {first}"
        ))
    });
    stopped.chain(restarts).chain(retries).chain(warnings).chain(cut).chain(broken).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::golden::expect;
    use crate::error::Error;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/summary");

    fn usage(rows_in: u64, rows_out: u64) -> Usage {
        Usage { calls: 123, rows_in, rows_out, nanoseconds: rows_in * 23, peak_memory: 1_179_648, ..Usage::default() }
    }

    fn report() -> ExportReport {
        ExportReport {
            passed_over: Default::default(),
            export: "signals".into(),
            bytes_read: 294_123_456,
            records_read: 1_000_000,
            records_written: 203_114,
            bytes_written: 59_740_112,
            files: 6,
            commits: 3,
            dead_letters: 2,
            replay: None,
            plugins: [("select".to_owned(), usage(999_998, 203_114)), ("ndjson".to_owned(), usage(203_114, 203_114))]
                .into(),
            seconds: 0.574,
            stages: Default::default(),
            restarts: 0,
            retries: 0,
            error: None,
            warnings: Vec::new(),
        }
    }

    fn check(name: &str, reports: &[ExportReport]) {
        expect(&Path::new(FOLDER).join(format!("{name}.txt")), &summary(reports));
        let json = serde_json::to_string_pretty(&summary_json(reports)).unwrap() + "\n";
        expect(&Path::new(FOLDER).join(format!("{name}.json")), &json);
    }

    #[test]
    fn one_export_that_went_well() {
        check("one", &[report()]);
    }

    #[test]
    fn several_exports_with_trouble() {
        let mut stopped = ExportReport { export: "too-hot".into(), seconds: 3_723.0, ..ExportReport::default() };
        stopped.error = Some(Error::lake("the lake `main` is full").with_help("make room, then run again"));
        let mut noisy = usage(10, 10);
        (noisy.log_lines_cut, noisy.rejected, noisy.traps) = (1_200, 3, 1);
        stopped.plugins.insert("too-hot".into(), noisy);
        stopped.warnings.push("`a\u{1b}[2J.ndjson` vanished while it was read".into());
        check("several", &[report(), stopped]);
    }

    #[test]
    fn nothing_to_do() {
        check("nothing", &[ExportReport { export: "signals".into(), ..ExportReport::default() }]);
    }
}
