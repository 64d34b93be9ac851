//! The file that a solution is: a JSON document. `docs/solutions.md` describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml_edit::Item;

use lakeport::config::edit::Edit;
use lakeport::config::variables::{Variable, variables};
use lakeport::error::{Error, Result};

pub const FORMAT: &str = "lakeport-solution";
pub const VERSION: u32 = 1;

/// A configuration and all it needs. Paths are relative to the configuration's folder, and below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Solution {
    pub format: String,
    pub version: u32,
    pub configuration: Configuration,
    /// What settings of plugins take with `from-file`.
    pub texts: Vec<Text>,
    pub plugins: Vec<Plugin>,
    pub variables: Vec<Variable>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The file's name.
    pub name: String,
    pub content: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub path: String,
    /// In hexadecimal.
    pub sha256: String,
    pub content: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// As the configuration has it.
    pub name: String,
    pub path: String,
    /// Of the component, in hexadecimal.
    pub sha256: String,
    /// The component, in base64.
    pub content: String,
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Text {
    pub fn new(path: String, content: String) -> Text {
        Text { path, sha256: digest(content.as_bytes()), content }
    }
}

impl Plugin {
    pub fn new(name: String, path: String, component: &[u8]) -> Plugin {
        Plugin { name, path, sha256: digest(component), content: STANDARD.encode(component) }
    }
}

impl Solution {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Of kind `Config`: it cannot be read, or is no solution of a version that is known.
    pub fn read(path: &Path) -> Result<Solution> {
        let fail = |why: String| Error::config(format!("`{}` {why}", path.display()));
        let help = "name a file that `lakeport solution export` wrote";
        let bytes = std::fs::read(path)
            .map_err(|error| fail(format!("cannot be read: {}", error.to_string().to_lowercase())).with_help(help))?;
        let document: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| fail(format!("is not JSON: {error}")).with_help(help))?;
        if document["format"] != FORMAT {
            return Err(fail("is not a solution".into()).with_help(help));
        }
        if document["version"] != VERSION {
            let version = &document["version"];
            return Err(fail(format!("is a solution of version {version}, expected {VERSION}"))
                .with_help("import it with the Lakeport that exported it, or a newer one"));
        }
        serde_json::from_value(document).map_err(|error| fail(format!("is not a solution: {error}")).with_help(help))
    }

    /// Every file that the solution is made of, below the folder it goes into; the configuration is not among them.
    ///
    /// # Errors
    /// Of kind `Config`: a file is not the one that was exported, leads out of the folder, or takes another's place.
    pub fn files(&self) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let configuration = within(&self.configuration.name)?;
        if configuration.components().count() != 1 {
            return Err(damaged(&self.configuration.name, "is not the name of a file"));
        }
        let mut taken = BTreeSet::from([configuration.with_extension("lock"), configuration]);
        let mut files = Vec::new();
        let texts = self.texts.iter().map(|text| {
            let content = text.content.as_bytes().to_vec();
            (&text.path, &text.sha256, Some(content))
        });
        let plugins =
            self.plugins.iter().map(|plugin| (&plugin.path, &plugin.sha256, STANDARD.decode(&plugin.content).ok()));
        for (path, expected, content) in texts.chain(plugins) {
            let content = content.ok_or_else(|| damaged(path, "is not base64"))?;
            let found = digest(&content);
            if found != *expected {
                return Err(damaged(path, &format!("has the SHA-256 `{found}`, expected `{expected}`")));
            }
            let place = within(path)?;
            // Two plugins may be the same component.
            if files.iter().any(|(other, bytes)| *other == place && *bytes == content) {
                continue;
            }
            if !taken.insert(place.clone()) {
                return Err(damaged(path, "is there twice"));
            }
            files.push((place, content));
        }
        Ok(files)
    }

    /// Refuses a configuration that names other texts, plugins or variables than the solution has: it could read whatever this
    /// machine has, and run it.
    ///
    /// # Errors
    /// Of kind `Config`.
    pub fn check_names(&self, edit: &Edit) -> Result<()> {
        let parsed =
            edit.text().parse().map_err(|error| Error::internal(format!("an edited text is not TOML: {error}")))?;
        let mut named = Vec::new();
        texts_of(&toml::Value::Table(parsed), &mut named);
        if let Some(path) = named.iter().find(|path| !self.texts.iter().any(|text| text.path == **path)) {
            return Err(damaged(path, "is named by its configuration, and it is not carried"));
        }
        let mut carried: BTreeMap<_, _> =
            self.plugins.iter().map(|plugin| (plugin.name.clone(), plugin.path.clone())).collect();
        for name in edit.names(&["plugins"]) {
            let path = edit.at(&["plugins", &name]).and_then(|table| table.get("path")).and_then(Item::as_str);
            if path != carried.remove(&name).as_deref() {
                return Err(damaged(&name, "is a plugin whose `path` is not the one that is carried"));
            }
        }
        if let Some((name, _)) = carried.first_key_value() {
            return Err(damaged(name, "is a plugin that its configuration does not have"));
        }
        let listed: BTreeSet<_> = self.variables.iter().map(|variable| variable.name.clone()).collect();
        let had: BTreeSet<_> = variables(edit).into_iter().map(|variable| variable.name).collect();
        match listed.symmetric_difference(&had).next() {
            Some(name) => {
                Err(damaged(name, "is listed as a variable and not in its configuration, or the other way round"))
            }
            None => Ok(()),
        }
    }
}

