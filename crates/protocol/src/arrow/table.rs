//! Columns of an answer, and the stream that they make.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, GenericListArray,
    GenericStringArray, Int64Array, OffsetSizeTrait, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};

/// Bytes of a stream besides its buffers, near enough to make room for it once.
const HEAD_BYTES: usize = 4096;

/// The columns of one answer, in their order.
#[derive(Debug, Default)]
pub(super) struct Table {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
    notes: HashMap<String, String>,
}

impl Table {
    /// Adds a column; it is nullable where it has nulls or may have some in another answer.
    pub(super) fn push(&mut self, name: &str, column: ArrayRef, nullable: bool) {
        let holds = column.data_type().clone();
        self.fields.push(Field::new(name, holds, nullable));
        self.columns.push(column);
    }

    /// Adds a note to the schema.
    pub(super) fn note(&mut self, name: &str, text: String) {
        self.notes.insert(name.to_owned(), text);
    }

    /// The stream of one batch with `rows` rows.
    pub(super) fn write(self, rows: usize) -> Result<Vec<u8>, ArrowError> {
        let schema = Schema::new(self.fields).with_metadata(self.notes);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema), self.columns, &options)?;
        let heads = HEAD_BYTES + batch.num_columns() * 256;
        let bytes = Vec::with_capacity(batch.get_array_memory_size() + heads);
        let mut writer = StreamWriter::try_new(bytes, &batch.schema())?;
        writer.write(&batch)?;
        writer.into_inner()
    }
}

/// Which rows have a value, from the first on; rows after the last are without one.
#[derive(Debug, Default)]
pub(super) struct Present(Vec<bool>);

impl Present {
    /// Notes that `row` has a value; rows up to it that nobody spoke of have none.
    fn mark(&mut self, row: usize) {
        self.0.resize(row, false);
        self.0.push(true);
    }

    fn finish(mut self, rows: usize) -> Option<NullBuffer> {
        self.0.resize(rows, false);
        Some(NullBuffer::from(self.0)).filter(|nulls| nulls.null_count() > 0)
    }
}

/// A column of texts that is being written row by row.
#[derive(Debug, Default)]
pub(super) struct Texts {
    text: String,
    ends: Vec<usize>,
    present: Present,
}

impl Texts {
    /// Puts `text` into `row`, which comes after all that have one.
    pub(super) fn put(&mut self, row: usize, text: &str) {
        self.ends.resize(row, self.text.len());
        self.text.push_str(text);
        self.ends.push(self.text.len());
        self.present.mark(row);
    }

    /// Puts `text` into the next row.
    pub(super) fn append(&mut self, text: &str) {
        self.put(self.ends.len(), text);
    }

    /// The column of `rows` rows: large where 32 bits do not hold its offsets.
    pub(super) fn finish(mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.ends.resize(rows, self.text.len());
        let nulls = self.present.finish(rows);
        let text = Buffer::from_vec(self.text.into_bytes());
        match offsets::<i32>(&self.ends) {
            Some(offsets) => Ok(Arc::new(GenericStringArray::<i32>::try_new(
                offsets, text, nulls,
            )?)),
            None => Ok(Arc::new(GenericStringArray::<i64>::try_new(
                wide_offsets(&self.ends),
                text,
                nulls,
            )?)),
        }
    }
}

/// Offsets of rows that end at `ends`, if they can be held.
fn offsets<O: OffsetSizeTrait>(ends: &[usize]) -> Option<OffsetBuffer<O>> {
    O::from_usize(ends.last().copied().unwrap_or(0))?;
    let offsets = std::iter::once(0)
        .chain(ends.iter().copied())
        .map(O::usize_as);
    Some(OffsetBuffer::new(offsets.collect::<Vec<O>>().into()))
}

fn wide_offsets(ends: &[usize]) -> OffsetBuffer<i64> {
    offsets(ends).expect("64 bits hold what memory holds")
}

