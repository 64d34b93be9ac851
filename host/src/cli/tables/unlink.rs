//! `lakeport tables unlink`: tables that are not to be exported any more.

use toml_edit::Item;

use super::{Named, find_all};
use crate::cli::{Config, ask};
use crate::config::edit::{Edit, set};
use crate::config::suggest;
use crate::error::{Error, Result};

/// Export tables no more; their files stay, or go
///
/// Changes the configuration in place and keeps its comments. The next run leaves the tables out; others go on as they are.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// A table; EXPORT.TABLE where several exports keep tables
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Every table of every export
    #[arg(long, conflicts_with = "tables")]
    pub all: bool,
    /// What becomes of their files
    #[arg(long, value_parser = ["keep", "remove"], default_value = "keep")]
    pub files: String,
    /// Remove files without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// Changes the configuration, and says what that means, a line a table.
///
/// # Errors
/// Of kind `Config`; nothing was changed then.
pub fn run(args: &Args, env: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let mut edit = Edit::open(&args.config.config)?;
    let tables = match args.all {
        true => every(&edit),
        false => {
            let example = format!("lakeport tables unlink {} account", args.config.config.display());
            find_all(&edit, &args.tables, &example)?
        }
    };
    if let Some(unknown) = tables.iter().find(|named| !named.known) {
        let known = edit.names(&["exports", &unknown.export, "tables"]);
        let error = Error::config(format!("there is no table `{}`", unknown.shown()));
        return Err(error.with_help(suggest(&unknown.table, known.iter().map(String::as_str))));
    }
    let remove = args.files == "remove";
    if remove && !args.yes {
        confirm(&tables)?;
    }
    let mut said = String::new();
    for named in tables {
        let table = edit.at_mut(&["exports", &named.export, "tables", &named.table]).expect("it was found");
        let was_linked = table.get("linked").and_then(Item::as_bool).unwrap_or(true);
        if was_linked {
            set(table, "linked", false);
        }
        let before = table.get("unlinked-files").and_then(Item::as_str).unwrap_or("keep").to_owned();
        if before != args.files {
            set(table, "unlinked-files", args.files.as_str());
        }
        let files = if remove { "removes its files" } else { "keeps its files" };
        let as_before = if was_linked { "" } else { " as before" };
        said += &format!("{}: unlinked{as_before}; the next run leaves it out and {files}\n", named.shown());
    }
    edit.save(env)?;
    Ok(said)
}

/// Every table of the configuration.
fn every(edit: &Edit) -> Vec<Named> {
    let tables = |export: String| {
        let tables = edit.names(&["exports", &export, "tables"]).into_iter();
        tables.map(move |table| Named { export: export.clone(), table, known: true })
    };
    edit.exports_of_tables().into_iter().flat_map(tables).collect()
}

/// Asks whether files may go.
fn confirm(tables: &[Named]) -> Result<()> {
    let shown: Vec<_> = tables.iter().map(|named| format!("`{}`", named.shown())).collect();
    let what = format!("the files of {}", shown.join(", "));
    if !ask::is_possible() {
        return Err(Error::config(format!("{what} would be removed, and nobody can be asked whether that is meant"))
            .with_help("add `--yes`, or keep them with `--files keep`"));
    }
    let answer = ask::line(&format!("The next run removes {what} from the lake. Go on? [y/N] "))?;
    match answer.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::config("nothing was changed").with_help("answer `y` to remove files, or keep them")),
    }
}
