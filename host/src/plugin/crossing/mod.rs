//! Columns on their way to a plugin and back: Arrow ⇄ WIT.
//!
//! On the way in, numbers and bitmaps are borrowed from Arrow and views are gathered end to end, once, into memory that is used
//! again for the next batch; each column is then one block copy into the plugin. On the way back nothing is believed: every
//! length, offset, bitmap and text is checked before it is an Arrow array.

mod lift;
mod lower;
mod split;
mod table;

use super::bindings::lakeport::plugin::records as wit;
use crate::record::{Attribute, ColumnRequest, ColumnType, Selector};

pub(super) use lift::{bitmap, column, column_requests, origins, rejections, var_bytes};
pub(super) use lower::{Scratch, fits};
pub(super) use split::split;
pub(super) use table::{with_dataset, with_schema};

/// What an answer broke, as a sentence without its subject: "gave 3 bytes …, expected 4".
pub(super) type Broken = String;

/// An attribute's name in the interface.
pub(super) fn attribute_name(attribute: Attribute) -> &'static str {
    match attribute {
        Attribute::Id => "id",
        Attribute::Source => "source",
        Attribute::Kind => "kind",
        Attribute::Subject => "subject",
        Attribute::Time => "time",
        Attribute::EnqueuedTime => "enqueued-time",
        Attribute::WriteTime => "write-time",
        Attribute::Operation => "operation",
        Attribute::Version => "version",
        Attribute::Properties => "properties",
        Attribute::SystemProperties => "system-properties",
        Attribute::Body => "body",
    }
}

impl From<wit::Attribute> for Attribute {
    fn from(attribute: wit::Attribute) -> Self {
        match attribute {
            wit::Attribute::Id => Attribute::Id,
            wit::Attribute::Source => Attribute::Source,
            wit::Attribute::Kind => Attribute::Kind,
            wit::Attribute::Subject => Attribute::Subject,
            wit::Attribute::Time => Attribute::Time,
            wit::Attribute::EnqueuedTime => Attribute::EnqueuedTime,
            wit::Attribute::WriteTime => Attribute::WriteTime,
            wit::Attribute::Operation => Attribute::Operation,
            wit::Attribute::Version => Attribute::Version,
            wit::Attribute::Properties => Attribute::Properties,
            wit::Attribute::SystemProperties => Attribute::SystemProperties,
            wit::Attribute::Body => Attribute::Body,
        }
    }
}

impl From<wit::ColumnType> for ColumnType {
    fn from(column_type: wit::ColumnType) -> Self {
        match column_type {
            wit::ColumnType::Boolean => ColumnType::Boolean,
            wit::ColumnType::Int64 => ColumnType::Int64,
            wit::ColumnType::Float64 => ColumnType::Float64,
            wit::ColumnType::Timestamp => ColumnType::Timestamp,
            wit::ColumnType::Text => ColumnType::Text,
            wit::ColumnType::Json => ColumnType::Json,
            wit::ColumnType::Bytes => ColumnType::Bytes,
            wit::ColumnType::TextMap => ColumnType::TextMap,
        }
    }
}

impl From<wit::ColumnRequest> for ColumnRequest {
    fn from(request: wit::ColumnRequest) -> Self {
        let selector = match request.selector {
            wit::Selector::Attribute(attribute) => Selector::Attribute(attribute.into()),
            wit::Selector::Pointer(pointer) => Selector::Pointer(pointer),
            wit::Selector::Lookup(lookup) => Selector::Lookup { table: lookup.table, pointer: lookup.pointer },
        };
        ColumnRequest { selector, as_type: request.as_type.into() }
    }
}

#[cfg(test)]
mod tests;
