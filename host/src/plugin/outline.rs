//! What a component imports and exports, read from its bytes: nothing of it is compiled or run.

use wasmparser::{BinaryReaderError, ComponentExternName, Parser, Payload};

use super::PluginKind;
use super::log::printable;
use super::wasi::ALLOWED;
use crate::error::{Error, Result};

/// The package whose interfaces plugins and this host share.
const PACKAGE: &str = "lakeport:plugin";
const VERSION: &str = "0.1.0";
/// Imports of a component, and exports; a plugin has about thirty.
const NAMES: usize = 1000;

/// A component that imports only what plugins may, and exports one kind of plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) kind: PluginKind,
    /// Whether it is a format that writes tables.
    pub(super) writes_tables: bool,
    /// The interfaces that it imports, sorted.
    pub(super) imports: Vec<String>,
}

impl Outline {
    /// Reads a component that the configuration calls `name`.
    ///
    /// # Errors
    /// Of kind `Config`: it is no component, is made for another version of the interface, imports what plugins may not, or
    /// exports no plugin.
    pub(super) fn read(name: &str, component: &[u8]) -> Result<Outline> {
        check_header(name, component)?;
        let (mut imports, exports) = names(component).map_err(|error| {
            let error = printable(&error, 2048);
            Error::config(format!("plugin `{name}` cannot be compiled: it is not a valid component: {error}"))
        })?;
        imports.sort();
        check_version(name, imports.iter().chain(&exports))?;
        check_imports(name, &imports)?;
        let kind = kind(name, &exports)?;
        Ok(Outline { kind, writes_tables: kind == PluginKind::Format && has(&exports, "catalog"), imports })
    }

    /// The interface of its kind, as errors name it.
    pub(super) fn interface(&self) -> String {
        format!("{PACKAGE}/{}@{VERSION}", self.kind)
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

/// The names of a component's own imports and exports, not of the modules and components in it.
fn names(component: &[u8]) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(broken)? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                add(&mut imports, section.into_iter().map(|import| import.map(|import| import.name)))?;
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                add(&mut exports, section.into_iter().map(|export| export.map(|export| export.name)))?;
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn add<'a>(
    names: &mut Vec<String>,
    more: impl Iterator<Item = Result<ComponentExternName<'a>, BinaryReaderError>>,
) -> Result<(), String> {
    for name in more {
        if names.len() == NAMES {
            return Err(format!("it has more than {NAMES} imports or exports"));
        }
        names.push(name.map_err(broken)?.name.to_owned());
    }
    Ok(())
}

fn broken(error: BinaryReaderError) -> String {
    error.to_string()
}

fn check_version<'a>(name: &str, interfaces: impl Iterator<Item = &'a String>) -> Result<()> {
    for interface in interfaces {
        let (path, version) = interface.split_once('@').unwrap_or((interface, ""));
        let is_ours = path.strip_prefix(PACKAGE).is_some_and(|rest| rest.starts_with('/'));
        if is_ours && version != VERSION {
            let version = printable(version, 64);
            return Err(Error::config(format!(
                "plugin `{name}` is made for {PACKAGE}@{version}, and this host speaks {PACKAGE}@{VERSION}"
            ))
            .with_help(format!(
                "build it with the SDK of this version, which `lakeport plugin new` writes, or run it with a Lakeport that \
                 speaks {version}"
            )));
        }
    }
    Ok(())
}

fn check_imports(name: &str, imports: &[String]) -> Result<()> {
    let allowed = |import: &str| {
        let (interface, version) = import.split_once('@').unwrap_or((import, ""));
        ALLOWED.contains(&interface) && (interface.starts_with(PACKAGE) || version.starts_with("0.2."))
    };
    let Some(refused) = imports.iter().find(|import| !allowed(import)) else { return Ok(()) };
    let refused = printable(refused, 256);
    Err(Error::config(format!("plugin `{name}` imports `{refused}`, which plugins may not"))
        .with_help("plugins may import WASI 0.2's cli, clocks, filesystem, io, random and sockets, nothing else"))
}

fn has(exports: &[String], interface: &str) -> bool {
    exports.iter().any(|export| *export == format!("{PACKAGE}/{interface}@{VERSION}"))
}

