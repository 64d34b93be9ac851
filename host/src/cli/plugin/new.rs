//! `lakeport plugin new`: starts a plugin that builds at once.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::plugin::{PluginKind, Scaffold};

/// Start a plugin: a folder that builds at once
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The plugin's name: lower-case letters, digits and `-`
    #[arg(value_parser = name)]
    pub name: String,
    /// What the plugin does
    #[arg(long, default_value = "filter")]
    pub kind: Kind,
    /// The folder to make it in
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    pub into: PathBuf,
}

/// The kinds of plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Decides which records are kept
    Filter,
    /// Rewrites records
    Transform,
    /// Writes the bytes of files
    Format,
}

impl From<Kind> for PluginKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Filter => PluginKind::Filter,
            Kind::Transform => PluginKind::Transform,
            Kind::Format => PluginKind::Format,
        }
    }
}

/// What was made, and what to do with it.
pub fn render(made: &Scaffold) -> String {
    let folder = made.folder.display();
    let files: String = made.files.iter().map(|file| format!("  {}\n", file.display())).collect();
    format!(
        "made {folder}\n{files}build it: cd {folder} && cargo build --release\nthe component: {}\n",
        made.component.display()
    )
}

/// A plugin's name is a crate's name too.
fn name(text: &str) -> Result<String, String> {
    let right = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if right {
        Ok(text.to_owned())
    } else {
        Err("a name is up to 64 lower-case letters, digits and `-`, and starts with a letter".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_fit_for_a_crate() {
        assert_eq!(name("too-hot2"), Ok("too-hot2".to_owned()));
        for wrong in ["", "2hot", "Too-Hot", "too_hot", "../x", "a b"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
