//! Plugins in the sandbox: what well-behaved ones give, and that the others harm nobody but themselves.

mod filters;
mod formats;
mod loading;
mod tables;
mod tools;
mod transforms;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow_array::{ArrayRef, BinaryViewArray, StringViewArray};
use lakeport::Kind;
use lakeport::plan::{Limits, PluginOrigin, PluginPlan, PluginUse};
use lakeport::plugin::{
    Compiler, Failure, Filter, Moment, PluginKind, Sandbox, SandboxToolbox, Toolbox, Transform, built_in_names,
};
use lakeport::record::{Attribute, ColumnRequest, ColumnType};
use serde_json::{Value, json};
use test_guests::{filter, transform};

const MOMENT: Moment = Moment { write_time: 1_700_000_000_123_456, seed: 7 };

/// One sandbox for all tests, with a compile cache of its own.
fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| {
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
        Sandbox::new(Some(cache), Compiler::ThisProcess).expect("the engine starts")
    })
}

fn plan(name: &str, path: Option<&str>, limits: Limits) -> PluginPlan {
    let origin = path.map_or(PluginOrigin::BuiltIn, |path| PluginOrigin::Path(path.into()));
    PluginPlan { name: name.into(), origin, limits }
}

fn used(name: &str, path: Option<&str>, limits: Limits, config: Value) -> PluginUse {
    PluginUse { plugin: Arc::new(plan(name, path, limits)), config }
}

/// Limits that tests need not wait for.
fn limits() -> Limits {
    Limits { time: Duration::from_millis(300), ..Limits::default() }
}

fn bodies(bodies: &[&str]) -> ArrayRef {
    Arc::new(BinaryViewArray::from_iter_values(bodies.iter().map(|body| body.as_bytes())))
}

fn kinds(kinds: &[Option<&str>]) -> ArrayRef {
    Arc::new(kinds.iter().copied().collect::<StringViewArray>())
}

fn open_filter(toolbox: &SandboxToolbox, limits: Limits, mode: filter::Mode) -> lakeport::Result<Box<dyn Filter>> {
    toolbox.filter(&used("odd", Some(test_guests::FILTER), limits, json!({ "mode": mode })), MOMENT)
}

fn open_transform(limits: Limits, mode: transform::Mode, moment: Moment) -> Box<dyn Transform> {
    let plugin = used("turn", Some(test_guests::TRANSFORM), limits, json!({ "mode": mode }));
    sandbox().toolbox().transform(&plugin, moment).unwrap()
}

fn texts(bodies: &BinaryViewArray) -> Vec<&str> {
    bodies.iter().map(|body| std::str::from_utf8(body.unwrap()).unwrap()).collect()
}

// --- the built-in plugins ---

#[test]
fn the_built_in_plugins_describe_themselves() {
    assert_eq!(built_in_names().collect::<Vec<_>>(), ["avro", "cdm-csv", "enrich", "ndjson", "select"]);
    let select = sandbox().load(&plan("select", None, Limits::default())).unwrap();
    assert_eq!((select.kind, select.name.as_str()), (PluginKind::Filter, "select"));
    assert_eq!(select.config_schema.pointer("/properties/kinds/type"), Some(&json!("array")));
    assert_eq!((select.digest.len(), select.bytes.len() as u64), (64, select.size));
    assert!(select.imports.iter().all(|import| import.starts_with("wasi:") || import.starts_with("lakeport:")));
    let ndjson = sandbox().load(&plan("ndjson", None, Limits::default())).unwrap();
    assert_eq!((ndjson.kind, ndjson.version.as_str()), (PluginKind::Format, env!("CARGO_PKG_VERSION")));
}

