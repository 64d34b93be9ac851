//! What the suites share.

pub mod servers;
