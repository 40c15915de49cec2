//! The list: what to label next, in an order whose every head covers as much as so many labels can of
//! what the model is uncertain about in production.
//!
//! What must stay true: the same records and options give the same list, whatever order they came in;
//! a list is of one position of the log, and its pages are too.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use vermilion_engine::model::{Consistency, Filter, GetRequest, RecordSelection};
use vermilion_scores::{
    Coverage, Graph, Pick, PriorityOptions, Selection, Signal, Undecided, radius,
};

use crate::desk::{CHUNK, Decision, Desk, Row, Sought, State, of_context};
use crate::fields::Context;
use crate::recommend::usual;
use crate::spaces::Space;
use crate::standing::{HEAD, Standing};
use crate::{Curation, Refusal, Result};

/// Neighbours of a record that it covers.
pub(crate) const NEIGHBOURS: usize = 15;
/// Neighbours of a triage record that weigh more for it.
const TRIAGE_NEIGHBOURS: usize = 50;
/// Records whose neighbours say how far similarity reaches.
const RADIUS_SAMPLE: usize = 2000;
/// Lists that are kept of a space.
const LISTS_MAX: usize = 8;
/// Entries of a list.
pub(crate) const ENTRIES_MAX: usize = 10_000;

/// Which list is meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// How it is made.
    pub options: PriorityOptions,
    /// Only records that this means are on it.
    pub filter: Option<Filter>,
    /// Only records of these datasets.
    pub datasets: Option<Vec<String>>,
    /// Whether records that are decided already may be on it.
    pub with_decided: bool,
    /// What tells this list from others.
    pub key: String,
}

/// A list.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) entries: Vec<Entry>,
    pub(crate) epoch: u64,
    pub(crate) as_of: u64,
    /// The changes that the desk had seen.
    pub(crate) changes: u64,
    pub(crate) radius: f64,
    /// What the model is uncertain about in production, in records, and what of it no label covers.
    pub(crate) mass: f64,
    /// See `mass`.
    pub(crate) uncovered: f64,
    /// When the first snooze ends, and the list with it: seconds since 1970.
    until: f64,
    /// Whether there was no reference, and all records weigh the same.
    pub(crate) degraded: bool,
}

/// An entry of a list.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) priority: f64,
    pub(crate) gain: f64,
    pub(crate) coverage: f64,
    pub(crate) drawn: bool,
}

/// The lists of a space that were made last.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    made: Vec<(String, Arc<List>)>,
}

impl Lists {
    fn get(&self, key: &str) -> Option<Arc<List>> {
        let found = self.made.iter().find(|(known, _)| known == key);
        found.map(|(_, list)| list.clone())
    }

    fn put(&mut self, key: &str, list: Arc<List>) {
        self.made.retain(|(known, _)| known != key);
        self.made.insert(0, (key.to_owned(), list));
        self.made.truncate(LISTS_MAX);
    }

    /// How far similarity reached in the list that was made last.
    pub(crate) fn radius(&self) -> Option<f64> {
        let last = self.made.first()?.1.radius;
        (last > 0.0).then_some(last)
    }
}

/// Production as columns, by id.
#[derive(Default)]
struct Columns {
    ids: Vec<String>,
    places: HashMap<String, u32>,
    uncertainty: Vec<f32>,
    novelty: Vec<f32>,
    trouble: Vec<f32>,
    /// Not to be picked.
    decided: Vec<bool>,
    labelled: Vec<f32>,
    rejected: Vec<f32>,
    triage: Vec<f32>,
    classes: Vec<u32>,
    groups: Vec<u32>,
    /// Records that cover their neighbours, and those that were rejected.
    covering: Vec<u32>,
    junk: Vec<u32>,
    triaged: Vec<String>,
    /// When the first snooze ends.
    until: f64,
    /// Whether there is no reference.
    degraded: bool,
    /// What all of this is of.
    epoch: u64,
    as_of: u64,
    changes: u64,
}

