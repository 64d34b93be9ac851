//! What differs between environments: where lakes are and what opens them, what sources read, what readers and folders are called.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml_edit::{Item, TableLike};

use super::edit::{Edit, set};
use super::keys::{Form, LAKE};
use super::mask::is_reference;
use super::value::suggest;
use crate::error::{Error, Result};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Variable {
    /// The key's place in the configuration: `lakes.main.url`.
    pub name: String,
    pub description: String,
    /// Its value is a reference to a secret, `env:NAME` or `file:PATH`.
    pub secret: bool,
    /// What the configuration says: text, or an array of texts.
    pub suggestion: Value,
}

/// Keys of an export that differ.
const OF_EXPORTS: [(&str, &str); 2] = [
    ("public-url", "the URL of the lake's folder as readers of the tables know it"),
    ("root", "the folder of the tables, below the lake's URL"),
];

/// The variables of a configuration, in the order of the file.
pub fn variables(edit: &Edit) -> Vec<Variable> {
    let mut found = Vec::new();
    for lake in edit.names(&["lakes"]) {
        for key in LAKE.keys.iter().filter(|key| key.name != "log-folder") {
            let secret = matches!(key.form, Form::Secret);
            if secret || matches!(key.form, Form::Text | Form::Credential) {
                let sentence = key.meaning.split(". ").next().unwrap_or(key.meaning).trim_end_matches('.');
                found.extend(variable(edit, ["lakes", &lake, key.name], secret, sentence));
            }
        }
    }
    for source in edit.names(&["sources"]) {
        found.extend(variable(edit, ["sources", &source, "files"], false, "the files, folders and patterns to read"));
    }
    for export in edit.names(&["exports"]) {
        for (key, description) in OF_EXPORTS {
            found.extend(variable(edit, ["exports", &export, key], false, description));
        }
    }
    found
}

fn variable(edit: &Edit, [group, name, key]: [&str; 3], secret: bool, description: &str) -> Option<Variable> {
    let suggestion = match edit.at(&[group, name])?.get(key)? {
        item if item.is_str() => Value::from(item.as_str()),
        item => item.as_array()?.iter().map(|text| text.as_str().unwrap_or_default()).collect(),
    };
    let of = group.trim_end_matches('s');
    let description = format!("{of} `{name}`: {description}");
    Some(Variable { name: format!("{group}.{name}.{key}"), description, secret, suggestion })
}

/// Lets the files that lakes have secrets in be found from anywhere: relative paths start at `folder`.
pub fn anchor_secret_files(edit: &mut Edit, folder: &Path) {
    for lake in edit.names(&["lakes"]) {
        let table = edit.at_mut(&["lakes", &lake]).expect("it was listed");
        for (_, item) in table.iter_mut().filter(|(key, _)| key != "url") {
            let path = item.as_str().and_then(|text| text.strip_prefix("file:")).map(|path| folder.join(path));
            if let (Some(path), Some(value)) = (path, item.as_value_mut()) {
                *value = format!("file:{}", path.display()).into();
            }
        }
    }
}

/// What a person typed: text, or an array in brackets.
pub fn typed(text: &str) -> Value {
    let array = || format!("v = {text}").parse::<toml::Table>().ok()?.remove("v")?.try_into().ok();
    match text.starts_with('[').then(array).flatten() {
        Some(texts) => Value::Array(texts),
        None => text.into(),
    }
}

