//! Filters in the sandbox.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use wasmtime::component::{InstancePre, ResourceAny};

use super::bindings::exports::lakeport::plugin::filter::{Guest, GuestIndices};
use super::crossing::{Scratch, bitmap, rejections};
use super::instance::{Instance, Meter};
use super::wasi::State;
use super::{Failure, Filter, Moment, Rejection, Verdict};
use crate::error::Result;
use crate::plan::PluginUse;
use crate::record::ColumnRequest;

/// One open filter.
pub(super) struct SandboxFilter {
    instance: Instance,
    guest: Guest,
    predicate: ResourceAny,
    columns: Vec<ColumnRequest>,
    scratch: Scratch,
}

impl SandboxFilter {
    /// Opens a filter whose settings were checked.
    pub(super) fn open(
        component: &InstancePre<State>,
        functions: &GuestIndices,
        plugin: &PluginUse,
        moment: Moment,
        meter: Arc<Meter>,
    ) -> Result<Self> {
        let (mut instance, guest) =
            Instance::for_use(component, plugin, moment, meter, |store, instance| functions.load(store, instance))?;
        let config = plugin.config.to_string();
        let (predicate, columns) = instance.open(
            |store| guest.predicate().call_open(store, &config),
            |store, predicate| guest.predicate().call_columns(store, *predicate),
        )?;
        Ok(SandboxFilter { instance, guest, predicate, columns, scratch: Scratch::default() })
    }

    fn evaluate_run(
        &mut self,
        columns: &[ArrayRef],
        rows: Range<usize>,
    ) -> Result<(BooleanBuffer, Vec<Rejection>), Failure> {
        let (guest, predicate) = (&self.guest, self.predicate);
        let count = rows.len();
        let verdict = self.scratch.lower(&self.columns, columns, rows, |batch| {
            self.instance.call("evaluate", count, |store| guest.predicate().call_evaluate(store, predicate, batch))
        })?;
        let checked =
            bitmap("keep", verdict.keep, count).and_then(|keep| Ok((keep, rejections(verdict.rejected, count)?)));
        self.instance.check("evaluate", checked)
    }
}

impl Filter for SandboxFilter {
    fn columns(&self) -> &[ColumnRequest] {
        &self.columns
    }

    fn evaluate(&mut self, rows: usize, columns: &[ArrayRef]) -> Result<Verdict, Failure> {
        let runs = self.instance.runs("evaluate", columns, rows, u64::MAX)?;
        let mut rejected = Vec::new();
        let mut keep = BooleanBuffer::new_unset(0);
        for run in runs {
            let (kept, refused) = self.evaluate_run(columns, run.clone())?;
            keep = match run.start {
                0 => kept,
                _ => joined(&keep, &kept),
            };
            rejected.extend(refused.into_iter().map(|r| Rejection { row: r.row + run.start as u32, ..r }));
        }
        if !rejected.is_empty() {
            // A rejected row is a dead letter and nothing else, whatever its bit says.
            let mut bits = BooleanBufferBuilder::new(rows);
            bits.append_buffer(&keep);
            rejected.iter().for_each(|rejection| bits.set_bit(rejection.row as usize, false));
            keep = bits.finish();
        }
        let keep = BooleanArray::new(keep, None);
        self.instance.count(keep.true_count(), rejected.len());
        Ok(Verdict { keep, rejected })
    }

    fn set_moment(&mut self, moment: Moment) {
        self.instance.set_moment(moment);
    }
}

fn joined(first: &BooleanBuffer, second: &BooleanBuffer) -> BooleanBuffer {
    let mut both = BooleanBufferBuilder::new(first.len() + second.len());
    both.append_buffer(first);
    both.append_buffer(second);
    both.finish()
}
