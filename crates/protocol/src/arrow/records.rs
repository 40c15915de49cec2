//! A stream as a batch of records.

use arrow_array as arrow;
use bytes::Bytes;
use vermilion_engine::model::{Operation, OptionalStrings, RecordBatch, Strings};

use super::bytes::as_base64;
use super::columns::{Columns, Layout};
use super::metadata::Metadata;
use super::stream::Stream;
use super::texts::texts;
use super::vectors::Block;
use super::{Budget, DOCUMENT, ID, Limits, THUMBNAIL, URI, wrong_value};
use crate::ApiError;

/// Decodes the body of `add`, `upsert` or `update`: all batches of a stream make one batch of records.
pub fn decode(body: Bytes, operation: Operation, limits: Limits) -> Result<RecordBatch, ApiError> {
    decode_as(body, Layout::Records(operation), operation, limits)
}

/// Decodes what a log is told, as records to be upserted: its `input_uri` is their uri, and each of
/// `fields` a column whose values stand under that metadata key. Its `thumbnail` is their document, as
/// base64. A record without an id has an empty one.
pub fn decode_logged(
    body: Bytes,
    fields: &[&str],
    limits: Limits,
) -> Result<RecordBatch, ApiError> {
    decode_as(body, Layout::Log(fields), Operation::Upsert, limits)
}

fn decode_as(
    body: Bytes,
    layout: Layout<'_>,
    operation: Operation,
    limits: Limits,
) -> Result<RecordBatch, ApiError> {
    let mut stream = Stream::open(body, limits)?;
    let columns = Columns::of(stream.schema(), layout)?;
    let needs_id = matches!(layout, Layout::Records(_));
    let mut records = Records::new(operation, needs_id, &columns);
    let mut budget = Budget::new(limits.bytes_max);
    while let Some(batch) = stream.next()? {
        records.push(&batch, &mut budget)?;
    }
    Ok(records.finish())
}

/// The records of a stream as far as it has been read.
pub(super) struct Records<'a> {
    operation: Operation,
    needs_id: bool,
    columns: &'a Columns,
    ids: Strings,
    block: Block,
    documents: OptionalStrings,
    uris: OptionalStrings,
    metadata: Metadata,
}

impl<'a> Records<'a> {
    /// No records yet; `needs_id` says whether each must have an id.
    pub(super) fn new(operation: Operation, needs_id: bool, columns: &'a Columns) -> Self {
        Self {
            operation,
            needs_id,
            columns,
            ids: Strings::default(),
            block: Block::default(),
            documents: OptionalStrings::default(),
            uris: OptionalStrings::default(),
            metadata: Metadata::new(operation, columns),
        }
    }

    /// Appends the rows of `batch`.
    pub(super) fn push(
        &mut self,
        batch: &arrow::RecordBatch,
        budget: &mut Budget,
    ) -> Result<(), ApiError> {
        let (first, rows) = (self.ids.len(), batch.num_rows());
        let ids = self.columns.id.map(|number| texts(batch.column(number)));
        for row in 0..rows {
            let id = ids.as_ref().and_then(|ids| ids(row)).unwrap_or_default();
            if id.is_empty() && self.needs_id {
                let problem = "an ID must have at least one character";
                return Err(wrong_value(ID, first + row, problem));
            }
            take_text(ID, first + row, self.ids.text().len(), id, budget)?;
            self.ids.push(id);
        }
        let documents = match self.columns.thumbnail {
            Some(number) => (THUMBNAIL, Some(as_base64(batch.column(number)))),
            None => (
                DOCUMENT,
                self.columns
                    .document
                    .map(|number| batch.column(number).clone()),
            ),
        };
        let uris = self.columns.uri.map(|number| batch.column(number).clone());
        let optional = [
            (documents, &mut self.documents),
            ((URI, uris), &mut self.uris),
        ];
        for ((name, array), column) in optional {
            let read = array.as_ref().map(|array| texts(array));
            for row in 0..rows {
                let text = read.as_ref().and_then(|read| read(row));
                let held = column.values().text().len();
                take_text(name, first + row, held, text.unwrap_or_default(), budget)?;
                column.push(text);
            }
        }
        match self.columns.embedding {
            Some(number) => {
                let may_miss = self.operation == Operation::Update;
                self.block.push(batch.column(number), may_miss, budget)?;
            }
            None => self.block.push_absent(rows)?,
        }
        self.metadata.push(batch, self.columns, first, budget)
    }

    /// All of them.
    pub(super) fn finish(self) -> RecordBatch {
        RecordBatch {
            operations: vec![self.operation; self.ids.len()],
            ids: self.ids,
            embeddings: self.block.finish(),
            documents: self.documents,
            uris: self.uris,
            metadata: self.metadata.finish(),
        }
    }
}

/// Takes the bytes of `text` from the budget; a column of `held` bytes must be able to take it.
fn take_text(
    column: &str,
    row: usize,
    held: usize,
    text: &str,
    budget: &mut Budget,
) -> Result<(), ApiError> {
    if u32::try_from(held + text.len()).is_err() {
        let problem = "the texts of one request may have 4 GiB in each column";
        return Err(wrong_value(column, row, problem));
    }
    budget.take(text.len())
}
