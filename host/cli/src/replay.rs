//! `lakeport replay`: dead letters go through the configuration once more.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::dead_letters::time;
use super::run::{WhenOwnedArgs, allow_open_files, only, outcome, stop_on_signal};
use super::{Config, written};
use lakeport::commit::letters::Selection;
use lakeport::error::Result;
use lakeport::pipeline::{Options, Replay, Replayed};
use lakeport::plan::Plan;
use lakeport::session::Session;
use lakeport::source::Local;
use lakeport::telemetry::human::{bytes, count, printable};
use lakeport::telemetry::{Align, ExportReport, Live, LogFormat, Progress, Table, init_logging, summary_json};

/// Export dead letters again, with the configuration and the plugins as they are now
///
/// What succeeds is exported and no dead letter any more; what is refused again stays, with its new reason. Each record is exported
/// once, however often this is run or killed.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// Those of this export only; may be given several times
    #[arg(long = "export", value_name = "NAME")]
    pub exports: Vec<String>,
    /// Those only whose reason holds this text
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Those only that were refused since this time: RFC 3339, or so long ago as `2h`
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<DateTime<Utc>>,
    /// Those only that were refused before this time: RFC 3339, or so long ago as `2h`
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<DateTime<Utc>>,
    /// Write nothing: only show what would be exported, and what would be refused again and why
    #[arg(long)]
    pub dry_run: bool,
    /// Show no progress and no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub owned: WhenOwnedArgs,
    /// How log lines are written to standard error; the environment variable LAKEPORT_LOG sets their level
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log: LogFormat,
}

/// Replays the dead letters of the exports; the summary goes to `out`.
///
/// # Errors
/// The error of the last export that stopped early; those of others are shown before.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    init_logging(args.log, std::env::var("LAKEPORT_LOG").ok().as_deref(), false)?;
    allow_open_files();
    let plan = only(args.config.load()?, &args.exports)?;
    let live: Vec<_> = plan.exports.iter().map(|_| Arc::new(Live::default())).collect();
    let named = plan.exports.iter().map(|export| export.name.clone()).zip(live.iter().cloned());
    let progress = Progress::start(named.collect(), Progress::wanted(args.quiet, args.json));
    let session = args.session(plan)?;
    session.pin(!args.dry_run)?;
    let reports = super::runtime()?.block_on(async {
        let (stopper, stop) = watch::channel(false);
        tokio::spawn(stop_on_signal(stopper));
        let mut reports = Vec::new();
        for (export, live) in session.plan.exports.iter().zip(&live) {
            let replay = Replay { selection: args.selection(), dry_run: args.dry_run };
            let replayed = session.clone().replay(Arc::new(export.clone()), replay, live.clone(), stop.clone());
            reports.push(replayed.await);
        }
        reports
    });
    progress.finish();
    written(out.write_all(args.render(&reports).as_bytes()))?;
    outcome(reports, args.json)
}

impl Args {
    fn session(&self, plan: Plan) -> Result<Session> {
        let options = Options {
            when_owned: self.owned.when_owned(),
            trust_clock: self.owned.trust_clock,
            ..Options::new(super::lanes(), super::writer())
        };
        Ok(Session::new(Arc::new(plan), super::sandbox()?, Arc::new(Local), options))
    }

    fn selection(&self) -> Selection {
        Selection { reason: self.reason.clone(), since: self.since, until: self.until }
    }

    fn render(&self, reports: &[ExportReport]) -> String {
        match (self.json, self.quiet) {
            (true, _) => {
                let mut summary = summary_json(reports);
                summary["dry-run"] = self.dry_run.into();
                format!("{summary}\n")
            }
            (false, true) => String::new(),
            (false, false) => text(reports, self.dry_run),
        }
    }
}

/// What became of the letters, for people.
fn text(reports: &[ExportReport], dry_run: bool) -> String {
    let mut exports = Table::new([
        ("export", Align::Left),
        (if dry_run { "would succeed" } else { "replayed" }, Align::Right),
        (if dry_run { "would be refused" } else { "refused again" }, Align::Right),
        ("impossible", Align::Right),
        ("written", Align::Right),
    ]);
    let mut reasons = Table::new([("export", Align::Left), ("letters", Align::Right), ("reason", Align::Left)]);
    let mut notes = String::new();
    for report in reports {
        let Replayed { replayed, refused, impossible, reasons: again, impossible_reasons } =
            report.replay.clone().unwrap_or_default();
        exports.row([
            report.export.clone(),
            count(replayed),
            count(refused),
            count(impossible),
            format!("{} ({})", count(report.records_written), bytes(report.bytes_written)),
        ]);
        let shown =
            again.into_iter().chain(impossible_reasons.into_iter().map(|(why, n)| (format!("impossible: {why}"), n)));
        for (reason, letters) in shown {
            reasons.row([report.export.clone(), count(letters), printable(&reason)]);
        }
        for warning in &report.warnings {
            writeln!(notes, "warning: {}: {}", report.export, printable(warning)).expect("a String takes everything");
        }
    }
    let mut text = exports.to_string();
    if !reasons.is_empty() {
        write!(text, "\n{reasons}").expect("a String takes everything");
    }
    if !notes.is_empty() {
        write!(text, "\n{notes}").expect("a String takes everything");
    }
    text
}
