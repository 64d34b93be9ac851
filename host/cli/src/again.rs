//! The question before an export is begun anew: what it replaces, and what cannot be written again.

use std::fmt::Write;

use super::ask;
use lakeport::error::{Error, Result};
use lakeport::lake::Lake;
use lakeport::layout::Period;
use lakeport::plan::ExportPlan;
use lakeport::session::Before;
use lakeport::telemetry::human::{bytes, count, printable};

/// The most names in a message.
const MOST_NAMES: usize = 5;

/// Shows what beginning `export` anew replaces, or exporting one period of it again, and asks whether to; `yes` is the answer where
/// nothing is lost by it.
///
/// # Errors
/// `Lake`: the lake cannot be read. `Config`: the user declines, or there is no terminal to ask. Others say why the period cannot
/// be exported again.
pub async fn confirm(export: &ExportPlan, period: Option<Period>, yes: bool) -> Result<()> {
    let lake = Lake::open_read_only(&export.lake).await?;
    let before = match period {
        None => Before::look_up(&lake, export).await?,
        Some(period) => Before::look_up_period(&lake, export, period).await?,
    };
    let question = question(&export.name, period, &lake.url(""), &before);
    if yes && before.gone.is_empty() {
        return Ok(());
    }
    if !ask::is_possible() {
        let error = Error::config(format!("{question}, and nobody can be asked"));
        return Err(error.with_help(match before.gone.is_empty() {
            true => "run it at a terminal, or add `--yes`",
            false => "put those files back, or run it at a terminal and answer there: `--yes` does not cover what would be lost",
        }));
    }
    match ask::line(&format!("{question}\ngo on? (yes/no) "))?.as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::config("nothing was changed").with_help("answer `yes` to begin the export anew")),
    }
}

fn question(export: &str, period: Option<Period>, lake: &str, before: &Before) -> String {
    let size = bytes(before.files.values().sum());
    let files = count(before.files.len() as u64);
    let (option, what) = match period {
        None => (String::new(), "everything is"),
        Some(period) => (format!(" --period {period}"), "its records are"),
    };
    let mut text =
        format!("`--again {export}{option}` replaces {files} files ({size}) in `{lake}`, once {what} exported again");
    let mut list = |what: &str, names: &[String]| {
        if !names.is_empty() {
            let shown: Vec<_> = names.iter().take(MOST_NAMES).map(|name| format!("`{}`", printable(name))).collect();
            let more = if names.len() > MOST_NAMES { ", …" } else { "" };
            write!(text, "; {what}: {}{more}", shown.join(", ")).expect("a String takes everything");
        }
    };
    let gone =
        format!("{} files that it has read are gone, and what came from them will be missing", before.gone.len());
    list(&gone, &before.gone);
    list("files that others have edited stay", &before.edited);
    list("whether others have edited these is not known, and they are replaced", &before.unchecked);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_what_is_replaced_and_what_is_lost() {
        let mut before = Before::default();
        before.files.insert("e/00.ndjson".to_owned(), 2_000);
        assert_eq!(
            question("e", None, "/lake/", &before),
            "`--again e` replaces 1 files (2.0 kB) in `/lake/`, once everything is exported again"
        );
        assert_eq!(
            question("e", Some("2026-11-30T14".parse().unwrap()), "/lake/", &before),
            "`--again e --period 2026-11-30T14` replaces 1 files (2.0 kB) in `/lake/`, once its records are exported again"
        );
        before.gone = (0..9).map(|n| format!("/in/{n}")).collect();
        before.edited = vec!["e/01.ndjson".into()];
        let text = question("e", None, "/lake/", &before);
        assert!(text.contains("; 9 files that it has read are gone") && text.contains("`/in/4`, …; "), "{text}");
        assert!(text.ends_with("; files that others have edited stay: `e/01.ndjson`"), "{text}");
        before.unchecked = vec!["e/00.ndjson".into()];
        let text = question("e", None, "/lake/", &before);
        assert!(text.ends_with("not known, and they are replaced: `e/00.ndjson`"), "{text}");
    }
}
