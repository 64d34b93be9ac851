//! Formats in the sandbox: one encoder of the plugin for each open file, all in one instance.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::ArrayRef;
use wasmtime::Store;
use wasmtime::component::{InstancePre, ResourceAny};

use super::bindings::exports::lakeport::plugin::format::{self as wit, Guest, GuestIndices};
use super::bindings::lakeport::plugin::records::Error;
use super::crossing::{Broken, Scratch, rejections, with_schema};
use super::instance::{Instance, Meter, plugin_error};
use super::log::printable;
use super::wasi::State;
use super::{Failure, FileId, FileType, Format, Moment, Rejection, Segment};
use crate::dataset::TableSchema;
use crate::error::Result;
use crate::plan::PluginUse;
use crate::record::ColumnRequest;

/// Bytes that go into one `encode`. What a format reads and writes is four times as much on its way in and out: this many stay
/// in a core's own cache, which is worth more than the further calls cost.
const RUN: u64 = 256 << 10;

/// The most memory that is set aside for the runs of a batch before they are encoded. Bytes.
const RESERVED: usize = 8 << 20;

/// One open format.
pub(super) struct SandboxFormat {
    instance: Instance,
    guest: Guest,
    config: String,
    /// The table whose rows it writes.
    schema: Option<TableSchema>,
    /// The encoder that was asked for columns and file type; the first file takes it.
    spare: Option<ResourceAny>,
    files: HashMap<FileId, ResourceAny>,
    columns: Vec<ColumnRequest>,
    file_type: FileType,
    scratch: Scratch,
}

impl SandboxFormat {
    /// Opens a format whose settings were checked, for the rows of a table or for records.
    pub(super) fn open(
        component: &InstancePre<State>,
        functions: &GuestIndices,
        plugin: &PluginUse,
        schema: Option<&TableSchema>,
        moment: Moment,
        meter: Arc<Meter>,
    ) -> Result<Self> {
        let (mut instance, guest) =
            Instance::for_use(component, plugin, moment, meter, |store, instance| functions.load(store, instance))?;
        let config = plugin.config.to_string();
        let (encoder, columns) = instance.open(
            |store| open(&guest, store, &config, schema),
            |store, encoder| guest.encoder().call_columns(store, *encoder),
        )?;
        let file_type = instance
            .guard("file-type", |store| guest.encoder().call_file_type(store, encoder))
            .and_then(|found| instance.check("file-type", checked_type(found)))
            .map_err(plugin_error)?;
        if file_type.appendable {
            let spare = instance.opened("open", |store| open(&guest, store, &config, schema))?;
            check_trailer(&mut instance, &guest, spare).map_err(plugin_error)?;
        }
        Ok(SandboxFormat {
            instance,
            guest,
            config,
            schema: schema.cloned(),
            spare: Some(encoder),
            files: HashMap::new(),
            columns,
            file_type,
            scratch: Scratch::default(),
        })
    }

    fn encoder(&mut self, file: FileId) -> Result<ResourceAny, Failure> {
        match self.files.get(&file) {
            Some(encoder) => Ok(*encoder),
            None => self.instance.check("encode", Err(format!("was given file {file}, which was not begun"))),
        }
    }

    fn encode_run(
        &mut self,
        encoder: ResourceAny,
        columns: &[ArrayRef],
        rows: Range<usize>,
    ) -> Result<Segment, Failure> {
        let guest = &self.guest;
        let count = rows.len();
        let segment = self.scratch.lower(&self.columns, columns, rows, |batch| {
            self.instance.call("encode", count, |store| guest.encoder().call_encode(store, encoder, batch))
        })?;
        self.instance.check("encode", checked(segment, count))
    }
}

impl Format for SandboxFormat {
    fn columns(&self) -> &[ColumnRequest] {
        &self.columns
    }

    fn file_type(&self) -> &FileType {
        &self.file_type
    }

    fn begin(&mut self, file: FileId, seed: [u8; 16], resumed: bool) -> Result<Vec<u8>, Failure> {
        let (guest, config, schema) = (&self.guest, &self.config, self.schema.as_ref());
        let encoder = match self.spare.take() {
            Some(encoder) => encoder,
            None => self.instance.call("open", 0, |store| open(guest, store, config, schema))?,
        };
        let context = wit::FileContext { seed: &seed, resumed };
        let header = self.instance.call("header", 0, |store| guest.encoder().call_header(store, encoder, context))?;
        if resumed && !header.is_empty() {
            let broken = Err(format!("gave {} bytes for a file that is resumed, expected none", header.len()));
            self.instance.check("header", broken)?;
        }
        if let Some(replaced) = self.files.insert(file, encoder) {
            self.instance.guard("drop", |store| replaced.resource_drop(store))?;
        }
        Ok(header)
    }

