//! What class statistics say about one of their own examples, as if it had not been among them.
//!
//! Without example x of a class with n examples, its scatter loses `n / (n - 1) (x - mean)(x - mean)'`, and so does the
//! pooled one: each covariance is one that depends on the class alone, less a matrix of rank one, whose inverse follows
//! from that one's (Sherman and Morrison, 1950). How far covariances are shrunk is kept as it is for all examples.
//!
//! What must stay true: the answers are those of statistics from which x was removed, fitted with the same shrinkage.

use super::fit::{Pooled, Shrinkage, class_covariance};
use super::moments::{ClassMoments, ClassStatistics};
use crate::algebra::{Cholesky, difference, dot, softmax};
use crate::parallel;

/// Covariances of one class as they are without one example, but for the change of rank one.
#[derive(Debug)]
struct Bases {
    /// Of the class when one of its own examples is left out, and when one of another class's is.
    own: Cholesky,
    other: Cholesky,
    /// Determinants of these two, as logarithms.
    own_log_determinant: f64,
    other_log_determinant: f64,
}

/// Leave-one-out answers of class statistics.
#[derive(Debug)]
pub struct HeldOut<'a> {
    statistics: &'a ClassStatistics,
    shrinkage: Shrinkage,
    examples: f64,
    freedom: f64,
    /// The pooled covariance without one example, and without one that is the only one of its class.
    pooled: [Cholesky; 2],
    bases: Vec<Option<Bases>>,
}

/// A covariance less `lost` times a vector's product with itself, seen through the factor of the covariance.
struct Down<'a> {
    factor: &'a Cholesky,
    /// L^-1 times the vector.
    vector: Vec<f64>,
    /// How much of each squared product comes on top: lost / (1 - lost |L^-1 vector|^2).
    gain: f64,
    /// What the determinant is multiplied with.
    kept: f64,
}

impl<'a> Down<'a> {
    fn new(factor: &'a Cholesky, deviation: &[f64], lost: f64) -> Self {
        let mut vector = deviation.to_vec();
        factor.solve_lower(&mut vector);
        // Positive on paper, since what is left is a covariance with a ridge.
        let kept = (1.0 - lost * dot(&vector, &vector)).max(1e-12);
        Self {
            factor,
            vector,
            gain: lost / kept,
            kept,
        }
    }

    fn squared(&self, mut deviation: Vec<f64>) -> f64 {
        self.factor.solve_lower(&mut deviation);
        dot(&deviation, &deviation) + self.gain * dot(&deviation, &self.vector).powi(2)
    }
}

/// What scatters lose with an example of `class`, as a factor of its deviation's square; 0 for the only one.
fn lost(class: &ClassMoments) -> f64 {
    let count = class.count() as f64;
    if class.count() < 2 {
        0.0
    } else {
        count / (count - 1.0)
    }
}

impl<'a> HeldOut<'a> {
    /// Makes statistics ready, in O(d^3) a class.
    pub fn new(statistics: &'a ClassStatistics) -> Self {
        let rows = statistics.dimension();
        let pooled = Pooled::of(statistics);
        let shrinkage = Shrinkage::of(statistics, &pooled);
        let freedom = pooled.examples - pooled.filled;
        let without = pooled.covariance(freedom - 1.0, shrinkage, rows);
        let single = pooled.covariance(freedom, shrinkage, rows);
        let bases = parallel::each(statistics.classes().len(), |at| {
            let class = &statistics.classes()[at];
            (class.count() != 0).then(|| {
                let factor = |less| {
                    let covariance = class_covariance(class, &without, less);
                    Cholesky::of_definite(&covariance, rows)
                };
                let (own, other) = (factor(1.0), factor(0.0));
                let own_log_determinant = own.log_determinant();
                let other_log_determinant = other.log_determinant();
                Bases {
                    own,
                    other,
                    own_log_determinant,
                    other_log_determinant,
                }
            })
        });
        Self {
            statistics,
            shrinkage,
            examples: pooled.examples,
            freedom,
            pooled: [without, single].map(|covariance| Cholesky::of_definite(&covariance, rows)),
            bases,
        }
    }

    fn class(&self, class: u32) -> Option<&ClassMoments> {
        self.statistics
            .classes()
            .get(class as usize)
            .filter(|moments| moments.count() != 0)
    }

