//! An export of tables: the rows of one as they are at the end, and every version of the other's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Job;
use crate::support::lake_folder::Installation;
use crate::support::random::Random;
use crate::tables::{change, read};

const ROWS: u64 = 24;

#[derive(Default)]
pub struct Tables {
    version: u64,
    /// The sizes of the accounts that there are.
    accounts: BTreeMap<String, Option<String>>,
    /// How often each version of each contact was written: once.
    contacts: BTreeMap<(String, String), usize>,
}

impl Job for Tables {
    fn exports(&self) -> String {
        "[sources.crm]\nfiles = \"crm.ndjson\"\nenvelope = \"change\"\n\
         [exports.crm]\ntype = \"table\"\nsource = \"crm\"\nflush = { bytes = \"2KiB\", every = \"50ms\" }\n\
         public-url = \"https://contoso.dfs.core.windows.net/exports/\"\nsnapshots = { every = \"1ms\" }\n\
         [exports.crm.tables.account]\ncreated = \"/createdon\"\npartition = \"month\"\ncolumns = \"infer\"\n\
         [exports.crm.tables.contact]\nwrite = \"append-only\"\ncolumns = \"infer\"\n"
            .to_owned()
    }

    fn act(&mut self, installation: &Installation, random: &mut Random) -> &'static str {
        let mut lines = String::new();
        for _ in 0..random.within(1..=20) {
            self.version += 1;
            let (version, row) = (self.version, random.within(0..=ROWS - 1));
            let key = format!("a{row}");
            let is_there = self.accounts.contains_key(&key);
            match random.within(0..=9) {
                0 if is_there => {
                    lines += &change("delete", "account", &key, version, Value::Null);
                    self.accounts.remove(&key);
                }
                1..=3 if is_there => {
                    lines += &change("patch", "account", &key, version, json!({ "size": version }));
                    self.accounts.insert(key, Some(version.to_string()));
                }
                4..=6 => {
                    let contact = format!("c{}", row % 5);
                    lines += &change("update", "contact", &contact, version, json!({ "size": version }));
                    self.contacts.insert((contact, version.to_string()), 1);
                }
                _ => {
                    let created = format!("2020-{:02}-05T00:00:00Z", 1 + row % 3);
                    let body = json!({ "size": version, "createdon": created });
                    lines += &change("update", "account", &key, version, body);
                    self.accounts.insert(key, Some(version.to_string()));
                }
            }
        }
        installation.append("crm.ndjson", &lines);
        "append"
    }

    fn last_run(&self) -> &'static [&'static str] {
        &["run", "--quiet", "--full", "crm"]
    }

    fn assert_complete(&self, installation: &Installation) {
        let cdm = read(installation);
        let tables = cdm.tables();
        let accounts = if tables.contains(&"account") { cdm.column("account", "size") } else { BTreeMap::new() };
        assert_eq!(accounts, self.accounts);
        let mut found: BTreeMap<_, usize> = BTreeMap::new();
        for row in if tables.contains(&"contact") { cdm.rows("contact") } else { Vec::new() } {
            *found.entry((row["Id"].clone().unwrap(), row["versionnumber"].clone().unwrap())).or_default() += 1;
        }
        assert_eq!(found, self.contacts);
    }
}
