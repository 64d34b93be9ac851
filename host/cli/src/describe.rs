//! Parts of a plan in words, for `check` and `status`. Never with a secret: credentials are not looked at.

use lakeport::plan::{
    ExportPlan, Exports, Files, Flush, Granularity, Input, Location, PluginOrigin, PluginPlan, Timestamp,
};
use lakeport::telemetry::human;

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
        Input::Http => vec!["HTTP requests".to_owned()],
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

/// More commits in a period than this make growing files expensive on a store.
const MANY: u128 = 120;

/// Returns advice on a costly setting: a growing file on a store is sent whole with each commit.
pub fn advice(export: &ExportPlan) -> Option<String> {
    let Files::Growing { roll_size } = export.files else { return None };
    if matches!(export.lake.location, Location::Local(_) | Location::Memory(_)) {
        return None;
    }
    let period: u128 = match export.granularity {
        Granularity::Minute => 60_000,
        Granularity::Hour => 3_600_000,
        Granularity::Day => 86_400_000,
    };
    let commits = period / export.flush.every.as_millis().max(1);
    (commits > MANY).then(|| {
        format!(
            "each commit sends a growing file whole: with {commits} commits in its time, each byte up to {} times, until it has {}; \
             `files = \"rolling\"` sends each byte once, a longer `flush.every` fewer times",
            commits / 2,
            human::size(roll_size)
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::parse;

    #[test]
    fn growing_files_on_a_store_with_many_commits_are_told_of() {
        let advice = |url: &str, lines: &str| {
            let lake = format!("[lakes.main]\nurl = \"{url}\"\n");
            let key = if url.starts_with("./") { "" } else { "account-key = \"env:LAKE_KEY\"\n" };
            let export = format!("[sources.s]\nfiles = \"x\"\n[exports.e]\nsource = \"s\"\n{lines}\n");
            advice(&parse(&format!("{lake}{key}{export}")).unwrap().exports[0])
        };
        let azure = "abfss://exports@contoso.dfs.core.windows.net/";
        let told = advice(azure, "flush = { every = \"1s\" }").unwrap();
        assert!(
            told.contains("3600 commits")
                && told.contains("up to 1800 times")
                && told.contains("`files = \"rolling\"`")
        );
        assert_eq!(advice(azure, ""), None);
        assert_eq!(advice(azure, "files = \"rolling\"\nflush = { every = \"1s\" }"), None);
        assert_eq!(advice("./lake", "flush = { every = \"1s\" }"), None);
    }
}
