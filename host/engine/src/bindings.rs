//! A function app, as its `host.json` and its `function.json` files describe it.

use std::collections::BTreeMap;
use std::path::Path;

use lakeport::error::{Error, Result};
use lakeport_serve::functions::{Binding, DataType, Trigger, is_reserved};
use serde::Deserialize;

use crate::functions::Host;

/// A function app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub(crate) host: Host,
    /// Triggers by the names of their functions.
    pub(crate) bindings: BTreeMap<String, Binding>,
}

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

/// Reads the app in `folder`: its `host.json`, and the triggers of its functions. Every folder in it that has a `function.json` is a
/// function of its name. `variable` returns the app's settings.
///
/// # Errors
/// Of kind `Config`: a file that cannot be read or is none of a function, a name that a function cannot have, or a trigger that is
/// not taken.
pub fn read(folder: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<App> {
    let host = Host::read(folder, variable)?;
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
        let binding = Binding { output, ..binding(trigger, &file)? };
        check_name(name, &binding, &host)?;
        bindings.insert(name.to_owned(), binding);
    }
    if bindings.is_empty() {
        return Err(Error::config(format!("no function in `{}`", folder.display())).with_help(
            "each function is a folder with a `function.json`; start the program in the folder of `host.json`",
        ));
    }
    Ok(App { host, bindings })
}

/// Refuses a function whose invocations or requests would reach something else.
fn check_name(name: &str, binding: &Binding, host: &Host) -> Result<()> {
    let wrong = |what: &str, help: &str| {
        Err(Error::config(format!(
            "function `{name}`: {what} the handler's own, beside `/healthz`, `/readyz` and `/metrics`"
        ))
        .with_help(help))
    };
    if is_reserved(name) {
        return wrong(
            "the path of its invocations is",
            "give the function's folder another name, and the source that it is named like",
        );
    }
    match binding.route.as_deref().map(|route| route.trim_matches('/')) {
        Some(route) if host.is_without_prefix() && is_reserved(route) => {
            wrong("its route is", "set another `route` in `function.json`, or a `routePrefix` in `host.json`")
        }
        _ => Ok(()),
    }
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
        let bindings = read(app(hub).path(), &|_| None).unwrap().bindings;
        let expected = Binding::new("events", Trigger::EventHub(DataType::Binary));
        assert_eq!(bindings, [("telemetry".to_owned(), expected)].into());
    }

    #[test]
    fn what_is_not_taken_is_named() {
        let of = |function: &str| read(app(function).path(), &|_| None).unwrap_err().to_string();
        let one = of(r#"{"bindings":[{"type":"eventHubTrigger","name":"events","cardinality":"one"}]}"#);
        assert!(one.contains("`cardinality` of `events` is not `many`"), "{one}");
        assert!(
            of(r#"{"bindings":[{"type":"kafkaTrigger","name":"b"}]}"#)
                .contains("the trigger `kafkaTrigger` is not taken")
        );
        assert!(of(r#"{"bindings":[{"type":"blob","name":"b"}]}"#).contains("has no trigger"));
        assert!(of("{").contains("cannot read"));
        let empty = tempfile::tempdir().unwrap();
        assert!(read(empty.path(), &|_| None).unwrap_err().message.starts_with("no function in"));
    }

    #[test]
    fn a_function_whose_path_is_the_handlers_own_is_refused() {
        let timer = r#"{"bindings":[{"type":"timerTrigger","name":"timer"}]}"#;
        for (name, is_refused) in [("metrics", true), ("healthz", true), ("readyz", true), ("Metrics", false)] {
            let app = app(timer);
            std::fs::rename(app.path().join("telemetry"), app.path().join(name)).unwrap();
            let read = read(app.path(), &|_| None);
            assert_eq!(read.is_err(), is_refused, "{name}");
            let help = read.err().and_then(|error| error.help);
            assert!(help.is_none_or(|help| help.starts_with("give the function's folder another name")));
        }
        let app = app(r#"{"bindings":[{"type":"httpTrigger","name":"req","route":"/metrics"}]}"#);
        assert!(read(app.path(), &|_| None).is_ok());
        let host = r#"{"extensions":{"http":{"routePrefix":""}},"customHandler":{"enableForwardingHttpRequest":true}}"#;
        std::fs::write(app.path().join("host.json"), host).unwrap();
        let error = read(app.path(), &|_| None).unwrap_err();
        assert!(error.message.contains("its route is the handler's own"), "{error}");
    }
}