/// What kind of plugin exports `exports`.
fn kind(name: &str, exports: &[String]) -> Result<PluginKind> {
    let kinds: Vec<PluginKind> = PluginKind::ALL.into_iter().filter(|kind| has(exports, &kind.to_string())).collect();
    let help = format!(
        "a plugin implements one of the worlds `filter-plugin`, `transform-plugin`, `format-plugin` and `table-format-plugin` of \
         {PACKAGE}@{VERSION}, each of which exports `info` and the interface of its kind"
    );
    let found = match exports {
        [] => String::from("nothing"),
        _ => exports.iter().map(|export| format!("`{}`", printable(export, 256))).collect::<Vec<_>>().join(", "),
    };
    let error = match kinds[..] {
        [kind] if has(exports, "info") => return Ok(kind),
        [kind] => format!(
            "plugin `{name}` exports `{kind}` without `{PACKAGE}/info@{VERSION}`, expected the world `{kind}-plugin`"
        ),
        [] => format!("plugin `{name}` exports no kind of plugin that this version knows; it exports {found}"),
        _ => format!("plugin `{name}` exports more than one kind of plugin: {found}"),
    };
    Err(Error::config(printable(&error, 2048)).with_help(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component that imports and exports instances of these names, in which nothing is.
    fn read(imports: &[&str], exports: &[&str]) -> Result<Outline> {
        let imports: String = imports.iter().map(|name| format!("(import \"{name}\" (instance))\n")).collect();
        let exports: String = exports.iter().map(|name| format!("(export \"{name}\" (instance $none))\n")).collect();
        let text = format!("(component {imports} (component $c) (instance $none (instantiate $c)) {exports})");
        Outline::read("p", &wat::parse_str(text).unwrap())
    }

    const INFO: &str = "lakeport:plugin/info@0.1.0";

    #[test]
    fn kind_and_imports_are_known_before_anything_is_compiled() {
        let imports = ["wasi:io/poll@0.2.6", "lakeport:plugin/records@0.1.0"];
        let outline = read(&imports, &[INFO, "lakeport:plugin/filter@0.1.0"]).unwrap();
        assert_eq!((outline.kind, outline.writes_tables), (PluginKind::Filter, false));
        assert_eq!(outline.imports, ["lakeport:plugin/records@0.1.0", "wasi:io/poll@0.2.6"]);
        let exports = [INFO, "lakeport:plugin/catalog@0.1.0", "lakeport:plugin/format@0.1.0"];
        assert!(read(&[], &exports).unwrap().writes_tables);
    }

    #[test]
    fn another_version_of_the_interface_is_named() {
        let exports = ["lakeport:plugin/info@0.2.0", "lakeport:plugin/filter@0.2.0"];
        for (imports, exports) in [(&[][..], &exports[..]), (&["lakeport:plugin/records@0.2.0"], &[INFO])] {
            let error = read(imports, exports).unwrap_err();
            let expected = "plugin `p` is made for lakeport:plugin@0.2.0, and this host speaks lakeport:plugin@0.1.0";
            assert_eq!(error.message, expected);
            assert!(error.help.unwrap().contains("lakeport plugin new"));
        }
    }

    #[test]
    fn other_imports_are_named() {
        for import in ["wasi:http/types@0.2.0", "wasi:io/poll@0.3.0", "wasi:io/poll", "lakeport:plugins/records@0.1.0"]
        {
            let error = read(&[import], &[INFO, "lakeport:plugin/filter@0.1.0"]).unwrap_err();
            assert_eq!(error.message, format!("plugin `p` imports `{import}`, which plugins may not"));
        }
    }

    #[test]
    fn a_component_is_one_kind_of_plugin_with_info() {
        let filter = "lakeport:plugin/filter@0.1.0";
        assert!(read(&[], &[filter]).unwrap_err().message.contains("exports `filter` without"));
        let both = read(&[], &[INFO, filter, "lakeport:plugin/format@0.1.0"]).unwrap_err();
        assert!(both.message.contains("exports more than one kind"), "{both}");
        assert!(read(&[], &[INFO]).unwrap_err().message.contains("exports no kind of plugin"));
    }

    #[test]
    fn imports_and_exports_are_counted() {
        let imports: String = (0..1_001).map(|n| format!("(import \"i{n}\" (instance))")).collect();
        let error = Outline::read("p", &wat::parse_str(format!("(component {imports})")).unwrap()).unwrap_err();
        assert!(error.message.ends_with("it has more than 1000 imports or exports"), "{error}");
    }

    #[test]
    fn names_inside_do_not_count() {
        let text = "(component (component (import \"wasi:http/types@0.2.0\" (instance))))";
        let error = Outline::read("p", &wat::parse_str(text).unwrap()).unwrap_err();
        assert!(error.message.ends_with("it exports nothing"), "{error}");
    }
}
