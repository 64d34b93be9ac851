//! What wit-bindgen makes of `wit/`: one module an interface, the records shared.
//!
//! Each module exports one interface, and a plugin's component is the union of what it uses: the worlds of `wit/` cannot be
//! used as they are, since all of them export `info` and macros have one namespace a crate.

#![allow(missing_docs)]

/// What a plugin says of itself.
pub mod info {
    wit_bindgen::generate!({
        inline: "
            package lakeport:sdk;
            world info-export { export lakeport:plugin/info@0.1.0; }
        ",
        path: "../../wit",
        pub_export_macro: true,
        default_bindings_module: "lakeport_plugin::bindings::info",
    });
}

/// Filters; its `records` are every kind's.
pub mod filter {
    wit_bindgen::generate!({
        inline: "
            package lakeport:sdk;
            world filter-export { export lakeport:plugin/filter@0.1.0; }
        ",
        path: "../../wit",
        pub_export_macro: true,
        default_bindings_module: "lakeport_plugin::bindings::filter",
        with: { "lakeport:plugin/records@0.1.0": generate },
    });
}

pub use filter::lakeport::plugin::records;

/// Transforms.
pub mod transform {
    wit_bindgen::generate!({
        inline: "
            package lakeport:sdk;
            world transform-export { export lakeport:plugin/transform@0.1.0; }
        ",
        path: "../../wit",
        pub_export_macro: true,
        default_bindings_module: "lakeport_plugin::bindings::transform",
        with: { "lakeport:plugin/records@0.1.0": crate::bindings::records },
    });
}

/// Formats.
pub mod format {
    wit_bindgen::generate!({
        inline: "
            package lakeport:sdk;
            world format-export { export lakeport:plugin/format@0.1.0; }
        ",
        path: "../../wit",
        pub_export_macro: true,
        default_bindings_module: "lakeport_plugin::bindings::format",
        with: {
            "lakeport:plugin/records@0.1.0": crate::bindings::records,
            "lakeport:plugin/schema@0.1.0": generate,
        },
    });
}

pub use format::lakeport::plugin::schema;

/// What a table format adds to a format.
pub mod catalog {
    wit_bindgen::generate!({
        inline: "
            package lakeport:sdk;
            world catalog-export { export lakeport:plugin/catalog@0.1.0; }
        ",
        path: "../../wit",
        pub_export_macro: true,
        default_bindings_module: "lakeport_plugin::bindings::catalog",
        with: {
            "lakeport:plugin/records@0.1.0": crate::bindings::records,
            "lakeport:plugin/schema@0.1.0": crate::bindings::schema,
        },
    });
}
