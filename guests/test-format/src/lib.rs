//! A format with a header and a trailer, which also breaks rules as its settings say.

use lakeport_plugin::prelude::*;
use lakeport_plugin::rows;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Writes a JSON array: `[` with the file's seed in it, the bodies, `]`. Bodies that are `null` are rejected.
    #[default]
    Array,
    /// Says it wrote more rows than there were.
    CountTooMany,
    /// Leaves a row out without a word.
    CountTooFew,
    /// Says that it is appendable, and writes a trailer.
    TrailerOnAppendable,
    ExtensionWithSlash,
    ContentTypeWithLineBreak,
    /// Loops in its destructor.
    LoopInDrop,
}

/// Its settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub mode: Mode,
}

/// The format.
pub struct Test {
    mode: Mode,
    first: bool,
}

impl Format for Test {
    type Config = Config;

    fn open(config: Config) -> Result<Self> {
        Ok(Test { mode: config.mode, first: true })
    }

    fn columns(&self) -> Columns {
        columns![json(Attribute::Body)]
    }

    fn file_type(&self) -> FileType {
        FileType {
            extension: if self.mode == Mode::ExtensionWithSlash { "../json".into() } else { "json".into() },
            content_type: match self.mode {
                Mode::ContentTypeWithLineBreak => "text/plain\r\nx-evil: 1".into(),
                _ => "application/json".into(),
            },
            appendable: self.mode == Mode::TrailerOnAppendable,
        }
    }

    fn header(&mut self, file: &FileContext) -> Result<Vec<u8>> {
        self.first = !file.resumed;
        Ok(format!("[ /* {:?} */", file.seed).into_bytes())
    }

    fn write(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), Rejection> {
        let body = row.bytes(0).ok_or("no body")?;
        if body == b"null" {
            out.extend_from_slice(b"garbage that a rejection takes away");
            return Err("the body is null".into());
        }
        out.extend_from_slice(if self.first { b"\n" } else { b",\n" });
        self.first = false;
        out.extend_from_slice(body);
        Ok(())
    }

    fn encode(&mut self, batch: &Batch) -> Result<Segment> {
        let mut segment = rows::encode(self, batch)?;
        match self.mode {
            Mode::CountTooMany => segment.rows += 1,
            Mode::CountTooFew => segment.rows -= 1,
            _ => {}
        }
        Ok(segment)
    }

    fn trailer(&mut self) -> Result<Vec<u8>> {
        Ok(b"\n]\n".to_vec())
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        if self.mode == Mode::LoopInDrop {
            loop {
                std::hint::black_box(());
            }
        }
    }
}

lakeport_plugin::export_format!(Test);
