//! Record kinds `device` and `device-template`: what IoT Central exports, and where nothing of a document is lost.
//!
//! What the readers of such files count on are records with fixed members, and maps below them. Members of a document
//! that have no place there are in the map `other`, by their JSON pointer. A member that is null counts as one that is
//! missing.

use lakeport_plugin::prelude::*;

use crate::binary::{put_bytes, put_items, put_long};
use crate::json::{Kind, Members, Value, push_token};
use crate::misfit::Misfit;
use crate::number;

/// Any scalar. One branch for all numbers, since readers (avsc) leave such a union's values plain.
macro_rules! value {
    () => {
        r#"["null","boolean","double","string"]"#
    };
}

/// Scalars by name.
macro_rules! values {
    () => {
        concat!(r#"{"type":"map","values":"#, value!(), "}")
    };
}

/// The fields that every kind ends with.
macro_rules! rest {
    () => {
        concat!(
            r#"{"name":"deleted","type":"boolean","default":false},"#,
            r#"{"name":"other","type":"#,
            values!(),
            r#","default":{}}]}"#
        )
    };
}

const DEVICE: &str = concat!(
    r#"{"type":"record","name":"Device","namespace":"lakeport","fields":["#,
    r#"{"name":"id","type":"string"},{"name":"name","type":"string"},{"name":"simulated","type":"boolean"},"#,
    r#"{"name":"deviceTemplate","type":{"type":"record","name":"DeviceTemplateReference","fields":["#,
    r#"{"name":"id","type":"string"},{"name":"version","type":"string"}]}},"#,
    r#"{"name":"properties","type":{"type":"record","name":"DeviceProperties","fields":["#,
    r#"{"name":"cloud","type":"#,
    values!(),
    r#"},{"name":"device","type":"#,
    values!(),
    r#"}]}},{"name":"settings","type":{"type":"record","name":"DeviceSettings","fields":["#,
    r#"{"name":"device","type":"#,
    values!(),
    "}]}},",
    rest!(),
);

const DEVICE_TEMPLATE: &str = concat!(
    r#"{"type":"record","name":"DeviceTemplate","namespace":"lakeport","fields":["#,
    r#"{"name":"id","type":"string"},{"name":"name","type":"string"},{"name":"version","type":"string"},"#,
    r#"{"name":"measurements","type":{"type":"record","name":"TemplateMeasurements","fields":["#,
    r#"{"name":"telemetry","type":{"type":"map","values":{"type":"record","name":"Field","fields":["#,
    r#"{"name":"dataType","type":["null","string"],"default":null},"#,
    r#"{"name":"name","type":["null","string"],"default":null},"#,
    r#"{"name":"category","type":["null","string"],"default":null},"#,
    r#"{"name":"minValue","type":"#,
    value!(),
    r#","default":null},{"name":"maxValue","type":"#,
    value!(),
    r#","default":null},{"name":"initialValue","type":"#,
    value!(),
    r#","default":null}]}}},"#,
    r#"{"name":"states","type":{"type":"map","values":"Field"}},"#,
    r#"{"name":"events","type":{"type":"map","values":"Field"}}]}},"#,
    r#"{"name":"settings","type":{"type":"record","name":"TemplateSettings","fields":["#,
    r#"{"name":"device","type":{"type":"map","values":"Field"}}]}},"#,
    r#"{"name":"properties","type":{"type":"record","name":"TemplateProperties","fields":["#,
    r#"{"name":"cloud","type":{"type":"map","values":"Field"}},"#,
    r#"{"name":"device","type":{"type":"map","values":"Field"}}]}},"#,
    rest!(),
);

/// How a member is written; each is a part of the schemas above.
enum Shape {
    /// A string; the record's subject where it is missing.
    Id,
    /// A string; empty where it is missing.
    Text,
    /// A string or null.
    OptionalText,
    /// A boolean; false where it is missing.
    Flag,
    /// Any scalar, and other values as JSON text.
    Scalar,
    Record(&'static [Member]),
    /// A map of scalars.
    Scalars,
    /// A map of `Field`s.
    Fields,
}

type Member = (&'static str, Shape);

const DEVICE_MEMBERS: &[Member] = &[
    ("id", Shape::Id),
    ("name", Shape::Text),
    ("simulated", Shape::Flag),
    ("deviceTemplate", Shape::Record(&[("id", Shape::Text), ("version", Shape::Text)])),
    ("properties", Shape::Record(&[("cloud", Shape::Scalars), ("device", Shape::Scalars)])),
    ("settings", Shape::Record(&[("device", Shape::Scalars)])),
    ("deleted", Shape::Flag),
];

const TEMPLATE_MEMBERS: &[Member] = &[
    ("id", Shape::Id),
    ("name", Shape::Text),
    ("version", Shape::Text),
    (
        "measurements",
        Shape::Record(&[("telemetry", Shape::Fields), ("states", Shape::Fields), ("events", Shape::Fields)]),
    ),
    ("settings", Shape::Record(&[("device", Shape::Fields)])),
    ("properties", Shape::Record(&[("cloud", Shape::Fields), ("device", Shape::Fields)])),
    ("deleted", Shape::Flag),
];

const FIELD_MEMBERS: &[Member] = &[
    ("dataType", Shape::OptionalText),
    ("name", Shape::OptionalText),
    ("category", Shape::OptionalText),
    ("minValue", Shape::Scalar),
    ("maxValue", Shape::Scalar),
    ("initialValue", Shape::Scalar),
];

/// Which documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    Device,
    DeviceTemplate,
}

impl Document {
    /// The schema of the files.
    pub fn schema(self) -> &'static str {
        match self {
            Document::Device => DEVICE,
            Document::DeviceTemplate => DEVICE_TEMPLATE,
        }
    }

    /// What [`Document::write`] takes.
    pub fn columns() -> Columns {
        columns![json(Attribute::Body), text(Attribute::Subject)]
    }

    /// Adds the document in `body` to `out`.
    ///
    /// # Errors
    /// Where a member is of another type than its place.
    pub fn write(self, body: &[u8], subject: Option<&str>, out: &mut Vec<u8>) -> Result<(), Misfit> {
        let members = match self {
            Document::Device => DEVICE_MEMBERS,
            Document::DeviceTemplate => TEMPLATE_MEMBERS,
        };
        let body = Value::new(body);
        if body.kind() != Kind::Object {
            return Err(Misfit::new(body, "an object"));
        }
        let mut writer = Writer { subject, other: Vec::new() };
        writer.record(members, Some(body), Path::Document, out)?;
        put_items(out, |out| {
            for (pointer, value) in &writer.other {
                put_bytes(pointer.as_bytes(), out);
                put_scalar(Some(*value), out);
            }
            Ok(writer.other.len())
        })
    }
}

/// Where a value is; a pointer is built of it only where one is needed.
#[derive(Clone, Copy)]
enum Path<'p> {
    Document,
    In(&'p Path<'p>, &'p [u8]),
}

impl Path<'_> {
    fn pointer(self) -> String {
        match self {
            Path::Document => String::new(),
            Path::In(parent, token) => {
                let mut pointer = parent.pointer();
                push_token(&mut pointer, token);
                pointer
            }
        }
    }
}

