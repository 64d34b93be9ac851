//! `lakeport run`: exports what the sources hold.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Config, again, errors, written};
use lakeport::clock::Surroundings;
use lakeport::config::suggest;
use lakeport::error::{Error, Kind, Result};
use lakeport::layout::Period;
use lakeport::pipeline::{Options, WhenOwned};
use lakeport::plan::{ExportPlan, Exports, Input, Plan, SourcePlan};
use lakeport::session::{Session, path_of_period};
use lakeport::telemetry::{ExportReport, Live, LogFormat, Progress, init_logging, summary, summary_json};
use lakeport_engine::Logs;

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
    /// Write everything again: the next snapshot of this export of changes or tables holds everything; may be given several times
    #[arg(long, value_name = "EXPORT")]
    pub full: Vec<String>,
    /// Export everything of this export of events again, and replace what it wrote before; may be given several times
    #[arg(long, value_name = "EXPORT")]
    pub again: Vec<String>,
    /// With `--again`: begin only this day, hour or minute anew, in UTC: `2026-11-30`, `2026-11-30T14`
    #[arg(long, value_name = "PERIOD", requires = "again")]
    pub period: Option<Period>,
    /// Answer yes to what `--again` asks
    #[arg(long, requires = "again")]
    pub yes: bool,
    #[command(flatten)]
    pub owned: WhenOwnedArgs,
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

/// Options for exports that another process runs, and for commits dated in the future.
#[derive(Debug, clap::Args)]
pub struct WhenOwnedArgs {
    /// Take over an export that another process runs, without waiting; the other process ends with exit code 6
    #[arg(long, conflicts_with = "standby")]
    pub take_over: bool,
    /// Wait for an export that another process runs, and take it over when that process ends or stops responding
    #[arg(long)]
    pub standby: bool,
    /// Run although the last commit is dated later than this machine's clock; use when the clock is right and the commit's time is wrong
    #[arg(long)]
    pub trust_clock: bool,
}

impl WhenOwnedArgs {
    /// The answer to another process that is at work on an export.
    pub fn when_owned(&self) -> WhenOwned {
        match (self.take_over, self.standby) {
            (true, _) => WhenOwned::TakeOver,
            (false, true) => WhenOwned::StandBy,
            (false, false) => WhenOwned::Refuse,
        }
    }
}

/// Runs the exports; the summary goes to `out`, progress and logs to standard error.
///
/// # Errors
/// The error of the last export that stopped early; those of others are shown before.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    init_logging(args.log, std::env::var("LAKEPORT_LOG").ok().as_deref(), args.follow && !args.quiet)?;
    allow_open_files();
    let whole = args.config.load()?;
    let plan = args.apply(whole.clone())?;
    let surroundings = Surroundings::system();
    let logs = Logs::open(&whole, &plan.exports, &surroundings)?;
    let runtime = super::runtime()?;
    for export in plan.exports.iter().filter(|export| args.again.contains(&export.name)) {
        runtime.block_on(again::confirm(export, args.period, args.yes))?;
    }
    let live: Vec<_> = plan.exports.iter().map(|_| Arc::new(Live::default())).collect();
    let named = plan.exports.iter().map(|export| export.name.clone()).zip(live.iter().cloned());
    let progress = Progress::start(named.collect(), args.progress());
    let options = Options {
        follow: args.follow,
        full: args.full.clone(),
        again: args.again.clone(),
        period: args.period,
        when_owned: args.owned.when_owned(),
        trust_clock: args.owned.trust_clock,
        ..Options::new(super::lanes(), super::writer())
    };
    let session = Session::new(Arc::new(plan), super::sandbox()?, Arc::new(logs), options);
    session.pin(true)?;
    let reports = runtime.block_on(async {
        let (stopper, stop) = watch::channel(false);
        tokio::spawn(stop_on_signal(stopper));
        session.run(&live, stop).await
    });
    progress.finish();
    written(out.write_all(args.render(&reports).as_bytes()))?;
    outcome(reports, args.json)
}

