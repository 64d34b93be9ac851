//! Which columns an export's batches have: what its plugins and its layout ask for, each once.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, StringViewArray, TimestampMicrosecondArray};

use crate::layout::Token;
use crate::plan::{ExportPlan, Timestamp};
use crate::record::{Attribute, Batch, ColumnRequest, ColumnType};

/// The requests of an export, without repetition.
#[derive(Debug, Default)]
pub struct ColumnTable {
    requests: Vec<ColumnRequest>,
}

impl ColumnTable {
    /// Where the column of `request` stands in a batch.
    pub fn add(&mut self, request: ColumnRequest) -> usize {
        match self.requests.iter().position(|known| *known == request) {
            Some(at) => at,
            None => {
                self.requests.push(request);
                self.requests.len() - 1
            }
        }
    }

    /// Where the columns of `requests` stand in a batch, in their order.
    pub fn add_all(&mut self, requests: &[ColumnRequest]) -> Vec<usize> {
        requests.iter().map(|request| self.add(request.clone())).collect()
    }

    /// What was asked for so far.
    pub fn requests(&self) -> &[ColumnRequest] {
        &self.requests
    }

    /// The columns of a batch, in order.
    pub fn into_requests(self) -> Vec<ColumnRequest> {
        self.requests
    }
}

/// The columns that the layout asks for.
#[derive(Debug)]
pub struct Layout {
    time: Option<usize>,
    enqueued: Option<usize>,
    kind: Option<usize>,
    source: Option<usize>,
}

impl Layout {
    /// Asks for what the export's path and timestamp need.
    pub fn new(plan: &ExportPlan, table: &mut ColumnTable) -> Self {
        let mut ask =
            |wanted: bool, attribute, as_type| wanted.then(|| table.add(ColumnRequest::attribute(attribute, as_type)));
        let (event, or_enqueued) = match plan.timestamp {
            Timestamp::Event { or_enqueued } => (true, or_enqueued),
            Timestamp::Write => (false, false),
        };
        Layout {
            time: ask(event, Attribute::Time, ColumnType::Timestamp),
            enqueued: ask(or_enqueued, Attribute::EnqueuedTime, ColumnType::Timestamp),
            kind: ask(plan.path.has(Token::Kind), Attribute::Kind, ColumnType::Text),
            source: ask(plan.path.has(Token::Source), Attribute::Source, ColumnType::Text),
        }
    }

    /// The layout's columns of one batch.
    pub fn columns<'a>(&self, batch: &'a Batch) -> LayoutColumns<'a> {
        let column = |at: Option<usize>| at.map(|at| &batch.columns[at]);
        LayoutColumns {
            time: column(self.time).map(|column| column.as_primitive::<TimestampMicrosecondType>()),
            enqueued: column(self.enqueued).map(|column| column.as_primitive::<TimestampMicrosecondType>()),
            kind: column(self.kind).map(|column| column.as_string_view()),
            source: column(self.source).map(|column| column.as_string_view()),
        }
    }
}

/// The layout's columns of one batch.
pub struct LayoutColumns<'a> {
    time: Option<&'a TimestampMicrosecondArray>,
    enqueued: Option<&'a TimestampMicrosecondArray>,
    kind: Option<&'a StringViewArray>,
    source: Option<&'a StringViewArray>,
}

impl LayoutColumns<'_> {
    /// A row's event time, or its enqueued time where it has none and the export says so.
    pub fn time(&self, row: usize, or_enqueued: bool) -> Option<i64> {
        let value = |column: Option<&TimestampMicrosecondArray>| {
            column.and_then(|column| column.is_valid(row).then(|| column.value(row)))
        };
        value(self.time).or_else(|| if or_enqueued { value(self.enqueued) } else { None })
    }

    /// A row's kind, where the path has it.
    pub fn kind(&self, row: usize) -> Option<&str> {
        text(self.kind, row)
    }

    /// A row's source, where the path has it.
    pub fn source(&self, row: usize) -> Option<&str> {
        text(self.source, row)
    }
}

fn text(column: Option<&StringViewArray>, row: usize) -> Option<&str> {
    column.and_then(|column| column.is_valid(row).then(|| column.value(row)))
}
