//! One open plugin: a store of its own, the call that everything goes through, and what it did.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow_array::ArrayRef;
use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap};

use super::bindings::lakeport::plugin::records as wit;
use super::crossing::{column_requests, split};
use super::engine::{Panicked, enter, ticks};
use super::limits::Limiter;
use super::log::{Log, printable};
use super::wasi::State;
use super::{Failure, Moment, Usage};
use crate::error::Error;
use crate::plan::{Limits, PluginUse};
use crate::record::ColumnRequest;

/// Bytes of a plugin's own error text; more is cut.
const MESSAGE: usize = 2048;

/// What all instances of a plugin did together.
#[derive(Debug, Default)]
pub(super) struct Meter {
    usage: Mutex<Usage>,
    peak: AtomicU64,
}

impl Meter {
    fn add(&self, change: impl FnOnce(&mut Usage)) {
        change(&mut self.usage.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn read(&self) -> Usage {
        let usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Usage { peak_memory: self.peak.load(Ordering::Relaxed), ..usage }
    }
}

/// One instance of a plugin in a store of its own. After a failure it only repeats that failure.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    /// The name that the configuration uses.
    name: Arc<str>,
    limits: Limits,
    meter: Arc<Meter>,
    failed: Option<Failure>,
}

impl Instance {
    /// Instantiates `component` and looks `G`, its functions, up with `load`.
    ///
    /// # Errors
    /// [`Failure`] where its start code fails, as a call would.
    pub(super) fn new<G>(
        component: &InstancePre<State>,
        name: &str,
        limits: Limits,
        moment: Moment,
        meter: Arc<Meter>,
        load: impl FnOnce(&mut Store<State>, &wasmtime::component::Instance) -> wasmtime::Result<G>,
    ) -> Result<(Self, G), Failure> {
        let name: Arc<str> = name.into();
        let log = Log::new(name.clone(), limits.log_lines);
        let mut store = Store::new(component.engine(), State::new(moment, Limiter::new(limits.memory), log));
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(usize::try_from(limits.transfer).unwrap_or(usize::MAX));
        store.epoch_deadline_trap();
        let mut instance = Instance { store, name, limits, meter, failed: None };
        let functions = instance.guard("start", |store| {
            let opened = component.instantiate(&mut *store)?;
            load(store, &opened)
        })?;
        Ok((instance, functions))
    }

    /// As [`Instance::new`], for a plugin in its place in an export.
    ///
    /// # Errors
    /// Of kind `Plugin`.
    pub(super) fn for_use<G>(
        component: &InstancePre<State>,
        plugin: &PluginUse,
        moment: Moment,
        meter: Arc<Meter>,
        load: impl FnOnce(&mut Store<State>, &wasmtime::component::Instance) -> wasmtime::Result<G>,
    ) -> Result<(Self, G), Error> {
        let plan = &plugin.plugin;
        Self::new(component, &plan.name, plan.limits, moment, meter, load).map_err(plugin_error)
    }

    /// The rows of a batch in runs for one call each, of about `most` bytes: at the least, so small that there is room for what
    /// the plugin makes of them, in its memory and in its answer.
    ///
    /// # Errors
    /// Where one row alone is more than a call may carry.
    pub(super) fn runs(
        &mut self,
        function: &str,
        columns: &[ArrayRef],
        rows: usize,
        most: u64,
    ) -> Result<Vec<Range<usize>>, Failure> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        split(columns, rows, most.min(self.budget()), self.limits.transfer).map_err(|oversize| {
            let limit = bytes(self.limits.transfer);
            self.fail(Failure::Refused(format!(
                "plugin `{}` cannot be given row {} in `{function}`: it has {} bytes, more than the plugin's limit of {limit}",
                self.name, oversize.row, oversize.bytes
            )))
        })
    }

    /// Bytes that may go into one call. Answers may be larger than what they answer: transforms repeat records, formats spell
    /// them out.
    pub(super) fn budget(&self) -> u64 {
        (self.limits.transfer / 4).min(self.limits.memory / 8)
    }

