//! What the suites share.

pub mod avro;
pub mod cdm;
pub mod collector;
pub mod containers;
pub mod functions;
pub mod gcs;
pub mod golden;
pub mod http;
pub mod lake_folder;
pub mod metrics;
pub mod mounts;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod random;
pub mod servers;
pub mod shared_data;
pub mod soak;
pub mod stores;
pub mod tools;
