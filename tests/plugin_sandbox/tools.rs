//! What the `lakeport plugin` commands stand on: inspecting, compiling ahead, starting a new plugin.

use std::path::PathBuf;

use lakeport::plugin::{PluginKind, Sandbox};

use super::sandbox;

#[test]
fn inspecting_tells_what_a_component_asks_for() {
    let ndjson = lakeport::plugin::inspect(sandbox(), "ndjson").unwrap();
    assert_eq!((ndjson.kind, ndjson.name.as_str()), (PluginKind::Format, "ndjson"));
    let opened = ndjson.opened.unwrap();
    assert_eq!(opened.columns, ["json(body)"]);
    assert_eq!(opened.file_type.unwrap().extension, "ndjson");

    let tables = lakeport::plugin::inspect(sandbox(), "cdm-csv").unwrap();
    assert_eq!((tables.kind, tables.tables, ndjson.tables), (PluginKind::Format, true, false));
    let opened = tables.opened.unwrap();
    assert_eq!(opened.columns[0], "text(subject)");
    assert_eq!(opened.file_type.unwrap().extension, "csv");

    let odd = lakeport::plugin::inspect(sandbox(), test_guests::FILTER).unwrap();
    assert_eq!((odd.kind, odd.name.as_str()), (PluginKind::Filter, "test-filter"));
    assert!(odd.opened.is_none(), "it cannot be opened without its mode");
    assert!(odd.imports.iter().any(|import| import.starts_with("wasi:cli/stderr@0.2.")), "{:?}", odd.imports);
}

#[test]
fn compiling_ahead_fills_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(Some(cache.path().to_owned())).unwrap();
    let compiled = lakeport::plugin::compile(&sandbox, &[test_guests::FORMAT.into()]).unwrap();
    let names: Vec<&str> = compiled.iter().map(|compiled| compiled.plugin.as_str()).collect();
    assert_eq!(names, ["avro", "cdm-csv", "enrich", "ndjson", "select", test_guests::FORMAT]);
    assert!(compiled.iter().all(|compiled| compiled.compiled_size > 0));
    let files = std::fs::read_dir(cache.path().join("compiled")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files.iter().filter(|name| name.ends_with(".cwasm")).count(), 6, "{files:?}");
    assert!(!files.iter().any(|name| name.starts_with("tmp.") || name.starts_with("key.")), "{files:?}");
}

#[test]
fn a_new_plugin_of_each_kind_builds_and_passes_its_test_at_once() {
    let parent = tempfile::tempdir().unwrap();
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("scaffold");
    for kind in PluginKind::ALL {
        let name = format!("new-{kind}");
        let made = lakeport::plugin::scaffold(parent.path(), &name, kind).unwrap();
        // The workspace's lock file, so that no registry is asked for what is here already.
        let lock = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
        std::fs::copy(lock, made.folder.join("Cargo.lock")).unwrap();
        for arguments in [&["test", "--quiet"][..], &["build", "--quiet", "--release", "--target", "wasm32-wasip2"]] {
            let mut cargo = std::process::Command::new(env!("CARGO"));
            cargo.current_dir(&made.folder).args(arguments).env("CARGO_TARGET_DIR", &target);
            cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
            let output = cargo.output().unwrap();
            assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let component = target.join(made.component.strip_prefix("target").unwrap());
        let found = lakeport::plugin::inspect(sandbox(), component.to_str().unwrap()).unwrap();
        assert_eq!((found.kind, found.name.as_str()), (kind, name.as_str()));
        assert_eq!(found.summary, format!("A {kind} for Lakeport."));
        assert!(found.opened.is_some(), "it has defaults");
    }
}
