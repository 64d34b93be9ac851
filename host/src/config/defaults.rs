//! What an export's absent keys mean, where that follows from what it exports.

use crate::plan::{Exports, PluginOrigin, PluginUse};

/// Values of keys that are absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    pub granularity: &'static str,
    pub timestamp: &'static str,
    pub files: &'static str,
    /// The path, up to the folders of time.
    pub folder: &'static str,
}

const EVENTS: Defaults = Defaults { granularity: "hour", timestamp: "event", files: "growing", folder: "{export}" };

impl Defaults {
    /// The defaults of an export. A fleet's records, as the built-in format `avro` writes them, have the paths of IoT Central's
    /// continuous export, a folder each minute.
    pub fn of(exports: &Exports, format: &PluginUse) -> Defaults {
        if let Exports::Tables(_) = exports {
            return Defaults { granularity: "day", timestamp: "write", files: "rolling", ..EVENTS };
        }
        let record = (format.plugin.origin == PluginOrigin::BuiltIn && format.plugin.name == "avro")
            .then(|| format.config.get("record").and_then(|record| record.as_str()).unwrap_or("message"));
        let fleet = match record {
            Some("message") => Some("measurements/{source}"),
            Some("device") => Some("devices/{source}"),
            Some("device-template") => Some("deviceTemplates/{source}"),
            _ => None,
        };
        let mut defaults = EVENTS;
        if let Exports::Changes { .. } = exports {
            defaults = Defaults { granularity: "minute", timestamp: "write", files: "rolling", ..defaults };
        }
        match fleet {
            Some(folder) => Defaults { granularity: "minute", timestamp: "write", folder, ..defaults },
            None => defaults,
        }
    }
}
