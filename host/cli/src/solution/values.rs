//! Values for a solution's variables: from the command line, from a file, or from a person.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::export::shown;
use crate::ask;
use lakeport::config::variables::{Variable, typed};
use lakeport::error::{Error, Result};
use lakeport::telemetry::human::printable;

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

/// Takes the value of a variable, or refuses it.
pub type Assign<'a> = dyn FnMut(&str, &Value) -> Result<()> + 'a;

/// Completes `values`: asks for what is missing and assigns it, or refuses where there is nobody to ask.
///
/// # Errors
/// Of kind `Config`: values are missing, all of which are named.
pub fn complete(values: &Values, variables: &[Variable], assign: &mut Assign<'_>) -> Result<()> {
    let missing: Vec<_> = variables.iter().filter(|variable| !values.contains_key(&variable.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !ask::is_possible() {
        let names: Vec<_> = missing.iter().map(|variable| format!("`{}`", printable(&variable.name))).collect();
        let lines: Vec<_> = missing.iter().map(|variable| line(variable)).collect();
        let error = Error::config(format!("the solution's variables {} have no value", names.join(", ")));
        return Err(error.with_help(format!(
            "set them with `--set NAME=VALUE`, or write a file and name it with `--variables`:\n{}",
            lines.concat().trim_end()
        )));
    }
    missing.into_iter().try_for_each(|variable| ask_for(variable, &mut ask::line, assign))
}

/// Asks for a variable until the answer can be one.
fn ask_for(variable: &Variable, ask: &mut dyn FnMut(&str) -> Result<String>, assign: &mut Assign<'_>) -> Result<()> {
    let Variable { name, description, suggestion, .. } = variable;
    let question = format!("{}\n{} [{}]: ", printable(description), printable(name), printable(&shown(suggestion)));
    let mut asked = question.clone();
    loop {
        let answer = ask(&asked)?;
        let value = if answer.is_empty() { suggestion.clone() } else { typed(&answer) };
        let Err(error) = assign(name, &value) else { return Ok(()) };
        let why = [Some(error.message), error.help].into_iter().flatten().collect::<Vec<_>>().join("; ");
        asked = format!("{}\n{question}", printable(&why));
    }
}

/// A line of a file of variables.
fn line(variable: &Variable) -> String {
    let Variable { name, description, suggestion, .. } = variable;
    let suggestion = printable(&suggestion.to_string());
    format!("\n    # {}\n    {} = {suggestion}\n", printable(description), printable(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_answer_is_asked_for_again_and_no_other() {
        let variable = Variable {
            name: "lakes.main.account-key".into(),
            description: "the key\u{1b}[2J".into(),
            secret: true,
            suggestion: "env:KEY".into(),
        };
        let (mut answers, mut questions, mut assigned) = (vec!["", "hunter2"], Vec::new(), Vec::new());
        let mut ask = |question: &str| {
            questions.push(question.to_owned());
            Ok(answers.pop().unwrap().to_owned())
        };
        let mut assign = |name: &str, value: &Value| match value.as_str() {
            Some("hunter2") => Err(Error::config("`x` wants `env:NAME`").with_help("name a variable")),
            _ => {
                assigned.push(format!("{name} = {value}"));
                Ok(())
            }
        };
        ask_for(&variable, &mut ask, &mut assign).unwrap();
        let question = "the key\\u{1b}[2J\nlakes.main.account-key [env:KEY]: ";
        assert_eq!(questions, [question, &format!("`x` wants `env:NAME`; name a variable\n{question}")]);
        assert_eq!(assigned, ["lakes.main.account-key = \"env:KEY\""]);
    }

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
