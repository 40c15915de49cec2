//! Production as columns: what a list is made of.
//!
//! What must stay true: rows are in the order of their ids, so that a list does not depend on how they came.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use vermilion_scores::{
    Graph, Objective, Pick, PriorityOptions, Selection, Signal, SignalPercentiles, Signals,
    Undecided,
};

use super::{ENTRIES_MAX, Entry, Wanted};
use crate::desk::{Decision, Row, State};
use crate::fields::Context;

/// Records whose neighbours say how far similarity reaches.
const RADIUS_SAMPLE: usize = 2000;

/// Production as columns, by id.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) ids: Vec<String>,
    pub(super) places: HashMap<String, u32>,
    uncertainty: Vec<f32>,
    novelty: Vec<f32>,
    trouble: Vec<f32>,
    /// Not to be picked.
    decided: Vec<bool>,
    labelled: Vec<f32>,
    rejected: Vec<f32>,
    pub(super) triage: Vec<f32>,
    classes: Vec<u32>,
    groups: Vec<u32>,
    /// Records that cover their neighbours, and those that were rejected.
    pub(super) covering: Vec<u32>,
    junk: Vec<u32>,
    pub(super) triaged: Vec<String>,
    /// When the first snooze ends.
    pub(super) until: f64,
    /// Whether there is no reference.
    pub(super) degraded: bool,
    /// What all of this is of.
    pub(super) epoch: u64,
    pub(super) as_of: u64,
    pub(super) changes: u64,
}

/// A record of production as it was seen.
struct Seen {
    id: String,
    signals: Signals,
    inferred: Option<u32>,
    group: Option<u32>,
    decision: Option<Decision>,
    snoozed_until: f64,
    is_decided: bool,
    /// Whether its label or decision tells of its neighbours, unless it was snoozed.
    is_settled: bool,
    is_left_out: bool,
}

/// All records of a space that a list is made of, as they were seen at one time.
pub(super) struct Sight {
    seen: Vec<Seen>,
    percentiles: Arc<SignalPercentiles>,
    /// What there is besides them.
    columns: Columns,
}

impl Sight {
    /// Looks at the records for a list that is wanted; whoever else needs the state waits for it.
    pub(super) fn of(
        state: &mut State,
        wanted: &Wanted,
        meant: Option<&BTreeSet<String>>,
        now: f64,
    ) -> Self {
        let percentiles = state.percentiles();
        let degraded = state.reference.is_none();
        let mut columns = Columns {
            degraded,
            epoch: state.epoch,
            as_of: state.as_of,
            changes: state.changes,
            until: f64::INFINITY,
            ..Columns::default()
        };
        let mut seen = Vec::with_capacity(state.count(Context::Production));
        for (id, row) in &state.rows {
            if row.context == Some(Context::Triage) && row.decision.is_none() {
                columns.triaged.push(id.clone());
            }
            // What has no signals yet comes onto the list when it has.
            if !row.is_production() || (row.signals.is_none() && !degraded) {
                continue;
            }
            seen.push(Seen {
                id: id.clone(),
                signals: row.signals.unwrap_or_default(),
                inferred: row.inferred,
                group: row.group,
                decision: row.decision,
                snoozed_until: row.snoozed_until,
                is_decided: row.is_decided(now),
                is_settled: row.decision.is_some() || row.label.is_some() || row.is_consumed,
                is_left_out: is_left_out(id, row, wanted, meant),
            });
        }
        Self {
            seen,
            percentiles,
            columns,
        }
    }

