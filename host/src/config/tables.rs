//! What an export of tables is: its root, its public URL, its snapshots, and each table with its columns.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Value, json};
use toml::de::DeValue;

use super::columns;
use super::overlap::without_parents;
use super::section::{At, Section};
use super::sources::Source;
use super::value::{Complaint, table_name};
use crate::error::{Error, Result};
use crate::layout::Template;
use crate::plan::{Columns, LakePlan, Location, Partition, TablePlan, TablesPlan, Write};
use crate::record::Attribute;

/// Keys of other exports, and what to do instead.
const OTHERS: [(&str, &str); 10] = [
    ("path", "`root` is the folder of all tables"),
    ("granularity", "`partition` of a table says what its files cover"),
    ("timestamp", "`created` of a table says which time decides a row's file"),
    ("event-time-missing", "`created` of a table says which time decides a row's file"),
    ("max-ahead", "`created` of a table says which time decides a row's file"),
    ("files", "readers see snapshots: `snapshots` says when"),
    ("roll-size", "readers see snapshots: `snapshots` says when"),
    ("lateness", "readers see snapshots: `snapshots` says when"),
    ("deletes", "`write` of a table says what becomes of a deleted row"),
    ("shape", "the kinds of records say which table's rows they are"),
];

/// Refuses keys that say nothing of tables.
pub fn only(section: &Section<'_>) -> Result<()> {
    let Some((key, instead)) = OTHERS.iter().find(|(key, _)| section.has(key)) else { return Ok(()) };
    let error = section.cx.doc.fail(section.key_span(key), format!("`{key}` is not for tables"));
    Err(error.with_help(format!("take it out: {instead}")))
}

/// Resolves what `[exports.NAME]` says of tables.
pub fn resolve(name: &str, section: &Section<'_>, lake: &LakePlan) -> Result<TablesPlan> {
    let root = root(name, section)?;
    let snapshots = section.section("snapshots")?;
    let mut tables: BTreeMap<String, TablePlan> = BTreeMap::new();
    for (table, keys) in section.sections_named("tables", table_name)? {
        let plan = self::table(table, &keys)?;
        if let Some(other) = tables.keys().find(|other| other.to_lowercase() == table.to_lowercase()) {
            let error = keys.fail(format!("tables `{other}` and `{table}` differ in letter case only"));
            return Err(error.with_help("not every store and reader tells them apart: take one of them out"));
        }
        let shared = |other: &TablePlan| plan.kinds.iter().find(|kind| other.kinds.contains(kind)).cloned();
        if let Some((other, kind)) = tables.iter().find_map(|(name, other)| Some((name, shared(other)?))) {
            let at = keys.written("kind").map_or(keys.span.clone(), |(_, span)| span);
            let message = format!("tables `{other}` and `{table}` hold the same kind of records, `{kind}`");
            let error = keys.cx.doc.fail(at, message);
            return Err(error.with_help("take one of them out, or make two exports"));
        }
        tables.insert(table.to_owned(), plan);
    }
    if tables.is_empty() {
        let error = section.fail(format!("export `{name}` has no table"));
        return Err(error.with_help(format!("add one: `[exports.{name}.tables.account]`")));
    }
    Ok(TablesPlan {
        public_url: public_url(section, lake, &root)?,
        root,
        description: description(section)?,
        every: snapshots.duration("every", false)?,
        keep: snapshots.duration("keep", false)?,
        tables,
    })
}

/// Where an export of tables may make objects, for what asks for a path, and where the file says it.
pub fn path(section: &Section<'_>, tables: &TablesPlan) -> (Template, Range<usize>) {
    let template = Template::parse(&below(&tables.root)).expect("the root was checked as a part of this");
    (template, section.written("root").map_or(section.span.clone(), |(_, span)| span))
}

fn below(root: &str) -> String {
    format!("{root}/{{part}}.{{ext}}")
}

/// Refuses tables whose rows the source cannot tell: it has no kind, or no key.
pub fn check_source(section: &Section<'_>, tables: &TablesPlan, source: &Source, as_read: bool) -> Result<()> {
    let mapping = &source.plan.mapping;
    if as_read && !mapping.may_have(Attribute::Kind) {
        let message = format!("`{}` tells tables by the kind of their records, and its source has none", section.path);
        let error = section.cx.doc.fail(source.kind.clone(), message);
        return Err(error.with_help("set `kind = \"/table\"` in the source"));
    }
    let keyless = tables.tables.iter().find(|(_, table)| table.key.is_empty());
    if let Some((name, _)) = keyless
        && !mapping.may_have(Attribute::Subject)
    {
        let message = format!("table `{name}` has no `key`, and its source no subject");
        let error = section.cx.doc.fail(source.subject.clone(), message);
        return Err(error.with_help(format!("add `key = \"/{name}id\"` to the table, or `subject` to the source")));
    }
    Ok(())
}

