//! `lakeport solution import`: a solution becomes a folder, once everything about it was found right.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::Solution;
use super::values;
use super::verify::{self, Moved};
use crate::cli::{lanes, runtime, variable, writer};
use crate::clock::Surroundings;
use crate::config::edit::Edit;
use crate::config::{self, variables};
use crate::error::{Error, Result};
use crate::pipeline::Options;
use crate::plugin::Sandbox;
use crate::plugin::lock::Lock;
use crate::session::Session;

/// Make a folder of a solution, for this environment
///
/// Asks for what differs here. Plugins, schemas, lakes and sources are looked at before anything is written.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The solution
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// The folder that the configuration and its files go into
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub into: PathBuf,
    /// Values of variables, a TOML file: NAME = VALUE
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub variables: Option<PathBuf>,
    /// The value of a variable; may be given several times, and counts more than the file's
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Look at no lake, no source and no environment variable
    #[arg(long)]
    pub offline: bool,
    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
}

/// Imports a solution, and says what was looked at and what was written.
///
/// # Errors
/// Of whatever was found wrong; nothing was written then.
pub fn run(args: &Args) -> Result<String> {
    let solution = Solution::read(&args.file)?;
    let files = solution.files()?;
    let into = absolute(&args.into)?;
    let configuration = PathBuf::from(&solution.configuration.name);
    let all: Vec<_> = files.iter().map(|(path, _)| path.clone()).chain([configuration.clone()]).collect();
    refuse_taken(&into, &all, args.force)?;

    let mut values = values::given(args.variables.as_deref(), &args.set)?;
    let mut edit = Edit::of(&configuration, &solution.configuration.content)?;
    for (name, value) in &values {
        variables::assign(&mut edit, &solution.variables, name, value)?;
    }
    values::complete(&mut values, &solution.variables)?;
    for (name, value) in &values {
        variables::assign(&mut edit, &solution.variables, name, value)?;
    }

    let staged = Staged::make(&into)?;
    for (path, content) in &files {
        staged.write(path, content)?;
    }
    staged.write(&configuration, edit.text().as_bytes())?;
    for secret in variables::secret_files(&edit) {
        staged.link(&secret, &into)?;
    }
    let moved = Moved { from: &staged.folder, to: &into };
    let looked_at =
        look(&staged.folder.join(&configuration), args.offline, &moved).map_err(|error| moved.error(error))?;
    let lock = Lock::path_for(&configuration);
    let locked = staged.folder.join(&lock).exists().then_some(lock);
    // The configuration last: where it is, everything it needs is.
    let places: Vec<_> = all[..files.len()].iter().chain(&locked).chain([&configuration]).collect();
    staged.publish(&into, &places)?;

    let mut said = format!("{looked_at}\nwritten into {}\n", into.display());
    for place in places {
        said += &format!("  {}\n", place.display());
    }
    said += &format!("next: lakeport check {}\n", args.into.join(&configuration).display());
    Ok(said)
}

/// Looks at everything; pins the plugins in a lock file beside the configuration.
fn look(configuration: &Path, offline: bool, moved: &Moved<'_>) -> Result<String> {
    let plan = config::load(configuration, &|name| match offline {
        // What is not asked needs no secrets.
        true => Some(variable(name).unwrap_or_else(|| "-".to_owned())),
        false => variable(name),
    })?;
    let options = Options { follow: false, full: Vec::new(), lanes: lanes(), writer: writer() };
    let surroundings = Surroundings::system();
    let session = Session { plan: Arc::new(plan), sandbox: Sandbox::new(None)?, surroundings, options };
    verify::plugins(&session)?;
    session.pin(true)?;
    let right = "the configuration, its plugins and their settings are right";
    if offline {
        return Ok(format!("{right}\nlakes, sources and secrets were not looked at: `--offline`"));
    }
    let lakes = runtime()?.block_on(verify::lakes(&session.plan, moved))?;
    let sources = verify::sources(&session.plan, moved)?;
    Ok(format!("{right}\nlakes that answered: {lakes}; sources whose folders are there: {sources}"))
}

/// Refuses to write over files.
fn refuse_taken(into: &Path, paths: &[PathBuf], force: bool) -> Result<()> {
    let lock = paths.last().map(|configuration| Lock::path_for(configuration));
    match paths.iter().chain(&lock).find(|path| into.join(path).exists()) {
        Some(taken) if !force => Err(Error::config(format!("`{}` is there already", into.join(taken).display()))
            .with_help("name another folder with `--into`, or replace it with `--force`")),
        _ => Ok(()),
    }
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    std::path::absolute(folder).map_err(|error| Error::config(format!("`--into {}`: {error}", folder.display())))
}

/// A folder beside the one that is to be made; it goes when this goes.
struct Staged {
    folder: PathBuf,
}

impl Staged {
    fn make(into: &Path) -> Result<Staged> {
        let name = into.file_name().unwrap_or_default().to_string_lossy();
        let folder = into.with_file_name(format!(".{name}.import-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
        Ok(Staged { folder })
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let path = self.folder.join(path);
        let parent = path.parent().unwrap_or(&self.folder);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, content));
        written.map_err(|error| unwritable(&path, &error))
    }

    /// Lets what looks at the configuration read a secret where it will, if it lies in `into`.
    fn link(&self, path: &Path, into: &Path) -> Result<()> {
        let (from, to) = (into.join(path), self.folder.join(path));
        if path.is_absolute() || path.starts_with("..") || !from.exists() || to.exists() {
            return Ok(());
        }
        let parent = to.parent().unwrap_or(&self.folder);
        let linked = fs::create_dir_all(parent).and_then(|()| std::os::unix::fs::symlink(&from, &to));
        linked.map_err(|error| unwritable(&to, &error))
    }

    /// Moves files to their places in `into`, in this order.
    fn publish(&self, into: &Path, places: &[&PathBuf]) -> Result<()> {
        for place in places {
            let to = into.join(place);
            let parent = to.parent().unwrap_or(into);
            let moved = fs::create_dir_all(parent).and_then(|()| fs::rename(self.folder.join(place), &to));
            moved.map_err(|error| unwritable(&to, &error))?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What is left is of no use to anyone.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::config(format!("cannot write `{}`: {}", path.display(), error.to_string().to_lowercase()))
        .with_help("name a folder that may be written with `--into`")
}
