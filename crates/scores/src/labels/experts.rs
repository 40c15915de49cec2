//! Who judges labels, and how much each of them weighs.
//!
//! Each says how likely each class is for a record as if it were not among the training data: the votes of its nearest
//! neighbours, by direction and by the vectors as they are, the posteriors of class statistics, and the probabilities
//! that the client logged.
//!
//! Class statistics take classes for ellipsoids and numbers for independent evidence, and so are surer than they are
//! right: their posteriors are raised to the power, at most 1, under which the given labels are the likeliest (Guo,
//! Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017), a share of the labels being
//! anything, since some are wrong.
//!
//! An expert weighs 1 / err^2, err being how often it contradicts a label that another expert agrees with. A label
//! that all of them contradict is more probably wrong than they all are, and where many labels are wrong it would hide
//! who is better.
//!
//! What must stay true: an expert that cannot speak of a record takes no part there. A client whose model was trained
//! on the labels it is to judge has no voice, and one that nobody vouches for has no more than the best of the others.

use super::{EXAMPLES_MIN, LABEL_VOTERS, LabelEvidence};
use crate::algebra::highest;
use crate::by_heart::{Contradictions, is_by_heart};
use crate::graph::Graph;
use crate::parallel;
use crate::signals::add_vote;

/// What the experts are called, in the order of their weights.
pub const EXPERTS: [&str; 5] = [
    "neighbours",
    "neighbours_with_lengths",
    "posterior",
    "class_posterior",
    "client",
];
/// The expert that is the client; those before it leave records out.
pub(super) const CLIENT: usize = 4;
/// The first of the two that are class statistics.
const STATISTICS: usize = 2;

/// Records that tell how sure class statistics may be, at most.
const CALIBRATED_MAX: usize = 2000;
/// Powers that are tried: 2^(-k / 2) of so many k.
const POWERS: i32 = 11;
/// Shares of labels that may be anything.
const ANYTHING: [f64; 5] = [0.01, 0.03, 0.1, 0.2, 0.4];
/// Contradictions that an expert has beside those it is seen to have, of twice as many labels: few are seen by chance.
const BESIDES: f64 = 2.0;

/// See the head of this file.
pub(super) struct Experts<'a> {
    evidence: LabelEvidence<'a>,
    /// How often each label is given.
    counts: Vec<u64>,
    /// The powers of the two posteriors.
    pub(super) powers: [f64; 2],
}

impl<'a> Experts<'a> {
    pub(super) fn of(evidence: LabelEvidence<'a>, classes: usize) -> Self {
        let mut counts = vec![0; classes];
        for &label in evidence.labels {
            counts[label as usize] += 1;
        }
        let mut experts = Self {
            evidence,
            counts,
            powers: [1.0; 2],
        };
        experts.powers = [STATISTICS, STATISTICS + 1].map(|expert| experts.power(expert));
        experts
    }

    /// Whether there are too few examples of a label to judge it.
    pub(super) fn is_rare(&self, label: u32) -> bool {
        self.counts[label as usize] < EXAMPLES_MIN
    }

    /// What one expert says of a row; nothing where it cannot speak.
    fn ask(&self, expert: usize, row: usize) -> Option<Vec<f64>> {
        let (label, vector) = (self.evidence.labels[row], self.evidence.rows.row(row));
        let mut said = match expert {
            0 => self.vote(self.evidence.graph, row),
            1 => self.vote(self.evidence.graph_with_lengths?, row),
            2 => raised(
                self.evidence.held_out.posterior(label, vector),
                self.powers[0],
            ),
            3 => raised(
                self.evidence.held_out.class_posterior(label, vector),
                self.powers[1],
            ),
            _ => {
                let given = self.evidence.probabilities?.row(row).iter();
                given.map(|&p| f64::from(p)).collect()
            }
        };
        said.resize(self.counts.len(), 0.0);
        (said.iter().sum::<f64>() > 0.0).then_some(said)
    }

    fn vote(&self, graph: &Graph, row: usize) -> Vec<f64> {
        let voters = graph.neighbours(row).len().min(LABEL_VOTERS);
        let labels = graph.neighbours(row)[..voters].iter();
        let labels: Vec<u32> = labels
            .map(|&other| self.evidence.labels[other as usize])
            .collect();
        let mut vote = vec![0.0; self.counts.len()];
        add_vote(&mut vote, &labels, &graph.distances(row)[..voters], 1.0);
        vote
    }

