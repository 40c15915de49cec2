//! Metadata of a stream: a column of JSON texts, columns of one key each, or both.
//!
//! What must stay true: a key has one value in a record, whichever column it comes from; a null in the
//! column of a key says nothing, so that only JSON can take a key away.

use arrow_array::{Array, RecordBatch};
use vermilion_engine::model::{MetadataColumn, Operation, Value};

use super::cells::{Cells, cells};
use super::columns::{Columns, KeyColumn};
use super::texts::{Texts, texts};
use super::{Budget, METADATA, METADATA_KEY, wrong_value};
use crate::ApiError;
use crate::records::{Cell, MetadataRows};

/// Bytes that a cell counts for besides its text, as many as the shortest in JSON.
const CELL_BYTES: usize = 8;

/// The metadata of a stream as far as it has been read.
pub(super) struct Metadata {
    rows: MetadataRows,
    /// For each column of a key its number in the dictionary, once a record has it.
    numbers: Vec<Option<u32>>,
}

/// A column of a key in one batch.
struct Column<'a> {
    of: &'a KeyColumn,
    read: Cells<'a>,
    /// Reads texts, of which each may be null in its dictionary.
    texts: Option<Texts<'a>>,
    array: &'a dyn Array,
}

impl Metadata {
    pub(super) fn new(operation: Operation, columns: &Columns) -> Self {
        Self {
            rows: MetadataRows::new(operation != Operation::Add),
            numbers: vec![None; columns.keys.len()],
        }
    }

    /// Appends the metadata of `batch`, whose first row is `first` in the stream.
    pub(super) fn push(
        &mut self,
        batch: &RecordBatch,
        columns: &Columns,
        first: usize,
        budget: &mut Budget,
    ) -> Result<(), ApiError> {
        let json = columns.metadata.map(|number| texts(batch.column(number)));
        let keys: Vec<Column> = columns
            .keys
            .iter()
            .map(|of| {
                let array = batch.column(of.number);
                let is_text = super::texts::are_texts(array.data_type());
                Column {
                    of,
                    read: cells(array),
                    texts: is_text.then(|| texts(array)),
                    array,
                }
            })
            .collect();
        for row in 0..batch.num_rows() {
            if let Some(text) = json.as_ref().and_then(|json| json(row)) {
                budget.take(text.len())?;
                self.rows
                    .read(text)
                    .map_err(|why| wrong_value(METADATA, first + row, why))?;
                self.refuse_reserved(columns, first + row)?;
            }
            for (number, column) in keys.iter().enumerate() {
                self.push_cell(number, column, row, first + row, budget)?;
            }
            self.rows.finish_row();
        }
        Ok(())
    }

    /// Refuses a record whose JSON has a key that is a field of the log.
    fn refuse_reserved(&mut self, columns: &Columns, shown_row: usize) -> Result<(), ApiError> {
        for key in &columns.reserved {
            let number = self.rows.intern(key);
            if self.rows.has(number) {
                let problem = format!("the key `{key}` is a field of the log");
                return Err(wrong_value(METADATA, shown_row, problem));
            }
        }
        Ok(())
    }

    fn push_cell(
        &mut self,
        number: usize,
        column: &Column,
        row: usize,
        shown_row: usize,
        budget: &mut Budget,
    ) -> Result<(), ApiError> {
        let absent = match &column.texts {
            Some(texts) => texts(row).is_none(),
            None => {
                *column.array.data_type() == arrow_schema::DataType::Null
                    || column.array.is_null(row)
            }
        };
        if absent {
            return Ok(());
        }
        let wrong = |why| wrong_value(&format!("{METADATA_KEY}{}", column.of.key), shown_row, why);
        let cell = (column.read)(row).map_err(wrong)?;
        budget.take(bytes_of(&cell))?;
        let key = *self.numbers[number].get_or_insert_with(|| self.rows.intern(&column.of.key));
        if self.rows.has(key) {
            return Err(wrong("the column `metadata` has a value for this key too"));
        }
        self.rows.put(key, cell).map_err(wrong)
    }

    pub(super) fn finish(self) -> MetadataColumn {
        self.rows.into_column()
    }
}

/// What a cell takes from the budget.
fn bytes_of(cell: &Cell) -> usize {
    let Cell::Value(value) = cell else {
        return CELL_BYTES;
    };
    CELL_BYTES
        + match value {
            Value::Str(text) => text.len(),
            Value::Bools(list) => list.len(),
            Value::Ints(list) => list.len() * 8,
            Value::Floats(list) => list.len() * 8,
            Value::Strs(list) => list.iter().map(|text| text.len() + CELL_BYTES).sum(),
            _ => 0,
        }
}
