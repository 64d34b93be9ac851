//! The triggers of a function app, as its `function.json` files describe them.

use std::collections::BTreeMap;
use std::path::Path;

use lakeport::error::{Error, Result};
use lakeport_serve::functions::{Binding, DataType, Trigger};
use serde::Deserialize;

/// Triggers by the names of their functions.
pub type Bindings = BTreeMap<String, Binding>;

/// A `function.json`.
#[derive(Deserialize)]
struct Description {
    bindings: Vec<Described>,
}

/// A binding in it; other members are the host's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    r#type: String,
    name: String,
    #[serde(default)]
    cardinality: Option<String>,
    #[serde(default)]
    data_type: Option<String>,
    #[serde(default)]
    route: Option<String>,
}

/// Reads the triggers of the functions in `folder`: of every folder in it that has a `function.json`, which is named like its
/// function.
///
/// # Errors
/// Of kind `Config`: a file that cannot be read or is none of a function, or a trigger that is not taken.
pub fn read(folder: &Path) -> Result<Bindings> {
    let unreadable = |path: &Path, error: &dyn std::fmt::Display| {
        Error::config(format!("cannot read `{}`: {error}", path.display()))
    };
    let mut bindings = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let file = path.join("function.json");
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !file.is_file() {
            continue;
        }
        let text = std::fs::read(&file).map_err(|error| unreadable(&file, &error))?;
        let description: Description = serde_json::from_slice(&text).map_err(|error| unreadable(&file, &error))?;
        let output = description.bindings.iter().find(|binding| binding.r#type == "http");
        let output = output.map(|binding| binding.name.clone());
        let trigger = description.bindings.into_iter().find(|binding| binding.r#type.ends_with("Trigger"));
        let trigger = trigger.ok_or_else(|| Error::config(format!("`{}` has no trigger", file.display())))?;
        bindings.insert(name.to_owned(), Binding { output, ..binding(trigger, &file)? });
    }
    if bindings.is_empty() {
        return Err(Error::config(format!("no function in `{}`", folder.display())).with_help(
            "each function is a folder with a `function.json`; start the program in the folder of `host.json`",
        ));
    }
    Ok(bindings)
}

fn binding(described: Described, file: &Path) -> Result<Binding> {
    let fail = |message: String, help: &str| Error::config(format!("`{}`: {message}", file.display())).with_help(help);
    let is_many = |usual: &str| described.cardinality.as_deref().unwrap_or(usual).eq_ignore_ascii_case("many");
    let data_type = match described.data_type.as_deref() {
        Some(data_type) if data_type.eq_ignore_ascii_case("binary") => DataType::Binary,
        _ => DataType::String,
    };
    let trigger = match described.r#type.as_str() {
        "eventHubTrigger" if is_many("many") => Trigger::EventHub(data_type),
        "eventHubTrigger" => {
            let message = format!("`cardinality` of `{}` is not `many`", described.name);
            return Err(fail(
                message,
                "set `\"cardinality\": \"many\"`: only then does the host say which events these are",
            ));
        }
        "timerTrigger" => Trigger::Timer,
        "queueTrigger" => Trigger::Queue,
        "serviceBusTrigger" => Trigger::ServiceBus(data_type, is_many("one")),
        "blobTrigger" => Trigger::Blob,
        "eventGridTrigger" => Trigger::EventGrid(is_many("one")),
        "httpTrigger" => Trigger::Http,
        other => {
            let message = format!("the trigger `{other}` is not taken");
            return Err(fail(
                message,
                "`eventHubTrigger` (Event Hubs, IoT Hub), `queueTrigger`, `serviceBusTrigger`, `eventGridTrigger`, `blobTrigger`, \
                 `httpTrigger` and `timerTrigger` are",
            ));
        }
    };
    Ok(Binding { route: described.route, ..Binding::new(described.name, trigger) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(function: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("telemetry")).unwrap();
        std::fs::write(folder.path().join("telemetry/function.json"), function).unwrap();
        std::fs::write(folder.path().join("host.json"), "{}").unwrap();
        folder
    }

    #[test]
    fn each_folder_with_a_description_is_a_function() {
        let hub = r#"{"bindings":[{"type":"eventHubTrigger","name":"events","direction":"in","cardinality":"many",
                     "dataType":"binary","eventHubName":"h","connection":"HUB"}]}"#;
        let bindings = read(app(hub).path()).unwrap();
        let expected = Binding::new("events", Trigger::EventHub(DataType::Binary));
        assert_eq!(bindings, [("telemetry".to_owned(), expected)].into());
    }

    #[test]
    fn what_is_not_taken_is_named() {
        let of = |function: &str| read(app(function).path()).unwrap_err().to_string();
        let one = of(r#"{"bindings":[{"type":"eventHubTrigger","name":"events","cardinality":"one"}]}"#);
        assert!(one.contains("`cardinality` of `events` is not `many`"), "{one}");
        assert!(
            of(r#"{"bindings":[{"type":"kafkaTrigger","name":"b"}]}"#)
                .contains("the trigger `kafkaTrigger` is not taken")
        );
        assert!(of(r#"{"bindings":[{"type":"blob","name":"b"}]}"#).contains("has no trigger"));
        assert!(of("{").contains("cannot read"));
        let empty = tempfile::tempdir().unwrap();
        assert!(read(empty.path()).unwrap_err().message.starts_with("no function in"));
    }
}
