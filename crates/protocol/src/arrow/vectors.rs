//! Columns of vectors, put into the one block of a batch.
//!
//! What must stay true: where the numbers are `f32` in lists of one size, as most libraries lay them
//! out, the whole column is copied at once, or used where it is if it is most of what was received; every other layout
//! gives the same block.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_schema::DataType;
use bytes::Bytes;
use vermilion_engine::model::{Embeddings, LENT_BYTES_MIN, all_finite};

use super::{Budget, EMBEDDING, shown, wrong_column, wrong_value};
use crate::ApiError;
use crate::records::check_absent;

/// Refuses a column that is not of vectors and not all null.
pub(super) fn check(holds: &DataType) -> Result<(), ApiError> {
    let items = match holds {
        DataType::Null => return Ok(()),
        DataType::FixedSizeList(items, size) if *size > 0 => Some(items.data_type()),
        DataType::List(items) | DataType::LargeList(items) => Some(items.data_type()),
        _ => None,
    };
    let float = |items: &DataType| {
        matches!(
            items,
            DataType::Float16 | DataType::Float32 | DataType::Float64
        )
    };
    if items.is_some_and(float) {
        return Ok(());
    }
    let problem = format!(
        "holds {}; it must hold lists (of a fixed size from 1, or not) of 16-, 32- or 64-bit floats",
        shown(holds)
    );
    Err(wrong_column(EMBEDDING, problem))
}

/// The vectors of a stream as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Block {
    dimension: usize,
    values: Vec<f32>,
    /// All there is so far, in the memory in which it was received; `values` has nothing then.
    received: Option<ScalarBuffer<f32>>,
    present: Vec<bool>,
    absent: usize,
}