#[test]
fn select_keeps_the_named_kinds() {
    let toolbox = sandbox().toolbox();
    let plugin = used("select", None, Limits::default(), json!({"kinds": ["BrewStarted", "Power*"]}));
    let mut select = toolbox.filter(&plugin, MOMENT).unwrap();
    assert_eq!(select.columns(), [ColumnRequest::attribute(Attribute::Kind, ColumnType::Text)]);
    let column = kinds(&[
        Some("BrewStarted"),
        Some("BrewStartedTwice, with a long name"),
        None,
        Some("PowerOn, with a long name"),
        Some(""),
    ]);
    let verdict = select.evaluate(5, &[column]).unwrap();
    assert_eq!(verdict.keep.values().iter().collect::<Vec<_>>(), [true, false, false, true, false]);
    let usage = &toolbox.usage()["select"];
    assert_eq!((usage.calls, usage.rows_in, usage.rows_out, usage.traps), (1, 5, 2, 0));
    assert!(usage.nanoseconds > 0 && usage.peak_memory > 0);
}

#[test]
fn select_without_kinds_asks_for_no_column_and_keeps_all() {
    let plugin = used("select", None, Limits::default(), json!({}));
    let mut select = sandbox().toolbox().filter(&plugin, MOMENT).unwrap();
    assert!(select.columns().is_empty());
    assert_eq!(select.evaluate(8_192, &[]).unwrap().keep.true_count(), 8_192);
}

#[test]
fn ndjson_lines_are_the_bodies_byte_for_byte() {
    let plugin = used("ndjson", None, Limits::default(), json!({}));
    let mut ndjson = sandbox().toolbox().format(&plugin, MOMENT).unwrap();
    let file_type = ndjson.file_type().clone();
    assert_eq!((file_type.extension.as_str(), file_type.appendable), ("ndjson", true));
    assert_eq!(file_type.content_type, "application/x-ndjson");
    assert_eq!(ndjson.begin(1, [0; 16], false).unwrap(), b"");
    let segment = ndjson
        .encode(1, 3, &[bodies(&[r#"{"b": 1,  "a":"é\u00e9"}"#, "{}", "{\n\"long enough\": [1,\r\n2]}"])])
        .unwrap();
    assert_eq!(
        String::from_utf8(segment.bytes).unwrap(),
        "{\"b\": 1,  \"a\":\"é\\u00e9\"}\n{}\n{ \"long enough\": [1,  2]}\n"
    );
    assert_eq!(segment.rows, 3);
    assert_eq!(ndjson.finish(1).unwrap(), b"");
}

#[test]
fn settings_are_checked_against_the_plugins_schema() {
    let toolbox = sandbox().toolbox();
    let open = |config: Value| {
        let error = toolbox.filter(&used("select", None, Limits::default(), config), MOMENT).err().expect("refused");
        (error.kind, error.to_string())
    };
    assert_eq!(
        open(json!({"kind": ["a"]})),
        (Kind::Config, "plugin `select` has no setting `kind`\nhelp: did you mean `kinds`?".into())
    );
    assert_eq!(
        open(json!({"kinds": "a"})),
        (Kind::Config, "setting `kinds` of plugin `select` is `\"a\"`, expected array".into())
    );
}

#[test]
fn a_plugin_of_another_kind_is_refused() {
    let error = sandbox().toolbox().format(&used("select", None, Limits::default(), json!({})), MOMENT).err().unwrap();
    assert_eq!(error.to_string(), "plugin `select` is a filter, expected a format");
    let error = sandbox().load(&plan("selct", None, Limits::default())).unwrap_err();
    let expected =
        "there is no built-in plugin `selct`, expected one of `avro`, `cdm-csv`, `enrich`, `ndjson`, `select`";
    assert_eq!(error.to_string(), expected);
}

// --- loading ---

#[test]
fn what_is_no_plugin_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        sandbox().load(&plan(name, path.to_str(), Limits::default())).unwrap_err()
    };
    let error = refused("text", b"hello");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::Config, "plugin `text` is not WebAssembly, expected a component")
    );
    assert_eq!(
        refused("module", b"\0asm\x01\0\0\0").message,
        "plugin `module` is a WebAssembly module, expected a component"
    );
    assert!(refused("module", b"\0asm\x01\0\0\0").help.unwrap().contains("wasm32-wasip2"));
    let error = refused("empty", b"\0asm\x0d\0\x01\0");
    assert_eq!(error.message, "plugin `empty` exports no kind of plugin that this version knows; it exports nothing");
    assert!(error.help.unwrap().contains("filter-plugin"));
    assert!(refused("broken", b"\0asm\x0d\0\x01\0rubbish").message.starts_with("plugin `broken` cannot be compiled: "));
    let error = sandbox().load(&plan("gone", Some("/nowhere/gone.wasm"), Limits::default())).unwrap_err();
    assert!(error.message.starts_with("cannot read plugin `gone` from `/nowhere/gone.wasm`: "), "{error}");
}

