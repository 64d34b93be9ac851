//! Plugins: those of `[plugins.NAME]`, the built-in ones, and their uses in exports.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::keys::PLUGIN_NAME;
use super::section::{Context, Section, in_order};
use super::value::suggest;
use crate::error::Result;
use crate::plan::{Limits, PluginOrigin, PluginPlan, PluginUse};

/// What a plugin does in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Filter,
    Transform,
    Format,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Filter => "filter",
            Role::Transform => "transform",
            Role::Format => "format",
        })
    }
}

/// The plugins that the binary brings along.
pub const BUILT_IN: &[(&str, Role)] = &[
    ("select", Role::Filter),
    ("enrich", Role::Transform),
    ("ndjson", Role::Format),
    ("avro", Role::Format),
    ("cdm-csv", Role::Format),
];

/// Every plugin that an export may use.
pub struct Plugins {
    by_name: BTreeMap<String, Arc<PluginPlan>>,
}

impl Plugins {
    /// The built-in plugins and those of the file.
    pub fn resolve(file: &Section<'_>) -> Result<Self> {
        let built_in = |name: &str| BUILT_IN.iter().any(|(known, _)| *known == name);
        let mut by_name = BTreeMap::new();
        for (name, _) in BUILT_IN {
            by_name.insert((*name).to_owned(), plan(name, PluginOrigin::BuiltIn, Limits::default()));
        }
        for (name, section) in file.sections("plugins")? {
            let limits = limits(&section.section("limits")?)?;
            let origin = match section.text("path")? {
                Some(path) if built_in(name) => {
                    let error = section.cx.doc.fail(path.span, format!("`{name}` is a built-in plugin"));
                    return Err(error.with_help("give yours another name: `[plugins.my-plugin]`"));
                }
                Some(path) => {
                    let file = section.cx.resolve(path.value);
                    if !file.is_file() {
                        let error = section.cx.doc.fail(path.span, format!("there is no file `{}`", path.value));
                        return Err(
                            error.with_help("build the component, or mend the path; it starts at this file's folder")
                        );
                    }
                    PluginOrigin::Path(file)
                }
                None if built_in(name) => PluginOrigin::BuiltIn,
                None => {
                    let error = section.fail(format!("`plugins.{name}` has no `path`"));
                    return Err(error.with_help("add `path = \"plugins/my_plugin.wasm\"`: the component"));
                }
            };
            by_name.insert(name.to_owned(), plan(name, origin, limits));
        }
        Ok(Plugins { by_name })
    }

    /// The uses in an export's array `key`.
    pub fn uses(&self, export: &Section<'_>, key: &str, role: Role) -> Result<Vec<PluginUse>> {
        match export.written(key) {
            None => Ok(Vec::new()),
            Some((DeValue::Array(uses), _)) => {
                uses.iter().map(|one| self.one(export, key, role, one.get_ref(), one.span())).collect()
            }
            Some((other, span)) => Err(export.wrong_type_of(key, other, span)),
        }
    }

    /// The use of an export's `format`; of the built-in plugin `default` where it names none.
    pub fn format(&self, export: &Section<'_>, default: &str) -> Result<PluginUse> {
        match export.written("format") {
            Some((value, span)) => self.one(export, "format", Role::Format, value, span),
            None => {
                let plugin = self.by_name[default].clone();
                Ok(PluginUse { plugin, config: Value::Object(serde_json::Map::new()) })
            }
        }
    }

    /// `{ plugin = "NAME", … }`: every other key is the plugin's own.
    fn one(
        &self,
        export: &Section<'_>,
        key: &str,
        role: Role,
        value: &DeValue<'_>,
        span: Range<usize>,
    ) -> Result<PluginUse> {
        let doc = &export.cx.doc;
        let DeValue::Table(table) = value else {
            let name = value.as_str().unwrap_or(default_of(role));
            let error = doc.fail(span, format!("`{key}` wants a {role} plugin as a table"));
            return Err(error.with_help(format!("write `{{ plugin = \"{name}\" }}`")));
        };
        let Some(name) = table.get(PLUGIN_NAME) else {
            let error = doc.fail(span, format!("a table in `{key}` does not name its plugin"));
            return Err(error.with_help(format!("add `plugin = \"{}\"`", default_of(role))));
        };
        let DeValue::String(text) = name.get_ref() else {
            let error = doc.fail(name.span(), "`plugin` wants the name of a plugin");
            return Err(error.with_help(format!("for example `plugin = \"{}\"`", default_of(role))));
        };
        let text = text.as_ref();
        let Some(plugin) = self.by_name.get(text) else {
            let error = doc.fail(name.span(), format!("there is no plugin `{text}`"));
            // A plugin of the file may have any role; the built-in ones have theirs.
            let other_role = |known: &str| BUILT_IN.iter().any(|(name, own)| *name == known && *own != role);
            let known = self.by_name.keys().map(String::as_str).filter(|known| !other_role(known));
            let yours = format!("; one of your own goes into `[plugins.{text}]`");
            return Err(error.with_help(suggest(text, known) + &yours));
        };
        if let Some((_, own)) = BUILT_IN.iter().find(|(known, own)| *known == text && *own != role) {
            let error = doc.fail(name.span(), format!("`{text}` is a {own}, and `{key}` wants a {role}"));
            let place = match own {
                Role::Format => format!("write `format = {{ plugin = \"{text}\" }}`"),
                _ => format!("write `{own}s = [{{ plugin = \"{text}\" }}]`"),
            };
            return Err(error.with_help(place));
        }
        let mut config = serde_json::Map::new();
        for (key, value) in in_order(table) {
            let key = key.get_ref().as_ref();
            if key != PLUGIN_NAME {
                config.insert(key.to_owned(), json(export.cx, value.get_ref(), value.span())?);
            }
        }
        Ok(PluginUse { plugin: plugin.clone(), config: Value::Object(config) })
    }
}

