//! How likely a record is one that the model gets wrong or has never seen: four signals and the mean of their ranks, `trouble`.
//!
//! - uncertainty `u = 1 - (p1 - p2)`, the two highest probabilities of the model, or where it logged none of the mean of
//!   the posterior of class statistics and the vote of the nearest training records
//! - class distance A: squared Mahalanobis distance to the class that the model says
//! - novelty N: distance to the nearest training record
//! - disagreement D: the share of the nearest training records that have another label than the model says
//!
//! What must stay true: every signal that can be computed is finite, one that cannot is `None` and named as missing.

mod trouble;
mod weights;

#[cfg(test)]
mod tests;

use crate::algebra::highest;
use crate::graph::vote_weights;
use crate::statistics::{FittedClasses, HeldOut};

pub use trouble::{PRODUCTION_MIN, Signal, SignalPercentiles, SignalSketches, Trouble};
pub use weights::{Measured, SignalWeight, SignalWeights};

/// Nearest training records that vote and disagree.
pub const VOTERS: usize = 20;

/// What is known of one record.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Its vector, in the dimensions of the class statistics.
    pub row: &'a [f32],
    /// The class that the model says.
    pub inferred: Option<u32>,
    /// The probability of each class as the model says.
    pub probabilities: Option<&'a [f32]>,
    /// What [`uncertainty`] says of them, where the caller keeps nothing else; then `probabilities` are not asked.
    pub uncertainty: Option<f32>,
    /// The training records that lie in the directions nearest to its own.
    pub near: Neighbours<'a>,
    /// The training records that vote on its class: where lengths of vectors mean something, the nearest of these as
    /// they are, else those of `near`.
    pub voters: Neighbours<'a>,
}

/// Training records near a record, nearest first; [`VOTERS`] are enough.
#[derive(Clone, Copy, Debug, Default)]
pub struct Neighbours<'a> {
    /// Their labels.
    pub labels: &'a [u32],
    /// How far they are.
    pub distances: &'a [f32],
}

impl Neighbours<'_> {
    /// So many of them at most as vote.
    ///
    /// # Panics
    /// If there are not as many labels as distances.
    fn voting(self) -> Self {
        let (labels, distances) = (self.labels.len(), self.distances.len());
        assert!(
            labels == distances,
            "{labels} labels, {distances} distances"
        );
        let voters = labels.min(VOTERS);
        Self {
            labels: &self.labels[..voters],
            distances: &self.distances[..voters],
        }
    }

    /// Those with another label.
    fn but(self, label: u32) -> (Vec<u32>, Vec<f32>) {
        let all = self.labels.iter().zip(self.distances);
        all.filter(|one| *one.0 != label).unzip()
    }
}

/// The signals of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signals {
    /// The class that the model says, or else the one that training data say.
    pub inferred: Option<u32>,
    /// Whether the model did not say it.
    pub inferred_by_server: bool,
    /// 1 less the difference of the two highest probabilities, in [0, 1].
    pub uncertainty: Option<f32>,
    /// Squared Mahalanobis distance to the class.
    pub class_distance: Option<f32>,
    /// Distance to the nearest training record, in [0, 2].
    pub novelty: Option<f32>,
    /// Share of the nearest training records with another label, in [0, 1].
    pub disagreement: Option<f32>,
}

impl Signals {
    /// The signals of a record that is not of the training data.
    ///
    /// # Panics
    /// If there are not as many labels of neighbours as distances.
    pub fn of(classes: &FittedClasses, evidence: &Evidence<'_>) -> Self {
        let posterior = || classes.posterior(evidence.row);
        let mut signals = Self::without_distance(evidence, posterior);
        let distance = signals
            .inferred
            .and_then(|c| classes.class_distance(c, evidence.row));
        signals.class_distance = distance.map(finite);
        signals
    }