/// Writes one document.
struct Writer<'a> {
    subject: Option<&'a str>,
    /// What had no place.
    other: Vec<(String, Value<'a>)>,
}

impl<'a> Writer<'a> {
    fn record(
        &mut self,
        members: &[Member],
        object: Option<Value<'a>>,
        path: Path,
        out: &mut Vec<u8>,
    ) -> Result<(), Misfit> {
        let found = object.map_or(Ok(Vec::new()), object_members)?;
        for (name, shape) in members {
            let name = name.as_bytes();
            let value = found.iter().find(|(found, _)| found[..] == *name).map(|(_, value)| *value);
            let value = value.filter(|value| value.kind() != Kind::Null);
            if value.is_none() && matches!((shape, self.subject), (Shape::Id, None)) {
                return Err(Misfit::missing(b"id", "a string, since the record has no subject"));
            }
            self.member(shape, value, Path::In(&path, name), out).map_err(|misfit| misfit.under(name))?;
        }
        for (name, value) in found {
            if !members.iter().any(|(known, _)| known.as_bytes() == &name[..]) {
                self.other.push((Path::In(&path, &name).pointer(), value));
            }
        }
        Ok(())
    }

    fn member(&mut self, shape: &Shape, value: Option<Value<'a>>, path: Path, out: &mut Vec<u8>) -> Result<(), Misfit> {
        match shape {
            Shape::Id => put_text(value, self.subject.unwrap_or_default(), out),
            Shape::Text => put_text(value, "", out),
            Shape::OptionalText => {
                put_long(i64::from(value.is_some()), out);
                value.map_or(Ok(()), |value| put_text(Some(value), "", out))
            }
            Shape::Flag => match value {
                Some(value) if value.kind() != Kind::Boolean => Err(Misfit::new(value, "boolean")),
                value => {
                    out.push(u8::from(value.is_some_and(Value::is_true)));
                    Ok(())
                }
            },
            Shape::Scalar => {
                put_scalar(value, out);
                Ok(())
            }
            Shape::Record(members) => self.record(members, value, path, out),
            Shape::Scalars => map(value, out, |_, value, out| {
                put_scalar(Some(value), out);
                Ok(())
            }),
            Shape::Fields => {
                map(value, out, |name, value, out| self.record(FIELD_MEMBERS, Some(value), Path::In(&path, name), out))
            }
        }
    }
}

fn map<'a>(
    object: Option<Value<'a>>,
    out: &mut Vec<u8>,
    mut put: impl FnMut(&[u8], Value<'a>, &mut Vec<u8>) -> Result<(), Misfit>,
) -> Result<(), Misfit> {
    let members = object.map_or(Ok(Vec::new()), object_members)?;
    put_items(out, |out| {
        for (name, value) in &members {
            put_bytes(name, out);
            put(name, *value, out).map_err(|misfit| misfit.under(name))?;
        }
        Ok(members.len())
    })
}

fn object_members(value: Value<'_>) -> Result<Members<'_>, Misfit> {
    match value.kind() {
        Kind::Object => value.last_members().map_err(Misfit::name),
        _ => Err(Misfit::new(value, "an object")),
    }
}

fn put_text(value: Option<Value>, missing: &str, out: &mut Vec<u8>) -> Result<(), Misfit> {
    match value {
        Some(value) => put_bytes(&value.text().ok_or_else(|| Misfit::new(value, "string"))?, out),
        None => put_bytes(missing.as_bytes(), out),
    }
    Ok(())
}

/// A value of the union; what its branches cannot hold exactly is text, as it was written.
fn put_scalar(value: Option<Value>, out: &mut Vec<u8>) {
    let Some(value) = value.filter(|value| value.kind() != Kind::Null) else {
        return put_long(0, out);
    };
    if value.kind() == Kind::Boolean {
        put_long(1, out);
        return out.push(u8::from(value.is_true()));
    }
    if let Some(number) =
        Some(value).filter(|value| value.kind() == Kind::Number).and_then(|value| number::exact_double(value.written()))
    {
        put_long(2, out);
        return out.extend_from_slice(&number.to_le_bytes());
    }
    put_long(3, out);
    put_bytes(&value.text().unwrap_or(value.written().into()), out);
}
