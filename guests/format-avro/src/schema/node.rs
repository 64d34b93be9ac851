//! What a schema is made of, which JSON values each type takes, and how each is called.

use std::collections::HashMap;

use crate::json::Kind;

/// A type. Types that it is made of are places in the plan.
#[derive(Debug)]
pub enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Enum),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Record),
    /// On bytes, or on so many fixed ones.
    Decimal {
        precision: usize,
        scale: usize,
        size: Option<usize>,
    },
    BigDecimal,
    Uuid(UuidForm),
    Date,
    Time(Unit),
    Timestamp {
        unit: Unit,
        local: bool,
    },
}

#[derive(Debug)]
pub struct Enum {
    pub name: String,
    pub symbols: HashMap<Vec<u8>, usize>,
    /// What stands for unknown symbols.
    pub default: Option<usize>,
}

#[derive(Debug)]
pub struct Record {
    pub name: String,
    pub fields: Vec<Field>,
    pub places: HashMap<Vec<u8>, usize>,
}

#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub node: usize,
    /// JSON, for where it is missing.
    pub default: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UuidForm {
    Text,
    Bytes,
    Fixed,
}

/// What a number of a logical type counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    /// A second is `10^digits`.
    pub fn digits(self) -> u32 {
        match self {
            Unit::Millis => 3,
            Unit::Micros => 6,
            Unit::Nanos => 9,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Millis => "millis",
            Unit::Micros => "micros",
            Unit::Nanos => "nanos",
        }
    }
}

impl Node {
    /// Whether a value of this kind can be one of the type; which one is not looked at.
    pub fn takes(&self, kind: Kind) -> bool {
        match self {
            Node::Null => kind == Kind::Null,
            Node::Boolean => kind == Kind::Boolean,
            Node::Int | Node::Long | Node::Float | Node::Double => kind == Kind::Number,
            Node::Bytes | Node::String | Node::Fixed(_) | Node::Enum(_) | Node::Uuid(_) => kind == Kind::Text,
            Node::Decimal { .. } | Node::BigDecimal | Node::Date | Node::Time(_) | Node::Timestamp { .. } => {
                matches!(kind, Kind::Number | Kind::Text)
            }
            Node::Array(_) => kind == Kind::Array,
            Node::Map(_) | Node::Record(_) => kind == Kind::Object,
            // A union is not a branch of a union.
            Node::Union(_) => true,
        }
    }

    /// What a rejection calls the type.
    pub fn describe(&self, nodes: &[Node]) -> String {
        match self {
            Node::Null => "null".into(),
            Node::Boolean => "boolean".into(),
            Node::Int => "int".into(),
            Node::Long => "long".into(),
            Node::Float => "float".into(),
            Node::Double => "double".into(),
            Node::Bytes => "bytes (text)".into(),
            Node::String => "string".into(),
            Node::Fixed(size) => format!("fixed (text of {size} bytes)"),
            Node::Enum(symbols) => format!("a symbol of enum {}", symbols.name),
            Node::Array(_) => "array".into(),
            Node::Map(_) => "map (an object)".into(),
            Node::Union(branches) => {
                let names: Vec<String> = branches.iter().map(|&branch| nodes[branch].describe(nodes)).collect();
                format!("one of: {}", names.join(", "))
            }
            Node::Record(record) => format!("record {} (an object)", record.name),
            Node::Decimal { precision, scale, size } => {
                let size = size.map_or(String::new(), |size| format!(", in {size} bytes"));
                format!("decimal (a number of at most {precision} digits, {scale} behind the point{size})")
            }
            Node::BigDecimal => "big-decimal (a number of at most 1000 digits, with a scale of 32 bits)".into(),
            Node::Uuid(_) => "uuid".into(),
            Node::Date => "date (`YYYY-MM-DD` or days since 1970)".into(),
            Node::Time(unit) => format!("time-{0} (`HH:MM:SS` or {0} since midnight)", unit.name()),
            Node::Timestamp { unit, local: false } => {
                format!("timestamp-{0} (RFC 3339 or {0} since 1970)", unit.name())
            }
            Node::Timestamp { unit, local: true } => {
                format!("local-timestamp-{0} (a date and time or {0} since 1970)", unit.name())
            }
        }
    }
}
