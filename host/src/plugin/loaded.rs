//! A component that may be opened: read, checked, compiled, and asked what it is.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, InstancePre};

use super::bindings::exports::lakeport::plugin::{catalog, filter, format, info, transform};
use super::cache::Cache;
use super::engine::{self, Shared};
use super::instance::{Instance, Meter, bytes, plugin_error};
use super::log::printable;
use super::settings::Settings;
use super::wasi::{ALLOWED, State};
use super::{Moment, PluginKind};
use crate::error::{Error, Result};
use crate::plan::Limits;

/// The package that plugins and this host speak.
const PACKAGE: &str = "lakeport:plugin/";
const VERSION: &str = "0.1.0";
/// What a format exports that writes tables.
const CATALOG: &str = "lakeport:plugin/catalog@0.1.0";

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
    /// Of kind `Config` where the bytes are no plugin, or import what they may not; `Plugin` where it fails to describe itself.
    pub(super) fn new(name: &str, component: Bytes, limits: &Limits, cache: Option<&Cache>) -> Result<Loaded> {
        let size = component.len() as u64;
        if size > limits.component {
            let (size, limit) = (bytes(size), bytes(limits.component));
            let error = Error::config(format!("plugin `{name}` is {size} large, more than its limit of {limit}"));
            return Err(error.with_help(format!("build it smaller, or raise `limits.component` of plugin `{name}`")));
        }
        check_header(name, &component)?;
        let shared = engine::shared()?;
        let digest: [u8; 32] = Sha256::digest(&component).into();
        let compiled = compile(name, shared, cache, &component, &digest)?;

        let component_type = compiled.component_type();
        let mut imports: Vec<String> =
            component_type.imports(&shared.engine).map(|(import, _)| import.to_owned()).collect();
        imports.sort();
        check_imports(name, &imports)?;
        let exports: Vec<&str> = component_type.exports(&shared.engine).map(|(export, _)| export).collect();
        let kind = kind(name, &exports)?;

        let misfit = |error: wasmtime::Error| {
            Error::config(format!("plugin `{name}` does not fit {PACKAGE}{kind}@{VERSION}: {}", text(error)))
        };
        let instance = shared.linker.instantiate_pre(&compiled).map_err(misfit)?;
        let functions = match kind {
            PluginKind::Filter => filter::GuestIndices::new(&instance).map(Functions::Filter),
            PluginKind::Transform => transform::GuestIndices::new(&instance).map(Functions::Transform),
            PluginKind::Format => format::GuestIndices::new(&instance).and_then(|format| {
                let tables = exports.contains(&CATALOG).then(|| catalog::GuestIndices::new(&instance)).transpose()?;
                Ok(Functions::Format(format, tables))
            }),
        }
        .map_err(misfit)?;
        let described = info::GuestIndices::new(&instance).map_err(misfit)?;
        let info = describe(name, &instance, limits, &described)?;
        let settings = Settings::new(name, &info.config_schema)?;
        Ok(Loaded {
            kind,
            name: info.name,
            version: info.version,
            summary: info.summary,
            config_schema: settings.schema.clone(),
            digest: hex::encode(digest),
            size,
            imports,
            bytes: component,
            sha256: digest,
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

/// A component's first eight bytes say what it is: one message each for what people mistake for one.
fn check_header(name: &str, bytes: &[u8]) -> Result<()> {
    let help = "build it with `cargo build --release --target wasm32-wasip2`";
    match bytes.first_chunk::<8>() {
        Some(b"\0asm\x0d\0\x01\0") => Ok(()),
        Some(b"\0asm\x01\0\0\0") => {
            Err(Error::config(format!("plugin `{name}` is a WebAssembly module, expected a component")).with_help(help))
        }
        _ => Err(Error::config(format!("plugin `{name}` is not WebAssembly, expected a component")).with_help(help)),
    }
}

fn compile(name: &str, shared: &Shared, cache: Option<&Cache>, bytes: &[u8], digest: &[u8; 32]) -> Result<Component> {
    let engine = &shared.engine;
    if let Some(component) = cache.and_then(|cache| cache.load(engine, digest)) {
        return Ok(component);
    }
    tracing::debug!(plugin = name, "compiling");
    let component = Component::from_binary(engine, bytes)
        .map_err(|error| Error::config(format!("plugin `{name}` cannot be compiled: {}", text(error))))?;
    if let Some(Err(error)) = cache.map(|cache| cache.store(engine, digest, &component)) {
        tracing::warn!(plugin = name, "the compiled plugin cannot be kept for the next run: {error}");
    }
    Ok(component)
}

fn text(error: wasmtime::Error) -> String {
    printable(&format!("{error:#}"), 2048)
}

fn check_imports(name: &str, imports: &[String]) -> Result<()> {
    let allowed = |import: &str| {
        let (interface, version) = import.split_once('@').unwrap_or((import, ""));
        let spoken = match interface.strip_prefix(PACKAGE) {
            Some(_) => version == VERSION,
            None => version.starts_with("0.2."),
        };
        spoken && ALLOWED.contains(&interface)
    };
    let Some(refused) = imports.iter().find(|import| !allowed(import)) else { return Ok(()) };
    let refused = printable(refused, 256);
    Err(Error::config(format!("plugin `{name}` imports `{refused}`, which plugins may not"))
        .with_help("plugins may import WASI 0.2's cli, clocks, filesystem, io, random and sockets, nothing else"))
}

/// What kind of plugin exports `exports`.
fn kind(name: &str, exports: &[&str]) -> Result<PluginKind> {
    let has = |interface: &str| exports.contains(&format!("{PACKAGE}{interface}@{VERSION}").as_str());
    let kinds: Vec<PluginKind> = PluginKind::ALL.into_iter().filter(|kind| has(&kind.to_string())).collect();
    let help = format!(
        "a plugin implements one of the worlds `filter-plugin`, `transform-plugin`, `format-plugin` and `table-format-plugin` of \
         {PACKAGE}*@{VERSION}, each of which exports `info` and the interface of its kind"
    );
    let found = match exports {
        [] => String::from("nothing"),
        _ => exports.iter().map(|export| format!("`{}`", printable(export, 256))).collect::<Vec<_>>().join(", "),
    };
    match kinds[..] {
        [kind] if has("info") => Ok(kind),
        [kind] => Err(Error::config(format!(
            "plugin `{name}` exports `{kind}` without `{PACKAGE}info@{VERSION}`, expected the world `{kind}-plugin`"
        ))
        .with_help(help)),
        [] => Err(Error::config(format!(
            "plugin `{name}` exports no kind of plugin that this version knows; it exports {found}"
        ))
        .with_help(help)),
        _ => {
            Err(Error::config(format!("plugin `{name}` exports more than one kind of plugin: {found}")).with_help(help))
        }
    }
}

fn describe(
    name: &str,
    instance: &InstancePre<State>,
    limits: &Limits,
    functions: &info::GuestIndices,
) -> Result<info::PluginInfo> {
    // The answer is part of the program: no clock or chance may change it.
    let moment = Moment { write_time: 0, seed: 0 };
    let (mut instance, guest) =
        Instance::new(instance, name, *limits, moment, Arc::new(Meter::default()), |store, instance| {
            functions.load(store, instance)
        })
        .map_err(plugin_error)?;
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
