//! What the `lakeport plugin` commands stand on: inspecting, compiling ahead, starting a new plugin.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use lakeport::plugin::{Compiler, PluginKind, Sandbox};

use super::sandbox;
use crate::support::lake_folder::{Installation, LAKEPORT};

#[test]
fn inspecting_tells_what_a_component_asks_for() {
    let ndjson = lakeport::plugin::inspect(sandbox(), "ndjson", &[]).unwrap();
    assert_eq!((ndjson.kind, ndjson.name.as_str()), (PluginKind::Format, "ndjson"));
    let opened = ndjson.opened.unwrap();
    assert_eq!(opened.columns, ["json(body)"]);
    assert_eq!(opened.file_type.unwrap().extension, "ndjson");

    let tables = lakeport::plugin::inspect(sandbox(), "cdm-csv", &[]).unwrap();
    assert_eq!((tables.kind, tables.tables, ndjson.tables), (PluginKind::Format, true, false));
    let opened = tables.opened.unwrap();
    assert_eq!(opened.columns[0], "text(subject)");
    assert_eq!(opened.file_type.unwrap().extension, "csv");

    let odd = lakeport::plugin::inspect(sandbox(), test_guests::FILTER, &[]).unwrap();
    assert_eq!((odd.kind, odd.name.as_str()), (PluginKind::Filter, "test-filter"));
    assert!(odd.opened.is_none(), "it cannot be opened without its mode");
    assert!(odd.imports.iter().any(|import| import.starts_with("wasi:cli/stderr@0.2.")), "{:?}", odd.imports);
}

#[test]
fn compiling_ahead_fills_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(Some(cache.path().to_owned()), Compiler::ThisProcess).unwrap();
    let compiled = lakeport::plugin::compile(&sandbox, &[test_guests::FORMAT.into()], &[]).unwrap();
    let names: Vec<&str> = compiled.iter().map(|compiled| compiled.plugin.as_str()).collect();
    assert_eq!(names, ["avro", "cdm-csv", "enrich", "ndjson", "select", test_guests::FORMAT]);
    assert!(compiled.iter().all(|compiled| compiled.compiled_size > 0));
    let files = std::fs::read_dir(cache.path().join("compiled")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files.iter().filter(|name| name.ends_with(".cwasm")).count(), 6, "{files:?}");
    assert!(!files.iter().any(|name| name.starts_with("tmp.") || name.starts_with("key.")), "{files:?}");
}

#[test]
fn a_new_plugin_of_each_kind_is_built_by_the_printed_commands_and_runs() {
    let parent = tempfile::tempdir().unwrap();
    // Dependencies are compiled once for all kinds, and for all runs of this test.
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("scaffold");
    fs::create_dir_all(&target).unwrap();
    for kind in PluginKind::ALL {
        let name = format!("new-{kind}");
        let mut lakeport = Command::new(LAKEPORT);
        lakeport.current_dir(parent.path()).args(["plugin", "new", &name, "--into", "my plugins", "--kind"]);
        let printed = String::from_utf8(lakeport.arg(kind.to_string()).output().unwrap().stdout).unwrap();
        let folder = parent.path().join("my plugins").join(&name);
        symlink(&target, folder.join("target")).unwrap();
        // The workspace's lock file, so that no registry is asked for what is here already.
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock"), folder.join("Cargo.lock")).unwrap();

        let lines = printed.lines().skip_while(|line| !line.starts_with("build it")).skip(1);
        let commands: Vec<_> = lines.take_while(|line| line.starts_with("  ")).collect();
        assert_eq!(commands.len(), 3, "{printed}");
        let mut shell = Command::new("sh");
        shell.current_dir(parent.path()).args(["-e", "-c", &commands.join("\n")]).env_remove("CARGO_TARGET_DIR");
        let output = shell.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").output().unwrap();
        assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));

        let component = printed.lines().last().unwrap().strip_prefix("the component: ").unwrap();
        let component = parent.path().join(component);
        let found = lakeport::plugin::inspect(sandbox(), component.to_str().unwrap(), &[]).unwrap();
        assert_eq!((found.kind, found.name.as_str()), (kind, name.as_str()));
        assert_eq!(found.summary, format!("A {kind} for Lakeport."));
        assert!(found.opened.is_some(), "it has defaults");
        assert_eq!(exported_with(kind, &component), 1, "{kind}");
    }
}

/// How many records an export writes of one record, with a new plugin as it was made.
fn exported_with(kind: PluginKind, component: &Path) -> u64 {
    let place = match kind {
        PluginKind::Filter => "filters = [{ plugin = \"new\" }]",
        PluginKind::Transform => "transforms = [{ plugin = \"new\" }]",
        PluginKind::Format => "format = { plugin = \"new\" }",
    };
    let installation = Installation::new(&format!(
        "[plugins.new]\npath = '{}'\n[sources.s]\nfiles = \"in.ndjson\"\n[exports.e]\nsource = \"s\"\n{place}\n",
        component.display()
    ));
    let record = r#"{"name":"n","signalTime":"2026-03-01T10:00:00Z","temperature":91,"readings":[1]}"#;
    installation.write("in.ndjson", record);
    installation.export()["records-written"].as_u64().unwrap()
}
