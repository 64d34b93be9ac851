//! `lakeport plugin new`: starts a plugin that builds at once.

use std::path::PathBuf;

use clap::ValueEnum;

use lakeport::plugin::{PluginKind, Scaffold, check_name};

/// The compilation target of components.
const TARGET: &str = "wasm32-wasip2";

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

/// Says which folder was made, and which commands build its component.
pub fn render(made: &Scaffold) -> String {
    let folder = made.folder.display();
    let files: String = made.files.iter().map(|file| format!("  {}\n", file.display())).collect();
    let quoted = quoted(&made.folder.display().to_string());
    let component = made.folder.join(&made.component);
    format!(
        "made {folder}\n{files}build it (once before: rustup target add {TARGET}):\n  cd {quoted}\n  cargo test\n  \
         cargo build --release --target {TARGET}\nthe component: {}\n",
        component.display()
    )
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    match path.chars().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// A plugin's name, checked.
fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
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

    #[test]
    fn the_commands_and_the_component_are_where_the_plugin_is() {
        let made = Scaffold {
            folder: "my plugins/it's-hot".into(),
            files: vec!["Cargo.toml".into()],
            component: "target/wasm32-wasip2/release/its_hot.wasm".into(),
        };
        let text = render(&made);
        assert!(text.contains("\n  cd 'my plugins/it'\\''s-hot'\n  cargo test\n"), "{text}");
        assert!(text.contains("\n  cargo build --release --target wasm32-wasip2\n"), "{text}");
        assert!(
            text.ends_with("the component: my plugins/it's-hot/target/wasm32-wasip2/release/its_hot.wasm\n"),
            "{text}"
        );
    }
}
