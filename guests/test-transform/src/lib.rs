//! A transform that does as its settings say: some useful things for tests, and some that the interface forbids.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::SystemTime;

use lakeport_plugin::prelude::*;
use lakeport_plugin::{Column, ColumnValues, Rejected, TextPairs, VarBytes, rows, serde_json};

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Every record goes on as it is.
    Keep,
    /// Every record becomes two with the body it had.
    Duplicate,
    /// A body that is an array becomes a record for each element; other bodies are rejected.
    Split,
    /// New bodies with the time, a random number and the order of a hash map.
    Chance,
    /// New bodies with a name and a time, and a number of a generator that is seeded when it is first used.
    Number,
    /// Sets every attribute that a transform may.
    SetAttributes,
    /// Drops every record.
    Drop,
    /// A body with `"spread":true` becomes ten thousand records, each of an hour of its own.
    Spread,
    /// 64 MiB of body.
    HugeBody,
    /// A hundred records for each.
    HugeList,
    OffsetsDecrease,
    OffsetsOutOfRange,
    OffsetsStartLate,
    OffsetsTooFew,
    OriginsDecrease,
    OriginsOutOfRange,
    RejectAndKeep,
    TextNotUtf8,
    TextCutInsideACharacter,
    AttributeTwice,
    AttributeOfWrongType,
    AttributeTooShort,
    AttributeIsBody,
    PairsOutOfRange,
}

/// Its settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub mode: Mode,
}

/// The transform.
pub struct Test(Mode);

impl Transform for Test {
    type Config = Config;

    fn open(config: Config) -> Result<Self> {
        Ok(Test(config.mode))
    }

    fn columns(&self) -> Columns {
        columns![json(Attribute::Body)]
    }