impl Curation {
    /// The list of a space that is wanted: the one that was made last, if nothing has moved since.
    pub(crate) fn list(&self, space: &Space, desk: &Desk, wanted: &Wanted) -> Result<Arc<List>> {
        let made = self.list_while(space, desk, wanted, &|| true)?;
        made.ok_or_else(|| Refusal::new(500, "internal", "The list was not made."))
    }

    /// The same; `None` where it was told to end.
    pub(crate) fn list_while(
        &self,
        space: &Space,
        desk: &Desk,
        wanted: &Wanted,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Arc<List>>> {
        let version = {
            let state = desk.state.lock();
            (state.as_of, state.epoch, state.changes)
        };
        let known = desk.lists.lock().get(&wanted.key);
        let now = self.now();
        let holds = |list: &Arc<List>| {
            (list.as_of, list.epoch, list.changes) == version && now < list.until
        };
        if let Some(list) = known.filter(holds) {
            return Ok(Some(list));
        }
        let Some((list, standing)) = self.make_list(space, desk, wanted, go_on)? else {
            return Ok(None);
        };
        let list = Arc::new(list);
        desk.lists.lock().put(&wanted.key, list.clone());
        if wanted.key == usual()?.key && !list.degraded {
            *desk.standing.lock() = Some(standing);
        }
        Ok(Some(list))
    }

    /// Makes a list, and what tells how it stands later on.
    fn make_list(
        &self,
        space: &Space,
        desk: &Desk,
        wanted: &Wanted,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<(List, Standing)>> {
        let now = self.now();
        let meant = self.meant(space, wanted.filter.as_ref())?;
        let mut columns = {
            let mut state = desk.state.lock();
            columns(&mut state, wanted, meant.as_ref(), now)
        };
        let degraded = columns.degraded;
        let mut options = wanted.options.clone();
        if degraded {
            options.candidates = 1.0;
        }
        let sought = columns.sought(&options);
        let sought = Sought {
            ids: &columns.ids,
            rows: &sought,
            among: Some(of_context(Context::Production)),
            count: NEIGHBOURS,
        };
        let Some(graph) = self.graph(space, &sought, go_on)? else {
            return Ok(None);
        };
        let radius = options.radius.unwrap_or_else(|| radius(&graph));
        columns.cover(&graph);
        self.look_at_triage(space, &mut columns)?;
        let options = PriorityOptions {
            radius: Some(radius),
            ..options
        };
        let exponent = options.exponent;
        let selection = Selection::new(columns.undecided(&graph), options);
        let (mass, uncovered) = (
            selection.coverage().mass(),
            selection.coverage().uncovered(),
        );
        let (entries, coverage) = pick(selection, &columns);
        let version = (columns.epoch, columns.as_of);
        let made = (now, self.now() - now);
        let head = entries
            .iter()
            .take(HEAD)
            .filter_map(|entry| columns.places.get(&entry.id));
        let taken = head.chain(&columns.covering).copied().collect();
        let known = (columns.places, taken);
        let standing = Standing::new(coverage, known, exponent, version, made);
        let list = List {
            entries,
            epoch: version.0,
            as_of: version.1,
            changes: columns.changes,
            radius,
            mass,
            uncovered,
            until: columns.until,
            degraded,
        };
        Ok(Some((list, standing)))
    }

    /// The ids that a filter means; `None` where there is no filter.
    pub(crate) fn meant(
        &self,
        space: &Space,
        filter: Option<&Filter>,
    ) -> Result<Option<BTreeSet<String>>> {
        let Some(filter) = filter else {
            return Ok(None);
        };
        let request = GetRequest {
            selection: RecordSelection {
                ids: None,
                filter: Some(filter.clone()),
            },
            consistency: Consistency::everything(),
            ..GetRequest::default()
        };
        let found = self.database.get(space.scope(), &request)?;
        Ok(Some(found.ids.iter().map(str::to_owned).collect()))
    }

    /// Notes how near production is to what a person saw go wrong.
    fn look_at_triage(&self, space: &Space, columns: &mut Columns) -> Result<()> {
        let triaged = std::mem::take(&mut columns.triaged);
        let production = of_context(Context::Production);
        for part in triaged.chunks(CHUNK) {
            for (_, near) in self.near_of(space, part, Some(&production), TRIAGE_NEIGHBOURS)? {
                for one in near {
                    if let Some(&row) = columns.places.get(&one.id) {
                        let known = &mut columns.triage[row as usize];
                        *known = known.min(one.distance);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The entries of a list, and what is covered at the end of its head.
fn pick(mut selection: Selection<'_>, columns: &Columns) -> (Vec<Entry>, Coverage) {
    let mut entries = Vec::new();
    let mut head = None;
    while entries.len() < ENTRIES_MAX
        && let Some(pick) = selection.next()
    {
        entries.push(columns.entry(&pick));
        if entries.len() == HEAD {
            head = Some(selection.coverage().clone());
        }
    }
    (entries, head.unwrap_or_else(|| selection.into_coverage()))
}

fn columns(
    state: &mut State,
    wanted: &Wanted,
    meant: Option<&BTreeSet<String>>,
    now: f64,
) -> Columns {
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
    for (id, row) in &state.rows {
        if row.context == Some(Context::Triage) && row.decision.is_none() {
            columns.triaged.push(id.clone());
        }
        // What has no signals yet comes onto the list when it has.
        if !row.is_production() || (row.signals.is_none() && !degraded) {
            continue;
        }
        let at = columns.ids.len() as u32;
        let signals = row.signals.unwrap_or_default();
        let rank = |signal, value: Option<f32>| {
            value.map_or(0.0, |value| percentiles.rank(signal, value)) as f32
        };
        columns.places.insert(id.clone(), at);
        columns.ids.push(id.clone());
        columns.uncertainty.push(if degraded {
            1.0
        } else {
            rank(Signal::Uncertainty, signals.uncertainty)
        });
        columns.novelty.push(rank(Signal::Novelty, signals.novelty));
        let trouble = percentiles.trouble(&signals).value;
        columns.trouble.push(trouble.unwrap_or(0.0) as f32);
        let decided = row.is_decided(now);
        let left_out = is_left_out(id, row, wanted, meant);
        let hidden = left_out || (decided && !wanted.with_decided);
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
            Some(Decision::Snoozed) if decided => {
                columns.until = columns.until.min(row.snoozed_until);
            }
            Some(Decision::Snoozed) => {}
            Some(_) => columns.covering.push(at),
            None if row.label.is_some() || row.is_consumed => columns.covering.push(at),
            None => {}
        }
    }
    columns
}

/// Whether a record is none of those that the list is wanted of.
fn is_left_out(id: &str, row: &Row, wanted: &Wanted, meant: Option<&BTreeSet<String>>) -> bool {
    let of_dataset = |names: &Vec<String>| names.contains(&row.dataset);
    meant.is_some_and(|meant| !meant.contains(id))
        || !wanted.datasets.as_ref().is_none_or(of_dataset)
}

impl Columns {
    /// What a list is made of.
    fn undecided<'a>(&'a self, graph: &'a Graph) -> Undecided<'a> {
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
    fn entry(&self, pick: &Pick) -> Entry {
        Entry {
            id: self.ids[pick.row as usize].clone(),
            priority: pick.priority,
            gain: pick.gain,
            coverage: pick.coverage,
            drawn: pick.drawn,
        }
    }

    /// The records whose neighbours are needed, ascending: those that may be picked, those that cover
    /// or were rejected, and a sample by which similarity is measured.
    fn sought(&self, options: &PriorityOptions) -> Vec<u32> {
        let rows = self.ids.len() as u32;
        let open = (0..rows).filter(|&row| !self.decided[row as usize]);
        let uncertainty = |row: u32| f64::from(self.uncertainty[row as usize]);
        let open = options.candidates_of(open.collect(), uncertainty);
        let step = self.ids.len().div_ceil(RADIUS_SAMPLE).max(1);
        let mut sought: BTreeSet<u32> = (0..rows).step_by(step).collect();
        sought.extend(open);
        sought.extend(&self.covering);
        sought.extend(&self.junk);
        sought.into_iter().collect()
    }

    /// Notes what decided records cover, and how near rejected ones are.
    fn cover(&mut self, graph: &Graph) {
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
