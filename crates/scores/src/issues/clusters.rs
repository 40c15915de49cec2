//! Where the model is weaker than elsewhere.
//!
//! What must stay true: a cluster is named only where chance would hardly make it look as weak.

use crate::Matrix;
use crate::clusters::weighted_clusters;

/// Standard errors that a cluster lies below all records.
const ERRORS_BELOW: f64 = 2.0;
/// Records that a cluster has at least, so that its error is about normal.
const RECORDS_MIN: usize = 10;

/// Records that lie near each other on which the model is weak.
#[derive(Clone, Debug, PartialEq)]
pub struct WeakCluster {
    /// The records, the least likely to be right first.
    pub rows: Vec<u32>,
    /// The accuracy on them.
    pub accuracy: f64,
    /// The standard error that so many records like all others would have.
    pub standard_error: f64,
    /// The accuracy on all records.
    pub accuracy_of_all: f64,
}

/// Among `count` clusters of the rows those whose accuracy is more than two standard errors below that of all, the one
/// with the most missed records first. `correct` is for each row the probability that the model is right: an estimate,
/// or 0 and 1 where it is known.
///
/// # Panics
/// If there are not as many probabilities as rows.
pub fn underperforming_clusters(
    rows: Matrix<'_>,
    correct: &[f64],
    count: usize,
    seed: u64,
) -> Vec<WeakCluster> {
    assert!(
        rows.len() == correct.len(),
        "{} rows, {} probabilities",
        rows.len(),
        correct.len()
    );
    let all = correct.iter().sum::<f64>() / correct.len().max(1) as f64;
    let clusters = weighted_clusters(rows, &vec![1.0; rows.len()], count, seed);
    let judge = |mut rows: Vec<u32>| {
        let size = rows.len() as f64;
        let accuracy = rows.iter().map(|&row| correct[row as usize]).sum::<f64>() / size;
        // As if the cluster were drawn from all records.
        let standard_error = (all * (1.0 - all) / size).sqrt();
        let weak = rows.len() >= RECORDS_MIN && accuracy < all - ERRORS_BELOW * standard_error;
        rows.sort_by(|&a, &b| {
            correct[a as usize]
                .total_cmp(&correct[b as usize])
                .then(a.cmp(&b))
        });
        weak.then_some(WeakCluster {
            rows,
            accuracy,
            standard_error,
            accuracy_of_all: all,
        })
    };
    let mut weak: Vec<WeakCluster> = clusters.into_iter().filter_map(judge).collect();
    let missed = |cluster: &WeakCluster| (all - cluster.accuracy) * cluster.rows.len() as f64;
    weak.sort_by(|a, b| missed(b).total_cmp(&missed(a)));
    weak
}
