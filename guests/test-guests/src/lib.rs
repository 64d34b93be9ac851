//! The components that Lakeport's tests run, by path, and the settings that make them misbehave.
//!
//! Each guest's modes are an enum; the tests match on it without a wildcard, so a mode without a test does not compile.

pub use test_filter as filter;
pub use test_format as format;
pub use test_transform as transform;

/// Path of a filter with [`filter::Mode`]s.
pub const FILTER: &str = concat!(env!("OUT_DIR"), "/test-filter.wasm");
/// Path of a transform with [`transform::Mode`]s.
pub const TRANSFORM: &str = concat!(env!("OUT_DIR"), "/test-transform.wasm");
/// Path of a format with [`format::Mode`]s.
pub const FORMAT: &str = concat!(env!("OUT_DIR"), "/test-format.wasm");
/// Path of a filter that imports `evil:host/door`.
pub const IMPORT: &str = concat!(env!("OUT_DIR"), "/test-import.wasm");
