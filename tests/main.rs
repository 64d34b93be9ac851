//! The one integration binary. Every module is a suite; `support` is what they share.

mod changes;
mod cli;
mod cloud;
mod crash;
mod dead_letters;
mod disk;
mod envelopes;
mod fleet;
mod formats;
mod inspect;
mod lake_conformance;
mod lake_faults;
mod lake_local;
mod lines;
mod lookups;
mod plugin_sandbox;
mod postgres;
mod properties;
mod readme;
mod solution;
mod support;
mod tables;
mod tables_cli;
mod tables_crash;
mod tables_versions;
mod times;
