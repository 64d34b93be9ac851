//! `lakeport tables unlink`: tables that are not to be exported any more.
//!
//! Files are removed by the run that leaves their table out; once it has, nothing knows them. So the last commit is asked before that is
//! promised.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::Item;

use super::{Named, find_all, words};
use crate::{Config, ask};
use lakeport::commit::read_last;
use lakeport::config::edit::{Edit, set};
use lakeport::config::suggest;
use lakeport::error::{Error, Result};
use lakeport::lake::Lake;
use lakeport::layout::encode_segment;
use lakeport::plan::{Exports, Plan};

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
/// Of kind `Config`, or `Lake` where files are to go and the last commit cannot be read; nothing was changed then.
pub fn run(args: &Args, env: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let (config, tables) = words(&args.config, &args.tables);
    let mut edit = Edit::open(&config)?;
    let tables = match args.all {
        true => every(&edit),
        false => {
            let example = format!("lakeport tables unlink {} account", config.display());
            find_all(&edit, &tables, &example)?
        }
    };
    if let Some(unknown) = tables.iter().find(|named| !named.known) {
        let known = edit.names(&["exports", &unknown.export, "tables"]);
        let error = Error::config(format!("there is no table `{}`", unknown.shown()));
        return Err(error.with_help(suggest(&unknown.table, known.iter().map(String::as_str))));
    }
    let remove = args.files == "remove";
    let known = match remove {
        true => Known::read(&args.config.load()?, &tables)?,
        false => Known::default(),
    };
    let is_forgotten = |named: &Named| remove && !known.has(named);
    // Whoever names every table does not mean one that is gone already.
    let gone = tables.iter().find(|named| is_forgotten(named) && !is_linked(&edit, named));
    if let Some(gone) = gone.filter(|_| !args.all) {
        let message =
            format!("`{}` is unlinked, and the last commit does not have it: no run removes its files", gone.shown());
        let help = format!("delete what is in `{}` by hand: nothing points at it", known.place(gone));
        return Err(Error::config(message).with_help(help));
    }
    if remove && !args.yes {
        confirm(&tables)?;
    }
    let mut said = String::new();
    for named in tables {
        let was_linked = is_linked(&edit, &named);
        let forgotten = is_forgotten(&named);
        if forgotten && !was_linked {
            let place = known.place(&named);
            said += &format!("{}: unlinked as before; no run removes what is in `{place}`\n", named.shown());
            continue;
        }
        let table = edit.at_mut(&["exports", &named.export, "tables", &named.table]).expect("it was found");
        if was_linked {
            set(table, "linked", false);
        }
        let before = table.get("unlinked-files").and_then(Item::as_str).unwrap_or("keep").to_owned();
        if before != args.files {
            set(table, "unlinked-files", args.files.as_str());
        }
        let files = match (remove, forgotten) {
            (true, false) => " and removes its files".to_owned(),
            (true, true) => {
                format!("; the last commit does not have it, and what is in `{}` stays", known.place(&named))
            }
            (false, _) => " and keeps its files".to_owned(),
        };
        let as_before = if was_linked { "" } else { " as before" };
        said += &format!("{}: unlinked{as_before}; the next run leaves it out{files}\n", named.shown());
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

fn is_linked(edit: &Edit, named: &Named) -> bool {
    let table = edit.at(&["exports", &named.export, "tables", &named.table]);
    table.and_then(|table| table.get("linked")).and_then(Item::as_bool).unwrap_or(true)
}

/// What the last commits of some exports know.
#[derive(Default)]
struct Known {
    /// By export: the tables of its last commit, and where the folders of its tables are.
    exports: BTreeMap<String, (BTreeSet<String>, String)>,
}

impl Known {
    /// Asks the lakes of these tables.
    fn read(plan: &Plan, tables: &[Named]) -> Result<Known> {
        let runtime = crate::runtime()?;
        let mut exports = BTreeMap::new();
        for export in &plan.exports {
            let Exports::Tables(of_tables) = &export.exports else { continue };
            if !tables.iter().any(|named| named.export == export.name) {
                continue;
            }
            let known = runtime.block_on(async {
                let lake = Lake::open_read_only(&export.lake).await?;
                let last = read_last(&lake, &export.name, &export.partition).await?;
                let dataset = last.and_then(|(_, commit)| commit.dataset);
                let tables = dataset.into_iter().flat_map(|dataset| dataset.tables.into_keys()).collect();
                Ok::<_, Error>((tables, lake.url(&of_tables.root)))
            })?;
            exports.insert(export.name.clone(), known);
        }
        Ok(Known { exports })
    }

    fn has(&self, named: &Named) -> bool {
        self.exports.get(&named.export).is_some_and(|(tables, _)| tables.contains(&named.table))
    }

    /// Where a table's files lie.
    fn place(&self, named: &Named) -> String {
        let root = self.exports.get(&named.export).map_or("", |(_, root)| root);
        format!("{root}/{}/", encode_segment(&named.table))
    }
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
