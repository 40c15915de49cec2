//! How accurate the model is on records without labels, as far as their signals tell.
//!
//! A logistic model of whether the model's class is right, on (u, D, N, sqrt A) of training records each scored as if
//! it were none, and of production the [share](newness) that is unlike training, about which the model is wrong. It
//! assumes that what production has of new records beyond training is of something training does not have, and that
//! others with equal signals are as often right in production as in training.
//!
//! What must stay true: a fit is defined for any signals, also where all records are right; a signal that is missing
//! counts as its mean; the bounds hold the accuracy.

mod newness;

use serde::{Deserialize, Serialize};

use crate::algebra::{Cholesky, add_outer, dot, triangle};
use crate::signals::Signals;
use newness::{LIKELY, Newness, POSSIBLE};

/// The constant and four signals.
const TERMS: usize = 5;
/// How strongly weights are held near 0, in records.
const RIDGE: f64 = 1.0;
const ROUNDS_MAX: usize = 50;
/// By how many deviations the share of what is unlike training is taken to be lower than what is seen, so that chance
/// makes none, and how many are on either side of the accuracy.
const DEVIATIONS: [f64; 2] = [1.0, 2.0];

/// The probability that the model is right, by signals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorrectnessModel {
    /// The constant, then u, D, N and sqrt A in units of their deviation.
    weights: [f64; TERMS],
    means: [f64; TERMS - 1],
    deviations: [f64; TERMS - 1],
    records: usize,
    /// The share of these about which the model is right.
    accuracy: f64,
    newness: Newness,
}

/// How accurate the model is thought to be on some records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccuracyEstimate {
    /// The mean probability that it is right.
    pub accuracy: f64,
    /// The standard error by chance alone, as if the probabilities were true.
    pub standard_error: f64,
    /// The share of records that are unlike training, and taken to be wrong.
    pub unlike_training: f64,
    /// The accuracy if as many as may be are unlike training and the model is wrong on all of them, or right; two
    /// standard errors are on either side, that of training's accuracy among them.
    pub bounds: [f64; 2],
    /// How many records it is of.
    pub records: usize,
}

/// u, D, N and sqrt A.
fn terms(signals: &Signals) -> [Option<f64>; TERMS - 1] {
    let number = |value: Option<f32>| value.map(f64::from);
    [
        number(signals.uncertainty),
        number(signals.disagreement),
        number(signals.novelty),
        number(signals.class_distance).map(f64::sqrt),
    ]
}

impl CorrectnessModel {
    /// Fits the model by Newton steps on the likelihood less a ridge; `None` without records.
    ///
    /// # Panics
    /// If there are not as many answers as records.
    pub fn fit(signals: &[Signals], correct: &[bool]) -> Option<Self> {
        assert!(
            signals.len() == correct.len(),
            "{} records, {} answers",
            signals.len(),
            correct.len()
        );
        if signals.is_empty() {
            return None;
        }
        let (means, deviations) = scales(signals);
        let mut model = Self {
            weights: [0.0; TERMS],
            means,
            deviations,
            records: signals.len(),
            accuracy: correct.iter().filter(|right| **right).count() as f64 / correct.len() as f64,
            newness: Newness::fit(signals),
        };
        let rows: Vec<[f64; TERMS]> = signals
            .iter()
            .map(|signals| model.standard(signals))
            .collect();
        let mut best = model.cost(&rows, correct);
        for _ in 0..ROUNDS_MAX {
            let step = model.newton(&rows, correct);
            let mut next = model.clone();
            let mut length = 1.0;
            loop {
                next.weights = std::array::from_fn(|at| model.weights[at] - length * step[at]);
                let cost = next.cost(&rows, correct);
                if cost < best - 1e-10 * best.abs() {
                    (best, model) = (cost, next.clone());
                    break;
                }
                length *= 0.5;
                if length < 1e-6 {
                    return Some(model);
                }
            }
        }
        Some(model)
    }

    /// How many records it was fitted on.
    pub fn records(&self) -> usize {
        self.records
    }

    /// The probability that the model is right about a record.
    pub fn probability(&self, signals: &Signals) -> f64 {
        logistic(dot(&self.weights, &self.standard(signals)))
    }

    /// The probability that the model is right about each of some records of production, those among them that are
    /// unlike training taken to be wrong. It depends on all of them, which tell how many these are.
    pub fn probabilities(&self, records: &[Signals]) -> Vec<f64> {
        let spread = self.newness.spread(records.iter());
        let unlike = self.newness.unlike(&spread, LIKELY, -DEVIATIONS[0]);
        let chances = self.newness.chances(&spread, unlike);
        let each = records.iter().zip(chances);
        each.map(|(signals, new)| (1.0 - new) * self.probability(signals))
            .collect()
    }

