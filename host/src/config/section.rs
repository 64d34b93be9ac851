//! One table of the file, read by the keys that [`super::keys`] describes.
//!
//! Every value is read here: its type is checked against its key's form, and its default is the one of the reference.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::document::Document;
use super::keys::{Absent, Form, Group, Key};
use super::mask;
use super::value::{self, Complaint, suggest};
use crate::error::{Error, Result};
use crate::plan::Secret;

/// What every part of the file is read with.
pub struct Context<'a> {
    pub doc: Document<'a>,
    /// The file's folder, absolute: where relative paths start.
    pub folder: PathBuf,
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A value and where it stands; a default stands at its table's name.
#[derive(Debug, Clone)]
pub struct At<T> {
    pub value: T,
    pub span: Range<usize>,
}

/// A table whose keys are all known.
pub struct Section<'a> {
    pub cx: &'a Context<'a>,
    /// As people name it: `exports.signals`.
    pub path: String,
    /// The table's name in the file.
    pub span: Range<usize>,
    group: &'static Group,
    /// `None` where the file does not have it.
    table: Option<&'a DeTable<'a>>,
}

impl Context<'_> {
    /// `path`, from the file's folder where it is relative.
    pub fn resolve(&self, path: &str) -> PathBuf {
        let path = self.folder.join(path);
        // `absolute` takes out `.` segments; it fails for an empty path only, and the folder is none.
        std::path::absolute(&path).unwrap_or(path)
    }

    /// The error of a complaint about what stands at `span`.
    pub fn complain(&self, span: Range<usize>, context: &str, complaint: Complaint) -> Error {
        self.doc.fail(span, format!("{context}: {}", complaint.message)).with_help(complaint.help)
    }
}

/// What is wrong with a file, as far as it was read: one mistake does not hide the next.
#[derive(Default)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// The value, or nothing, and its error is kept.
    pub fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them as one error.
    pub fn done(self) -> Result<()> {
        Error::all(self.0).map_or(Ok(()), Err)
    }
}

/// The entries of a table in the order of the file.
pub fn in_order<'a>(table: &'a DeTable<'a>) -> Vec<(&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

impl<'a> Section<'a> {
    /// Opens the table `path`, whose name stands at `span`, and checks its keys.
    pub fn open(
        cx: &'a Context<'a>,
        path: impl Into<String>,
        span: Range<usize>,
        table: Option<&'a DeTable<'a>>,
        group: &'static Group,
    ) -> Result<Self> {
        let section = Section { cx, path: path.into(), span, group, table };
        let mut errors = Vec::new();
        for (key, _) in table.map(in_order).unwrap_or_default() {
            let name = key.get_ref().as_ref();
            if group.keys.iter().any(|known| known.name == name) {
                continue;
            }
            let known = group.keys.iter().map(|key| key.name);
            let place = if section.path.is_empty() { String::new() } else { format!(" in `{}`", section.path) };
            errors.push(if group.later.contains(&name) {
                cx.doc.fail(key.span(), format!("`{name}`{place} is not available in this version")).with_help(format!(
                    "known: {}",
                    known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                ))
            } else {
                cx.doc.fail(key.span(), format!("unknown key `{name}`{place}")).with_help(suggest(name, known))
            });
        }
        match Error::all(errors) {
            Some(error) => Err(error),
            None => Ok(section),
        }
    }

    /// An error about the table as a whole.
    pub fn fail(&self, message: impl Into<String>) -> Error {
        self.cx.doc.fail(self.span.clone(), message)
    }

    /// Whether the file holds the key.
    pub fn has(&self, name: &str) -> bool {
        self.written(name).is_some()
    }

    /// Where the key stands, or the table's name.
    pub fn key_span(&self, name: &str) -> Range<usize> {
        let entry = self.table.and_then(|table| table.get_key_value(name));
        entry.map_or(self.span.clone(), |(key, _)| key.span())
    }

    /// The value as it was written, and where.
    pub fn written(&self, name: &str) -> Option<(&'a DeValue<'a>, Range<usize>)> {
        self.table?.get(name).map(|value| (value.get_ref(), value.span()))
    }

