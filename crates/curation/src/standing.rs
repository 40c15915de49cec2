//! The standing list: what the head of the usual list covers, kept between two makings of it, so that
//! new records and decisions count at once.
//!
//! What must stay true: a provisional priority is told as such, and is what the record would add to the
//! head of the list as it stands; the list is made anew by the job when what it covers is no longer what
//! matters, and after a restart from the records alone.

use std::collections::{HashMap, HashSet};

use vermilion_scores::{Coverage, Signal};

use crate::assess::Assessment;
use crate::desk::{Among, By, CHUNK, Desk, Near, Row};
use crate::fields::Context;
use crate::list::{NEIGHBOURS, STANDS};
use crate::recommend::usual;
use crate::spaces::Space;
use crate::{Curation, Result};

/// Entries that are taken as the selection which new records are measured by: a page.
pub(crate) const HEAD: usize = 100;
/// How much of the uncovered mass may come anew before the list is made again.
const GROWTH: f64 = 0.05;
/// Seconds after which any change makes the list due.
const STALE_AFTER: f64 = 600.0;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Standing {
    coverage: Coverage,
    /// The number of each record in the coverage.
    places: HashMap<String, u32>,
    /// The numbers of records that were picked or decided about.
    taken: HashSet<u32>,
    /// What uncertainty ranks are raised to.
    exponent: f64,
    /// The reference and the position of the log that the list is of.
    epoch: u64,
    as_of: u64,
    /// Seconds since 1970 at which it was made, and how long that took.
    made_at: f64,
    took: f64,
    /// The mass that was uncovered then.
    uncovered: f64,
    /// Whether something was decided since.
    is_decided: bool,
}

impl Standing {
    /// What the head of a list covers.
    pub(crate) fn new(
        coverage: Coverage,
        (places, taken): (HashMap<String, u32>, HashSet<u32>),
        exponent: f64,
        version: (u64, u64),
        made: (f64, f64),
    ) -> Self {
        Self {
            uncovered: coverage.uncovered(),
            coverage,
            places,
            taken,
            exponent,
            epoch: version.0,
            as_of: version.1,
            made_at: made.0,
            took: made.1,
            is_decided: false,
        }
    }

    /// Takes a record in, unless it is there: how uncertain it is among production, and how far the
    /// nearest labelled record is.
    fn push(&mut self, id: &str, uncertainty: f64, labelled: f32) {
        if !self.places.contains_key(id) {
            let place = self
                .coverage
                .push(uncertainty.powf(self.exponent), labelled);
            self.places.insert(id.to_owned(), place);
        }
    }

    /// How far the nearest of some neighbours is that was picked or decided about.
    fn nearest_taken(&self, near: &Near) -> f32 {
        let of = |id: &String| {
            self.places
                .get(id)
                .is_some_and(|place| self.taken.contains(place))
        };
        let distances = near
            .iter()
            .filter(|one| of(&one.id))
            .map(|one| one.distance);
        distances.fold(f32::INFINITY, f32::min)
    }

    /// Those of some neighbours that are known here.
    fn known(&self, near: &Near, but: &str) -> (Vec<u32>, Vec<f32>) {
        let others = near.iter().filter(|one| one.id != but);
        let known = others.filter_map(|one| Some((*self.places.get(&one.id)?, one.distance)));
        known.take(NEIGHBOURS).unzip()
    }

    /// Whether the list is to be made again, of records as they are at `now`.
    fn is_due(&self, epoch: u64, as_of: u64, now: f64) -> bool {
        if (self.epoch, self.as_of) == (epoch, as_of) || now - self.made_at < STANDS * self.took {
            return false;
        }
        let grown = self.coverage.uncovered() > self.uncovered * (1.0 + GROWTH);
        self.epoch != epoch || self.is_decided || grown || now - self.made_at >= STALE_AFTER
    }
}

impl Curation {
    /// Whether the usual list is to be made, for the first time or again.
    pub(crate) fn is_list_due(&self, desk: &Desk) -> bool {
        let (epoch, as_of, is_listable) = {
            let state = desk.state.lock();
            let seen = state.count(Context::Production) != 0;
            (state.epoch, state.as_of, state.reference.is_some() && seen)
        };
        let now = self.now();
        let standing = desk.standing.lock();
        let is_due = |standing: &Standing| standing.is_due(epoch, as_of, now);
        is_listable && standing.as_ref().is_none_or(is_due)
    }