/// What decides which files there are and what is in them.
pub fn settings(tables: &TablesPlan) -> serde_json::Map<String, Value> {
    let time = |time| humantime::format_duration(time).to_string();
    let one = |(name, table): (&String, &TablePlan)| {
        let settings = json!({
            "linked": table.linked,
            "link": table.link,
            "unlinked-files": if table.remove_files { "remove" } else { "keep" },
            "kind": if let [kind] = &*table.kinds { json!(kind) } else { json!(table.kinds) },
            "key": table.key,
            "created": table.created,
            "write": match table.write {
                Write::InPlace => "in-place",
                Write::AppendOnly => "append-only",
            },
            "partition": match table.partition {
                Partition::Year => "year",
                Partition::Month => "month",
            },
            "columns": match &table.columns {
                Columns::Stream => "stream".into(),
                Columns::Infer => "infer".into(),
                Columns::Given(columns) => json!(columns),
            },
        });
        (name.clone(), settings)
    };
    let mut settings = serde_json::Map::new();
    settings.insert("root".into(), tables.root.as_str().into());
    settings.insert("public-url".into(), tables.public_url.as_str().into());
    settings.insert("description".into(), tables.description.as_str().into());
    settings.insert("snapshots".into(), json!({ "every": time(tables.every), "keep": time(tables.keep) }));
    settings.insert("tables".into(), Value::Object(tables.tables.iter().map(one).collect()));
    settings
}

fn table(name: &str, section: &Section<'_>) -> Result<TablePlan> {
    let write = match section.choice("write")? {
        "append-only" => Write::AppendOnly,
        _ => Write::InPlace,
    };
    let partition = match section.choice("partition")? {
        "month" => Partition::Month,
        _ => Partition::Year,
    };
    if (write, partition) == (Write::AppendOnly, Partition::Month) {
        let error = section.cx.doc.fail(section.key_span("partition"), "append-only tables are partitioned by year");
        return Err(error.with_help("take `partition` out, or set `write = \"in-place\"`"));
    }
    let columns = match section.written("columns") {
        None => Columns::Stream,
        Some((DeValue::Array(rows), span)) => Columns::Given(columns::resolve(section, rows, span)?),
        Some((DeValue::String(text), span)) => match text.as_ref() {
            "stream" => Columns::Stream,
            "infer" => Columns::Infer,
            other => {
                let error = section.cx.doc.fail(span, format!("unknown `columns`: `{other}`"));
                return Err(error.with_help(
                    "set `\"stream\"`, `\"infer\"`, or the columns: `[{ name = \"name\", data-type = \"string\" }]`",
                ));
            }
        },
        Some((other, span)) => return Err(section.wrong_type_of("columns", other, span)),
    };
    Ok(TablePlan {
        linked: section.flag("linked")?,
        link: section.count_within("link", 1, u64::MAX)?.unwrap_or(1),
        remove_files: section.choice("unlinked-files")? == "remove",
        kinds: kinds(name, section)?,
        key: key(section)?,
        created: section.pointer("created")?,
        write,
        partition,
        columns,
    })
}

/// The kinds of a table's records: its name where none is written.
fn kinds(name: &str, section: &Section<'_>) -> Result<Vec<String>> {
    let written = section.texts("kind")?;
    let mut kinds: Vec<String> = Vec::new();
    for At { value, span } in written {
        let fail = |message: String, help: &str| section.cx.doc.fail(span.clone(), message).with_help(help);
        if value.is_empty() {
            return Err(fail("`kind` is empty".into(), "write the kind that the table's records have, or take it out"));
        }
        if kinds.iter().any(|known| known == value) {
            return Err(fail(format!("`kind` names `{value}` twice"), "name each kind once"));
        }
        kinds.push(value.to_owned());
    }
    if kinds.is_empty() {
        kinds.push(name.to_owned());
    }
    Ok(kinds)
}