/// Sets a variable, or another key of a lake: another store has other credentials. A lake's key that is set to nothing goes.
///
/// # Errors
/// Of kind `Config`: there is no such variable, or the value is none of its kind. Secrets are not shown.
pub fn assign(edit: &mut Edit, known: &[Variable], name: &str, value: &Value) -> Result<()> {
    let wrong = |wanted: &str| Error::config(format!("`{name}` wants {wanted}"));
    let keys: Vec<_> = name.split('.').collect();
    let of_lake = match keys[..] {
        ["lakes", lake, key] if edit.at(&["lakes", lake]).is_some() => LAKE.keys.iter().find(|known| known.name == key),
        _ => None,
    };
    if of_lake.is_none() && !known.iter().any(|variable| variable.name == name) {
        let error = Error::config(format!("there is no variable `{name}`"));
        return Err(error.with_help(suggest(name, known.iter().map(|variable| variable.name.as_str()))));
    }
    let (key, table) = keys.split_last().expect("a split text has a part");
    let table = edit.at_mut(table).ok_or_else(|| wrong("a place that the configuration has"))?;
    match (of_lake.map(|key| key.form), value) {
        (Some(_), Value::String(text)) if text.is_empty() && *key != "url" => _ = table.remove(key),
        (Some(Form::Secret), Value::String(text)) if is_reference(text) => set(table, key, text.as_str()),
        (Some(Form::Secret), _) => {
            let help = "put the secret into an environment variable or a file, and name that";
            return Err(wrong("`env:NAME` or `file:PATH`").with_help(help));
        }
        (Some(Form::Flag), Value::Bool(flag)) => set(table, key, *flag),
        (Some(Form::Flag), Value::String(text)) if ["true", "false"].contains(&text.as_str()) => {
            set(table, key, text == "true");
        }
        (Some(Form::Flag), _) => return Err(wrong("`true` or `false`")),
        (_, Value::String(text)) => set(table, key, text.as_str()),
        (None, Value::Array(texts)) if *key == "files" && texts.iter().all(Value::is_string) => {
            let texts = texts.iter().filter_map(Value::as_str);
            set(table, key, toml_edit::Value::Array(texts.collect()));
        }
        _ if *key == "files" => return Err(wrong("a path or an array of paths")),
        _ => return Err(wrong("text")),
    }
    Ok(())
}

/// Replaces each `{ from-file = "PATH" }` in the settings of plugins by what `replace` makes of the path.
pub fn visit_texts(edit: &mut Edit, replace: &mut dyn FnMut(&str) -> Result<String>) -> Result<()> {
    for export in edit.names(&["exports"]) {
        let table = edit.at_mut(&["exports", &export]).expect("it was listed");
        for key in ["filters", "transforms", "format"] {
            if let Some(item) = table.get_mut(key) {
                texts(item, replace)?;
            }
        }
    }
    Ok(())
}

fn texts(item: &mut Item, replace: &mut dyn FnMut(&str) -> Result<String>) -> Result<()> {
    match item {
        Item::Value(value) => texts_of_value(value, replace),
        Item::ArrayOfTables(tables) => tables.iter_mut().try_for_each(|table| texts_of_table(table, replace)),
        Item::Table(table) => texts_of_table(table, replace),
        Item::None => Ok(()),
    }
}

fn texts_of_value(value: &mut toml_edit::Value, replace: &mut dyn FnMut(&str) -> Result<String>) -> Result<()> {
    match value {
        toml_edit::Value::Array(values) => values.iter_mut().try_for_each(|value| texts_of_value(value, replace)),
        toml_edit::Value::InlineTable(table) => texts_of_table(table, replace),
        _ => Ok(()),
    }
}

