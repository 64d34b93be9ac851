//! Sources: what is read, and what records come in.

use std::path::PathBuf;
use std::sync::Arc;

use super::LakePlan;
use crate::record::Attribute;

/// Where records come from.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    pub name: String,
    pub input: Input,
    pub mapping: Mapping,
    /// Events of a partition that were never delivered are passed over, with a warning.
    pub accepts_gaps: bool,
    /// So many partitions divide what comes in no order: messages, and objects.
    pub partitions: u32,
    /// Where the objects are that are announced to the source.
    pub lake: Option<Arc<LakePlan>>,
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Files, folders (every file below) and globs, absolute, in the order of the configuration.
    Files(Vec<String>),
    /// Standard input. `spool`: the folder that keeps what was read until it is committed.
    Stdin { spool: Option<PathBuf> },
    /// Requests to the server of `lakeport serve`, and what starts functions.
    Http,
}

/// What records come in, and where their attributes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub envelope: Envelope,
    /// What the record is; without an envelope, a record without it is a dead letter.
    pub kind: Place,
    /// When it happened.
    pub time: Place,
    /// What `time` and `enqueued_time` are written in where they are in the body.
    pub time_unit: TimeUnit,
    /// Of OData's rows: they have all their columns, not only those that changed.
    pub whole_rows: bool,
    pub subject: Place,
    pub id: Place,
    /// Where the record came from; the source's name where it is [`Place::Nowhere`].
    pub source: Place,
    pub enqueued_time: Place,
    pub operation: Place,
    pub version: Place,
    pub properties: Place,
    pub system_properties: Place,
}

/// What a record comes in. `docs/sources.md` says what each of them gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// None: a line is the body.
    Plain,
    /// Messages as IoT Hub's routing writes them as JSON.
    IotHub,
    /// CloudEvents 1.0, structured JSON.
    CloudEvents,
    /// Event Grid's own schema.
    EventGrid,
    /// A change of one thing: the operation, the key, the document.
    Change,
    /// Avro object container files.
    Avro,
    /// Debezium's change events.
    Debezium,
    /// PostgreSQL's changes as wal2json, version 2, writes them.
    Wal2Json,
    /// Pages of an OData delta feed.
    ODataDelta,
    /// Dataverse's remote execution contexts.
    Dataverse,
}

impl Envelope {
    /// Every envelope with its name in the configuration.
    pub const ALL: [(&str, Envelope); 10] = [
        ("plain", Envelope::Plain),
        ("iot-hub", Envelope::IotHub),
        ("cloudevents", Envelope::CloudEvents),
        ("event-grid", Envelope::EventGrid),
        ("change", Envelope::Change),
        ("avro", Envelope::Avro),
        ("debezium", Envelope::Debezium),
        ("wal2json", Envelope::Wal2Json),
        ("odata-delta", Envelope::ODataDelta),
        ("dataverse", Envelope::Dataverse),
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        Envelope::ALL.iter().find(|(_, known)| *known == self).expect("`ALL` has every envelope").0
    }

    /// Whether some records in it have the attribute.
    fn may_give(self, attribute: Attribute) -> bool {
        use Attribute::{EnqueuedTime, Id, Properties};
        match self {
            Envelope::Plain => false,
            Envelope::Change | Envelope::Debezium | Envelope::Wal2Json | Envelope::ODataDelta | Envelope::Dataverse => {
                !matches!(attribute, Id | EnqueuedTime | Properties)
            }
            Envelope::IotHub | Envelope::CloudEvents | Envelope::EventGrid | Envelope::Avro => true,
        }
    }
}

/// Where an attribute is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Where the envelope has it.
    Envelope,
    /// In the line of the record, envelope included: an RFC 6901 pointer.
    Within(String),
    /// In the body: an RFC 6901 pointer.
    Body(String),
    /// Records have no such attribute.
    Nowhere,
}

impl Mapping {
    /// The mapping of product signals, which come in no envelope.
    pub fn plain() -> Mapping {
        let body = |pointer: &str| Place::Body(pointer.to_owned());
        Mapping {
            envelope: Envelope::Plain,
            kind: body("/name"),
            time: body("/signalTime"),
            time_unit: TimeUnit::Rfc3339,
            whole_rows: false,
            subject: body("/deviceId"),
            id: Place::Nowhere,
            source: Place::Nowhere,
            enqueued_time: body("/serverTime"),
            operation: Place::Nowhere,
            version: Place::Nowhere,
            properties: Place::Nowhere,
            system_properties: Place::Nowhere,
        }
    }

    /// The mapping of change records, whose envelope says everything.
    pub fn of_changes() -> Mapping {
        Mapping::all(Envelope::Change, &Place::Envelope)
    }

    /// A mapping with every attribute in the same kind of place.
    pub fn all(envelope: Envelope, place: &Place) -> Mapping {
        let place = || place.clone();
        Mapping {
            envelope,
            kind: place(),
            time: place(),
            time_unit: TimeUnit::Rfc3339,
            whole_rows: false,
            subject: place(),
            id: place(),
            source: place(),
            enqueued_time: place(),
            operation: place(),
            version: place(),
            properties: place(),
            system_properties: place(),
        }
    }

    /// Where the attribute is; the body and the write time are in no place that could be chosen.
    pub fn place(&self, attribute: Attribute) -> &Place {
        match attribute {
            Attribute::Id => &self.id,
            Attribute::Source => &self.source,
            Attribute::Kind => &self.kind,
            Attribute::Subject => &self.subject,
            Attribute::Time => &self.time,
            Attribute::EnqueuedTime => &self.enqueued_time,
            Attribute::Operation => &self.operation,
            Attribute::Version => &self.version,
            Attribute::Properties => &self.properties,
            Attribute::SystemProperties => &self.system_properties,
            Attribute::WriteTime | Attribute::Body => &Place::Nowhere,
        }
    }

    /// Whether records may have the attribute.
    pub fn may_have(&self, attribute: Attribute) -> bool {
        match self.place(attribute) {
            Place::Body(_) | Place::Within(_) => true,
            Place::Envelope => self.envelope.may_give(attribute),
            Place::Nowhere => false,
        }
    }
}

/// What a record's time is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// RFC 3339 text.
    Rfc3339,
    /// Seconds since 1970-01-01T00:00:00Z, with or without a fraction; a number or text.
    EpochSeconds,
    /// Milliseconds since 1970-01-01T00:00:00Z; a number or text.
    EpochMilliseconds,
}

impl TimeUnit {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Rfc3339 => "rfc3339",
            TimeUnit::EpochSeconds => "epoch-seconds",
            TimeUnit::EpochMilliseconds => "epoch-milliseconds",
        }
    }
}
