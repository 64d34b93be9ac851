//! Commits.
#[cfg(test)]
mod model;
pub mod protocol;
