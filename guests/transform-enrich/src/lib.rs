//! Transform `enrich`: adds values of another export's table to each record, such as a device's name to its measurements.
//!
//! What is found is added as one object, a member of the body; the body stays as it is otherwise, byte for byte, and so do the
//! values. A body that is not a JSON object has no place for it and goes on unchanged.

mod splice;

use std::collections::BTreeMap;

use lakeport_plugin::prelude::*;
use lakeport_plugin::{Rejected, VarBytes, serde_json};

/// What is added, and from where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, crate = "lakeport_plugin::serde")]
#[schemars(crate = "lakeport_plugin::schemars")]
pub struct Config {
    /// The name of an export of type `changes`; its table's keys are the records' subjects.
    pub table: String,
    /// Where a document has the value of `name`, an RFC 6901 pointer; `false` leaves it out.
    #[serde(default = "name")]
    pub name: Place,
    /// Where a document has the value of `template`, an RFC 6901 pointer; `false` leaves it out.
    #[serde(default = "template")]
    pub template: Place,
    /// Further members, and where a document has their values: `{ location = "/properties/cloud/location" }`.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// The member of the body that takes the object; one that is there already is replaced.
    #[serde(default = "into")]
    pub into: String,
    /// What becomes of a record for which the table has none of the values.
    #[serde(default)]
    pub missing: Missing,
}

fn name() -> Place {
    Place::At("/name".into())
}

fn template() -> Place {
    Place::At("/deviceTemplate/id".into())
}

fn into() -> String {
    "device".into()
}

/// Where a value is.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, crate = "lakeport_plugin::serde")]
#[schemars(crate = "lakeport_plugin::schemars")]
pub enum Place {
    At(String),
    /// `false`: the value is left out.
    Switch(bool),
}

/// What becomes of a record for which nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", crate = "lakeport_plugin::serde")]
#[schemars(crate = "lakeport_plugin::schemars")]
pub enum Missing {
    /// It goes on without.
    #[default]
    Keep,
    Drop,
    /// It becomes a dead letter that names the subject.
    Reject,
}

/// The transform.
pub struct Enrich {
    table: String,
    /// The added object's members in order, each as `"name":`, and where a document has it.
    members: Vec<(Vec<u8>, String)>,
    into: String,
    missing: Missing,
}

/// The columns; the lookups follow, in the members' order.
const SUBJECT: usize = 0;
const JSON: usize = 1;
const BYTES: usize = 2;
const LOOKUPS: usize = 3;

impl Transform for Enrich {
    type Config = Config;

    fn open(config: Config) -> Result<Self> {
        let wrong = |text: String| Err(Error::InvalidConfig(text));
        if config.table.is_empty() {
            return wrong("`table` is empty, expected the name of an export of type `changes`".into());
        }
        if config.into.is_empty() {
            return wrong("`into` is empty, expected a member's name such as `device`".into());
        }
        let mut members = Vec::new();
        for (name, place) in [("name", config.name), ("template", config.template)] {
            match place {
                Place::At(pointer) => members.push((name.to_owned(), pointer)),
                Place::Switch(false) => {}
                Place::Switch(true) => {
                    return wrong(format!("`{name}` is `true`, expected a pointer such as `/{name}`, or `false`"));
                }
            }
        }
        for (name, pointer) in config.properties {
            if members.iter().any(|(taken, _)| *taken == name) {
                return wrong(format!("`properties` has `{name}` too: leave it out there, or set `{name} = false`"));
            }
            members.push((name, pointer));
        }
        if members.is_empty() {
            return wrong("nothing is added: set `name`, `template` or `properties`".into());
        }
        if let Some((name, pointer)) = members.iter().find(|(_, pointer)| !is_pointer(pointer)) {
            return wrong(format!(
                "`{name}` is `{pointer}`, expected an RFC 6901 pointer such as `/properties/location`"
            ));
        }
        let member = |(name, pointer): (String, String)| ([quoted(&name).as_bytes(), b":"].concat(), pointer);
        Ok(Enrich {
            table: config.table,
            members: members.into_iter().map(member).collect(),
            into: config.into,
            missing: config.missing,
        })
    }

    fn columns(&self) -> Columns {
        // The body twice: only as JSON it is known to be some, and one that is none must pass as well.
        let mut columns = columns![text(Attribute::Subject), json(Attribute::Body), bytes(Attribute::Body)];
        let values = self.members.iter().flat_map(|(_, pointer)| columns![json(lookup(&self.table, pointer))].0);
        columns.0.extend(values);
        columns
    }

    fn map(&self, row: Row, output: &mut Output) -> Result<(), Rejection> {
        let mut body = Vec::new();
        if self.write(row, &mut Vec::new(), &mut body)? {
            output.push(body);
        }
        Ok(())
    }

    fn apply(&self, batch: &Batch) -> Result<Transformed> {
        let rows = batch.rows();
        let mut bodies = VarBytes { offsets: Vec::with_capacity(rows + 1), data: Vec::new() };
        bodies.offsets.push(0);
        // Room for bodies of twice the size: few measurements are longer than what is known of a device.
        bodies.data.reserve(2 * batch.var_bytes(BYTES).data.len());
        let mut answer = Transformed { origins: Vec::with_capacity(rows), ..Transformed::default() };
        let mut found = Vec::new();
        for row in batch.iter() {
            let index = row.index() as u32;
            match self.write(row, &mut found, &mut bodies.data) {
                Ok(false) => {}
                Ok(true) => {
                    answer.origins.push(index);
                    bodies.offsets.push(bodies.data.len() as u32);
                }
                Err(reason) => answer.rejected.push(Rejected { row: index, reason: reason.0 }),
            }
        }
        // Also where nothing was found: another part of the batch may have been enriched, and it is all bodies or none.
        answer.bodies = Some(bodies);
        Ok(answer)
    }
}

impl Enrich {
    /// Adds the body that a record goes on with to `out`; `false`, and nothing is added, where it is dropped. `found` is memory
    /// to use.
    fn write(&self, row: Row, found: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<bool, Rejection> {
        found.clear();
        for (at, (name, _)) in self.members.iter().enumerate() {
            if let Some(value) = row.bytes(LOOKUPS + at) {
                found.push(if found.is_empty() { b'{' } else { b',' });
                found.extend_from_slice(name);
                found.extend_from_slice(value);
            }
        }
        let object = row.bytes(JSON).and_then(splice::Object::new);
        match object {
            Some(object) if !found.is_empty() => {
                found.push(b'}');
                object.with_member(&self.into, found, out);
            }
            Some(_) if self.missing == Missing::Drop => return Ok(false),
            Some(_) if self.missing == Missing::Reject => return Err(self.nothing(row)),
            _ => out.extend_from_slice(row.bytes(BYTES).unwrap_or_default()),
        }
        Ok(true)
    }

    fn nothing(&self, row: Row) -> Rejection {
        let table = &self.table;
        let pointers: Vec<String> = self.members.iter().map(|(_, pointer)| format!("`{pointer}`")).collect();
        Rejection(match row.text(SUBJECT) {
            Some(subject) => format!("`{table}` has nothing of `{subject}`, expected {}", pointers.join(" or ")),
            None => format!("the record has no subject to look up in `{table}`"),
        })
    }
}

fn is_pointer(text: &str) -> bool {
    let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    (text.is_empty() || text.starts_with('/')) && escaped
}

/// `text` as JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

lakeport_plugin::export_transform!(Enrich, name = "enrich");

#[cfg(test)]
mod tests;
