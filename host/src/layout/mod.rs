//! Layout: which period a record belongs to, and which object holds it. Pure.

mod key;
mod period;
mod reverse;
mod template;

pub use key::{decode_segment, encode_segment};
pub use period::{Fields, Period};
pub use template::{Piece, Template, TemplateError, Token, Values, part_key, part_of};
