//! Fewer dimensions: the principal components of a reference, for vectors too long for covariances.
//!
//! What must stay true: the components are orthonormal and follow from the reference and the seed alone; a reference
//! that is short enough keeps its numbers as they are.

use serde::{Deserialize, Serialize};
use vermilion_kernels::tiles::{Packed, products};

use crate::Matrix;
use crate::algebra::{dot, eigen};
use crate::parallel;
use crate::random::Dice;

/// Dimensions that class statistics are made for; longer vectors are reduced to as many.
pub const DIMENSIONS_MAX: usize = 128;
/// Rows of the reference that components are found from at most.
const SAMPLE_MAX: usize = 16_384;
/// Directions followed beyond those asked for, and rounds, of the subspace iteration (Halko, Martinsson, Tropp,
/// "Finding Structure with Randomness", SIAM Review 2011, algorithm 4.4).
const BEYOND: usize = 8;
const ROUNDS: usize = 4;

/// A projection to fewer dimensions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduction {
    dimension: usize,
    mean: Vec<f32>,
    /// Orthonormal rows of `dimension` numbers, the widest direction first; none where numbers stay as they are.
    components: Vec<f32>,
}

impl Reduction {
    /// The projection of `reference` to its `dimensions` principal components, the identity where it has no more.
    /// Takes a sample of at most 16,384 rows.
    ///
    /// # Panics
    /// If `dimensions` is 0.
    pub fn fit(reference: Matrix<'_>, dimensions: usize, seed: u64) -> Self {
        assert!(dimensions != 0, "a reduction keeps at least one dimension");
        let dimension = reference.dimension();
        if dimension <= dimensions {
            return Self {
                dimension,
                mean: Vec::new(),
                components: Vec::new(),
            };
        }
        let (mean, rows) = centred_sample(reference, seed);
        let basis = subspace(&rows, dimension, (dimensions + BEYOND).min(dimension), seed);
        let components = principal(&rows, dimension, &basis, dimensions);
        Self {
            dimension,
            mean,
            components,
        }
    }

    /// How many numbers a row has before.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How many numbers a row has afterwards.
    pub fn dimensions(&self) -> usize {
        if self.is_identity() {
            self.dimension
        } else {
            self.components.len() / self.dimension
        }
    }

    /// Whether numbers stay as they are.
    pub fn is_identity(&self) -> bool {
        self.components.is_empty()
    }

    /// The rows in the reduced dimensions, one after the other.
    ///
    /// # Panics
    /// If the rows are of another dimension.
    pub fn apply(&self, rows: Matrix<'_>) -> Vec<f32> {
        assert!(
            rows.dimension() == self.dimension,
            "rows of {} numbers",
            self.dimension
        );
        if self.is_identity() {
            return rows.numbers().to_vec();
        }
        let centred = centre(rows.numbers(), &self.mean);
        multiply(&centred, self.dimension, &self.components)
    }
}

fn centre(numbers: &[f32], mean: &[f32]) -> Vec<f32> {
    let mut centred = numbers.to_vec();
    for row in centred.chunks_exact_mut(mean.len()) {
        row.iter_mut()
            .zip(mean)
            .for_each(|(value, mean)| *value -= mean);
    }
    centred
}

/// The mean of a sample of the rows, and the sample less it.
fn centred_sample(reference: Matrix<'_>, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut picked: Vec<usize> = (0..reference.len()).collect();
    if picked.len() > SAMPLE_MAX {
        Dice::new(seed).shuffle(&mut picked);
        picked.truncate(SAMPLE_MAX);
    }
    let rows = reference.gather(&picked);
    let mut sums = vec![0.0_f64; reference.dimension()];
    for row in rows.chunks_exact(reference.dimension()) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let mean: Vec<f32> = sums
        .iter()
        .map(|sum| (sum / picked.len().max(1) as f64) as f32)
        .collect();
    let centred = centre(&rows, &mean);
    (mean, centred)
}

/// The product of each of `rows` with each of `columns`, both of `dimension` numbers.
fn multiply(rows: &[f32], dimension: usize, columns: &[f32]) -> Vec<f32> {
    let packed = Packed::new(columns, dimension);
    let width = packed.len();
    let mut out = vec![0.0; rows.len() / dimension * width];
    parallel::fill(&mut out, width, |first, part| {
        let count = part.len() / width;
        products(
            &rows[first * dimension..(first + count) * dimension],
            &packed,
            part,
        );
    });
    out
}

fn transpose(numbers: &[f32], columns: usize) -> Vec<f32> {
    let rows = numbers.len() / columns;
    let mut out = Vec::with_capacity(numbers.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| numbers[row * columns + column]));
    }
    out
}

/// About the `width` widest directions of centred rows, as orthonormal rows.
fn subspace(rows: &[f32], dimension: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut dice = Dice::new(seed ^ 0x7061_6361);
    let mut basis: Vec<f32> = (0..width * dimension)
        .map(|_| dice.normal() as f32)
        .collect();
    orthonormalise(&mut basis, dimension);
    if rows.is_empty() {
        return basis;
    }
    let turned = transpose(rows, dimension);
    for _ in 0..ROUNDS {
        let seen = multiply(rows, dimension, &basis);
        let seen = transpose(&seen, width);
        // Dimension by direction; directions are rows again after it is turned.
        let next = multiply(&turned, rows.len() / dimension, &seen);
        basis = transpose(&next, width);
        orthonormalise(&mut basis, dimension);
    }
    basis
}

