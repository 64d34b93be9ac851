//! Keeps what others wrote into `model.json`.
//!
//! Members that are not this format's stay where they are: of the model, of entities, of attributes, both known by their names.
//! An entity with the annotation [`OURS`] whose table is gone goes; one without it is somebody else's and stays, so no table can
//! have its name. Partitions are this format's entirely.

use lakeport_plugin::prelude::*;
use lakeport_plugin::serde_json::{self, Map, Value, json};

use super::{CONSTRAINED, DESCRIPTION, OURS, PATH, SHAPED, object};

/// The annotations and traits that are this format's: where it does not write one, there is none.
const ANNOTATIONS: [&str; 4] =
    [OURS, "Athena:PartitionGranularity", "Athena:InitialSyncState", "Athena:InitialSyncDataCompletedTime"];
const TRAITS: [&str; 2] = [CONSTRAINED, SHAPED];

/// `model` with `entities`, over what is in `previous`, the bytes of the file that is there; none where there is none.
///
/// # Errors
/// A previous file that is no model, or that has somebody else's entity with the name of one of `entities`.
pub fn model(previous: &[u8], model: Map<String, Value>, entities: Vec<Value>) -> Result<Value> {
    let mut whole = parse(previous)?;
    let mut before = match whole.remove("entities") {
        None => Vec::new(),
        Some(Value::Array(entities)) => entities,
        Some(other) => return Err(no_model(&format!("its `entities` are `{other:.64}`, expected a list"))),
    };
    let mut merged = Vec::with_capacity(entities.len() + before.len());
    for entity in entities {
        let known = before.iter().position(|known| known["name"] == entity["name"]);
        merged.push(match known.map(|at| before.remove(at)) {
            None => entity,
            Some(known) if known["$type"] == entity["$type"] && is_ours(&known) => over_entity(known, entity),
            Some(known) if known["$type"] == entity["$type"] => {
                return Err(Error::Other(format!(
                    "`{PATH}` has an entity {} without the annotation `{OURS}`, so it is somebody else's, and a table has the same \
                     name; rename one of them, or take the entity out of `{PATH}` first",
                    entity["name"]
                )));
            }
            Some(known) => {
                return Err(Error::Other(format!(
                    "`{PATH}` has an entity {} of type {}, and a table has the same name; rename one of them",
                    entity["name"], known["$type"]
                )));
            }
        });
    }
    merged.extend(before.into_iter().filter(|entity| !is_ours(entity)));
    take_back_description(&mut whole, &model);
    whole.extend(model);
    whole.insert("entities".into(), merged.into());
    Ok(whole.into())
}

/// Brings the annotation of the model's description to what `model` has. The description that it stands for goes where `model` has
/// none; another one is somebody else's.
fn take_back_description(whole: &mut Map<String, Value>, model: &Map<String, Value>) {
    let before = whole.get("annotations").and_then(|list| named(list, "name", DESCRIPTION)).cloned();
    let new = model.get("description");
    if new.is_none() && before.as_ref().is_some_and(|before| Some(&before["value"]) == whole.get("description")) {
        whole.remove("description");
    }
    if before.is_some() || new.is_some() {
        let list = new.map(|text| Value::from(vec![json!({ "name": DESCRIPTION, "value": text })]));
        let annotations = over_list(whole.remove("annotations"), list, "name", &[DESCRIPTION]);
        if annotations.as_array().is_some_and(|list| !list.is_empty()) {
            whole.insert("annotations".into(), annotations);
        }
    }
}

/// Files of the service begin with a byte order mark, which JSON does not know.
fn parse(previous: &[u8]) -> Result<Map<String, Value>> {
    let text = previous.strip_prefix(b"\xef\xbb\xbf").unwrap_or(previous);
    if text.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(no_model("it is JSON, but no object")),
        Err(error) => Err(no_model(&error.to_string())),
    }
}

fn no_model(why: &str) -> Error {
    Error::Other(format!("`{PATH}` in the lake is no model: {why}; move it away, and a new one is written"))
}

fn is_ours(entity: &Value) -> bool {
    named(&entity["annotations"], "name", OURS).is_some()
}

fn over_entity(before: Value, entity: Value) -> Value {
    let (mut whole, mut entity) = (object(before), object(entity));
    if let Some(Value::Array(attributes)) = entity.get_mut("attributes") {
        let known = whole.remove("attributes").unwrap_or_default();
        for attribute in attributes {
            if let Some(known) = named(&known, "name", attribute["name"].as_str().unwrap_or_default()) {
                *attribute = over_attribute(known.clone(), std::mem::take(attribute));
            }
        }
    }
    let annotations = over_list(whole.remove("annotations"), entity.remove("annotations"), "name", &ANNOTATIONS);
    whole.extend(entity);
    whole.insert("annotations".into(), annotations);
    whole.into()
}

fn over_attribute(before: Value, attribute: Value) -> Value {
    let (mut whole, mut attribute) = (object(before), object(attribute));
    let before = whole.remove("cdm:traits");
    let traits = over_list(before, attribute.remove("cdm:traits"), "traitReference", &TRAITS);
    whole.extend(attribute);
    if traits.as_array().is_some_and(|traits| !traits.is_empty()) {
        whole.insert("cdm:traits".into(), traits);
    }
    whole.into()
}

/// The elements of `list`, then those of `before` that are not named in `ours`. A trait may be no more than its name.
fn over_list(before: Option<Value>, list: Option<Value>, name: &str, ours: &[&str]) -> Value {
    let elements = |list: Option<Value>| match list {
        Some(Value::Array(elements)) => elements,
        _ => Vec::new(),
    };
    let mut whole = elements(list);
    let named_ours =
        |element: &Value| element[name].as_str().or(element.as_str()).is_some_and(|name| ours.contains(&name));
    whole.extend(elements(before).into_iter().filter(|element| !named_ours(element)));
    whole.into()
}

/// The element of a list whose member `key` is `name`.
fn named<'a>(list: &'a Value, key: &str, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|element| element[key] == name)
}
