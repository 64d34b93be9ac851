//! Filter `select`: keeps the records whose kind is one of some names; `*` in a name stands for any run of characters.
//!
//! Exports see few distinct kinds, so the answer for each is worked out once and remembered: a record costs one hash and one
//! comparison, whether it is kept by a name or by a pattern.

mod memo;
mod pattern;

use std::cell::RefCell;
use std::collections::HashSet;

use lakeport_plugin::bit;
use lakeport_plugin::prelude::*;

use memo::Memo;

/// Which records are kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The kinds to keep, such as `BrewStarted` or `Brew*`; all where there is none.
    #[serde(default)]
    pub kinds: Vec<String>,
}

/// The filter.
pub struct Select {
    /// `None` keeps every record, also one without a kind.
    kinds: Option<Kinds>,
    /// What was answered before; a cache, so sharing it changes no answer.
    memo: RefCell<Memo>,
}

struct Kinds {
    names: HashSet<Vec<u8>>,
    patterns: Vec<String>,
}

impl Kinds {
    fn keep(&self, kind: &[u8]) -> bool {
        self.names.contains(kind) || self.patterns.iter().any(|pattern| pattern::matches(pattern.as_bytes(), kind))
    }
}

impl Filter for Select {
    type Config = Config;

    fn open(config: Config) -> Result<Self> {
        let everything = config.kinds.is_empty() || config.kinds.iter().any(|kind| kind == "*");
        let (patterns, names): (Vec<_>, Vec<_>) = config.kinds.into_iter().partition(|kind| kind.contains('*'));
        let kinds = Kinds { names: names.into_iter().map(String::into_bytes).collect(), patterns };
        Ok(Select { kinds: (!everything).then_some(kinds), memo: RefCell::default() })
    }

    fn columns(&self) -> Columns {
        match self.kinds {
            Some(_) => columns![text(Attribute::Kind)],
            None => Columns::default(),
        }
    }

    fn keep(&self, row: Row) -> Result<bool, Rejection> {
        let Some(kinds) = &self.kinds else { return Ok(true) };
        Ok(row.bytes(0).is_some_and(|kind| kinds.keep(kind)))
    }

    fn evaluate(&self, batch: &Batch) -> Result<Verdict> {
        let Some(kinds) = &self.kinds else {
            return Ok(Verdict { keep: vec![0xff; batch.rows().div_ceil(8)], rejected: Vec::new() });
        };
        let mut memo = self.memo.borrow_mut();
        let column = batch.var_bytes(0);
        let mut start = 0;
        let mut keep = Vec::with_capacity(batch.rows().div_ceil(8));
        for ends in column.offsets[1..].chunks(8) {
            let mut bits = 0;
            for (bit, &end) in ends.iter().enumerate() {
                let end = end as usize;
                bits |= u8::from(memo.answer(&column.data, start, end, |kind| kinds.keep(kind))) << bit;
                start = end;
            }
            keep.push(bits);
        }
        if let Some(validity) = batch.validity(0) {
            // A record without a kind has none of the names.
            for row in (0..batch.rows()).filter(|&row| !bit(validity, row)) {
                keep[row / 8] &= !(1 << (row % 8));
            }
        }
        Ok(Verdict { keep, rejected: Vec::new() })
    }
}

lakeport_plugin::export_filter!(Select, name = "select");

#[cfg(test)]
mod tests {
    use super::*;
    use lakeport_plugin::testing;

    fn kept(kinds: &[&str], bodies: &[&str]) -> Vec<bool> {
        let select = Select::open(Config { kinds: kinds.iter().map(|&kind| kind.to_owned()).collect() }).unwrap();
        let batch = testing::batch(&select.columns(), bodies);
        let by_column = testing::kept(&select, &batch);
        let by_row: Vec<bool> = batch.iter().map(|row| select.keep(row).unwrap()).collect();
        assert_eq!(by_column, by_row);
        assert_eq!(by_column, testing::kept(&select, &batch), "the second time as the first");
        by_column
    }

    const BODIES: [&str; 4] =
        [r#"{"name":"BrewStarted"}"#, r#"{"name":"BrewEnded"}"#, r#"{"name":"PowerOn"}"#, r#"{"other":1}"#];

    #[test]
    fn names_are_kept_exactly() {
        assert_eq!(kept(&["BrewStarted"], &BODIES), [true, false, false, false]);
        assert_eq!(kept(&["brewstarted", "Brew"], &BODIES), [false; 4]);
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        assert_eq!(kept(&["Brew*"], &BODIES), [true, true, false, false]);
        assert_eq!(kept(&["*On", "*End*"], &BODIES), [false, true, true, false]);
    }

    #[test]
    fn no_kinds_and_a_lone_star_keep_everything() {
        assert_eq!(kept(&[], &BODIES), [true; 4]);
        assert_eq!(kept(&["PowerOn", "*"], &BODIES), [true; 4]);
    }

    #[test]
    fn many_distinct_kinds_are_each_answered_for_themselves() {
        let select = Select::open(Config { kinds: vec!["kind-7*".into(), "kind-12345".into()] }).unwrap();
        let bodies: Vec<String> = (0..20_000).map(|n| format!(r#"{{"name":"kind-{n}"}}"#)).collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        let kept = testing::kept(&select, &testing::batch(&select.columns(), &bodies));
        for (n, kept) in kept.into_iter().enumerate() {
            assert_eq!(kept, n == 12_345 || n.to_string().starts_with('7'), "kind-{n}");
        }
    }
}
