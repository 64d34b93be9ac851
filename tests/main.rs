//! The one integration binary. Every module is a suite; `support` is what they share.

mod changes;
mod cli;
mod cloud;
mod crash;
mod dead_letters;
mod disk;
mod envelopes;
mod fleet;
mod inspect;
mod lake_conformance;
mod lake_faults;
mod lake_local;
mod lines;
mod plugin_sandbox;
mod properties;
mod readme;
mod support;
mod times;
