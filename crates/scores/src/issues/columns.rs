//! What counts, dimensions and norms tell without looking at neighbours.
//!
//! What must stay true: statistics of dimensions merge, so that they need not see all records at once.

use serde::{Deserialize, Serialize};

use crate::Matrix;

/// A class is rare that has less than this share of what it would have if classes were equally frequent.
const RARE_SHARE: f64 = 0.1;
/// A dimension is dead whose deviation is below this share of the typical one.
const DEAD_SHARE: f64 = 1e-4;
/// Norms have moved where their mean is this many deviations away, or their deviation has changed by this factor.
const SHIFT_DEVIATIONS: f64 = 1.0;
const SHIFT_FACTOR: f64 = 2.0;

/// A class with few examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RareClass {
    /// Its number.
    pub class: u32,
    /// Its examples.
    pub count: u64,
    /// Their share of all.
    pub share: f64,
}

/// Classes that have examples, but fewer than a tenth of what each would have if all were equally frequent; the rarest
/// first.
pub fn imbalance(counts: &[u64]) -> Vec<RareClass> {
    let all: u64 = counts.iter().sum();
    let filled = counts.iter().filter(|count| **count != 0).count();
    let limit = RARE_SHARE * all as f64 / filled.max(1) as f64;
    let classes = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count != 0 && (**count as f64) < limit);
    let mut rare: Vec<RareClass> = classes
        .map(|(class, &count)| RareClass {
            class: class as u32,
            count,
            share: count as f64 / all as f64,
        })
        .collect();
    rare.sort_by_key(|class| (class.count, class.class));
    rare
}

/// Classes that the model says and that have no labelled example, with how often it says them; the most frequent first.
pub fn unknown_classes(inferred: &[u64], labelled: &[u64]) -> Vec<(u32, u64)> {
    let unlabelled = |class: usize| labelled.get(class).is_none_or(|count| *count == 0);
    let said = inferred
        .iter()
        .enumerate()
        .filter(|(class, count)| **count != 0 && unlabelled(*class));
    let mut unknown: Vec<(u32, u64)> = said.map(|(class, &count)| (class as u32, count)).collect();
    unknown.sort_by_key(|&(class, count)| (std::cmp::Reverse(count), class));
    unknown
}

/// Mean and deviation of every dimension and of the length of rows; mergeable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DimensionStatistics {
    count: u64,
    pub(super) means: Vec<f64>,
    /// Sums of squared deviations; the last place of both is of the lengths.
    pub(super) squares: Vec<f64>,
}

impl DimensionStatistics {
    /// Statistics of nothing.
    pub fn new(dimension: usize) -> Self {
        Self {
            count: 0,
            means: vec![0.0; dimension + 1],
            squares: vec![0.0; dimension + 1],
        }
    }

    /// Statistics of rows.
    pub fn of(rows: Matrix<'_>) -> Self {
        let mut statistics = Self::new(rows.dimension());
        rows.rows().for_each(|row| statistics.add(row));
        statistics
    }

    /// How many rows there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it is of another dimension.
    pub fn add(&mut self, row: &[f32]) {
        assert!(
            row.len() + 1 == self.means.len(),
            "{} numbers, not {}",
            row.len(),
            self.means.len() - 1
        );
        self.count += 1;
        let norm = row
            .iter()
            .map(|&value| f64::from(value).powi(2))
            .sum::<f64>()
            .sqrt();
        let values = row.iter().map(|&value| f64::from(value)).chain([norm]);
        for ((mean, square), value) in self.means.iter_mut().zip(&mut self.squares).zip(values) {
            let deviation = value - *mean;
            *mean += deviation / self.count as f64;
            *square += deviation * (value - *mean);
        }
    }

    /// Adds all rows of `other`.
    ///
    /// # Panics
    /// If it is of another dimension.
    pub fn merge(&mut self, other: &Self) {
        assert!(
            self.means.len() == other.means.len(),
            "statistics of different dimensions"
        );
        let (ours, theirs) = (self.count as f64, other.count as f64);
        self.count += other.count;
        let all = (self.count as f64).max(1.0);
        for at in 0..self.means.len() {
            let apart = other.means[at] - self.means[at];
            self.means[at] += apart * theirs / all;
            self.squares[at] += other.squares[at] + apart * apart * ours * theirs / all;
        }
    }

    fn deviation(&self, at: usize) -> f64 {
        (self.squares[at].max(0.0) / self.count.max(1) as f64).sqrt()
    }
}

/// Dimensions that hardly change: their deviation is less than a ten-thousandth of the median one, or all are equal.
/// Nothing is said of fewer than two rows.
pub fn dead_dimensions(statistics: &DimensionStatistics) -> Vec<u32> {
    let dimension = statistics.means.len() - 1;
    if statistics.count < 2 {
        return Vec::new();
    }
    let deviations: Vec<f64> = (0..dimension).map(|at| statistics.deviation(at)).collect();
    let mut live: Vec<f64> = deviations
        .iter()
        .copied()
        .filter(|deviation| *deviation > 0.0)
        .collect();
    let middle = live.len() / 2;
    let median = if live.is_empty() {
        0.0
    } else {
        *live.select_nth_unstable_by(middle, f64::total_cmp).1
    };
    // What rounding leaves of a number that is the same in every row.
    let noise = |at: usize| 1e-12 * statistics.means[at].abs();
    let dead = |&at: &usize| deviations[at] <= (DEAD_SHARE * median).max(noise(at));
    (0..dimension).filter(dead).map(|at| at as u32).collect()
}

/// How the lengths of vectors changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormShift {
    /// The mean length of the reference and of the others.
    pub means: [f64; 2],
    /// Their deviations.
    pub deviations: [f64; 2],
}

/// The lengths of the reference and of the others, where the means are more than a deviation apart, or one deviation is
/// more than twice the other. Nothing is said of fewer than two rows on a side.
pub fn norm_shift(
    reference: &DimensionStatistics,
    others: &DimensionStatistics,
) -> Option<NormShift> {
    if reference.count < 2 || others.count < 2 {
        return None;
    }
    let sides = [reference, others];
    let means = sides.map(|side| side.means[side.means.len() - 1]);
    let deviations = sides.map(|side| side.deviation(side.means.len() - 1));
    // Lengths that are equal up to rounding, as of vectors of length 1, have not moved.
    let noise = 1e-5 * means[0].abs().max(means[1].abs());
    let apart = (means[0] - means[1]).abs();
    let [least, most] = [
        deviations[0].min(deviations[1]),
        deviations[0].max(deviations[1]),
    ];
    let moved = apart > (SHIFT_DEVIATIONS * deviations[0]).max(noise);
    let wider = most > SHIFT_FACTOR * least && most > noise;
    (moved || wider).then_some(NormShift { means, deviations })
}
