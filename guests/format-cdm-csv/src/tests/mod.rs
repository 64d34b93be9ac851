//! Rows and catalogs as readers get them.

mod catalog;
mod rows;
