//! A plugin's settings against the schema that the plugin gives of them.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::log::printable;
use crate::error::{Error, Result};

/// Bytes of a schema.
const SCHEMA: usize = 256 << 10;
/// Bytes of a value in a message.
const VALUE: usize = 100;

/// Checks settings.
pub(super) struct Settings {
    /// The name that the configuration uses.
    plugin: String,
    pub(super) schema: Value,
    validator: Validator,
}

impl Settings {
    /// Reads a schema.
    ///
    /// # Errors
    /// Of kind `Plugin` where it is none.
    pub(super) fn new(plugin: &str, schema: &str) -> Result<Settings> {
        let wrong = |why: String| {
            Error::plugin(format!(
                "plugin `{plugin}` gives a configuration schema that is none: {}",
                printable(&why, 500)
            ))
        };
        if schema.len() > SCHEMA {
            return Err(wrong(format!("it has {} bytes, expected at most {SCHEMA}", schema.len())));
        }
        let schema: Value = serde_json::from_str(schema).map_err(|error| wrong(error.to_string()))?;
        refuse_loops(&schema).map_err(&wrong)?;
        let validator = jsonschema::validator_for(&schema).map_err(|error| wrong(error.to_string()))?;
        Ok(Settings { plugin: plugin.to_owned(), schema, validator })
    }

    /// Checks `config`.
    ///
    /// # Errors
    /// Of kind `Config`, for the first setting that is wrong: its path, its value, what was expected.
    pub(super) fn check(&self, config: &Value) -> Result<()> {
        match self.validator.iter_errors(config).next() {
            Some(error) => Err(self.explain(&error)),
            None => Ok(()),
        }
    }

    fn explain(&self, error: &ValidationError<'_>) -> Error {
        let plugin = &self.plugin;
        let path = path(error.instance_path().as_str());
        let value = printable(&error.instance().to_string(), VALUE);
        let of = if path.is_empty() {
            format!("plugin `{plugin}`")
        } else {
            format!("setting `{path}` of plugin `{plugin}`")
        };
        let found = if path.is_empty() { format!("settings of plugin `{plugin}` are") } else { format!("{of} is") };
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let name = unexpected.first().map_or("", String::as_str);
                let known = self.known(error);
                let error = Error::config(format!("{of} has no setting `{}`", printable(name, VALUE)));
                match nearest(name, &known) {
                    Some(near) => error.with_help(format!("did you mean `{near}`?")),
                    None if known.is_empty() => error.with_help("it has no settings"),
                    None => error.with_help(format!("its settings are {}", listed(&known))),
                }
            }
            ValidationErrorKind::Required { property } => {
                let property = property.as_str().unwrap_or_default();
                Error::config(format!("{of} needs the setting `{}`", printable(property, VALUE)))
            }
            ValidationErrorKind::Type { kind } => {
                let expected = match kind {
                    TypeKind::Single(one) => one.to_string(),
                    TypeKind::Multiple(several) => {
                        several.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or ")
                    }
                };
                Error::config(format!("{found} `{value}`, expected {expected}"))
            }
            ValidationErrorKind::Enum { options } => {
                let options: Vec<String> = options.as_array().into_iter().flatten().map(|o| o.to_string()).collect();
                let options: Vec<&str> = options.iter().map(String::as_str).collect();
                Error::config(format!("{found} `{value}`, expected one of {}", listed(&options)))
            }
            ValidationErrorKind::Minimum { limit } => {
                Error::config(format!("{found} `{value}`, expected at least {limit}"))
            }
            ValidationErrorKind::Maximum { limit } => {
                Error::config(format!("{found} `{value}`, expected at most {limit}"))
            }
            _ => {
                Error::config(format!("{found} `{value}`, which does not fit: {}", printable(&error.to_string(), 500)))
            }
        }
    }

    /// The settings that there are where `error` found one too many.
    fn known(&self, error: &ValidationError<'_>) -> Vec<&str> {
        let keyword = error.schema_path().as_str();
        let object = keyword.rsplit_once('/').map_or("", |(above, _)| above);
        let properties = self.schema.pointer(object).and_then(|object| object.get("properties"));
        properties.and_then(Value::as_object).map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default()
    }
}

