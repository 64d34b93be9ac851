//! Exports: each resolved with the source, the lake and the plugins that it names.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value, json};

use super::plugins::{Plugins, Role};
use super::section::{At, Section};
use super::sources::Source;
use super::value::suggest;
use crate::error::Result;
use crate::layout::{Template, Token};
use crate::plan::{ExportPlan, Files, Flush, Granularity, LakePlan, OnError, Place, PluginUse, Timestamp};
use crate::record::Attribute;

/// Larger records are always dead letters: a body's length must fit into an Arrow view.
const LARGEST_RECORD: u64 = 1 << 30;

/// What exports may name.
pub struct Known {
    pub sources: BTreeMap<String, Source>,
    pub lakes: BTreeMap<String, Arc<LakePlan>>,
    pub plugins: Plugins,
}

/// An export and where its path is said to be, or its name.
pub struct Export {
    pub plan: ExportPlan,
    pub path: Range<usize>,
    pub source: Range<usize>,
}

/// Resolves `[exports.NAME]`.
pub fn resolve(name: &str, section: &Section<'_>, known: &Known) -> Result<Export> {
    section.choice("type")?;
    let (source, source_span) = source(section, known)?;
    let lake = lake(section, known)?;
    let filters = known.plugins.uses(section, "filters", Role::Filter)?;
    let transforms = known.plugins.uses(section, "transforms", Role::Transform)?;
    let format = known.plugins.format(section)?;
    let granularity = match section.choice("granularity")? {
        "minute" => Granularity::Minute,
        "hour" => Granularity::Hour,
        _ => Granularity::Day,
    };
    let timestamp = timestamp(name, section, source)?;
    let files = files(section)?;
    let (path, path_span) = path(section, granularity, files)?;
    if path.has(Token::Kind) && !source.plan.mapping.may_have(Attribute::Kind) && transforms.is_empty() {
        let message = format!("export `{name}` has `{{kind}}` in its path, and its source has no kind");
        let error = section.cx.doc.fail(source.kind.clone(), message);
        return Err(error.with_help("set `kind = \"/name\"` in the source, or take `{kind}` out of the path"));
    }
    let flush = section.section("flush")?;
    let flush = Flush { every: flush.duration("every", false)?, bytes: flush.size("bytes")? };
    let on_error = match section.choice("on-error")? {
        "stop" => OnError::Stop,
        _ => OnError::DeadLetter,
    };
    let mut plan = ExportPlan {
        name: name.to_owned(),
        source: source.plan.clone(),
        lake,
        filters,
        transforms,
        format,
        granularity,
        timestamp,
        path,
        files,
        flush,
        on_error,
        max_record_size: section.size_up_to("max-record-size", LARGEST_RECORD, "1GiB")?,
        max_dead_letters: section.count("max-dead-letters")?,
        settings: Value::Null,
    };
    plan.settings = settings(&plan, section)?;
    Ok(Export { plan, path: path_span, source: source_span })
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
fn timestamp(name: &str, section: &Section<'_>, source: &Source) -> Result<Timestamp> {
    let or_enqueued = section.choice("event-time-missing")? == "enqueued";
    if section.choice("timestamp")? == "write" {
        if section.has("event-time-missing") {
            let span = section.key_span("event-time-missing");
            let error = section.cx.doc.fail(span, "`event-time-missing` says nothing where `timestamp = \"write\"`");
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

fn files(section: &Section<'_>) -> Result<Files> {
    let files = section.choice("files")?;
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

/// The tokens of time, coarse to fine, with how many of them each granularity shows.
const TIME_TOKENS: [Token; 5] = [Token::Year, Token::Month, Token::Day, Token::Hour, Token::Minute];

const fn shown_by(granularity: Granularity) -> usize {
    match granularity {
        Granularity::Day => 3,
        Granularity::Hour => 4,
        Granularity::Minute => 5,
    }
}

fn path(section: &Section<'_>, granularity: Granularity, files: Files) -> Result<(Template, Range<usize>)> {
    let folders: String =
        TIME_TOKENS[..shown_by(granularity)].iter().map(|token| format!("{{{}}}/", name_of(*token))).collect();
    let default = format!("{{export}}/{folders}{{part}}.{{ext}}");
    let Some(At { value, span }) = section.text("path")? else {
        let template = Template::parse(&default).expect("the default path is a template");
        return Ok((template, section.span.clone()));
    };
    // A caret inside the text, where the file has it as it is.
    let raw = section.cx.doc.text(span.clone());
    let verbatim = raw.get(1..raw.len().saturating_sub(1)) == Some(value);
    let inside = |part: Range<usize>| match verbatim {
        true => span.start + 1 + part.start..span.start + 1 + part.end,
        false => span.clone(),
    };
    let template = Template::parse(value).map_err(|error| {
        let help = error.help.unwrap_or_else(|| format!("for example `{default}`"));
        section.cx.doc.fail(inside(error.span), error.message).with_help(help)
    })?;
    let written = section.choice("granularity")?;
    if let Some(fine) = TIME_TOKENS[shown_by(granularity)..].iter().find(|token| template.has(**token)) {
        let name = format!("{{{}}}", name_of(*fine));
        // A token has a second spelling; then all of the path is meant.
        let at = value.find(&name).map_or(0..value.len(), |at| at..at + name.len());
        let error = section.cx.doc.fail(inside(at), format!("`{name}` is finer than `granularity = \"{written}\"`"));
        return Err(error.with_help(format!(
            "take it out, or set `granularity = \"{}\"`",
            if *fine == Token::Minute { "minute" } else { "hour" }
        )));
    }
    let missing = TIME_TOKENS[..shown_by(granularity)].iter().find(|token| !template.has(**token));
    if let Some(missing) = missing
        && files != Files::Rolling
    {
        let message =
            format!("the path does not tell one {written} from another: it has no `{{{}}}`", name_of(*missing));
        let help = format!("for example `{default}`; or set `files = \"rolling\"`");
        return Err(section.cx.doc.fail(span, message).with_help(help));
    }
    Ok((template, span))
}

fn name_of(token: Token) -> &'static str {
    let (_, names) = Token::ALL.iter().find(|(known, _)| *known == token).expect("`ALL` has every token");
    names[0]
}

/// The settings that decide which files there are and what is in them. Object keys come out sorted.
fn settings(plan: &ExportPlan, section: &Section<'_>) -> Result<Value> {
    let uses = |uses: &[PluginUse]| uses.iter().map(one_use).collect::<Vec<_>>();
    let mapping = &plan.source.mapping;
    let mut settings = json!({
        "source": {
            "envelope": mapping.envelope.name(),
            "kind": place(&mapping.kind),
            "time": place(&mapping.time),
            "time-unit": match mapping.time_unit {
                crate::plan::TimeUnit::Rfc3339 => "rfc3339",
                crate::plan::TimeUnit::EpochSeconds => "epoch-seconds",
                crate::plan::TimeUnit::EpochMilliseconds => "epoch-milliseconds",
            },
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
        "granularity": section.choice("granularity")?,
        "timestamp": section.choice("timestamp")?,
        "event-time-missing": section.choice("event-time-missing")?,
        "path": plan.path.to_string(),
        "files": section.choice("files")?,
        "flush": { "every": humantime::format_duration(plan.flush.every).to_string(), "bytes": plan.flush.bytes },
        "on-error": section.choice("on-error")?,
        "max-record-size": plan.max_record_size,
    });
    match plan.files {
        Files::Growing { roll_size } => settings["roll-size"] = roll_size.into(),
        Files::Sealed { lateness } => settings["lateness"] = humantime::format_duration(lateness).to_string().into(),
        Files::Rolling => {}
    }
    settings.sort_all_objects();
    Ok(settings)
}

/// A pointer begins with `/` or is empty, so that the word is none.
fn place(place: &Place) -> Value {
    match place {
        Place::Envelope => "envelope".into(),
        Place::Body(pointer) => pointer.as_str().into(),
        Place::Nowhere => Value::Null,
    }
}

fn one_use(plugin: &PluginUse) -> Value {
    json!({ "plugin": plugin.plugin.name, "config": plugin.config })
}
