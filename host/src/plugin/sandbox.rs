//! Loads plugins, once each, and opens them in the sandbox.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::bindings::exports::lakeport::plugin::{catalog, format};
use super::cache::{self, Cache};
use super::catalog::{SandboxCatalog, SandboxWidener};
use super::compiler::Compiler;
use super::engine::catch;
use super::filter::SandboxFilter;
use super::format::SandboxFormat;
use super::instance::Meter;
use super::loaded::{Binary, Functions, Loaded};
use super::transform::SandboxTransform;
use super::{Catalog, Filter, Format, Moment, PluginKind, Toolbox, Transform, Usage, Widener, no_tables};
use crate::dataset::TableSchema;
use crate::error::{Error, Result};
use crate::plan::{Limits, PluginOrigin, PluginPlan, PluginUse};

/// The plugins that are part of this binary: the name that configurations use, and the component.
static BUILT_IN: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// The names of the plugins that are part of this binary, sorted.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// Loads plugins and opens them. A clone is the same sandbox.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

struct Shared {
    cache: Option<Cache>,
    compiler: Compiler,
    plugins: Mutex<HashMap<Origin, Arc<Mutex<Known>>>>,
}

/// What is known of one component so far.
#[derive(Default)]
struct Known {
    binary: Option<Binary>,
    loaded: Option<Arc<Loaded>>,
}

/// What makes two plans the same component.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Origin {
    BuiltIn(String),
    Path(PathBuf),
}

impl Sandbox {
    /// A sandbox whose compiled plugins are kept in `cache`, or in the user's cache folder where that is `None`. `compiler`
    /// compiles those that come from a path; built-in ones are compiled in this process.
    ///
    /// A cache that cannot be used is a warning in the log: plugins are then compiled in every run.
    ///
    /// # Errors
    /// Of kind `Internal`, where this machine cannot run WebAssembly.
    pub fn new(cache: Option<PathBuf>, compiler: Compiler) -> Result<Sandbox> {
        super::engine::shared()?;
        let cache = cache.or_else(cache::default_folder).and_then(|folder| match Cache::open(&folder) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), "compiled plugins are not kept: {error}");
                None
            }
        });
        Ok(Sandbox(Arc::new(Shared { cache, compiler, plugins: Mutex::default() })))
    }

    /// Loads a plugin; the same component is loaded once.
    ///
    /// # Errors
    /// Of kind `Config` where there is no such plugin, it is too large, it is no component, it is made for another version of
    /// the interface, it imports what it may not, it exports no kind that this version knows, or it cannot be compiled within
    /// its limits; `Plugin` where it fails to describe itself.
    pub fn load(&self, plan: &PluginPlan) -> Result<Arc<Loaded>> {
        let known = self.known(plan);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = known.loaded.as_ref().filter(|loaded| loaded.size <= plan.limits.component) {
            return Ok(loaded.clone());
        }
        let binary = known.read(plan)?;
        let compiler = match plan.origin {
            PluginOrigin::BuiltIn => &Compiler::ThisProcess,
            PluginOrigin::Path(_) => &self.0.compiler,
        };
        let load = || Loaded::new(&plan.name, binary, &plan.limits, self.cache(), compiler);
        let loaded = catch(load).unwrap_or_else(|panicked| {
            Err(Error::plugin(format!("plugin `{}` cannot be loaded: {panicked}", plan.name)))
        });
        let loaded = Arc::new(loaded?);
        known.loaded = Some(loaded.clone());
        Ok(loaded)
    }

    /// The SHA-256 of a plugin's component in hexadecimal. Nothing of it is compiled or run; [`Sandbox::load`] loads the very
    /// bytes that were read here.
    ///
    /// # Errors
    /// Of kind `Config` where there is no such plugin, it cannot be read, or it is too large.
    pub fn digest(&self, plan: &PluginPlan) -> Result<String> {
        let known = self.known(plan);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.read(plan).map(|binary| hex::encode(binary.sha256))
    }

    fn known(&self, plan: &PluginPlan) -> Arc<Mutex<Known>> {
        let origin = match &plan.origin {
            PluginOrigin::BuiltIn => Origin::BuiltIn(plan.name.clone()),
            PluginOrigin::Path(path) => Origin::Path(path.clone()),
        };
        self.0.plugins.lock().unwrap_or_else(PoisonError::into_inner).entry(origin).or_default().clone()
    }

    pub(super) fn cache(&self) -> Option<&Cache> {
        self.0.cache.as_ref()
    }

    /// What compiles components from a path.
    pub(super) fn compiler(&self) -> &Compiler {
        &self.0.compiler
    }

    /// A toolbox for one export: what its plugins do is added up there.
    pub fn toolbox(&self) -> SandboxToolbox {
        SandboxToolbox { sandbox: self.clone(), meters: Mutex::default() }
    }
}

impl Known {
    /// The component's bytes, read once.
    fn read(&mut self, plan: &PluginPlan) -> Result<Binary> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => Binary::new(read(plan)?),
        };
        binary.check_size(&plan.name, &plan.limits)?;
        Ok(self.binary.insert(binary).clone())
    }
}