/// Where rows have their key; each member once.
fn key(section: &Section<'_>) -> Result<Vec<String>> {
    let key = section.pointers("key")?;
    let mut seen = BTreeSet::new();
    match key.iter().find(|pointer| !seen.insert(*pointer)) {
        None => Ok(key),
        Some(twice) => {
            let error = section.cx.doc.fail(section.key_span("key"), format!("`key` names `{twice}` twice"));
            Err(error.with_help("name each member once"))
        }
    }
}

/// What a model's description may have, in characters.
const LONGEST_DESCRIPTION: usize = 4_000;

fn description(section: &Section<'_>) -> Result<String> {
    let Some(At { value, span }) = section.text("description")? else { return Ok(String::new()) };
    match value.chars().count() {
        0..=LONGEST_DESCRIPTION => Ok(value.to_owned()),
        count => {
            let message =
                format!("`description` has {count} characters, and catalogs have room for {LONGEST_DESCRIPTION}");
            let error = section.cx.doc.fail(span, message);
            Err(error.with_help(format!("write at most {LONGEST_DESCRIPTION} characters")))
        }
    }
}

/// The folder of all tables, with the characters that paths have.
fn root(name: &str, section: &Section<'_>) -> Result<String> {
    let Some(At { value, span }) = section.text("root")? else { return Ok(name.to_owned()) };
    let folders = value.trim_end_matches('/');
    let fail =
        |message: String, help: String| section.cx.complain(span.clone(), "`root`", Complaint::new(message, help));
    let help = "write folders below the lake's URL: `crm`, `business/crm`";
    if folders.contains(['{', '}']) {
        return Err(fail("tokens are for paths".into(), help.into()));
    }
    Template::parse(&below(folders)).map_err(|error| fail(error.message, error.help.unwrap_or_else(|| help.into())))?;
    Ok(folders.to_owned())
}

const SCHEMES: &[&str] = &["https", "http", "abfss", "s3", "gs", "file"];

/// The URL of `root` as readers know it; ends in `/`.
fn public_url(section: &Section<'_>, lake: &LakePlan, root: &str) -> Result<String> {
    let Some(At { value, span }) = section.text("public-url")? else { return url_of(section, lake, root) };
    let fail = |message: &str| -> Error {
        let help =
            "write the URL of the lake's folder as readers know it: `https://contoso.dfs.core.windows.net/exports/`";
        section.cx.complain(span.clone(), "`public-url`", Complaint::new(message, help))
    };
    let folder = value.trim_end_matches('/');
    let url = url::Url::parse(&format!("{folder}/{root}/")).map_err(|_| fail("not an absolute URL"))?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(fail("not a URL with `https`, `http`, `abfss`, `s3`, `gs` or `file`"));
    }
    if value.contains(['?', '#']) || url.password().is_some() || (!url.username().is_empty() && url.scheme() != "abfss")
    {
        return Err(fail(
            "more than a place: it goes into files that readers see, without a user, a password or a query",
        ));
    }
    if url.scheme() != "file" && url.host_str().unwrap_or_default().is_empty() {
        return Err(fail("without a host"));
    }
    Ok(url.to_string())
}

/// The URL of `root` in the lake itself.
fn url_of(section: &Section<'_>, lake: &LakePlan, root: &str) -> Result<String> {
    let below = |prefix: &str| if prefix.is_empty() { format!("{root}/") } else { format!("{prefix}/{root}/") };
    let text = match &lake.location {
        Location::Local(path) => {
            let folder = without_parents(path).join(root);
            return url::Url::from_directory_path(&folder).map(String::from).map_err(|()| {
                let error = section.fail(format!("the folder `{}` has no URL", folder.display()));
                error.with_help("set `public-url` in the export")
            });
        }
        Location::Memory(name) => return Ok(format!("memory:{name}/{root}/")),
        Location::Azure { container, prefix, endpoint: Some(endpoint), .. } => {
            format!("{endpoint}/{container}/{}", below(prefix))
        }
        Location::Azure { account, container, prefix, endpoint: None, .. } => {
            format!("https://{account}.dfs.core.windows.net/{container}/{}", below(prefix))
        }
        Location::S3 { bucket, prefix, .. } => format!("s3://{bucket}/{}", below(prefix)),
        Location::Gcs { bucket, prefix, .. } => format!("gs://{bucket}/{}", below(prefix)),
    };
    let url = url::Url::parse(&text);
    url.map(String::from).map_err(|_| {
        section
            .fail(format!("`{text}` is not a URL that readers could be given"))
            .with_help("set `public-url` in the export")
    })
}
