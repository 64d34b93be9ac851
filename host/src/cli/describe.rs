//! Parts of a plan in words, for `check` and `status`. Never with a secret: credentials are not looked at.

use crate::plan::{
    ExportPlan, Exports, Files, Flush, Granularity, Input, Location, PluginOrigin, PluginPlan, Timestamp,
};
use crate::telemetry::human;

/// A lake's place, as a URL or a path.
pub fn location(location: &Location) -> String {
    let at = |endpoint: &Option<String>| endpoint.as_ref().map_or(String::new(), |endpoint| format!(" at {endpoint}"));
    let below = |prefix: &str| if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    match location {
        Location::Local(path) => path.display().to_string(),
        Location::Memory(name) => format!("memory:{name}"),
        Location::Azure { account, container, prefix, endpoint, .. } => {
            format!("abfss://{container}@{account}.dfs.core.windows.net/{}{}", below(prefix), at(endpoint))
        }
        Location::S3 { bucket, prefix, endpoint, .. } => format!("s3://{bucket}/{}{}", below(prefix), at(endpoint)),
        Location::Gcs { bucket, prefix, endpoint, .. } => format!("gs://{bucket}/{}{}", below(prefix), at(endpoint)),
    }
}

/// What a source reads.
pub fn input(input: &Input) -> Vec<String> {
    match input {
        Input::Files(files) => files.clone(),
        Input::Stdin { spool: None } => vec!["standard input".to_owned()],
        Input::Stdin { spool: Some(folder) } => vec![format!("standard input, through {}", folder.display())],
    }
}

/// Which files an export makes: "growing up to 16MiB, by hour of event time".
pub fn files(export: &ExportPlan) -> String {
    if let Exports::Tables(plan) = &export.exports {
        let linked = plan.tables.values().filter(|table| table.linked).count();
        let [every, keep] = [plan.every, plan.keep].map(humantime::format_duration);
        return format!("{linked} linked of {} tables, a snapshot every {every}, kept for {keep}", plan.tables.len());
    }
    let files = match export.files {
        Files::Once => return "a file a partition and snapshot".to_owned(),
        Files::Rolling => "rolling".to_owned(),
        Files::Growing { roll_size } => format!("growing up to {}", human::size(roll_size)),
        Files::Sealed { lateness } => format!("sealed {} after their time", humantime::format_duration(lateness)),
    };
    let by = match export.granularity {
        Granularity::Minute => "minute",
        Granularity::Hour => "hour",
        Granularity::Day => "day",
    };
    let time = match export.timestamp {
        Timestamp::Event { or_enqueued: false } => "event time",
        Timestamp::Event { or_enqueued: true } => "event time, or enqueued time without one",
        Timestamp::Write => "write time",
    };
    format!("{files}, by {by} of {time}")
}

/// Where an export's files are, below the lake's root.
pub fn path(export: &ExportPlan) -> String {
    match &export.exports {
        Exports::Tables(plan) => format!("{}/", plan.root),
        _ => export.path.to_string(),
    }
}

/// When an export commits.
pub fn flush(flush: Flush) -> String {
    format!("every {} or {}", humantime::format_duration(flush.every), human::size(flush.bytes))
}

/// Where a plugin comes from.
pub fn origin(plugin: &PluginPlan) -> String {
    match &plugin.origin {
        PluginOrigin::BuiltIn => "built in".to_owned(),
        PluginOrigin::Path(path) => path.display().to_string(),
    }
}
