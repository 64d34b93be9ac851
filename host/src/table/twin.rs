//! Device twins of an IoT hub as device documents.
//!
//! | twin | device document |
//! |---|---|
//! | `tags` | `properties.cloud` |
//! | `properties.reported` | `properties.device` |
//! | `properties.desired` | `settings.device` |
//!
//! Members of these sections whose names start with `$` are the hub's own and are left out; what else a twin has is not taken over.
//! A twin becomes a merge patch of the device document when it is checked, so that the rest of the table need not know of twins.
//! <https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-device-twins>

use super::patch::{Member, Patcher};

/// Removes the sections that a whole twin replaces.
pub const CLEAR: &[u8] = br#"{"properties":{"cloud":null,"device":null},"settings":{"device":null}}"#;

/// The document of a device of which nothing but its ID is known.
pub fn new_device(subject: &str) -> Vec<u8> {
    let id = serde_json::Value::from(subject);
    let template = r#"{"id":"","version":""}"#;
    let sections = r#""properties":{"cloud":{},"device":{}},"settings":{"device":{}}"#;
    format!(r#"{{"id":{id},"name":{id},"simulated":false,"deviceTemplate":{template},{sections}}}"#).into_bytes()
}

/// The merge patch of the device document for `twin`, a valid JSON object. A `whole` one has all three sections; one that it leaves
/// out is empty.
///
/// # Errors
///
/// The reason for a dead letter.
pub fn map(twin: &[u8], whole: bool) -> Result<Vec<u8>, String> {
    let mut patcher = Patcher::default();
    let members = read(&mut patcher, twin, "")?;
    if whole && ["tags", "properties"].iter().all(|name| last(&members, name).is_none()) {
        return Err("the body has neither `tags` nor `properties`, expected a device twin; leave other messages out \
                    with the filter `select`"
            .into());
    }
    let properties = match last(&members, "properties") {
        Some(properties) => read(&mut patcher, properties, "properties")?,
        None => Vec::new(),
    };
    let mut section = |name: &str, value: Option<&[u8]>| match value {
        None => Ok(whole.then(|| b"{}".to_vec())),
        Some(b"null") => Ok(Some(if whole { b"{}" } else { &b"null"[..] }.to_vec())),
        Some(value) => read(&mut patcher, value, name).map(|members| Some(write(&members))),
    };
    let cloud = section("tags", last(&members, "tags"))?;
    let device = section("properties.reported", last(&properties, "reported"))?;
    let settings = section("properties.desired", last(&properties, "desired"))?;

    let mut sections = Vec::new();
    if cloud.is_some() || device.is_some() {
        sections.push(("properties", object(&[("cloud", cloud), ("device", device)])));
    }
    if settings.is_some() {
        sections.push(("settings", object(&[("device", settings)])));
    }
    let sections: Vec<_> = sections.into_iter().map(|(name, value)| (name, Some(value))).collect();
    Ok(object(&sections))
}

/// The members of what stands at `name` in the twin; of `null`, none.
fn read<'a>(patcher: &mut Patcher, value: &'a [u8], name: &str) -> Result<Vec<Member<'a>>, String> {
    match value.trim_ascii().first() {
        Some(b'{') => patcher.members(value).map_err(|_| format!("`{name}` of the twin is not valid JSON")),
        Some(b'n') => Ok(Vec::new()),
        _ => Err(format!("`{name}` of the twin is `{}`, expected an object", clip(value))),
    }
}

/// The value of the last member `name`.
fn last<'a>(members: &[Member<'a>], name: &str) -> Option<&'a [u8]> {
    members.iter().rev().find(|member| member.name == name.as_bytes()).map(|member| member.value)
}

/// An object of the members that are not the hub's own.
fn write(members: &[Member<'_>]) -> Vec<u8> {
    let own = members.iter().filter(|member| !member.name.starts_with(b"$")).map(|member| member.text);
    [b"{", own.collect::<Vec<_>>().join(&b',').as_slice(), b"}"].concat()
}

fn object(members: &[(&str, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (name, value) in members.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        out.extend_from_slice(value);
    }
    out.push(b'}');
    out
}

/// The beginning of a value, for a message.
fn clip(value: &[u8]) -> String {
    String::from_utf8_lossy(value).chars().take(40).collect()
}