    /// The same as columns.
    pub(super) fn columns(self, wanted: &Wanted) -> Columns {
        let Self {
            seen,
            percentiles,
            mut columns,
        } = self;
        for row in seen {
            let at = columns.ids.len() as u32;
            let signals = row.signals;
            let rank = |signal, value: Option<f32>| {
                value.map_or(0.0, |value| percentiles.rank(signal, value)) as f32
            };
            columns.uncertainty.push(if columns.degraded {
                1.0
            } else {
                rank(Signal::Uncertainty, signals.uncertainty)
            });
            columns.novelty.push(rank(Signal::Novelty, signals.novelty));
            let trouble = percentiles.trouble(&signals).value;
            columns.trouble.push(trouble.unwrap_or(0.0) as f32);
            let hidden = row.is_left_out || (row.is_decided && !wanted.with_decided);
            columns.decided.push(hidden);
            columns.labelled.push(signals.novelty.unwrap_or(f32::MAX));
            columns.rejected.push(f32::MAX);
            columns.triage.push(f32::MAX);
            let class = row.inferred.or(signals.inferred);
            columns.classes.push(class.unwrap_or(u32::MAX));
            // Those of no group are each their own.
            columns.groups.push(row.group.unwrap_or(u32::MAX - at));
            match row.decision {
                Some(Decision::Junk) => columns.junk.push(at),
                Some(Decision::Snoozed) if row.is_decided => {
                    columns.until = columns.until.min(row.snoozed_until);
                }
                Some(Decision::Snoozed) => {}
                _ if row.is_settled => columns.covering.push(at),
                _ => {}
            }
            columns.places.insert(row.id.clone(), at);
            columns.ids.push(row.id);
        }
        columns
    }
}

/// Whether a record is none of those that the list is wanted of.
fn is_left_out(id: &str, row: &Row, wanted: &Wanted, meant: Option<&BTreeSet<String>>) -> bool {
    let of_dataset = |names: &Vec<String>| names.contains(&row.dataset);
    meant.is_some_and(|meant| !meant.contains(id))
        || !wanted.datasets.as_ref().is_none_or(of_dataset)
}

impl Columns {
    /// What a list is made of.
    pub(super) fn undecided<'a>(&'a self, graph: &'a Graph) -> Undecided<'a> {
        Undecided {
            graph,
            uncertainty: &self.uncertainty,
            novelty: &self.novelty,
            trouble: &self.trouble,
            decided: &self.decided,
            labelled: &self.labelled,
            triage: &self.triage,
            rejected: &self.rejected,
            classes: &self.classes,
            groups: &self.groups,
        }
    }

    /// The entry of a pick.
    pub(super) fn entry(&self, pick: &Pick) -> Entry {
        Entry {
            id: self.ids[pick.row as usize].clone(),
            priority: pick.priority,
            gain: pick.gain,
            coverage: pick.coverage,
            stands_for: pick.stands_for,
            drawn: pick.drawn,
        }
    }

    /// The records whose neighbours are needed, ascending: those that may be picked or drawn, those that
    /// cover or were rejected, and a sample by which similarity is measured.
    pub(super) fn sought(&self, options: &PriorityOptions) -> Vec<u32> {
        let rows = self.ids.len() as u32;
        let open = (0..rows).filter(|&row| !self.decided[row as usize]);
        let uncertainty = |row: u32| f64::from(self.uncertainty[row as usize]);
        let open = options.candidates_of(open.collect(), uncertainty);
        let step = self.ids.len().div_ceil(RADIUS_SAMPLE).max(1);
        let mut sought: BTreeSet<u32> = (0..rows).step_by(step).collect();
        sought.extend(open);
        sought.extend(self.drawn(options));
        sought.extend(&self.covering);
        sought.extend(&self.junk);
        sought.into_iter().collect()
    }

    /// Those that may be drawn: as many as a list has entries come first in the draws, unless caps pass
    /// some over.
    fn drawn(&self, options: &PriorityOptions) -> Vec<u32> {
        if options.random_share <= 0.0 {
            return Vec::new();
        }
        let is_capped = options.per_class_cap.is_some() || options.per_group_cap.is_some();
        let most = if is_capped { usize::MAX } else { ENTRIES_MAX };
        let bare = Graph::new(vec![0; self.ids.len() + 1], Vec::new(), Vec::new());
        let draws = PriorityOptions {
            objective: Objective::Random,
            radius: Some(0.0),
            per_class_cap: None,
            per_group_cap: None,
            ..options.clone()
        };
        let picks = Selection::new(self.undecided(&bare), draws).take(most);
        picks.map(|pick| pick.row).collect()
    }

    /// Notes what decided records cover, and how near rejected ones are.
    pub(super) fn cover(&mut self, graph: &Graph) {
        let spread = |from: &[u32], distances: &mut [f32]| {
            for &row in from {
                distances[row as usize] = 0.0;
                for (neighbour, distance) in graph.edges(row as usize) {
                    distances[neighbour] = distances[neighbour].min(distance);
                }
            }
        };
        spread(&self.covering, &mut self.labelled);
        spread(&self.junk, &mut self.rejected);
    }
}
