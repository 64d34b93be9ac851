//! What was found, as tables for people and as one JSON object. Pure.
//!
//! In JSON, schemas and records stand as they do in the file: they are put in as text, since reading and writing them again
//! would sort their members.

use std::fmt::Write;
use std::path::Path;

use super::input::Input;
use super::{Format, Found};
use lakeport::source::content::Encoding;
use lakeport::telemetry::human::{bytes, count, printable};
use lakeport::telemetry::{Align, Table};

/// Characters of a line of a table; what is longer is cut.
const WIDTH: usize = 120;
/// A column that has to share the width gets this many.
const NARROWEST: usize = 8;
/// Between columns.
const GAP: usize = 2;
const MOST_COLUMNS: usize = (WIDTH + GAP) / (NARROWEST + GAP);
/// Members of lines that the text lists; the JSON form has all of them.
const MOST_MEMBERS: usize = 50;
/// Longer schemas stand as they do in the file: laid out, each byte may become a line and its indentation.
const LONGEST_LAID_OUT: usize = 1 << 20;

/// The file as tables.
pub fn text(file: &Path, format: Format, input: &Input, found: &Found) -> String {
    let mut facts = vec![("file", file.display().to_string()), ("format", format.name().to_owned())];
    let size = match input.encoding() {
        Encoding::Plain => bytes(input.offset()),
        encoding => format!("{} ({} as {})", bytes(input.offset()), bytes(input.size()), encoding.name()),
    };
    match found {
        Found::Avro(avro) => {
            facts.extend(avro.codec.iter().map(|codec| ("codec", codec.clone())));
            facts.push(("records", count(avro.records)));
            facts.push(("blocks", count(avro.blocks)));
            facts.push(("bytes", size));
            facts.extend(avro.sync.iter().map(|sync| ("sync marker", hex::encode(sync))));
            if !avro.metadata.is_empty() {
                facts.push(("metadata", avro.metadata.iter().cloned().collect::<Vec<_>>().join(", ")));
            }
        }
        Found::Ndjson(ndjson) => {
            facts.push(("records", count(ndjson.records)));
            if ndjson.others > 0 {
                facts.push(("no objects", count(ndjson.others)));
            }
            facts.push(("bytes", size));
        }
        Found::Csv(csv) => {
            facts.push(("records", count(csv.records)));
            let columns = |(fewest, widest)| match fewest == widest {
                true => count(widest as u64),
                false => format!("{fewest} to {widest}"),
            };
            facts.push(("columns", csv.columns.map_or_else(|| count(csv.titles().len() as u64), columns)));
            facts.push(("bytes", size));
        }
    }
    let mut text = String::new();
    for (what, value) in facts {
        line(&mut text, format_args!("{what:<11}  {}", printable(&value)));
    }
    let first = match found {
        Found::Avro(avro) => {
            if !avro.schema.is_empty() {
                line(&mut text, format_args!("\nschema"));
                let laid_out =
                    if avro.schema.len() > LONGEST_LAID_OUT { avro.schema.clone() } else { pretty(&avro.schema) };
                laid_out.lines().for_each(|one| line(&mut text, format_args!("{}", printable(one))));
            }
            let (titles, rows) = avro.rows(cell);
            table(&titles, &rows)
        }
        Found::Ndjson(ndjson) => {
            text += &members(ndjson);
            let rows: Vec<_> = ndjson.first.iter().map(|record| vec![cell(record)]).collect();
            table(&["first records"], &rows)
        }
        Found::Csv(csv) => {
            let row = |row: &Vec<String>| row.iter().map(|field| cell(field)).collect();
            table(&csv.titles(), &csv.first.iter().map(row).collect::<Vec<_>>())
        }
    };
    text + &first
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}

fn members(ndjson: &super::ndjson::Ndjson) -> String {
    let mut table = Table::new([("member", Align::Left), ("types", Align::Left), ("records", Align::Right)]);
    for member in ndjson.members.iter().take(MOST_MEMBERS) {
        table.row([cut(&cell(&member.name), WIDTH / 2), member.types().join(", "), count(member.records)]);
    }
    match (table.is_empty(), ndjson.members.len().saturating_sub(MOST_MEMBERS)) {
        (true, _) => String::new(),
        (false, 0) => format!("\n{table}"),
        (false, more) => format!("\n{table}and {} more; `--json` lists them\n", count(more as u64)),
    }
}