fn texts_of_table(table: &mut dyn TableLike, replace: &mut dyn FnMut(&str) -> Result<String>) -> Result<()> {
    match (table.len(), table.get("from-file").and_then(Item::as_str).map(str::to_owned)) {
        (1, Some(path)) => replace(&path).map(|place| set(table, "from-file", place)),
        _ => table.iter_mut().try_for_each(|(_, item)| texts(item, replace)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = "[lakes.main]\nurl = \"s3://b\" # the store\naccess-key-id = \"id\"\nsecret-access-key = \"env:KEY\"\n\
        [sources.s]\nfiles = [\"a\", \"b\"]\n[exports.crm]\ntype = \"table\"\nroot = \"r\"\n\
        format = { plugin = \"x\", deep = [{ schema = { from-file = \"a.avsc\" } }] }\n\
        [exports.crm.tables.account]\n";

    fn edit() -> Edit {
        Edit::of(Path::new("lakeport.toml"), FILE).unwrap()
    }

    #[test]
    fn lakes_sources_and_what_readers_see_are_variables() {
        let found = variables(&edit());
        let named: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.secret, one.suggestion.clone())).collect();
        assert_eq!(
            named,
            [
                ("lakes.main.url", false, json!("s3://b")),
                ("lakes.main.access-key-id", false, json!("id")),
                ("lakes.main.secret-access-key", true, json!("env:KEY")),
                ("sources.s.files", false, json!(["a", "b"])),
                ("exports.crm.root", false, json!("r")),
            ]
        );
        assert_eq!(found[0].description, "lake `main`: The place: a folder or the URL of a store");
    }

    #[test]
    fn a_variable_is_set_in_its_place() {
        let (mut edit, known) = (edit(), variables(&edit()));
        for (name, value) in [
            ("lakes.main.url", json!("./out")),
            ("lakes.main.access-key-id", json!("")),
            ("lakes.main.instance-role", json!("true")),
            ("sources.s.files", typed("[\"c\"]")),
            ("exports.crm.root", typed("[x")),
        ] {
            assign(&mut edit, &known, name, &value).unwrap();
        }
        let expected = FILE
            .replace("\"s3://b\"", "\"./out\"")
            .replace("access-key-id = \"id\"\n", "")
            .replace("\"env:KEY\"\n", "\"env:KEY\"\ninstance-role = true\n")
            .replace("[\"a\", \"b\"]", "[\"c\"]")
            .replace("root = \"r\"", "root = \"[x\"");
        assert_eq!(edit.text(), expected);
    }

    #[test]
    fn a_secret_is_never_a_value() {
        let (mut edit, known) = (edit(), variables(&edit()));
        let error = assign(&mut edit, &known, "lakes.main.secret-access-key", &json!("hunter2")).unwrap_err();
        assert!(error.message.ends_with("wants `env:NAME` or `file:PATH`") && !error.to_string().contains("hunter2"));
        for name in ["lakes.main.ulr", "lakes.other.url", "sources.s.kind", "x"] {
            let error = assign(&mut edit, &known, name, &json!("x")).unwrap_err();
            assert_eq!(error.message, format!("there is no variable `{name}`"));
        }
        assert!(assign(&mut edit, &known, "sources.s.files", &json!([1])).is_err());
    }

    #[test]
    fn secrets_in_files_are_found_from_anywhere() {
        let text = "[lakes.a]\nurl = \"file:///x\"\naccount-key = \"file:../key\" # here\nsas-token = \"env:T\"\n\
                    [lakes.b]\naccount-key = \"file:/run/key\"\n";
        let mut edit = Edit::of(Path::new("lakeport.toml"), text).unwrap();
        anchor_secret_files(&mut edit, Path::new("/etc/lakeport"));
        let table: toml::Table = edit.text().parse().unwrap();
        let expected = text.replace("file:../key", "file:/etc/lakeport/../key");
        assert_eq!(table, expected.parse().unwrap());
    }

    #[test]
    fn texts_of_files_are_found_however_deep_they_are() {
        let mut edit = edit();
        let mut seen = Vec::new();
        visit_texts(&mut edit, &mut |path| {
            seen.push(path.to_owned());
            Ok("files/a.avsc".into())
        })
        .unwrap();
        assert_eq!(seen, ["a.avsc"]);
        assert_eq!(edit.text(), FILE.replace("\"a.avsc\"", "\"files/a.avsc\""));
        let text = "[exports.x.format]\n[[exports.x.format.schemas]]\nfrom-file = \"b\"\n";
        let mut edit = Edit::of(Path::new("lakeport.toml"), text).unwrap();
        visit_texts(&mut edit, &mut |path| Ok(format!("files/{path}"))).unwrap();
        assert_eq!(edit.text(), text.replace("\"b\"", "\"files/b\""));
    }
}
