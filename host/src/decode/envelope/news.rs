//! What the records of a chunk say of their tables' columns.
//!
//! Said once a chunk, and again where a record says something else: so what comes out of a chunk is the same whoever decodes it,
//! whatever was decoded before.

use std::collections::{HashMap, HashSet};

use crate::dataset::{Column, SchemaNews};

/// What has been said of a chunk's tables.
#[derive(Default)]
pub struct News {
    said: HashMap<String, Said>,
    news: Vec<SchemaNews>,
}

/// What was said of a table.
#[derive(Default)]
struct Said {
    /// The signature of what was complete, and its columns.
    complete: Option<u64>,
    columns: Vec<Column>,
    /// The signatures of what was not, since then.
    partial: HashSet<u64>,
    /// Some of it was not among those columns.
    more: bool,
}

impl News {
    /// Says what columns the records of `kind` have, unless that is what was said last. `signature`: a hash of the columns.
    /// `complete`: they are all.
    pub fn say(&mut self, kind: &str, signature: u64, complete: bool, columns: impl FnOnce() -> Option<Vec<Column>>) {
        if !self.said.contains_key(kind) {
            self.said.insert(kind.to_owned(), Said::default());
        }
        let Some(said) = self.said.get_mut(kind) else { return };
        let is_new = match complete {
            true => said.complete != Some(signature) || said.more,
            false => said.complete != Some(signature) && said.partial.insert(signature),
        };
        if !is_new {
            return;
        }
        let columns = columns();
        if complete {
            *said = Said { complete: Some(signature), columns: columns.clone().unwrap_or_default(), ..Said::default() };
        } else if let Some(columns) = &columns {
            // Updates that lack what they did not change say nothing new.
            if !said.more && columns.iter().all(|column| said.columns.contains(column)) {
                return;
            }
            said.more = true;
        }
        if let Some(columns) = columns {
            self.news.push(SchemaNews { kind: kind.to_owned(), columns, complete });
        }
    }

    /// Everything that was said, in order.
    pub fn into_news(self) -> Vec<SchemaNews> {
        self.news
    }
}
