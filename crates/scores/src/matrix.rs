//! Vectors of one length that stand one after the other.
//!
//! What must stay true: a matrix holds whole rows, and borrows them.

/// A view of rows of `dimension` numbers each.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    numbers: &'a [f32],
    dimension: usize,
}

impl<'a> Matrix<'a> {
    /// The rows of `dimension` numbers that `numbers` holds.
    ///
    /// # Panics
    /// If `dimension` is 0 or `numbers` is no whole number of rows.
    pub fn new(numbers: &'a [f32], dimension: usize) -> Self {
        assert!(
            dimension != 0 && numbers.len().is_multiple_of(dimension),
            "{} numbers are no whole number of rows of {dimension}",
            numbers.len()
        );
        Self { numbers, dimension }
    }

    /// How many rows there are.
    pub fn len(self) -> usize {
        self.numbers.len() / self.dimension
    }

    /// Whether there is no row.
    pub fn is_empty(self) -> bool {
        self.numbers.is_empty()
    }

    /// How many numbers a row has.
    pub fn dimension(self) -> usize {
        self.dimension
    }

    /// All numbers, row after row.
    pub fn numbers(self) -> &'a [f32] {
        self.numbers
    }

    /// One row.
    pub fn row(self, row: usize) -> &'a [f32] {
        &self.numbers[row * self.dimension..(row + 1) * self.dimension]
    }

    /// Every row in its order.
    pub fn rows(self) -> std::slice::ChunksExact<'a, f32> {
        self.numbers.chunks_exact(self.dimension)
    }

    /// The rows from `first` on, `count` of them.
    #[must_use]
    pub fn slice(self, first: usize, count: usize) -> Self {
        let range = first * self.dimension..(first + count) * self.dimension;
        Self::new(&self.numbers[range], self.dimension)
    }

    /// A copy of the rows that `picked` numbers, in its order.
    pub fn gather(self, picked: &[usize]) -> Vec<f32> {
        let mut rows = Vec::with_capacity(picked.len() * self.dimension);
        for &row in picked {
            rows.extend_from_slice(self.row(row));
        }
        rows
    }

    /// A copy of the rows, each of length 1; a row of zeros stays as it is.
    pub fn unit_rows(self) -> Vec<f32> {
        let mut rows = self.numbers.to_vec();
        for row in rows.chunks_exact_mut(self.dimension) {
            let largest = row
                .iter()
                .fold(0.0_f32, |most, value| most.max(value.abs()));
            if largest > 0.0 {
                // By the largest first, so that squares of very large and very small numbers stay finite.
                let squares = row.iter().map(|&value| f64::from(value / largest).powi(2));
                let norm = squares.sum::<f64>().sqrt();
                for value in row {
                    *value = (f64::from(*value / largest) / norm) as f32;
                }
            }
        }
        rows
    }
}
