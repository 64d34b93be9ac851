//! Configuration: the file a user wrote becomes one checked [`Plan`]. The first stage; nothing later reads configuration.
//!
//! Parse → resolve → check. Every key is one of `keys.rs`, every error shows its line with a caret and says what to do, and
//! secrets come from references only and never enter an error. Touches no lake and no record.

mod columns;
pub mod comments;
mod defaults;
mod document;
pub mod edit;
mod exports;
mod keys;
mod lakes;
mod mask;
mod overlap;
mod paths;
mod plugins;
mod reference;
mod section;
mod server;
mod sources;
mod tables;
mod url;
mod value;
pub mod variables;

#[cfg(test)]
pub(crate) mod golden;
#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;

pub use overlap::without_parents;
pub use plugins::{BUILT_IN, Role};
pub use reference::reference;
pub use section::folder_of;
pub use value::suggest;

use self::document::Document;
use self::exports::{Export, Known};
use self::section::{Context, Errors, Section};
use crate::error::{Error, Result};
use crate::plan::{Exports, Input, Plan};

const SMALLEST: &str = "the smallest configuration has a source and an export:\n\n    \
     [sources.signals]\n    files = \"signals/*.ndjson\"\n\n    \
     [exports.signals]\n    source = \"signals\"";

/// Reads the configuration at `path`; `env` looks up environment variables.
///
/// # Errors
/// Of kind `Config`: the file cannot be read, or [`parse`] refuses it.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Plan> {
    parse(&read(path)?, path, env)
}

/// The text of the configuration at `path`.
fn read(path: &Path) -> Result<String> {
    let text = std::fs::read(path).map_err(|error| {
        let message =
            format!("cannot read the configuration `{}`: {}", path.display(), error.to_string().to_lowercase());
        Error::config(message).with_help(SMALLEST)
    })?;
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::config(format!("the configuration `{}` is not UTF-8: line {line}", path.display()))
            .with_help("save it as UTF-8")
    })
}

/// Turns the text of the configuration at `path` into a plan.
///
/// # Errors
/// Of kind `Config`, with the line and what to do.
pub fn parse(text: &str, path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Plan> {
    let cx = Context { doc: Document::new(path, text), folder: section::folder_of(path), env };
    let table = toml::de::DeTable::parse(text).map_err(|error| cx.doc.syntax_error(&error))?;
    let file = Section::open(&cx, "", 0..0, Some(table.get_ref()), &keys::FILE)?;
    let mut errors = Errors::default();
    let lakes = lakes::resolve(&file, &mut errors);
    let sources = sources::resolve(&file, &lakes, &mut errors);
    let sections = errors.keep(file.sections("exports")).unwrap_or_default();
    let Some(plugins) = errors.keep(plugins::Plugins::resolve(&file)) else {
        return Err(errors.done().expect_err("one was kept"));
    };
    let server = server::resolve(&file, &sources, &mut errors);
    let server = errors.keep(server);
    let known = Known { sources, lakes, plugins };
    let mut exports: Vec<Export> = Vec::new();
    for (name, section) in sections {
        // What follows from another mistake is none of its own.
        if errors.is_empty() || known.has_all_of(&section) {
            let export = exports::resolve(name, &section, &known).and_then(|export| {
                exports.iter().try_for_each(|other| compatible(&section, other, &export, &known))?;
                not_its_own(&section, &export, &known)?;
                Ok(export)
            });
            exports.extend(errors.keep(export));
        }
    }
    errors.done()?;
    if exports.is_empty() {
        return Err(file.fail("the configuration has no export").with_help(SMALLEST));
    }
    let exports: Vec<_> = exports.into_iter().map(|export| export.plan).collect();
    let keep_tables = exports.iter().filter(|export| export.keeps_table());
    let tables = keep_tables.map(|export| (export.name.clone(), export.lake.clone())).collect();
    let server = server.expect("errors were shown");
    Ok(Plan { path: path.to_owned(), exports, tables, server })
}

/// Refuses an export that would read what it writes.
fn not_its_own(section: &Section<'_>, export: &Export, known: &Known) -> Result<()> {
    if !overlap::feeds_itself(&export.plan) {
        return Ok(());
    }
    let name = &export.plan.name;
    let message = format!("export `{name}` would read its own files: its lake is among its source's files");
    let error = section.cx.doc.fail(known.sources[&export.plan.source.name].input.clone(), message);
    Err(error.with_help("put the lake elsewhere, or name the files more narrowly: `signals/*.ndjson`"))
}

/// Refuses two exports that would get into each other's way.
fn compatible(section: &Section<'_>, one: &Export, two: &Export, known: &Known) -> Result<()> {
    let (a, b) = (&one.plan, &two.plan);
    if a.name.eq_ignore_ascii_case(&b.name) {
        let error = section.fail(format!("exports `{}` and `{}` differ in letter case only", a.name, b.name));
        return Err(error.with_help("not every store tells them apart: give one of them another name"));
    }
    if overlap::overlap(a, b) {
        let message = format!("exports `{}` and `{}` could make the same object", a.name, b.name);
        let error = section.cx.doc.fail(two.path.clone(), message);
        let tables = [a, b].map(|export| matches!(export.exports, Exports::Tables(_)));
        return Err(error.with_help(match tables {
            [false, false] => "add `{export}` to the path: `{export}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}`",
            _ => "the folder `root` of tables is theirs alone: give one of the two another place",
        }));
    }
    if let (Input::Stdin { .. }, Input::Stdin { .. }) = (&a.source.input, &b.source.input) {
        let message = format!("exports `{}` and `{}` both read standard input, which can be read once", a.name, b.name);
        let span = if a.source.name == b.source.name { &two.source } else { &known.sources[&b.source.name].input };
        let error = section.cx.doc.fail(span.clone(), message);
        return Err(
            error.with_help("write standard input to a file and read that with `files`, or run them one at a time")
        );
    }
    Ok(())
}