    /// Makes the usual list again where it is due; whether it was.
    pub(crate) fn keep_list(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool> {
        if !self.is_list_due(desk) {
            return Ok(false);
        }
        Ok(self.list_while(space, desk, &usual()?, go_on)?.is_some())
    }

    /// Takes production that was scored into what the list is measured by.
    pub(crate) fn note_scored(desk: &Desk, ids: &[String]) {
        let scored: Vec<(&String, f64, f32)> = {
            let mut state = desk.state.lock();
            let percentiles = state.percentiles_about();
            let rows = ids.iter().filter_map(|id| {
                let row = state.rows.get(id).filter(|row| row.is_production())?;
                let signals = row.signals?;
                let rank = |value| percentiles.rank(Signal::Uncertainty, value);
                let uncertainty = signals.uncertainty.map_or(0.0, rank);
                Some((id, uncertainty, signals.novelty.unwrap_or(f32::INFINITY)))
            });
            rows.collect()
        };
        if let Some(standing) = &mut *desk.standing.lock() {
            for (id, uncertainty, novelty) in scored {
                standing.push(id, uncertainty, novelty);
            }
        }
    }

    /// Gives records of production that were just assessed what they would add to the list as it stands.
    pub(crate) fn prioritise(
        &self,
        space: &Space,
        desk: &Desk,
        assessed: &mut [Assessment],
    ) -> Result<()> {
        let of_production = |id: &str| {
            let state = desk.state.lock();
            state.rows.get(id).is_some_and(Row::is_production)
        };
        let ids = assessed.iter().filter_map(|one| one.id.clone());
        let ids: Vec<String> = ids.filter(|id| of_production(id)).collect();
        if ids.is_empty() || desk.standing.lock().is_none() {
            return Ok(());
        }
        let near = self.near_in_production(space, desk, &ids)?;
        let mut standing = desk.standing.lock();
        let Some(standing) = &mut *standing else {
            return Ok(());
        };
        let part = |one: &Assessment, signal: Signal| one.parts.get(signal.name()).cloned();
        for one in assessed.iter() {
            if let Some((id, near)) = one.id.as_ref().and_then(|id| near.get_key_value(id)) {
                let uncertainty =
                    part(one, Signal::Uncertainty).map_or(0.0, |part| part.percentile);
                let novelty = part(one, Signal::Novelty).map_or(f32::INFINITY, |part| part.value);
                let covered = novelty.min(standing.nearest_taken(near));
                standing.push(id, uncertainty, covered);
            }
        }
        for one in assessed {
            if let Some((id, near)) = one.id.as_ref().and_then(|id| near.get_key_value(id)) {
                let (places, distances) = standing.known(near, id);
                one.priority = Some(standing.coverage.priority_of(&places, &distances));
                one.provisional = Some(true);
            }
        }
        Ok(())
    }

    fn near_in_production(
        &self,
        space: &Space,
        desk: &Desk,
        ids: &[String],
    ) -> Result<HashMap<String, Near>> {
        let among = Among::Context(Context::Production);
        let mut near = HashMap::with_capacity(ids.len());
        for part in ids.chunks(CHUNK) {
            near.extend(self.near_of(space, desk, part, among, (NEIGHBOURS + 1, By::Direction))?);
        }
        Ok(near)
    }

    /// Covers what is like records that somebody has decided about.
    pub(crate) fn cover_decided(&self, space: &Space, desk: &Desk, ids: &[String]) -> Result<()> {
        let decided: Vec<String> = {
            let now = self.now();
            let state = desk.state.lock();
            let is_decided = |id: &&String| {
                let row = state.rows.get(*id);
                row.is_some_and(|row| row.is_production() && row.is_decided(now))
            };
            ids.iter().filter(is_decided).cloned().collect()
        };
        if desk.standing.lock().is_none() {
            return Ok(());
        }
        let near = self.near_in_production(space, desk, &decided)?;
        if let Some(standing) = &mut *desk.standing.lock() {
            standing.is_decided = true;
            for (id, near) in &near {
                let (places, distances) = standing.known(near, id);
                if let Some(&place) = standing.places.get(id) {
                    standing.taken.insert(place);
                    standing.coverage.take(place, &places, &distances);
                }
            }
        }
        Ok(())
    }
}
