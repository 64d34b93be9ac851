//! Exports: each resolved with the source, the lake and the plugins that it names.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value, json};

use super::defaults::Defaults;
use super::paths::path;
use super::plugins::{Plugins, Role};
use super::section::{At, Section};
use super::sources::Source;
use super::tables;
use super::value::suggest;
use crate::error::Result;
use crate::layout::Token;
use crate::plan::{
    ExportPlan, Exports, Files, Flush, Granularity, LakePlan, OnError, Place, PluginUse, SOLE_PARTITION, Timestamp,
};
use crate::record::Attribute;
use crate::table::Shape;

/// Larger records are always dead letters: a body's length must fit into an Arrow view.
const LARGEST_RECORD: u64 = 1 << 30;

/// What exports may name.
pub struct Known {
    pub sources: BTreeMap<String, Source>,
    pub lakes: BTreeMap<String, Arc<LakePlan>>,
    pub plugins: Plugins,
}

impl Known {
    /// Whether the source and the lake that an export names were understood.
    pub fn has_all_of(&self, section: &Section<'_>) -> bool {
        let names = |key: &str| section.text(key).ok().flatten().map(|at| at.value);
        names("source").is_some_and(|source| self.sources.contains_key(source))
            && match names("lake") {
                Some(lake) => self.lakes.contains_key(lake),
                None => self.lakes.len() == 1,
            }
    }
}

/// An export and where its path is said to be, or its name.
pub struct Export {
    pub plan: ExportPlan,
    pub path: Range<usize>,
    pub source: Range<usize>,
}

/// Resolves `[exports.NAME]`.
pub fn resolve(name: &str, section: &Section<'_>, known: &Known) -> Result<Export> {
    only(section)?;
    let (source, source_span) = source(section, known)?;
    let lake = lake(section, known)?;
    let filters = known.plugins.uses(section, "filters", Role::Filter)?;
    let transforms = known.plugins.uses(section, "transforms", Role::Transform)?;
    let exports = exports(name, section, &lake)?;
    let of_tables = matches!(exports, Exports::Tables(_));
    let format = known.plugins.format(section, if of_tables { "cdm-csv" } else { "ndjson" })?;
    let defaults = Defaults::of(&exports, &format);
    let granularity = match section.choice_or("granularity", defaults.granularity)? {
        "minute" => Granularity::Minute,
        "hour" => Granularity::Hour,
        _ => Granularity::Day,
    };
    let timestamp = timestamp(name, section, source, &exports, &defaults)?;
    let files = match of_tables {
        true => Files::Once,
        false => files(section, &exports, &defaults)?,
    };
    let (path, path_span) = match &exports {
        Exports::Tables(tables) => tables::path(section, tables),
        _ => path(section, &defaults, granularity, (files, exports.keeps_table()))?,
    };
    if let Exports::Tables(plan) = &exports {
        tables::check_source(section, plan, source, transforms.is_empty())?;
    }
    if source.plan.partitions > 1 && !path.has(Token::Partition) {
        let message = format!("export `{name}` has several partitions, and its path has no `{{partition}}`");
        let error = section.cx.doc.fail(path_span, message);
        return Err(error.with_help(
            "each partition writes files of its own: `path = \"{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"`",
        ));
    }
    if path.has(Token::Kind) && !source.plan.mapping.may_have(Attribute::Kind) && transforms.is_empty() {
        let message = format!("export `{name}` has `{{kind}}` in its path, and its source has no kind");
        let error = section.cx.doc.fail(source.kind.clone(), message);
        return Err(error.with_help("set `kind = \"/name\"` in the source, or take `{kind}` out of the path"));
    }
    if exports.keeps_table() && !source.plan.mapping.may_have(Attribute::Subject) {
        let message = format!("export `{name}` keeps documents by their subject, and its source has none");
        let error = section.cx.doc.fail(source.subject.clone(), message);
        return Err(error.with_help("set `subject = \"/id\"` in the source"));
    }
    let flush = section.section("flush")?;
    let flush = Flush { every: flush.duration("every", false)?, bytes: flush.size("bytes")? };
    let on_error = match section.choice("on-error")? {
        "stop" => OnError::Stop,
        _ => OnError::DeadLetter,
    };
    let mut plan = ExportPlan {
        partition: SOLE_PARTITION.into(),
        name: name.to_owned(),
        exports,
        source: source.plan.clone(),
        lake,
        filters,
        transforms,
        format,
        granularity,
        timestamp,
        max_ahead: section.has("max-ahead").then(|| section.duration("max-ahead", true)).transpose()?,
        path,
        files,
        flush,
        on_error,
        max_record_size: section.size_up_to("max-record-size", LARGEST_RECORD, "1GiB")?,
        max_dead_letters: section.count("max-dead-letters")?,
        excerpt: None,
        settings: Value::Null,
    };
    plan.settings = settings(&plan, section, &defaults)?;
    Ok(Export { plan, path: path_span, source: source_span })
}

