//! What the suites share.

pub mod gcs;
pub mod servers;