    /// The signals of a training record with this label as if it were not one; its neighbours are without itself.
    ///
    /// # Panics
    /// If there are not as many labels of neighbours as distances, or no example of the label.
    pub fn held_out(
        held_out: &HeldOut<'_>,
        classes: &FittedClasses,
        label: u32,
        evidence: &Evidence<'_>,
    ) -> Self {
        let posterior = || held_out.posterior(label, evidence.row);
        let mut signals = Self::without_distance(evidence, posterior);
        let distance = signals.inferred.and_then(|class| {
            if class == label {
                held_out.class_distance(class, evidence.row)
            } else {
                classes.class_distance(class, evidence.row)
            }
        });
        signals.class_distance = distance.map(finite);
        signals
    }

    fn without_distance(evidence: &Evidence<'_>, posterior: impl FnOnce() -> Vec<f64>) -> Self {
        let (near, voters) = (evidence.near.voting(), evidence.voters.voting());
        let is_told = evidence.uncertainty.is_some();
        let given = evidence
            .probabilities
            .filter(|given| !given.is_empty() && !is_told);
        let probabilities: Vec<f64> = match given {
            Some(given) => given.iter().map(|&p| f64::from(p)).collect(),
            None if is_told && evidence.inferred.is_some() => Vec::new(),
            None => mean_with_vote(posterior(), voters.labels, voters.distances),
        };
        let likeliest = highest(&probabilities).filter(|&at| probabilities[at] > 0.0);
        let inferred = evidence.inferred.or(likeliest.map(|at| at as u32));
        let others = inferred.map(|class| {
            let others = voters.labels.iter().filter(|label| **label != class);
            others.count()
        });
        Self {
            inferred,
            inferred_by_server: evidence.inferred.is_none() && inferred.is_some(),
            uncertainty: evidence
                .uncertainty
                .or_else(|| likeliest.map(|_| uncertainty(&probabilities))),
            class_distance: None,
            novelty: near.distances.first().copied(),
            disagreement: others
                .filter(|_| !voters.labels.is_empty())
                .map(|others| others as f32 / voters.labels.len() as f32),
        }
    }
}

fn finite(distance: f64) -> f32 {
    (distance as f32).min(f32::MAX)
}

/// How far from 1 probabilities may sum that sum to 1 but for rounding.
const ROUNDING: f64 = 1e-6;

/// 1 less the difference of the two highest of `probabilities`, in [0, 1]. Where they sum to 1 it is the sum of
/// all but the highest and once more the second: so it keeps its order where the highest is all but 1, and the
/// difference from 1 would be rounding.
pub fn uncertainty(probabilities: &[f64]) -> f32 {
    let Some(top) = highest(probabilities) else {
        return 1.0;
    };
    let (mut others, mut second) = (0.0, 0.0_f64);
    for (at, &probability) in probabilities.iter().enumerate() {
        if at != top {
            others += probability;
            second = second.max(probability);
        }
    }
    let top = probabilities[top].max(0.0);
    let is_whole = (top + others - 1.0).abs() <= ROUNDING;
    let below = if is_whole { others } else { 1.0 - top };
    (below + second).clamp(0.0, 1.0) as f32
}

/// The mean of a posterior and a vote; either alone where the other says nothing.
fn mean_with_vote(mut posterior: Vec<f64>, labels: &[u32], distances: &[f32]) -> Vec<f64> {
    let known = posterior.iter().sum::<f64>() > 0.0;
    if labels.is_empty() {
        return posterior;
    }
    let share = if known { 0.5 } else { 1.0 };
    posterior.iter_mut().for_each(|value| *value *= 1.0 - share);
    add_vote(&mut posterior, labels, distances, share);
    posterior
}

/// Adds to `probabilities` the vote of neighbours, `share` in all: each for its label, by its weight (see [`vote_weights`]).
pub(crate) fn add_vote(
    probabilities: &mut Vec<f64>,
    labels: &[u32],
    distances: &[f32],
    share: f64,
) {
    let weights = vote_weights(distances);
    let sum: f64 = weights.iter().sum();
    for (&label, weight) in labels.iter().zip(weights) {
        if probabilities.len() <= label as usize {
            probabilities.resize(label as usize + 1, 0.0);
        }
        probabilities[label as usize] += share * weight / sum;
    }
}