/// What the export makes of its records.
fn exports(name: &str, section: &Section<'_>, lake: &LakePlan) -> Result<Exports> {
    Ok(match section.choice("type")? {
        "changes" => {
            let shape = match section.choice("shape")? {
                "twin" => Shape::Twin,
                _ => Shape::Document,
            };
            Exports::Changes { shape, mark_deletes: section.choice("deletes")? == "mark" }
        }
        "table" => Exports::Tables(Arc::new(tables::resolve(name, section, lake)?)),
        _ => Exports::Events,
    })
}

/// Refuses keys that say nothing of what is exported.
fn only(section: &Section<'_>) -> Result<()> {
    const OF_CHANGES: &[&str] = &["deletes", "shape"];
    const OF_TABLES: &[&str] = &["root", "public-url", "description", "snapshots", "tables"];
    let kind = section.choice("type")?;
    let (what, others): (_, &[(_, &[&str])]) = match kind {
        "changes" => ("changes", &[("table", OF_TABLES)]),
        "table" => return tables::only(section),
        _ => ("events", &[("changes", OF_CHANGES), ("table", OF_TABLES)]),
    };
    for (other, keys) in others {
        if let Some(key) = keys.iter().find(|key| section.has(key)) {
            let plural = if *other == "table" { "tables" } else { other };
            let message = format!("`{key}` is for {plural}, and these are {what}");
            let error = section.cx.doc.fail(section.key_span(key), message);
            return Err(error.with_help(format!("set `type = \"{other}\"`, or take it out")));
        }
    }
    Ok(())
}

fn source<'k>(section: &Section<'_>, known: &'k Known) -> Result<(&'k Source, Range<usize>)> {
    let At { value, span } = section.need("source")?;
    if let Some(source) = known.sources.get(value) {
        return Ok((source, span));
    }
    let error = section.cx.doc.fail(span, format!("there is no source `{value}`"));
    Err(error.with_help(if known.sources.is_empty() {
        format!("add it: `[sources.{value}]` and below it `files = \"signals/*.ndjson\"`")
    } else {
        suggest(value, known.sources.keys().map(String::as_str))
    }))
}

fn lake(section: &Section<'_>, known: &Known) -> Result<Arc<LakePlan>> {
    let names = || known.lakes.keys().map(String::as_str);
    if let Some(At { value, span }) = section.text("lake")? {
        return known.lakes.get(value).cloned().ok_or_else(|| {
            let error = section.cx.doc.fail(span, format!("there is no lake `{value}`"));
            error.with_help(if value.contains(['/', ':']) {
                "`lake` is a name; the place goes into `[lakes.NAME]` as `url`".to_owned()
            } else {
                suggest(value, names())
            })
        });
    }
    let mut lakes = known.lakes.values();
    match (lakes.next(), lakes.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => {
            let first = names().next().unwrap_or("main");
            let error = section.fail(format!("`{}` does not say which lake it writes to", section.path));
            let list = names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            Err(error.with_help(format!("add `lake = \"{first}\"`; there are {list}")))
        }
    }
}

/// Which time counts, and whether the source has it.
fn timestamp(
    name: &str,
    section: &Section<'_>,
    source: &Source,
    exports: &Exports,
    defaults: &Defaults,
) -> Result<Timestamp> {
    let or_enqueued = section.choice("event-time-missing")? == "enqueued";
    let written = section.choice_or("timestamp", defaults.timestamp)?;
    if written != "write" && exports.keeps_table() {
        let error = section.cx.doc.fail(section.key_span("timestamp"), "changes are filed by the time of writing them");
        return Err(error.with_help("set `timestamp = \"write\"`, or take it out"));
    }
    if written == "write" {
        if let Some(key) = ["event-time-missing", "max-ahead"].into_iter().find(|key| section.has(key)) {
            let message = format!("`{key}` says nothing where `timestamp = \"write\"`");
            let error = section.cx.doc.fail(section.key_span(key), message);
            return Err(error.with_help("take it out, or set `timestamp = \"event\"`"));
        }
        return Ok(Timestamp::Write);
    }
    let mapping = &source.plan.mapping;
    if or_enqueued && !mapping.may_have(Attribute::EnqueuedTime) {
        let message = format!("export `{name}` falls back on the enqueued time, and its source has none");
        let error = section.cx.doc.fail(source.enqueued_time.clone(), message);
        return Err(
            error.with_help("set `enqueued-time = \"/serverTime\"` in the source, or take out `event-time-missing`")
        );
    }
    if !or_enqueued && !mapping.may_have(Attribute::Time) {
        let message = format!("export `{name}` files records by event time, and its source has none");
        let error = section.cx.doc.fail(source.time.clone(), message);
        return Err(
            error.with_help("set `time = \"/signalTime\"` in the source, or `timestamp = \"write\"` in the export")
        );
    }
    Ok(Timestamp::Event { or_enqueued })
}

