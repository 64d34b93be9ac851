//! Lookups: columns that come from another export's table, by a record's subject, as last committed at the span's first lookup.
//!
//! Between decoding and the plugins. Each distinct subject of a batch is looked up once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BinaryViewArray, UInt32Array};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};

use super::columns::ColumnTable;
use super::processed::SpanContext;
use crate::commit::{read_last, read_partitions};
use crate::config::suggest;
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::plan::{LakePlan, SOLE_PARTITION};
use crate::record::{Attribute, Batch, ColumnRequest, ColumnType, Selector};
use crate::table::{self, Cache, Reader, TableState, Wanted};
use crate::wait::until;

/// How often a table may move on while it is read.
const ATTEMPTS: usize = 5;

/// The tables that an installation's exports of changes keep, for one span. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// The lake of every such export, by its name. Opened when it is looked into: another export may be about to create it.
    lakes: Arc<BTreeMap<String, Arc<LakePlan>>>,
    /// Turn true when the exports of this process that keep tables have committed what their sources had when they were first
    /// read to their ends.
    settled: Arc<BTreeMap<String, watch::Receiver<bool>>>,
    cache: Cache,
    /// Lakes that hold a table, once they were opened.
    found: Arc<Mutex<HashMap<String, Lake>>>,
    /// The tables that this span has looked into, as they were then.
    open: Arc<Mutex<HashMap<String, Open>>>,
}

/// A table as a commit has it.
#[derive(Debug, Clone)]
struct Open {
    lake: Lake,
    state: Arc<TableState>,
    reader: Reader,
}

impl Tables {
    /// Tables in these lakes, by the names of the exports that keep them.
    ///
    /// A lookup waits for those that are in `settled` until they are, so that what one configuration exports finds what it
    /// keeps, on the first run already. It fails where the sender goes before.
    pub fn new(lakes: BTreeMap<String, Arc<LakePlan>>, settled: BTreeMap<String, watch::Receiver<bool>>) -> Self {
        Tables { lakes: Arc::new(lakes), settled: Arc::new(settled), ..Tables::default() }
    }

    /// The same tables, for one who waits for none of them.
    pub fn as_committed(&self) -> Self {
        Tables { settled: Arc::default(), ..self.clone() }
    }

    /// The same tables for another span, which sees what was committed since.
    pub fn as_of_now(&self) -> Self {
        Tables { open: Arc::default(), ..self.clone() }
    }

    fn check(&self, table: &str) -> Result<()> {
        if self.lakes.contains_key(table) {
            return Ok(());
        }
        let message = format!("there is no export `{table}` of type `changes` to look values up in");
        Err(Error::config(message).with_help(match self.lakes.is_empty() {
            true => format!("add it: `[exports.{table}]` with `type = \"changes\"`"),
            false => suggest(table, self.lakes.keys().map(String::as_str)),
        }))
    }

