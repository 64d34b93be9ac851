//! `lakeport run`: exports what the sources hold.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Config;
use crate::config::suggest;
use crate::error::{Error, Result};
use crate::plan::{Input, Plan, SourcePlan};
use crate::telemetry::{ExportReport, LogFormat, Progress, summary, summary_json};

/// Export what the sources hold, then stop
///
/// Goes on where the last run ended. Ctrl-C commits what was read and stops.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// Keep on: export what is appended or added, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Show no progress and no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Run this export only; may be given several times
    #[arg(long = "export", value_name = "NAME")]
    pub exports: Vec<String>,
    /// Keep standard input in this folder until it is committed, so that a later run can go on
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub spool: Option<PathBuf>,
    /// How log lines are written to standard error; the environment variable LAKEPORT_LOG sets their level
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log: LogFormat,
    /// Stop an export after more dead letters than this, whatever the configuration says
    #[arg(long, value_name = "N")]
    pub max_dead_letters: Option<u64>,
}

impl Args {
    /// `plan` as these arguments narrow it.
    ///
    /// # Errors
    /// Of kind `Config`: an export that there is not; a spool without standard input.
    pub fn apply(&self, mut plan: Plan) -> Result<Plan> {
        plan = only(plan, &self.exports)?;
        if let Some(most) = self.max_dead_letters {
            plan.exports.iter_mut().for_each(|export| export.max_dead_letters = Some(most));
        }
        if let Some(folder) = &self.spool {
            let folder = std::path::absolute(folder)
                .map_err(|error| Error::config(format!("`--spool {}`: {error}", folder.display())))?;
            spool(&mut plan, &folder)?;
        }
        Ok(plan)
    }

    /// Whether progress is drawn.
    pub fn progress(&self) -> bool {
        Progress::wanted(self.quiet, self.json)
    }

    /// What is printed at the end.
    pub fn render(&self, reports: &[ExportReport]) -> String {
        match (self.json, self.quiet) {
            (true, _) => format!("{}\n", summary_json(reports)),
            (false, true) => String::new(),
            (false, false) => summary(reports),
        }
    }
}

/// `plan` with the exports of these names; all of them where there are no names.
///
/// # Errors
/// Of kind `Config`: a name that no export has.
pub fn only(mut plan: Plan, names: &[String]) -> Result<Plan> {
    for name in names {
        if !plan.exports.iter().any(|export| export.name == *name) {
            let known = plan.exports.iter().map(|export| export.name.as_str());
            return Err(Error::config(format!("there is no export `{name}`")).with_help(suggest(name, known)));
        }
    }
    if !names.is_empty() {
        plan.exports.retain(|export| names.contains(&export.name));
    }
    Ok(plan)
}

/// Sets the spool of every source that reads standard input. Exports that shared a source share it still.
fn spool(plan: &mut Plan, folder: &std::path::Path) -> Result<()> {
    let mut spooled: HashMap<String, Arc<SourcePlan>> = HashMap::new();
    for export in &mut plan.exports {
        if let Input::Stdin { .. } = export.source.input {
            let input = Input::Stdin { spool: Some(folder.to_owned()) };
            let with_spool = || Arc::new(SourcePlan { input, ..SourcePlan::clone(&export.source) });
            export.source = spooled.entry(export.source.name.clone()).or_insert_with(with_spool).clone();
        }
    }
    if spooled.is_empty() {
        let error = Error::config("`--spool` keeps standard input, and no export reads it");
        return Err(error.with_help("take it out, or set `stdin = true` in the source"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::tests::parse;

    const TWO: &str = "[sources.s]\nfiles = \"x\"\n[sources.i]\nstdin = true\n\
                       [exports.a]\nsource = \"s\"\n[exports.b]\nsource = \"i\"\n";

    fn args(line: &str) -> Args {
        let words = ["lakeport", "run"].into_iter().chain(line.split_whitespace());
        let Command::Run(args) = Cli::parse_from(words).command else { panic!() };
        args
    }

    #[test]
    fn arguments_narrow_the_plan() {
        let plan = args("--export b --spool /spool --max-dead-letters 3").apply(parse(TWO).unwrap()).unwrap();
        assert_eq!(plan.exports.len(), 1);
        let export = &plan.exports[0];
        assert_eq!((export.name.as_str(), export.max_dead_letters), ("b", Some(3)));
        assert_eq!(export.source.input, Input::Stdin { spool: Some("/spool".into()) });
        assert_eq!(args("").apply(parse(TWO).unwrap()).unwrap().exports.len(), 2);
    }

    #[test]
    fn arguments_that_fit_nothing_are_refused() {
        let error = args("--export bb").apply(parse(TWO).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "there is no export `bb`\nhelp: did you mean `b`? known: `a`, `b`");
        let error = args("--export a --spool x").apply(parse(TWO).unwrap()).unwrap_err();
        assert!(error.message.contains("no export reads it"), "{error}");
    }

    #[test]
    fn quiet_prints_nothing_and_json_one_line() {
        let reports = [ExportReport { export: "a".into(), ..ExportReport::default() }];
        assert_eq!(args("--quiet").render(&reports), "");
        assert_eq!(args("--json --quiet").render(&reports).lines().count(), 1);
        assert!(args("").render(&reports).starts_with("export"));
    }
}