/// A JSON pointer as TOML writes a path: `/limits/0/size` → `limits[0].size`.
fn path(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        let step = printable(&step.replace("~1", "/").replace("~0", "~"), VALUE);
        match step.parse::<usize>() {
            Ok(index) => path += &format!("[{index}]"),
            Err(_) if path.is_empty() => path = step,
            Err(_) => path += &format!(".{step}"),
        }
    }
    path
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{}`", printable(name, VALUE))).collect::<Vec<_>>().join(", ")
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    known.iter().copied().min_by_key(|known| distance(known)).filter(|known| distance(known) <= 1 + name.len() / 3)
}

/// A reference that leads to itself without going down into the settings would never end: a validator follows it until the
/// stack is gone.
fn refuse_loops(schema: &Value) -> Result<(), String> {
    fn follow<'a>(root: &'a Value, at: &'a Value, open: &mut Vec<*const Value>, left: &mut u32) -> Result<(), String> {
        *left = left.checked_sub(1).ok_or("it has too many references")?;
        if open.contains(&std::ptr::from_ref(at)) {
            return Err(String::from("it refers to itself without an end"));
        }
        open.push(std::ptr::from_ref(at));
        if let Some(reference) = at.get("$ref").or_else(|| at.get("$dynamicRef")).and_then(Value::as_str) {
            let pointer =
                reference.strip_prefix('#').ok_or_else(|| format!("it refers to `{reference}`, outside itself"))?;
            let target =
                root.pointer(pointer).ok_or_else(|| format!("it refers to `{reference}`, which it does not have"))?;
            follow(root, target, open, left)?;
        }
        // Keywords that look at the same value again.
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for schema in at.get(keyword).and_then(Value::as_array).into_iter().flatten() {
                follow(root, schema, open, left)?;
            }
        }
        for keyword in ["not", "if", "then", "else"] {
            at.get(keyword).map_or(Ok(()), |schema| follow(root, schema, open, left))?;
        }
        for keyword in ["dependentSchemas", "dependencies"] {
            for schema in at.get(keyword).and_then(Value::as_object).into_iter().flatten() {
                follow(root, schema.1, open, left)?;
            }
        }
        open.pop();
        Ok(())
    }
    fn everywhere(root: &Value, at: &Value, left: &mut u32) -> Result<(), String> {
        follow(root, at, &mut Vec::new(), left)?;
        match at {
            Value::Object(map) => map.values().try_for_each(|below| everywhere(root, below, left)),
            Value::Array(list) => list.iter().try_for_each(|below| everywhere(root, below, left)),
            _ => Ok(()),
        }
    }
    everywhere(schema, schema, &mut 100_000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["threshold"],
            "properties": {
                "threshold": { "type": "number", "maximum": 100 },
                "kinds": { "type": "array", "items": { "type": "string" } },
                "unit": { "enum": ["celsius", "kelvin"] },
                "inner": { "$ref": "#/$defs/inner" },
            },
            "$defs": { "inner": { "type": "object", "additionalProperties": false, "properties": { "size": {} } } },
        });
        Settings::new("too-hot", &schema.to_string()).unwrap()
    }

    fn message(config: Value) -> String {
        settings().check(&config).unwrap_err().to_string()
    }

    #[test]
    fn settings_that_fit_pass() {
        settings().check(&json!({"threshold": 90, "kinds": ["a"], "unit": "kelvin", "inner": {"size": 1}})).unwrap();
    }

    #[test]
    fn errors_name_the_setting_its_value_and_what_was_expected() {
        assert_eq!(
            message(json!({"threshold": "hot"})),
            "setting `threshold` of plugin `too-hot` is `\"hot\"`, expected number"
        );
        assert_eq!(
            message(json!({"threshold": 1, "kinds": ["a", 7]})),
            "setting `kinds[1]` of plugin `too-hot` is `7`, expected string"
        );
        assert_eq!(message(json!({})), "plugin `too-hot` needs the setting `threshold`");
        assert_eq!(
            message(json!({"threshold": 101})),
            "setting `threshold` of plugin `too-hot` is `101`, expected at most 100"
        );
        assert_eq!(
            message(json!({"threshold": 1, "unit": "rankine"})),
            "setting `unit` of plugin `too-hot` is `\"rankine\"`, expected one of `\"celsius\"`, `\"kelvin\"`"
        );
        assert_eq!(message(json!(3)), "settings of plugin `too-hot` are `3`, expected object");
    }

    #[test]
    fn unknown_settings_get_the_nearest_name_or_the_list() {
        assert_eq!(
            message(json!({"threshold": 1, "treshold": 2})),
            "plugin `too-hot` has no setting `treshold`\nhelp: did you mean `threshold`?"
        );
        assert_eq!(
            message(json!({"threshold": 1, "colour": 2})),
            "plugin `too-hot` has no setting `colour`\nhelp: its settings are `inner`, `kinds`, `threshold`, `unit`"
        );
        assert_eq!(
            message(json!({"threshold": 1, "inner": {"sice": 2}})),
            "setting `inner` of plugin `too-hot` has no setting `sice`\nhelp: did you mean `size`?"
        );
    }

    #[test]
    fn schemas_that_are_none_are_refused() {
        for (schema, why) in [
            ("{", "EOF"),
            (r#"{"type": 7}"#, ""),
            (r##"{"$ref": "#"}"##, "without an end"),
            (r##"{"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#"}]}}}"##, "without an end"),
            (r#"{"$ref": "https://example.com/schema.json"}"#, "outside itself"),
        ] {
            let error = Settings::new("odd", schema).err().unwrap_or_else(|| panic!("`{schema}` passed")).to_string();
            assert!(error.starts_with("plugin `odd` gives a configuration schema that is none"), "{error}");
            assert!(error.contains(why), "{error}");
        }
        assert!(Settings::new("odd", &format!("\"{}\"", "x".repeat(SCHEMA))).is_err());
    }

    #[test]
    fn a_schema_may_describe_a_tree() {
        let schema = r##"{"type": "object", "properties": {"child": {"$ref": "#"}}, "additionalProperties": false}"##;
        let tree = Settings::new("tree", schema).unwrap();
        tree.check(&json!({"child": {"child": {}}})).unwrap();
        assert!(tree.check(&json!({"child": {"other": {}}})).is_err());
    }
}