    /// The documents of `wanted`, one each; null where there is none.
    async fn find(&self, table: &str, wanted: &[Wanted<'_>]) -> Result<BinaryViewArray> {
        let mut moved_on: Option<Open> = None;
        for _ in 0..ATTEMPTS {
            let open = self.reader(table).await?;
            if let Some(before) = moved_on.filter(|before| before.state.runs == open.state.runs) {
                return Err(before.missing().await?);
            }
            if let Some(documents) = open.reader.find(wanted).await? {
                return Ok(documents.iter().map(|found| found.as_ref().map(|found| &*found.body)).collect());
            }
            // Its files are gone: a newer commit has taken their place.
            self.open.lock().await.remove(table);
            moved_on = Some(open);
        }
        Err(Error::lake(format!("the table of export `{table}` moved on {ATTEMPTS} times while it was read"))
            .with_help("run again; if it happens often, commit that export less often: a longer `flush.every`"))
    }

    async fn reader(&self, table: &str) -> Result<Open> {
        if let Some(settled) = self.settled.get(table)
            && until(&mut settled.clone(), |settled| *settled).await.is_err()
        {
            let message =
                format!("export `{table}`, whose table is looked into, ended before it held all of its source");
            return Err(
                Error::lake(message).with_help("nothing is lost: once that export can run to its end, run again")
            );
        }
        let mut tables = self.open.lock().await;
        if let Some(open) = tables.get(table) {
            return Ok(open.clone());
        }
        let lake = self.lakes.get(table).ok_or_else(|| Error::internal(format!("the table `{table}` was checked")))?;
        let mut found = self.found.lock().await;
        let lake = match found.get(table) {
            Some(lake) => lake.clone(),
            None => Lake::open_for_lookups(lake).await?,
        };
        if let Some(partition) = read_partitions(&lake, table).await?.iter().find(|name| **name != *SOLE_PARTITION) {
            let message = format!("export `{table}`, whose table is looked into, has a partition `{partition}`");
            return Err(Error::config(message).with_help(
                "a table that others look into has to have one partition: let a source without partitions feed it",
            ));
        }
        let commit = read_last(&lake, table, SOLE_PARTITION).await?;
        // One that did not exist reads as empty for ever.
        if commit.is_some() {
            found.insert(table.to_owned(), lake.clone());
        }
        drop(found);
        let state = commit.and_then(|(_, commit)| commit.table).unwrap_or_default();
        let reader = Reader::new(lake.clone(), &state, self.cache.clone());
        let open = Open { lake, state: Arc::new(state), reader };
        tables.insert(table.to_owned(), open.clone());
        Ok(open)
    }
}

impl Open {
    /// The error for the file that is gone, though the last commit names it.
    async fn missing(&self) -> Result<Error> {
        for run in &self.state.runs {
            if self.lake.head(&run.key).await?.is_none() {
                return Ok(table::missing(&self.lake.url(&run.key)));
            }
        }
        Ok(Error::lake("a file of a table was gone and is back".to_owned()).with_help("run again"))
    }
}

/// The lookups that the plugins of a lane asked for.
pub struct Lookups {
    tables: Vec<Lookup>,
    subject: usize,
    source: usize,
    runtime: Handle,
}

/// What is wanted of one table.
struct Lookup {
    name: String,
    /// Takes the wanted values out of documents.
    decoder: Decoder,
    /// Where they stand in a batch.
    columns: Vec<usize>,
}

impl Lookups {
    /// The lookups among `columns`, to which it adds what finds the documents.
    ///
    /// # Errors
    /// Of kind `Config`: there is no such table.
    pub fn new(columns: &mut ColumnTable, tables: &Tables, runtime: Handle) -> Result<Self> {
        let mut wanted: BTreeMap<String, Vec<(usize, ColumnRequest)>> = BTreeMap::new();
        for (at, request) in columns.requests().iter().enumerate() {
            if let Selector::Lookup { table, pointer } = &request.selector {
                let value = ColumnRequest::pointer(pointer.clone(), request.as_type);
                wanted.entry(table.clone()).or_default().push((at, value));
            }
        }
        let mut ask = |attribute| match wanted.is_empty() {
            true => 0,
            false => columns.add(ColumnRequest::attribute(attribute, ColumnType::Text)),
        };
        let (subject, source) = (ask(Attribute::Subject), ask(Attribute::Source));
        let open = |(name, values): (String, Vec<(usize, ColumnRequest)>)| {
            tables.check(&name)?;
            let (columns, requests) = values.into_iter().unzip();
            Ok(Lookup { decoder: Decoder::of_bodies(requests)?, columns, name })
        };
        Ok(Lookups { tables: wanted.into_iter().map(open).collect::<Result<_>>()?, subject, source, runtime })
    }

    /// Puts what was looked up into the columns of `batch`. Blocks.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub fn fill(&mut self, batch: &mut Batch, span: &SpanContext) -> Result<()> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let (subjects, sources) = (batch.columns[self.subject].clone(), batch.columns[self.source].clone());
        let (subjects, sources) = (subjects.as_string_view(), sources.as_string_view());
        let mut known = HashMap::new();
        let mut wanted = Vec::new();
        let rows: UInt32Array = subjects
            .iter()
            .zip(sources)
            .map(|(subject, source)| {
                let one = Wanted { subject: subject?, source: source.unwrap_or_default() };
                Some(*known.entry(one).or_insert_with(|| {
                    wanted.push(one);
                    u32::try_from(wanted.len() - 1).expect("a batch has at most 8,192 rows")
                }))
            })
            .collect();
        for table in &mut self.tables {
            let documents = self.runtime.block_on(span.tables.find(&table.name, &wanted))?;
            let values =
                table.decoder.extract(&documents, &vec![Arc::new(documents.clone()) as ArrayRef; table.columns.len()]);
            for (at, values) in table.columns.iter().zip(values.columns) {
                batch.columns[*at] =
                    arrow_select::take::take(&values, &rows, None).expect("the rows are those of the documents");
            }
        }
        Ok(())
    }
}