#[test]
fn a_component_over_its_size_is_refused_before_it_is_compiled() {
    let small = Limits { component: 1 << 10, ..Limits::default() };
    let error = sandbox().load(&plan("large", Some(test_guests::FILTER), small)).unwrap_err();
    assert!(error.message.ends_with("more than its limit of 1KiB"), "{error}");
    assert_eq!(error.help.as_deref(), Some("build it smaller, or raise `limits.component` of plugin `large`"));
}

#[test]
fn an_import_that_is_not_allowed_is_refused_by_name() {
    let error = sandbox().load(&plan("intruder", Some(test_guests::IMPORT), Limits::default())).unwrap_err();
    assert_eq!(error.kind, Kind::Config);
    assert_eq!(error.message, "plugin `intruder` imports `evil:host/door@1.0.0`, which plugins may not");
}

// --- batches that are too large for one call ---

#[test]
fn a_batch_that_is_larger_than_a_call_may_pass_crosses_in_parts() {
    let limits = Limits { transfer: 64 << 10, ..limits() };
    let long: Vec<String> = (0..1_000).map(|n| format!(r#"{{"n":{n},"pad":"{}"}}"#, "x".repeat(n % 500))).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();

    let toolbox = sandbox().toolbox();
    let plugin = used("ndjson", None, limits, json!({}));
    let mut ndjson = toolbox.format(&plugin, MOMENT).unwrap();
    ndjson.begin(1, [0; 16], false).unwrap();
    let segment = ndjson.encode(1, 1_000, &[bodies(&long)]).unwrap();
    assert_eq!(String::from_utf8(segment.bytes).unwrap(), long.join("\n") + "\n");
    assert_eq!((segment.rows, toolbox.usage()["ndjson"].rows_in), (1_000, 1_000));
    assert!(toolbox.usage()["ndjson"].calls > 5);

    let mut odd = open_filter(&toolbox, limits, filter::Mode::RejectOdd).unwrap();
    let verdict = odd.evaluate(1_000, &[bodies(&long)]).unwrap();
    assert_eq!((verdict.keep.len(), verdict.keep.true_count() + verdict.rejected.len()), (1_000, 1_000));
    assert!(verdict.rejected.windows(2).all(|pair| pair[0].row < pair[1].row));
    assert!(verdict.rejected.iter().all(|rejection| !verdict.keep.value(rejection.row as usize)));

    let mut turn = open_transform(limits, transform::Mode::Duplicate, MOMENT);
    let answer = turn.apply(1_000, &[bodies(&long)]).unwrap();
    assert!(answer.origins.iter().enumerate().all(|(at, &origin)| origin == at as u32 / 2));
    let doubled: Vec<&str> = long.iter().flat_map(|&body| [body; 2]).collect();
    assert_eq!(texts(&answer.bodies.unwrap()), doubled);
}

#[test]
fn a_record_that_is_larger_than_any_call_may_pass_is_refused() {
    let limits = Limits { transfer: 1 << 10, ..limits() };
    let mut odd = open_filter(&sandbox().toolbox(), limits, filter::Mode::Behave).unwrap();
    let failure = odd.evaluate(2, &[bodies(&["{}", &"7".repeat(2_000)])]).unwrap_err();
    assert_eq!(
        failure,
        Failure::Refused(
            "plugin `odd` cannot be given row 1 in `evaluate`: it has 2004 bytes, more than the plugin's limit of 1KiB"
                .into()
        )
    );
}
