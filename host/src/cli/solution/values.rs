//! Values for a solution's variables: from the command line, from a file, or from a person.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::export::shown;
use crate::cli::ask;
use crate::config::variables::{Variable, typed};
use crate::error::{Error, Result};

/// Values by the variables' names.
pub type Values = BTreeMap<String, Value>;

/// The values of `--variables FILE` and of each `--set NAME=VALUE`, which count more.
///
/// # Errors
/// Of kind `Config`: the file cannot be read or is not TOML, or a `--set` has no value.
pub fn given(file: Option<&Path>, set: &[String]) -> Result<Values> {
    let mut values = Values::new();
    if let Some(path) = file {
        let wrong = |why: &dyn std::fmt::Display| {
            let help = "a line of it is `lakes.main.url = \"./lake\"`";
            Error::config(format!("`--variables {}`: {why}", path.display())).with_help(help)
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string().to_lowercase()))?;
        // The parser's own error shows the line, and a secret may stand there by mistake.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(&error.message()))?;
        flatten("", table, &mut values);
    }
    for one in set {
        let Some((name, value)) = one.split_once('=') else {
            return Err(Error::config("`--set` without a value").with_help("write `--set lakes.main.url=./lake`"));
        };
        values.insert(name.trim().to_owned(), typed(value.trim()));
    }
    Ok(values)
}

/// `lakes.main.url` may be one quoted key, a dotted one, or stand in tables.
fn flatten(above: &str, table: toml::Table, values: &mut Values) {
    for (key, value) in table {
        let name = if above.is_empty() { key } else { format!("{above}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(&name, table, values),
            // A date is no JSON; that it is no text either is said where it is used.
            value => _ = values.insert(name, serde_json::to_value(value).unwrap_or_default()),
        }
    }
}

/// Completes `values`: asks for what is missing, or refuses where there is nobody to ask.
///
/// # Errors
/// Of kind `Config`: values are missing, all of which are named.
pub fn complete(values: &mut Values, variables: &[Variable]) -> Result<()> {
    let missing: Vec<_> = variables.iter().filter(|variable| !values.contains_key(&variable.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !ask::is_possible() {
        let names: Vec<_> = missing.iter().map(|variable| format!("`{}`", variable.name)).collect();
        let lines: Vec<_> = missing.iter().map(|variable| line(variable)).collect();
        let error = Error::config(format!("the solution's variables {} have no value", names.join(", ")));
        return Err(error.with_help(format!(
            "set them with `--set NAME=VALUE`, or write a file and name it with `--variables`:\n{}",
            lines.concat().trim_end()
        )));
    }
    for variable in missing {
        let suggestion = shown(&variable.suggestion);
        let answer = ask::line(&format!("{}\n{} [{suggestion}]: ", variable.description, variable.name))?;
        let value = if answer.is_empty() { variable.suggestion.clone() } else { typed(&answer) };
        values.insert(variable.name.clone(), value);
    }
    Ok(())
}

/// A line of a file of variables.
fn line(variable: &Variable) -> String {
    format!("\n    # {}\n    {} = {}\n", variable.description, variable.name, variable.suggestion)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_may_have_tables_or_dots_and_the_command_line_counts_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("variables.toml");
        std::fs::write(&file, "\"lakes.a.url\" = \"x\"\nlakes.b.url = \"y\"\n[sources.s]\nfiles = [\"1\", \"2\"]\n")
            .unwrap();
        let values = given(Some(&file), &["lakes.b.url = z=1".into()]).unwrap();
        let expected =
            [("lakes.a.url", json!("x")), ("lakes.b.url", json!("z=1")), ("sources.s.files", json!(["1", "2"]))];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value)).into());
        assert!(given(None, &["lakes.b.url".into()]).is_err());
        std::fs::write(&file, "lakes.a.account-key = hunter2\n").unwrap();
        let error = given(Some(&file), &[]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