    /// What the pooled covariance loses, as a factor of the deviation's square.
    fn pooled_lost(&self, class: &ClassMoments) -> f64 {
        lost(class) * (1.0 - self.shrinkage.amount) / (self.freedom - 1.0).max(1.0)
    }

    /// What the covariance of a class with `count` examples loses of the pooled one's loss and of `own`.
    fn class_lost(&self, count: f64, pooled: f64, own: f64) -> f64 {
        let d = self.statistics.dimension() as f64;
        let weight = d / (d + count);
        weight * pooled + (1.0 - weight) * own / (count - 1.0).max(1.0)
    }

    /// The distance of `row`, an example of `class`, from its class without it; `None` where it is the only one.
    pub fn class_distance(&self, class: u32, row: &[f32]) -> Option<f64> {
        let moments = self.class(class).filter(|moments| moments.count() > 1)?;
        let bases = self.bases[class as usize].as_ref()?;
        let deviation = difference(row, moments.mean());
        let (own, _) = self.own_distance(moments, bases, &deviation);
        Some(own)
    }

    /// The distance and the logarithm of the determinant of the example's own class without it.
    fn own_distance(&self, class: &ClassMoments, bases: &Bases, deviation: &[f64]) -> (f64, f64) {
        let count = class.count() as f64;
        let loss = self.class_lost(count - 1.0, self.pooled_lost(class), lost(class));
        let down = Down::new(&bases.own, deviation, loss);
        // The mean moves away from the example by the n-1st part of the deviation.
        let away = deviation.iter().map(|value| value * lost(class)).collect();
        (
            down.squared(away),
            bases.own_log_determinant + down.kept.ln(),
        )
    }

    /// The logarithm of the share of a class among all examples but one of class `out`.
    fn log_prior(&self, class: usize, out: u32) -> f64 {
        let count = self.statistics.classes()[class].count() - u64::from(class == out as usize);
        (count as f64 / (self.examples - 1.0)).ln()
    }

    /// The probability of each class for `row`, an example of `class`, by linear discriminant analysis without it.
    /// Zeros where nothing is left.
    pub fn posterior(&self, class: u32, row: &[f32]) -> Vec<f64> {
        let Some(moments) = self.class(class) else {
            return vec![0.0; self.statistics.classes().len()];
        };
        let deviation = difference(row, moments.mean());
        let factor = &self.pooled[usize::from(moments.count() == 1)];
        let down = Down::new(factor, &deviation, self.pooled_lost(moments));
        self.probabilities(class, |at, other| {
            let distance = if at == class as usize {
                down.squared(
                    deviation
                        .iter()
                        .map(|value| value * lost(moments))
                        .collect(),
                )
            } else {
                down.squared(difference(row, other.mean()))
            };
            self.log_prior(at, class) - 0.5 * distance
        })
    }

    /// As [`posterior`](Self::posterior), with each class's own covariance. An example that is the only one of its
    /// class has the answer of `posterior`.
    pub fn class_posterior(&self, class: u32, row: &[f32]) -> Vec<f64> {
        let Some(moments) = self.class(class).filter(|moments| moments.count() > 1) else {
            return self.posterior(class, row);
        };
        let deviation = difference(row, moments.mean());
        let pooled_lost = self.pooled_lost(moments);
        self.probabilities(class, |at, other| {
            let Some(bases) = self.bases[at].as_ref() else {
                return f64::NEG_INFINITY;
            };
            let (distance, log_determinant) = if at == class as usize {
                self.own_distance(moments, bases, &deviation)
            } else {
                let lost = self.class_lost(other.count() as f64, pooled_lost, 0.0);
                let down = Down::new(&bases.other, &deviation, lost);
                let distance = down.squared(difference(row, other.mean()));
                (distance, bases.other_log_determinant + down.kept.ln())
            };
            self.log_prior(at, class) - 0.5 * (distance + log_determinant)
        })
    }

    fn probabilities(&self, out: u32, log: impl Fn(usize, &ClassMoments) -> f64) -> Vec<f64> {
        let classes = self.statistics.classes().iter().enumerate();
        let logs = classes.map(|(at, class)| {
            let left = class.count() - u64::from(at == out as usize && class.count() != 0);
            if left == 0 {
                f64::NEG_INFINITY
            } else {
                log(at, class)
            }
        });
        softmax(logs.collect())
    }
}