/// The error of one of the exports; those of others are shown.
pub fn outcome(reports: Vec<ExportReport>, json: bool) -> Result<()> {
    // Being stopped is what happened least: another export's error decides the exit code.
    let mut errors: Vec<_> = reports.into_iter().filter_map(|report| Some((report.export, report.error?))).collect();
    errors.sort_by_key(|(_, error)| error.kind != Kind::Interrupted);
    let last = errors.pop().map(|(export, error)| error.context(format_args!("export `{export}`")));
    for (export, error) in errors {
        let error = error.context(format_args!("export `{export}`"));
        let shown = if json { errors::json(&error) } else { errors::text(&error, errors::colours()) };
        _ = std::io::stderr().write_all(shown.as_bytes());
    }
    last.map_or(Ok(()), Err)
}

/// Lets the process have as many files open as the system allows it: a snapshot stages one for each partition.
pub fn allow_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a value of their own type that outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            // Where it is refused, the limit stays as it was.
            let _ = libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// The first Ctrl-C or SIGTERM lets the run commit what it has read; the second ends the process.
pub async fn stop_on_signal(stop: watch::Sender<bool>) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => if interrupted.is_err() { return },
        _ = terminate.recv() => {}
    }
    // SAFETY: sets the default action of two signals; touches no memory.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL);
        libc::signal(libc::SIGTERM, libc::SIG_DFL);
    }
    let _ = stop.send(true);
}

impl Args {
    /// `plan` as these arguments narrow it.
    ///
    /// # Errors
    /// Of kind `Config`: an export that there is not, or whose documents are not kept; a spool without standard input.
    pub fn apply(&self, mut plan: Plan) -> Result<Plan> {
        plan = only(plan, &self.exports)?;
        for name in &self.full {
            let has_snapshots = |export: &&ExportPlan| export.exports != Exports::Events;
            if !plan.exports.iter().filter(has_snapshots).any(|export| export.name == *name) {
                let known = plan.exports.iter().filter(has_snapshots).map(|export| export.name.as_str());
                let message = format!("`--full {name}`: no export of changes or tables that runs has this name");
                return Err(Error::config(message).with_help(suggest(name, known)));
            }
        }
        for name in &self.again {
            let can_begin = |export: &&ExportPlan| {
                export.exports == Exports::Events && matches!(export.source.input, Input::Files(_))
            };
            if !plan.exports.iter().filter(can_begin).any(|export| export.name == *name) {
                let known = plan.exports.iter().filter(can_begin).map(|export| export.name.as_str());
                let message = format!("`--again {name}`: no export of events from files that runs has this name");
                return Err(Error::config(message).with_help(suggest(name, known)));
            }
        }
        if let Some(period) = self.period {
            for export in plan.exports.iter().filter(|export| self.again.contains(&export.name)) {
                path_of_period(export, period)?;
            }
        }
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
    use crate::testing::parse;
    use crate::{Cli, Command};

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
    fn a_period_that_the_files_do_not_tell_apart_is_refused() {
        const DAILY: &str = "[sources.s]\nfiles = \"x\"\n[exports.a]\nsource = \"s\"\ngranularity = \"day\"\n";
        let by_write = DAILY.to_owned() + "timestamp = \"write\"\n";
        let one_folder = "[sources.s]\nfiles = \"x\"\n[exports.a]\nsource = \"s\"\nfiles = \"rolling\"\npath = \"a/{YYYY}/{part}.{ext}\"\n";
        let refused = |configuration: &str, period: &str| {
            let line = format!("--again a --period {period}");
            args(&line).apply(parse(configuration).unwrap()).unwrap_err().to_string()
        };
        let text = refused(DAILY, "2026-11-30T14");
        assert!(text.contains("covers a whole day") && text.ends_with("help: `--period 2026-11-30`"), "{text}");
        let text = refused(&by_write, "2026-11-30");
        assert!(text.contains("`timestamp = \"write\"`") && text.contains("`lakeport run --again a`"), "{text}");
        let text = refused(one_folder, "2026-11-30T14");
        assert!(text.contains("has no `{MM}`"), "{text}");
        assert!(args("--again a --period 2026-11-30").apply(parse(DAILY).unwrap()).is_ok());
    }

    #[test]
    fn quiet_prints_nothing_and_json_one_line() {
        let reports = [ExportReport { export: "a".into(), ..ExportReport::default() }];
        assert_eq!(args("--quiet").render(&reports), "");
        assert_eq!(args("--json --quiet").render(&reports).lines().count(), 1);
        assert!(args("").render(&reports).starts_with("export"));
    }
}