fn read(plan: &PluginPlan) -> Result<Bytes> {
    let name = &plan.name;
    match &plan.origin {
        PluginOrigin::BuiltIn => match BUILT_IN.iter().find(|(built_in, _)| built_in == name) {
            Some((_, bytes)) => Ok(Bytes::from_static(bytes)),
            None => {
                let names: Vec<String> = built_in_names().map(|name| format!("`{name}`")).collect();
                Err(Error::config(format!(
                    "there is no built-in plugin `{name}`, expected one of {}",
                    names.join(", ")
                )))
            }
        },
        PluginOrigin::Path(path) => read_file(path, &plan.limits)
            .map_err(|error| Error::config(format!("cannot read plugin `{name}` from `{}`: {error}", path.display()))),
    }
}

/// A file's bytes, up to one more than the limit: enough to refuse it, whatever grows behind the path.
fn read_file(path: &Path, limits: &Limits) -> std::io::Result<Bytes> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limits.component.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// Opens sandboxed plugins for one export.
///
/// Plugins run on the thread that calls them, and block it: call from ordinary threads or `spawn_blocking`, never from an async
/// task. WASI waits for a plugin's prints on a runtime of its own, which panics where one is being driven already.
pub struct SandboxToolbox {
    sandbox: Sandbox,
    meters: Mutex<BTreeMap<String, Arc<Meter>>>,
}

impl SandboxToolbox {
    /// What each plugin did so far, by the name that the configuration uses; all its instances together.
    pub fn usage(&self) -> BTreeMap<String, Usage> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.iter().map(|(name, meter)| (name.clone(), meter.read())).collect()
    }

    fn meter(&self, name: &str) -> Arc<Meter> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.entry(name.to_owned()).or_default().clone()
    }

    /// Loads a plugin and checks its settings.
    fn load(&self, plugin: &PluginUse) -> Result<(Arc<Loaded>, Arc<Meter>)> {
        let loaded = self.sandbox.load(&plugin.plugin)?;
        loaded.check_config(&plugin.config)?;
        Ok((loaded, self.meter(&plugin.plugin.name)))
    }
}

fn wrong_kind(plugin: &PluginUse, loaded: &Loaded, expected: PluginKind) -> Error {
    let (name, kind) = (&plugin.plugin.name, loaded.kind);
    Error::config(format!("plugin `{name}` is a {kind}, expected a {expected}"))
}

/// The functions of a format of tables.
fn table_functions<'a>(
    plugin: &PluginUse,
    loaded: &'a Loaded,
) -> Result<(&'a format::GuestIndices, &'a catalog::GuestIndices)> {
    match &loaded.functions {
        Functions::Format(format, Some(catalog)) => Ok((format, catalog)),
        Functions::Format(_, None) => Err(no_tables(plugin)),
        _ => Err(wrong_kind(plugin, loaded, PluginKind::Format)),
    }
}

impl Toolbox for SandboxToolbox {
    fn filter(&self, plugin: &PluginUse, moment: Moment) -> Result<Box<dyn Filter>> {
        let (loaded, meter) = self.load(plugin)?;
        match &loaded.functions {
            Functions::Filter(at) => Ok(Box::new(SandboxFilter::open(&loaded.component, at, plugin, moment, meter)?)),
            _ => Err(wrong_kind(plugin, &loaded, PluginKind::Filter)),
        }
    }

    fn transform(&self, plugin: &PluginUse, moment: Moment) -> Result<Box<dyn Transform>> {
        let (loaded, meter) = self.load(plugin)?;
        match &loaded.functions {
            Functions::Transform(at) => {
                Ok(Box::new(SandboxTransform::open(&loaded.component, at, plugin, moment, meter)?))
            }
            _ => Err(wrong_kind(plugin, &loaded, PluginKind::Transform)),
        }
    }

    fn format(&self, plugin: &PluginUse, moment: Moment) -> Result<Box<dyn Format>> {
        let (loaded, meter) = self.load(plugin)?;
        match &loaded.functions {
            Functions::Format(at, _) => {
                Ok(Box::new(SandboxFormat::open(&loaded.component, at, plugin, None, moment, meter)?))
            }
            _ => Err(wrong_kind(plugin, &loaded, PluginKind::Format)),
        }
    }

    fn table_format(&self, plugin: &PluginUse, schema: &TableSchema, moment: Moment) -> Result<Box<dyn Format>> {
        let (loaded, meter) = self.load(plugin)?;
        let (format, _) = table_functions(plugin, &loaded)?;
        Ok(Box::new(SandboxFormat::open(&loaded.component, format, plugin, Some(schema), moment, meter)?))
    }

    fn catalog(&self, plugin: &PluginUse, moment: Moment) -> Result<Box<dyn Catalog>> {
        let (loaded, meter) = self.load(plugin)?;
        let (_, catalog) = table_functions(plugin, &loaded)?;
        Ok(Box::new(SandboxCatalog::open(&loaded.component, catalog, plugin, moment, meter)?))
    }

    fn widener(
        &self,
        plugin: &PluginUse,
        before: &TableSchema,
        after: &TableSchema,
        moment: Moment,
    ) -> Result<Box<dyn Widener>> {
        let (loaded, meter) = self.load(plugin)?;
        let (_, catalog) = table_functions(plugin, &loaded)?;
        let schemas = (before, after);
        Ok(Box::new(SandboxWidener::open(&loaded.component, catalog, plugin, schemas, moment, meter)?))
    }
}
