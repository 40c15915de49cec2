//! Which labels of the training data are probably wrong, and what they should be.
//!
//! Experts say how likely each class is for each record, each as if the record were not among the training data: the
//! vote of its nearest neighbours, the posteriors of class statistics, and the probabilities that the client logged.
//! An expert weighs 1 / err^2, err being how often it disagrees with the given labels; p is their weighted mean.
//!
//! What must stay true: an expert that cannot speak of a record takes no part there; verdicts are in the order of rows.
//! A client whose model was trained on the labels it is to judge has no voice, and one that nobody vouches for has no
//! more than the best of the others; a label of which there are hardly any other examples is not called wrong.

use crate::Matrix;
use crate::algebra::highest;
use crate::by_heart::{Contradictions, is_by_heart};
use crate::graph::Graph;
use crate::parallel;
use crate::signals::add_vote;
use crate::statistics::HeldOut;

/// Neighbours that vote on a label.
pub const LABEL_VOTERS: usize = 10;
/// The expert that is the client.
const CLIENT: usize = 3;

/// Examples that a class has at least, the record itself among them, for its label to be judged: with fewer, whoever
/// leaves the record out knows next to nothing of the class.
pub const EXAMPLES_MIN: u64 = 4;

/// A training set whose labels are judged.
#[derive(Clone, Copy, Debug)]
pub struct LabelEvidence<'a> {
    /// Vectors in the dimensions of the class statistics.
    pub rows: Matrix<'a>,
    /// The given label of each row.
    pub labels: &'a [u32],
    /// The statistics of exactly these rows and labels.
    pub held_out: &'a HeldOut<'a>,
    /// Neighbours of each row among the rows, without itself; [`LABEL_VOTERS`] are enough.
    pub graph: &'a Graph,
    /// Out-of-sample probabilities of each class for each row, row after row, if the client logged them.
    pub probabilities: Option<Matrix<'a>>,
    /// How often the client contradicts labels of records that are no training data, if there are any.
    pub elsewhere: Contradictions,
}

/// What is thought of one label.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LabelVerdict {
    /// The highest probability of another class less that of the given one, in [-1, 1]: wrong ones first.
    pub score: f32,
    /// The likeliest class, the given one among them.
    pub suggested: u32,
    /// Its probability.
    pub confidence: f32,
    /// The probability of the given label.
    pub given: f32,
    /// Whether there are fewer than [`EXAMPLES_MIN`] examples of the given label, so that it is not judged.
    pub is_rare: bool,
}

/// How many records of one label are confidently of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfidentCount {
    /// The given label.
    pub given: u32,
    /// What they are.
    pub suggested: u32,
    /// How many.
    pub count: u64,
}

/// What is thought of all labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelReport {
    /// One for each row.
    pub verdicts: Vec<LabelVerdict>,
    /// The share of each expert in p: neighbours, posterior, posterior with each class's covariance, client.
    pub weights: [f64; 4],
    /// Whether the client knows the labels by heart, and so has no voice.
    pub is_by_heart: bool,
    /// Pairs of labels that are confused, the most frequent first (Northcutt, Jiang, Chuang, "Confident Learning",
    /// JAIR 2021).
    pub confident: Vec<ConfidentCount>,
}

impl LabelEvidence<'_> {
    fn classes(&self) -> usize {
        let labelled = self
            .labels
            .iter()
            .max()
            .map_or(0, |&label| label as usize + 1);
        labelled.max(self.probabilities.map_or(0, Matrix::dimension))
    }

    /// What one expert says of a row; nothing where it cannot speak.
    fn ask(&self, expert: usize, row: usize, classes: usize) -> Option<Vec<f64>> {
        let (label, vector) = (self.labels[row], self.rows.row(row));
        let mut said = match expert {
            0 => {
                let voters = self.graph.neighbours(row).len().min(LABEL_VOTERS);
                let labels = self.graph.neighbours(row)[..voters].iter();
                let labels: Vec<u32> = labels.map(|&other| self.labels[other as usize]).collect();
                let mut vote = vec![0.0; classes];
                add_vote(
                    &mut vote,
                    &labels,
                    &self.graph.distances(row)[..voters],
                    1.0,
                );
                vote
            }
            1 => self.held_out.posterior(label, vector),
            2 => self.held_out.class_posterior(label, vector),
            _ => self
                .probabilities?
                .row(row)
                .iter()
                .map(|&p| f64::from(p))
                .collect(),
        };
        said.resize(classes, 0.0);
        (said.iter().sum::<f64>() > 0.0).then_some(said)
    }

    /// How often each label is given.
    fn counts(&self, classes: usize) -> Vec<u64> {
        let mut counts = vec![0; classes];
        for &label in self.labels {
            counts[label as usize] += 1;
        }
        counts
    }

    /// The weight of each expert: 1 / err^2, of which they have 1 in all; and whether the client knows labels by heart.
    fn weights(&self, counts: &[u64]) -> ([f64; 4], bool) {
        let agrees: [Vec<Option<bool>>; 4] = std::array::from_fn(|expert| {
            parallel::map(self.labels.len(), |row| {
                let label = self.labels[row] as usize;
                if counts[label] < EXAMPLES_MIN {
                    return None;
                }
                let said = self.ask(expert, row, counts.len())?;
                Some(highest(&said) == Some(label))
            })
        });
        let mut weights = [0, 1, 2, CLIENT].map(|expert| {
            let all = Contradictions::of(agrees[expert].iter().copied().flatten());
            let wrong = (all.count + 1) as f64;
            if all.of == 0 {
                0.0
            } else {
                ((all.of + 2) as f64 / wrong).powi(2)
            }
        });
        // Of the labels that the client speaks of.
        let of = |expert: usize| {
            let pairs = agrees[expert].iter().zip(&agrees[CLIENT]);
            Contradictions::of(pairs.filter_map(|(own, client)| client.and(*own)))
        };
        let others = [of(0), of(1), of(2), self.elsewhere];
        let is_by_heart = is_by_heart(of(CLIENT), &others);
        if is_by_heart {
            weights[CLIENT] = 0.0;
        } else if !self.elsewhere.is_enough() {
            let best = weights[..CLIENT].iter().copied().fold(0.0, f64::max);
            weights[CLIENT] = weights[CLIENT].min(best);
        }
        let sum: f64 = weights.iter().sum();
        weights
            .iter_mut()
            .for_each(|weight| *weight /= sum.max(f64::MIN_POSITIVE));
        (weights, is_by_heart)
    }

    fn combined(&self, weights: &[f64; 4], row: usize, classes: usize) -> Vec<f64> {
        let mut all = vec![0.0; classes];
        let mut spoke = 0.0;
        for (expert, &weight) in weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight > 0.0)
        {
            if let Some(said) = self.ask(expert, row, classes) {
                spoke += weight;
                all.iter_mut()
                    .zip(said)
                    .for_each(|(sum, p)| *sum += weight * p);
            }
        }
        if spoke > 0.0 {
            all.iter_mut().for_each(|p| *p /= spoke);
        }
        all
    }
}

