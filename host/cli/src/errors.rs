//! Errors as people and machines read them, and the table of exit codes.

use std::fmt::Write;
use std::io::IsTerminal;

use serde_json::json;

use lakeport::error::{Error, Kind};

const KINDS: [Kind; 8] =
    [Kind::Config, Kind::Source, Kind::Lake, Kind::Plugin, Kind::Fenced, Kind::Data, Kind::Internal, Kind::Interrupted];

const RED: &str = "\x1b[1;31m";
const BLUE: &str = "\x1b[1;34m";
const GREEN: &str = "\x1b[1;32m";
const PLAIN: &str = "\x1b[0m";

/// The name of a kind in JSON.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Config => "config",
        Kind::Source => "source",
        Kind::Lake => "lake",
        Kind::Plugin => "plugin",
        Kind::Fenced => "fenced",
        Kind::Data => "data",
        Kind::Internal => "internal",
        Kind::Interrupted => "interrupted",
    }
}

/// What a kind means and what to do, in a line.
fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Config => "the configuration or the command line is wrong: mend what is named",
        Kind::Source => "a source cannot be read, or is not the one that was exported: look at it",
        Kind::Lake => "the lake refused: look at the store, then run again; nothing is lost",
        Kind::Plugin => "a plugin failed under `on-error = \"stop\"`: mend or replace it",
        Kind::Fenced => "another process exports the same: stop one of the two",
        Kind::Data => "most records refused, or more than `max-dead-letters`, or a damaged file: look at the input",
        Kind::Internal => "a defect of Lakeport: report it",
        Kind::Interrupted => "Ctrl-C or SIGTERM ended a run early: run again, it goes on",
    }
}

/// The exit codes, as `--help` shows them.
pub fn exit_codes() -> String {
    let mut text = "Exit codes:\n    0  done\n".to_owned();
    for kind in KINDS {
        writeln!(text, "  {:>3}  {}", kind.exit_code(), meaning(kind)).expect("a String takes everything");
    }
    text.trim_end().to_owned()
}

/// Whether standard error shows colours: it is a terminal, and `NO_COLOR` is not set.
pub fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// An error for people: `error: …`, the lines it is about, and what to do.
pub fn text(error: &Error, colour: bool) -> String {
    let paint = |code: &'static str| if colour { code } else { "" };
    let (red, blue, green, plain) = (paint(RED), paint(BLUE), paint(GREEN), paint(PLAIN));
    let mut text = format!("{red}error{plain}: {}\n", error.message);
    for line in error.snippet.iter().flat_map(|snippet| snippet.lines()) {
        // The gutter steps back, the carets stand out; lines themselves stay as they are.
        let line = match line.split_once('|') {
            Some((gutter, carets)) if gutter.trim().is_empty() => format!("{blue}{gutter}|{red}{carets}{plain}"),
            Some((gutter, code)) if gutter.trim().bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("{blue}{gutter}|{plain}{code}")
            }
            _ => format!("{blue}{line}{plain}"),
        };
        text += &line;
        text.push('\n');
    }
    if let Some(help) = &error.help {
        text += &format!("{green}help{plain}: {help}\n");
    }
    for error in &error.also {
        text += &self::text(error, colour);
    }
    text
}

/// An error for machines: one object, on one line.
pub fn json(error: &Error) -> String {
    let mut object = json!({
        "kind": name(error.kind),
        "exit-code": error.kind.exit_code(),
        "message": error.message,
        "snippet": error.snippet,
        "help": error.help,
    });
    if !error.also.is_empty() {
        object["also"] = json!(error.also);
    }
    format!("{}\n", json!({ "error": object }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> Error {
        crate::testing::parse("[exports.e]\nsorce = 1\n").unwrap_err()
    }

    #[test]
    fn people_see_the_line_and_what_to_do() {
        let error = error();
        assert_eq!(
            text(&error, false),
            "error: unknown key `sorce` in `exports.e`\n/etc/lakeport/lakeport.toml:2:1\n  |\n2 | sorce = 1\n  | ^^^^^\n\
             help: did you mean `source`?\n"
        );
        assert_eq!(text(&error, false), format!("error: {error}\n"), "the same as the error's own text");
    }

    #[test]
    fn colours_add_nothing_but_colours() {
        let mut coloured = text(&error(), true);
        assert!(
            coloured.contains("\x1b[1;31merror\x1b[0m: ") && coloured.contains("\x1b[1;31m ^^^^^\x1b[0m"),
            "{coloured}"
        );
        for code in [RED, BLUE, GREEN, PLAIN] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, text(&error(), false));
    }

    #[test]
    fn machines_see_one_object_on_one_line() {
        let line = json(&error());
        assert_eq!(line.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["error"]["kind"], &value["error"]["exit-code"]), (&json!("config"), &json!(2)));
        assert_eq!(value["error"]["help"], json!("did you mean `source`?"));
    }

    #[test]
    fn every_kind_has_its_own_exit_code_in_the_help() {
        let table = exit_codes();
        assert_eq!(table.lines().count(), 2 + KINDS.len());
        for kind in KINDS {
            assert!(table.contains(&format!("\n  {:>3}  ", kind.exit_code())), "{kind:?}");
        }
    }
}
