//! How likely the model is right about a record, by its signals.
//!
//! What must stay true: it is fitted on records of the reference, each as if it were not of it, once for
//! each epoch; what a model says that knows their labels by heart is left out; where a person has said
//! what a record is, that counts.

use std::sync::Arc;

use vermilion_scores::{CorrectnessModel, Signal, SignalSketches, Signals};

use crate::desk::{Desk, Row};
use crate::spaces::Space;
use crate::{Curation, Result};

/// The rank of novelty among the reference from which on a record is new.
const NEW_FROM: f64 = 0.99;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Correctness {
    epoch: u64,
    model: CorrectnessModel,
    /// The share of the records that it was fitted on about which the model is right.
    accuracy: f64,
    /// Whether the model knows the labels of the reference by heart, so that what it said of them does not count.
    is_by_heart: bool,
    /// The novelty above which a record is newer than 99 % of the reference.
    new_above: Option<f32>,
}

impl Correctness {
    /// How likely the model is right: 0 or 1 where a label says so, `None` without signals.
    pub(crate) fn of(&self, row: &Row) -> Option<f64> {
        let labelled = is_right(row).map(|right| f64::from(u8::from(right)));
        labelled.or_else(|| Some(self.model.probability(&row.signals?)))
    }

    /// As [`of`](Self::of) for each of some records of production of which there is anything to tell, where together they
    /// tell how many are of something that training does not have.
    pub(crate) fn of_all<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> Vec<f64> {
        let (mut known, mut signals) = (Vec::new(), Vec::new());
        for row in rows {
            match is_right(row) {
                Some(right) => known.push(f64::from(u8::from(right))),
                None => signals.extend(row.signals),
            }
        }
        known.extend(self.model.probabilities(&signals));
        known
    }

    /// Whether there is a chance of being right to tell of a record.
    pub(crate) fn judges(row: &Row) -> bool {
        row.signals.is_some() || is_right(row).is_some()
    }

    /// The model itself.
    pub(crate) fn model(&self) -> &CorrectnessModel {
        &self.model
    }

    /// How often the model is right about records of the reference.
    pub(crate) fn accuracy_of_training(&self) -> f64 {
        self.accuracy
    }

    /// Whether what the model said of the reference does not count.
    pub(crate) fn is_by_heart(&self) -> bool {
        self.is_by_heart
    }

    /// Whether a record is newer than 99 % of the reference.
    pub(crate) fn is_new(&self, signals: &Signals) -> bool {
        let pair = signals.novelty.zip(self.new_above);
        pair.is_some_and(|(novelty, limit)| novelty > limit)
    }
}

/// Whether the model is right about a record, where a label says so.
fn is_right(row: &Row) -> Option<bool> {
    let (label, class) = row.label.zip(row.class())?;
    Some(label == class)
}

impl Curation {
    /// What tells how likely the model is right, of the present epoch; `None` without a reference, or
    /// where it was told to end.
    pub(crate) fn correctness(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Arc<Correctness>>> {
        let epoch = desk.state.lock().epoch;
        let known = desk.correctness.lock().clone();
        if let Some(known) = known.filter(|known| known.epoch == epoch) {
            return Ok(Some(known));
        }
        let Some(held_out) = self.held_out_signals(space, desk, go_on)? else {
            return Ok(None);
        };
        let (mut signals, mut right) = (Vec::new(), Vec::new());
        let mut sketches = SignalSketches::default();
        for (of_one, label) in &held_out.records {
            sketches.add(of_one);
            signals.push(*of_one);
            right.push(of_one.inferred == Some(*label));
        }
        let made = CorrectnessModel::fit(&signals, &right).map(|model| {
            Arc::new(Correctness {
                epoch: held_out.epoch,
                model,
                accuracy: right.iter().filter(|right| **right).count() as f64 / right.len() as f64,
                is_by_heart: held_out.is_by_heart,
                new_above: sketches
                    .sketch(Signal::Novelty)
                    .percentiles()
                    .value(NEW_FROM),
            })
        });
        desk.correctness.lock().clone_from(&made);
        Ok(made)
    }
}
