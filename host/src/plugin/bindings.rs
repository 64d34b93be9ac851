//! What wasmtime makes of `wit/`.
//!
//! One world that holds every kind, so that all share the record types; a plugin exports only some of it, and each interface is
//! looked up for itself. Parameters borrow: lowering a column is one block copy into the plugin's memory.

wasmtime::component::bindgen!({
    inline: "
        package lakeport:host;
        world every-kind {
            include lakeport:plugin/filter-plugin@0.1.0;
            include lakeport:plugin/transform-plugin@0.1.0;
            include lakeport:plugin/table-format-plugin@0.1.0;
        }
    ",
    path: "../wit",
    ownership: Borrowing { duplicate_if_necessary: true },
});