fn files(section: &Section<'_>, exports: &Exports, defaults: &Defaults) -> Result<Files> {
    let files = section.choice_or("files", defaults.files)?;
    if files != "rolling" && exports.keeps_table() {
        let error = section.cx.doc.fail(section.key_span("files"), "a file of changes is final when it appears");
        return Err(error.with_help("set `files = \"rolling\"`, or take it out"));
    }
    for (key, of) in [("roll-size", "growing"), ("lateness", "sealed")] {
        if section.has(key) && files != of {
            let message = format!("`{key}` is for {of} files, and `files` is `\"{files}\"`");
            let error = section.cx.doc.fail(section.key_span(key), message);
            return Err(error.with_help(format!("take it out, or set `files = \"{of}\"`")));
        }
    }
    Ok(match files {
        "growing" => Files::Growing { roll_size: section.size("roll-size")? },
        "sealed" => Files::Sealed { lateness: section.duration("lateness", true)? },
        _ => Files::Rolling,
    })
}

/// The settings that decide which files there are and what is in them. Object keys come out sorted.
fn settings(plan: &ExportPlan, section: &Section<'_>, defaults: &Defaults) -> Result<Value> {
    let uses = |uses: &[PluginUse]| uses.iter().map(one_use).collect::<Vec<_>>();
    let mapping = &plan.source.mapping;
    let mut settings = json!({
        "source": {
            "envelope": mapping.envelope.name(),
            "kind": place(&mapping.kind),
            "time": place(&mapping.time),
            "time-unit": mapping.time_unit.name(),
            "subject": place(&mapping.subject),
            "id": place(&mapping.id),
            "source": place(&mapping.source),
            "enqueued-time": place(&mapping.enqueued_time),
            "operation": place(&mapping.operation),
            "version": place(&mapping.version),
            "properties": place(&mapping.properties),
            "system-properties": place(&mapping.system_properties),
        },
        "filters": uses(&plan.filters),
        "transforms": uses(&plan.transforms),
        "format": one_use(&plan.format),
        "granularity": section.choice_or("granularity", defaults.granularity)?,
        "timestamp": section.choice_or("timestamp", defaults.timestamp)?,
        "event-time-missing": section.choice("event-time-missing")?,
        "path": plan.path.to_string(),
        "files": section.choice_or("files", defaults.files)?,
        "flush": { "every": humantime::format_duration(plan.flush.every).to_string(), "bytes": plan.flush.bytes },
        "on-error": section.choice("on-error")?,
        "max-record-size": plan.max_record_size,
    });
    if let Some(most) = plan.max_ahead {
        settings["max-ahead"] = humantime::format_duration(most).to_string().into();
    }
    if mapping.whole_rows {
        settings["source"]["rows"] = "whole".into();
    }
    if let Exports::Changes { .. } = plan.exports {
        settings["type"] = "changes".into();
        settings["shape"] = section.choice("shape")?.into();
        settings["deletes"] = section.choice("deletes")?.into();
    }
    if let Exports::Tables(tables) = &plan.exports {
        let object = settings.as_object_mut().expect("made as an object");
        for key in ["granularity", "timestamp", "event-time-missing", "path", "files"] {
            object.remove(key);
        }
        object.insert("type".to_owned(), "table".into());
        object.extend(tables::settings(tables));
    }
    match plan.files {
        Files::Growing { roll_size } => settings["roll-size"] = roll_size.into(),
        Files::Sealed { lateness } => settings["lateness"] = humantime::format_duration(lateness).to_string().into(),
        Files::Rolling | Files::Once => {}
    }
    settings.sort_all_objects();
    Ok(settings)
}

/// A pointer begins with `/` or is empty, so that the word is none.
fn place(place: &Place) -> Value {
    match place {
        Place::Envelope => "envelope".into(),
        Place::Within(pointer) => format!("envelope:{pointer}").into(),
        Place::Body(pointer) => pointer.as_str().into(),
        Place::Nowhere => Value::Null,
    }
}

fn one_use(plugin: &PluginUse) -> Value {
    json!({ "plugin": plugin.plugin.name, "config": plugin.config })
}
