//! A component that may be opened: read, checked, compiled, and asked what it is.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};

use super::bindings::exports::lakeport::plugin::{catalog, filter, format, info, transform};
use super::cache::Cache;
use super::compiler::Compiler;
use super::embed;
use super::engine::{self, Cpu, Shared};
use super::instance::{Instance, Meter, bytes, plugin_error};
use super::log::printable;
use super::outline::Outline;
use super::settings::Settings;
use super::wasi::State;
use super::{Moment, PluginKind};
use crate::error::{Error, Result};
use crate::plan::Limits;

/// A component's bytes, of which nothing else is known yet.
#[derive(Clone)]
pub(super) struct Binary {
    pub(super) bytes: Bytes,
    pub(super) sha256: [u8; 32],
}

impl Binary {
    pub(super) fn new(bytes: Bytes) -> Binary {
        let sha256 = Sha256::digest(&bytes).into();
        Binary { bytes, sha256 }
    }

    /// Refuses a component that is larger than its limit.
    pub(super) fn check_size(&self, name: &str, limits: &Limits) -> Result<()> {
        let size = self.bytes.len() as u64;
        if size <= limits.component {
            return Ok(());
        }
        let (size, limit) = (bytes(size), bytes(limits.component));
        let error = Error::config(format!("plugin `{name}` is {size} large, more than its limit of {limit}"));
        Err(error.with_help(format!("build it smaller, or raise `limits.component` of plugin `{name}`")))
    }
}

/// A plugin that was loaded: checked, compiled, not yet opened.
pub struct Loaded {
    pub kind: PluginKind,
    /// What it calls itself; a configuration may call it otherwise.
    pub name: String,
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema of its settings.
    pub config_schema: serde_json::Value,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Bytes of the component.
    pub size: u64,
    /// The interfaces it imports, sorted.
    pub imports: Vec<String>,
    /// The component.
    pub bytes: Bytes,
    pub(super) sha256: [u8; 32],
    pub(super) component: InstancePre<State>,
    pub(super) functions: Functions,
    settings: Settings,
}

/// Where a plugin's functions are.
pub(super) enum Functions {
    Filter(filter::GuestIndices),
    Transform(transform::GuestIndices),
    /// A format, and what it adds where it writes tables.
    Format(format::GuestIndices, Option<catalog::GuestIndices>),
}

impl Loaded {
    /// Loads a component that the configuration calls `name`.
    ///
    /// # Errors
    /// Of kind `Config` where the bytes are no plugin, import what they may not, or cannot be compiled within their limits;
    /// `Plugin` where it fails to describe itself.
    pub(super) fn new(
        name: &str,
        binary: Binary,
        limits: &Limits,
        cache: Option<&Cache>,
        compiler: &Compiler,
    ) -> Result<Loaded> {
        let outline = Outline::read(name, &binary.bytes)?;
        let shared = engine::shared()?;
        let compiled = compile(name, shared, &binary, limits, cache, compiler)?;
        let misfit = |error: wasmtime::Error| {
            Error::config(format!("plugin `{name}` does not fit {}: {}", outline.interface(), text(&error)))
                .with_help("build it with the SDK of this version, which `lakeport plugin new` writes")
        };
        let linked = engine::enter(|| {
            let instance = shared.linker.instantiate_pre(&compiled)?;
            let functions = Functions::new(&instance, &outline)?;
            Ok((info::GuestIndices::new(&instance)?, functions, instance))
        });
        let (described, functions, instance) = linked.map_err(misfit)?;
        // The answer is part of the program: no clock or chance may change it.
        let moment = Moment { write_time: 0, seed: 0 };
        let meter = Arc::new(Meter::default());
        let (mut started, guest) = Instance::new(&instance, name, *limits, moment, meter, |store, instance| {
            Ok(functions.check(store, instance).and_then(|()| described.load(store, instance)))
        })
        .map_err(plugin_error)?;
        let info = describe(name, &mut started, &guest.map_err(misfit)?)?;
        let settings = Settings::new(name, &info.config_schema)?;
        Ok(Loaded {
            kind: outline.kind,
            name: info.name,
            version: info.version,
            summary: info.summary,
            config_schema: settings.schema.clone(),
            digest: hex::encode(binary.sha256),
            size: binary.bytes.len() as u64,
            imports: outline.imports,
            bytes: binary.bytes,
            sha256: binary.sha256,
            component: instance,
            functions,
            settings,
        })
    }

