//! `lakeport dead-letters`: the records that were refused, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::run::only;
use super::{Config, written};
use lakeport::clock::Surroundings;
use lakeport::commit::letters::{self, Letter, Selection};
use lakeport::commit::{partition_folder, read_last, read_partitions};
use lakeport::error::{Error, Result};
use lakeport::lake::{Lake, Meta};
use lakeport::record::DeadLetter;
use lakeport::telemetry::human::{count, printable};
use lakeport::telemetry::{Align, Table};

/// Show the records that were refused, and why
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// Those of this export only; may be given several times
    #[arg(long = "export", value_name = "NAME")]
    pub exports: Vec<String>,
    /// Print a JSON object for each, on a line of its own
    #[arg(long)]
    pub json: bool,
    /// Print nothing but the records as they came, a line each: mend them and export them again
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// Those only whose reason holds this text
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Those only that were refused since this time: RFC 3339, or so long ago as `2h`
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<DateTime<Utc>>,
    /// Those only that were refused before this time: RFC 3339, or so long ago as `2h`
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<DateTime<Utc>>,
    /// Those that `lakeport replay` has exported, instead of those that are left
    #[arg(long)]
    pub replayed: bool,
    /// Count the records by reason, and show none of them
    #[arg(long, conflicts_with = "raw")]
    pub by_reason: bool,
    /// Write to this file, which must not be there yet, instead of standard output
    #[arg(long, short, visible_alias = "export-to", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// A point in time, or how long ago it was.
pub fn time(text: &str) -> std::result::Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let ago = humantime::parse_duration(text).map_err(|_| "expected `2026-11-30T10:00:00Z` or `2h`".to_owned())?;
    let now = Surroundings::system().clock.now();
    let micros = i64::try_from(ago.as_micros()).map_err(|_| "too long ago".to_owned())?;
    DateTime::from_timestamp_micros(now.saturating_sub(micros)).ok_or_else(|| "too long ago".to_owned())
}

/// Writes the dead letters of the exports to `out`, or to the file that is named, oldest first.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let Some(path) = &args.output else { return show(args, out) };
    let unwritable = |error: &io::Error| {
        Error::config(format!("`--output {}`: {}", path.display(), error.to_string().to_lowercase()))
            .with_help("name a file that is not there yet")
    };
    // Records may be secret: the file is its owner's.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| unwritable(&e))?;
    let mut file = BufWriter::new(file);
    show(args, &mut file)?;
    file.into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .map_err(|e| unwritable(&e))
}

fn show(args: &Args, out: &mut dyn Write) -> Result<()> {
    let plan = only(args.config.load()?, &args.exports)?;
    let selection = Selection { reason: args.reason.clone(), since: args.since, until: args.until };
    let folder_of = if args.replayed { letters::replayed_folder } else { letters::folder };
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    super::runtime()?.block_on(async {
        for export in &plan.exports {
            let lake = Lake::open_read_only(&export.lake).await?;
            for partition in read_partitions(&lake, &export.name).await? {
                let folder = folder_of(&partition_folder(&lake, &export.name, &partition));
                // What a replay has made superfluous may not be deleted yet.
                let last = read_last(&lake, &export.name, &partition).await?;
                let obsolete: BTreeSet<String> = last.into_iter().flat_map(|(_, commit)| commit.obsolete).collect();
                let objects = lake.list(&folder).await?.into_iter();
                let is_current = |object: &Meta| !obsolete.contains(&object.key) && letters::is_letters(&folder, &object.key);
                for object in objects.filter(is_current) {
                    let bytes = lake.get(&object.key).await?.map(|object| object.bytes).unwrap_or_default();
                    let mut no_letters = 0;
                    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        let Ok(letter) = serde_json::from_slice::<Letter>(line) else {
                            no_letters += 1;
                            continue;
                        };
                        if !selection.takes(&letter) {
                            continue;
                        }
                        match args.by_reason {
                            true => *counts.entry((export.name.clone(), letter.reason)).or_default() += 1,
                            false => written(write(out, args.form(), &export.name, &letter.time, &letter.record()))?,
                        }
                    }
                    if no_letters > 0 {
                        let url = lake.url(&object.key);
                        eprintln!("warning: `{url}` holds {no_letters} lines that are no dead letters: somebody has edited them");
                    }
                }
            }
        }
        Ok::<_, Error>(())
    })?;
    written(write_counts(out, args.json, counts))
}

