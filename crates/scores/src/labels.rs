//! Which labels of the training data are probably wrong, and what they should be.
//!
//! [Experts](experts) say how likely each class is for each record, and weigh as much as they are right; p is their
//! weighted mean.
//!
//! What must stay true: verdicts are in the order of rows; a label of which there are hardly any other examples is not
//! called wrong.

mod experts;

use crate::Matrix;
use crate::algebra::highest;
use crate::by_heart::Contradictions;
use crate::graph::Graph;
use crate::parallel;
use crate::statistics::HeldOut;

use experts::Experts;

pub use experts::EXPERTS;

/// Neighbours that vote on a label.
pub const LABEL_VOTERS: usize = 20;

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
    /// The same by the vectors as they are, with Euclidean distances, where how long vectors are means something.
    pub graph_with_lengths: Option<&'a Graph>,
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
    /// The share in p of each of the [`EXPERTS`].
    pub weights: [f64; EXPERTS.len()],
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
                .graph_with_lengths
                .is_none_or(|graph| graph.len() == rows)
            && evidence
                .probabilities
                .is_none_or(|given| given.len() == rows),
        "labels, neighbours and probabilities are of {rows} rows"
    );
    let classes = evidence.classes();
    let experts = Experts::of(*evidence, classes);
    let (weights, is_by_heart) = experts.weights();
    let verdicts = parallel::map(rows, |row| {
        let label = evidence.labels[row];
        let found = verdict(&experts.combined(&weights, row), label);
        if experts.is_rare(label) {
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