/// Judges every label.
///
/// # Panics
/// If labels, graph or probabilities are not of as many rows as there are.
pub fn label_issues(evidence: &LabelEvidence<'_>) -> LabelReport {
    let rows = evidence.rows.len();
    assert!(
        evidence.labels.len() == rows
            && evidence.graph.len() == rows
            && evidence
                .probabilities
                .is_none_or(|given| given.len() == rows),
        "labels, neighbours and probabilities are of {rows} rows"
    );
    let classes = evidence.classes();
    let counts = evidence.counts(classes);
    let (weights, is_by_heart) = evidence.weights(&counts);
    let verdicts = parallel::map(rows, |row| {
        let (label, combined) = (
            evidence.labels[row],
            evidence.combined(&weights, row, classes),
        );
        let found = verdict(&combined, label);
        if counts[label as usize] < EXAMPLES_MIN {
            found.of_a_rare_label(label)
        } else {
            found
        }
    });
    let confident = confident(evidence.labels, &verdicts, classes);
    LabelReport {
        verdicts,
        weights,
        is_by_heart,
        confident,
    }
}

impl LabelVerdict {
    /// The same of a label that is not judged.
    fn of_a_rare_label(self, label: u32) -> Self {
        Self {
            score: self.score.min(0.0),
            suggested: label,
            confidence: self.given,
            is_rare: true,
            ..self
        }
    }
}

fn verdict(probabilities: &[f64], given: u32) -> LabelVerdict {
    let Some(suggested) = highest(probabilities).filter(|&at| probabilities[at] > 0.0) else {
        return LabelVerdict {
            suggested: given,
            ..LabelVerdict::default()
        };
    };
    let own = probabilities[given as usize];
    let others = probabilities
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != given as usize);
    let other = others.fold(0.0_f64, |most, (_, &p)| most.max(p));
    LabelVerdict {
        score: (other - own) as f32,
        suggested: suggested as u32,
        confidence: probabilities[suggested] as f32,
        given: own as f32,
        is_rare: false,
    }
}

/// Counts records whose suggestion is at least as sure as records of that label are on the mean.
fn confident(labels: &[u32], verdicts: &[LabelVerdict], classes: usize) -> Vec<ConfidentCount> {
    let mut sums = vec![(0.0_f64, 0_u64); classes];
    for (&label, verdict) in labels.iter().zip(verdicts) {
        sums[label as usize].0 += f64::from(verdict.given);
        sums[label as usize].1 += 1;
    }
    let mut counts = std::collections::BTreeMap::new();
    for (&given, verdict) in labels.iter().zip(verdicts) {
        let (sum, count) = sums[verdict.suggested as usize];
        let sure = count != 0 && f64::from(verdict.confidence) >= sum / count as f64;
        if verdict.suggested != given && sure {
            *counts.entry((given, verdict.suggested)).or_insert(0_u64) += 1;
        }
    }
    let counts = counts.into_iter();
    let mut counts: Vec<ConfidentCount> = counts
        .map(|((given, suggested), count)| ConfidentCount {
            given,
            suggested,
            count,
        })
        .collect();
    counts.sort_by_key(|pair| std::cmp::Reverse(pair.count));
    counts
}

#[cfg(test)]
mod tests;
