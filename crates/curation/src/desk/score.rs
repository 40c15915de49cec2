//! Signals of records that have none yet, or those of an earlier reference.
//!
//! What must stay true: neighbours are read without a lock; what moved meanwhile takes no signals that
//! were made for something else.

use std::sync::Arc;

use vermilion_scores::{Evidence, HeldOut, PRODUCTION_MIN, SignalSketches, Signals, VOTERS};

use super::state::Reference;
use super::{Desk, Near, Row, Said, State, of_context};
use crate::fields::Context;
use crate::spaces::Space;
use crate::{Curation, Result};

/// Records that are scored at once: some ten milliseconds.
pub(crate) const CHUNK: usize = 128;
/// Records of the reference that stand for all of it while production has few.
const HELD_OUT_MAX: usize = 2000;

/// A record of the reference: its id, vector, label and what the model said.
type Held = (String, Vec<f32>, u32, Said);

/// Signals of records of the reference, each as if it were not of it.
pub(crate) struct HeldOutSignals {
    pub(crate) epoch: u64,
    /// Each with its label.
    pub(crate) records: Vec<(Signals, u32)>,
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
        self.score_held_out(space, desk, go_on)?;
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
        let near = self.nearest(
            space,
            dimension,
            vectors.values(),
            Some(&of_context(Context::Training)),
            VOTERS,
        )?;
        let reduced = reference.reduced(vectors.values(), dimension);
        let rows = reduced.chunks_exact(reference.classes.dimension());
        let mut state = desk.state.lock();
        for ((at, row), near) in rows.enumerate().zip(&near) {
            let id = found.ids.get(at);
            let Some(known) = state.rows.get(id) else {
                continue;
            };
            let (said, print) = (known.said(), known.print);
            let signals = signals(&state, &reference, row, &said, near);
            state.score(id, print, signals, reference.epoch);
        }
        Ok(())
    }

    /// While few records of production have signals, however many there are, ranks are among those of the
    /// reference, each as if it were not of it.
    pub(crate) fn score_held_out(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<()> {
        let wanted = {
            let state = desk.state.lock();
            let enough = state.production.records() >= PRODUCTION_MIN;
            let known = |reference: &Arc<Reference>| state.held_out.0 == reference.epoch;
            !enough && !state.reference.as_ref().is_none_or(known)
        };
        if !wanted {
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
            state.note_held_out(held_out.epoch, sketches);
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
        let among = of_context(Context::Training);
        let mut records = Vec::with_capacity(sample.len());
        for part in sample.chunks(CHUNK) {
            if !go_on() {
                return Ok(None);
            }
            let vectors: Vec<f32> = part.iter().flat_map(|one| one.1.iter().copied()).collect();
            let dimension = part[0].1.len();
            let near = self.nearest(space, dimension, &vectors, Some(&among), VOTERS + 1)?;
            let reduced = reference.reduced(&vectors, dimension);
            let rows = reduced.chunks_exact(reference.classes.dimension());
            let state = desk.state.lock();
            for ((row, (id, _, label, said)), near) in rows.zip(part).zip(near) {
                let others: Near = near.into_iter().filter(|one| one.id != *id).collect();
                let (labels, distances) = labels_of(&state, &others);
                let evidence = evidence(row, said, &labels, &distances);
                let signals = Signals::held_out(&held_out, &reference.classes, *label, &evidence);
                records.push((signals, *label));
            }
        }
        Ok(Some(HeldOutSignals {
            epoch: reference.epoch,
            records,
        }))
    }
}

/// The signals of a vector, in the dimensions of the reference, with these neighbours.
pub(crate) fn signals(
    state: &State,
    reference: &Reference,
    row: &[f32],
    said: &Said,
    near: &Near,
) -> Signals {
    let (labels, distances) = labels_of(state, near);
    Signals::of(
        &reference.classes,
        &evidence(row, said, &labels, &distances),
    )
}

/// Labels and distances of the neighbours that have a label.
fn labels_of(state: &State, near: &Near) -> (Vec<u32>, Vec<f32>) {
    let labelled = near.iter().filter_map(|one| {
        let label = state.rows.get(&one.id)?.label?;
        Some((label, one.distance))
    });
    labelled.take(VOTERS).unzip()
}

fn evidence<'a>(
    row: &'a [f32],
    said: &'a Said,
    labels: &'a [u32],
    distances: &'a [f32],
) -> Evidence<'a> {
    Evidence {
        row,
        inferred: said.inferred,
        // The two highest say all that uncertainty asks.
        probabilities: said.top.as_ref().map(|top| &top[..]),
        neighbour_labels: labels,
        neighbour_distances: distances,
    }
}
