//! Signals of records that have none yet, or those of an earlier reference.
//!
//! What must stay true: neighbours are read without a lock; what moved meanwhile takes no signals that
//! were made for something else. What a model says of the reference counts only where it was not learned
//! by heart.

use std::sync::Arc;

use vermilion_scores::{
    Contradictions, EXAMPLES_MIN, Evidence, HeldOut, Matrix, Measured, Neighbours, PRODUCTION_MIN,
    SignalSketches, SignalWeights, Signals, VOTERS, is_by_heart,
};

use super::state::Reference;
use super::{Desk, Near, NearTraining, Rival, Row, Said, State};
use crate::spaces::Space;
use crate::{Curation, Result};

/// Records that are scored at once: some ten milliseconds.
pub(crate) const CHUNK: usize = 128;
/// Records of the reference that stand for all of it.
const HELD_OUT_MAX: usize = 2000;

/// A record of the reference: its id, vector, label and what the model said.
type Held = (String, Vec<f32>, u32, Said);

/// Signals of records of the reference, each as if it were not of it.
pub(crate) struct HeldOutSignals {
    pub(crate) epoch: u64,
    /// Each with its label.
    pub(crate) records: Vec<(Signals, u32)>,
    /// Whether the model knows the labels by heart, so that what it says of them does not count.
    pub(crate) is_by_heart: bool,
    /// What each signal tells, whatever the model said.
    weights: SignalWeights,
}

/// Signals of a record of the reference as if it were not of it.
struct Judged {
    /// By what the model said.
    told: Signals,
    /// As if the model had said nothing.
    untold: Signals,
    /// As if its class were not of it either.
    unknown: Signals,
    label: u32,
    /// Whether the model said which class it is, and there are enough examples of the label to judge that.
    counts: bool,
}

