//! Which table the records of a kind belong to.

use std::collections::HashMap;
use std::sync::Arc;

use glob::Pattern;

use crate::dataset::TableName;
use crate::plan::TablesPlan;

/// Where kinds that tables name are looked up.
#[derive(Debug)]
pub struct Kinds {
    exact: HashMap<String, Arc<Named>>,
    patterns: Vec<(Pattern, Arc<Named>)>,
}

/// A kind as a table's configuration has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub table: Arc<str>,
    /// With `*` for any characters but a dot, or without.
    pub kind: String,
    pub linked: bool,
}

/// What is found of a kind.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'k> {
    /// Its records belong to this table.
    Table(&'k Arc<Named>),
    /// Patterns of several tables match.
    Several(Vec<&'k str>),
    /// No table names it.
    Nothing,
}

impl Named {
    /// Tells whether the kind may stand for several.
    pub fn is_pattern(&self) -> bool {
        self.kind.contains('*')
    }
}

impl Kinds {
    /// The kinds of all tables, those that are not linked too.
    pub fn new(tables: &TablesPlan) -> Kinds {
        let mut kinds = Kinds { exact: HashMap::new(), patterns: Vec::new() };
        for (name, table) in &tables.tables {
            for kind in &table.kinds {
                let named = Named { table: name.as_str().into(), kind: kind.clone(), linked: table.linked };
                let named = Arc::new(named);
                match pattern(kind).filter(|_| named.is_pattern()) {
                    Some(pattern) => kinds.patterns.push((pattern, named)),
                    None => drop(kinds.exact.insert(kind.clone(), named)),
                }
            }
        }
        kinds
    }

    /// What the configuration calls `name`, of whose table it says `named`: the kind, or what of the name the table's patterns match.
    /// Two tables that it calls the same are one to it.
    pub fn called(&self, name: &TableName, named: &Named) -> String {
        if !named.is_pattern() {
            return named.kind.clone();
        }
        let of_table = |(_, other): &&(Pattern, Arc<Named>)| other.table == named.table;
        let is_called =
            |name: &&String| self.patterns.iter().filter(of_table).any(|(pattern, _)| matches(pattern, name));
        name.names().iter().filter(is_called).map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The table that records of `name` belong to: the one that names most of it; a name comes before a pattern.
    pub fn find(&self, name: &TableName) -> Found<'_> {
        let names = name.names();
        if let Some(named) = names.iter().find_map(|name| self.exact.get(name)) {
            return Found::Table(named);
        }
        let mut found: Vec<&Arc<Named>> = Vec::new();
        for (pattern, named) in &self.patterns {
            if names.iter().any(|name| matches(pattern, name)) && found.iter().all(|other| other.table != named.table) {
                found.push(named);
            }
        }
        match *found {
            [] => Found::Nothing,
            [named] => Found::Table(named),
            _ => Found::Several(found.iter().map(|named| &*named.table).collect()),
        }
    }
}

fn matches(pattern: &Pattern, name: &str) -> bool {
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
    pattern.matches_with(&name.replace('.', "/"), options)
}

/// The pattern of a kind in which only `*` has a meaning, with slashes for dots, which it does not stand for.
fn pattern(kind: &str) -> Option<Pattern> {
    let parts: Vec<String> = kind.replace('.', "/").split('*').map(Pattern::escape).collect();
    Pattern::new(&parts.join("*")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::parse;
    use crate::plan::Exports;

    fn kinds(tables: &str) -> Kinds {
        let text = format!(
            "[sources.s]\nfiles = \"x\"\nenvelope = \"debezium\"\n[exports.e]\ntype = \"table\"\nsource = \"s\"\n{tables}"
        );
        let plan = parse(&text).unwrap();
        let Exports::Tables(tables) = &plan.exports[0].exports else { panic!("an export of tables") };
        Kinds::new(tables)
    }

    fn table(name: &str, kind: &str) -> String {
        format!("[exports.e.tables.{name}]\nkey = \"/id\"\n{kind}\n")
    }

    fn found(kinds: &Kinds, name: &str) -> String {
        let mut parts = name.rsplit('.');
        let name = TableName {
            table: parts.next().unwrap_or_default().into(),
            schema: parts.next().map(str::to_owned),
            database: parts.next().map(str::to_owned),
            server: None,
        };
        match kinds.find(&name) {
            Found::Table(named) => named.table.to_string(),
            Found::Several(tables) => tables.join("+"),
            Found::Nothing => "-".into(),
        }
    }

    #[test]
    fn the_table_that_names_most_of_a_kind_has_its_records() {
        let tables = [table("t", ""), table("b", "kind = \"b.public.t\""), table("s", "kind = \"sales.t\"")].concat();
        let kinds = kinds(&tables);
        for (name, expected) in
            [("a.public.t", "t"), ("b.public.t", "b"), ("b.sales.t", "s"), ("b.other.t", "-"), ("t", "t")]
        {
            assert_eq!(found(&kinds, name), expected, "{name}");
        }
    }

    #[test]
    fn a_pattern_tells_tables_apart_by_what_it_says_of_their_place() {
        let tables = [table("ev", "kind = [\"ev_*\", \"*.log\"]"), table("t", "kind = \"tenant_*.x_*\"")].concat();
        let kinds = kinds(&tables);
        let called = |database: &str, schema: &str, name: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let name = TableName {
                database: some(database),
                schema: some(schema),
                server: Some("s".into()),
                table: name.into(),
            };
            match kinds.find(&name) {
                Found::Table(named) => kinds.called(&name, named),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(called("a", "public", "ev_1"), "ev_1");
        assert_eq!(called("tenant_a", "", "x_1"), "tenant_a.x_1");
        // The star may stand for either: both have to be the same for two to be one.
        assert_eq!(called("a", "public", "log"), "public.log, a.log, s.log");
    }

    #[test]
    fn a_table_may_have_several_kinds_and_patterns_of_them() {
        let tables = [
            table("ev", "kind = [\"ev\", \"ev_*\"]"),
            table("ev_old", "linked = false"),
            table("odd", "kind = [\"[a]*\", \"ev_x*\"]"),
            table("all", "kind = \"*.audit.*\""),
        ]
        .concat();
        let kinds = kinds(&tables);
        for (name, expected) in [
            ("ev", "ev"),
            ("d.public.ev_2025", "ev"),
            ("sales.ev_2025", "-"),
            ("ev_old", "ev_old"),
            ("[a]bc", "odd"),
            ("abc", "-"),
            ("ev_xy", "ev+odd"),
            ("ev_.other", "-"),
            ("d.audit.log", "all"),
        ] {
            assert_eq!(found(&kinds, name), expected, "{name}");
        }
    }
}