/// Values of one type, scalars or items of lists.
#[derive(Debug)]
pub(super) enum Items {
    Bools(Vec<bool>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Texts),
}

impl Items {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bools(items) => items.len(),
            Self::Ints(items) => items.len(),
            Self::Floats(items) => items.len(),
            Self::Texts(items) => items.ends.len(),
        }
    }

    /// Fills up to `rows` with values that nobody reads.
    fn fill(&mut self, rows: usize) {
        match self {
            Self::Bools(items) => items.resize(rows, false),
            Self::Ints(items) => items.resize(rows, 0),
            Self::Floats(items) => items.resize(rows, 0.0),
            Self::Texts(items) => items.ends.resize(rows, items.text.len()),
        }
    }

    /// The items as a column under `nulls`; texts have nulls of their own besides.
    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Bools(items) => Arc::new(BooleanArray::new(items.into(), nulls)),
            Self::Ints(items) => Arc::new(Int64Array::try_new(items.into(), nulls)?),
            Self::Floats(items) => Arc::new(Float64Array::try_new(items.into(), nulls)?),
            Self::Texts(items) => {
                let rows = items.ends.len();
                items.finish(rows)?
            }
        })
    }
}

/// A column of scalars or lists that is being written row by row.
#[derive(Debug)]
pub(super) struct Column {
    items: Items,
    /// Where the list of each row ends; `None` for scalars.
    ends: Option<Vec<usize>>,
    present: Present,
}

impl Column {
    /// An empty column.
    pub(super) fn new(items: Items, lists: bool) -> Self {
        Self {
            items,
            ends: lists.then(Vec::new),
            present: Present::default(),
        }
    }

    /// Puts what `write` adds to the items into `row`, which comes after all that have a value: one
    /// item, or as many as its list has.
    pub(super) fn put(&mut self, row: usize, write: impl FnOnce(&mut Items)) {
        if let Some(ends) = &mut self.ends {
            ends.resize(row, self.items.len());
            write(&mut self.items);
            ends.push(self.items.len());
        } else {
            self.items.fill(row);
            write(&mut self.items);
        }
        self.present.mark(row);
    }

    /// The column of `rows` rows.
    pub(super) fn finish(mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let nulls = self.present.finish(rows);
        let Some(mut ends) = self.ends else {
            self.items.fill(rows);
            return self.items.finish(nulls);
        };
        ends.resize(rows, self.items.len());
        let items = self.items.finish(None)?;
        let item = Arc::new(Field::new("item", items.data_type().clone(), false));
        if let Some(offsets) = offsets::<i32>(&ends) {
            let lists = GenericListArray::try_new(item, offsets, items, nulls)?;
            return Ok(Arc::new(lists));
        }
        let lists = GenericListArray::try_new(item, wide_offsets(&ends), items, nulls)?;
        Ok(Arc::new(lists))
    }
}

/// A column of whole numbers.
pub(super) fn numbers(values: impl Iterator<Item = usize>) -> ArrayRef {
    // An answer has fewer queries and rows than 32 bits count.
    Arc::new(UInt32Array::from_iter_values(
        values.map(|value| value as u32),
    ))
}

/// A column of floats; what is no finite number is null, as in JSON.
pub(super) fn floats(values: impl Iterator<Item = Option<f32>>) -> ArrayRef {
    let finite = values.map(|value| value.filter(|value| value.is_finite()));
    Arc::new(finite.collect::<Float32Array>())
}

/// A column of `rows` vectors in one block.
pub(super) fn vectors(
    dimension: usize,
    values: Vec<f32>,
    present: Option<&[bool]>,
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    let size = i32::try_from(dimension).map_err(|_| {
        ArrowError::InvalidArgumentError("vectors are longer than 32 bits count".to_owned())
    })?;
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let nulls = present.map(|present| NullBuffer::from(present.to_vec()));
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    let values = Arc::new(Float32Array::from(values));
    let column = FixedSizeListArray::try_new_with_length(item, size, values, nulls, rows)?;
    Ok(Arc::new(column))
}
