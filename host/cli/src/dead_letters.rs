//! `lakeport dead-letters`: the records that were refused, and why.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::run::only;
use super::{Config, written};
use lakeport::commit::letters::{self, Letter};
use lakeport::commit::partition_folder;
use lakeport::error::{Error, Result};
use lakeport::lake::Lake;
use lakeport::record::DeadLetter;
use lakeport::telemetry::human::printable;

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
}

/// Writes the dead letters of the exports to `out`, oldest first.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let plan = only(args.config.load()?, &args.exports)?;
    super::runtime()?.block_on(async {
        for export in &plan.exports {
            let lake = Lake::open_read_only(&export.lake).await?;
            let partition = partition_folder(&lake, &export.name, &export.partition);
            for object in lake.list(&letters::folder(&partition)).await? {
                let bytes = lake.get(&object.key).await?.map(|object| object.bytes).unwrap_or_default();
                for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let letter: Letter = serde_json::from_slice(line).map_err(|e| {
                        Error::lake(format!("`{}` holds a line that is no dead letter: {e}", lake.url(&object.key)))
                    })?;
                    written(write(out, args.form(), &export.name, &letter.time, &letter.record()))?;
                }
            }
        }
        Ok(())
    })
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
