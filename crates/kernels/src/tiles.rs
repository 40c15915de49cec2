//! Inner products of many rows with many columns at once, as clustering asks for them.
//!
//! What must stay true: a product is that of [`inner_product`](crate::inner_product) up to the
//! rounding of `f32`, whatever stands beside it; products longer than [`BLOCK`](crate::BLOCK) are
//! summed block by block in `f64`. A tile of some rows and some columns is held in registers, so
//! that each number read serves several products; columns are therefore kept in panels of
//! [`PANEL`], the numbers of one dimension next to each other, zeros where a panel is not full.

use std::ops::Range;

use crate::BLOCK;
use crate::dispatch::{Kernels, check_lengths, kernels};

/// Columns of a panel.
pub(crate) const PANEL: usize = 32;

/// Vectors laid out so that many rows can be multiplied with all of them.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    pub(crate) dimension: usize,
    pub(crate) count: usize,
    pub(crate) panels: Vec<f32>,
}

impl Packed {
    /// Lays out `columns`, vectors of `dimension` numbers one after the other.
    ///
    /// # Panics
    /// If `dimension` is 0 or `columns` is no whole number of vectors.
    pub fn new(columns: &[f32], dimension: usize) -> Self {
        check_rows(columns, dimension);
        let count = columns.len() / dimension;
        let mut panels = vec![0.0; count.next_multiple_of(PANEL) * dimension];
        let sources = columns.chunks(PANEL * dimension);
        for (panel, columns) in panels.chunks_exact_mut(PANEL * dimension).zip(sources) {
            for (at, column) in columns.chunks_exact(dimension).enumerate() {
                for (numbers, &number) in panel.as_chunks_mut::<PANEL>().0.iter_mut().zip(column) {
                    numbers[at] = number;
                }
            }
        }
        Self {
            dimension,
            count,
            panels,
        }
    }

    /// Lays out the columns of a matrix whose rows have `count` numbers and come one after the other.
    ///
    /// # Panics
    /// If `count` is 0 or `rows` is no whole number of rows.
    pub fn of_rows(rows: &[f32], count: usize) -> Self {
        check_rows(rows, count);
        let dimension = rows.len() / count;
        let mut panels = vec![0.0; count.next_multiple_of(PANEL) * dimension];
        for (at, panel) in panels
            .chunks_exact_mut(PANEL * dimension.max(1))
            .enumerate()
        {
            let first = at * PANEL;
            let width = PANEL.min(count - first);
            for (numbers, row) in panel.chunks_exact_mut(PANEL).zip(rows.chunks_exact(count)) {
                numbers[..width].copy_from_slice(&row[first..first + width]);
            }
        }
        Self {
            dimension,
            count,
            panels,
        }
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no vector.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// What a tile kernel is to do: products over some of the dimensions.
#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) rows: &'a [f32],
    /// The rows wanted; all of them where it is `None`.
    pub(crate) picked: Option<&'a [u32]>,
    pub(crate) columns: &'a Packed,
    pub(crate) dimensions: Range<usize>,
}

impl Part<'_> {
    /// How many rows are wanted.
    pub(crate) fn wanted(&self) -> usize {
        self.picked
            .map_or(self.rows.len() / self.columns.dimension, <[u32]>::len)
    }

    /// The first wanted number of row `at` of those wanted, as an offset in `rows`.
    #[inline]
    pub(crate) fn offset(&self, at: usize) -> usize {
        let row = self.picked.map_or(at, |picked| picked[at] as usize);
        row * self.columns.dimension + self.dimensions.start
    }

    /// Panics unless each row wanted is there and `out` has room for its products with each
    /// column: what the kernels rely on.
    pub(crate) fn check(&self, out: &[f32]) {
        let Packed {
            dimension,
            count,
            panels,
        } = self.columns;
        check_rows(self.rows, *dimension);
        let rows = self.rows.len() / dimension;
        assert!(
            self.picked
                .is_none_or(|picked| picked.iter().all(|&row| (row as usize) < rows)),
            "a row was picked that is not among the {rows} given"
        );
        assert!(
            self.wanted().checked_mul(*count) == Some(out.len()),
            "{} rows times {count} columns were announced, there is room for {} products",
            self.wanted(),
            out.len()
        );
        assert!(panels.len() == count.next_multiple_of(PANEL) * dimension);
        assert!(self.dimensions.start <= self.dimensions.end && self.dimensions.end <= *dimension);
    }
}

fn check_rows(rows: &[f32], dimension: usize) {
    assert!(
        dimension != 0 && rows.len().is_multiple_of(dimension),
        "{} numbers are no whole number of vectors of {dimension}",
        rows.len()
    );
}

/// The inner products of each of `rows`, one after the other, with each of `columns`: those of
/// the first row, then those of the second.
///
/// # Panics
/// If `rows` is no whole number of vectors, or `out` has not one place for each product.
pub fn products(rows: &[f32], columns: &Packed, out: &mut [f32]) {
    kernels().products(rows, None, columns, out);
}

/// As [`products`], for the rows that `picked` numbers and in its order.
///
/// # Panics
/// As [`products`], and if a row is picked that is not there.
pub fn products_of(rows: &[f32], picked: &[u32], columns: &Packed, out: &mut [f32]) {
    kernels().products(rows, Some(picked), columns, out);
}

/// Where `constants` less `products` is lowest, the first of equals, and how low; `None` where
/// nothing is below infinity.
///
/// # Panics
/// If the lengths differ.
pub fn lowest_difference(constants: &[f32], products: &[f32]) -> Option<(usize, f32)> {
    kernels().lowest_difference(constants, products)
}

impl Kernels {
    pub(crate) fn products(
        &self,
        rows: &[f32],
        picked: Option<&[u32]>,
        columns: &Packed,
        out: &mut [f32],
    ) {
        let mut part = Part {
            rows,
            picked,
            columns,
            dimensions: 0..columns.dimension,
        };
        part.check(out);
        if columns.dimension <= BLOCK {
            // SAFETY: the machine has the instructions of every table that `available` gives.
            unsafe { (self.tiles.products)(&part, out) }
            return;
        }
        let mut sums = vec![0.0f64; out.len()];
        for from in (0..columns.dimension).step_by(BLOCK) {
            part.dimensions = from..columns.dimension.min(from + BLOCK);
            // SAFETY: as above.
            unsafe { (self.tiles.products)(&part, out) }
            for (sum, &product) in sums.iter_mut().zip(&*out) {
                *sum += f64::from(product);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum as f32;
        }
    }

    #[inline]
    pub(crate) fn lowest_difference(
        &self,
        constants: &[f32],
        products: &[f32],
    ) -> Option<(usize, f32)> {
        check_lengths(constants, products);
        // SAFETY: the machine has the instructions of every table that `available` gives.
        unsafe { (self.tiles.lowest_difference)(constants, products) }
    }
}

#[cfg(test)]
mod tests;