    fn map(&self, row: Row, output: &mut Output) -> Result<(), Rejection> {
        let body = row.json(0).ok_or("no body")?;
        match self.0 {
            Mode::Duplicate => (0..2).for_each(|_| output.push(body.bytes())),
            Mode::Split => {
                let parts: Vec<serde_json::Value> = body.parse()?;
                parts.into_iter().for_each(|part| output.push(part.to_string()));
            }
            Mode::Chance => {
                #[expect(clippy::disallowed_methods, reason = "shows which clock a plugin is given")]
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_micros());
                let map: HashMap<u32, ()> = (0..100).map(|n| (n, ())).collect();
                output.push(format!(r#"{{"now":{now},"order":{:?}}}"#, map.keys().collect::<Vec<_>>()));
            }
            Mode::Number => {
                let number = RandomState::new().build_hasher().finish();
                output.push(format!(r#"{{"name":"n","signalTime":"2026-03-01T10:00:00Z","number":"{number:016x}"}}"#));
            }
            Mode::Drop => {}
            _ => output.keep(),
        }
        Ok(())
    }

    fn apply(&self, batch: &Batch) -> Result<Transformed> {
        let rows = batch.rows();
        let mut answer = Transformed { origins: (0..rows as u32).collect(), ..Transformed::default() };
        let bodies = |offsets: Vec<u32>| Some(VarBytes { offsets, data: b"{}".repeat(rows) });
        let offsets = || (0..=rows as u32).map(|row| row * 2).collect::<Vec<u32>>();
        let text = |values: VarBytes| Column { validity: None, values: ColumnValues::Text(values) };
        let texts = |value: &[u8]| {
            let mut texts = VarBytes { offsets: vec![0], data: Vec::new() };
            (0..rows).for_each(|_| texts.push(value));
            texts
        };
        match self.0 {
            Mode::HugeBody => {
                let ends = (0..=rows as u32).map(|row| if row == 0 { 0 } else { 48 << 20 }).collect();
                answer.bodies = Some(VarBytes { offsets: ends, data: vec![b' '; 48 << 20] });
            }
            Mode::HugeList => answer.origins = (0..rows as u32).flat_map(|row| [row; 100]).collect(),
            Mode::OffsetsDecrease => {
                answer.bodies = bodies(offsets().into_iter().map(|o| if o == 2 { 9 } else { o }).collect())
            }
            Mode::OffsetsOutOfRange => answer.bodies = bodies(offsets().into_iter().map(|o| o * 1_000).collect()),
            Mode::OffsetsStartLate => answer.bodies = bodies(offsets().into_iter().map(|o| o.max(1)).collect()),
            Mode::OffsetsTooFew => answer.bodies = bodies(offsets()[1..].to_vec()),
            Mode::OriginsDecrease => answer.origins.reverse(),
            Mode::OriginsOutOfRange => answer.origins[rows - 1] = rows as u32,
            Mode::RejectAndKeep => answer.rejected = vec![Rejected { row: 0, reason: "no".into() }],
            Mode::TextNotUtf8 => answer.attributes = vec![(Attribute::Kind, text(texts(b"\xff")))],
            Mode::TextCutInsideACharacter => {
                let ends = (0..=rows as u32).map(|row| if row == 0 { 0 } else { row * 2 - 1 }).collect();
                let data = "é".repeat(rows).into_bytes();
                answer.attributes = vec![(Attribute::Kind, text(VarBytes { offsets: ends, data }))];
            }
            Mode::AttributeTwice => {
                answer.attributes = vec![(Attribute::Kind, text(texts(b"a"))), (Attribute::Kind, text(texts(b"b")))];
            }
            Mode::AttributeOfWrongType => answer.attributes = vec![(Attribute::Time, text(texts(b"noon")))],
            Mode::AttributeTooShort => {
                let values = ColumnValues::Timestamp(vec![0; rows - 1]);
                answer.attributes = vec![(Attribute::Time, Column { validity: None, values })];
            }
            Mode::AttributeIsBody => answer.attributes = vec![(Attribute::Body, text(texts(b"{}")))],
            Mode::PairsOutOfRange => answer.attributes = vec![(Attribute::Properties, pairs(rows, 7))],
            Mode::Spread => {
                let mut times = Vec::new();
                answer.origins.clear();
                for (row, body) in batch.iter().map(|row| row.bytes(0).unwrap_or_default()).enumerate() {
                    let spreads = body.windows(13).any(|window| window == b"\"spread\":true");
                    for hour in 0..if spreads { 10_000 } else { 1 } {
                        answer.origins.push(row as u32);
                        times.push(hour * 3_600_000_000);
                    }
                }
                let values = ColumnValues::Timestamp(times);
                answer.attributes = vec![(Attribute::Time, Column { validity: None, values })];
            }
            Mode::SetAttributes => {
                let times = ColumnValues::Timestamp((0..rows as i64).collect());
                let validity = Some(vec![0b1111_1110; rows.div_ceil(8)]);
                answer.attributes = vec![
                    (Attribute::Kind, text(texts("neu ä".as_bytes()))),
                    (Attribute::Subject, text(texts(b"a subject of more than twelve bytes"))),
                    (Attribute::Time, Column { validity, values: times }),
                    (Attribute::Version, Column { validity: None, values: ColumnValues::Int64(vec![7; rows]) }),
                    (Attribute::Properties, pairs(rows, 1)),
                ];
            }
            Mode::Keep | Mode::Duplicate | Mode::Split | Mode::Chance | Mode::Number | Mode::Drop => {
                return rows::apply(self, batch);
            }
        }
        Ok(answer)
    }
}

/// One pair for each row, whose offsets count in steps of `step`.
fn pairs(rows: usize, step: u32) -> Column {
    let mut keys = VarBytes { offsets: vec![0], data: Vec::new() };
    let mut values = VarBytes { offsets: vec![0], data: Vec::new() };
    for row in 0..rows {
        keys.push(b"row");
        values.push(row.to_string().as_bytes());
    }
    let offsets = (0..=rows as u32).map(|row| row * step).collect();
    let map = TextPairs { offsets, keys, values };
    Column { validity: None, values: ColumnValues::TextMap(map) }
}

lakeport_plugin::export_transform!(Test);
