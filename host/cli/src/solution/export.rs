//! `lakeport solution export`: a configuration and all it needs, as one file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use toml_edit::Item;

use super::file::{Configuration, FORMAT, Plugin, Solution, Text, VERSION, digest};
use crate::{Config, variable_or_stand_in};
use lakeport::config::edit::{Edit, set};
use lakeport::config::{self, comments, variables};
use lakeport::error::{Error, Result};
use lakeport::plan::{Limits, PluginOrigin, PluginPlan};
use lakeport::plugin::lock::{Lock, Pinned};
use lakeport::replace::replace;

/// Write a configuration, with its schemas and plugins, into one file, without a secret
///
/// What differs between environments is listed in it as variables: lakes, what opens them, and what sources read.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// The file to write; standard output without it
    #[arg(long, short, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// Writes the solution, or answers with it where it goes to standard output.
///
/// # Errors
/// Of kind `Config`: the configuration is wrong, or a plugin is not the one that was accepted.
pub fn run(args: &Args) -> Result<String> {
    let solution = solution(&args.config.config)?;
    let mut text = serde_json::to_string_pretty(&solution)
        .map_err(|error| Error::internal(format!("the solution is not JSON: {error}")))?;
    text.push('\n');
    let Some(output) = &args.output else { return Ok(text) };
    replace(output, text.as_bytes()).map_err(|error| {
        let error = error.to_string().to_lowercase();
        Error::config(format!("cannot write the solution `{}`: {error}", output.display()))
            .with_help("name a file in a folder that is there: `--output shop.solution.json`")
    })?;
    let (texts, plugins) = (solution.texts.len(), solution.plugins.len());
    let mut said =
        format!("{}: the configuration, texts: {texts}, plugins: {plugins}; an import sets\n", output.display());
    for variable in &solution.variables {
        said += &format!("  {}  {}\n", variable.name, shown(&variable.suggestion));
    }
    Ok(said)
}

/// A variable's value as people write it.
pub fn shown(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn solution(path: &Path) -> Result<Solution> {
    config::load(path, &variable_or_stand_in)?;
    let mut edit = Edit::open(path)?;
    let lock = Lock::read(path)?;
    let mut packed = Packed::new(config::folder_of(path));
    let mut plugins = Vec::new();
    for name in edit.names(&["plugins"]) {
        let table = edit.at_mut(&["plugins", &name]).expect("it was listed");
        let Some(component) = table.get("path").and_then(Item::as_str).map(str::to_owned) else { continue };
        let (place, from) = packed.place(&component, "plugins");
        let bytes = fs::read(&from).map_err(|error| unreadable(&component, &error))?;
        let plan = PluginPlan { name: name.clone(), origin: PluginOrigin::Path(from), limits: Limits::default() };
        if let Pinned::Differs { accepted, found } = lock.check(&plan, &digest(&bytes)) {
            return Err(lock.refusal(&name, &accepted, &found));
        }
        if place != component {
            set(table, "path", place.as_str());
        }
        plugins.push(Plugin::new(name, place, &bytes));
    }
    let mut texts: Vec<Text> = Vec::new();
    variables::visit_texts(&mut edit, &mut |path| {
        let (place, from) = packed.place(path, "files");
        let content = fs::read_to_string(from).map_err(|error| unreadable(path, &error))?;
        if !texts.iter().any(|text| text.path == place) {
            texts.push(Text::new(place.clone(), content));
        }
        Ok(place)
    })?;
    let variables = variables::variables(&edit);
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let configuration = Configuration { name, content: comments::without_secrets(&edit.text()) };
    Ok(Solution { format: FORMAT.into(), version: VERSION, configuration, texts, plugins, variables })
}

fn unreadable(path: &str, error: &std::io::Error) -> Error {
    Error::config(format!("cannot read `{path}`: {}", error.to_string().to_lowercase()))
}

/// Where files go in a solution: where they are, if that is below the configuration's folder.
struct Packed {
    folder: PathBuf,
    /// Where each file comes from, by its place.
    places: BTreeMap<String, PathBuf>,
}

impl Packed {
    fn new(folder: PathBuf) -> Packed {
        Packed { folder, places: BTreeMap::new() }
    }

    /// The place of the file that the configuration calls `path`, and where it lies. One from elsewhere goes into `folder`.
    fn place(&mut self, path: &str, folder: &str) -> (String, PathBuf) {
        let from = self.folder.join(path);
        let parts: Vec<_> = Path::new(path).components().filter(|part| *part != Component::CurDir).collect();
        let below = parts.iter().all(|part| matches!(part, Component::Normal(_)));
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        let own = below.then(|| parts.iter().collect::<PathBuf>().to_string_lossy().into_owned());
        let others = (1..).map(|number| match number {
            1 => format!("{folder}/{name}"),
            _ => format!("{folder}/{number}-{name}"),
        });
        let free = |place: &String| self.places.get(place).is_none_or(|taken| *taken == from);
        let place = own.into_iter().chain(others).find(free).expect("there are numbers enough");
        self.places.insert(place.clone(), from.clone());
        (place, from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_in_its_place_and_one_from_elsewhere_gets_one() {
        let mut packed = Packed::new("/etc/lakeport".into());
        let mut place = |path: &str| packed.place(path, "plugins").0;
        assert_eq!(place("./a/p.wasm"), "a/p.wasm");
        assert_eq!(place("../p.wasm"), "plugins/p.wasm");
        assert_eq!(place("/opt/p.wasm"), "plugins/2-p.wasm");
        assert_eq!(place("../p.wasm"), "plugins/p.wasm");
    }
}
