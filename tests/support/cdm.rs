//! Folders of the Common Data Model, read as a reader would: `model.json`, then every partition that it lists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A row: the text of every column, `None` where it is null.
pub type Row = BTreeMap<String, Option<String>>;

/// A dataset as its catalog has it.
#[derive(Debug)]
pub struct Cdm {
    pub model: Value,
    folder: PathBuf,
    prefix: String,
}

impl Cdm {
    /// Reads `folder/model.json`, whose locations begin with `prefix`; `None` where there is none.
    pub fn open(folder: &Path, prefix: &str) -> Option<Cdm> {
        let text = fs::read(folder.join("model.json")).ok()?;
        let model = serde_json::from_slice(&text).expect("model.json is whole");
        Some(Cdm { model, folder: folder.to_owned(), prefix: prefix.to_owned() })
    }

    /// A table's entity.
    pub fn entity(&self, table: &str) -> &Value {
        let entities = self.model["entities"].as_array().unwrap();
        entities.iter().find(|entity| entity["name"] == table).unwrap_or_else(|| panic!("no `{table}`: {entities:?}"))
    }

    /// The tables that there are.
    pub fn tables(&self) -> Vec<&str> {
        self.model["entities"].as_array().unwrap().iter().map(|entity| entity["name"].as_str().unwrap()).collect()
    }

    /// An annotation of a table.
    pub fn annotation(&self, table: &str, name: &str) -> Option<&str> {
        let annotations = self.entity(table)["annotations"].as_array()?;
        annotations.iter().find(|annotation| annotation["name"] == name)?["value"].as_str()
    }

    /// The names of a table's columns.
    pub fn columns(&self, table: &str) -> Vec<String> {
        let attributes = self.entity(table)["attributes"].as_array().unwrap();
        attributes.iter().map(|attribute| attribute["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The files of a table, by partition.
    pub fn files(&self, table: &str) -> BTreeMap<String, PathBuf> {
        let partitions = self.entity(table)["partitions"].as_array().cloned().unwrap_or_default();
        let file = |partition: &Value| {
            let location = partition["location"].as_str().unwrap();
            let key = location.strip_prefix(&self.prefix).unwrap_or_else(|| panic!("{location}"));
            (partition["name"].as_str().unwrap().to_owned(), self.folder.join(key.replace("%25", "%")))
        };
        partitions.iter().map(file).collect()
    }

    /// The rows of a table, partition by partition.
    pub fn rows(&self, table: &str) -> Vec<Row> {
        let columns = self.columns(table);
        let mut rows = Vec::new();
        for path in self.files(table).values() {
            let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            for cells in cells(&text) {
                assert_eq!(cells.len(), columns.len(), "{}: {cells:?}", path.display());
                rows.push(columns.iter().cloned().zip(cells).collect());
            }
        }
        rows
    }

    /// One column of a table by the key of each row.
    pub fn column(&self, table: &str, column: &str) -> BTreeMap<String, Option<String>> {
        let mut found = BTreeMap::new();
        for row in self.rows(table) {
            let key = row["Id"].clone().expect("every row has a key");
            assert_eq!(found.insert(key.clone(), row[column].clone()), None, "`{key}` stands twice");
        }
        found
    }
}

/// The cells of a text: nothing between commas is null, and `""` is an empty text.
fn cells(text: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(mut inside) => {
                let mut value = String::new();
                loop {
                    let (before, after) = inside.split_once('"').expect("a quoted cell ends");
                    value.push_str(before);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            value.push('"');
                            inside = more;
                        }
                        None => break (Some(value), after),
                    }
                }
            }
            None => {
                let end = rest.find([',', '\n']).expect("a row ends");
                ((end > 0).then(|| rest[..end].to_owned()), &rest[end..])
            }
        };
        row.push(cell);
        rest = &after[1..];
        if after.starts_with('\n') {
            rows.push(std::mem::take(&mut row));
        }
    }
    assert!(row.is_empty(), "the last row has no end");
    rows
}