    /// The power of a posterior under which given labels are the likeliest; 1 where nothing tells.
    fn power(&self, expert: usize) -> f64 {
        let judged =
            (0..self.evidence.labels.len()).filter(|&row| !self.is_rare(self.evidence.labels[row]));
        let step = judged.clone().count().div_ceil(CALIBRATED_MAX).max(1);
        let rows: Vec<usize> = judged.step_by(step).collect();
        let said = parallel::map(rows.len(), |at| self.ask(expert, rows[at]));
        let by_chance = 1.0 / self.counts.len().max(1) as f64;
        let (mut best, mut most) = (1.0, f64::NEG_INFINITY);
        for k in 0..POWERS {
            let power = 0.5_f64.powf(f64::from(k) / 2.0);
            let given = parallel::map(rows.len(), |at| {
                let said = raised(said[at].clone()?, power);
                Some(said[self.evidence.labels[rows[at]] as usize])
            });
            for share in ANYTHING {
                let likelihood = |p: &f64| ((1.0 - share) * p + share * by_chance).ln();
                let all: f64 = given.iter().flatten().map(likelihood).sum();
                if all > most {
                    (best, most) = (power, all);
                }
            }
        }
        best
    }

    /// The share of each expert in p; and whether the client knows labels by heart.
    pub(super) fn weights(&self) -> ([f64; EXPERTS.len()], bool) {
        let rows = self.evidence.labels.len();
        let mut agrees: [Vec<Option<bool>>; EXPERTS.len()] = std::array::from_fn(|expert| {
            parallel::map(rows, |row| {
                let label = self.evidence.labels[row];
                if self.is_rare(label) {
                    return None;
                }
                let said = self.ask(expert, row)?;
                Some(highest(&said) == Some(label as usize))
            })
        });
        // Of the labels that the client speaks of.
        let of = |expert: usize| {
            let pairs = agrees[expert].iter().zip(&agrees[CLIENT]);
            Contradictions::of(pairs.filter_map(|(own, client)| client.and(*own)))
        };
        let mut others: Vec<Contradictions> = (0..CLIENT).map(of).collect();
        others.push(self.evidence.elsewhere);
        let is_by_heart = is_by_heart(of(CLIENT), &others);
        if is_by_heart {
            agrees[CLIENT].fill(None);
        }
        let mut weights = weigh(&agrees);
        if !self.evidence.elsewhere.is_enough() {
            let best = weights[..CLIENT].iter().copied().fold(0.0, f64::max);
            weights[CLIENT] = weights[CLIENT].min(best);
        }
        let sum: f64 = weights.iter().sum();
        weights
            .iter_mut()
            .for_each(|weight| *weight /= sum.max(f64::MIN_POSITIVE));
        (weights, is_by_heart)
    }

    /// The weighted mean of those who speak of a row.
    pub(super) fn combined(&self, weights: &[f64; EXPERTS.len()], row: usize) -> Vec<f64> {
        let mut all = vec![0.0; self.counts.len()];
        let mut spoke = 0.0;
        let heard = weights.iter().enumerate();
        for (expert, &weight) in heard.filter(|(_, weight)| **weight > 0.0) {
            if let Some(said) = self.ask(expert, row) {
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

/// Probabilities to a power, of which there is 1 in all; what is 0 stays so.
pub(super) fn raised(mut said: Vec<f64>, power: f64) -> Vec<f64> {
    if power < 1.0 {
        // Over the highest, which is 1 then, so that not all of them vanish.
        let most = said.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        said.iter_mut().for_each(|p| *p = (*p / most).powf(power));
        let sum: f64 = said.iter().sum();
        said.iter_mut()
            .for_each(|p| *p /= sum.max(f64::MIN_POSITIVE));
    }
    said
}

/// 1 / err^2 of each expert, by whether it agrees with each label; 0 of one that never speaks.
pub(super) fn weigh(agrees: &[Vec<Option<bool>>; EXPERTS.len()]) -> [f64; EXPERTS.len()] {
    let believed: Vec<bool> = (0..agrees[0].len())
        .map(|row| agrees.iter().any(|own| own[row] == Some(true)))
        .collect();
    std::array::from_fn(|expert| {
        let own = &agrees[expert];
        if own.iter().all(Option::is_none) {
            return 0.0;
        }
        let counted = own.iter().zip(&believed).filter(|(_, believed)| **believed);
        let of = Contradictions::of(counted.filter_map(|(agrees, _)| *agrees));
        ((of.of as f64 + 2.0 * BESIDES) / (of.count as f64 + BESIDES)).powi(2)
    })
}
