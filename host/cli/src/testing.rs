//! Helpers shared by the tests of several commands.

use std::path::Path;

use lakeport::error::Result;
use lakeport::plan::Plan;

/// Shared with the integration tests.
#[path = "../../../tests/support/golden.rs"]
mod golden;

pub use golden::expect;

/// Parses a configuration in the folder `/etc/lakeport`, whose environment has `LAKE_KEY`.
pub fn parse(text: &str) -> Result<Plan> {
    let environment = |name: &str| (name == "LAKE_KEY").then(|| "hunter2-from-the-environment\n".to_owned());
    lakeport::config::parse(text, Path::new("/etc/lakeport/lakeport.toml"), &environment)
}
