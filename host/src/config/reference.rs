//! The tables of `docs/configuration.md`, made from the keys that files are checked against.

use std::fmt::Write;

use super::keys::{self, Absent, Form, Group, Key};

const GROUPS: [&Group; 12] = [
    &keys::SOURCE,
    &keys::EXPORT,
    &keys::FLUSH,
    &keys::SNAPSHOTS,
    &keys::TABLE,
    &keys::COLUMN,
    &keys::CHOICE,
    &keys::LAKE,
    &keys::PLUGIN,
    &keys::LIMITS,
    &keys::SERVER,
    &keys::SERVER_KEY,
];
const END: &str = "<!-- end -->";

/// `page` with the table of keys after each `<!-- keys: ID -->`, up to `<!-- end -->`, made anew.
pub fn reference(page: &str) -> String {
    let mut page = page.to_owned();
    for group in GROUPS {
        let mark = format!("<!-- keys: {} -->", group.id);
        let Some(start) = page.find(&mark).map(|at| at + mark.len()) else { continue };
        let end = page[start..].find(END).map_or(start, |at| start + at);
        page.replace_range(start..end, &table(group));
    }
    page
}

fn table(group: &Group) -> String {
    let mut table = "\n| key | value | default | meaning |\n|---|---|---|---|\n".to_owned();
    for key in group.keys {
        let Key { name, form, meaning, .. } = key;
        writeln!(table, "| `{name}` | {} | {} | {meaning} |", value(*form), default(key))
            .expect("a String takes everything");
    }
    table
}

fn value(form: Form) -> String {
    match form {
        Form::Choice(known) => known.iter().map(|choice| format!("`\"{choice}\"`")).collect::<Vec<_>>().join(", "),
        form => form.wanted(),
    }
}

fn default(key: &Key) -> String {
    match (key.absent, key.form) {
        (Absent::Required, _) => "required".to_owned(),
        (Absent::Means(words), _) => words.to_owned(),
        (Absent::Is(value @ ("true" | "false")), _) | (Absent::Is(value), Form::Count) => format!("`{value}`"),
        (Absent::Is(value), _) => format!("`\"{value}\"`"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::golden::expect;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");

    #[test]
    fn the_reference_is_the_one_that_the_keys_make() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        for group in GROUPS {
            assert!(
                page.contains(&format!("<!-- keys: {} -->", group.id)),
                "the reference has no table `{}`",
                group.id
            );
        }
        expect(Path::new(PAGE), &reference(&page));
    }

    #[test]
    fn every_configuration_of_the_reference_is_right() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let blocks: Vec<_> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(blocks.len() >= 3);
        for block in blocks {
            crate::config::tests::parse(block).unwrap_or_else(|error| panic!("{block}\n{error}"));
        }
    }
}
