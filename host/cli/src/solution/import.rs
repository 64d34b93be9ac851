//! `lakeport solution import`: a solution becomes a folder, once everything about it was found right.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::Solution;
use super::staged::Staged;
use super::values;
use super::verify::{self, Moved};
use crate::{lanes, log_warnings, runtime, sandbox, variable, variable_or_stand_in, writer};
use lakeport::config::edit::Edit;
use lakeport::config::{self, variables};
use lakeport::error::{Error, Result};
use lakeport::pipeline::Options;
use lakeport::plugin::lock::Lock;
use lakeport::session::Session;
use lakeport::source::Local;
use lakeport::telemetry::human::printable;

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
    log_warnings()?;
    fn all_shown(error: Error) -> Error {
        Error {
            message: shown(&error.message),
            snippet: error.snippet.as_deref().map(shown),
            help: error.help.as_deref().map(shown),
            also: error.also.into_iter().map(all_shown).collect(),
            ..error
        }
    }
    import(args).map_err(all_shown)
}

/// What may have come from a solution that nobody has looked at yet: a terminal acts on nothing of it.
fn shown(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .map(|line| match line.strip_suffix(['\n', '\t']) {
            Some(line_alone) => printable(line_alone) + &line[line_alone.len()..],
            None => printable(line),
        })
        .collect()
}

fn import(args: &Args) -> Result<String> {
    let solution = Solution::read(&args.file)?;
    let files = solution.files()?;
    let into = absolute(&args.into)?;
    let configuration = PathBuf::from(&solution.configuration.name);
    let all: Vec<_> = files.iter().map(|(path, _)| path.clone()).chain([configuration.clone()]).collect();
    refuse_taken(&into, &all, args.force)?;

    let values = values::given(args.variables.as_deref(), &args.set)?;
    let mut edit = Edit::of(&configuration, &solution.configuration.content)?;
    solution.check_names(&edit)?;
    for (name, value) in &values {
        variables::assign(&mut edit, &solution.variables, name, value)?;
    }
    values::complete(&values, &solution.variables, &mut |name, value| {
        variables::assign(&mut edit, &solution.variables, name, value)
    })?;

    let mut staged = Staged::make(&into)?;
    for (path, content) in &files {
        staged.write(path, content)?;
    }
    // Secrets are read from where they will be; everything else is found from where the configuration lies for now.
    let mut for_now = Edit::of(&configuration, &edit.text())?;
    variables::anchor_secret_files(&mut for_now, &into);
    staged.write(&configuration, for_now.text().as_bytes())?;
    let moved = Moved { from: &staged.folder, to: &into };
    let looked_at =
        look(&staged.folder.join(&configuration), args.offline, &moved).map_err(|error| moved.error(error))?;
    staged.write(&configuration, edit.text().as_bytes())?;
    let lock = Lock::path_for(&configuration);
    let locked = staged.folder.join(&lock).exists().then_some(lock);
    // The configuration last: where it is, everything it needs is.
    let places: Vec<_> = all[..files.len()].iter().chain(&locked).chain([&configuration]).collect();
    staged.publish(&places)?;

    let mut said = format!("{looked_at}\nwritten into {}\n", into.display());
    for place in places {
        said += &format!("  {}\n", printable(&place.display().to_string()));
    }
    said += &format!("next: lakeport check {}\n", printable(&args.into.join(&configuration).display().to_string()));
    Ok(said)
}

/// Looks at everything; pins the plugins in a lock file beside the configuration.
fn look(configuration: &Path, offline: bool, moved: &Moved<'_>) -> Result<String> {
    let plan = config::load(configuration, if offline { &variable_or_stand_in } else { &variable })?;
    let session = Session::new(Arc::new(plan), sandbox()?, Arc::new(Local), Options::new(lanes(), writer()));
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

/// Refuses to write over files, and what could not be written at all.
fn refuse_taken(into: &Path, paths: &[PathBuf], force: bool) -> Result<()> {
    let lock = paths.last().map(|configuration| Lock::path_for(configuration));
    let places = || paths.iter().chain(&lock);
    let is_in_the_way = |path: &&PathBuf| {
        let folders = path.ancestors().skip(1).map(|folder| into.join(folder));
        into.join(path).is_dir() || folders.into_iter().any(|folder| folder.exists() && !folder.is_dir())
    };
    if let Some(path) = places().find(is_in_the_way) {
        let path = into.join(path);
        let message =
            format!("cannot write `{}`: a folder is there, or a file is where its folder would be", path.display());
        return Err(Error::config(message).with_help("move that away, or name another folder with `--into`"));
    }
    match places().find(|path| into.join(path).symlink_metadata().is_ok()) {
        Some(taken) if !force => Err(Error::config(format!("`{}` is there already", into.join(taken).display()))
            .with_help("name another folder with `--into`, or replace it with `--force`")),
        _ => Ok(()),
    }
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    std::path::absolute(folder).map_err(|error| Error::config(format!("`--into {}`: {error}", folder.display())))
}
