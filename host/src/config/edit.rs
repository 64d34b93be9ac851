//! Changes a configuration's text in place: comments, order and whatever else a person wrote stay as they are.
//!
//! Nothing is written that [`super::parse`] refuses.

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::document::Document;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::replace::replace;

/// A configuration under change.
pub struct Edit {
    path: PathBuf,
    document: DocumentMut,
    /// All its lines end in CR and LF.
    carriage_returns: bool,
}

impl Edit {
    /// The configuration at `path`.
    ///
    /// # Errors
    /// Of kind `Config`: it cannot be read, or is not TOML.
    pub fn open(path: &Path) -> Result<Edit> {
        Edit::of(path, &super::read(path)?)
    }

    /// The configuration `text`, which lies at `path` or will.
    ///
    /// # Errors
    /// Of kind `Config`: it is not TOML.
    pub fn of(path: &Path, text: &str) -> Result<Edit> {
        toml::de::DeTable::parse(text).map_err(|error| Document::new(path, text).syntax_error(&error))?;
        let document = text.parse().map_err(|error: toml_edit::TomlError| {
            Error::config(format!("the configuration `{}` cannot be changed: {}", path.display(), error.message()))
                .with_help("change it by hand")
        })?;
        let (pairs, ends) = (text.matches("\r\n").count(), text.matches('\n').count());
        Ok(Edit { path: path.to_owned(), document, carriage_returns: pairs > 0 && pairs == ends })
    }

    /// The text as it is now.
    pub fn text(&self) -> String {
        let text = self.document.to_string();
        match self.carriage_returns {
            true => text.replace("\r\n", "\n").replace('\n', "\r\n"),
            false => text,
        }
    }

