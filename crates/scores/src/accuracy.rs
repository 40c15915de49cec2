//! How accurate the model is on records without labels, as far as their signals tell.
//!
//! A logistic model of whether the model's class is right, on (u, D, N, sqrt A) of training records each scored as if
//! it were none. It assumes that records with equal signals are as often right in production as in training.
//!
//! What must stay true: a fit is defined for any signals, also where all records are right; a signal that is missing
//! counts as its mean.

use serde::{Deserialize, Serialize};

use crate::algebra::{Cholesky, add_outer, dot, triangle};
use crate::signals::Signals;

/// The constant and four signals.
const TERMS: usize = 5;
/// How strongly weights are held near 0, in records.
const RIDGE: f64 = 1.0;
const ROUNDS_MAX: usize = 50;

/// The probability that the model is right, by signals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorrectnessModel {
    /// The constant, then u, D, N and sqrt A in units of their deviation.
    weights: [f64; TERMS],
    means: [f64; TERMS - 1],
    deviations: [f64; TERMS - 1],
    records: usize,
}

/// How accurate the model is thought to be on some records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccuracyEstimate {
    /// The mean probability that it is right.
    pub accuracy: f64,
    /// The standard error by chance alone, as if the probabilities were true.
    pub standard_error: f64,
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

    /// The accuracy on some records; `None` without any.
    pub fn estimate<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Signals>,
    ) -> Option<AccuracyEstimate> {
        let (mut sum, mut variance, mut count) = (0.0, 0.0, 0_usize);
        for signals in records {
            let p = self.probability(signals);
            sum += p;
            variance += p * (1.0 - p);
            count += 1;
        }
        let all = count as f64;
        (count != 0).then(|| AccuracyEstimate {
            accuracy: sum / all,
            standard_error: variance.sqrt() / all,
            records: count,
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
