//! Plugins in the sandbox: what well-behaved ones give, and that the others harm nobody but themselves.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, BinaryViewArray, StringViewArray};
use lakeport::Kind;
use lakeport::plan::{Limits, PluginOrigin, PluginPlan, PluginUse};
use lakeport::plugin::{
    Failure, Filter, Format, Moment, PluginKind, Sandbox, SandboxToolbox, Toolbox, Transform, Transformed,
    built_in_names,
};
use lakeport::record::{Attribute, ColumnRequest, ColumnType};
use serde_json::{Value, json};
use test_guests::{filter, format, transform};

const MOMENT: Moment = Moment { write_time: 1_700_000_000_123_456, seed: 7 };

/// One sandbox for all tests, with a compile cache of its own.
fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| {
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
        Sandbox::new(Some(cache)).expect("the engine starts")
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

// --- the built-in plugins ---------------------------------------------------------------------------------------------

#[test]
fn the_built_in_plugins_describe_themselves() {
    assert_eq!(built_in_names().collect::<Vec<_>>(), ["ndjson", "select"]);
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
    assert_eq!(error.to_string(), "there is no built-in plugin `selct`, expected one of `ndjson`, `select`");
}

// --- loading ----------------------------------------------------------------------------------------------------------

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

// --- filters that misbehave -------------------------------------------------------------------------------------------

fn open_filter(toolbox: &SandboxToolbox, limits: Limits, mode: filter::Mode) -> lakeport::Result<Box<dyn Filter>> {
    toolbox.filter(&used("odd", Some(test_guests::FILTER), limits, json!({ "mode": mode })), MOMENT)
}

/// The failure of a filter of `mode`, after showing that it stays failed and that a fresh instance works.
fn filter_fails(limits: Limits, mode: filter::Mode) -> Failure {
    let toolbox = sandbox().toolbox();
    let mut odd = open_filter(&toolbox, limits, mode).unwrap();
    let column = bodies(&[r#"{"a":1}"#; 20]);
    let failure = odd.evaluate(20, &[column.clone()]).unwrap_err();
    assert_eq!(odd.evaluate(20, &[column.clone()]).unwrap_err(), failure, "it is not called again");
    assert!(failure.to_string().starts_with("plugin `odd` "), "{failure}");
    let mut fresh = open_filter(&toolbox, limits, filter::Mode::Behave).unwrap();
    assert_eq!(fresh.evaluate(20, &[column]).unwrap().keep.true_count(), 20);
    failure
}

fn broke(limits: Limits, mode: filter::Mode) -> String {
    match filter_fails(limits, mode) {
        Failure::BrokeRule(text) => text,
        other => panic!("{mode:?}: {other:?}"),
    }
}

#[test]
fn filters_that_misbehave_fail_alone_and_by_name() {
    use filter::Mode::*;
    for mode in [
        Behave,
        Loop,
        LoopInOpen,
        Recurse,
        Grow,
        GrowAndRecover,
        TrapOnSome,
        FloodStdout,
        FloodStderr,
        FloodOneLine,
        ForgeLogLine,
        Sleep,
        Exit,
        Fail,
        RefuseConfig,
        ShortBitmap,
        LongBitmap,
        RejectOutOfRange,
        RejectTwice,
        RejectOdd,
        InvalidUtf8,
        HugeReasons,
        BadPointer,
        LookAround,
    ] {
        // Without a wildcard: a mode that is not tested does not compile.
        match mode {
            Behave => behaves(mode),
            Loop => loops(),
            LoopInOpen => loops_in_open(),
            Recurse => recurses(),
            Grow => grows(),
            GrowAndRecover => recovers(),
            TrapOnSome => traps_on_some(),
            FloodStdout | FloodStderr => floods(mode, 99_900),
            FloodOneLine => floods(mode, 1),
            ForgeLogLine | Sleep => behaves(mode),
            Exit => exits(),
            Fail => fails(),
            RefuseConfig => refuses_config(),
            ShortBitmap => {
                assert!(broke(limits(), mode).ends_with("it gave 2 bytes of `keep` for 20 rows, expected 3"))
            }
            LongBitmap => assert!(broke(limits(), mode).ends_with("it gave 4 bytes of `keep` for 20 rows, expected 3")),
            RejectOutOfRange => assert!(broke(limits(), mode).ends_with("it rejected row 20 of a batch of 20 rows")),
            RejectTwice => assert!(broke(limits(), mode).ends_with("expected distinct and rising rows")),
            RejectOdd => rejects_odd(),
            InvalidUtf8 => assert!(broke(limits(), mode).contains("utf-8"), "{}", broke(limits(), mode)),
            HugeReasons => huge_reasons(),
            BadPointer => bad_pointer(),
            LookAround => sees_nothing(),
        }
    }
}

fn behaves(mode: filter::Mode) {
    let toolbox = sandbox().toolbox();
    let mut odd = open_filter(&toolbox, limits(), mode).unwrap();
    let started = Instant::now();
    assert_eq!(odd.evaluate(3, &[bodies(&["{}"; 3])]).unwrap().keep.true_count(), 3);
    assert!(started.elapsed() < Duration::from_secs(5), "{mode:?} took {:?}", started.elapsed());
}

fn loops() {
    let started = Instant::now();
    let failure = filter_fails(limits(), filter::Mode::Loop);
    assert_eq!(failure, Failure::Timeout("plugin `odd` took longer in `evaluate` than its limit of 300ms".into()));
    assert!(started.elapsed() < Duration::from_secs(10));
}

fn loops_in_open() {
    let toolbox = sandbox().toolbox();
    let error = open_filter(&toolbox, limits(), filter::Mode::LoopInOpen).err().unwrap();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::Plugin, "plugin `odd` took longer in `open` than its limit of 300ms")
    );
    assert_eq!(toolbox.usage()["odd"].traps, 1);
}

fn recurses() {
    let failure = filter_fails(limits(), filter::Mode::Recurse);
    assert!(matches!(&failure, Failure::Trap(text) if text.contains("`evaluate`")), "{failure:?}");
}

fn grows() {
    let Failure::Trap(text) = filter_fails(limits(), filter::Mode::Grow) else { panic!("a trap") };
    assert!(text.contains("after it was refused more memory than its limit of 64MiB"), "{text}");
}

fn recovers() {
    let toolbox = sandbox().toolbox();
    let limits = Limits { memory: 8 << 20, time: Duration::from_secs(5), ..Limits::default() };
    let mut odd = open_filter(&toolbox, limits, filter::Mode::GrowAndRecover).unwrap();
    assert_eq!(odd.evaluate(3, &[bodies(&["{}"; 3])]).unwrap().keep.true_count(), 3);
    let peak = toolbox.usage()["odd"].peak_memory;
    assert!((6 << 20..=8 << 20).contains(&peak), "{peak}");
}

fn traps_on_some() {
    let toolbox = sandbox().toolbox();
    let open = || open_filter(&toolbox, limits(), filter::Mode::TrapOnSome).unwrap();
    let fine = bodies(&[r#"{"trap":false}"#; 4]);
    assert_eq!(open().evaluate(4, &[fine]).unwrap().keep.true_count(), 4);
    let Failure::Trap(text) = open().evaluate(2, &[bodies(&["{}", r#"{"trap":true}"#])]).unwrap_err() else {
        panic!("a trap")
    };
    assert!(text.starts_with("plugin `odd` trapped in `evaluate`: "), "{text}");
    assert!(text.ends_with("met a trap"), "the panic's own message is in it: {text}");
    assert_eq!(toolbox.usage()["odd"].traps, 1);
}

fn floods(mode: filter::Mode, cut: u64) {
    let toolbox = sandbox().toolbox();
    let limits = Limits { time: Duration::from_secs(20), ..Limits::default() };
    let mut odd = open_filter(&toolbox, limits, mode).unwrap();
    assert_eq!(odd.evaluate(3, &[bodies(&["{}"; 3])]).unwrap().keep.true_count(), 3);
    assert_eq!(toolbox.usage()["odd"].log_lines_cut, cut, "{mode:?}");
}

fn exits() {
    let failure = filter_fails(limits(), filter::Mode::Exit);
    assert_eq!(failure, Failure::Trap("plugin `odd` trapped in `evaluate`: it ended its own process".into()));
}

fn fails() {
    let failure = filter_fails(limits(), filter::Mode::Fail);
    assert_eq!(failure, Failure::Refused("plugin `odd` failed in `evaluate`: no luck today".into()));
}

fn refuses_config() {
    let error = open_filter(&sandbox().toolbox(), limits(), filter::Mode::RefuseConfig).err().unwrap();
    assert_eq!(error.kind, Kind::Config);
    assert_eq!(error.message, "plugin `odd` does not accept its settings: mode: never\\u{1b}[2J");
}

fn rejects_odd() {
    let toolbox = sandbox().toolbox();
    let mut odd = open_filter(&toolbox, limits(), filter::Mode::RejectOdd).unwrap();
    let verdict = odd.evaluate(5, &[bodies(&["{}"; 5])]).unwrap();
    assert_eq!(verdict.keep.values().iter().collect::<Vec<_>>(), [true, false, true, false, true]);
    let rejected: Vec<(u32, &str)> = verdict.rejected.iter().map(|r| (r.row, r.reason.as_str())).collect();
    assert_eq!(rejected, [(1, "row 1 is odd"), (3, "row 3 is odd")]);
    let usage = &toolbox.usage()["odd"];
    assert_eq!((usage.rows_in, usage.rows_out, usage.rejected), (5, 3, 2));
}

fn huge_reasons() {
    let tight = Limits { transfer: 1 << 20, ..limits() };
    let text = broke(tight, filter::Mode::HugeReasons);
    assert!(text.ends_with("it passed more than its limit of 1MiB"), "{text}");
    let mut wide = open_filter(&sandbox().toolbox(), limits(), filter::Mode::HugeReasons).unwrap();
    let verdict = wide.evaluate(2, &[bodies(&["{}"; 2])]).unwrap();
    assert!(verdict.rejected.iter().all(|rejection| rejection.reason.len() <= 1024), "reasons are cut");
}

fn bad_pointer() {
    let error = open_filter(&sandbox().toolbox(), limits(), filter::Mode::BadPointer).err().unwrap();
    assert_eq!(error.kind, Kind::Plugin);
    assert!(error.message.contains("asked for the column `name`, expected an RFC 6901 pointer"), "{error}");
}

fn sees_nothing() {
    let mut odd = open_filter(&sandbox().toolbox(), limits(), filter::Mode::LookAround).unwrap();
    let verdict = odd.evaluate(1, &[bodies(&["{}"])]).unwrap();
    assert_eq!(
        verdict.rejected[0].reason,
        "files 0 written false connect Some(PermissionDenied) resolved false variables 0 arguments 0"
    );
    assert!(!std::path::Path::new("/tmp/lakeport-was-here").exists());
}

// --- transforms -------------------------------------------------------------------------------------------------------

fn open_transform(limits: Limits, mode: transform::Mode, moment: Moment) -> Box<dyn Transform> {
    let plugin = used("turn", Some(test_guests::TRANSFORM), limits, json!({ "mode": mode }));
    sandbox().toolbox().transform(&plugin, moment).unwrap()
}

fn apply(mode: transform::Mode, rows: &[&str]) -> Result<Transformed, Failure> {
    open_transform(limits(), mode, MOMENT).apply(rows.len(), &[bodies(rows)])
}

fn texts(bodies: &BinaryViewArray) -> Vec<&str> {
    bodies.iter().map(|body| std::str::from_utf8(body.unwrap()).unwrap()).collect()
}

#[test]
fn transforms_that_break_a_rule_fail_alone_and_by_name() {
    use transform::Mode::*;
    for mode in [
        Keep,
        Duplicate,
        Split,
        Chance,
        SetAttributes,
        Drop,
        HugeBody,
        HugeList,
        OffsetsDecrease,
        OffsetsOutOfRange,
        OffsetsStartLate,
        OffsetsTooFew,
        OriginsDecrease,
        OriginsOutOfRange,
        RejectAndKeep,
        TextNotUtf8,
        TextCutInsideACharacter,
        AttributeTwice,
        AttributeOfWrongType,
        AttributeTooShort,
        AttributeIsBody,
        PairsOutOfRange,
    ] {
        let broken = match mode {
            Keep => {
                let answer = apply(mode, &["{}", "[]"]).unwrap();
                assert_eq!((answer.origins, answer.bodies.is_none()), (vec![0, 1], true));
                continue;
            }
            Duplicate => {
                let answer = apply(mode, &["{}", "[1, 2, 3, 4, 5, 6, 7]"]).unwrap();
                assert_eq!(answer.origins, [0, 0, 1, 1]);
                let long = "[1, 2, 3, 4, 5, 6, 7]";
                assert_eq!(texts(&answer.bodies.unwrap()), ["{}", "{}", long, long]);
                continue;
            }
            Split => {
                let answer = apply(mode, &["[1, {\"a\": 2}]", "{}", "[]", "[3]"]).unwrap();
                assert_eq!(answer.origins, [0, 0, 3]);
                assert_eq!(texts(&answer.bodies.unwrap()), ["1", "{\"a\":2}", "3"]);
                assert_eq!(answer.rejected[0].row, 1);
                assert!(answer.rejected[0].reason.starts_with("does not parse: "), "{}", answer.rejected[0].reason);
                continue;
            }
            Drop => {
                assert!(apply(mode, &["{}"]).unwrap().origins.is_empty());
                continue;
            }
            Chance => {
                repeats();
                continue;
            }
            SetAttributes => {
                sets_attributes();
                continue;
            }
            HugeList => {
                assert_eq!(apply(mode, &["{}"; 10]).unwrap().origins.len(), 1_000);
                let many = vec!["{}"; 8_192];
                match apply(mode, &many).unwrap_err() {
                    Failure::BrokeRule(text) => assert!(text.contains("made 819200 records of 8192"), "{text}"),
                    other => panic!("{other:?}"),
                }
                continue;
            }
            HugeBody => "passed more than its limit of 32MiB",
            OffsetsDecrease => "gave offset 4 of `bodies` after 9, expected offsets that never decrease",
            OffsetsOutOfRange => "gave offsets of `bodies` up to 6000, but 6 bytes or pairs",
            OffsetsStartLate => "gave offsets of `bodies` that start at 1, expected 0",
            OffsetsTooFew => "gave 3 offsets of `bodies` for 3 rows, expected 4",
            OriginsDecrease => "gave origin 1 after 2, expected origins that never decrease",
            OriginsOutOfRange => "gave origin 3 in a batch of 3 rows",
            RejectAndKeep => "both rejected row 0 and made records of it",
            TextNotUtf8 => "gave text of `kind` that is not UTF-8, in row 0",
            TextCutInsideACharacter => "gave text of `kind` that is not UTF-8, in row 0",
            AttributeTwice => "set the attribute `kind` twice",
            AttributeOfWrongType => "set the attribute `time` to values of another type, expected [Timestamp]",
            AttributeTooShort => "gave 2 values of `time` for 3 rows",
            AttributeIsBody => "set the attribute `body`, expected new bodies in `bodies`",
            PairsOutOfRange => "gave offsets of `properties` up to 21, but 3 bytes or pairs",
        };
        let failure = apply(mode, &["{}"; 3]).unwrap_err();
        assert_eq!(
            failure,
            Failure::BrokeRule(format!("plugin `turn` broke the interface in `apply`: it {broken}")),
            "{mode:?}"
        );
        assert_eq!(apply(Keep, &["{}"; 3]).unwrap().origins, [0, 1, 2], "a fresh instance works");
    }
}

fn repeats() {
    let run = |moment: Moment| {
        let mut chance = open_transform(limits(), transform::Mode::Chance, moment);
        let first = chance.apply(1, &[bodies(&["{}"])]).unwrap().bodies.unwrap();
        chance.set_moment(Moment { write_time: 5_000_000, ..moment });
        let second = chance.apply(1, &[bodies(&["{}"])]).unwrap().bodies.unwrap();
        (texts(&first)[0].to_owned(), texts(&second)[0].to_owned())
    };
    let (first, second) = run(MOMENT);
    assert!(first.starts_with(r#"{"now":1700000000123456,"#), "{first}");
    assert!(second.starts_with(r#"{"now":5000000,"#), "{second}");
    assert_eq!(run(MOMENT), (first.clone(), second), "the same moment, the same answers");
    assert_ne!(run(Moment { seed: 8, ..MOMENT }).0, first, "another seed, another order");
}

fn sets_attributes() {
    let answer = apply(transform::Mode::SetAttributes, &["{}"; 3]).unwrap();
    let names: Vec<Attribute> = answer.attributes.iter().map(|(attribute, _)| *attribute).collect();
    use Attribute::*;
    assert_eq!(names, [Kind, Subject, Time, Version, Properties]);
    let column = |at: usize| &answer.attributes[at].1;
    assert_eq!(column(0).as_string_view().iter().collect::<Vec<_>>(), [Some("neu ä"); 3]);
    assert_eq!(column(1).as_string_view().value(2), "a subject of more than twelve bytes");
    let times = column(2).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.iter().collect::<Vec<_>>(), [None, Some(1), Some(2)]);
    assert_eq!(column(3).as_primitive::<Int64Type>().values(), &[7, 7, 7]);
    let pairs = column(4).as_map().value(2);
    assert_eq!(pairs.column(0).as_string::<i32>().value(0), "row");
    assert_eq!(pairs.column(1).as_string::<i32>().value(0), "2");
}

// --- formats ----------------------------------------------------------------------------------------------------------

fn open_format(mode: format::Mode) -> lakeport::Result<Box<dyn Format>> {
    let plugin = used("write", Some(test_guests::FORMAT), limits(), json!({ "mode": mode }));
    sandbox().toolbox().format(&plugin, MOMENT)
}

#[test]
fn formats_keep_their_files_apart_or_fail_by_name() {
    use format::Mode::*;
    for mode in [
        Array,
        CountTooMany,
        CountTooFew,
        TrailerOnAppendable,
        ExtensionWithSlash,
        ContentTypeWithLineBreak,
        LoopInDrop,
    ] {
        match mode {
            Array => interleaves_files(),
            CountTooMany => assert_eq!(encode_fails(mode), "it wrote 3 rows and rejected 0, of 2"),
            CountTooFew => assert_eq!(encode_fails(mode), "it wrote 1 rows and rejected 0, of 2"),
            TrailerOnAppendable => {
                let mut format = open_format(mode).unwrap();
                format.begin(1, [0; 16], false).unwrap();
                let failure = format.finish(1).unwrap_err().to_string();
                assert!(failure.ends_with("it gave 3 bytes after an appendable file, expected none"), "{failure}");
            }
            ExtensionWithSlash => assert!(open_fails(mode).contains("gave the extension `../json`")),
            ContentTypeWithLineBreak => {
                assert!(open_fails(mode).contains("gave the content type `text/plain\\r\\nx-evil: 1`"))
            }
            LoopInDrop => {
                let mut format = open_format(mode).unwrap();
                format.begin(1, [0; 16], false).unwrap();
                assert!(matches!(format.finish(1).unwrap_err(), Failure::Timeout(_)));
            }
        }
    }
}

fn encode_fails(mode: format::Mode) -> String {
    let mut format = open_format(mode).unwrap();
    format.begin(1, [0; 16], false).unwrap();
    match format.encode(1, 2, &[bodies(&["1", "2"])]).unwrap_err() {
        Failure::BrokeRule(text) => {
            text.strip_prefix("plugin `write` broke the interface in `encode`: ").unwrap_or(&text).to_owned()
        }
        other => panic!("{other:?}"),
    }
}

fn open_fails(mode: format::Mode) -> String {
    let error = open_format(mode).err().unwrap();
    assert_eq!(error.kind, Kind::Plugin);
    error.message
}

fn interleaves_files() {
    let mut format = open_format(format::Mode::Array).unwrap();
    assert_eq!((format.file_type().extension.as_str(), format.file_type().appendable), ("json", false));
    let mut files = [format.begin(7, [1; 16], false).unwrap(), format.begin(9, [2; 16], false).unwrap()];
    assert!(files[0].starts_with(b"[ /* [1, 1, 1,") && files[1].starts_with(b"[ /* [2, 2, 2,"));
    files.iter_mut().for_each(Vec::clear);
    for (at, file, body) in [(0, 7, "1"), (1, 9, "2"), (0, 7, "3")] {
        files[at].extend(format.encode(file, 1, &[bodies(&[body])]).unwrap().bytes);
    }
    let rejecting = format.encode(9, 3, &[bodies(&["null", "4", "null"])]).unwrap();
    assert_eq!((rejecting.rows, rejecting.rejected.len()), (1, 2));
    files[1].extend(rejecting.bytes);
    for (at, file) in [(0, 7), (1, 9)] {
        files[at].extend(format.finish(file).unwrap());
    }
    assert_eq!(String::from_utf8_lossy(&files[0]), "\n1,\n3\n]\n");
    assert_eq!(String::from_utf8_lossy(&files[1]), "\n2,\n4\n]\n");

    assert_eq!(format.begin(7, [1; 16], true).unwrap(), b"", "a resumed file has its header");
    assert_eq!(format.encode(7, 1, &[bodies(&["5"])]).unwrap().bytes, b",\n5");
}

// --- inspecting, compiling, starting a new one ------------------------------------------------------------------------

#[test]
fn inspecting_tells_what_a_component_asks_for() {
    let ndjson = lakeport::plugin::inspect(sandbox(), "ndjson").unwrap();
    assert_eq!((ndjson.kind, ndjson.name.as_str()), (PluginKind::Format, "ndjson"));
    let opened = ndjson.opened.unwrap();
    assert_eq!(opened.columns, ["json(body)"]);
    assert_eq!(opened.file_type.unwrap().extension, "ndjson");

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
    assert_eq!(names, ["ndjson", "select", test_guests::FORMAT]);
    assert!(compiled.iter().all(|compiled| compiled.compiled_size > 0));
    let files = std::fs::read_dir(cache.path().join("compiled")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files.iter().filter(|name| name.ends_with(".cwasm")).count(), 3, "{files:?}");
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

// --- batches that are too large for one call --------------------------------------------------------------------------

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
