//! Loading through the real binary: components that are not what they should be, and what is said of them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Output;
use std::time::{Duration, Instant};

use crate::support::lake_folder::{Installation, LAKEPORT, signal, signals};

/// Says that it is a filter.
const EXPORTS: &str = "(component $c) (instance $none (instantiate $c))
    (export \"lakeport:plugin/info@0.1.0\" (instance $none)) (export \"lakeport:plugin/filter@0.1.0\" (instance $none))";

/// Two exports of the same signals: `odd` has the component at `odd.wasm` as its filter, `signals` has none.
fn installation(component: impl AsRef<[u8]>, limits: &str) -> Installation {
    let installation = Installation::new(&format!(
        "[plugins.odd]\npath = \"odd.wasm\"\nlimits = {{ {limits} }}\n[sources.signals]\nfiles = \"in.ndjson\"\n\
         [exports.odd]\nsource = \"signals\"\nfilters = [{{ plugin = \"odd\" }}]\n[exports.signals]\nsource = \"signals\"\n"
    ));
    installation.write("odd.wasm", component);
    installation.write("in.ndjson", signals(10));
    installation
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `odd`, which fails for a reason of the configuration; `signals` is exported all the same. What was said of it.
fn fails_alone(installation: &Installation) -> String {
    let output = installation.run(&["run", "--quiet"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(installation.lines().len(), 10, "{said}");
    said
}

#[test]
fn a_component_that_connects_two_memories_harms_no_other_export() {
    let fused = component(include_str!("fused.wat"));
    let installation = installation(fused, "");
    assert!(fails_alone(&installation).contains("plugin `odd` exports no kind of plugin"));
    let inspected = installation.run(&["plugin", "inspect", "odd.wasm"]);
    assert_eq!(inspected.status.code(), Some(2), "{}", said(&inspected));
}

/// Ten components, each of which has ten instances of the one before: a small file, and ten thousand million instances.
fn instances_without_end() -> Vec<u8> {
    let mut inner = String::from("(component $l0 (core module $m (memory 1)) (core instance (instantiate $m)))");
    for level in 1..=10 {
        let below = level - 1;
        inner = format!("(component $l{level} {inner} {})", format!("(instance (instantiate $l{below}))").repeat(10));
    }
    component(&format!("(component {inner} (instance (instantiate $l10)) {EXPORTS})"))
}

/// One function of a megabyte.
fn one_large_function() -> Vec<u8> {
    let step = "(local.set 0 (i32.add (i32.mul (local.get 0) (local.get 1)) (i32.load (local.get 0))))\n";
    let module = format!("(module (memory 1) (func (param i32 i32) {}))", step.repeat(120_000));
    let module = module.replacen("(module", "(core module", 1);
    component(&format!("(component {module} {EXPORTS})"))
}

#[test]
fn compiling_ends_at_its_limits() {
    for bomb in [instances_without_end(), one_large_function()] {
        let started = Instant::now();
        let slow = installation(&bomb, "compile-time = \"1s\", compile-memory = \"8GiB\"");
        let said = fails_alone(&slow);
        assert!(said.contains("plugin `odd` cannot be compiled: it took longer than its limit of 1s"), "{said}");
        assert!(said.contains("raise `limits.compile-time` of plugin `odd`"), "{said}");
        let small = installation(&bomb, "compile-memory = \"32MiB\"");
        let said = fails_alone(&small);
        assert!(
            said.contains("plugin `odd` cannot be compiled: it took more memory than its limit of 32MiB"),
            "{said}"
        );
        assert!(said.contains("raise `limits.compile-memory` of plugin `odd`"), "{said}");
        assert!(started.elapsed() < Duration::from_secs(50), "{:?}", started.elapsed());
    }
}

#[test]
fn what_is_inspected_or_compiled_ahead_has_the_limits_of_the_configuration() {
    let installation = installation(fs::read(test_guests::FILTER).unwrap(), "component = \"1KiB\"");
    let cache = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = installation.command(arguments);
        command.env("LAKEPORT_CACHE_DIR", cache.path()).output().unwrap()
    };
    for arguments in [&["inspect", "odd.wasm"][..], &["compile", "odd.wasm"]] {
        let output = run(&[&["plugin"], arguments].concat());
        assert!(output.status.success(), "under the usual limits: {}", said(&output));
    }
    let configured = ["--config", "lakeport.toml"];
    for arguments in [&["inspect", "odd"][..], &["inspect", "./odd.wasm"], &["compile"], &["compile", "odd.wasm"]] {
        let output = run(&[&["plugin"], arguments, &configured].concat());
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("plugin `odd`") && said.contains("limits.component"), "{said}");
    }
    let text = fs::read_to_string(installation.path().join("lakeport.toml")).unwrap();
    installation.write("lakeport.toml", text.replace("1KiB", "4MiB"));
    let output = run(&["plugin", "compile", "--config", "lakeport.toml"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.lines().any(|line| line.starts_with("odd ")), "{table} {}", said(&output));
}

#[test]
fn compiling_keeps_to_a_lower_limit_of_the_system() {
    let installation = installation(fs::read(test_guests::FILTER).unwrap(), "");
    let cache = tempfile::tempdir().unwrap();
    let limited = |kibibytes: &str, command: &str| {
        let line = format!("ulimit -d {kibibytes} && exec \"$0\" plugin {command}");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &line, LAKEPORT]).current_dir(installation.path()).env("LAKEPORT_CACHE_DIR", cache.path());
        shell.output().unwrap()
    };
    // A gigabyte, where the plugin might take two.
    let output = limited("1000000", "compile odd.wasm");
    assert!(output.status.success(), "{}", said(&output));
    // Nor does who may raise the system's limits do so.
    let output = limited("12000", "compile-input 2147483648 60 < odd.wasm");
    assert!(!output.status.success() && said(&output).contains("memory"), "{}", said(&output));
}

#[test]
fn a_component_that_was_not_accepted_is_neither_compiled_nor_run() {
    let other = installation(one_large_function(), "");
    other.write("lakeport.lock", format!("[plugins.odd]\nsha256 = \"{}\"\n", "1".repeat(64)));
    let started = Instant::now();
    for command in ["run", "check"] {
        let output = other.run(&[command]);
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains("error: plugin `odd` has the SHA-256"), "{}", said(&output));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "it was compiled");
}

