//! What a user chooses, and whether it goes together.

use lakeport_plugin::prelude::*;
use lakeport_plugin::serde_json;

use crate::codec::Codec;

/// The settings of format `avro`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(crate = "lakeport_plugin::schemars")]
#[serde(crate = "lakeport_plugin::serde", deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// What a record of the file is.
    #[serde(default)]
    pub record: RecordKind,
    /// The Avro schema of the records, as text or as JSON; with `record = "schema"`, and only with it.
    #[serde(default)]
    pub schema: Option<serde_json::Value>,
    /// How blocks are compressed.
    #[serde(default)]
    pub codec: Codec,
    /// The bytes of records at which a block is closed, before compression: 1024 to 16777216.
    #[serde(default)]
    pub block_size: BlockSize,
}

/// What a record of the file is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(crate = "lakeport_plugin::schemars")]
#[serde(crate = "lakeport_plugin::serde", rename_all = "kebab-case")]
pub enum RecordKind {
    /// A device's message, as IoT Hub's message routing writes it.
    #[default]
    Message,
    /// A device with its properties and settings.
    Device,
    /// A device template with its measurements, properties and settings.
    DeviceTemplate,
    /// Whatever `schema` says.
    Schema,
}

/// The size at which a block is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(crate = "lakeport_plugin::schemars")]
#[serde(crate = "lakeport_plugin::serde", transparent)]
pub struct BlockSize(#[schemars(range(min = 1024, max = 16777216))] pub u64);

const BLOCK_SIZES: std::ops::RangeInclusive<u64> = 1024..=16 << 20;

impl Default for BlockSize {
    fn default() -> Self {
        BlockSize(64 << 10)
    }
}

impl BlockSize {
    /// The size, where it is one that readers can be asked to hold.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn checked(self) -> Result<usize> {
        match BLOCK_SIZES.contains(&self.0) {
            true => Ok(self.0 as usize),
            false => Err(Error::InvalidConfig(format!(
                "`block-size` is `{}`, expected {} to {} bytes",
                self.0,
                BLOCK_SIZES.start(),
                BLOCK_SIZES.end()
            ))),
        }
    }
}

impl Config {
    /// The text of the schema that the user gave, where one is needed.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] where it is missing or of no use.
    pub fn schema_text(&self) -> Result<Option<String>> {
        match (self.record, &self.schema) {
            (RecordKind::Schema, Some(serde_json::Value::String(text))) => Ok(Some(text.clone())),
            (RecordKind::Schema, Some(json)) => Ok(Some(json.to_string())),
            (RecordKind::Schema, None) => Err(Error::InvalidConfig(
                "`schema` is missing: with `record` = `schema`, give the Avro schema as text or as JSON".into(),
            )),
            (_, Some(_)) => Err(Error::InvalidConfig(
                "`schema` is of no use here: set `record` to `schema`, or leave `schema` out".into(),
            )),
            (_, None) => Ok(None),
        }
    }
}
