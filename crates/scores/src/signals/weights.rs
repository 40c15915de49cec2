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

use super::{Evidence, Signal, Signals, add_vote};
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

/// How much a signal counts beside the others, and why.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalWeight {
    /// How much.
    pub weight: f64,
    /// The chance that it is higher of a record about which training is wrong than of one about which it is right;
    /// `None` where there are none of either.
    pub tells_errors: Option<f64>,
    /// The same of a record whose class training does not have.
    pub tells_unknown: Option<f64>,
}

/// The weight of each signal, and of how many records it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalWeights {
    signals: [SignalWeight; Signal::ALL.len()],
    /// Records of training about which the rest of it was right.
    pub right: usize,
    /// Those about which it was wrong.
    pub wrong: usize,
}

impl Default for SignalWeights {
    /// All alike.
    fn default() -> Self {
        let one = SignalWeight {
            weight: 1.0,
            tells_errors: None,
            tells_unknown: None,
        };
        Self {
            signals: [one; Signal::ALL.len()],
            right: 0,
            wrong: 0,
        }
    }
}

impl SignalWeights {
    /// What signals tell of these records.
    pub fn of(records: &[Measured]) -> Self {
        let right = records.iter().filter(|one| one.is_right).count();
        Self {
            signals: Signal::ALL.map(|signal| SignalWeight::of(signal, records)),
            right,
            wrong: records.len() - right,
        }
    }

    /// What one signal tells and counts.
    pub fn signal(&self, signal: Signal) -> SignalWeight {
        self.signals[signal as usize]
    }

    /// The part of the whole that each signal is for which there is a value; all alike where none of these counts.
    pub fn shares(&self, known: [bool; Signal::ALL.len()]) -> [Option<f64>; Signal::ALL.len()] {
        let sum_of = |weights: &[f64; Signal::ALL.len()]| -> f64 {
            let counted = weights.iter().zip(known).filter(|(_, known)| *known);
            counted.map(|(weight, _)| weight).sum()
        };
        let mut weights = self.signals.map(|one| one.weight);
        if sum_of(&weights) <= 0.0 {
            weights = [1.0; Signal::ALL.len()];
        }
        let sum = sum_of(&weights);
        std::array::from_fn(|at| known[at].then(|| weights[at] / sum))
    }
}

impl SignalWeight {
    fn of(signal: Signal, records: &[Measured]) -> Self {
        let values = |of: &dyn Fn(&Measured) -> Option<f32>| {
            let mut values: Vec<f32> = records.iter().filter_map(of).collect();
            values.sort_by(f32::total_cmp);
            values
        };
        let at = signal as usize;
        let right = values(&|one| one.signals.values()[at].filter(|_| one.is_right));
        let wrong = values(&|one| one.signals.values()[at].filter(|_| !one.is_right));
        let unknown = values(&|one| one.unknown.values()[at]);
        let tells_errors = above(&right, &wrong);
        let tells_unknown = above(&right, &unknown);
        let errors = tells_errors.map_or(1.0, |share| {
            let (n, m) = (right.len() as f64, wrong.len() as f64);
            let deviation = ((n + m + 1.0) / (12.0 * n * m)).sqrt();
            (2.0 * (share + DEVIATIONS * deviation) - 1.0).clamp(0.0, 1.0)
        });
        let new = tells_unknown.map_or(0.0, |share| (2.0 * share - 1.0).max(0.0));
        Self {
            weight: errors + UNKNOWN * new,
            tells_errors,
            tells_unknown,
        }
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
        let (near, voters) = (evidence.near.voting(), evidence.voters.voting());
        let (labels, distances) = voters.but(label);
        let mut p = held_out.posterior(label, evidence.row);
        p[label as usize] = 0.0;
        let sum: f64 = p.iter().sum();
        p.iter_mut().for_each(|p| *p /= sum.max(f64::MIN_POSITIVE));
        if !labels.is_empty() {
            add_vote(&mut p, &labels, &distances, 1.0);
        }
        let taken = highest(&p).filter(|&at| p[at] > 0.0);
        let distance = taken.and_then(|at| classes.class_distance(at as u32, evidence.row));
        let (_, others) = near.but(label);
        let reach = near.distances.last();
        Self {
            inferred: taken.map(|at| at as u32),
            inferred_by_server: taken.is_some(),
            class_distance: distance.map(super::finite),
            novelty: others.first().or(reach).copied(),
            ..Self::default()
        }
    }
}
