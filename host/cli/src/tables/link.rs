//! `lakeport tables link`: tables that are to be exported.

use toml_edit::{Array, Item, Value};

use super::{find_all, words};
use crate::Config;
use lakeport::config::edit::{Edit, set};
use lakeport::error::{Error, Result};

/// Export tables: those that the configuration has, and new ones
///
/// Changes the configuration in place and keeps its comments. The next run begins with the tables; others go on as they are.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// A table; EXPORT.TABLE where several exports keep tables
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Read tables anew that are linked already: from the beginning, into new files
    #[arg(long)]
    pub again: bool,
    /// New tables: where rows have their key, a JSON pointer; may be given several times
    #[arg(long, value_name = "POINTER")]
    pub key: Vec<String>,
    /// New tables: where rows have the time of their creation, a JSON pointer
    #[arg(long, value_name = "POINTER")]
    pub created: Option<String>,
    /// New tables: what becomes of a changed row
    #[arg(long, value_parser = ["in-place", "append-only"])]
    pub write: Option<String>,
    /// New tables: what a file covers
    #[arg(long, value_parser = ["year", "month"])]
    pub partition: Option<String>,
    /// A new table: the kind of the records that hold its rows
    #[arg(long)]
    pub kind: Option<String>,
    /// New tables: where columns are known from
    #[arg(long, value_parser = ["stream", "infer"])]
    pub columns: Option<String>,
}

/// Changes the configuration, and says what that means, a line a table.
///
/// # Errors
/// Of kind `Config`; nothing was changed then.
pub fn run(args: &Args, env: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let (config, tables) = words(&args.config, &args.tables);
    let mut edit = Edit::open(&config)?;
    let example = format!("lakeport tables link {} account", config.display());
    let mut said = String::new();
    let keys = args.keys();
    for named in find_all(&edit, &tables, &example)? {
        let shown = named.shown();
        if !named.known {
            if args.again {
                return Err(Error::config(format!("`--again`: there is no table `{shown}`"))
                    .with_help("leave out `--again`: it is read from the beginning"));
            }
            edit.add_table(&named.export, &named.table, keys.clone())?;
            said += &format!("{shown}: added; the next run begins with it\n");
            continue;
        }
        if let Some((key, _)) = keys.first() {
            return Err(Error::config(format!("`--{key}` is for new tables, and `{shown}` is in the configuration"))
                .with_help(format!("mend `[exports.{}.tables.{}]` in the file", named.export, named.table)));
        }
        let table = edit.at_mut(&["exports", &named.export, "tables", &named.table]).expect("it was found");
        let was_linked = table.get("linked").and_then(Item::as_bool).unwrap_or(true);
        if !was_linked {
            set(table, "linked", true);
        }
        said += &match (was_linked, args.again) {
            (_, true) => {
                let link = table.get("link").and_then(Item::as_integer).unwrap_or(1) + 1;
                set(table, "link", link);
                format!("{shown}: linked again, `link = {link}`; the next run reads it anew, into new files\n")
            }
            (false, false) => format!("{shown}: linked; the next run begins with it\n"),
            (true, false) => format!("{shown}: linked as before; `--again` reads it anew\n"),
        };
    }
    edit.save(env)?;
    Ok(said)
}

impl Args {
    /// The keys of new tables.
    fn keys(&self) -> Vec<(&'static str, Value)> {
        let key = match &self.key[..] {
            [] => None,
            [one] => Some(one.into()),
            several => Some(Value::Array(Array::from_iter(several))),
        };
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let keys = [
            ("kind", text(&self.kind)),
            ("key", key),
            ("created", text(&self.created)),
            ("write", text(&self.write)),
            ("partition", text(&self.partition)),
            ("columns", text(&self.columns)),
        ];
        keys.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}
