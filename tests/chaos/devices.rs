//! An export of changes: what a reader of all snapshots knows of each device.

use std::collections::BTreeMap;

use super::Job;
use crate::changes::{delete, newest, patch, set, snapshots};
use crate::support::lake_folder::Installation;
use crate::support::random::Random;

const DEVICES: u64 = 40;

/// Each device's version and fan speed, and no speed where it was deleted.
#[derive(Default)]
pub struct Devices(BTreeMap<usize, (usize, Option<u32>)>);

impl Job for Devices {
    fn exports(&self) -> String {
        "[sources.registry]\nfiles = \"registry.ndjson\"\nenvelope = \"change\"\n\
         [exports.devices]\ntype = \"changes\"\nsource = \"registry\"\ndeletes = \"mark\"\n\
         format = { plugin = \"avro\", record = \"device\" }\nflush = { bytes = \"1KiB\", every = \"50ms\" }\n"
            .to_owned()
    }

    fn act(&mut self, installation: &Installation, random: &mut Random) -> &'static str {
        let mut lines = String::new();
        for _ in 0..random.within(1..=30) {
            let device = random.within(0..=DEVICES - 1) as usize;
            let (version, speed) = self.0.get(&device).copied().unwrap_or_default();
            let new = random.within(1..=999) as u32;
            let (line, now) = match random.within(0..=9) {
                0 if speed.is_some() => (delete(device, version + 1), None),
                1..=4 if speed.is_some() => (patch(device, version + 1, new as usize), Some(new)),
                // An old version changes nothing.
                5 if version > 1 => (set(device, version - 1, 1_000), speed),
                _ => (set(device, version + 1, new as usize), Some(new)),
            };
            let is_old = now == speed && line.contains("1000");
            lines += &line;
            self.0.insert(device, (if is_old { version } else { version + 1 }, now));
        }
        installation.append("registry.ndjson", &lines);
        "append"
    }

    fn assert_complete(&self, installation: &Installation) {
        let found = newest(&snapshots(installation));
        for (device, (version, speed)) in &self.0 {
            // Of one that went before a snapshot had it nothing is to be said.
            let known = found.get(&format!("d{device}")).copied().flatten();
            assert_eq!(known, *speed, "d{device} in version {version}");
        }
        let unknown = found.keys().find(|key| !self.0.keys().any(|device| format!("d{device}") == **key));
        assert_eq!(unknown, None);
        assert_eq!(installation.last_commit("devices")["table"]["waiting"], 0);
    }
}
