//! `lakeport check`: says what a configuration would do, and writes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::{Config, describe, log_warnings, written};
use lakeport::commit::read_last;
use lakeport::config::Role;
use lakeport::dataset::PassedOver;
use lakeport::error::{Error, Result};
use lakeport::lake::Lake;
use lakeport::pipeline::{self, Options, Sample, Tables};
use lakeport::plan::{ExportPlan, Input, PluginUse, SourcePlan};
use lakeport::plugin::{Loaded, Usage};
use lakeport::session::Session;
use lakeport::source::{self, Local, Position, ReadOptions, Source};
use lakeport::telemetry::human::{bytes, count, printable};
use lakeport::telemetry::{Align, Table, usage_table};

/// Say what a configuration would do, and write nothing
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// Run the records of this file through the exports and show the files that they would make
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub sample: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// So many reasons are shown to people, those of the most records.
const SHOWN_REASONS: usize = 10;

/// How much of a source is looked at without a sample.
const FIRST_BYTES: u64 = 1 << 20;

/// What one export would do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checked {
    pub export: String,
    pub source: String,
    /// Files, folders and patterns, or standard input.
    pub reads: Vec<String>,
    pub lake: String,
    /// The lake's place, without its credential.
    pub location: String,
    pub path: String,
    /// Which files, in words.
    pub files: String,
    /// When it commits, in words.
    pub flush: String,
    /// Advice on costly settings.
    pub advice: Option<String>,
    /// In the order in which records meet them.
    pub plugins: Vec<CheckedPlugin>,
    /// What the first records, or those of a sample, would become.
    pub preview: Option<Preview>,
    /// The settings that change output.
    pub settings: serde_json::Value,
}

/// A plugin in its place.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckedPlugin {
    pub name: String,
    /// `filter`, `transform` or `format`.
    pub role: String,
    /// `built in`, or its path.
    pub origin: String,
    /// What its component says of itself; known once it is loaded.
    pub component: Option<Component>,
    pub config: serde_json::Value,
}

/// A loaded component.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Component {
    pub version: String,
    /// In hexadecimal.
    pub sha256: String,
}

/// What records would become.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Preview {
    /// Bytes of the source that were looked at.
    pub bytes: u64,
    /// There is more of it.
    pub is_part: bool,
    pub records: u64,
    pub written: u64,
    /// In the order of their keys.
    pub files: Vec<PreviewFile>,
    /// Reasons with how many records each refused.
    pub dead_letters: BTreeMap<String, u64>,
    /// Records of kinds that no table has.
    #[serde(skip_serializing_if = "PassedOver::is_empty")]
    pub passed_over: PassedOver,
    /// By the plugin's name.
    pub plugins: BTreeMap<String, Usage>,
    /// The warnings that a run would print.
    pub warnings: Vec<String>,
}

/// A file that would be made.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PreviewFile {
    pub key: String,
    pub records: u64,
    pub bytes: u64,
}

impl Checked {
    /// What the plan alone says: without components and without a preview.
    pub fn of(export: &ExportPlan) -> Self {
        let checked = |role: Role, uses: &[PluginUse]| {
            let one = |plugin: &PluginUse| CheckedPlugin {
                name: plugin.plugin.name.clone(),
                role: role.to_string(),
                origin: describe::origin(&plugin.plugin),
                component: None,
                config: plugin.config.clone(),
            };
            uses.iter().map(one).collect::<Vec<_>>()
        };
        Checked {
            export: export.name.clone(),
            source: export.source.name.clone(),
            reads: describe::input(&export.source.input),
            lake: export.lake.name.clone(),
            location: describe::location(&export.lake.location),
            path: describe::path(export),
            files: describe::files(export),
            flush: describe::flush(export.flush),
            advice: describe::advice(export),
            plugins: [
                checked(Role::Filter, &export.filters),
                checked(Role::Transform, &export.transforms),
                checked(Role::Format, std::slice::from_ref(&export.format)),
            ]
            .concat(),
            preview: None,
            settings: export.settings.clone(),
        }
    }
}

/// Writes what the exports would do to `out`.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    log_warnings()?;
    let (plan, options) = (Arc::new(args.config.load()?), Options::new(1, super::writer()));
    let session = Session::new(plan, super::sandbox()?, Arc::new(Local), options);
    session.pin(false)?;
    let runtime = super::runtime()?;
    let mut checked = Vec::new();
    for export in &session.plan.exports {
        checked.push(runtime.block_on(look(&session, export, args.sample.as_deref()))?);
    }
    written(out.write_all(render(&checked, args.json).as_bytes()))
}

