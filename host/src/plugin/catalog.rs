//! What a table format adds to a format, in the sandbox: the files that describe a dataset, and files brought to more columns.

use std::sync::Arc;

use wasmtime::component::{InstancePre, ResourceAny};

use super::bindings::exports::lakeport::plugin::catalog::{self as wit, Guest, GuestIndices};
use super::crossing::{Broken, with_dataset, with_schema};
use super::format::check_content_type;
use super::instance::{Instance, Meter, plugin_error};
use super::log::printable;
use super::wasi::State;
use super::{Catalog, CatalogFile, Failure, Moment, Widener};
use crate::dataset::{Described, TableSchema};
use crate::error::Result;
use crate::plan::PluginUse;

/// Files that describe one dataset.
const FILES: usize = 64;
/// Bytes of one of their paths.
const PATH: usize = 256;
/// Bytes that go into one `push`, at the most.
const PUSH: u64 = 1 << 20;

/// One open catalog.
pub(super) struct SandboxCatalog {
    instance: Instance,
    guest: Guest,
    config: String,
    paths: Vec<String>,
}

impl SandboxCatalog {
    /// Opens the catalog of a format whose settings were checked.
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
        let paths = instance.opened("paths", |store| guest.call_paths(store, &config))?;
        let paths = instance.check("paths", checked_paths(paths)).map_err(plugin_error)?;
        Ok(SandboxCatalog { instance, guest, config, paths })
    }
}

impl Catalog for SandboxCatalog {
    fn paths(&self) -> &[String] {
        &self.paths
    }

    fn render(&mut self, dataset: &Described, previous: &[CatalogFile]) -> Result<Vec<CatalogFile>, Failure> {
        let (guest, config) = (&self.guest, &self.config);
        let previous: Vec<wit::CatalogFileParam<'_>> = previous
            .iter()
            .map(|CatalogFile { path, content_type, bytes }| wit::CatalogFileParam { path, content_type, bytes })
            .collect();
        let files = self.instance.call("render", 0, |store| {
            with_dataset(dataset, |dataset| guest.call_render(store, config, dataset, &previous))
        })?;
        self.instance.check("render", checked_files(files, &self.paths))
    }

    fn set_moment(&mut self, moment: Moment) {
        self.instance.set_moment(moment);
    }
}

/// The paths become object keys.
fn checked_paths(paths: Vec<String>) -> Result<Vec<String>, Broken> {
    if !(1..=FILES).contains(&paths.len()) {
        return Err(format!("gave {} paths, expected 1 to {FILES}", paths.len()));
    }
    for (at, path) in paths.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let safe = |part: &str| part.chars().all(plain) && part.chars().any(|c| c != '.');
        if path.len() > PATH || !path.split('/').all(safe) {
            let path = printable(path, PATH);
            return Err(format!(
                "gave the path `{path}`, expected letters and digits such as `model.json` or `sets/all.csv`"
            ));
        }
        if paths[..at].contains(path) {
            return Err(format!("gave the path `{path}` twice"));
        }
    }
    Ok(paths)
}

/// The files that were announced, or some of them, in their order.
fn checked_files(files: Vec<wit::CatalogFileResult>, paths: &[String]) -> Result<Vec<CatalogFile>, Broken> {
    let mut left = paths.iter();
    let check = |file: wit::CatalogFileResult| {
        if !left.any(|path| *path == file.path) {
            let (path, expected) = (printable(&file.path, PATH), paths.join("`, `"));
            return Err(format!("gave a file `{path}`, expected each of `{expected}` once at the most, in this order"));
        }
        check_content_type(&file.content_type)?;
        Ok(CatalogFile { path: file.path, content_type: file.content_type, bytes: file.bytes })
    };
    files.into_iter().map(check).collect()
}

/// One open widener.
pub(super) struct SandboxWidener {
    instance: Instance,
    guest: Guest,
    widener: ResourceAny,
}

impl SandboxWidener {
    /// Opens a widener of a format whose settings were checked, from the first of `schemas` to the second.
    pub(super) fn open(
        component: &InstancePre<State>,
        functions: &GuestIndices,
        plugin: &PluginUse,
        schemas: (&TableSchema, &TableSchema),
        moment: Moment,
        meter: Arc<Meter>,
    ) -> Result<Self> {
        let (mut instance, guest) =
            Instance::for_use(component, plugin, moment, meter, |store, instance| functions.load(store, instance))?;
        let config = plugin.config.to_string();
        let widener = instance.opened("open", |store| {
            with_schema(schemas.0, |before| {
                with_schema(schemas.1, |after| guest.widener().call_open(store, &config, before, after))
            })
        })?;
        Ok(SandboxWidener { instance, guest, widener })
    }
}

impl Widener for SandboxWidener {
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        let (guest, widener) = (&self.guest, self.widener);
        let most = self.instance.budget().clamp(1, PUSH) as usize;
        let mut whole = Vec::new();
        for piece in bytes.chunks(most) {
            let wider = self.instance.call("push", 0, |store| guest.widener().call_push(store, widener, piece))?;
            match whole.is_empty() {
                true => whole = wider,
                false => whole.extend_from_slice(&wider),
            }
        }
        Ok(whole)
    }

    fn finish(&mut self) -> Result<Vec<u8>, Failure> {
        let (guest, widener) = (&self.guest, self.widener);
        self.instance.call("finish", 0, |store| guest.widener().call_finish(store, widener))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[&str]) -> Result<Vec<String>, Broken> {
        checked_paths(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn a_path_stays_below_the_dataset() {
        assert!(paths(&["OptionsetMetadata/Global-1.csv", "model.json"]).is_ok());
        for path in ["", "/model.json", "a//b", "a/", "..", "a/../b", "./a", "a b", "a\\b", "é", &"a".repeat(257)] {
            let broken = paths(&[path]).unwrap_err();
            assert!(broken.starts_with("gave the path `"), "{path}: {broken}");
        }
        assert_eq!(paths(&[]).unwrap_err(), "gave 0 paths, expected 1 to 64");
        assert_eq!(paths(&["a", "b", "a"]).unwrap_err(), "gave the path `a` twice");
    }

    #[test]
    fn files_are_those_that_were_announced_in_their_order() {
        let file = |path: &str| wit::CatalogFileResult {
            path: path.into(),
            content_type: "text/csv".into(),
            bytes: Vec::new(),
        };
        let files =
            |files: &[&str]| checked_files(files.iter().map(|path| file(path)).collect(), &paths(&["a", "b"]).unwrap());
        assert_eq!(files(&["a", "b"]).unwrap().len(), 2);
        assert_eq!(files(&["b"]).unwrap()[0].path, "b");
        let wrong = "gave a file `a`, expected each of `a`, `b` once at the most, in this order";
        assert_eq!(files(&["b", "a"]).unwrap_err(), wrong);
        assert_eq!(files(&["a", "a"]).unwrap_err(), wrong);
        let odd = wit::CatalogFileResult { content_type: "a\nb".into(), ..file("a") };
        assert!(checked_files(vec![odd], &paths(&["a"]).unwrap()).unwrap_err().starts_with("gave the content type"));
    }
}
