//! A filter that imports what no host gives it.

use lakeport_plugin::prelude::*;

wit_bindgen::generate!({
    inline: "
        package evil:host@1.0.0;
        interface door { open: func() -> bool; }
        world intruder { import door; }
    ",
});

/// The filter.
pub struct Intruder;

impl Filter for Intruder {
    type Config = NoSettings;

    fn open(_config: NoSettings) -> Result<Self> {
        Ok(Intruder)
    }

    fn keep(&self, _row: Row) -> Result<bool, Rejection> {
        Ok(evil::host::door::open())
    }
}

lakeport_plugin::export_filter!(Intruder);
