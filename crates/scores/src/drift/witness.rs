//! Which records moved: how much more a window than a reference is like each, and clusters of those.
//!
//! What must stay true: shares of mass are of the positive witness values alone.

use super::bucket::DriftBucket;
use super::features::FEATURES;
use crate::Matrix;
use crate::clusters::weighted_clusters;
use crate::parallel;

/// How a window differs from a reference, as one direction among features.
#[derive(Clone, Debug, PartialEq)]
pub struct Witness {
    apart: Vec<f64>,
}

impl Witness {
    /// The mean of the window's features less that of the reference's.
    pub fn between(reference: &DriftBucket, window: &DriftBucket) -> Self {
        let means = [reference.mean(), window.mean()];
        let pairs = means[0].iter().zip(&means[1]);
        Self {
            apart: pairs.map(|(a, b)| b - a).collect(),
        }
    }

    /// The witness value of each row by its features, which are of the map that those of both sides are of: their
    /// product with the difference. Above 0 where the window has more records like it.
    pub fn values(&self, features: &[f32]) -> Vec<f64> {
        parallel::map(features.len() / FEATURES, |row| {
            let own = &features[row * FEATURES..(row + 1) * FEATURES];
            let pairs = own.iter().zip(&self.apart);
            pairs.map(|(&value, apart)| f64::from(value) * apart).sum()
        })
    }
}

/// Records that moved together.
#[derive(Clone, Debug, PartialEq)]
pub struct WitnessCluster {
    /// Its share of the positive witness values.
    pub share: f64,
    /// Its rows, the highest witness value first.
    pub rows: Vec<u32>,
}

/// At most `count` clusters of the rows with a positive witness value, the one with the largest share first.
///
/// # Panics
/// If there are not as many values as rows.
pub fn witness_clusters(
    rows: Matrix<'_>,
    values: &[f64],
    count: usize,
    seed: u64,
) -> Vec<WitnessCluster> {
    assert!(
        rows.len() == values.len(),
        "{} rows, {} values",
        rows.len(),
        values.len()
    );
    let picked: Vec<usize> = (0..rows.len()).filter(|&row| values[row] > 0.0).collect();
    let near = rows.gather(&picked);
    let weights: Vec<f64> = picked.iter().map(|&row| values[row]).collect();
    let whole: f64 = weights.iter().sum();
    let found = weighted_clusters(Matrix::new(&near, rows.dimension()), &weights, count, seed);
    let mut clusters: Vec<WitnessCluster> = found
        .into_iter()
        .map(|members| {
            let mut rows: Vec<usize> = members
                .into_iter()
                .map(|member| picked[member as usize])
                .collect();
            rows.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
            let share = rows.iter().map(|&row| values[row]).sum::<f64>() / whole;
            WitnessCluster {
                share,
                rows: rows.into_iter().map(|row| row as u32).collect(),
            }
        })
        .collect();
    clusters.sort_by(|a, b| b.share.total_cmp(&a.share));
    clusters
}
