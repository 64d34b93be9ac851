//! From the text of a schema to a plan: every name resolved, every default tried.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{DecimalSchema, EnumSchema, InnerDecimalSchema, RecordSchema, UuidSchema};
use lakeport_plugin::{Error, Result};

use super::encode::check_default;
use super::node::{Enum, Field, Record, Unit, UuidForm};
use super::{Node, Plan};

/// Compiles the schema in `text`.
///
/// # Errors
/// Where it is no Avro schema, is not of a record, or has a default that does not fit its type.
pub fn compile(text: &str) -> Result<Plan> {
    let wrong = |problem: String| Error::InvalidConfig(format!("`schema` {problem}"));
    let schema = Schema::parse_str(text).map_err(|error| wrong(format!("is no Avro schema: {error}")))?;
    let mut compiler = Compiler::default();
    let root =
        compiler.node(&schema).map_err(|name| wrong(format!("names the type `{name}`, which it does not define")))?;
    let plan = Plan { nodes: compiler.nodes, root };
    if !matches!(plan.nodes[root], Node::Record(_)) {
        let found = plan.nodes[root].describe(&plan.nodes);
        return Err(wrong(format!("is {found}, expected a record: files are made of records")));
    }
    for node in &plan.nodes {
        let Node::Record(record) = node else { continue };
        for field in &record.fields {
            check_default(&plan, field).map_err(|misfit| {
                let (record, field) = (&record.name, &field.name);
                wrong(format!(
                    "has a default for field `{field}` of record `{record}` that does not fit: {}",
                    misfit.reason()
                ))
            })?;
        }
    }
    Ok(plan)
}

#[derive(Default)]
struct Compiler {
    nodes: Vec<Node>,
    /// Where the types with names are, by full name.
    names: HashMap<String, usize>,
}

impl Compiler {
    /// The place of a type; the error is a name that is not defined.
    fn node(&mut self, schema: &Schema) -> Result<usize, String> {
        if let Some(name) = schema.name() {
            let name = name.fullname(None);
            if let Some(&place) = self.names.get(&name) {
                return Ok(place);
            }
            if matches!(schema, Schema::Ref { .. }) {
                return Err(name);
            }
            // What refers to the type from within finds it here.
            self.names.insert(name, self.nodes.len());
            for alias in schema.aliases().into_iter().flatten() {
                self.names.insert(alias.fullname(schema.namespace()), self.nodes.len());
            }
        }
        let place = self.nodes.len();
        self.nodes.push(Node::Null);
        self.nodes[place] = self.built(schema)?;
        Ok(place)
    }

    fn built(&mut self, schema: &Schema) -> Result<Node, String> {
        let timestamp = |unit, local| Node::Timestamp { unit, local };
        Ok(match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int => Node::Int,
            Schema::Long => Node::Long,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::Bytes => Node::Bytes,
            Schema::String => Node::String,
            // A duration has no form in JSON: like every logical type that is not known, it is the type below.
            Schema::Fixed(fixed) | Schema::Duration(fixed) => Node::Fixed(fixed.size),
            Schema::Enum(symbols) => Node::Enum(enumeration(symbols)),
            Schema::Array(array) => Node::Array(self.node(&array.items)?),
            Schema::Map(map) => Node::Map(self.node(&map.types)?),
            Schema::Union(union) => {
                Node::Union(union.variants().iter().map(|branch| self.node(branch)).collect::<Result<_, _>>()?)
            }
            Schema::Record(record) => Node::Record(self.record(record)?),
            Schema::Decimal(DecimalSchema { precision, scale, inner }) => {
                let size = match inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
                };
                Node::Decimal { precision: *precision, scale: *scale, size }
            }
            Schema::BigDecimal => Node::BigDecimal,
            Schema::Uuid(UuidSchema::String) => Node::Uuid(UuidForm::Text),
            Schema::Uuid(UuidSchema::Bytes) => Node::Uuid(UuidForm::Bytes),
            Schema::Uuid(UuidSchema::Fixed(_)) => Node::Uuid(UuidForm::Fixed),
            Schema::Date => Node::Date,
            Schema::TimeMillis => Node::Time(Unit::Millis),
            Schema::TimeMicros => Node::Time(Unit::Micros),
            Schema::TimestampMillis => timestamp(Unit::Millis, false),
            Schema::TimestampMicros => timestamp(Unit::Micros, false),
            Schema::TimestampNanos => timestamp(Unit::Nanos, false),
            Schema::LocalTimestampMillis => timestamp(Unit::Millis, true),
            Schema::LocalTimestampMicros => timestamp(Unit::Micros, true),
            Schema::LocalTimestampNanos => timestamp(Unit::Nanos, true),
            Schema::Ref { name } => return Err(name.fullname(None)),
        })
    }

    fn record(&mut self, record: &RecordSchema) -> Result<Record, String> {
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let default = field.default.as_ref().map(ToString::to_string);
            fields.push(Field { name: field.name.clone(), node: self.node(&field.schema)?, default });
        }
        let places = fields.iter().enumerate().map(|(place, field)| (field.name.clone().into_bytes(), place)).collect();
        Ok(Record { name: record.name.fullname(None), fields, places })
    }
}

fn enumeration(schema: &EnumSchema) -> Enum {
    let symbols = schema.symbols.iter().enumerate().map(|(place, symbol)| (symbol.clone().into_bytes(), place));
    let default =
        schema.default.as_ref().and_then(|default| schema.symbols.iter().position(|symbol| symbol == default));
    Enum { name: schema.name.fullname(None), symbols: symbols.collect(), default }
}
