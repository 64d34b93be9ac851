//! `lakeport inspect`: what is in a file that Lakeport wrote, or could have: Avro, NDJSON or CSV.
//!
//! A file is read once, from its beginning to its end or to where it is damaged, and in bounded memory: everything is counted,
//! the first records are kept. What could be read is always printed; damage is the error after it.

mod avro;
mod csv;
mod input;
mod ndjson;
mod show;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::written;
use input::{Input, Stop};
use lakeport::error::{Error, Kind, Result};
use lakeport::source::avro::MAGIC;
use lakeport::telemetry::human::printable;

/// Show what is in a file: schema, codec, counts and the first records of Avro, NDJSON or CSV
///
/// The file may be compressed with gzip or zstd. One that is damaged or cut off is shown as far as it can be read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// How many of the first records to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub records: usize,
    /// What the file is; told by its first bytes and its name where this is not given
    #[arg(long)]
    pub format: Option<Format>,
    /// The first row of a CSV file names its columns
    #[arg(long)]
    pub headers: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What a file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An Avro object container file
    Avro,
    /// A JSON value a line
    Ndjson,
    /// Rows as in RFC 4180
    Csv,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Avro => "avro",
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
        }
    }
}

/// The most bytes that one row, line or record as JSON may have: what is kept of a file is bounded by it.
const LONGEST: u64 = 64 << 20;

/// What was found in a file, as far as it was read.
enum Found {
    Avro(avro::Avro),
    Ndjson(ndjson::Ndjson),
    Csv(csv::Csv),
}

impl Found {
    fn nothing(format: Format) -> Self {
        match format {
            Format::Avro => Found::Avro(avro::Avro::default()),
            Format::Ndjson => Found::Ndjson(ndjson::Ndjson::default()),
            Format::Csv => Found::Csv(csv::Csv::default()),
        }
    }
}

/// Writes what is in the file to `out`.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    if args.file == Path::new("-") {
        return Err(Error::config("standard input cannot be inspected").with_help("name a file"));
    }
    let mut input = Input::open(&args.file)?;
    let format = match args.format {
        Some(format) => format,
        None => recognise(&args.file, input.head())?,
    };
    if args.headers && format != Format::Csv {
        let error = format!("`--headers` is for CSV, and `{}` is {}", args.file.display(), format.name());
        return Err(Error::config(error).with_help("leave it out, or add `--format csv`"));
    }
    let mut found = Found::nothing(format);
    let read = match &mut found {
        Found::Avro(avro) => avro.read(&mut input, args.records),
        Found::Ndjson(ndjson) => ndjson.read(&mut input, args.records),
        Found::Csv(csv) => csv.read(&mut input, args.records, args.headers),
    };
    let shown = match args.json {
        true => show::json(&args.file, format, &input, &found),
        false => show::text(&args.file, format, &input, &found),
    };
    written(out.write_all(shown.as_bytes()))?;
    match (read, input.damage()) {
        (Ok(()), None) => Ok(()),
        (Ok(()), Some(damage)) => Err(damaged(&args.file, input.offset(), &format!("expected more, but {damage}"))),
        (Err(Stop::Damaged { offset, reason }), None) => Err(damaged(&args.file, offset, &reason)),
        (Err(Stop::Damaged { offset, reason }), Some(damage)) => {
            Err(damaged(&args.file, offset, &format!("{reason}; {damage}")))
        }
        (Err(Stop::Unreadable(error)), _) => {
            let error = error.to_string().to_lowercase();
            Err(Error::source(format!("`{}` cannot be read at byte {}: {error}", args.file.display(), input.offset())))
        }
    }
}

fn damaged(file: &Path, offset: u64, reason: &str) -> Error {
    let (file, reason) = (printable(&file.display().to_string()), printable(reason));
    Error::new(Kind::Data, format!("`{file}` is damaged at byte {offset} of its content: {reason}"))
        .with_help("what is shown is what comes before; if it is another format, name it with `--format`")
}

/// What a file is, by its first bytes, its name, and its first byte, in this order.
fn recognise(path: &Path, head: &[u8]) -> Result<Format> {
    if head.starts_with(MAGIC) {
        return Ok(Format::Avro);
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Err(Error::config(format!("`{}` is a zip archive", path.display()))
            .with_help("unpack it, and inspect the files in it"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = [".gz", ".zst"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("avro") => return Ok(Format::Avro),
        Some("ndjson" | "jsonl" | "json") => return Ok(Format::Ndjson),
        Some("csv") => return Ok(Format::Csv),
        _ => {}
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    match head.first() {
        Some(b'{' | b'[') => Ok(Format::Ndjson),
        Some(byte) if !byte.is_ascii_control() => Ok(Format::Csv),
        _ => Err(Error::config(format!("neither content nor name tell what `{}` is", path.display()))
            .with_help("name it with `--format avro`, `--format ndjson` or `--format csv`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_named_as_one() {
        let error = recognise(Path::new("x.csv"), b"PK\x03\x04rest").unwrap_err();
        assert_eq!(error.message, "`x.csv` is a zip archive");
    }

    #[test]
    fn content_tells_before_the_name_and_the_name_before_the_first_byte() {
        for (name, head, format) in [
            ("a.csv", &b"Obj\x01\x04"[..], Format::Avro),
            ("a.avro", b"{}", Format::Avro),
            ("a.NDJSON.gz", b"a,b", Format::Ndjson),
            ("00.csv.zst", b"{}", Format::Csv),
            ("a", b"\xef\xbb\xbf {\"a\":1}", Format::Ndjson),
            ("a.txt", b"\"a\",1", Format::Csv),
            ("a.json", b"", Format::Ndjson),
        ] {
            assert_eq!(recognise(Path::new(name), head).unwrap(), format, "{name}");
        }
        for head in [&b""[..], b"  \n", b"\x00\x01"] {
            assert_eq!(recognise(Path::new("a"), head).unwrap_err().kind, Kind::Config);
        }
    }
}
