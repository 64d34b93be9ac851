//! Transforms in the sandbox.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryViewArray};
use wasmtime::component::{InstancePre, ResourceAny};

use super::bindings::exports::lakeport::plugin::transform::{self as wit, Guest, GuestIndices};
use super::crossing::{self, Broken, Scratch, rejections, var_bytes};
use super::instance::{Instance, Meter};
use super::wasi::State;
use super::{Failure, Moment, Rejection, Transform, Transformed};
use crate::error::Result;
use crate::plan::PluginUse;
use crate::record::{Attribute, ColumnRequest, ColumnType};

/// One open transform.
pub(super) struct SandboxTransform {
    instance: Instance,
    guest: Guest,
    mapper: ResourceAny,
    columns: Vec<ColumnRequest>,
    scratch: Scratch,
}

impl SandboxTransform {
    /// Opens a transform whose settings were checked.
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
        let (mapper, columns) = instance.open(
            |store| guest.mapper().call_open(store, &config),
            |store, mapper| guest.mapper().call_columns(store, *mapper),
        )?;
        Ok(SandboxTransform { instance, guest, mapper, columns, scratch: Scratch::default() })
    }

    fn apply_run(&mut self, columns: &[ArrayRef], rows: Range<usize>) -> Result<Transformed, Failure> {
        let (guest, mapper) = (&self.guest, self.mapper);
        let count = rows.len();
        let answer = self.scratch.lower(&self.columns, columns, rows, |batch| {
            self.instance.call("apply", count, |store| guest.mapper().call_apply(store, mapper, batch))
        })?;
        self.instance.check("apply", checked(answer, count))
    }
}

impl Transform for SandboxTransform {
    fn columns(&self) -> &[ColumnRequest] {
        &self.columns
    }

    fn apply(&mut self, rows: usize, columns: &[ArrayRef]) -> Result<Transformed, Failure> {
        let mut whole: Option<Transformed> = None;
        for run in self.instance.runs("apply", columns, rows, u64::MAX)? {
            let part = self.apply_run(columns, run.clone())?;
            whole = Some(match whole {
                None => part,
                Some(before) => {
                    let joined = join(before, part, run.start as u32);
                    self.instance.check("apply", joined)?
                }
            });
        }
        let whole = whole.expect("a batch is at least one run");
        self.instance.count(whole.origins.len(), whole.rejected.len());
        Ok(whole)
    }

    fn broke(&mut self, rule: String) -> Failure {
        self.instance.broke("apply", &rule)
    }

    fn set_moment(&mut self, moment: Moment) {
        self.instance.set_moment(moment);
    }
}

fn checked(answer: wit::Transformed, rows: usize) -> Result<Transformed, Broken> {
    let rejected = rejections(answer.rejected, rows)?;
    crossing::origins(&answer.origins, rows, &rejected)?;
    let records = answer.origins.len();
    let bodies = answer.bodies.map(|bodies| var_bytes("bodies", bodies, records)).transpose()?;
    let mut attributes: Vec<(Attribute, ArrayRef)> = Vec::with_capacity(answer.attributes.len());
    for set in answer.attributes {
        let attribute = Attribute::from(set.attribute);
        let name = crossing::attribute_name(attribute);
        if attributes.iter().any(|(other, _)| *other == attribute) {
            return Err(format!("set the attribute `{name}` twice"));
        }
        let column = crossing::column(name, set.column, records)?;
        let fitting = types(attribute)?;
        if !fitting.iter().any(|&fitting| crossing::fits(fitting, column.data_type())) {
            return Err(format!("set the attribute `{name}` to values of another type, expected {fitting:?}"));
        }
        attributes.push((attribute, column));
    }
    Ok(Transformed { origins: answer.origins, bodies, attributes, rejected })
}

/// What an attribute's values may be.
fn types(attribute: Attribute) -> Result<&'static [ColumnType], Broken> {
    match attribute {
        Attribute::Id | Attribute::Source | Attribute::Kind | Attribute::Subject | Attribute::Operation => {
            Ok(&[ColumnType::Text])
        }
        Attribute::Time | Attribute::EnqueuedTime => Ok(&[ColumnType::Timestamp]),
        Attribute::Version => Ok(&[ColumnType::Int64, ColumnType::Text]),
        Attribute::Properties | Attribute::SystemProperties => Ok(&[ColumnType::TextMap]),
        Attribute::WriteTime => Err(String::from("set the attribute `write-time`, which is the host's")),
        Attribute::Body => Err(String::from("set the attribute `body`, expected new bodies in `bodies`")),
    }
}

/// The answers for two runs of one batch, the second of which starts at row `start`, as one.
fn join(first: Transformed, second: Transformed, start: u32) -> Result<Transformed, Broken> {
    let (before, after) = (first.origins.len(), second.origins.len());
    let mut origins = first.origins;
    origins.extend(second.origins.iter().map(|origin| origin + start));
    let mut rejected = first.rejected;
    rejected.extend(second.rejected.into_iter().map(|r| Rejection { row: r.row + start, ..r }));
    let bodies = match (first.bodies, second.bodies) {
        (None, None) => None,
        // A run without records has neither new bodies nor old ones.
        (Some(bodies), None) if after == 0 => Some(bodies),
        (None, Some(bodies)) if before == 0 => Some(bodies),
        (Some(first), Some(second)) => {
            let both = concatenated(&[&first, &second])?;
            Some(both.as_any().downcast_ref::<BinaryViewArray>().expect("of one type").clone())
        }
        _ => {
            return Err(String::from(
                "gave new bodies for a part of a batch that was passed in parts, expected all or none",
            ));
        }
    };
    let same = first.attributes.iter().map(|set| set.0).eq(second.attributes.iter().map(|set| set.0));
    let attributes = match same {
        true => first
            .attributes
            .into_iter()
            .zip(second.attributes)
            .map(|((attribute, first), (_, second))| Ok((attribute, concatenated(&[&first, &second])?)))
            .collect::<Result<_, Broken>>()?,
        false if after == 0 => first.attributes,
        false if before == 0 => second.attributes,
        false => return Err(String::from("set other attributes for one part of a batch than for another")),
    };
    Ok(Transformed { origins, bodies, attributes, rejected })
}

fn concatenated(arrays: &[&dyn Array]) -> Result<ArrayRef, Broken> {
    arrow_select::concat::concat(arrays)
        .map_err(|error| format!("gave parts of a batch that do not go together: {error}"))
}
