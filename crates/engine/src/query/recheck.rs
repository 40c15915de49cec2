//! Makes searches again exactly, to know how much of what they should find they do find.
//!
//! What must stay true: the exact search goes in steps of a few milliseconds, and stops when it is
//! told to; a record as near as the last one of an answer is as good as found, whichever of them
//! the answer has.

use std::sync::Arc;

use super::distance::QueryVector;
use super::exact::{Rows, nearest_in_source};
use super::nearest::nearest;
use super::plan::{Chosen, Missing, choose, live};
use super::top::{Candidate, Top};
use super::{Location, Snapshot};
use crate::Result;
use crate::model::{Embeddings, Filter, Recall, RecordSelection};

/// Numbers multiplied in one step of an exact search.
const STEP_PRODUCTS: usize = 1 << 24;
/// Rows of a step at least, and at most.
const STEP_ROWS: std::ops::RangeInclusive<usize> = 64..=65_536;

/// A search that somebody made.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The query vector.
    pub(crate) vector: Vec<f32>,
    /// Which records might answer.
    pub(crate) filter: Option<Filter>,
    /// How many were wanted.
    pub(crate) count: u32,
    /// How many of the nearest were to be found.
    pub(crate) recall: Recall,
}

/// A search with what it should answer.
pub(crate) struct Rechecked {
    search: Sample,
    chosen: Arc<Chosen>,
    /// The nearest, nearest first.
    truth: Vec<Candidate>,
}

/// What searches should have found, and did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Records that are among the nearest.
    pub(crate) wanted: u64,
    /// Those of them that were found.
    pub(crate) found: u64,
    /// Those that had to be found by the recalls that were asked for.
    pub(crate) asked: f64,
}

impl Tally {
    /// Adds `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.wanted += other.wanted;
        self.found += other.found;
        self.asked += other.asked;
    }

    /// The share that had to be found.
    pub(crate) fn asked_share(&self) -> f64 {
        self.asked / (self.wanted as f64).max(1.0)
    }

    /// The share that was found.
    pub(crate) fn found_share(&self) -> f64 {
        self.found as f64 / (self.wanted as f64).max(1.0)
    }

    /// Whether less was found than was asked for.
    pub(crate) fn falls_short(&self) -> bool {
        (self.found as f64) < self.asked
    }

    /// Whether so much more was found than was asked for that less work would do.
    pub(crate) fn is_ample(&self) -> bool {
        let spare = self.wanted as f64 - self.asked;
        self.found as f64 >= self.asked + spare / 2.0
    }
}

/// Searches exactly for what each of `searches` should have found; `None` where `go_on`, which is
/// asked at every step, answered `false`.
pub(crate) fn recheck(
    snapshot: &Snapshot,
    searches: Vec<Sample>,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Vec<Rechecked>>> {
    let (filtered, plain): (Vec<_>, Vec<_>) = searches
        .into_iter()
        .partition(|search| search.filter.is_some());
    let mut rechecked = Vec::new();
    let groups = std::iter::once(plain).chain(filtered.into_iter().map(|one| vec![one]));
    for group in groups.filter(|group| !group.is_empty()) {
        let selection = RecordSelection {
            ids: None,
            filter: group[0].filter.clone(),
        };
        let chosen = Arc::new(choose(snapshot, &selection, Missing::Skipped)?);
        let Some(truths) = exact(snapshot, &group, &chosen, go_on)? else {
            return Ok(None);
        };
        for (search, truth) in group.into_iter().zip(truths) {
            rechecked.push(Rechecked {
                chosen: chosen.clone(),
                search,
                truth,
            });
        }
    }
    Ok(Some(rechecked))
}

/// What each of `searches`, which may all be answered by the records of `chosen`, should find.
fn exact(
    snapshot: &Snapshot,
    searches: &[Sample],
    chosen: &Chosen,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Vec<Vec<Candidate>>>> {
    let space = snapshot.schema.space();
    let queries: Vec<QueryVector<'_>> = searches
        .iter()
        .map(|search| QueryVector::new(&search.vector, space))
        .collect();
    let mut tops: Vec<Top> = searches
        .iter()
        .map(|search| Top::new(search.count as usize))
        .collect();
    let products = snapshot.dimension.unwrap_or(1) as usize * queries.len();
    let step = (STEP_PRODUCTS / products.max(1)).clamp(*STEP_ROWS.start(), *STEP_ROWS.end());
    for (number, part) in snapshot.parts.iter().enumerate() {
        let rows = match chosen {
            Chosen::Sets(sets) => (*sets[number]).clone(),
            Chosen::Everything | Chosen::Listed(_) => live(part),
        };
        let mut rows = rows.iter();
        loop {
            let some: Vec<Location> = rows
                .by_ref()
                .take(step)
                .map(|row| Location { part: number, row })
                .collect();
            if some.is_empty() {
                break;
            }
            if !go_on() {
                return Ok(None);
            }
            let some = (Rows::Few(&some), 0..u32::MAX);
            nearest_in_source(&part.source, number, &queries, some, &mut tops, &|| true)?;
        }
    }
    Ok(Some(tops.into_iter().map(Top::into_sorted).collect()))
}

/// For each part of `snapshot`, which is the one of the recheck, how much of what it has is found
/// by searches as they are made now.
pub(crate) fn tally(snapshot: &Snapshot, rechecked: &[Rechecked]) -> Result<Vec<Tally>> {
    let mut tallies = vec![Tally::default(); snapshot.parts.len()];
    for one in rechecked {
        let vector = Embeddings::new(one.search.vector.len(), one.search.vector.clone());
        let Some(vector) = vector else { continue };
        let count = one.truth.len() as u32;
        let mut found = Vec::new();
        let wanted = (count, one.search.recall);
        nearest(snapshot, &vector, &one.chosen, wanted, |nearest| {
            found = nearest;
            Ok(())
        })?;
        let reach = match found.last() {
            Some(last) if found.len() == one.truth.len() => last.distance,
            _ => f32::INFINITY,
        };
        for wanted in &one.truth {
            let is_found = wanted.distance >= reach
                || found.iter().any(|other| other.location == wanted.location);
            let tally = &mut tallies[wanted.location.part];
            tally.wanted += 1;
            tally.found += u64::from(is_found);
            tally.asked += f64::from(one.search.recall.share());
        }
    }
    Ok(tallies)
}
