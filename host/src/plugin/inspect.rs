//! What a component says of itself, and compiling ahead of time: the library behind `lakeport plugin inspect` and `compile`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::crossing::attribute_name;
use super::{FileType, Loaded, Moment, PluginKind, Sandbox, Toolbox, built_in_names};
use crate::dataset::TableSchema;
use crate::error::{Error, Result};
use crate::plan::{Limits, PluginOrigin, PluginPlan, PluginUse};
use crate::record::{ColumnRequest, ColumnType, Selector};

/// What there is to know of a component before it is configured.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    pub kind: PluginKind,
    /// A format of the rows of tables.
    pub tables: bool,
    pub name: String,
    pub version: String,
    pub summary: String,
    /// SHA-256, in hexadecimal.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    pub imports: Vec<String>,
    pub config_schema: serde_json::Value,
    /// With no settings, and a table's format for a table without columns; `None` where the plugin cannot be opened so.
    pub opened: Option<Opened>,
}

/// What an open plugin says.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Opened {
    /// The columns it asks for, as an author writes them: `text(kind)`, `number("/temperature")`.
    pub columns: Vec<String>,
    /// A format's extension, content type, and whether its files may be extended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_type: Option<InspectedFileType>,
}

/// See [`FileType`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InspectedFileType {
    pub extension: String,
    pub content_type: String,
    pub appendable: bool,
}

/// A component that was compiled into the cache.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Compiled {
    /// Its name, or a path.
    pub plugin: String,
    pub digest: String,
    /// Bytes of the component, and of its compiled form.
    pub size: u64,
    pub compiled_size: u64,
}

