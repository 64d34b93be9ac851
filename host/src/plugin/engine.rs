//! The one WebAssembly engine of the process, and the thread that tells its plugins the time.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, OptLevel, Strategy};

use super::wasi::{self, State};
use crate::error::{Error, Result};

/// How exact a time limit is.
const TICK: Duration = Duration::from_millis(10);

/// The engine and what it links.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) linker: Linker<State>,
}

/// The engine of this process, started by the first caller.
///
/// # Errors
/// Where the machine cannot run WebAssembly at all.
pub(super) fn shared() -> Result<&'static Shared> {
    static SHARED: OnceLock<Result<Shared>> = OnceLock::new();
    SHARED.get_or_init(start).as_ref().map_err(Clone::clone)
}

/// How many ticks `limit` lasts, at least one more than it needs: the current one has begun.
pub(super) fn ticks(limit: Duration) -> u64 {
    let ticks = limit.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX >> 1).min(u64::MAX >> 1) + 1
}

/// A defect that a component brought to light, in the WebAssembly runtime or in what reads the component.
#[derive(Debug, thiserror::Error)]
#[error("it made the WebAssembly runtime panic: {0}")]
pub(super) struct Panicked(String);

/// Returns a panic of `f` as an error. What `f` changed is not to be used again after it.
pub(super) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panicked> {
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(|panic| Panicked(message(panic.as_ref())))
}

/// Enters the WebAssembly runtime: everything that is done with what was compiled from a component goes through here.
pub(super) fn enter<R>(f: impl FnOnce() -> wasmtime::Result<R>) -> wasmtime::Result<R> {
    catch(f).unwrap_or_else(|panicked| Err(panicked.into()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}

/// What compiled code may use of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cpu {
    /// All that this machine's has.
    This,
    /// What every CPU of this program's target has.
    Any,
}

/// An engine for compiling alone; what it compiles runs in [`shared`].
///
/// # Errors
/// Where the machine cannot run WebAssembly at all.
pub(super) fn compiling(cpu: Cpu) -> Result<Engine> {
    let mut config = config();
    if cpu == Cpu::Any {
        // A named target has no features of this machine's CPU.
        config.target(env!("TARGET")).map_err(cannot)?;
    }
    Engine::new(&config).map_err(cannot)
}

fn cannot(error: wasmtime::Error) -> Error {
    Error::internal(format!("cannot start the WebAssembly engine: {error:#}"))
}

fn start() -> Result<Shared> {
    let engine = compiling(Cpu::This)?;
    let mut linker = Linker::new(&engine);
    wasi::add_to_linker(&mut linker).map_err(cannot)?;

    let ticking = engine.clone();
    thread::Builder::new()
        .name("plugin-clock".into())
        .spawn(move || {
            loop {
                thread::sleep(TICK);
                ticking.increment_epoch();
            }
        })
        .map_err(|error| Error::internal(format!("cannot start the plugins' clock: {error}")))?;
    Ok(Shared { engine, linker })
}

/// Everything here is part of the compile cache's key.
fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        // A plugin's answer must not depend on the machine.
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        // The runtime connects two modules with memories of their own by a third one, which has both.
        .wasm_multi_memory(true);
    // Threads and garbage collection are not compiled into this wasmtime at all.
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_lasts_at_least_its_time() {
        assert_eq!(ticks(Duration::from_millis(10)), 2);
        assert_eq!(ticks(Duration::from_millis(11)), 3);
        assert_eq!(ticks(Duration::ZERO), 1);
        assert!(ticks(Duration::MAX) > 1 << 60);
    }

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let whole = enter(|| -> wasmtime::Result<()> { panic!("on purpose") }).unwrap_err();
        assert_eq!(whole.to_string(), "it made the WebAssembly runtime panic: on purpose");
        let number = 7;
        let formatted = enter(|| -> wasmtime::Result<()> { panic!("number {number}") }).unwrap_err();
        assert!(formatted.is::<Panicked>() && formatted.to_string().ends_with("panic: number 7"), "{formatted}");
        assert_eq!(enter(|| Ok(number)).unwrap(), 7);
    }

    #[test]
    fn the_engine_starts_once() {
        assert!(std::ptr::eq(shared().unwrap(), shared().unwrap()));
    }
}
