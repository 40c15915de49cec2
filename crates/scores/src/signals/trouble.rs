//! Signals as ranks among those of production, and their mean.
//!
//! What must stay true: a rank is in [0, 1] and comparable between signals; a signal that is missing takes no part.

use serde::{Deserialize, Serialize};

use super::{SignalWeights, Signals};
use crate::sketch::{Percentiles, QuantileSketch};

/// Production records from which on ranks are among production alone, no longer among training.
pub const PRODUCTION_MIN: u64 = 200;

/// One of the four signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// How undecided the model is.
    Uncertainty,
    /// How far the record is from its class.
    ClassDistance,
    /// How far it is from all training records.
    Novelty,
    /// How many of its neighbours have another label.
    Disagreement,
}

impl Signal {
    /// All, in the order in which arrays hold them.
    pub const ALL: [Self; 4] = [
        Self::Uncertainty,
        Self::ClassDistance,
        Self::Novelty,
        Self::Disagreement,
    ];

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uncertainty => "uncertainty",
            Self::ClassDistance => "class_distance",
            Self::Novelty => "novelty",
            Self::Disagreement => "disagreement",
        }
    }
}

impl Signals {
    /// The values in the order of [`Signal::ALL`].
    pub fn values(&self) -> [Option<f32>; 4] {
        [
            self.uncertainty,
            self.class_distance,
            self.novelty,
            self.disagreement,
        ]
    }
}

/// The distributions of the signals over some records; mergeable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SignalSketches {
    records: u64,
    sketches: [QuantileSketch; 4],
}

impl SignalSketches {
    /// How many records were added and not removed.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The distribution of one signal.
    pub fn sketch(&self, signal: Signal) -> &QuantileSketch {
        &self.sketches[signal as usize]
    }

    /// Adds a record.
    pub fn add(&mut self, signals: &Signals) {
        self.records += 1;
        for (sketch, value) in self.sketches.iter_mut().zip(signals.values()) {
            sketch.extend(value);
        }
    }

    /// Takes back a record that was added.
    pub fn remove(&mut self, signals: &Signals) {
        self.records = self.records.saturating_sub(1);
        for (sketch, value) in self.sketches.iter_mut().zip(signals.values()) {
            value.map(|value| sketch.remove(value));
        }
    }

    /// Adds all records of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.records += other.records;
        for (ours, theirs) in self.sketches.iter_mut().zip(&other.sketches) {
            ours.merge(theirs);
        }
    }

    /// What ranks are taken among: these records of production, or `training` (their signals as if each were not of
    /// the training data) while production has fewer than 200.
    pub fn percentiles(&self, training: &Self) -> SignalPercentiles {
        let enough = self.records >= PRODUCTION_MIN || training.records == 0;
        let chosen = if enough { self } else { training };
        SignalPercentiles {
            from_training: !enough,
            weights: SignalWeights::default(),
            percentiles: std::array::from_fn(|at| {
                // A signal that only production has is ranked among production from the start.
                let sketch = &chosen.sketches[at];
                if sketch.count() == 0 {
                    &self.sketches[at]
                } else {
                    sketch
                }
                .percentiles()
            }),
        }
    }
}

/// The distributions ready to be asked for ranks.
#[derive(Clone, Debug, Default)]
pub struct SignalPercentiles {
    from_training: bool,
    weights: SignalWeights,
    percentiles: [Percentiles; 4],
}

/// How likely a record is wrong or new, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trouble {
    /// The weighted mean of the ranks that there are, in [0, 1]; `None` where there is none.
    pub value: Option<f64>,
    /// The rank of each signal in the order of [`Signal::ALL`].
    pub ranks: [Option<f64>; 4],
    /// How much of `value` each rank counts; they sum to 1.
    pub shares: [Option<f64>; 4],
}

impl Trouble {
    /// The signals that could not be computed.
    pub fn missing(&self) -> impl Iterator<Item = Signal> + '_ {
        Signal::ALL
            .into_iter()
            .filter(|&signal| self.ranks[signal as usize].is_none())
    }
}

impl SignalPercentiles {
    /// Whether ranks are among training records, since production has too few.
    pub fn from_training(&self) -> bool {
        self.from_training
    }

    /// The same, with signals that count so much.
    #[must_use]
    pub fn weighted(self, weights: SignalWeights) -> Self {
        Self { weights, ..self }
    }

    /// How much signals count.
    pub fn weights(&self) -> &SignalWeights {
        &self.weights
    }

    /// The rank of a value of a signal, in [0, 1].
    pub fn rank(&self, signal: Signal, value: f32) -> f64 {
        self.percentiles[signal as usize].rank(value)
    }

    /// The distribution of a signal.
    pub fn of(&self, signal: Signal) -> &Percentiles {
        &self.percentiles[signal as usize]
    }

    /// The ranks of a record's signals and their weighted mean.
    pub fn trouble(&self, signals: &Signals) -> Trouble {
        let values = signals.values();
        let ranks: [Option<f64>; 4] =
            std::array::from_fn(|at| values[at].map(|value| self.percentiles[at].rank(value)));
        let shares = self.weights.shares(ranks.map(|rank| rank.is_some()));
        let counted = ranks.iter().zip(shares);
        let counted = counted.filter_map(|(rank, share)| Some((*rank)? * share?));
        Trouble {
            value: counted.reduce(|sum, part| sum + part),
            ranks,
            shares,
        }
    }
}