/// Writes how many records each reason refused, the most first.
fn write_counts(out: &mut dyn Write, json: bool, counts: BTreeMap<(String, String), u64>) -> io::Result<()> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let mut table = Table::new([("export", Align::Left), ("records", Align::Right), ("reason", Align::Left)]);
    for ((export, reason), number) in counts {
        match json {
            true => writeln!(out, "{}", json!({"export": export, "records": number, "reason": reason}))?,
            false => table.row([export, count(number), printable(&reason)]),
        }
    }
    match table.is_empty() {
        true => Ok(()),
        false => writeln!(out, "{table}"),
    }
}

/// How dead letters are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people: where and why, and how the record begins.
    Text,
    /// An object a line; the record in `record`, or in `record-base64` where it is not text.
    Json,
    /// The records' own bytes.
    Raw,
}

impl Args {
    /// The form that was asked for.
    pub fn form(&self) -> Form {
        match (self.raw, self.json) {
            (true, _) => Form::Raw,
            (false, true) => Form::Json,
            (false, false) => Form::Text,
        }
    }
}

/// The most characters of a record that the text shows.
const SHOWN: usize = 200;

/// Writes one dead letter of `export`, refused at `time` (RFC 3339).
pub fn write(out: &mut dyn Write, form: Form, export: &str, time: &str, letter: &DeadLetter) -> io::Result<()> {
    match form {
        Form::Raw => {
            out.write_all(&letter.raw)?;
            out.write_all(b"\n")
        }
        Form::Json => {
            let (key, record) = match std::str::from_utf8(&letter.raw) {
                Ok(text) => ("record", text.to_owned()),
                Err(_) => ("record-base64", STANDARD.encode(&letter.raw)),
            };
            let object = json!({
                "export": export,
                "time": time,
                "origin": letter.origin,
                "offset": letter.offset,
                "reason": letter.reason,
                "length": letter.length,
                key: record,
            });
            writeln!(out, "{object}")
        }
        Form::Text => {
            let (origin, reason) = (printable(&letter.origin), printable(&letter.reason));
            writeln!(out, "{export}: {origin} at {}, {time}: {reason}", letter.offset)?;
            let kept = letter.raw.len();
            let cut = match letter.length > kept as u64 {
                true => format!(" (the first {kept} of {} bytes are kept)", letter.length),
                false => String::new(),
            };
            writeln!(out, "  {}{cut}", beginning(&letter.raw))
        }
    }
}

/// How a record begins, on one line.
fn beginning(raw: &[u8]) -> String {
    // Four bytes are the longest character: this many hold as many characters as are shown.
    let text = String::from_utf8_lossy(&raw[..raw.len().min(SHOWN * 4)]);
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < raw.len() && text.chars().count() > SHOWN || raw.len() > SHOWN * 4 {
        shown.push('…');
    }
    printable(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: Form, raw: &'static [u8]) -> String {
        let letter = DeadLetter::new("not JSON".into(), "/data/a".into(), 42, raw.into());
        let mut out = Vec::new();
        write(&mut out, form, "signals", "2019-09-10T11:12:13Z", &letter).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn people_see_where_why_and_what() {
        assert_eq!(
            shown(Form::Text, b"{\"a\":\x1b[2J\xff"),
            "signals: /data/a at 42, 2019-09-10T11:12:13Z: not JSON\n  {\"a\":\\u{1b}[2J\u{fffd}\n"
        );
        let long = shown(Form::Text, &[b'x'; 5_000]);
        assert!(long.len() < 300 && long.ends_with("x…\n"), "{long}");
        assert!(shown(Form::Text, &[b'x'; SHOWN]).ends_with("x\n"));
    }

    #[test]
    fn machines_get_text_as_text_and_everything_else_as_base64() {
        let object: serde_json::Value = serde_json::from_str(&shown(Form::Json, b"{\"a\":")).unwrap();
        assert_eq!((&object["record"], &object["offset"]), (&json!("{\"a\":"), &json!(42)));
        let object: serde_json::Value = serde_json::from_str(&shown(Form::Json, b"\xff")).unwrap();
        assert_eq!((&object["record-base64"], object.get("record")), (&json!("/w=="), None));
    }

    #[test]
    fn raw_is_the_record_and_nothing_else() {
        assert_eq!(shown(Form::Raw, b"{\"a\":"), "{\"a\":\n");
    }
}
