//! Components that no toolchain makes, as text: what they take is bounded, and what goes wrong ends nothing but their instance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::{self, Shared};
use super::instance::{Instance, Meter};
use super::wasi::State;
use super::{Failure, Moment};
use crate::plan::Limits;
use wasmtime::component::{Component, InstancePre};

fn shared() -> &'static Shared {
    engine::shared().unwrap()
}

fn linked(text: &str) -> InstancePre<State> {
    let component = Component::from_binary(&shared().engine, &wat::parse_str(text).unwrap()).unwrap();
    shared().linker.instantiate_pre(&component).unwrap()
}

/// Starts a component that has 8 MiB of memory and 200 ms.
fn start(text: &str, meter: &Arc<Meter>) -> Result<(Instance, wasmtime::component::Instance), Failure> {
    let limits = Limits { memory: 8 << 20, time: Duration::from_millis(200), ..Limits::default() };
    let moment = Moment { write_time: 0, seed: 0 };
    Instance::new(&linked(text), "odd", limits, moment, meter.clone(), |_, instance| Ok(*instance))
}

/// Why a component cannot be started that consists of instances of `modules`.
fn refused(modules: &[&str]) -> String {
    let one = |(number, module): (usize, &&str)| {
        format!("(core module $m{number} {module}) (core instance (instantiate $m{number}))")
    };
    let text = format!("(component {})", modules.iter().enumerate().map(one).collect::<String>());
    start(&text, &Arc::default()).err().expect("it cannot be started").to_string()
}

/// What a component's function `run` gives.
fn run(text: &str, meter: &Arc<Meter>) -> Result<u32, Failure> {
    let (mut instance, opened) = start(text, meter)?;
    instance.guard("run", |store| {
        let run = opened.get_typed_func::<(), (u32,)>(&mut *store, "run")?;
        run.call(store, ()).map(|(answer,)| answer)
    })
}

fn component(module: &str) -> String {
    format!(
        "(component (core module $m {module}) (core instance $i (instantiate $m))
           (func (export \"run\") (result u32) (canon lift (core func $i \"run\"))))"
    )
}

#[test]
fn calls_between_two_memories_run_and_both_count() {
    let meter = Arc::default();
    assert_eq!(run(include_str!("../../../tests/plugin_sandbox/fused.wat"), &meter).unwrap(), 21);
    assert_eq!(meter.read().peak_memory, 2 << 16);
}

#[test]
fn memories_share_one_limit_in_one_module_and_over_several() {
    let limit = "refused more memory than its limit of 8MiB (`limits.memory`)";
    for modules in [&["(memory 129)"][..], &["(memory 65) (memory 64)"], &["(memory 65)", "(memory 64)"]] {
        let why = refused(modules);
        assert!(why.contains(limit), "{why}");
    }
    assert!(
        start("(component (core module $m (memory 64) (memory 64)) (core instance (instantiate $m)))", &Arc::default())
            .is_ok()
    );

    // 64 and 63 grow page by page until neither can.
    let both = component(
        "(memory 64) (memory 1)
         (func (export \"run\") (result i32)
           (loop $again (br_if $again (i32.ge_s (memory.grow 1 (i32.const 1)) (i32.const 0))))
           (i32.add (memory.size 0) (memory.size 1)))",
    );
    let meter = Arc::default();
    assert_eq!(run(&both, &meter).unwrap(), 128);
    assert_eq!(meter.read().peak_memory, 8 << 20);
}

#[test]
fn a_trap_after_a_refused_growth_names_the_limit() {
    let hungry = component(
        "(memory 1) (func (export \"run\") (result i32) (drop (memory.grow (i32.const 1000))) (unreachable))",
    );
    let Failure::Trap(why) = run(&hungry, &Arc::default()).unwrap_err() else { panic!("a trap") };
    assert!(why.contains("limit of 8MiB (`limits.memory`)"), "{why}");
}

#[test]
fn a_start_function_has_the_time_of_a_call() {
    let started = Instant::now();
    let endless = "(func $f (loop $again (br $again))) (start $f)";
    assert_eq!(refused(&[endless]), "plugin `odd` took longer in `start` than its limit of 200ms");
    let grows = "(memory 1) (func $f (loop $again (drop (memory.grow (i32.const 0))) (br $again))) (start $f)";
    assert_eq!(refused(&[grows]), "plugin `odd` took longer in `start` than its limit of 200ms");
    assert!(started.elapsed() < Duration::from_secs(20));
    let deep = "(func $f (call $f)) (start $f)";
    assert_eq!(refused(&[deep]), "plugin `odd` overflowed its stack in `start`");
}

#[test]
fn tables_share_one_limit_in_one_module_and_over_several() {
    for modules in [&["(table 1048577 funcref)"][..], &["(table 600000 funcref) (table 600000 funcref)"]] {
        let why = refused(modules);
        assert!(why.contains("broke the interface in `start`: table minimum size of"), "{why}");
    }
    assert!(refused(&["(table 600000 funcref)", "(table 600000 funcref)"]).contains("table minimum size"));
    let grown = component(
        "(table $t 1 funcref)
         (func (export \"run\") (result i32)
           (loop $again
             (br_if $again (i32.ge_s (table.grow $t (ref.null func) (i32.const 100000)) (i32.const 0))))
           (table.size $t))",
    );
    assert_eq!(run(&grown, &Arc::default()).unwrap(), 1_000_001);
}

#[test]
fn the_parts_of_a_component_are_counted() {
    let instances = "(core instance (instantiate $m))".repeat(257);
    let text = format!("(component (core module $m) {instances})");
    let why = start(&text, &Arc::default()).err().unwrap().to_string();
    assert!(why.contains("broke the interface in `start`") && why.contains("instance count too high"), "{why}");
    let memories = "(memory 0)".repeat(101);
    assert!(wat::parse_str(format!("(component (core module {memories}))")).is_ok());
    let component = wat::parse_str(format!("(component (core module {memories}))")).unwrap();
    assert!(Component::from_binary(&shared().engine, &component).is_err(), "a module has at most 100");
}

#[test]
fn a_panic_while_a_component_runs_is_a_failure_of_its_instance() {
    let meter = Arc::default();
    let (mut instance, _) = start("(component)", &meter).unwrap();
    let failure = instance.guard("run", |_| -> wasmtime::Result<()> { panic!("on purpose") }).unwrap_err();
    let expected = "plugin `odd` cannot be run in `run`: it made the WebAssembly runtime panic: on purpose";
    assert_eq!(failure, Failure::Trap(expected.to_owned()));
    assert_eq!(instance.guard("run", |_| Ok(())).unwrap_err(), failure, "it is not called again");
    assert_eq!(meter.read().traps, 1);
    assert!(start("(component)", &meter).is_ok());
}
