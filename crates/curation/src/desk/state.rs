//! The rows of a desk, and what is summed over them.
//!
//! What must stay true: whatever changes a row changes the sums and counts with it, so that nobody has to
//! look at all rows to know them; the epoch moves whenever the reference does, and is the position of the
//! log at which it was seen to. A reference that is read again after a restart keeps its epoch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use vermilion_scores::{
    ClassStatistics, Contradictions, DIMENSIONS_MAX, FittedClasses, Matrix, Reduction,
    SignalPercentiles, SignalSketches, SignalWeights,
};

use super::tally::Tally;
use super::{Row, Scored};
use crate::fields::Context;

/// Texts by number, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    /// The number of `name`, a new one if it is new.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let (name, number): (Arc<str>, u32) = (name.into(), self.names.len() as u32);
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    /// The number of a name that came before.
    pub(crate) fn known(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The name with this number.
    pub(crate) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", |name| name)
    }
}

/// What vectors are compared with.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) reduction: Option<Reduction>,
    pub(crate) statistics: ClassStatistics,
    pub(crate) classes: FittedClasses,
    pub(crate) epoch: u64,
}

impl Reference {
    /// Vectors in the dimensions of the class statistics.
    pub(crate) fn reduced(&self, vectors: &[f32], dimension: usize) -> Vec<f32> {
        match &self.reduction {
            Some(reduction) => reduction.apply(Matrix::new(vectors, dimension)),
            None => vectors.to_vec(),
        }
    }
}

/// A reference and the epoch that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) epoch: u64,
    /// Of the ids, the labels, the vectors and what the model said of them, in any order.
    pub(crate) print: u64,
}

/// What is made of scores is made while at most one in so many records waits for them.
const MOSTLY: usize = 20;
/// Signals may change by one in so many before ranks that need not be exact are taken anew.
const ABOUT: u64 = 200;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By id, so that whatever depends on their order does not depend on how they came.
    pub(crate) rows: BTreeMap<String, Row>,
    pub(crate) classes: Names,
    pub(crate) groups: Names,
    /// Sums of the reference, where vectors are short enough to be summed as they are.
    statistics: Option<ClassStatistics>,
    reference_moved: bool,
    /// See [`Mark`].
    reference_print: u64,
    /// What was known of the reference before a restart, until the first records are settled.
    remembered: Option<Mark>,
    pub(crate) reference: Option<Arc<Reference>>,
    /// The position of the log that all of this is as of.
    pub(crate) as_of: u64,
    /// The position at which the reference moved last.
    pub(crate) epoch: u64,
    /// Rises with whatever a list is made from.
    pub(crate) changes: u64,
    /// Signals of production.
    pub(crate) production: SignalSketches,
    /// Signals of the reference as if each were not of it, of which epoch, and what they tell.
    pub(crate) held_out: (u64, SignalSketches, SignalWeights),
    percentiles: Option<Arc<SignalPercentiles>>,
    /// Signals of production that came or went since `percentiles` were made.
    moved: u64,
    tally: Tally,
    /// Rows of each context.
    counts: [usize; Context::ALL.len()],
    /// Rows whose signals are missing or of an earlier reference.
    stale: BTreeSet<String>,
}

impl State {
    /// Puts a row in the place of the one that has its id. What the old one's signals were made from
    /// being the same, they stay.
    pub(crate) fn put(&mut self, id: &str, mut row: Row) {
        self.changes += 1;
        let old = self.rows.remove(id);
        self.tally.change(old.as_ref(), Some(&row));
        if let Some(old) = &old
            && old.is_reference()
            && row.is_reference()
            && (old.print, old.label) == (row.print, row.label)
        {
            self.rows.insert(id.to_owned(), row);
            return;
        }
        if let Some(old) = old {
            self.take_back(id, &old);
            let same = old.print == row.print && old.is_scored() && row.is_scored();
            if let Some(signals) = old.signals.filter(|_| same) {
                row.signals = Some(signals);
                row.rival = old.rival;
                row.scored = old.scored;
            }
        }
        if row.is_production()
            && let Some(signals) = &row.signals
        {
            self.production.add(signals);
            self.moved += 1;
        }
        self.count_reference(id, &row, true);
        if let Some(context) = row.context {
            self.counts[context as usize] += 1;
        }
        if row.is_scored() && !self.is_fresh(&row) {
            self.stale.insert(id.to_owned());
        } else {
            self.stale.remove(id);
        }
        self.rows.insert(id.to_owned(), row);
    }