fn plan(name: &str, origin: PluginOrigin, limits: Limits) -> Arc<PluginPlan> {
    Arc::new(PluginPlan { name: name.to_owned(), origin, limits })
}

fn default_of(role: Role) -> &'static str {
    BUILT_IN.iter().find(|(_, own)| *own == role).map_or("my-plugin", |(name, _)| name)
}

fn limits(section: &Section<'_>) -> Result<Limits> {
    let lines = section.count("log-lines")?.unwrap_or_default();
    Ok(Limits {
        memory: section.size_up_to("memory", 4 << 30, "4GiB")?,
        time: section.duration("time", false)?,
        transfer: section.size_up_to("transfer", 4 << 30, "4GiB")?,
        component: section.size("component")?,
        compile_time: section.duration("compile-time", false)?,
        compile_memory: section.size("compile-memory")?,
        log_lines: lines.try_into().unwrap_or(u32::MAX),
    })
}

/// A plugin's setting as JSON.
fn json(cx: &Context<'_>, value: &DeValue<'_>, span: Range<usize>) -> Result<Value> {
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => {
                let error = cx.doc.fail(span, format!("`{number}` does not fit into 64 bits"));
                return Err(error.with_help("write it as text, in quotes"));
            }
        },
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(serde_json::Number::from_f64) {
            Some(number) => Value::Number(number),
            None => {
                let error =
                    cx.doc.fail(span, format!("`{number}` is not a number in JSON, which plugins are configured with"));
                return Err(error.with_help("write a finite number, or text in quotes"));
            }
        },
        DeValue::Datetime(date) => {
            let error =
                cx.doc.fail(span, format!("`{date}` is a date, and plugins are configured with JSON, which has none"));
            return Err(error.with_help("write it as text, in quotes"));
        }
        DeValue::Array(values) => {
            values.iter().map(|value| json(cx, value.get_ref(), value.span())).collect::<Result<_>>()?
        }
        DeValue::Table(table) if table.len() == 1 && table.contains_key(FROM_FILE) => text_of_file(cx, table)?,
        DeValue::Table(table) => {
            let entries = in_order(table).into_iter();
            let entries = entries
                .map(|(key, value)| Ok((key.get_ref().as_ref().to_owned(), json(cx, value.get_ref(), value.span())?)));
            Value::Object(entries.collect::<Result<_>>()?)
        }
    })
}

/// `{ from-file = "PATH" }` in a plugin's settings stands for the file's text: plugins cannot read files.
const FROM_FILE: &str = "from-file";

fn text_of_file(cx: &Context<'_>, table: &DeTable<'_>) -> Result<Value> {
    let value = &table[FROM_FILE];
    let DeValue::String(path) = value.get_ref() else {
        let error = cx.doc.fail(value.span(), format!("`{FROM_FILE}` wants a path"));
        return Err(error.with_help(format!("for example `{{ {FROM_FILE} = \"schemas/reading.avsc\" }}`")));
    };
    std::fs::read_to_string(cx.resolve(path)).map(Value::from).map_err(|error| {
        let message = format!("cannot read `{path}`: {}", error.to_string().to_lowercase());
        cx.doc.fail(value.span(), message).with_help("mend the path; it starts at this file's folder")
    })
}

/// The keys of [`Limits`], for the reference's test.
#[cfg(test)]
pub fn default_limits(cx: &Context<'_>) -> Result<Limits> {
    limits(&Section::open(cx, "plugins.x.limits", 0..0, None, &super::keys::LIMITS)?)
}