    fn encode(&mut self, file: FileId, rows: usize, columns: &[ArrayRef]) -> Result<Segment, Failure> {
        let runs = self.instance.runs("encode", columns, rows, RUN)?;
        let later_runs = runs.len() - 1;
        let encoder = self.encoder(file)?;
        let mut whole: Option<Segment> = None;
        for run in runs {
            let part = self.encode_run(encoder, columns, run.clone())?;
            whole = Some(match whole {
                None => {
                    let mut first = part;
                    // Runs are alike in bytes, not in rows: one large record may be a run by itself.
                    first.bytes.reserve_exact((first.bytes.len() * later_runs).min(RESERVED));
                    first
                }
                Some(mut whole) => {
                    whole.bytes.extend_from_slice(&part.bytes);
                    whole.rows += part.rows;
                    let moved = part.rejected.into_iter().map(|r| Rejection { row: r.row + run.start as u32, ..r });
                    whole.rejected.extend(moved);
                    whole
                }
            });
        }
        let whole = whole.expect("a batch is at least one run");
        self.instance.count(whole.rows as usize, whole.rejected.len());
        Ok(whole)
    }

    fn finish(&mut self, file: FileId) -> Result<Vec<u8>, Failure> {
        let encoder = self.encoder(file)?;
        let guest = &self.guest;
        let trailer = self.instance.call("trailer", 0, |store| guest.encoder().call_trailer(store, encoder))?;
        if self.file_type.appendable {
            self.instance.check("trailer", no_trailer(&trailer))?;
        }
        self.files.remove(&file);
        self.instance.guard("drop", |store| encoder.resource_drop(store))?;
        Ok(trailer)
    }

    fn set_moment(&mut self, moment: Moment) {
        self.instance.set_moment(moment);
    }
}

/// Writes a file without records, to see that nothing comes after them: an appendable file never ends.
fn check_trailer(instance: &mut Instance, guest: &Guest, encoder: ResourceAny) -> Result<(), Failure> {
    let context = wit::FileContext { seed: &[0; 16], resumed: false };
    let trailer = instance.guard("trailer", |store| {
        Ok(match guest.encoder().call_header(&mut *store, encoder, context)? {
            Ok(_) => guest.encoder().call_trailer(&mut *store, encoder)?.unwrap_or_default(),
            // What it does not write at all it does not end either.
            Err(_) => Vec::new(),
        })
    })?;
    instance.check("trailer", no_trailer(&trailer))?;
    instance.guard("drop", |store| encoder.resource_drop(store))
}

fn no_trailer(trailer: &[u8]) -> Result<(), Broken> {
    match trailer.len() {
        0 => Ok(()),
        bytes => Err(format!("gave {bytes} bytes after an appendable file, expected none")),
    }
}

fn open(
    guest: &Guest,
    store: &mut Store<State>,
    config: &str,
    schema: Option<&TableSchema>,
) -> wasmtime::Result<Result<ResourceAny, Error>> {
    match schema {
        None => guest.encoder().call_open(store, config, None),
        Some(schema) => with_schema(schema, |schema| guest.encoder().call_open(store, config, Some(schema))),
    }
}

fn checked(segment: wit::Segment, rows: usize) -> Result<Segment, Broken> {
    let rejected = rejections(segment.rejected, rows)?;
    if segment.rows as usize + rejected.len() != rows {
        return Err(format!("wrote {} rows and rejected {}, of {rows}", segment.rows, rejected.len()));
    }
    Ok(Segment { bytes: segment.bytes, rows: segment.rows, rejected })
}

/// The extension becomes part of object keys, the content type of HTTP headers.
fn checked_type(found: wit::FileType) -> Result<FileType, Broken> {
    let extension = &found.extension;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let dots = extension.starts_with('.') || extension.ends_with('.') || extension.contains("..");
    if !(1..=32).contains(&extension.len()) || !extension.chars().all(plain) || dots {
        let extension = printable(extension, 64);
        return Err(format!(
            "gave the extension `{extension}`, expected letters and digits such as `ndjson` or `csv.gz`"
        ));
    }
    check_content_type(&found.content_type)?;
    Ok(FileType { extension: found.extension, content_type: found.content_type, appendable: found.appendable })
}

/// It becomes part of HTTP headers.
pub(super) fn check_content_type(content_type: &str) -> Result<(), Broken> {
    if !(1..=128).contains(&content_type.len()) || !content_type.chars().all(|c| matches!(c, ' '..='~')) {
        let content_type = printable(content_type, 128);
        return Err(format!("gave the content type `{content_type}`, expected one such as `application/json`"));
    }
    Ok(())
}