    /// Takes a row away.
    pub(crate) fn remove(&mut self, id: &str) {
        if let Some(old) = self.rows.remove(id) {
            self.changes += 1;
            self.tally.change(Some(&old), None);
            self.stale.remove(id);
            self.take_back(id, &old);
        }
    }

    /// As [`Self::score`], of a row that has no signals of this epoch.
    pub(crate) fn score_stale(&mut self, id: &str, print: u64, scored: Scored, epoch: u64) {
        if self.stale.contains(id) {
            self.score(id, print, scored, epoch);
        }
    }

    /// Gives a row its signals of `epoch`, if it is the one that they were made for.
    pub(crate) fn score(&mut self, id: &str, print: u64, scored: Scored, epoch: u64) {
        let Scored { signals, rival } = scored;
        let Some(row) = self.rows.get_mut(id) else {
            return;
        };
        if row.print != print || !row.is_scored() || epoch != self.epoch {
            return;
        }
        // Two who score the same record at once change it once.
        if row.signals == Some(signals) && row.scored == epoch {
            return;
        }
        self.changes += 1;
        if row.is_production() {
            if let Some(old) = &row.signals {
                self.production.remove(old);
            }
            self.production.add(&signals);
            self.moved += 1;
        }
        row.signals = Some(signals);
        row.rival = rival;
        row.scored = epoch;
        self.stale.remove(id);
    }

    fn take_back(&mut self, id: &str, old: &Row) {
        if old.is_production()
            && let Some(signals) = &old.signals
        {
            self.production.remove(signals);
            self.moved += 1;
        }
        if let Some(context) = old.context {
            self.counts[context as usize] -= 1;
        }
        self.count_reference(id, old, false);
    }

    /// Adds a row to the sums of the reference, or takes it back.
    fn count_reference(&mut self, id: &str, row: &Row, add: bool) {
        let (Some(vector), Some(label), true) = (&row.vector, row.label, row.is_reference()) else {
            return;
        };
        self.reference_moved = true;
        let mut hasher = DefaultHasher::new();
        (id, self.classes.name(label), row.print).hash(&mut hasher);
        self.reference_print = if add {
            self.reference_print.wrapping_add(hasher.finish())
        } else {
            self.reference_print.wrapping_sub(hasher.finish())
        };
        if vector.len() > DIMENSIONS_MAX {
            return;
        }
        let statistics = self
            .statistics
            .get_or_insert_with(|| ClassStatistics::new(vector.len()));
        if add {
            statistics.add(label, vector);
        } else {
            statistics.remove(label, vector);
        }
    }

    /// Says that all rows are as of `seq`; fits the reference where it moved.
    pub(crate) fn settle(&mut self, seq: u64) {
        self.as_of = seq;
        let same = |known: &Mark| known.print == self.reference_print && known.epoch <= seq;
        let remembered = self.remembered.take().filter(same);
        if !self.reference_moved {
            self.epoch = remembered.map_or(self.epoch, |known| known.epoch);
            return;
        }
        self.reference_moved = false;
        self.changes += 1;
        self.epoch = remembered.map_or(seq, |known| known.epoch);
        let scored = self.rows.iter().filter(|(_, row)| row.is_scored());
        self.stale = scored.map(|(id, _)| id.clone()).collect();
        let references = self.rows.values().filter(|row| row.is_reference());
        let mut labels = Vec::new();
        let mut vectors: Vec<f32> = Vec::new();
        let mut dimension = 0;
        for (row, vector) in references.filter_map(|row| row.vector.as_ref().map(|v| (row, v))) {
            labels.extend(row.label);
            dimension = vector.len();
            if dimension > DIMENSIONS_MAX {
                vectors.extend_from_slice(vector);
            }
        }
        if labels.is_empty() {
            (self.reference, self.statistics) = (None, None);
            return;
        }
        let (reduction, statistics) = if dimension > DIMENSIONS_MAX {
            let matrix = Matrix::new(&vectors, dimension);
            let reduction = Reduction::fit(matrix, DIMENSIONS_MAX, 0);
            let reduced = reduction.apply(matrix);
            let statistics = ClassStatistics::of(Matrix::new(&reduced, DIMENSIONS_MAX), &labels);
            (Some(reduction), Some(statistics))
        } else {
            (None, self.statistics.clone())
        };
        self.reference = statistics.map(|statistics| {
            Arc::new(Reference {
                reduction,
                classes: statistics.fit(),
                statistics,
                epoch: self.epoch,
            })
        });
    }