/// The paths of all `{ from-file = "PATH" }`, wherever they stand.
fn texts_of(value: &toml::Value, found: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => match (table.len(), table.get("from-file").and_then(toml::Value::as_str)) {
            (1, Some(path)) => found.push(path.to_owned()),
            _ => table.values().for_each(|value| texts_of(value, found)),
        },
        toml::Value::Array(values) => values.iter().for_each(|value| texts_of(value, found)),
        _ => {}
    }
}

/// `path`, which stays below the folder that it starts at.
fn within(path: &str) -> Result<PathBuf> {
    let components: Vec<_> = Path::new(path).components().collect();
    match !components.is_empty() && components.iter().all(|part| matches!(part, Component::Normal(_))) {
        true => Ok(components.into_iter().collect()),
        false => Err(damaged(path, "leads out of the folder")),
    }
}

fn damaged(path: &str, why: &str) -> Error {
    Error::config(format!("`{path}` in the solution {why}"))
        .with_help("the file was changed after it was exported: export it again, and do not trust this one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solution(path: &str) -> Solution {
        Solution {
            format: FORMAT.into(),
            version: VERSION,
            configuration: Configuration { name: "lakeport.toml".into(), content: String::new() },
            texts: vec![Text::new(path.into(), "{}".into())],
            plugins: vec![Plugin::new("p".into(), "plugins/p.wasm".into(), b"\0asm")],
            variables: Vec::new(),
        }
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let files = solution("schemas/a.avsc").files().unwrap();
        assert_eq!(files, [("schemas/a.avsc".into(), b"{}".to_vec()), ("plugins/p.wasm".into(), b"\0asm".to_vec())]);
    }

    #[test]
    fn two_plugins_may_be_one_component() {
        let mut solution = solution("a");
        solution.plugins.push(Plugin { name: "q".into(), ..solution.plugins[0].clone() });
        assert_eq!(solution.files().unwrap().len(), 2);
    }

    #[test]
    fn a_configuration_names_what_is_carried_and_nothing_else() {
        let check = |text: &str| {
            let mut solution = solution("a.avsc");
            solution.variables = variables(&Edit::of(Path::new("x.toml"), "[sources.s]\nfiles = \"x\"\n").unwrap());
            solution.check_names(&Edit::of(Path::new("x.toml"), text).unwrap())
        };
        let right = "[plugins.p]\npath = \"plugins/p.wasm\"\n[sources.s]\nfiles = \"x\"\n\
                     [exports.x.format]\nschema = { from-file = \"a.avsc\" }\n";
        check(right).unwrap();
        for (here, wrong, named) in [
            ("a.avsc", "/etc/passwd", "`/etc/passwd` in the solution is named by its configuration"),
            ("{ from-file = \"a.avsc\" }", "[[{ from-file = \"b\" }]]", "`b` in the solution is named"),
            ("plugins/p.wasm", "/opt/other.wasm", "`p` in the solution is a plugin whose `path`"),
            ("plugins.p", "plugins.q", "`q` in the solution is a plugin whose `path`"),
            ("[plugins.p]\npath = \"plugins/p.wasm\"\n", "", "`p` in the solution is a plugin that"),
            ("[sources.s]\nfiles", "[sources.t]\nfiles", "`sources.s.files` in the solution is listed"),
            ("files = \"x\"", "files = \"x\"\n[lakes.main]\nurl = \"/\"", "`lakes.main.url` in the solution is listed"),
        ] {
            let error = check(&right.replace(here, wrong)).unwrap_err();
            assert!(error.message.starts_with(named), "{error}");
        }
    }

    #[test]
    fn no_file_leads_out_of_the_folder_or_takes_anothers_place() {
        for path in ["../a", "/etc/passwd", "a/../../b", "", ".", "lakeport.toml", "lakeport.lock", "plugins/p.wasm"] {
            assert!(solution(path).files().is_err(), "{path}");
        }
    }

    #[test]
    fn what_was_changed_is_refused() {
        let mut changed = solution("a");
        changed.texts[0].content = "[]".into();
        assert!(changed.files().unwrap_err().message.starts_with("`a` in the solution has the SHA-256 `4f53"));
        let mut changed = solution("a");
        changed.plugins[0].content = STANDARD.encode(b"\0asn");
        assert!(changed.files().is_err());
        changed.plugins[0].content = "?".into();
        assert!(changed.files().unwrap_err().message.ends_with("is not base64"));
    }
}