/// Memory of numbers that were received.
struct Received(Buffer);

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Block {
    /// Appends the rows of `array`, whose type [`check`] let through; absent ones where `may_miss`.
    pub(super) fn push(
        &mut self,
        array: &dyn Array,
        may_miss: bool,
        budget: &mut Budget,
    ) -> Result<(), ApiError> {
        self.copy_received();
        let rows = array.len();
        let absent = array.logical_null_count();
        if absent > 0 && !may_miss {
            let row =
                (0..rows).find(|&row| array.data_type() == &DataType::Null || array.is_null(row));
            let row = self.present.len() + row.unwrap_or(0);
            return Err(wrong_value(EMBEDDING, row, "an insertion needs a vector"));
        }
        if absent == rows {
            return self.push_absent(rows);
        }
        let items = items_of(array);
        if absent == 0
            && let DataType::FixedSizeList(_, size) = array.data_type()
            && let Some(numbers) = items.as_primitive_opt::<Float32Type>()
            && numbers.null_count() == 0
        {
            return self.push_block(*size as usize, numbers.values(), budget);
        }
        for row in 0..rows {
            if array.is_null(row) {
                self.push_absent(1)?;
            } else {
                self.push_row(&items, range_of(array, row), budget)?;
            }
        }
        Ok(())
    }

    /// Appends rows without vectors: they take their place in the block once it has a dimension.
    pub(super) fn push_absent(&mut self, rows: usize) -> Result<(), ApiError> {
        self.copy_received();
        self.absent += rows;
        self.present.resize(self.present.len() + rows, false);
        self.fill()
    }

    /// Fills the places of absent rows at the end of the block.
    fn fill(&mut self) -> Result<(), ApiError> {
        check_absent(self.absent, self.dimension)?;
        self.values.resize(self.present.len() * self.dimension, 0.0);
        Ok(())
    }

    /// Makes place for one more row of `dimension` numbers.
    fn fix_dimension(&mut self, dimension: usize) -> Result<(), ApiError> {
        let row = self.present.len();
        if dimension == 0 {
            let problem = "each vector must have at least 1 dimension";
            return Err(wrong_value(EMBEDDING, row, problem));
        }
        if self.dimension == 0 {
            self.dimension = dimension;
            return self.fill();
        }
        if self.dimension != dimension {
            let known = self.dimension;
            let problem = format!("it has {dimension} numbers, and vectors before it {known}");
            return Err(wrong_value(EMBEDDING, row, problem));
        }
        Ok(())
    }

    fn push_block(
        &mut self,
        dimension: usize,
        numbers: &ScalarBuffer<f32>,
        budget: &mut Budget,
    ) -> Result<(), ApiError> {
        self.fix_dimension(dimension)?;
        budget.take(numbers.len() * 4)?;
        if !all_finite(numbers) {
            let rows = numbers.chunks(dimension);
            let row = rows.take_while(|row| all_finite(row)).count();
            return Err(self.not_finite(row));
        }
        if self.present.is_empty() && is_worth_its_memory(numbers.inner()) {
            self.received = Some(numbers.clone());
        } else {
            self.values.extend_from_slice(numbers);
        }
        let rows = self.present.len() + numbers.len() / dimension;
        self.present.resize(rows, true);
        Ok(())
    }

    /// Copies what is used where it was received: more comes behind it.
    fn copy_received(&mut self) {
        if let Some(numbers) = self.received.take() {
            self.values.extend_from_slice(&numbers);
        }
    }

    fn push_row(
        &mut self,
        items: &ArrayRef,
        range: std::ops::Range<usize>,
        budget: &mut Budget,
    ) -> Result<(), ApiError> {
        self.fix_dimension(range.len())?;
        budget.take(range.len() * 4)?;
        let from = self.values.len();
        if items.null_count() > 0 && range.clone().any(|item| items.is_null(item)) {
            let row = self.present.len();
            return Err(wrong_value(
                EMBEDDING,
                row,
                "a number of the vector is null",
            ));
        }
        let values = &mut self.values;
        match items.data_type() {
            DataType::Float16 => {
                let numbers = &items.as_primitive::<Float16Type>().values()[range];
                values.extend(numbers.iter().map(|number| number.to_f32()));
            }
            DataType::Float32 => {
                values.extend_from_slice(&items.as_primitive::<Float32Type>().values()[range]);
            }
            _ => {
                let numbers = &items.as_primitive::<Float64Type>().values()[range];
                values.extend(numbers.iter().map(|&number| number as f32));
            }
        }
        if !all_finite(&self.values[from..]) {
            return Err(self.not_finite(0));
        }
        self.present.push(true);
        Ok(())
    }

    /// The error of a number in the vector `ahead` rows after the block.
    fn not_finite(&self, ahead: usize) -> ApiError {
        let row = self.present.len() + ahead;
        let problem = "a number of the vector is NaN, infinite or beyond 32 bits";
        wrong_value(EMBEDDING, row, problem)
    }

    /// The block as a column.
    pub(super) fn finish(self) -> Embeddings {
        if self.dimension == 0 {
            return Embeddings::default();
        }
        let block = match self.received {
            Some(numbers) => {
                let memory = numbers.into_inner();
                let held = memory.capacity();
                Embeddings::received(self.dimension, Bytes::from_owner(Received(memory)), held)
            }
            None => Embeddings::with_absent(self.dimension, self.values, self.present),
        };
        block.expect("every row took its place in the block")
    }
}

/// Whether numbers are used where they are: there are so many that they will soon be looked at in the log, and not much else
/// is in the memory that stays with them until then.
fn is_worth_its_memory(numbers: &Buffer) -> bool {
    let bytes = numbers.len();
    bytes >= LENT_BYTES_MIN && 2 * bytes >= numbers.capacity()
}

/// The numbers of all rows.
fn items_of(array: &dyn Array) -> ArrayRef {
    match array.data_type() {
        DataType::FixedSizeList(..) => array.as_fixed_size_list().values().clone(),
        DataType::LargeList(_) => array.as_list::<i64>().values().clone(),
        _ => array.as_list::<i32>().values().clone(),
    }
}

/// Which of the items of a list column are those of `row`.
pub(super) fn range_of(array: &dyn Array, row: usize) -> std::ops::Range<usize> {
    match array.data_type() {
        DataType::FixedSizeList(_, size) => {
            let size = *size as usize;
            row * size..(row + 1) * size
        }
        DataType::LargeList(_) => {
            let offsets = array.as_list::<i64>().value_offsets();
            offsets[row] as usize..offsets[row + 1] as usize
        }
        _ => {
            let offsets = array.as_list::<i32>().value_offsets();
            offsets[row] as usize..offsets[row + 1] as usize
        }
    }
}