/// A plugin of `configured`, by its name or path; else a built-in one by its name, or any other by its path, under the usual limits.
fn plan(plugin: &str, configured: &[Arc<PluginPlan>]) -> PluginPlan {
    let path = Path::new(plugin);
    let is_file = path.exists();
    let is_it = |known: &&Arc<PluginPlan>| !is_file && known.name == plugin || is_at(known, path);
    if let Some(known) = configured.iter().find(is_it) {
        return PluginPlan::clone(known);
    }
    let origin = match built_in_names().any(|name| name == plugin) && !is_file {
        true => PluginOrigin::BuiltIn,
        false => PluginOrigin::Path(path.to_owned()),
    };
    let name = match &origin {
        PluginOrigin::BuiltIn => plugin.to_owned(),
        PluginOrigin::Path(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    PluginPlan { name, origin, limits: Limits::default() }
}

/// Whether a plugin is loaded from the file at `path`.
fn is_at(plugin: &PluginPlan, path: &Path) -> bool {
    let file = |path: &Path| std::fs::canonicalize(path).ok();
    match &plugin.origin {
        PluginOrigin::Path(own) => own == path || file(own).is_some_and(|own| file(path) == Some(own)),
        PluginOrigin::BuiltIn => false,
    }
}

/// Loads a component, by the name of a plugin that is built in or `configured`, or by path, and asks it about itself. What is
/// configured has its limits.
///
/// # Errors
/// As for [`Sandbox::load`].
pub fn inspect(sandbox: &Sandbox, plugin: &str, configured: &[Arc<PluginPlan>]) -> Result<Inspection> {
    let plan = plan(plugin, configured);
    let loaded = sandbox.load(&plan)?;
    let opened = match loaded.check_config(&json!({})) {
        Ok(()) => open(sandbox, plan, &loaded).ok(),
        Err(_) => None,
    };
    Ok(Inspection {
        kind: loaded.kind,
        tables: loaded.writes_tables(),
        name: loaded.name.clone(),
        version: loaded.version.clone(),
        summary: loaded.summary.clone(),
        digest: loaded.digest.clone(),
        size: loaded.size,
        imports: loaded.imports.clone(),
        config_schema: loaded.config_schema.clone(),
        opened,
    })
}

fn open(sandbox: &Sandbox, plan: PluginPlan, loaded: &Loaded) -> Result<Opened> {
    let plugin = PluginUse { plugin: Arc::new(plan), config: json!({}) };
    let moment = Moment { write_time: 0, seed: 0 };
    let toolbox = sandbox.toolbox();
    let columns = |columns: &[ColumnRequest]| columns.iter().map(column).collect();
    Ok(match loaded.kind {
        PluginKind::Filter => Opened { columns: columns(toolbox.filter(&plugin, moment)?.columns()), file_type: None },
        PluginKind::Transform => {
            Opened { columns: columns(toolbox.transform(&plugin, moment)?.columns()), file_type: None }
        }
        PluginKind::Format => {
            let format = match loaded.writes_tables() {
                true => {
                    let schema = TableSchema { table: String::from("table"), ..TableSchema::default() };
                    toolbox.table_format(&plugin, &schema, moment)?
                }
                false => toolbox.format(&plugin, moment)?,
            };
            let FileType { extension, content_type, appendable } = format.file_type().clone();
            let file_type = Some(InspectedFileType { extension, content_type, appendable });
            Opened { columns: columns(format.columns()), file_type }
        }
    })
}

fn column(request: &ColumnRequest) -> String {
    let as_type = match request.as_type {
        ColumnType::Boolean => "boolean",
        ColumnType::Int64 => "integer",
        ColumnType::Float64 => "number",
        ColumnType::Timestamp => "timestamp",
        ColumnType::Text => "text",
        ColumnType::Json => "json",
        ColumnType::Bytes => "bytes",
        ColumnType::TextMap => "pairs",
    };
    match &request.selector {
        Selector::Attribute(attribute) => format!("{as_type}({})", attribute_name(*attribute)),
        Selector::Table => format!("{as_type}(table)"),
        Selector::Pointer(pointer) => format!("{as_type}({pointer:?})"),
        Selector::Lookup { table, pointer } => format!("{as_type}(lookup({table:?}, {pointer:?}))"),
    }
}

/// The built-in plugins, `configured` ones from a path under their limits, and the components in `files` by their paths.
pub(super) fn to_compile(files: &[PathBuf], configured: &[Arc<PluginPlan>]) -> Vec<PluginPlan> {
    let built_in = built_in_names().map(|name| plan(name, &[]));
    let by_path = configured.iter().filter(|plugin| plugin.origin != PluginOrigin::BuiltIn);
    let others = files.iter().filter(|path| !configured.iter().any(|plugin| is_at(plugin, path)));
    let others = others.map(|path| {
        let origin = PluginOrigin::Path(path.clone());
        PluginPlan { name: path.display().to_string(), origin, limits: Limits::default() }
    });
    built_in.chain(by_path.map(|plugin| PluginPlan::clone(plugin))).chain(others).collect()
}

/// Compiles components into the sandbox's cache: the built-in ones, those of `configured` plugins under their limits, and those in
/// `files`.
///
/// # Errors
/// Of kind `Config` where the sandbox has no cache; otherwise as for [`Sandbox::load`].
pub fn compile(sandbox: &Sandbox, files: &[PathBuf], configured: &[Arc<PluginPlan>]) -> Result<Vec<Compiled>> {
    let Some(cache) = sandbox.cache() else {
        return Err(Error::config("there is no folder to keep compiled plugins in")
            .with_help("set LAKEPORT_CACHE_DIR to a folder that this user may write to"));
    };
    to_compile(files, configured)
        .into_iter()
        .map(|plan| {
            let (loaded, plugin) = (sandbox.load(&plan)?, plan.name);
            let compiled_size = cache.size(loaded.component.engine(), &loaded.sha256).ok_or_else(|| {
                Error::config(format!("the compiled form of plugin `{plugin}` could not be kept; the log says why"))
            })?;
            Ok(Compiled { plugin, digest: loaded.digest.clone(), size: loaded.size, compiled_size })
        })
        .collect()
}
