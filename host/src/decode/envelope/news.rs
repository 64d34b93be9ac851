//! What the records of a chunk say of their tables' columns.
//!
//! Said once a chunk, and again where a record says something else: so what comes out of a chunk is the same whoever decodes it,
//! whatever was decoded before. Where records say the same one after the other, the newest of their versions counts.

use std::collections::HashMap;

use crate::dataset::{Column, SchemaNews, TableName};

/// What has been said of a chunk's tables.
#[derive(Default)]
pub struct News {
    said: HashMap<TableName, Said>,
    news: Vec<SchemaNews>,
    /// Where the record begins that says something now.
    offset: u64,
}

/// What was said of a table.
#[derive(Default)]
struct Said {
    /// The signature of what was complete, where it is in the news, and its columns.
    complete: Option<(u64, usize)>,
    columns: Vec<Column>,
    /// The signatures of what was not, since then, and where that is in the news; `None` where it said nothing new.
    partial: HashMap<u64, Option<usize>>,
    /// Some of it was not among those columns.
    more: bool,
}

/// How something is said: by what, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct Saying {
    /// A hash of the columns.
    pub signature: u64,
    /// They are all.
    pub complete: bool,
    /// Of the event.
    pub version: Option<i64>,
}

impl News {
    /// What is said next is said by the record that begins at `offset`.
    pub fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Says what columns the records of `kind` have, unless that is what was said last.
    pub fn say(&mut self, kind: &TableName, saying: Saying, columns: impl FnOnce() -> Option<Vec<Column>>) {
        let Saying { signature, complete, version } = saying;
        if !self.said.contains_key(kind) {
            self.said.insert(kind.clone(), Said::default());
        }
        let Some(said) = self.said.get_mut(kind) else { return };
        let known = match complete {
            true => said.complete.filter(|known| known.0 == signature && !said.more).map(|known| Some(known.1)),
            false => said.partial.get(&signature).copied(),
        };
        if let Some(known) = known {
            if let Some(news) = known.and_then(|at| self.news.get_mut(at)) {
                news.version = news.version.max(version);
            }
            return;
        }
        let at = self.news.len();
        let columns = columns();
        if complete {
            let named = columns.clone().unwrap_or_default();
            *said = Said { complete: Some((signature, at)), columns: named, ..Said::default() };
        } else {
            let is_new = |column: &Column| !said.columns.contains(column);
            let more = columns.iter().flatten().any(is_new);
            // Updates that lack what they did not change say nothing new, but for their versions.
            let is_said = more || version.is_some();
            said.partial.insert(signature, is_said.then_some(at));
            said.more |= more;
            if !is_said {
                return;
            }
        }
        if let Some(columns) = columns {
            self.news.push(SchemaNews { kind: kind.clone(), columns, complete, version, offset: self.offset });
        }
    }

    /// Everything that was said, in order.
    pub fn into_news(self) -> Vec<SchemaNews> {
        self.news
    }
}
