//! Avro files read with Apache's own crate.

use apache_avro::Reader;
use apache_avro::types::Value;

/// The records of a container file, which is whole.
pub fn records(bytes: &[u8]) -> Vec<Value> {
    let reader = Reader::new(bytes).expect("the file has a header");
    reader.map(|record| record.expect("the file is whole")).collect()
}

/// A member of a record, out of its union where it is in one.
pub fn member<'a>(record: &'a Value, name: &str) -> &'a Value {
    let Value::Record(members) = record else { panic!("{record:?} is not a record") };
    let (_, value) =
        members.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no `{name}`: {record:?}"));
    match value {
        Value::Union(_, value) => value,
        value => value,
    }
}

/// The text of a member.
pub fn text<'a>(record: &'a Value, name: &str) -> &'a str {
    let Value::String(text) = member(record, name) else { panic!("`{name}` of {record:?} is not text") };
    text
}

/// The bodies of a file of messages.
pub fn bodies(bytes: &[u8]) -> Vec<Vec<u8>> {
    let body = |record: &Value| match member(record, "Body") {
        Value::Bytes(body) => body.clone(),
        other => panic!("{other:?} is not bytes"),
    };
    records(bytes).iter().map(body).collect()
}
