//! The columns that a configuration gives a table.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeArray, DeValue};

use super::section::{At, Section};
use crate::dataset::{Choice, Column, DataType};
use crate::error::Result;

/// The most digits of a decimal.
const MOST_DIGITS: u64 = 38;

/// Resolves a table's `columns`, which stand at `span`.
pub fn resolve<'a>(table: &Section<'a>, rows: &'a DeArray<'a>, span: Range<usize>) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for section in table.rows("columns", rows)? {
        let column = column(&section)?;
        if let Some(other) = columns.iter().find(|other| other.name.to_lowercase() == column.name.to_lowercase()) {
            let message = format!("columns `{}` and `{}` are one", other.name, column.name);
            let at = section.written("name").map_or(section.span.clone(), |(_, span)| span);
            let error = section.cx.doc.fail(at, message);
            return Err(error.with_help("a name stands once, in whatever letter case: give one of them another"));
        }
        columns.push(column);
    }
    if columns.is_empty() {
        let error = table.cx.doc.fail(span, "`columns` has no column");
        return Err(error.with_help("add one: `{ name = \"name\", data-type = \"string\" }`, or take `columns` out"));
    }
    Ok(columns)
}

fn column(section: &Section<'_>) -> Result<Column> {
    let At { value: name, span } = section.need("name")?;
    if name.is_empty() || name.trim() != name || name.chars().count() > 256 || name.contains(char::is_control) {
        let error = section.cx.doc.fail(span, format!("`{name}` cannot be a column"));
        return Err(error.with_help("names of columns have 1 to 256 characters, and no space at either end"));
    }
    let written = section.choice("data-type")?;
    let known = DataType::ALL.into_iter().find(|known| known.name() == written);
    let data_type = known.expect("`keys` knows these types");
    for (key, of) in [("max-length", DataType::String), ("precision", DataType::Decimal), ("scale", DataType::Decimal)]
    {
        if section.has(key) && data_type != of {
            let message = format!("`{key}` is for `{}`, and `data-type` is `{written}`", of.name());
            let error = section.cx.doc.fail(section.key_span(key), message);
            return Err(error.with_help(format!("take it out, or set `data-type = \"{}\"`", of.name())));
        }
    }
    let precision = section.count_within("precision", 1, MOST_DIGITS)?;
    let scale = section.count_within("scale", 0, precision.unwrap_or(MOST_DIGITS))?;
    let small = |number: Option<u64>| number.map(|number| u8::try_from(number).expect("at most 38"));
    let choices = choices(section, data_type)?;
    if section.has("choice-set") && choices.is_empty() {
        let error =
            section.cx.doc.fail(section.key_span("choice-set"), "`choice-set` names choices, and there are none");
        return Err(error.with_help("add `choices = [{ value = 1, label = \"Open\" }]`, or take it out"));
    }
    Ok(Column {
        max_length: section
            .count_within("max-length", 1, u64::from(u32::MAX))?
            .map(|length| u32::try_from(length).expect("within 32 bits")),
        precision: small(precision),
        scale: small(scale),
        choices,
        choice_set: section.text("choice-set")?.map(|set| set.value.to_owned()),
        ..Column::new(name, data_type)
    })
}

fn choices(section: &Section<'_>, data_type: DataType) -> Result<Vec<Choice>> {
    let rows = match section.written("choices") {
        None => return Ok(Vec::new()),
        Some((DeValue::Array(rows), _)) => rows,
        Some((other, span)) => return Err(section.wrong_type_of("choices", other, span)),
    };
    if data_type != DataType::Int64 {
        let message = format!("choices are numbers, and `data-type` is `{}`", data_type.name());
        let error = section.cx.doc.fail(section.key_span("choices"), message);
        return Err(error.with_help("set `data-type = \"int64\"`, or take them out"));
    }
    let mut seen = BTreeSet::new();
    let mut choices = Vec::new();
    for section in section.rows("choices", rows)? {
        let language = section.count_within("language", 1, u64::from(u32::MAX))?.expect("it has a default");
        let choice = Choice {
            value: section.integer("value")?.expect("it is required"),
            label: section.need("label")?.value.to_owned(),
            language: u32::try_from(language).expect("within 32 bits"),
        };
        if !seen.insert((choice.value, choice.language)) {
            let message = format!("the choice `{}` has two labels in language {}", choice.value, choice.language);
            return Err(section.fail(message).with_help("take one of them out, or give it another `language`"));
        }
        choices.push(choice);
    }
    Ok(choices)
}
