//! `lakeport plugin inspect`: what a component is.

use std::fmt::Write;

use lakeport::plugin::Inspection;
use lakeport::telemetry::human::{bytes, printable};

/// Show a component's kind, settings, columns, imports, size and digest
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub configured: super::Configured,
    /// The component, a .wasm file, or a plugin's name
    #[arg(value_name = "COMPONENT", value_hint = clap::ValueHint::FilePath)]
    pub component: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The inspection as text, or as one JSON object.
pub fn render(found: &Inspection, json: bool) -> String {
    if json {
        return format!("{}\n", serde_json::json!(found));
    }
    let list = |items: &[String]| match items {
        [] => "none".to_owned(),
        items => printable(&items.join(", ")),
    };
    let mut columns = found.opened.as_ref().map_or("depend on its settings".to_owned(), |opened| list(&opened.columns));
    let mut kind = found.kind.to_string();
    if found.tables {
        columns += ", and the table's";
        kind += " of tables";
    }
    let mut text = String::new();
    for (what, value) in [
        ("name", format!("{} {}", printable(&found.name), printable(&found.version))),
        ("summary", printable(&found.summary)),
        ("kind", kind),
        ("size", bytes(found.size)),
        ("sha256", found.digest.clone()),
        ("imports", list(&found.imports)),
        ("columns", columns),
    ] {
        writeln!(text, "{what:<8} {value}").expect("a String takes everything");
    }
    if let Some(file) = found.opened.as_ref().and_then(|opened| opened.file_type.as_ref()) {
        let appendable = if file.appendable { "can grow" } else { "are written once" };
        let (extension, content_type) = (printable(&file.extension), printable(&file.content_type));
        writeln!(text, "files    .{extension}, {content_type}, {appendable}").expect("a String takes everything");
    }
    writeln!(text, "settings\n{:#}", found.config_schema).expect("a String takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use lakeport::plugin::{Opened, PluginKind};

    #[test]
    fn an_inspection_names_everything_a_component_is() {
        let found = Inspection {
            name: "select".into(),
            version: "0.1.0".into(),
            summary: "Keeps records of some kinds.\u{7}".into(),
            kind: PluginKind::Filter,
            tables: false,
            size: 69_000,
            digest: "ab".repeat(32),
            imports: vec!["lakeport:plugin/records@0.1.0".into()],
            opened: None,
            config_schema: serde_json::json!({ "type": "object" }),
        };
        let text = render(&found, false);
        assert_eq!(
            text,
            format!(
                "name     select 0.1.0\nsummary  Keeps records of some kinds.\\u{{7}}\nkind     filter\nsize     69.0 kB\n\
                 sha256   {}\nimports  lakeport:plugin/records@0.1.0\ncolumns  depend on its settings\n\
                 settings\n{{\n  \"type\": \"object\"\n}}\n",
                found.digest
            )
        );
        let json: serde_json::Value = serde_json::from_str(&render(&found, true)).unwrap();
        assert_eq!(json["config-schema"]["type"], "object");
    }

    #[test]
    fn a_format_of_tables_is_shown_as_one() {
        let columns = vec!["text(subject)".into(), "integer(version)".into()];
        let found = Inspection {
            name: "cdm-csv".into(),
            version: "0.1.0".into(),
            summary: "Writes tables.".into(),
            kind: PluginKind::Format,
            tables: true,
            size: 69_000,
            digest: "ab".repeat(32),
            imports: Vec::new(),
            opened: Some(Opened { columns, file_type: None }),
            config_schema: serde_json::json!({}),
        };
        let text = render(&found, false);
        assert!(text.contains("\nkind     format of tables\n"), "{text}");
        assert!(text.contains("\ncolumns  text(subject), integer(version), and the table's\n"), "{text}");
        assert!(render(&found, true).contains("\"tables\":true"));
    }
}
