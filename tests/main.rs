//! The one integration binary: modules by subject.

mod plugin_sandbox;