#[test]
fn a_plugin_that_is_new_is_in_the_lock_file_afterwards() {
    let filter = fs::read(test_guests::FILTER).unwrap();
    let new = installation(filter, "");
    let configuration = fs::read_to_string(new.path().join("lakeport.toml")).unwrap();
    new.write("lakeport.toml", configuration.replace("\"odd\" }", "\"odd\", mode = \"behave\" }"));
    let output = new.command(&["run"]).env("LAKEPORT_LOG", "info").output().unwrap();
    assert!(output.status.success() && said(&output).contains("the lock file has it from now on"), "{}", said(&output));
    assert!(fs::read_to_string(new.path().join("lakeport.lock")).unwrap().contains("[plugins.odd]"));
}

/// The filter of the tests, with `from` replaced everywhere.
fn patched(from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(test_guests::FILTER).unwrap();
    let mut count = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
            count += 1;
        }
    }
    assert!(count > 0);
    bytes
}

#[test]
fn a_plugin_for_another_version_of_the_interface_is_told_so() {
    let newer = installation(patched(b"@0.1.0", b"@0.2.0"), "");
    let expected = "plugin `odd` is made for lakeport:plugin@0.2.0, and this host speaks lakeport:plugin@0.1.0";
    for arguments in [&["plugin", "inspect", "odd.wasm"][..], &["check"], &["run"]] {
        let output = newer.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn a_type_that_differs_is_told_when_the_plugin_is_loaded() {
    let other = installation(patched(b"\x08rejected", b"\x08dejected"), "");
    for arguments in [&["plugin", "inspect", "odd.wasm"][..], &["check"], &["run"]] {
        let output = other.run(arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("plugin `odd` does not fit lakeport:plugin/filter@0.1.0: "), "{arguments:?}: {said}");
        assert!(said.contains("rejected") && said.contains("help: build it with the SDK"), "{arguments:?}: {said}");
    }
}

// --- the cache --------------------------------------------------------------------------------------------------------

#[test]
fn a_cache_that_cannot_be_used_is_said_once_and_repaired_where_it_can_be() {
    let installation = installation("", "");
    let cache = installation.path().join("cache");
    let folder = cache.join("compiled");
    let warnings = || {
        let mut command = installation.command(&["plugin", "inspect", "select"]);
        let output = command.env("LAKEPORT_CACHE_DIR", &cache).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(warnings(), Vec::<String>::new());
    let set = |name: &str, mode| fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    let repaired: [(&str, &dyn Fn()); 4] = [
        ("other users could write to", &|| set(".", 0o777)),
        ("was open to other users; it is this user's alone now", &|| set(".", 0o755)),
        ("is open to other users: mode 644, expected 600; the key is made anew", &|| set("key", 0o644)),
        ("has 0 bytes, expected 32; the key is made anew", &|| fs::write(folder.join("key"), "").unwrap()),
    ];
    for (why, spoil) in repaired {
        spoil();
        let warned = warnings();
        assert!(warned.len() == 1 && warned[0].contains("WARN") && warned[0].contains(why), "{warned:?}");
        assert_eq!(warnings(), Vec::<String>::new(), "{why}");
    }
    fs::rename(&folder, cache.join("elsewhere")).unwrap();
    symlink("elsewhere", &folder).unwrap();
    for _ in 0..2 {
        let warned = warnings();
        assert!(warned.len() == 1 && warned[0].contains("compiled plugins are not kept"), "{warned:?}");
    }
}

// --- what is logged ---------------------------------------------------------------------------------------------------

#[test]
fn one_bad_record_is_one_line() {
    let installation = Installation::new(&format!(
        "[plugins.odd]\npath = \"{}\"\n[sources.signals]\nfiles = \"in.ndjson\"\n[exports.signals]\nsource = \"signals\"\n\
         filters = [{{ plugin = \"odd\", mode = \"trap-on-some\" }}]\n",
        test_guests::FILTER
    ));
    let bad = signal(1, 0).replacen('{', r#"{"trap":true,"#, 1);
    installation.write("in.ndjson", signals(3_000) + &bad + "\n" + &signals(3_000));
    let output = installation.run(&["run", "--quiet"]);
    assert!(output.status.success(), "{}", said(&output));
    let lines: Vec<_> = said(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("met a trap"), "{lines:?}");
    assert!(lines[0].ends_with("; 1 of 6001 records of the batch are refused"), "{lines:?}");
}

#[test]
fn what_a_plugin_prints_is_logged_as_the_documentation_says() {
    for (mode, level, shown) in
        [("flood-stderr", "", true), ("flood-stdout", "", false), ("flood-stdout", "warn,lakeport::plugin=info", true)]
    {
        let installation = Installation::new(&format!(
            "[plugins.odd]\npath = \"{}\"\nlimits = {{ time = \"60s\" }}\n[sources.signals]\nfiles = \"in.ndjson\"\n\
             [exports.signals]\nsource = \"signals\"\nfilters = [{{ plugin = \"odd\", mode = \"{mode}\" }}]\n",
            test_guests::FILTER
        ));
        installation.write("in.ndjson", signals(1));
        let output = installation.command(&["run", "--quiet"]).env("LAKEPORT_LOG", level).output().unwrap();
        let lines = said(&output).lines().filter(|line| line.contains("line ")).count();
        assert_eq!(lines, if shown { 100 } else { 0 }, "{mode}: {}", said(&output));
    }
}

// --- a plugin of one's own ----------------------------------------------------------------------------------------------

#[test]
fn names_that_cargo_would_refuse_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["lakeport-plugin", "match", "test", "2hot", "too_hot"] {
        let mut command = std::process::Command::new(LAKEPORT);
        let output = command.args(["plugin", "new", name, "--into"]).arg(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(said(&output).contains(&format!("invalid value '{name}'")), "{}", said(&output));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