/// Rows under their titles, cut so that they fit; nothing where there are none.
fn table(titles: &[impl AsRef<str>], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let titles: Vec<String> = titles.iter().map(|title| cell(title.as_ref())).collect();
    let shown = titles.len().min(MOST_COLUMNS);
    let longest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(&titles[column..=column]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..shown).map(longest).collect();
    let room = WIDTH - GAP * shown.saturating_sub(1);
    let fits = |most: &usize| widths.iter().map(|width| width.min(most)).sum::<usize>() <= room;
    let most = (NARROWEST..=WIDTH).rev().find(fits).unwrap_or(NARROWEST);
    let mut table = Table::new(titles[..shown].iter().map(|title| (cut(title, most), Align::Left)));
    for row in rows {
        let cell = |column: usize| row.get(column).map_or_else(String::new, |cell| cut(cell, most));
        table.row((0..shown).map(cell).collect::<Vec<_>>());
    }
    let mut text = format!("\n{table}");
    if shown < titles.len() {
        line(&mut text, format_args!("the first {shown} of {} columns; `--json` has all", titles.len()));
    }
    text
}

/// Text as a terminal may show it; more of it than a line has is left out.
fn cell(text: &str) -> String {
    let begin: String = text.chars().take(WIDTH + 1).collect();
    printable(&begin)
}

fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
    }
}

/// JSON on lines of its own, its members in their order.
fn pretty(json: &str) -> String {
    let (mut out, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    let new_line = |out: &mut String, depth: usize| *out += &format!("\n{}", "  ".repeat(depth));
    for c in json.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                depth += 1;
                new_line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                match out.trim_end().ends_with(['{', '[']) {
                    true => out.truncate(out.trim_end().len()),
                    false => new_line(&mut out, depth),
                }
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            ' ' | '\t' | '\r' | '\n' => {}
            _ => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out
}

/// The file as one JSON object.
pub fn json(file: &Path, format: Format, input: &Input, found: &Found) -> String {
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let list = |items: &mut dyn Iterator<Item = String>| format!("[{}]", items.collect::<Vec<_>>().join(","));
    let none = || "null".to_owned();
    let (records, codec, blocks, sync, metadata, schema, first) = match found {
        Found::Avro(avro) => (
            avro.records,
            avro.codec.as_deref().map_or_else(none, text),
            avro.blocks.to_string(),
            avro.sync.map_or_else(none, |sync| text(&hex::encode(sync))),
            list(&mut avro.metadata.iter().map(|key| text(key))),
            if avro.schema.is_empty() { none() } else { avro.schema.clone() },
            list(&mut avro.first()),
        ),
        Found::Ndjson(ndjson) => {
            let member = |member: &super::ndjson::Member| {
                let records = member.records;
                serde_json::json!({ "name": member.name, "types": member.types(), "records": records }).to_string()
            };
            let schema = list(&mut ndjson.members.iter().map(member));
            (ndjson.records, none(), none(), none(), none(), schema, list(&mut ndjson.first.iter().cloned()))
        }
        Found::Csv(csv) => {
            let row = |row: &Vec<String>| serde_json::json!(row).to_string();
            let first = list(&mut csv.first.iter().map(row));
            (csv.records, none(), none(), none(), none(), row(&csv.titles()), first)
        }
    };
    let members = [
        ("path", text(&file.to_string_lossy())),
        ("format", text(format.name())),
        ("codec", codec),
        ("compression", text(input.encoding().name())),
        ("bytes", input.offset().to_string()),
        ("records", records.to_string()),
        ("blocks", blocks),
        ("sync", sync),
        ("metadata", metadata),
        ("schema", schema),
        ("first", first),
    ];
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}\n", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_laid_out_and_keeps_its_order() {
        let schema =
            r#"{"type":"record", "name":"a\"{b","fields":[{"name":"x","type":["null","bytes"]}],"z":{},"y":[ ]}"#;
        let laid_out = "{\n  \"type\": \"record\",\n  \"name\": \"a\\\"{b\",\n  \"fields\": [\n    {\n      \"name\": \"x\",\n      \
                        \"type\": [\n        \"null\",\n        \"bytes\"\n      ]\n    }\n  ],\n  \"z\": {},\n  \"y\": []\n}";
        assert_eq!(pretty(schema), laid_out);
    }

    #[test]
    fn a_table_is_as_wide_as_a_line_whatever_is_in_it() {
        let long = |letter: &str| letter.repeat(500);
        let titles: Vec<String> = (1..=30).map(|column| column.to_string()).collect();
        for columns in [1, 2, 7, 12, 30] {
            let text = table(&titles[..columns], &[vec![long("ä"); columns], vec!["x".into()], vec![]]);
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            assert!(text.contains("ä…") && text.contains("of 30 columns") == (columns == 30), "{text}");
        }
        let uneven = table(&["a", "b"], &[vec![long("a"), "short".into()]]);
        assert!(uneven.contains("…  short\n"), "{uneven}");
    }
}
