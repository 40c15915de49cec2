//! Covariances that can be inverted, and the distances and probabilities that follow.
//!
//! The pooled covariance is shrunk towards a multiple of the identity by the oracle-approximating rule (Chen, Wiesel,
//! Eldar, Hero, "Shrinkage Algorithms for MMSE Covariance Estimation", IEEE TSP 2010):
//! `S_p = (1 - a) T / m + (a v + e) I`, with T the sum of the scatters of N examples in C classes, m = N - C,
//! v = tr(T / m) / d. Where m is 0, v is the variance about the mean of all and a = 1. The floor e is a millionth of
//! that variance. Each class's covariance is shrunk towards it (regularised discriminant analysis, Friedman, JASA
//! 1989): `S_c = (1 - w) T_c / (n - 1) + w S_p`, w = d / (d + n).
//!
//! What must stay true: every covariance is positive definite, whatever the rows are.

use super::moments::{ClassMoments, ClassStatistics};
use crate::algebra::{Cholesky, difference, dot, highest, softmax, squared_sum, trace, triangle};
use crate::parallel;

/// Share of the variance about the mean of all that every covariance has at least in every direction.
const FLOOR: f64 = 1e-6;
/// Share of the mean square of the numbers that is their variance at least, so that equal rows have one.
const NUMBERS_FLOOR: f64 = 1e-12;

/// How far covariances are shrunk: what leave-one-out keeps as it is for all examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shrinkage {
    /// Share of the identity in the pooled covariance: the letter a.
    pub(super) amount: f64,
    /// What the identity is multiplied with: a v + e.
    pub(super) ridge: f64,
}

/// The sum of the scatters of all classes, and what their shrinkage asks for.
pub(super) struct Pooled {
    pub(super) scatter: Vec<f64>,
    pub(super) examples: f64,
    pub(super) filled: f64,
}

impl Pooled {
    pub(super) fn of(statistics: &ClassStatistics) -> Self {
        let mut scatter = vec![0.0; triangle(statistics.dimension())];
        let (mut examples, mut filled) = (0.0, 0.0);
        for class in statistics
            .classes()
            .iter()
            .filter(|class| class.count() != 0)
        {
            scatter
                .iter_mut()
                .zip(class.scatter())
                .for_each(|(sum, value)| *sum += value);
            examples += class.count() as f64;
            filled += 1.0;
        }
        Self {
            scatter,
            examples,
            filled,
        }
    }

    /// The pooled covariance where `freedom` examples are beyond the first of their class.
    pub(super) fn covariance(&self, freedom: f64, shrinkage: Shrinkage, rows: usize) -> Vec<f64> {
        let share = (1.0 - shrinkage.amount) / freedom.max(1.0);
        let mut covariance: Vec<f64> = self.scatter.iter().map(|value| share * value).collect();
        add_diagonal(&mut covariance, rows, shrinkage.ridge);
        covariance
    }
}

impl Shrinkage {
    pub(super) fn of(statistics: &ClassStatistics, pooled: &Pooled) -> Self {
        let rows = statistics.dimension();
        let d = rows as f64;
        let freedom = pooled.examples - pooled.filled;
        let all = total_variance(statistics, pooled);
        if freedom < 1.0 {
            return Self {
                amount: 1.0,
                ridge: all,
            };
        }
        let mean = trace(&pooled.scatter, rows) / freedom / d;
        let squares = squared_sum(&pooled.scatter, rows) / (freedom * freedom) / (d * d);
        let above = squares + mean * mean;
        let below = (freedom + 1.0) * (squares - mean * mean / d);
        let amount = if below > above { above / below } else { 1.0 };
        Self {
            amount,
            ridge: amount * mean + FLOOR * all,
        }
    }
}

/// The variance about the mean of all examples, a dimension; never 0.
fn total_variance(statistics: &ClassStatistics, pooled: &Pooled) -> f64 {
    let rows = statistics.dimension();
    let mut mean = vec![0.0; rows];
    for class in statistics.classes() {
        let share = class.count() as f64 / pooled.examples.max(1.0);
        mean.iter_mut()
            .zip(class.mean())
            .for_each(|(sum, value)| *sum += share * value);
    }
    let mut between = 0.0;
    for class in statistics.classes() {
        let apart = class
            .mean()
            .iter()
            .zip(&mean)
            .map(|(a, b)| (a - b) * (a - b));
        between += class.count() as f64 * apart.sum::<f64>();
    }
    let within = trace(&pooled.scatter, rows);
    let size = pooled.examples.max(1.0) * rows as f64;
    let square = dot(&mean, &mean) / rows as f64;
    ((within + between) / size)
        .max(NUMBERS_FLOOR * square)
        .max(f64::from(f32::MIN_POSITIVE))
}

