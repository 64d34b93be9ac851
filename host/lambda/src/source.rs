//! Which source of the configuration takes what an invocation brings.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeport::config::suggest;
use lakeport::error::{Error, Result};
use lakeport::plan::{Input, Plan, SourcePlan};

/// The setting that names the source of everything that the function is invoked with.
const SETTING: &str = "LAKEPORT_SOURCE";

/// The sources that take what is sent to the function.
pub struct Sources {
    by_name: BTreeMap<String, Arc<SourcePlan>>,
    /// The one that takes everything, where the setting names one.
    only: Option<Arc<SourcePlan>>,
}

impl Sources {
    /// The sources of `plan`; `only` is what the setting holds.
    ///
    /// # Errors
    /// Of kind `Config`: the setting names no source that takes what is sent to it.
    pub fn new(plan: &Plan, only: Option<String>) -> Result<Sources> {
        let sources = plan.exports.iter().map(|export| &export.source).filter(|source| source.input == Input::Http);
        let by_name = sources.map(|source| (source.name.clone(), source.clone())).collect();
        let sources = Sources { by_name, only: None };
        let Some(name) = only else { return Ok(sources) };
        match sources.by_name.get(&name) {
            Some(only) => Ok(Sources { only: Some(only.clone()), ..sources }),
            None => {
                let message =
                    format!("{SETTING} is `{name}`, and no export reads a source of this name with `http = true`");
                Err(Error::config(message).with_help(sources.known(&name)))
            }
        }
    }

    /// The source of what comes from `resource`: the one that the setting names, else the one that is named like the stream, queue or
    /// bucket.
    ///
    /// # Errors
    /// Of kind `Config`: there is none.
    pub fn of(&self, resource: &Resource) -> Result<&SourcePlan> {
        let source = self.only.as_ref().or_else(|| self.by_name.get(resource.name));
        source.map(|source| &**source).ok_or_else(|| {
            let Resource { name, arn } = resource;
            let message = format!("`{arn}`: no export reads a source `{name}` with `http = true`");
            let known = self.known(name);
            Error::config(message)
                .with_help(format!("name the source so, or set {SETTING} to the function's source; {known}"))
        })
    }

    fn known(&self, name: &str) -> String {
        match self.by_name.is_empty() {
            true => "no source has `http = true`".to_owned(),
            false => suggest(name, self.by_name.keys().map(String::as_str)),
        }
    }
}

/// What events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The stream's, queue's or bucket's own name.
    pub name: &'a str,
    /// Its name for the whole world. A consumer of a stream goes by the stream's.
    pub arn: &'a str,
}

impl<'a> Resource<'a> {
    /// What an ARN names.
    ///
    /// # Errors
    /// Of kind `Source`: it is no ARN.
    pub fn parse(arn: &'a str) -> Result<Resource<'a>> {
        let invalid = || Error::source(format!("`{}` is not the ARN of a stream, a queue or a bucket", shown(arn)));
        let resource = arn.strip_prefix("arn:").and_then(|rest| rest.splitn(5, ':').nth(4)).ok_or_else(invalid)?;
        let name = match resource.split_once('/') {
            // `stream/NAME`, and `stream/NAME/consumer/NAME:TIME`.
            Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
            None => resource,
        };
        // It is a part of the ARN: what follows it goes.
        let end = name.as_ptr() as usize - arn.as_ptr() as usize + name.len();
        if name.is_empty() { Err(invalid()) } else { Ok(Resource { name, arn: &arn[..end] }) }
    }
}

/// The beginning of what somebody sent, for people.
pub fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(names: &[&str], only: Option<&str>) -> Result<Sources> {
        let of_name = |name: &&str| {
            format!("[sources.{name}]\nhttp = true\n[exports.{name}]\nsource = \"{name}\"\nlake = \"l\"\n")
        };
        let text: String = names.iter().map(of_name).collect::<String>() + "[lakes.l]\nurl = \"./lake\"\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lakeport.toml");
        std::fs::write(&path, text).unwrap();
        Sources::new(&lakeport::config::load(&path, &|_| None).unwrap(), only.map(str::to_owned))
    }

    fn name(arn: &str) -> (&str, &str) {
        let resource = Resource::parse(arn).unwrap();
        (resource.name, resource.arn)
    }

    #[test]
    fn streams_queues_and_buckets_have_names() {
        let stream = "arn:aws:kinesis:eu-central-1:123456789012:stream/telemetry";
        assert_eq!(name(stream), ("telemetry", stream));
        // Whoever reads the stream through a consumer reads the same stream.
        assert_eq!(name(&format!("{stream}/consumer/fast:1699999999")), ("telemetry", stream));
        assert_eq!(name("arn:aws:sqs:eu-central-1:123456789012:orders.fifo").0, "orders.fifo");
        assert_eq!(name("arn:aws-cn:s3:::raw.data").0, "raw.data");
        for wrong in ["", "arn:aws:sqs", "arn:aws:kinesis:r:1:stream/", "orders", "arn:aws:s3:::"] {
            assert!(Resource::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_source_is_named_like_the_resource_or_by_the_setting() {
        let arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/telemetry";
        let resource = Resource::parse(arn).unwrap();
        let name = |names: &[&str], only| sources(names, only).unwrap().of(&resource).map(|source| source.name.clone());
        assert_eq!(name(&["telemetry", "orders"], None).unwrap(), "telemetry");
        assert_eq!(name(&["orders"], Some("orders")).unwrap(), "orders");
        let error = name(&["telemetri", "orders"], None).unwrap_err().to_string();
        assert!(
            error.contains(arn) && error.contains("LAKEPORT_SOURCE") && error.contains("did you mean `telemetri`?"),
            "{error}"
        );
        let error = sources(&["orders"], Some("order")).err().unwrap().to_string();
        assert!(error.contains("LAKEPORT_SOURCE is `order`") && error.contains("did you mean `orders`?"), "{error}");
    }
}