/// What one export would do with its first records, or with those of `sample`.
async fn look(session: &Session, export: &ExportPlan, sample: Option<&Path>) -> Result<Checked> {
    let (loading, loaded) = (session.clone(), export.clone());
    let plugins = tokio::task::spawn_blocking(move || loading.load(&loaded)).await;
    let plugins = plugins
        .map_err(|e| Error::internal(format!("loading plugins died: {e}")))?
        .map_err(|error| error.context(format_args!("export `{}`", export.name)))?;
    let mut checked = Checked::of(export);
    for plugin in &mut checked.plugins {
        let component =
            |loaded: &Arc<Loaded>| Component { version: loaded.version.clone(), sha256: loaded.digest.clone() };
        plugin.component = plugins.get(&plugin.name).map(component);
    }
    let lake = Lake::open_read_only(&export.lake).await?;
    let (source, position, limit) = match sample {
        Some(file) => {
            let unusable = |error: std::io::Error| {
                let error = error.to_string().to_lowercase();
                Error::config(format!("`--sample {}`: {error}", file.display())).with_help("name a file of records")
            };
            std::fs::metadata(file).map_err(unusable)?;
            let file = std::path::absolute(file).map_err(unusable)?;
            let input = Input::Files(vec![file.display().to_string()]);
            (Arc::new(SourcePlan { input, ..SourcePlan::clone(&export.source) }), Position::default(), u64::MAX)
        }
        // What is handed over cannot be looked at without taking it away from the run.
        None if !matches!(export.source.input, Input::Files(_)) => return Ok(checked),
        None => {
            let last = read_last(&lake, &export.name, &export.partition).await?;
            (export.source.clone(), last.map(|(_, commit)| commit.position).unwrap_or_default(), FIRST_BYTES)
        }
    };
    let toolbox = Arc::new(session.sandbox.toolbox());
    let tables = Tables::new(session.plan.tables.clone(), BTreeMap::new());
    let digests = plugins.iter().map(|(name, plugin)| (name.clone(), plugin.digest.clone())).collect();
    let (opened, export, surroundings) = (toolbox.clone(), Arc::new(export.clone()), session.surroundings.clone());
    let previewed = tokio::task::spawn_blocking(move || {
        let options = ReadOptions {
            follow: false,
            live: Arc::default(),
            run: "preview".to_owned(),
            longest: source::longest_line(source.mapping.envelope, export.max_record_size),
        };
        let reader = Local.open(&ExportPlan { source, ..ExportPlan::clone(&export) }, &position, options)?;
        pipeline::preview(export, &lake, opened, &digests, tables, Sample { reader, limit }, &surroundings)
    });
    let preview = previewed.await.map_err(|e| Error::internal(format!("the preview died: {e}")))??;
    let files = preview.files.into_iter();
    checked.preview = Some(Preview {
        bytes: preview.bytes,
        is_part: preview.bytes >= limit,
        warnings: preview.warnings,
        records: preview.records,
        written: files.as_slice().iter().map(|file| file.rows).sum(),
        files: files.map(|file| PreviewFile { key: file.key, records: file.rows, bytes: file.bytes }).collect(),
        dead_letters: preview.dead_letters,
        passed_over: preview.passed_over,
        plugins: toolbox.usage(),
    });
    Ok(checked)
}

/// The findings as text, or as one JSON object.
pub fn render(exports: &[Checked], json: bool) -> String {
    if json {
        return format!("{}\n", serde_json::json!({ "exports": exports }));
    }
    exports.iter().map(text).collect::<Vec<_>>().join("\n")
}

fn text(export: &Checked) -> String {
    let mut lines = vec![
        ("source", format!("{}: {}", export.source, printable(&export.reads.join(", ")))),
        ("lake", format!("{}: {}", export.lake, export.location)),
        ("path", export.path.clone()),
        ("files", export.files.clone()),
        ("commits", export.flush.clone()),
    ];
    if let Some(advice) = &export.advice {
        lines.push(("note", advice.clone()));
    }
    for plugin in &export.plugins {
        let component = plugin.component.as_ref().map_or(String::new(), |component| {
            format!(", {}, sha256 {}", printable(&component.version), component.sha256)
        });
        let config = match plugin.config.as_object() {
            Some(config) if config.is_empty() => String::new(),
            _ => format!(" {}", printable(&plugin.config.to_string())),
        };
        lines.push((&plugin.role, format!("{} ({}{component}){config}", plugin.name, plugin.origin)));
    }
    let mut text = format!("export {}\n", export.export);
    for (what, value) in lines {
        writeln!(text, "  {what:<9}  {value}").expect("a String takes everything");
    }
    if let Some(preview) = &export.preview {
        text += &preview_text(&export.export, preview);
    }
    text
}