pub(super) fn add_diagonal(matrix: &mut [f64], rows: usize, value: f64) {
    (0..rows).for_each(|row| matrix[crate::algebra::place(row, row)] += value);
}

/// The covariance of a class: `(1 - w) T_c / (n - 1) + w S_p`.
pub(super) fn class_covariance(class: &ClassMoments, pooled: &[f64], less: f64) -> Vec<f64> {
    let count = class.count() as f64 - less;
    let d = class.mean().len() as f64;
    let weight = d / (d + count);
    let share = (1.0 - weight) / (count - 1.0).max(1.0);
    let both = class.scatter().iter().zip(pooled);
    both.map(|(own, pooled)| share * own + weight * pooled)
        .collect()
}

/// A class as it is fitted.
#[derive(Clone, Debug)]
struct FittedClass {
    log_prior: f64,
    mean: Vec<f64>,
    /// L^-1 mean, with L of the pooled covariance.
    whitened: Vec<f64>,
    covariance: Cholesky,
    log_determinant: f64,
}

/// Class statistics made ready to say how far a vector is from a class, and which class it is of.
#[derive(Clone, Debug)]
pub struct FittedClasses {
    dimension: usize,
    pooled: Cholesky,
    /// By class; `None` without examples.
    classes: Vec<Option<FittedClass>>,
}

impl ClassStatistics {
    /// Fits covariances, in O(d^3) a class. Without any example nothing has a class.
    pub fn fit(&self) -> FittedClasses {
        let pooled = Pooled::of(self);
        self.fit_with(&pooled, Shrinkage::of(self, &pooled))
    }

    pub(super) fn fit_with(&self, pooled: &Pooled, shrinkage: Shrinkage) -> FittedClasses {
        let rows = self.dimension();
        let covariance = pooled.covariance(pooled.examples - pooled.filled, shrinkage, rows);
        let factor = Cholesky::of_definite(&covariance, rows);
        let fit = |at: usize| {
            let class = &self.classes()[at];
            if class.count() == 0 {
                return None;
            }
            let own = Cholesky::of_definite(&class_covariance(class, &covariance, 0.0), rows);
            let mut whitened = class.mean().to_vec();
            factor.solve_lower(&mut whitened);
            Some(FittedClass {
                log_prior: (class.count() as f64 / pooled.examples).ln(),
                mean: class.mean().to_vec(),
                whitened,
                log_determinant: own.log_determinant(),
                covariance: own,
            })
        };
        let classes = parallel::each(self.classes().len(), fit);
        FittedClasses {
            dimension: rows,
            pooled: factor,
            classes,
        }
    }
}

impl FittedClasses {
    /// How many numbers a row has.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How many classes there are, those without examples among them.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is no class.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Whether `class` has examples.
    pub fn knows(&self, class: u32) -> bool {
        self.classes
            .get(class as usize)
            .is_some_and(Option::is_some)
    }

    /// The squared Mahalanobis distance `(z - mean)' S_c^-1 (z - mean)`; `None` where the class has no example.
    pub fn class_distance(&self, class: u32, row: &[f32]) -> Option<f64> {
        let class = self.classes.get(class as usize)?.as_ref()?;
        Some(own_distance(class, row))
    }

    /// The probability of each class by linear discriminant analysis: one covariance for all, priors as often as they
    /// occur. Zeros for classes without examples.
    pub fn posterior(&self, row: &[f32]) -> Vec<f64> {
        let mut whitened = difference(row, &vec![0.0; self.dimension]);
        self.pooled.solve_lower(&mut whitened);
        self.probabilities(|class| {
            let apart = whitened
                .iter()
                .zip(&class.whitened)
                .map(|(a, b)| (a - b) * (a - b));
            class.log_prior - 0.5 * apart.sum::<f64>()
        })
    }

    /// As [`posterior`](Self::posterior), with each class's own covariance.
    pub fn class_posterior(&self, row: &[f32]) -> Vec<f64> {
        self.probabilities(|class| {
            class.log_prior - 0.5 * (own_distance(class, row) + class.log_determinant)
        })
    }

    /// The class that [`posterior`](Self::posterior) finds most likely, the first of equals.
    pub fn predict(&self, row: &[f32]) -> Option<u32> {
        let posterior = self.posterior(row);
        highest(&posterior)
            .filter(|&at| self.knows(at as u32))
            .map(|at| at as u32)
    }

    fn probabilities(&self, log: impl Fn(&FittedClass) -> f64) -> Vec<f64> {
        let log = |class: &Option<FittedClass>| class.as_ref().map_or(f64::NEG_INFINITY, &log);
        softmax(self.classes.iter().map(log).collect())
    }
}

fn own_distance(class: &FittedClass, row: &[f32]) -> f64 {
    let mut deviation = difference(row, &class.mean);
    class.covariance.solve_lower(&mut deviation);
    dot(&deviation, &deviation)
}
