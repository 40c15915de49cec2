//! Vectors as points whose products are about those of a Gaussian kernel.
//!
//! What must stay true: the features of a row have length 1, and follow from the reference and the seed alone.

use serde::{Deserialize, Serialize};
use vermilion_kernels::tiles::{Packed, products};

use crate::Matrix;
use crate::parallel;
use crate::random::Dice;

/// Numbers that stand for a row.
pub const FEATURES: usize = 512;
const FREQUENCIES: usize = FEATURES / 2;
/// Pairs of rows whose median distance is the bandwidth.
const PAIRS: usize = 10_000;

/// A map to random Fourier features (Rahimi and Recht, NIPS 2007): cosines and sines of products with directions of
/// the normal distribution, divided by the bandwidth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RandomFeatures {
    dimension: usize,
    bandwidth: f64,
    /// Directions, each of `dimension` numbers.
    frequencies: Vec<f32>,
}

impl RandomFeatures {
    /// Features whose bandwidth is the median distance of pairs of rows of the reference.
    pub fn fit(reference: Matrix<'_>, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let bandwidth = median_distance(reference, &mut dice);
        let dimension = reference.dimension();
        let frequency = |_| (dice.normal() / bandwidth) as f32;
        Self {
            dimension,
            bandwidth,
            frequencies: (0..FREQUENCIES * dimension).map(frequency).collect(),
        }
    }

    /// How many numbers a row has.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The distance at which two rows are no longer alike.
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// The features of rows, [`FEATURES`] each, one after the other.
    ///
    /// # Panics
    /// If the rows are of another dimension.
    pub fn of(&self, rows: Matrix<'_>) -> Vec<f32> {
        assert!(
            rows.dimension() == self.dimension,
            "rows of {} numbers",
            self.dimension
        );
        let packed = Packed::new(&self.frequencies, self.dimension);
        let mut out = vec![0.0; rows.len() * FEATURES];
        let scale = (1.0 / FREQUENCIES as f32).sqrt();
        parallel::fill(&mut out, FEATURES, |first, part| {
            let count = part.len() / FEATURES;
            let mut angles = vec![0.0; count * FREQUENCIES];
            products(rows.slice(first, count).numbers(), &packed, &mut angles);
            for (at, angles) in angles.chunks_exact_mut(FREQUENCIES).enumerate() {
                if angles.iter().any(|angle| !angle.is_finite()) {
                    self.wide_angles(rows.row(first + at), angles);
                }
            }
            for (features, angles) in part
                .chunks_exact_mut(FEATURES)
                .zip(angles.chunks_exact(FREQUENCIES))
            {
                for (pair, angle) in features.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                    let (sine, cosine) = angle.sin_cos();
                    *pair = [scale * cosine, scale * sine];
                }
            }
        });
        out
    }

    /// The angles of a row whose numbers are so large that products of 32 bits overflow.
    fn wide_angles(&self, row: &[f32], angles: &mut [f32]) {
        let frequencies = self.frequencies.chunks_exact(self.dimension);
        for (angle, frequency) in angles.iter_mut().zip(frequencies) {
            let pairs = row.iter().zip(frequency);
            let product: f64 = pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            *angle = (product % std::f64::consts::TAU) as f32;
        }
    }
}

/// The median distance of pairs of different rows, 1 where there are none.
fn median_distance(rows: Matrix<'_>, dice: &mut Dice) -> f64 {
    let mut distances = Vec::new();
    if rows.len() > 1 {
        let mut pair = |_| {
            let one = dice.below(rows.len());
            let other = (one + 1 + dice.below(rows.len() - 1)) % rows.len();
            f64::from(vermilion_kernels::l2_squared(
                rows.row(one),
                rows.row(other),
            ))
            .sqrt()
        };
        distances = (0..PAIRS)
            .map(&mut pair)
            .filter(|&distance| distance > 0.0 && distance.is_finite())
            .collect();
    }
    if distances.is_empty() {
        return 1.0;
    }
    let middle = distances.len() / 2;
    *distances.select_nth_unstable_by(middle, f64::total_cmp).1
}
