//! Whether an imported configuration would run: its plugins load and take their settings, its lakes answer, its sources are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lakeport::config::without_parents;
use lakeport::error::{Error, Kind, Result};
use lakeport::lake::Lake;
use lakeport::plan::{ExportPlan, Exports, Input, LakePlan, Location, Plan};
use lakeport::plugin::{Moment, Toolbox};
use lakeport::session::Session;

/// Where the configuration lies while it is looked at, and where it is to lie.
pub struct Moved<'a> {
    pub from: &'a Path,
    pub to: &'a Path,
}

impl Moved<'_> {
    fn path(&self, path: &Path) -> PathBuf {
        // The folder that is to be may not be there yet, and no `..` leads out of it then.
        without_parents(&path.strip_prefix(self.from).map_or_else(|_| path.to_owned(), |below| self.to.join(below)))
    }

    /// An error, with the folder that is to be in place of the one it is about.
    pub fn error(&self, error: Error) -> Error {
        let renamed = |text: String| text.replace(&*self.from.to_string_lossy(), &self.to.to_string_lossy());
        Error {
            message: renamed(error.message),
            snippet: error.snippet.map(renamed),
            help: error.help.map(renamed),
            also: error.also.into_iter().map(|error| self.error(error)).collect(),
            ..error
        }
    }
}

/// Loads every plugin and opens it with its settings, schemas among them.
pub fn plugins(session: &Session) -> Result<()> {
    let toolbox = session.sandbox.toolbox();
    let moment = Moment { write_time: 0, seed: 0 };
    for export in &session.plan.exports {
        let opened = || {
            session.load(export)?;
            export.filters.iter().try_for_each(|plugin| toolbox.filter(plugin, moment).map(drop))?;
            export.transforms.iter().try_for_each(|plugin| toolbox.transform(plugin, moment).map(drop))?;
            match &export.exports {
                Exports::Tables(_) => toolbox.catalog(&export.format, moment).map(drop),
                _ => toolbox.format(&export.format, moment).map(drop),
            }
        };
        opened().map_err(|error| error.context(format_args!("export `{}`", export.name)))?;
    }
    Ok(())
}

/// Asks every lake for a list; answers with their number.
pub async fn lakes(plan: &Plan, moved: &Moved<'_>) -> Result<usize> {
    let lakes: BTreeMap<&str, &Arc<LakePlan>> =
        plan.exports.iter().map(|export| (export.lake.name.as_str(), &export.lake)).collect();
    for (name, lake) in &lakes {
        let mut lake = LakePlan::clone(lake);
        if let Location::Local(folder) = &mut lake.location {
            *folder = moved.path(folder);
        }
        let asked = async {
            // A prefix under which there is nothing: the answer is short, and needs the right to ask.
            let lake = Lake::open_read_only(&lake).await?;
            lake.list(&format!("{}/_import/", lake.log_folder())).await.map(drop)
        };
        asked.await.map_err(|error| {
            let error = error.context(format_args!("lake `{name}` cannot be reached"));
            match &error.help {
                Some(help) if error.kind == Kind::Lake => {
                    let help = format!("{help}; `--offline` imports without asking lakes and sources");
                    error.with_help(help)
                }
                _ => error,
            }
        })?;
    }
    Ok(lakes.len())
}

/// Whether the folders that sources read are there; answers with the number of sources.
pub fn sources(plan: &Plan, moved: &Moved<'_>) -> Result<usize> {
    let source = |export: &ExportPlan| (export.source.name.clone(), export.source.clone());
    let sources: BTreeMap<_, _> = plan.exports.iter().map(source).collect();
    for (name, source) in &sources {
        let Input::Files(files) = &source.input else { continue };
        for file in files {
            let folder = moved.path(&folder_of(Path::new(file)));
            if !folder.exists() {
                let message = format!("source `{name}` reads in the folder `{}`, which is not there", folder.display());
                return Err(Error::config(message).with_help(format!(
                    "make it, or set `sources.{name}.files`; `--offline` imports without asking lakes and sources"
                )));
            }
        }
    }
    Ok(sources.len())
}

/// The folder that a path or a pattern starts to look in.
fn folder_of(path: &Path) -> PathBuf {
    let plain: PathBuf =
        path.components().take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '['])).collect();
    match plain == path && !path.is_dir() {
        true => path.parent().unwrap_or(path).to_owned(),
        false => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_starts_to_look_in_the_folder_before_it() {
        for (path, folder) in [("/a/b/*.ndjson", "/a/b"), ("/a/**/x/y", "/a"), ("/a/b.ndjson", "/a"), ("/tmp", "/tmp")]
        {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }
}