fn preview_text(export: &str, preview: &Preview) -> String {
    let (looked, more) = (bytes(preview.bytes), if preview.is_part { ", there is more" } else { "" });
    let (records, written) = (count(preview.records), count(preview.written));
    let mut text = format!("\n  {records} records, {written} written ({looked} looked at{more})\n");
    let mut files = Table::new([("file", Align::Left), ("records", Align::Right), ("bytes", Align::Right)]);
    for file in &preview.files {
        files.row([printable(&file.key), count(file.records), bytes(file.bytes)]);
    }
    let mut letters = Table::new([("dead letters", Align::Right), ("reason", Align::Left)]);
    let mut reasons: Vec<_> = preview.dead_letters.iter().collect();
    reasons.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
    let others = reasons.split_off(reasons.len().min(SHOWN_REASONS));
    for (reason, number) in reasons {
        letters.row([count(*number), printable(reason)]);
    }
    if !others.is_empty() {
        let number = others.iter().map(|(_, number)| **number).sum();
        letters.row([count(number), format!("for {} other reasons; `--json` has them", count(others.len() as u64))]);
    }
    if !preview.passed_over.is_empty() {
        let passed_over = printable(&preview.passed_over.to_string());
        writeln!(text, "\n  passed over: {passed_over}, which no table has").expect("a String takes everything");
    }
    let plugins = usage_table(std::iter::once((export, &preview.plugins)));
    for table in [files, plugins, letters] {
        if !table.is_empty() {
            text.push('\n');
            for line in table.to_string().lines() {
                writeln!(text, "  {line}").expect("a String takes everything");
            }
        }
    }
    for warning in &preview.warnings {
        write!(text, "\n  warning: {}\n", printable(warning)).expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::{expect, parse};

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/check");

    fn checked() -> Vec<Checked> {
        let plan = parse(
            "[lakes.main]\nurl = \"abfss://exports@contoso.dfs.core.windows.net/product/\"\naccount-key = \"env:LAKE_KEY\"\n\
             [sources.signals]\nfiles = [\"signals/*.ndjson\", \"old\"]\n[sources.live]\nstdin = true\n\
             [exports.brews]\nsource = \"signals\"\nfilters = [{ plugin = \"select\", kinds = [\"Brew*\"] }]\n\
             [exports.live]\nsource = \"live\"\nfiles = \"sealed\"\ngranularity = \"day\"\ntimestamp = \"write\"\n",
        );
        plan.unwrap().exports.iter().map(Checked::of).collect()
    }

    #[test]
    fn a_plan_is_told_in_words() {
        expect(&Path::new(FOLDER).join("plan.txt"), &render(&checked(), false));
        let json: serde_json::Value = serde_json::from_str(&render(&checked(), true)).unwrap();
        expect(&Path::new(FOLDER).join("plan.json"), &format!("{json:#}\n"));
    }

    #[test]
    fn a_sample_shows_files_plugins_and_dead_letters() {
        let mut export = checked().remove(0);
        for plugin in &mut export.plugins {
            plugin.component = Some(Component { version: "0.1.0".into(), sha256: "0123456789abcdef".repeat(4) });
        }
        let usage =
            Usage { calls: 1, rows_in: 99, rows_out: 20, nanoseconds: 2_277, peak_memory: 1 << 20, ..Usage::default() };
        let key = |hour: u32| format!("brews/2019/09/10/{hour}/00.ndjson");
        export.preview = Some(Preview {
            bytes: 30_000,
            is_part: true,
            warnings: vec!["`in/a` ends without a line feed".to_owned()],
            records: 100,
            written: 20,
            files: vec![
                PreviewFile { key: key(10), records: 19, bytes: 5_500 },
                PreviewFile { key: key(11), records: 1, bytes: 290 },
            ],
            dead_letters: [("the body is not JSON".to_owned(), 1)].into(),
            passed_over: PassedOver::default(),
            plugins: [("select".to_owned(), usage)].into(),
        });
        expect(&Path::new(FOLDER).join("sample.txt"), &render(&[export], false));
    }
}
