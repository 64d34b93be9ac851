//! Record kind `schema`: any Avro schema, filled from JSON bodies by field name.
//!
//! The schema is parsed once and compiled into a [`Plan`]: a list of nodes that name each other by place, so that
//! recursive types need no search. Bodies are read where they lie; a value is looked at once for each level that it
//! lies below.

mod compile;
mod encode;
mod logical;
mod node;

pub use compile::compile;
pub use encode::encode;
use node::Node;

/// A compiled schema.
#[derive(Debug)]
pub struct Plan {
    nodes: Vec<Node>,
    /// A record.
    root: usize,
}