impl Curation {
    /// Scores all records that want it while `go_on` says so; how many it scored.
    pub(crate) fn score(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<usize> {
        if desk.state.lock().reference.is_none() {
            return Ok(0);
        }
        self.measure_held_out(space, desk, go_on)?;
        let (mut scored, mut last) = (0, None);
        while go_on() {
            let ids = desk.state.lock().stale_after(last.as_ref(), CHUNK);
            if ids.is_empty() {
                break;
            }
            self.score_chunk(space, desk, &ids)?;
            Self::note_scored(desk, &ids);
            scored += ids.len();
            last = ids.into_iter().next_back();
        }
        Ok(scored)
    }

    /// Scores these records.
    fn score_chunk(&self, space: &Space, desk: &Desk, ids: &[String]) -> Result<()> {
        let Some(reference) = desk.state.lock().reference.clone() else {
            return Ok(());
        };
        let found = self.fetch_vectors(space, ids)?;
        let vectors = found.embeddings.unwrap_or_default();
        let dimension = vectors.dimension();
        if dimension == 0 {
            return Ok(());
        }
        let near = self.nearest_training(space, desk, Matrix::new(vectors.values(), dimension))?;
        let reduced = reference.reduced(vectors.values(), dimension);
        let rows = reduced.chunks_exact(reference.classes.dimension());
        let mut state = desk.state.lock();
        for ((at, row), near) in rows.enumerate().zip(&near) {
            let id = found.ids.get(at);
            let Some(known) = state.rows.get(id) else {
                continue;
            };
            let (said, print) = (known.said(), known.print);
            let scored = scored(&state, &reference, row, &said, near);
            state.score(id, print, scored, reference.epoch);
        }
        Ok(())
    }

    /// While few records of production have signals, however many there are, ranks are among those of the
    /// reference, each as if it were not of it. When there are more, signals count until the next scoring as
    /// the reference before told.
    pub(crate) fn score_held_out(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<()> {
        if desk.state.lock().production.records() >= PRODUCTION_MIN {
            return Ok(());
        }
        self.measure_held_out(space, desk, go_on)
    }

    /// Scores the reference, once for each epoch: what signals tell on it says how much they count.
    fn measure_held_out(&self, space: &Space, desk: &Desk, go_on: &dyn Fn() -> bool) -> Result<()> {
        let is_known = {
            let state = desk.state.lock();
            let known = |reference: &Arc<Reference>| state.held_out.0 == reference.epoch;
            state.reference.as_ref().is_none_or(known)
        };
        if is_known {
            return Ok(());
        }
        let Some(held_out) = self.held_out_signals(space, desk, go_on)? else {
            return Ok(());
        };
        let mut sketches = SignalSketches::default();
        let all = held_out.records.iter();
        all.for_each(|(signals, _)| sketches.add(signals));
        let mut state = desk.state.lock();
        if state.epoch == held_out.epoch {
            state.note_held_out(held_out.epoch, (sketches, held_out.weights));
        }
        Ok(())
    }

    /// Signals of the reference, of a part of it where it is large, each record as if it were not of
    /// it, and its label; `None` without a reference, or where it was told to end.
    pub(crate) fn held_out_signals(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<HeldOutSignals>> {
        let (reference, sample): (Arc<Reference>, Vec<Held>) = {
            let state = desk.state.lock();
            let Some(reference) = state.reference.clone() else {
                return Ok(None);
            };
            let taken = |(id, row): (&String, &Row)| {
                let label = row.label.filter(|label| reference.classes.knows(*label))?;
                Some((id.clone(), row.vector.clone()?, label, row.said()))
            };
            let rows = state.rows.iter().filter(|(_, row)| row.is_reference());
            let step = rows.clone().count().div_ceil(HELD_OUT_MAX).max(1);
            let sample = rows.filter_map(taken).step_by(step).collect();
            (reference, sample)
        };
        let held_out = HeldOut::new(&reference.statistics);
        let mut judged = Vec::with_capacity(sample.len());
        for part in sample.chunks(CHUNK) {
            if !go_on() {
                return Ok(None);
            }
            let vectors: Vec<f32> = part.iter().flat_map(|one| one.1.iter().copied()).collect();
            let dimension = part[0].1.len();
            let near = self.nearest_training(space, desk, Matrix::new(&vectors, dimension))?;
            let reduced = reference.reduced(&vectors, dimension);
            let rows = reduced.chunks_exact(reference.classes.dimension());
            let state = desk.state.lock();
            for ((row, (id, _, label, said)), near) in rows.zip(part).zip(near) {
                let others = near.but(Some(id), VOTERS);
                let labelled = Labelled::of(&state, &others);
                let signals = |said: &Said| {
                    let evidence = evidence(row, said, &labelled);
                    Signals::held_out(&held_out, &reference.classes, *label, &evidence)
                };
                let untold = signals(&Said::default());
                let nothing = Said::default();
                let evidence = evidence(row, &nothing, &labelled);
                let has_said = said.inferred.is_some() || said.unsure.is_some();
                let examples = reference.statistics.classes()[*label as usize].count();
                judged.push(Judged {
                    told: if has_said { signals(said) } else { untold },
                    untold,
                    unknown: Signals::without_class(
                        &held_out,
                        &reference.classes,
                        *label,
                        &evidence,
                    ),
                    label: *label,
                    counts: said.inferred.is_some() && examples >= EXAMPLES_MIN,
                });
            }
        }
        let elsewhere = desk.state.lock().contradictions_elsewhere();
        Ok(Some(HeldOutSignals::of(
            reference.epoch,
            &judged,
            elsewhere,
        )))
    }
}

impl HeldOutSignals {
    /// What the model said counts unless it knows the labels by heart.
    fn of(epoch: u64, judged: &[Judged], elsewhere: Contradictions) -> Self {
        let contradicts = |of: fn(&Judged) -> &Signals| {
            let counted = judged.iter().filter(|one| one.counts);
            Contradictions::of(counted.map(|one| of(one).inferred == Some(one.label)))
        };
        let told = contradicts(|one| &one.told);
        let is_by_heart = is_by_heart(told, &[contradicts(|one| &one.untold), elsewhere]);
        let record = |one: &Judged| {
            // How sure a model is that knows them by heart, and how sure class statistics are, are different things.
            let untold = Signals {
                uncertainty: None,
                ..one.untold
            };
            let signals = if is_by_heart { untold } else { one.told };
            (signals, one.label)
        };
        let measured = |one: &Judged| Measured {
            signals: one.untold,
            is_right: one.untold.inferred == Some(one.label),
            unknown: one.unknown,
        };
        let measured: Vec<Measured> = judged.iter().map(measured).collect();
        Self {
            epoch,
            records: judged.iter().map(record).collect(),
            is_by_heart,
            weights: SignalWeights::of(&measured),
        }
    }
}

/// What the training records around a vector tell of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scored {
    pub(crate) signals: Signals,
    pub(crate) rival: Rival,
}

/// The score of a vector, in the dimensions of the reference, with these neighbours.
pub(crate) fn scored(
    state: &State,
    reference: &Reference,
    row: &[f32],
    said: &Said,
    near: &NearTraining,
) -> Scored {
    let labelled = Labelled::of(state, near);
    let signals = Signals::of(&reference.classes, &evidence(row, said, &labelled));
    let [_, (labels, _)] = &labelled.0;
    Scored {
        rival: Rival::of(signals.inferred, labels.iter().copied()),
        signals,
    }
}

/// Labels and distances of the neighbours that have a label, and of those that vote.
struct Labelled([(Vec<u32>, Vec<f32>); 2]);

impl Labelled {
    fn of(state: &State, near: &NearTraining) -> Self {
        let labels_of = |near: &Near| {
            let labelled = near.iter().filter_map(|one| {
                let label = state.rows.get(&one.id)?.label?;
                Some((label, one.distance))
            });
            labelled.take(VOTERS).unzip()
        };
        Self([&near.near, near.voters()].map(labels_of))
    }

    fn told(&self) -> [Neighbours<'_>; 2] {
        self.0
            .each_ref()
            .map(|(labels, distances)| Neighbours { labels, distances })
    }
}

fn evidence<'a>(row: &'a [f32], said: &'a Said, labelled: &'a Labelled) -> Evidence<'a> {
    let [near, voters] = labelled.told();
    Evidence {
        row,
        inferred: said.inferred,
        probabilities: None,
        uncertainty: said.unsure,
        near,
        voters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many records of the reference, of which the model and the server contradict some.
    fn judged(all: usize, wrong: usize, by_server: usize) -> Vec<Judged> {
        let signals = |class: u32, uncertainty: f32| Signals {
            inferred: Some(class),
            uncertainty: Some(uncertainty),
            ..Signals::default()
        };
        let one = |at: usize| Judged {
            told: signals(u32::from(at < wrong), 0.1),
            untold: signals(u32::from(at < by_server), 0.3),
            unknown: Signals::default(),
            label: 0,
            counts: true,
        };
        (0..all).map(one).collect()
    }

    #[test]
    fn signals_weigh_what_they_tell_whatever_the_model_said() {
        let with = |told: f32| {
            let mut all = judged(200, 30, 40);
            for (at, one) in all.iter_mut().enumerate() {
                // Those that the server gets wrong are nearer than the others.
                one.untold.novelty = Some(if at < 40 { 0.1 } else { 0.5 });
                one.untold.disagreement = Some(if at < 40 { 0.9 } else { 0.1 });
                one.told = Signals {
                    novelty: Some(told),
                    ..one.told
                };
            }
            HeldOutSignals::of(1, &all, Contradictions::default()).weights
        };
        assert_eq!(with(0.1), with(0.9));
        let mut state = State::default();
        let near = Signals {
            novelty: Some(-1.0),
            disagreement: Some(2.0),
            ..Signals::default()
        };
        let mut sketches = SignalSketches::default();
        sketches.add(&Signals {
            novelty: Some(0.5),
            disagreement: Some(0.5),
            ..Signals::default()
        });
        state.note_held_out(1, (sketches.clone(), SignalWeights::default()));
        assert_eq!(state.percentiles().trouble(&near).value, Some(0.5));
        state.note_held_out(2, (sketches, with(0.1)));
        assert_eq!(state.percentiles().trouble(&near).value, Some(1.0));
    }

    #[test]
    fn what_a_model_says_that_knows_labels_by_heart_does_not_count() {
        let nothing = Contradictions::default();
        let found = HeldOutSignals::of(1, &judged(200, 0, 40), nothing);
        assert!(found.is_by_heart && found.records.len() == 200);
        let wrong = |found: &HeldOutSignals| {
            let wrong = |one: &&(Signals, u32)| one.0.inferred != Some(one.1);
            found.records.iter().filter(wrong).count()
        };
        assert_eq!(wrong(&found), 40);
        assert!(found.records.iter().all(|one| one.0.uncertainty.is_none()));
        let believed = HeldOutSignals::of(1, &judged(200, 30, 40), nothing);
        assert!(!believed.is_by_heart && wrong(&believed) == 30);
        assert_eq!(believed.records[0].0.uncertainty, Some(0.1));
        // Labelled records that are no training data vouch for it.
        let vouched = Contradictions { count: 0, of: 500 };
        assert!(!HeldOutSignals::of(1, &judged(200, 0, 40), vouched).is_by_heart);
    }
}