    /// Calls a function of the plugin that takes `rows` rows.
    pub(super) fn call<R>(
        &mut self,
        function: &str,
        rows: usize,
        f: impl FnOnce(&mut Store<State>) -> wasmtime::Result<Result<R, wit::Error>>,
    ) -> Result<R, Failure> {
        let started = Instant::now();
        let answer = self.enter(function, f);
        self.store.data().log.flush(!matches!(answer, Ok(Ok(_))));
        let took = started.elapsed();
        self.meter.add(|usage| {
            usage.calls += 1;
            usage.rows_in += rows as u64;
            usage.nanoseconds = usage.nanoseconds.saturating_add(took.as_nanos() as u64);
        });
        match answer? {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let text = match error {
                    wit::Error::InvalidConfig(text) | wit::Error::UnsupportedSchema(text) | wit::Error::Other(text) => {
                        text
                    }
                };
                let text = printable(&text, MESSAGE);
                Err(self.fail(Failure::Refused(format!("plugin `{}` failed in `{function}`: {text}", self.name))))
            }
        }
    }

    /// Opens the plugin's own object with its settings, and asks for its columns.
    ///
    /// # Errors
    /// Of kind `Config` where the plugin does not accept its settings or the table that it is to write, `Plugin` otherwise.
    pub(super) fn open<R>(
        &mut self,
        open: impl FnOnce(&mut Store<State>) -> wasmtime::Result<Result<R, wit::Error>>,
        columns: impl FnOnce(&mut Store<State>, &R) -> wasmtime::Result<Vec<wit::ColumnRequest>>,
    ) -> Result<(R, Vec<ColumnRequest>), Error> {
        let opened = self.opened("open", open)?;
        let asked = self.guard("columns", |store| columns(store, &opened)).map_err(plugin_error)?;
        let asked = self.check("columns", column_requests(asked)).map_err(plugin_error)?;
        Ok((opened, asked))
    }

    /// Calls what opens something with the plugin's settings.
    ///
    /// # Errors
    /// As for [`Instance::open`].
    pub(super) fn opened<R>(
        &mut self,
        function: &str,
        open: impl FnOnce(&mut Store<State>) -> wasmtime::Result<Result<R, wit::Error>>,
    ) -> Result<R, Error> {
        let opened = self.guard(function, open).map_err(plugin_error)?;
        opened.map_err(|error| match error {
            wit::Error::InvalidConfig(text) => Error::config(format!(
                "plugin `{}` does not accept its settings: {}",
                self.name,
                printable(&text, MESSAGE)
            )),
            wit::Error::UnsupportedSchema(text) => {
                Error::config(format!("plugin `{}` cannot be opened: {}", self.name, printable(&text, MESSAGE)))
            }
            wit::Error::Other(text) => {
                Error::plugin(format!("plugin `{}` cannot be opened: {}", self.name, printable(&text, MESSAGE)))
            }
        })
    }

    /// Runs `f` under the plugin's limits, and turns what goes wrong into this instance's failure.
    pub(super) fn guard<R>(
        &mut self,
        function: &str,
        f: impl FnOnce(&mut Store<State>) -> wasmtime::Result<R>,
    ) -> Result<R, Failure> {
        let answer = self.enter(function, f);
        self.store.data().log.flush(answer.is_err());
        answer
    }

    fn enter<R>(
        &mut self,
        function: &str,
        f: impl FnOnce(&mut Store<State>) -> wasmtime::Result<R>,
    ) -> Result<R, Failure> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        self.store.data().log.begin();
        self.store.data_mut().limiter.refused = false;
        self.store.set_epoch_deadline(ticks(self.limits.time));
        let answer = enter(|| f(&mut self.store));
        let state = self.store.data();
        let cut = state.log.end();
        self.meter.peak.fetch_max(state.limiter.peak, Ordering::Relaxed);
        if cut > 0 {
            self.meter.add(|usage| usage.log_lines_cut += cut);
        }
        answer.map_err(|error| {
            let failure = self.explain(function, &error);
            self.fail(failure)
        })
    }

    /// Checks an answer: what it broke becomes this instance's failure.
    pub(super) fn check<R>(&mut self, function: &str, answer: Result<R, String>) -> Result<R, Failure> {
        answer.map_err(|broken| self.broke(function, &broken))
    }

    /// Makes a rule that the plugin broke this instance's failure.
    pub(super) fn broke(&mut self, function: &str, rule: &str) -> Failure {
        self.fail(Failure::BrokeRule(format!("plugin `{}` broke the interface in `{function}`: it {rule}", self.name)))
    }

    /// Adds to what the plugin did.
    pub(super) fn count(&self, rows_out: usize, rejected: usize) {
        self.meter.add(|usage| {
            usage.rows_out += rows_out as u64;
            usage.rejected += rejected as u64;
        });
    }

    /// Makes `failure` what every later call gives.
    pub(super) fn fail(&mut self, failure: Failure) -> Failure {
        self.meter.add(|usage| match &failure {
            Failure::Trap(_) | Failure::Timeout(_) => usage.traps += 1,
            Failure::BrokeRule(rule) => {
                usage.broken_rules += 1;
                usage.first_broken_rule.get_or_insert_with(|| rule.clone());
            }
            Failure::Refused(_) => {}
        });
        self.failed = Some(failure.clone());
        failure
    }

    pub(super) fn set_moment(&mut self, moment: Moment) {
        self.store.data_mut().set_moment(moment);
    }

    fn explain(&self, function: &str, error: &wasmtime::Error) -> Failure {
        let name = &*self.name;
        let state = self.store.data();
        let mut why = String::new();
        if state.limiter.refused {
            let limit = bytes(self.limits.memory);
            why += &format!(", after it was refused more memory than its limit of {limit} (`limits.memory`)");
        }
        if let Some(words) = state.log.last_words() {
            why += &format!("; it said: {}", printable(&words, MESSAGE));
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return match trap {
                Trap::Interrupt => Failure::Timeout(format!(
                    "plugin `{name}` took longer in `{function}` than its limit of {}{why}",
                    humantime::format_duration(self.limits.time)
                )),
                Trap::StackOverflow => {
                    Failure::Trap(format!("plugin `{name}` overflowed its stack in `{function}`{why}"))
                }
                trap => Failure::Trap(format!("plugin `{name}` trapped in `{function}`: {trap}{why}")),
            };
        }
        let root = printable(&error.root_cause().to_string(), MESSAGE);
        if error.is::<Panicked>() {
            return Failure::Trap(format!("plugin `{name}` cannot be run in `{function}`: {root}{why}"));
        }
        if root.contains("fuel allocated for hostcalls") {
            let limit = bytes(self.limits.transfer);
            return Failure::BrokeRule(format!(
                "plugin `{name}` broke the interface in `{function}`: it passed more than its limit of {limit}{why}"
            ));
        }
        match error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            Some(_) => Failure::Trap(format!("plugin `{name}` trapped in `{function}`: it ended its own process{why}")),
            // Not a trap of its code: a value that cannot be lifted, such as text that is not UTF-8.
            None => Failure::BrokeRule(format!("plugin `{name}` broke the interface in `{function}`: {root}{why}")),
        }
    }
}

/// A failure before there is a record to blame.
pub(super) fn plugin_error(failure: Failure) -> Error {
    Error::plugin(failure.to_string())
}

/// A number of bytes as people write it.
pub(super) fn bytes(count: u64) -> String {
    match count {
        n if n >= 1 << 20 && n % (1 << 20) == 0 => format!("{}MiB", n >> 20),
        n if n >= 1 << 10 && n % (1 << 10) == 0 => format!("{}KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}
