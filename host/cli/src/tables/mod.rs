//! `lakeport tables`: which tables are exported, and how far they are.
//!
//! `link` and `unlink` change the configuration, as a person would; what they change takes effect when exports are next run.

use std::io::Write;
use std::path::PathBuf;

use super::{Config, variable_or_stand_in, written};
use lakeport::config::edit::Edit;
use lakeport::config::suggest;
use lakeport::error::{Error, Result};

pub mod link;
pub mod list;
pub mod unlink;

/// List, link or unlink the tables of exports with `type = "table"`
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    List(list::Args),
    Link(link::Args),
    Unlink(unlink::Args),
}

impl Command {
    /// Whether errors and results are JSON.
    pub fn json(&self) -> bool {
        matches!(self, Command::List(list::Args { json: true, .. }))
    }
}

/// Does what was asked; results go to `out`.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<()> {
    let text = match command {
        Command::List(args) => list::run(args)?,
        Command::Link(args) => link::run(args, &variable_or_stand_in)?,
        Command::Unlink(args) => unlink::run(args, &variable_or_stand_in)?,
    };
    written(out.write_all(text.as_bytes()))
}

/// A table of a configuration, and whether it is there already.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    export: String,
    table: String,
    known: bool,
}

impl Named {
    /// The table that `name`, `[EXPORT.]TABLE`, means.
    ///
    /// # Errors
    /// Of kind `Config`: no export of tables has this name, or it is not said which one is meant.
    fn find(edit: &Edit, name: &str) -> Result<Named> {
        let exports = edit.exports_of_tables();
        let has = |export: &str, table: &str| edit.at(&["exports", export, "tables", table]).is_some();
        let named = |export: &str, table: &str| {
            let known = has(export, table);
            Ok(Named { export: export.to_owned(), table: table.to_owned(), known })
        };
        if exports.is_empty() {
            return Err(Error::config("the configuration has no export with `type = \"table\"`")
                .with_help("add one: docs/tables.md says how"));
        }
        // Names of tables have no dot.
        if let Some((export, table)) = name.split_once('.') {
            if exports.iter().any(|known| known == export) {
                return named(export, table);
            }
            let error = Error::config(format!("`{name}`: there is no export of tables `{export}`"));
            return Err(error.with_help(suggest(export, exports.iter().map(String::as_str))));
        }
        let having: Vec<_> = exports.iter().filter(|export| has(export, name)).collect();
        let candidates = if having.is_empty() { exports.iter().collect() } else { having };
        match candidates[..] {
            [export] => named(export, name),
            _ => {
                let which: Vec<_> = candidates.iter().map(|export| format!("`{export}.{name}`")).collect();
                Err(Error::config(format!("`{name}` does not say which export it is of"))
                    .with_help(format!("write {}", which.join(" or "))))
            }
        }
    }

    /// As people name it.
    fn shown(&self) -> String {
        format!("{}.{}", self.export, self.table)
    }
}

/// The configuration and the tables that a command line names. A first word that is no file, and could be a table, is one: of
/// the usual configuration.
fn words(config: &Config, tables: &[String]) -> (PathBuf, Vec<String>) {
    let usual = PathBuf::from("lakeport.toml");
    match config.config.to_str() {
        Some(word) if !config.config.exists() && !word.contains(['/', '\\']) && !word.ends_with(".toml") => {
            (usual, std::iter::once(word.to_owned()).chain(tables.iter().cloned()).collect())
        }
        _ => (config.config.clone(), tables.to_vec()),
    }
}

/// The tables that a command line names, at least one.
fn find_all(edit: &Edit, names: &[String], example: &str) -> Result<Vec<Named>> {
    if names.is_empty() {
        return Err(Error::config("no table is named").with_help(format!("for example `{example}`")));
    }
    names.iter().map(|name| Named::find(edit, name)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn find(name: &str) -> Result<Named> {
        let text = "[exports.a]\ntype = \"table\"\n[exports.a.tables.x]\n[exports.a.tables.y]\n\
                    [exports.b]\ntype = \"table\"\n[exports.b.tables.x]\n[exports.c]\n";
        Named::find(&Edit::of(Path::new("lakeport.toml"), text).unwrap(), name)
    }

    #[test]
    fn a_first_word_that_is_no_file_is_a_table() {
        let words = |config: &str, tables: &[&str]| {
            let tables: Vec<_> = tables.iter().map(|table| (*table).to_owned()).collect();
            words(&Config { config: config.into() }, &tables)
        };
        assert_eq!(words("newt", &["x"]), ("lakeport.toml".into(), vec!["newt".to_owned(), "x".to_owned()]));
        assert_eq!(words("crm.newt", &[]), ("lakeport.toml".into(), vec!["crm.newt".to_owned()]));
        for config in ["other.toml", "./other", "Cargo.toml"] {
            assert_eq!(words(config, &["x"]), (config.into(), vec!["x".to_owned()]), "{config}");
        }
    }

    #[test]
    fn a_table_is_named_with_its_export_where_it_must_be() {
        let named = |export: &str, table: &str, known| Named { export: export.into(), table: table.into(), known };
        assert_eq!(find("y").unwrap(), named("a", "y", true));
        assert_eq!(find("b.x").unwrap(), named("b", "x", true));
        assert_eq!(find("b.z").unwrap(), named("b", "z", false));
        assert_eq!(find("x").unwrap_err().help.as_deref(), Some("write `a.x` or `b.x`"));
        assert_eq!(find("z").unwrap_err().help.as_deref(), Some("write `a.z` or `b.z`"));
        assert_eq!(find("c.x").unwrap_err().message, "`c.x`: there is no export of tables `c`");
    }
}
