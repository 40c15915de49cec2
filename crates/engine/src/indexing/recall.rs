//! Holds searches of a collection to what was asked of them: some are made again exactly, and where
//! too little was found the indexes are read further from then on.
//!
//! What must stay true: an index is only corrected where the collection as a whole found too little,
//! and what the correction is for is found after it; less is read again only while that finds
//! amply. Searches that go on meanwhile are answered all along.

use std::sync::Arc;

use serde::Serialize;

use super::LiveCollection;
use super::samples::Samples;
use crate::Result;
use crate::model::SegmentId;
use crate::query::{Rechecked, Snapshot, Tally, recheck, tally};
use crate::segments::vector::{STEPS_MAX, VectorFile, Watch};
use crate::storage::Storage;

/// Steps of correction at which an index is written anew, calibrated for what is asked now.
const DRIFTED_STEPS: u32 = 2;

/// What a check of a collection's searches found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RecallReport {
    /// Searches that were made again.
    pub(crate) searches: usize,
    /// The share of the nearest records that was asked for, and the share that was found.
    pub(crate) asked: f64,
    pub(crate) measured: f64,
    /// The share that is found after the check.
    pub(crate) corrected: f64,
    /// Indexes that are read further than their tables say.
    pub(crate) segments: Vec<CorrectedSegment>,
}

/// An index that is read further than its table says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct CorrectedSegment {
    /// Its segment.
    pub(crate) segment: String,
    /// Rows of the table by which.
    pub(crate) steps: u32,
    /// The share of the nearest records in it that searches found.
    pub(crate) measured: f64,
}

impl LiveCollection {
    /// The searches that were kept to be made again.
    pub(crate) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Makes the searches that were kept again, exactly, and corrects the indexes by what they
    /// missed; `None` where there was none, or `go_on` answered `false`.
    pub(crate) fn check_recall(
        &self,
        storage: &dyn Storage,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<RecallReport>> {
        let snapshot = self.load(storage)?.snapshot.load_full();
        let searches = self.samples.take();
        let dimension = snapshot.dimension.unwrap_or(0) as usize;
        let fitting = searches
            .into_iter()
            .filter(|one| one.vector.len() == dimension);
        let Some(rechecked) = recheck(&snapshot, fitting.collect(), go_on)? else {
            return Ok(None);
        };
        if rechecked.is_empty() {
            return Ok(None);
        }
        let before = tally(&snapshot, &rechecked)?;
        for (watch, tally) in watches(&snapshot).zip(&before) {
            if let Some(watch) = watch {
                watch.note(tally.wanted, tally.found);
            }
        }
        let measured = sum(&before);
        self.samples.note_checked(rechecked.len() as u64, &measured);
        let after = correct(&snapshot, &rechecked, before)?;
        Ok(Some(RecallReport {
            searches: rechecked.len(),
            asked: measured.asked_share(),
            measured: measured.found_share(),
            corrected: after.found_share(),
            segments: self.corrected_segments(),
        }))
    }

    /// Indexes that are read further than their tables say.
    pub(crate) fn corrected_segments(&self) -> Vec<CorrectedSegment> {
        let corrected = self.watched_segments().into_iter();
        let corrected = corrected.filter(|(_, steps, _)| *steps > 0);
        corrected
            .map(|(id, steps, (wanted, found))| CorrectedSegment {
                segment: id.to_string(),
                steps,
                measured: found as f64 / (wanted as f64).max(1.0),
            })
            .collect()
    }

    /// Segments with an index, and how far it is corrected.
    pub(crate) fn corrections(&self) -> Vec<(SegmentId, u32)> {
        let watched = self.watched_segments().into_iter();
        watched.map(|(id, steps, _)| (id, steps)).collect()
    }

    /// Segments whose indexes are so far off what is asked that they are worth writing anew.
    pub(crate) fn drifted_segments(&self) -> Vec<SegmentId> {
        // Without the searches that asked for it, a new index would be as far off.
        if !self.samples.knows_recent() {
            return Vec::new();
        }
        let watched = self.watched_segments().into_iter();
        let drifted = watched.filter(|(_, steps, _)| *steps >= DRIFTED_STEPS);
        drifted.map(|(id, ..)| id).collect()
    }

    /// Segments with an index, how far it is corrected, and what its searches found.
    fn watched_segments(&self) -> Vec<(SegmentId, u32, (u64, u64))> {
        let Some(loaded) = self.loaded() else {
            return Vec::new();
        };
        let working = loaded.working.lock();
        let watched = working.segments.iter().filter_map(|(id, part)| {
            let watch = part.source.vector_index()?.watch();
            Some((*id, watch.steps(), watch.counts()))
        });
        watched.collect()
    }
}

/// What is known of the index of each part.
fn watches(snapshot: &Arc<Snapshot>) -> impl Iterator<Item = Option<&Watch>> {
    let parts = snapshot.parts.iter();
    parts.map(|part| part.source.vector_index().map(VectorFile::watch))
}

fn sum(tallies: &[Tally]) -> Tally {
    tallies.iter().fold(Tally::default(), |mut sum, one| {
        sum.add(one);
        sum
    })
}

/// Corrects the indexes until `rechecked` find what was asked; `before` is what they find now.
/// Answers what they find then.
fn correct(snapshot: &Arc<Snapshot>, rechecked: &[Rechecked], before: Vec<Tally>) -> Result<Tally> {
    let mut tallies = before;
    if sum(&tallies).is_ample() {
        return relax(snapshot, rechecked, sum(&tallies));
    }
    while sum(&tallies).falls_short() {
        let mut raised = false;
        for (watch, tally) in watches(snapshot).zip(&tallies) {
            if let Some(watch) = watch.filter(|watch| watch.steps() < STEPS_MAX)
                && tally.falls_short()
            {
                watch.correct(watch.steps() + 1);
                raised = true;
            }
        }
        if !raised {
            break;
        }
        tallies = tally(snapshot, rechecked)?;
    }
    Ok(sum(&tallies))
}

/// Takes one step of correction back where searches then still find amply.
fn relax(snapshot: &Arc<Snapshot>, rechecked: &[Rechecked], before: Tally) -> Result<Tally> {
    let steps: Vec<u32> = watches(snapshot)
        .map(|watch| watch.map_or(0, Watch::steps))
        .collect();
    if steps.iter().all(|&steps| steps == 0) {
        return Ok(before);
    }
    let set = |back: u32| {
        for (watch, steps) in watches(snapshot).zip(&steps) {
            if let Some(watch) = watch {
                watch.correct(steps.saturating_sub(back));
            }
        }
    };
    set(1);
    let after = sum(&tally(snapshot, rechecked)?);
    if after.is_ample() {
        return Ok(after);
    }
    set(0);
    Ok(before)
}
