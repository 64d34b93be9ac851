//! What a user chooses.

use lakeport_plugin::prelude::*;

/// The settings of format `cdm-csv`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(crate = "lakeport_plugin::schemars")]
#[serde(crate = "lakeport_plugin::serde", default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// How dates and times are written.
    pub dates: Dates,
    /// Puts an apostrophe before text that a spreadsheet would take for a formula.
    pub formula_guard: bool,
    /// The name of the model in `model.json`.
    #[schemars(length(min = 1, max = 256))]
    pub model_name: String,
}

/// How dates and times are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(crate = "lakeport_plugin::schemars")]
#[serde(crate = "lakeport_plugin::serde", rename_all = "kebab-case")]
pub enum Dates {
    /// In the three forms of Export to Data Lake's files, to the second.
    #[default]
    Service,
    /// As RFC 3339 has them, with every digit.
    Iso,
}

impl Default for Config {
    fn default() -> Self {
        Config { dates: Dates::default(), formula_guard: false, model_name: String::from("cdm") }
    }
}