    /// Text, or `None` where the key is absent and its absence means something else.
    pub fn text(&self, name: &str) -> Result<Option<At<&'a str>>> {
        let key = self.key(name);
        match (self.written(name), key.absent) {
            (Some((DeValue::String(text), span)), _) => Ok(Some(At { value: text, span })),
            (Some((other, span)), _) => Err(self.wrong_type(key, other, span)),
            (None, Absent::Is(default)) => Ok(Some(At { value: default, span: self.span.clone() })),
            (None, Absent::Means(_)) => Ok(None),
            (None, Absent::Required) => Err(self.missing(key)),
        }
    }

    fn missing(&self, key: &Key) -> Error {
        let example = match key.form {
            Form::Choice(known) => format!("\"{}\"", known[0]),
            form => form.example().to_owned(),
        };
        let help = format!("add `{} = {example}`: {}", key.name, lower(key.meaning));
        self.fail(format!("`{}` has no `{}`", self.path, key.name)).with_help(help)
    }

    /// Text of a key that is required or has a default.
    pub fn need(&self, name: &str) -> Result<At<&'a str>> {
        Ok(self.text(name)?.expect("the key is required or has a default"))
    }

    /// One of the key's choices.
    pub fn choice(&self, name: &str) -> Result<&'static str> {
        let Form::Choice(known) = self.key(name).form else { unreachable!("`{name}` is a choice") };
        let At { value, span } = self.need(name)?;
        known.iter().find(|choice| **choice == value).copied().ok_or_else(|| {
            let error = self.cx.doc.fail(span, format!("unknown `{name}`: `{value}`"));
            error.with_help(suggest(value, known.iter().copied()))
        })
    }

    /// One of the key's choices; `default` where it is absent, and what that means follows from other keys.
    pub fn choice_or(&self, name: &str, default: &'static str) -> Result<&'static str> {
        if self.has(name) { self.choice(name) } else { Ok(default) }
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str) -> Result<bool> {
        let key = self.key(name);
        match self.written(name) {
            Some((DeValue::Boolean(flag), _)) => Ok(*flag),
            Some((other, span)) => Err(self.wrong_type(key, other, span)),
            None => Ok(matches!(key.absent, Absent::Is("true"))),
        }
    }

    /// A size in bytes.
    pub fn size(&self, name: &str) -> Result<u64> {
        self.parsed(name, value::size)
    }

    /// A size of at most `most`, which is written `shown`.
    pub fn size_up_to(&self, name: &str, most: u64, shown: &str) -> Result<u64> {
        self.parsed(name, |text| match value::size(text)? {
            size if size > most => {
                Err(Complaint::new(format!("`{text}` is more than `{shown}`"), format!("set at most `\"{shown}\"`")))
            }
            size => Ok(size),
        })
    }

    /// A duration; not zero unless `zero`.
    pub fn duration(&self, name: &str, zero: bool) -> Result<Duration> {
        self.parsed(name, |text| match value::duration(text)? {
            Duration::ZERO if !zero => {
                Err(Complaint::new(format!("`{text}` is no time at all"), "set a longer one: `\"60s\"`"))
            }
            duration => Ok(duration),
        })
    }

    /// A whole number, 0 or more; `None` where absent without a default.
    pub fn count(&self, name: &str) -> Result<Option<u64>> {
        self.number(name, |number, radix| u64::from_str_radix(number, radix).ok())
    }

    /// A whole number of at least `least` and at most `most`; `None` where absent without a default.
    pub fn count_within(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>> {
        match self.count(name)? {
            Some(number) if number < least || number > most => {
                let span = self.written(name).map_or(self.span.clone(), |(_, span)| span);
                let error = self.cx.doc.fail(span, format!("`{name}` is `{number}`"));
                Err(error.with_help(match most {
                    u64::MAX => format!("set at least `{least}`"),
                    _ => format!("set a number from {least} to {most}"),
                }))
            }
            number => Ok(number),
        }
    }

    /// A whole number, negative or not; `None` where absent without a default.
    pub fn integer(&self, name: &str) -> Result<Option<i64>> {
        self.number(name, |number, radix| i64::from_str_radix(number, radix).ok())
    }

    fn number<T>(&self, name: &str, parse: impl Fn(&str, u32) -> Option<T>) -> Result<Option<T>> {
        let key = self.key(name);
        match (self.written(name), key.absent) {
            (Some((DeValue::Integer(number), span)), _) => match parse(number.as_str(), number.radix()) {
                Some(number) => Ok(Some(number)),
                None => {
                    let message = format!("`{name}` wants {}, and is `{number}`", key.form.wanted());
                    let error = self.cx.doc.fail(span, message);
                    Err(error.with_help(format!("for example `{name} = {}`", key.form.example())))
                }
            },
            (Some((other, span)), _) => Err(self.wrong_type(key, other, span)),
            (None, Absent::Is(default)) => Ok(Some(parse(default, 10).expect("a number's default is a number"))),
            (None, Absent::Means(_)) => Ok(None),
            (None, Absent::Required) => Err(self.missing(key)),
        }
    }

    /// A JSON pointer; `None` where the file or the default says `false`.
    pub fn pointer(&self, name: &str) -> Result<Option<String>> {
        match self.written(name) {
            Some((DeValue::Boolean(false), _)) => return Ok(None),
            None if matches!(self.key(name).absent, Absent::Is("false")) => return Ok(None),
            _ => {}
        }
        self.parsed(name, |text| value::pointer(text).map(|()| Some(text.to_owned())))
    }

    /// Texts, one or several; none where absent.
    pub fn texts(&self, name: &str) -> Result<Vec<At<&'a str>>> {
        let Some((value, span)) = self.written(name) else { return Ok(Vec::new()) };
        let one = |value: &'a DeValue<'a>, span: Range<usize>| match value {
            DeValue::String(text) => Ok(At { value: text.as_ref(), span }),
            other => Err(self.wrong_type(self.key(name), other, span)),
        };
        match value {
            DeValue::Array(values) if values.is_empty() => {
                let error = self.cx.doc.fail(span, format!("`{name}` names nothing"));
                Err(error
                    .with_help(format!("for example `{name} = {}`, or take it out", self.key(name).form.example())))
            }
            DeValue::Array(values) => values.iter().map(|value| one(value.get_ref(), value.span())).collect(),
            other => Ok(vec![one(other, span)?]),
        }
    }

    /// JSON pointers, one or several; none where absent.
    pub fn pointers(&self, name: &str) -> Result<Vec<String>> {
        let Some((value, span)) = self.written(name) else { return Ok(Vec::new()) };
        let one = |value: &DeValue<'_>, span: Range<usize>| match value {
            DeValue::String(text) => match value::pointer(text) {
                Ok(()) => Ok(text.as_ref().to_owned()),
                Err(complaint) => Err(self.cx.complain(span, &format!("`{name}`"), complaint)),
            },
            other => Err(self.wrong_type(self.key(name), other, span)),
        };
        match value {
            DeValue::Array(values) if values.is_empty() => {
                let error = self.cx.doc.fail(span, format!("`{name}` names no member"));
                Err(error
                    .with_help(format!("for example `{name} = {}`, or take it out", self.key(name).form.example())))
            }
            DeValue::Array(values) => values.iter().map(|value| one(value.get_ref(), value.span())).collect(),
            other => Ok(vec![one(other, span)?]),
        }
    }

    /// A secret, fetched from where its reference says; never from the file itself.
    pub fn secret(&self, name: &str) -> Result<Option<Secret>> {
        let Some((value, span)) = self.written(name) else { return Ok(None) };
        let hidden = |message: String| self.cx.doc.fail_hidden(span.clone(), message);
        let reference = match value {
            DeValue::String(text) if mask::is_reference(text) => text,
            _ => {
                let variable = name.to_uppercase().replace('-', "_");
                let help = format!(
                    "put it into an environment variable or a file: `{name} = \"env:{variable}\"` or `\"file:PATH\"`; \
                     if it was ever shared in this file, replace it"
                );
                return Err(hidden(format!("`{name}` is a secret and must not stand in the file")).with_help(help));
            }
        };
        self.fetch(name, reference, span).map(Some)
    }

    /// Text that may be a reference, and is no secret: a client's or an access key's ID.
    pub fn credential(&self, name: &str) -> Result<Option<Secret>> {
        match self.text(name)? {
            Some(At { value, span }) if mask::is_reference(value) => self.fetch(name, value, span).map(Some),
            Some(At { value: "", span }) => {
                Err(self.cx.doc.fail(span, format!("`{name}` is empty")).with_help("give it a value, or take it out"))
            }
            Some(At { value, .. }) => Ok(Some(value.into())),
            None => Ok(None),
        }
    }

    /// The table of a key, or an empty one.
    pub fn section(&self, name: &str) -> Result<Section<'a>> {
        let key = self.key(name);
        let Form::Table(group) = key.form else { unreachable!("`{name}` is a table") };
        let table = match self.written(name) {
            Some((DeValue::Table(table), _)) => Some(table),
            Some((other, span)) => return Err(self.wrong_type(key, other, span)),
            None => None,
        };
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Section::open(self.cx, path, self.key_span(name), table, group)
    }

    /// The named tables of a key, in the order of the file.
    pub fn sections(&self, name: &str) -> Result<Vec<(&'a str, Section<'a>)>> {
        self.sections_named(name, value::name)
    }

    /// The named tables of a key, in the order of the file; `check` says which names there can be.
    pub fn sections_named(
        &self,
        name: &str,
        check: fn(&str) -> Result<(), Complaint>,
    ) -> Result<Vec<(&'a str, Section<'a>)>> {
        let key = self.key(name);
        let Form::Tables(group) = key.form else { unreachable!("`{name}` holds tables") };
        let tables = match self.written(name) {
            Some((DeValue::Table(tables), _)) => tables,
            Some((other, span)) => return Err(self.wrong_type(key, other, span)),
            None => return Ok(Vec::new()),
        };
        let (mut sections, mut errors) = (Vec::new(), Vec::new());
        let place = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        for (entry, table) in in_order(tables) {
            let entry_name = entry.get_ref().as_ref();
            let path = format!("{place}.{entry_name}");
            let DeValue::Table(table) = table.get_ref() else {
                let message = format!("`{path}` wants a table, and is {}", a(table.get_ref()));
                return Err(self
                    .cx
                    .doc
                    .fail(table.span(), message)
                    .with_help(format!("write `[{place}.NAME]` and the keys below it")));
            };
            check(entry_name).map_err(|complaint| self.cx.complain(entry.span(), name, complaint))?;
            match Section::open(self.cx, path, entry.span(), Some(table), group) {
                Ok(section) => sections.push((entry_name, section)),
                Err(error) => errors.push(error),
            }
        }
        match Error::all(errors) {
            Some(error) => Err(error),
            None => Ok(sections),
        }
    }

    /// The tables of an array, which is the value `rows` of a key.
    pub fn rows(&self, name: &str, rows: &'a DeArray<'a>) -> Result<Vec<Section<'a>>> {
        let (Form::Rows(group) | Form::Columns(group)) = self.key(name).form else {
            unreachable!("`{name}` holds tables in an array")
        };
        let row = |row: &'a Spanned<DeValue<'a>>| match row.get_ref() {
            DeValue::Table(table) => {
                Section::open(self.cx, format!("{}.{name}", self.path), row.span(), Some(table), group)
            }
            other => Err(self.wrong_type(self.key(name), other, row.span())),
        };
        rows.iter().map(row).collect()
    }

    /// The error of a value of another type than the key's.
    pub fn wrong_type_of(&self, name: &str, found: &DeValue<'_>, span: Range<usize>) -> Error {
        self.wrong_type(self.key(name), found, span)
    }

    fn wrong_type(&self, key: &Key, found: &DeValue<'_>, span: Range<usize>) -> Error {
        let example = match key.form {
            Form::Choice(known) => format!("\"{}\"", known[0]),
            Form::Table(group) => format!("{{ {} = {} }}", group.keys[0].name, group.keys[0].form.example()),
            form => form.example().to_owned(),
        };
        self.cx
            .doc
            .fail(span, format!("`{}` wants {}, and is {}", key.name, key.form.wanted(), a(found)))
            .with_help(format!("for example `{} = {example}`", key.name))
    }

    fn key(&self, name: &str) -> &'static Key {
        self.group.keys.iter().find(|key| key.name == name).expect("only keys of the table's group are read")
    }

    fn parsed<T>(&self, name: &str, parse: impl Fn(&'a str) -> Result<T, Complaint>) -> Result<T> {
        let At { value, span } = self.need(name)?;
        parse(value).map_err(|complaint| self.cx.complain(span, &format!("`{name}`"), complaint))
    }

    /// What the reference `env:NAME` or `file:PATH` stands for.
    fn fetch(&self, name: &str, reference: &str, span: Range<usize>) -> Result<Secret> {
        let fail = |message: String, help: String| self.cx.doc.fail(span.clone(), message).with_help(help);
        let secret = if let Some(variable) = reference.strip_prefix("env:") {
            let value = (self.cx.env)(variable).ok_or_else(|| {
                fail(
                    format!("`{name}`: the environment variable `{variable}` is not set"),
                    format!("set it: `export {variable}=…`"),
                )
            })?;
            Secret::from(value.trim_end_matches(['\r', '\n']))
        } else {
            let path = reference.strip_prefix("file:").unwrap_or(reference);
            Secret::in_file(self.cx.resolve(path)).map_err(|error| {
                let error = error.to_string().to_lowercase();
                let help = "relative paths start at the configuration's folder".to_owned();
                fail(format!("`{name}`: cannot read the file `{path}`: {error}"), help)
            })?
        };
        if secret.expose().is_empty() {
            return Err(fail(format!("`{name}`: `{reference}` is empty"), "put the value there".into()));
        }
        Ok(secret)
    }
}

/// A value's type with its article.
fn a(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(true) => "`true`",
        DeValue::Boolean(false) => "`false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The first sentence, as it goes on after a colon.
fn lower(meaning: &str) -> String {
    let sentence = meaning.split_inclusive(". ").next().unwrap_or(meaning).trim_end().trim_end_matches('.');
    let mut chars = sentence.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

/// The folder that relative paths of the file at `path` start at.
pub fn folder_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.parent().unwrap_or(&path).to_owned()
}
