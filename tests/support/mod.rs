//! What the suites share.

pub mod gcs;
pub mod lake_folder;
pub mod servers;