    /// Whether it is a format of tables.
    pub fn writes_tables(&self) -> bool {
        matches!(self.functions, Functions::Format(_, Some(_)))
    }

    /// Checks settings against the plugin's own schema; `plugin` is the name that the configuration uses.
    ///
    /// # Errors
    /// Of kind `Config`, naming the setting, its value and what was expected.
    pub fn check_config(&self, config: &serde_json::Value) -> Result<()> {
        self.settings.check(config)
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("version", &self.version)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Functions {
    /// The functions of the kind that `outline` says.
    fn new(instance: &InstancePre<State>, outline: &Outline) -> wasmtime::Result<Functions> {
        match outline.kind {
            PluginKind::Filter => filter::GuestIndices::new(instance).map(Functions::Filter),
            PluginKind::Transform => transform::GuestIndices::new(instance).map(Functions::Transform),
            PluginKind::Format => {
                let tables = outline.writes_tables.then(|| catalog::GuestIndices::new(instance)).transpose()?;
                Ok(Functions::Format(format::GuestIndices::new(instance)?, tables))
            }
        }
    }

    /// Compares the functions' types with those of the interface.
    fn check(&self, store: &mut Store<State>, instance: &wasmtime::component::Instance) -> wasmtime::Result<()> {
        match self {
            Functions::Filter(filter) => filter.load(store, instance).map(drop),
            Functions::Transform(transform) => transform.load(store, instance).map(drop),
            Functions::Format(format, tables) => {
                format.load(&mut *store, instance)?;
                tables.as_ref().map_or(Ok(()), |tables| tables.load(store, instance).map(drop))
            }
        }
    }
}

fn compile(
    name: &str,
    shared: &Shared,
    binary: &Binary,
    limits: &Limits,
    cache: Option<&Cache>,
    compiler: &Compiler,
) -> Result<Component> {
    let engine = &shared.engine;
    if let Some(component) = cache.and_then(|cache| cache.load(engine, &binary.sha256)) {
        return Ok(component);
    }
    if let Some(component) = embed::load(engine, &binary.sha256) {
        return Ok(component);
    }
    tracing::debug!(plugin = name, "compiling");
    let code = compiler.compile(name, &binary.bytes, limits, Cpu::This)?;
    if let Some(Err(error)) = cache.map(|cache| cache.store(engine, &binary.sha256, &code)) {
        tracing::warn!(plugin = name, "the compiled plugin cannot be kept for the next run: {error}");
    }
    // SAFETY: the bytes are what this program's compiler made of the component just now, in this process or in a child of it.
    engine::enter(|| unsafe { Component::deserialize(engine, &code) })
        .map_err(|error| Error::internal(format!("the compiled plugin `{name}` cannot be loaded: {}", text(&error))))
}

fn text(error: &wasmtime::Error) -> String {
    printable(&format!("{error:#}"), 2048)
}

fn describe(name: &str, instance: &mut Instance, guest: &info::Guest) -> Result<info::PluginInfo> {
    let info = instance.guard("describe", |store| guest.call_describe(store)).map_err(plugin_error)?;
    for (what, value, most) in
        [("name", &info.name, 64), ("version", &info.version, 64), ("summary", &info.summary, 500)]
    {
        if value.len() > most || printable(value, most) != *value || (what == "name" && value.is_empty()) {
            let value = printable(value, most);
            return Err(Error::plugin(format!(
                "plugin `{name}` describes itself with the {what} `{value}`, expected up to {most} printable bytes"
            )));
        }
    }
    Ok(info)
}