    /// The accuracy on some records of production; `None` without any.
    pub fn estimate(&self, records: &[Signals]) -> Option<AccuracyEstimate> {
        if records.is_empty() {
            return None;
        }
        let all = records.len() as f64;
        let right: Vec<f64> = records.iter().map(|one| self.probability(one)).collect();
        let spread = self.newness.spread(records.iter());
        let old = |unlike: f64| {
            let chances = self.newness.chances(&spread, unlike);
            let each = right.iter().zip(chances);
            each.map(|(p, new)| (1.0 - new) * p).collect::<Vec<f64>>()
        };
        let unlike = self.newness.unlike(&spread, LIKELY, -DEVIATIONS[0]);
        let at_most = self.newness.unlike(&spread, POSSIBLE, DEVIATIONS[1]);
        let likely = old(unlike);
        let accuracy = likely.iter().sum::<f64>() / all;
        let by_chance: f64 = likely.iter().map(|p| p * (1.0 - p)).sum();
        let least = old(at_most).iter().sum::<f64>() / all;
        // Few records of training that are all right say no more than that most are.
        let known = self.records as f64;
        let of_training = (self.accuracy * (1.0 - self.accuracy) + 1.0 / known) / known;
        let error = DEVIATIONS[1] * (by_chance / all.powi(2) + of_training).sqrt();
        let most = right.iter().sum::<f64>() / all;
        Some(AccuracyEstimate {
            accuracy,
            standard_error: by_chance.sqrt() / all,
            unlike_training: unlike,
            bounds: [
                (least - error).max(0.0),
                (most.max(least + at_most) + error).min(1.0),
            ],
            records: records.len(),
        })
    }

    fn standard(&self, signals: &Signals) -> [f64; TERMS] {
        let values = terms(signals);
        let term = |at: usize| {
            values[at].map_or(0.0, |value| (value - self.means[at]) / self.deviations[at])
        };
        std::array::from_fn(|at| if at == 0 { 1.0 } else { term(at - 1) })
    }

    /// What is minimised: the negative log-likelihood and the ridge.
    fn cost(&self, rows: &[[f64; TERMS]], correct: &[bool]) -> f64 {
        let ridge: f64 = self.weights.iter().map(|weight| weight * weight).sum();
        let costs = rows.iter().zip(correct).map(|(row, &right)| {
            let z = dot(&self.weights, row);
            let towards = if right { -z } else { z };
            // The logarithm of 1 + e^towards without overflow.
            towards.max(0.0) + (-towards.abs()).exp().ln_1p()
        });
        costs.sum::<f64>() + 0.5 * RIDGE * ridge
    }

    /// The inverse of the second derivative times the first.
    fn newton(&self, rows: &[[f64; TERMS]], correct: &[bool]) -> [f64; TERMS] {
        let mut second = vec![0.0; triangle(TERMS)];
        (0..TERMS).for_each(|at| second[crate::algebra::place(at, at)] = RIDGE);
        let mut first: Vec<f64> = self.weights.iter().map(|weight| RIDGE * weight).collect();
        for (row, &right) in rows.iter().zip(correct) {
            let p = logistic(dot(&self.weights, row));
            add_outer(&mut second, row, p * (1.0 - p));
            let error = p - f64::from(u8::from(right));
            first
                .iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += error * value);
        }
        let factor = Cholesky::of_definite(&second, TERMS);
        factor.solve_lower(&mut first);
        factor.solve_upper(&mut first);
        std::array::from_fn(|at| first[at])
    }
}

fn logistic(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The mean and the deviation of each term; 1 where it does not deviate.
fn scales(signals: &[Signals]) -> ([f64; TERMS - 1], [f64; TERMS - 1]) {
    let mut means = [0.0; TERMS - 1];
    let mut deviations = [1.0; TERMS - 1];
    for at in 0..TERMS - 1 {
        let values: Vec<f64> = signals
            .iter()
            .filter_map(|signals| terms(signals)[at])
            .collect();
        let count = values.len().max(1) as f64;
        means[at] = values.iter().sum::<f64>() / count;
        let square = values
            .iter()
            .map(|value| (value - means[at]).powi(2))
            .sum::<f64>()
            / count;
        if square > 0.0 {
            deviations[at] = square.sqrt();
        }
    }
    (means, deviations)
}

/// Where the true share lies with 95 % confidence, when `right` of `all` records drawn evenly were right (Wilson,
/// JASA 1927); all of [0, 1] without any.
pub fn counted_interval(right: u64, all: u64) -> (f64, f64) {
    if all == 0 {
        return (0.0, 1.0);
    }
    let (n, z) = (all as f64, 1.959_963_985);
    let share = right as f64 / n;
    let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let spread = share * (1.0 - share) / n + z * z / (4.0 * n * n);
    let half = z * spread.sqrt() / (1.0 + z * z / n);
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[cfg(test)]
mod tests;
