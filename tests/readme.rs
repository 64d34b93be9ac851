//! What the documents show works: configurations parse, commands run, the examples' files are read by tools that are not ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::lake_folder::Installation;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("host/cli/ lies in the workspace").to_owned()
}

/// A fenced block of a document.
struct Block {
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            blocks.push(Block { language: language.to_owned(), text });
        }
    }
    blocks
}

/// README.md and every page of docs.
fn documents() -> Vec<(PathBuf, String)> {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    paths.push(root().join("README.md"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The commands of a document's shell blocks, a line each.
fn commands(page: &str) -> Vec<String> {
    let shell = |block: &Block| matches!(block.language.as_str(), "sh" | "console" | "bash");
    let lines =
        |block: Block| block.text.lines().map(|line| line.trim_start_matches("$ ").to_owned()).collect::<Vec<_>>();
    blocks(page).into_iter().filter(shell).flat_map(lines).collect()
}

/// A copy of `examples/signals` without what it has exported.
fn examples() -> Installation {
    let folder = root().join("examples/signals");
    let installation = Installation::new(&fs::read_to_string(folder.join("lakeport.toml")).unwrap());
    installation.write("selected.toml", fs::read(folder.join("selected.toml")).unwrap());
    for entry in fs::read_dir(folder.join("signals")).unwrap() {
        let path = entry.unwrap().path();
        installation
            .write(&format!("signals/{}", path.file_name().unwrap().to_str().unwrap()), fs::read(&path).unwrap());
    }
    installation
}

#[test]
fn every_configuration_in_the_documents_is_right() {
    let mut checked = 0;
    for (path, page) in documents() {
        for Block { text, .. } in blocks(&page).into_iter().filter(|block| block.language == "toml") {
            let folder = tempfile::tempdir().unwrap();
            // Plugins of the reader's own are files that have to be there.
            for path in text.split('"').filter(|path| path.ends_with(".wasm")).map(|path| folder.path().join(path)) {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            lakeport::config::parse(&text, &folder.path().join("lakeport.toml"), &|_| Some("c2VjcmV0".to_owned()))
                .unwrap_or_else(|error| panic!("{}:\n{text}\n{error}", path.display()));
            checked += 1;
        }
    }
    assert!(checked >= 12, "only {checked} configurations were found");
}

#[test]
fn the_readme_has_exactly_two_commands_for_a_fresh_machine_and_they_name_recipes() {
    let page = readme();
    let section = page.split("\n## ").find(|section| section.starts_with("Two commands\n")).unwrap();
    let two = commands(section);
    assert_eq!(two, ["./dev demo", "./dev test"]);
    assert_eq!(commands(&page).iter().filter(|command| command.starts_with("./")).count(), 2);
    let recipes = fs::read_to_string(root().join("justfile")).unwrap();
    for command in two {
        let recipe = command.strip_prefix("./dev ").unwrap();
        let head = |line: &str| line.split([' ', ':']).next() == Some(recipe) && line.contains(':');
        assert!(recipes.lines().any(head), "the justfile has no `{recipe}`");
    }
}

#[test]
fn every_lakeport_command_of_the_readme_runs_in_the_example() {
    let installation = examples();
    let page = readme();
    let commands = commands(&page);
    let ours: Vec<_> = commands.iter().filter_map(|command| command.strip_prefix("lakeport ")).collect();
    assert!(!ours.is_empty());
    for command in ours {
        installation.run_ok(&command.split(' ').collect::<Vec<_>>());
    }
    let smallest = blocks(&page).into_iter().find(|block| block.language == "toml").unwrap();
    installation.write("lakeport.toml", smallest.text);
    installation.run_ok(&["run"]);
    let files = installation.files();
    assert!(files.keys().all(|path| path.starts_with("signals/2026/") && path.ends_with("/00.ndjson")), "{files:?}");
}

#[test]
fn the_readme_lists_every_command_there_is() {
    let page = readme();
    let listed: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `lakeport ")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let help = examples().run_ok(&["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let there: BTreeSet<_> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn the_guide_leads_from_a_configuration_to_files() {
    let page = fs::read_to_string(root().join("docs/getting-started.md")).unwrap();
    let of = |language: &str| {
        let blocks = blocks(&page).into_iter().filter(|block| block.language == language);
        blocks.map(|block| block.text).collect::<Vec<_>>()
    };
    let installation = Installation::new("");
    let data = installation.path().join("data").display().to_string();
    let here = |text: &str| text.replace("/data/", &format!("{data}/"));
    installation.write("data/events.ndjson", of("json")[0].as_str());
    installation.write("lakeport.toml", here(of("toml").last().unwrap()));
    let commands: Vec<_> = commands(&page).into_iter().filter(|command| command.starts_with("lakeport ")).collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in commands {
        installation.run_ok(&here(&command).split(' ').skip(1).collect::<Vec<_>>());
    }
    assert_eq!(installation.lines().concat(), of("json")[0].trim_end().as_bytes());
}

#[test]
fn the_examples_files_are_read_by_duckdb_polars_and_pyarrow() {
    let python = root().join(".tools/py/bin/python");
    assert!(python.exists(), "the tests' Python packages are not installed; run `./dev setup`");
    let installation = examples();
    for (configuration, folder) in [("lakeport.toml", "signals"), ("selected.toml", "selected")] {
        let summary: Value = serde_json::from_str(&installation.run_ok(&["run", configuration, "--json"])).unwrap();
        let written = summary["exports"][0]["records-written"].to_string();
        let mut command = Command::new(&python);
        command.arg(root().join("tests/verify/ndjson.py")).args(["--lines", &written]);
        let output = command.arg(installation.lake().join(folder)).output().unwrap();
        assert!(output.status.success(), "{configuration}: {}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let files = installation.files().into_keys().filter(|path| path.starts_with(folder)).count();
        assert_eq!((&found["files"], found["lines"].to_string()), (&files.into(), written.clone()));
        assert!(found["lines"].as_u64().unwrap() > 100, "{found}");
    }
    let selected = installation.files().into_iter().filter(|(path, _)| path.starts_with("selected/"));
    for line in
        selected.flat_map(|(_, bytes)| String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
    {
        let name = serde_json::from_str::<Value>(&line).unwrap()["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with("Brew") || name == "WaterTankEmpty", "{line}");
    }
}