    /// Says what was known of the reference before anything is read.
    pub(crate) fn remember(&mut self, known: Option<Mark>) {
        self.remembered = known;
    }

    /// The reference and its epoch.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            epoch: self.epoch,
            print: self.reference_print,
        }
    }

    /// Whether so few records have no signals of this epoch that what is made of signals need not wait for them.
    pub(crate) fn is_mostly_scored(&self) -> bool {
        let scored = self.count(Context::Production) + self.count(Context::Triage);
        self.reference.is_none() || self.stale.len() * MOSTLY <= scored
    }

    /// How often what the model said of labelled records that are no training data contradicts the label.
    pub(crate) fn contradictions_elsewhere(&self) -> Contradictions {
        let elsewhere = [Some(Context::Production), Some(Context::Test)];
        let rows = self
            .rows
            .values()
            .filter(|row| elsewhere.contains(&row.context));
        Contradictions::of(rows.filter_map(|row| Some(row.label? == row.inferred?)))
    }

    /// What ranks of signals are taken among.
    pub(crate) fn percentiles(&mut self) -> Arc<SignalPercentiles> {
        self.percentiles_but_for(0)
    }

    /// The same, but that one signal in [`ABOUT`] may be missing: for what is told of a record at once
    /// and is told again, exactly, whenever it is asked for.
    pub(crate) fn percentiles_about(&mut self) -> Arc<SignalPercentiles> {
        self.percentiles_but_for(self.count(Context::Production) as u64 / ABOUT)
    }

    fn percentiles_but_for(&mut self, missing: u64) -> Arc<SignalPercentiles> {
        if let Some(made) = self.percentiles.as_ref().filter(|_| self.moved <= missing) {
            return made.clone();
        }
        let made = self.production.percentiles(&self.held_out.1);
        let made = Arc::new(made.weighted(self.held_out.2));
        self.moved = 0;
        self.percentiles = Some(made.clone());
        made
    }

    /// Notes the signals of the reference as if each record were not of it.
    pub(crate) fn note_held_out(
        &mut self,
        epoch: u64,
        (sketches, weights): (SignalSketches, SignalWeights),
    ) {
        if self.held_out.0 == epoch {
            return;
        }
        self.changes += 1;
        self.held_out = (epoch, sketches, weights);
        self.percentiles = None;
    }

    /// Whether a row is of this dataset.
    pub(crate) fn has_dataset(&self, name: &str) -> bool {
        self.tally.has_dataset(name)
    }

    /// How many rows there are of what.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Between which times rows were observed: seconds since 1970.
    pub(crate) fn observed(&mut self) -> Option<(f64, f64)> {
        self.tally.observed(self.rows.values())
    }

    /// How many rows have signals that are missing or of an earlier reference.
    pub(crate) fn stale(&self) -> usize {
        self.stale.len()
    }

    /// The ids of the first `count` of them that come after `id`.
    pub(crate) fn stale_after(&self, id: Option<&String>, count: usize) -> Vec<String> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        let stale = self.stale.range::<String, _>((from, Bound::Unbounded));
        stale.take(count).cloned().collect()
    }

    /// Whether the signals of a row are of this epoch.
    fn is_fresh(&self, row: &Row) -> bool {
        row.signals.is_some() && row.scored == self.epoch
    }

    /// How many rows there are of the reference.
    pub(crate) fn references(&self) -> usize {
        let reference = self.reference.as_ref();
        reference.map_or(0, |reference| reference.statistics.count() as usize)
    }

    /// How many rows there are of a context.
    pub(crate) fn count(&self, context: Context) -> usize {
        self.counts[context as usize]
    }
}