/// Makes rows orthonormal (Gram and Schmidt, each row twice, so that rounding leaves nothing). A row that depends on
/// those before it is replaced by an axis that does not.
fn orthonormalise(rows: &mut [f32], dimension: usize) {
    let mut done: Vec<Vec<f64>> = Vec::new();
    let mut axis = 0;
    for row in rows.chunks_exact_mut(dimension) {
        let mut vector: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
        let before = dot(&vector, &vector);
        let mut size = remainder(&mut vector, &done);
        while !(size > 1e-10 * before && size > 0.0) && axis < dimension {
            vector.fill(0.0);
            vector[axis] = 1.0;
            axis += 1;
            size = remainder(&mut vector, &done);
            if size > 1e-6 {
                break;
            }
        }
        let norm = size.sqrt();
        vector.iter_mut().for_each(|value| *value /= norm);
        row.iter_mut()
            .zip(&vector)
            .for_each(|(to, &from)| *to = from as f32);
        done.push(vector);
    }
}

/// Takes from `vector` what lies along `directions`; the squared length of what is left.
fn remainder(vector: &mut [f64], directions: &[Vec<f64>]) -> f64 {
    for _ in 0..2 {
        for direction in directions {
            let along = dot(vector, direction);
            vector
                .iter_mut()
                .zip(direction)
                .for_each(|(value, part)| *value -= along * part);
        }
    }
    dot(vector, vector)
}

/// The `count` principal directions of centred rows within the span of `basis` (Rayleigh and Ritz), each with its
/// largest number positive, so that equal data give equal signs.
fn principal(rows: &[f32], dimension: usize, basis: &[f32], count: usize) -> Vec<f32> {
    let width = basis.len() / dimension;
    let seen = multiply(rows, dimension, basis);
    let mut second = vec![0.0_f64; width * width];
    for row in seen.chunks_exact(width) {
        for (at, &value) in row.iter().enumerate() {
            let line = &mut second[at * width..(at + 1) * width];
            line.iter_mut()
                .zip(row)
                .for_each(|(sum, &other)| *sum += f64::from(value) * f64::from(other));
        }
    }
    let (_, vectors) = eigen(second, width);
    let mut components = Vec::with_capacity(count * dimension);
    for vector in vectors.iter().take(count) {
        let mut direction = vec![0.0_f64; dimension];
        for (&weight, row) in vector.iter().zip(basis.chunks_exact(dimension)) {
            direction
                .iter_mut()
                .zip(row)
                .for_each(|(sum, &value)| *sum += weight * f64::from(value));
        }
        let largest = direction.iter().fold(0.0_f64, |most, &value| {
            if value.abs() > most.abs() {
                value
            } else {
                most
            }
        });
        components.extend(
            direction
                .iter()
                .map(|value| (value * largest.signum()) as f32),
        );
    }
    components
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows along few directions that shrink, in many dimensions, away from the origin.
    fn rows(count: usize, dimension: usize, directions: usize) -> Vec<f32> {
        let mut dice = Dice::new(3);
        let mut axes: Vec<f32> = (0..directions * dimension)
            .map(|_| dice.normal() as f32)
            .collect();
        orthonormalise(&mut axes, dimension);
        let mut rows = Vec::new();
        for _ in 0..count {
            let weights: Vec<f64> = (0..directions)
                .map(|at| dice.normal() * 8.0 / (1.0 + at as f64))
                .collect();
            rows.extend((0..dimension).map(|at| {
                let parts = weights
                    .iter()
                    .enumerate()
                    .map(|(axis, weight)| weight * f64::from(axes[axis * dimension + at]));
                (5.0 + parts.sum::<f64>() + 0.01 * dice.normal()) as f32
            }));
        }
        rows
    }

    #[test]
    fn a_reduction_keeps_distances_of_rows_that_lie_in_few_dimensions() {
        let numbers = rows(300, 50, 6);
        let all = Matrix::new(&numbers, 50);
        let reduction = Reduction::fit(all, 6, 1);
        let reduced = reduction.apply(all);
        let short = Matrix::new(&reduced, reduction.dimensions());
        for at in 1..300 {
            let long = vermilion_kernels::l2_squared(all.row(0), all.row(at));
            let found = vermilion_kernels::l2_squared(short.row(0), short.row(at));
            assert!(
                (long - found).abs() < 0.02 * long + 0.01,
                "{found} is not {long}"
            );
        }
        // Variances fall, and the directions are orthonormal.
        let variance =
            |column: usize| -> f64 { short.rows().map(|row| f64::from(row[column]).powi(2)).sum() };
        assert!((1..6).all(|column| variance(column) < variance(column - 1)));
        for a in reduction.components.chunks(50) {
            for b in reduction.components.chunks(50) {
                let product = vermilion_kernels::inner_product(a, b);
                let wanted = if a == b { 1.0 } else { 0.0 };
                assert!((product - wanted).abs() < 1e-4);
            }
        }
        assert_eq!(Reduction::fit(all, 6, 1), reduction);
    }

    #[test]
    fn few_or_equal_rows_and_short_vectors_are_no_trouble() {
        let numbers = rows(5, 40, 3);
        let reduction = Reduction::fit(Matrix::new(&numbers, 40), 16, 1);
        assert_eq!(reduction.dimensions(), 16);
        assert!(
            reduction
                .apply(Matrix::new(&numbers, 40))
                .iter()
                .all(|value| value.is_finite())
        );
        let equal = Reduction::fit(Matrix::new(&[2.0; 120], 40), 16, 1);
        assert!(
            equal
                .apply(Matrix::new(&[2.0; 40], 40))
                .iter()
                .all(|value| value.abs() < 1e-6)
        );
        let same = Reduction::fit(Matrix::new(&numbers, 40), 40, 1);
        assert!(same.is_identity());
        assert_eq!(same.apply(Matrix::new(&numbers, 40)), numbers);
    }
}
