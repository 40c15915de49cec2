//! How much each signal counts in `trouble`: as much as it tells on training.
//!
//! Training records are scored each as if it were not of the training data. About some of them class statistics and
//! neighbours are wrong then; and with its whole class left out each stands for what training does not have. Of a
//! signal's values the chance that one of the former is above one of a record that is right (Mann and Whitney, 1947)
//! says how well it tells errors; the same of the latter, how well it tells the unknown. In few dimensions, or where
//! classes are curved, distances from classes may tell neither, and in the mean of ranks would hide the others.
//!
//! What must stay true: weights are in [0, 1 + [`UNKNOWN`]]; a signal of which too little is known counts fully, so
//! that without training errors all count alike; they depend on training and nothing else.

use serde::{Deserialize, Serialize};

use super::{Evidence, Signal, Signals, VOTERS, add_vote};
use crate::algebra::highest;
use crate::statistics::{FittedClasses, HeldOut};

/// What telling the unknown counts beside telling errors.
const UNKNOWN: f64 = 0.25;
/// Deviations by which a signal may tell errors better than it is seen to.
const DEVIATIONS: f64 = 2.0;

/// A training record as it is scored where it, or its class, is not of the training data.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Without the record, by training data alone.
    pub signals: Signals,
    /// Whether they say its label.
    pub is_right: bool,
    /// Without its class.
    pub unknown: Signals,
}

/// The weight of each signal in the order of [`Signal::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalWeights([f64; Signal::ALL.len()]);

impl Default for SignalWeights {
    /// All alike.
    fn default() -> Self {
        Self([1.0; Signal::ALL.len()])
    }
}

impl SignalWeights {
    /// What signals tell of these records.
    pub fn of(records: &[Measured]) -> Self {
        Self(std::array::from_fn(|at| {
            let values = |of: &dyn Fn(&Measured) -> Option<f32>| {
                let mut values: Vec<f32> = records.iter().filter_map(of).collect();
                values.sort_by(f32::total_cmp);
                values
            };
            let right = values(&|one| one.signals.values()[at].filter(|_| one.is_right));
            let wrong = values(&|one| one.signals.values()[at].filter(|_| !one.is_right));
            let unknown = values(&|one| one.unknown.values()[at]);
            let errors = above(&right, &wrong).map_or(1.0, |share| {
                let (n, m) = (right.len() as f64, wrong.len() as f64);
                let deviation = ((n + m + 1.0) / (12.0 * n * m)).sqrt();
                (2.0 * (share + DEVIATIONS * deviation) - 1.0).clamp(0.0, 1.0)
            });
            let new = above(&right, &unknown).map_or(0.0, |share| (2.0 * share - 1.0).max(0.0));
            errors + UNKNOWN * new
        }))
    }

    /// The weighted mean of the ranks that there are; where none of these counts, their mean.
    pub(super) fn mean(&self, ranks: &[Option<f64>; Signal::ALL.len()]) -> Option<f64> {
        let known = || ranks.iter().zip(self.0);
        let weighted = |weight: &dyn Fn(f64) -> f64| {
            let pairs = known().filter_map(|(rank, own)| Some((*rank.as_ref()?, weight(own))));
            let (sum, of) = pairs.fold((0.0, 0.0), |(sum, of), (rank, weight)| {
                (sum + weight * rank, of + weight)
            });
            (of > 0.0).then_some(sum / of)
        };
        weighted(&|own| own).or_else(|| weighted(&|_| 1.0))
    }
}

/// The chance that one of `others` is above one of `values`, equal ones counting half; both ascend.
fn above(values: &[f32], others: &[f32]) -> Option<f64> {
    if values.is_empty() || others.is_empty() {
        return None;
    }
    let below = |other: &f32| {
        let below = values.partition_point(|value| value < other);
        let up_to = values.partition_point(|value| value <= other);
        (below + up_to) as f64 / 2.0
    };
    let sum: f64 = others.iter().map(below).sum();
    Some(sum / (values.len() * others.len()) as f64)
}

impl Signals {
    /// How far a training record would be from everything if its class were not of the training data: its distance from
    /// the class that would be taken for its own, and from the nearest record of another label, at least as far as
    /// the neighbours reach. The neighbours are without itself.
    pub fn without_class(
        held_out: &HeldOut<'_>,
        classes: &FittedClasses,
        label: u32,
        evidence: &Evidence<'_>,
    ) -> Self {
        let voters = evidence.neighbour_labels.len().min(VOTERS);
        let near = evidence.neighbour_labels[..voters].iter();
        let near = near
            .copied()
            .zip(evidence.neighbour_distances.iter().copied());
        let others: Vec<(u32, f32)> = near.filter(|one| one.0 != label).collect();
        let (labels, distances): (Vec<u32>, Vec<f32>) = others.iter().copied().unzip();
        let mut p = held_out.posterior(label, evidence.row);
        p[label as usize] = 0.0;
        let sum: f64 = p.iter().sum();
        p.iter_mut().for_each(|p| *p /= sum.max(f64::MIN_POSITIVE));
        if !labels.is_empty() {
            add_vote(&mut p, &labels, &distances, 1.0);
        }
        let taken = highest(&p).filter(|&at| p[at] > 0.0);
        let distance = taken.and_then(|at| classes.class_distance(at as u32, evidence.row));
        let reach = evidence.neighbour_distances[..voters].last();
        Self {
            inferred: taken.map(|at| at as u32),
            inferred_by_server: taken.is_some(),
            class_distance: distance.map(super::finite),
            novelty: distances.first().or(reach).copied(),
            ..Self::default()
        }
    }
}