    /// Writes the file, if it is a right configuration.
    ///
    /// # Errors
    /// As [`super::parse`], and then nothing was written; of kind `Config` where it cannot be written.
    pub fn save(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Plan> {
        let text = self.text();
        let plan = super::parse(&text, &self.path, env)?;
        replace(&self.path, text.as_bytes()).map_err(|error| {
            let error = error.to_string().to_lowercase();
            Error::config(format!("cannot write the configuration `{}`: {error}", self.path.display()))
        })?;
        Ok(plan)
    }

    /// The table of these keys; `None` where there is none.
    pub fn at(&self, keys: &[&str]) -> Option<&dyn TableLike> {
        let mut table: &dyn TableLike = self.document.as_table();
        for key in keys {
            table = table.get(key)?.as_table_like()?;
        }
        Some(table)
    }

    /// The same, to change it.
    pub fn at_mut(&mut self, keys: &[&str]) -> Option<&mut dyn TableLike> {
        let mut table: &mut dyn TableLike = self.document.as_table_mut();
        for key in keys {
            table = table.get_mut(key)?.as_table_like_mut()?;
        }
        Some(table)
    }

    /// The names of the tables at `keys`, in the order of the file.
    pub fn names(&self, keys: &[&str]) -> Vec<String> {
        let entries = self.at(keys).into_iter().flat_map(TableLike::iter);
        entries.filter(|(_, item)| item.is_table_like()).map(|(name, _)| name.to_owned()).collect()
    }

    /// The exports of tables.
    pub fn exports_of_tables(&self) -> Vec<String> {
        let of_tables = |name: &String| {
            let kind = self.at(&["exports", name]).and_then(|export| export.get("type"));
            kind.and_then(Item::as_str) == Some("table")
        };
        self.names(&["exports"]).into_iter().filter(of_tables).collect()
    }

    /// Adds `[exports.EXPORT.tables.TABLE]` with these keys behind the export's other sections.
    ///
    /// # Errors
    /// Of kind `Config`: the export is not there, or its `tables` are no table.
    pub fn add_table(&mut self, name: &str, table: &str, keys: Vec<(&str, Value)>) -> Result<()> {
        let refused = || {
            Error::config(format!("table `{table}` cannot be added to `exports.{name}`: that holds no tables"))
                .with_help(format!("mend `exports.{name}.tables` in the file"))
        };
        let export = self.at_mut(&["exports", name]).ok_or_else(refused)?;
        if export.get("tables").is_none() {
            let mut tables = Table::new();
            tables.set_implicit(true);
            export.insert("tables", Item::Table(tables));
        }
        match export.get_mut("tables") {
            Some(Item::Table(tables)) => {
                let mut section = Table::new();
                section.decor_mut().set_prefix("\n");
                keys.into_iter().for_each(|(key, value)| _ = section.insert(key, Item::Value(value)));
                tables.insert(table, Item::Table(section));
            }
            Some(Item::Value(Value::InlineTable(tables))) => {
                tables.insert(table, Value::InlineTable(InlineTable::from_iter(keys)));
            }
            _ => return Err(refused()),
        }
        Ok(())
    }
}

/// Sets a key: in its place, with the comment behind it, or at the end.
pub fn set(table: &mut dyn TableLike, key: &str, value: impl Into<Value>) {
    let mut value = value.into();
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        _ => _ = table.insert(key, Item::Value(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# What we export.
[sources.s]            # the feed
files = \"x\"
envelope = \"change\"

[exports.crm]
type = \"table\"
source = \"s\"

# The customers.
[exports.crm.tables.account]
linked = true # for now
key = \"/accountid\"

# Everything else.
[exports.all]
source = \"s\"
path = \"all/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"
# The end.
";

    fn edit(text: &str) -> Edit {
        Edit::of(Path::new("/etc/lakeport/lakeport.toml"), text).unwrap()
    }

    #[test]
    fn what_is_not_changed_stays_byte_for_byte() {
        assert_eq!(edit(FILE).text(), FILE);
        let windows = FILE.replace('\n', "\r\n");
        assert_eq!(edit(&windows).text(), windows);
    }

    #[test]
    fn a_file_whose_lines_do_not_all_end_in_cr_and_lf_gets_no_more_of_them() {
        for mixed in [FILE.replacen('\n', "\r\n", 1), FILE.replace('\n', "\r\n").replacen("\r\n", "\n", 1)] {
            let mut edit = edit(&mixed);
            set(edit.at_mut(&["exports", "crm", "tables", "account"]).unwrap(), "linked", false);
            assert_eq!(edit.text(), FILE.replace("linked = true", "linked = false"));
        }
    }

    #[test]
    fn a_table_that_cannot_be_added_is_refused() {
        assert!(edit(FILE).add_table("erp", "x", vec![]).is_err());
        let error = edit("[exports.crm]\ntables = \"all\"\n").add_table("crm", "x", vec![]).unwrap_err();
        assert_eq!(error.message, "table `x` cannot be added to `exports.crm`: that holds no tables");
    }

    #[test]
    fn a_key_is_set_in_its_place() {
        let mut edit = edit(FILE);
        set(edit.at_mut(&["exports", "crm", "tables", "account"]).unwrap(), "linked", false);
        set(edit.at_mut(&["exports", "crm", "tables", "account"]).unwrap(), "link", 2);
        let expected = FILE
            .replace("linked = true # for now", "linked = false # for now")
            .replace("\"/accountid\"\n", "\"/accountid\"\nlink = 2\n");
        assert_eq!(edit.text(), expected);
    }

    #[test]
    fn a_new_table_goes_behind_the_exports_others() {
        let mut edit = edit(FILE);
        edit.add_table("crm", "Sales order", vec![("key", "/id".into())]).unwrap();
        let expected =
            FILE.replace("\"/accountid\"\n", "\"/accountid\"\n\n[exports.crm.tables.\"Sales order\"]\nkey = \"/id\"\n");
        assert_eq!(edit.text(), expected);
        let first = FILE.replace(
            "# The customers.\n[exports.crm.tables.account]\nlinked = true # for now\nkey = \"/accountid\"\n\n",
            "",
        );
        let mut edit = self::edit(&first);
        edit.add_table("crm", "contact", vec![]).unwrap();
        assert_eq!(
            edit.text(),
            first.replace("source = \"s\"\n\n# E", "source = \"s\"\n\n[exports.crm.tables.contact]\n\n# E")
        );
    }

    #[test]
    fn tables_in_one_line_are_changed_in_it() {
        let text = "[exports]\ncrm = { type = \"table\", source = \"s\", tables = { a = { key = \"/a\" } } }\n";
        let mut edit = edit(text);
        assert_eq!(
            (edit.exports_of_tables(), edit.names(&["exports", "crm", "tables"])),
            (vec!["crm".into()], vec!["a".into()])
        );
        edit.add_table("crm", "b", vec![("key", "/b".into())]).unwrap();
        set(edit.at_mut(&["exports", "crm", "tables", "a"]).unwrap(), "linked", false);
        let table: toml::Table = edit.text().parse().unwrap();
        assert_eq!(table["exports"]["crm"]["tables"]["b"]["key"].as_str(), Some("/b"));
        assert_eq!(table["exports"]["crm"]["tables"]["a"]["linked"].as_bool(), Some(false));
    }
}
