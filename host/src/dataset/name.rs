//! What tables are called where their rows come from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A table's name, with that of what it is in as far as its feed says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// What the feed calls the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    pub table: String,
}

impl TableName {
    /// The name of a table that is in nothing.
    pub fn plain(table: impl Into<String>) -> TableName {
        TableName { table: table.into(), ..TableName::default() }
    }

    /// The kind of the table's records: its name, behind its schema where that is not the one that tables are in by default.
    pub fn kind(&self) -> String {
        match self.schema.as_deref() {
            None | Some("" | "public" | "dbo") => self.table.clone(),
            Some(schema) => format!("{schema}.{}", self.table),
        }
    }

    /// Every name that a configuration may call the table by, the longest first; the kind comes last.
    pub fn names(&self) -> Vec<String> {
        let [server, database, schema] = self.places();
        let mut names: Vec<(usize, String)> = Vec::new();
        for within in 0..8u8 {
            let chosen = [(4, server), (2, database), (1, schema)];
            let chosen: Vec<&str> =
                chosen.iter().filter(|(bit, _)| within & bit != 0).filter_map(|(_, name)| *name).collect();
            if chosen.len() == within.count_ones() as usize && within != 0 {
                names.push((chosen.len(), format!("{}.{}", chosen.join("."), self.table)));
            }
        }
        names.sort_by_key(|(parts, _)| std::cmp::Reverse(*parts));
        let kind = self.kind();
        let mut names: Vec<String> = names.into_iter().map(|(_, name)| name).filter(|name| *name != kind).collect();
        names.push(kind);
        names
    }

    /// Tells whether both may be the same table: nothing that both say differs.
    pub fn agrees(&self, other: &TableName) -> bool {
        let same = |(one, other): (Option<&str>, Option<&str>)| one.is_none() || other.is_none() || one == other;
        self.table == other.table && self.places().into_iter().zip(other.places()).all(same)
    }

    /// Takes over what `other` says more of the same table.
    pub fn complete(&mut self, other: &TableName) {
        let places = [
            (&mut self.server, &other.server),
            (&mut self.database, &other.database),
            (&mut self.schema, &other.schema),
        ];
        for (place, other) in places {
            if place.is_none() {
                place.clone_from(other);
            }
        }
    }

    fn places(&self) -> [Option<&str>; 3] {
        [&self.server, &self.database, &self.schema].map(|place| place.as_deref().filter(|place| !place.is_empty()))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.places().into_iter().flatten() {
            write!(f, "{place}.")?;
        }
        f.write_str(&self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(server: &str, database: &str, schema: &str) -> TableName {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        TableName { server: some(server), database: some(database), schema: some(schema), table: "t".into() }
    }

    #[test]
    fn tables_of_the_default_schema_are_called_by_their_name() {
        assert_eq!(TableName::plain("t").kind(), "t");
        assert_eq!(name("", "db", "public").kind(), "t");
        assert_eq!(name("", "db", "dbo").kind(), "t");
        assert_eq!(name("", "db", "sales").kind(), "sales.t");
    }

    #[test]
    fn a_table_may_be_called_by_as_much_of_its_name_as_tells_it_from_others() {
        assert_eq!(TableName::plain("t").names(), ["t"]);
        assert_eq!(name("", "db", "").names(), ["db.t", "t"]);
        assert_eq!(name("", "db", "public").names(), ["db.public.t", "public.t", "db.t", "t"]);
        assert_eq!(name("", "", "sales").names(), ["sales.t"]);
        let all = name("s", "db", "x");
        assert_eq!(all.names(), ["s.db.x.t", "db.x.t", "s.x.t", "s.db.t", "db.t", "s.t", "x.t"]);
        assert_eq!(all.to_string(), "s.db.x.t");
    }

    #[test]
    fn names_agree_where_nothing_that_both_say_differs() {
        assert!(name("", "a", "public").agrees(&name("s", "a", "")));
        assert!(!name("", "a", "").agrees(&name("", "b", "")));
        assert!(!name("", "a", "public").agrees(&name("", "a", "dbo")));
    }
}
