//! The list: what to label next, in an order whose every head covers as much as so many labels can of
//! what the model is uncertain about in production.
//!
//! What must stay true: the same records and options give the same list, whatever order they came in;
//! a list is of one position of the log, and its pages are too. That of a large space is made by the job,
//! and whoever asks for it meanwhile gets the last one, which says what it is of.

mod columns;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use vermilion_engine::model::{Consistency, Filter, GetRequest, RecordSelection};
use vermilion_protocol::filters;
use vermilion_scores::{Coverage, PriorityOptions, Selection, radius};

use self::columns::{Columns, Sight};
use crate::assess::InStep;
use crate::desk::{Among, By, CHUNK, Desk, Sought};
use crate::fields::Context;
use crate::key::hexadecimal;
use crate::recommend::{KEY_BYTES, usual};
use crate::spaces::Space;
use crate::standing::{HEAD, Standing};
use crate::{Curation, Refusal, Result};

/// Neighbours of a record that it covers.
pub(crate) const NEIGHBOURS: usize = 15;
/// Neighbours of a triage record that weigh more for it.
const TRIAGE_NEIGHBOURS: usize = 50;
/// Lists that are kept of a space.
const LISTS_MAX: usize = 8;
/// Lists of a space that cursors lead on in: those that were read last.
const READ_MAX: usize = 16;
/// Records of production of which one request makes a list itself; of more, the job does.
const LISTED_AT_ONCE: usize = 10_000;
/// How many times as long as its making a list stands at least.
pub(crate) const STANDS: f64 = 10.0;
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
    /// Of the entries in their order: one that is made again as it was has the same, after a restart too.
    digest: String,
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
    /// When it was begun, in seconds since 1970, and how many that took.
    made: (f64, f64),
    /// Whether there was no reference, and all records weigh the same.
    pub(crate) degraded: bool,
}

/// How far a list is that is being made: the records whose neighbours are known, of so many.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Making {
    pub(crate) done: usize,
    pub(crate) of: usize,
}

/// What there is of a list that was asked for.
pub(crate) struct Found {
    /// The one that was made last.
    pub(crate) list: Option<Arc<List>>,
    /// Whether that is of the records as they are.
    pub(crate) is_ready: bool,
    /// How far the next one is.
    pub(crate) making: Option<Making>,
}

/// An entry of a list.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) priority: f64,
    pub(crate) gain: f64,
    pub(crate) coverage: f64,
    /// How many of its neighbours it stands for, of [`NEIGHBOURS`] that are looked at.
    pub(crate) stands_for: u32,
    pub(crate) drawn: bool,
}

/// The lists of a space that were made last.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    made: Vec<(String, Arc<List>)>,
    /// Those that somebody reads page by page, by their marks.
    read: Vec<(String, Arc<List>)>,
    /// Those that the job is to make.
    wanted: Vec<Wanted>,
    /// The one that is being made, and how far it is.
    making: Option<(String, Making)>,
}

impl Lists {
    /// The list of that key that was made last.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<List>> {
        let found = self.made.iter().find(|(known, _)| known == key);
        found.map(|(_, list)| list.clone())
    }

    fn put(&mut self, key: &str, list: Arc<List>) {
        self.made.retain(|(known, _)| known != key);
        self.made.insert(0, (key.to_owned(), list));
        self.made.truncate(LISTS_MAX);
    }

    /// Keeps a list for whoever has a cursor of it, whatever is made meanwhile.
    pub(crate) fn keep(&mut self, mark: String, list: &Arc<List>) {
        self.read.retain(|(known, _)| *known != mark);
        self.read.insert(0, (mark, list.clone()));
        self.read.truncate(READ_MAX);
    }

    /// The list with that mark, if it is kept.
    pub(crate) fn kept(&self, mark: &str) -> Option<Arc<List>> {
        let found = self.read.iter().find(|(known, _)| known == mark);
        found.map(|(_, list)| list.clone())
    }

    /// Whether the job is to make one.
    pub(crate) fn wants(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Has the job make a list.
    fn want(&mut self, wanted: &Wanted) {
        self.wanted.retain(|known| known.key != wanted.key);
        self.wanted.insert(0, wanted.clone());
        self.wanted.truncate(LISTS_MAX);
    }

    /// How far similarity reached in the list that was made last.
    pub(crate) fn radius(&self) -> Option<f64> {
        let last = self.made.first()?.1.radius;
        (last > 0.0).then_some(last)
    }
}

impl Curation {
    /// The list of a space that is wanted: the one that was made last if nothing has moved since, else a new
    /// one. Of a large space the job makes that, unless the last one is to stand a while and nobody insists;
    /// of one that is not read or scored to the end, nobody does yet.
    pub(crate) fn list(
        &self,
        space: &Space,
        ready: &InStep,
        wanted: &Wanted,
        insists: bool,
    ) -> Result<Found> {
        let desk = &*ready.desk;
        let is_small = desk.state.lock().count(Context::Production) <= LISTED_AT_ONCE;
        if is_small && ready.is_whole() {
            return Ok(Found {
                list: self.list_while(space, desk, wanted, &|| true)?,
                is_ready: true,
                making: None,
            });
        }
        let now = self.now();
        let known = desk.lists.lock().get(&wanted.key);
        let holds = |list: &Arc<List>| list.holds(desk, now);
        let is_ready = ready.is_whole() && known.as_ref().is_some_and(holds);
        let stands = |list: &Arc<List>| !insists && now - list.made.0 < STANDS * list.made.1;
        if !is_small && !is_ready && !known.as_ref().is_some_and(stands) {
            desk.lists.lock().want(wanted);
            self.wake_lists(space);
        }
        let making = desk.lists.lock().making.clone();
        let making = making.filter(|(key, _)| *key == wanted.key);
        Ok(Found {
            list: known,
            is_ready,
            making: making.map(|(_, making)| making),
        })
    }

    /// Makes the lists of a space that are due or wanted; how many that were.
    pub(crate) fn keep_lists(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<usize> {
        // The scorer wakes it again.
        if !desk.state.lock().is_mostly_scored() {
            return Ok(0);
        }
        let mut made = usize::from(self.keep_list(space, desk, go_on)?);
        while go_on() {
            let wanted = desk.lists.lock().wanted.last().cloned();
            let Some(wanted) = wanted else {
                break;
            };
            made += usize::from(self.list_while(space, desk, &wanted, go_on)?.is_some());
            let mut lists = desk.lists.lock();
            // What was told to end is wanted still.
            if go_on() {
                lists.wanted.retain(|known| known.key != wanted.key);
            }
        }
        Ok(made)
    }

    /// The list that was made last if nothing has moved since, else a new one; `None` where it was told to
    /// end.
    pub(crate) fn list_while(
        &self,
        space: &Space,
        desk: &Desk,
        wanted: &Wanted,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Arc<List>>> {
        let known = desk.lists.lock().get(&wanted.key);
        if let Some(list) = known.filter(|list| list.holds(desk, self.now())) {
            return Ok(Some(list));
        }
        let made = self.make_list(space, desk, wanted, go_on);
        desk.lists.lock().making = None;
        let Some((list, standing)) = made? else {
            return Ok(None);
        };
        let list = Arc::new(list);
        desk.lists.lock().put(&wanted.key, list.clone());
        if wanted.key == usual()?.key && !list.degraded {
            // What stood before ends once it is no longer locked.
            let _before = desk.standing.lock().replace(standing);
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
        let meant = self.meant_by(space, wanted.filter.as_ref())?;
        let sight = Sight::of(&mut desk.state.lock(), wanted, meant.as_ref(), now);
        let mut columns = sight.columns(wanted);
        let degraded = columns.degraded;
        let mut options = wanted.options.clone();
        if degraded {
            options.candidates = 1.0;
        }
        let sought = columns.sought(&options);
        let sought = Sought {
            ids: &columns.ids,
            rows: &sought,
            among: Among::Context(Context::Production),
            count: NEIGHBOURS,
            by: By::Direction,
        };
        let done = Cell::new(0);
        // The graph asks between chunks.
        let goes_on = || {
            let making = Making {
                done: done.replace(done.get() + CHUNK).min(sought.rows.len()),
                of: sought.rows.len(),
            };
            desk.lists.lock().making = Some((wanted.key.clone(), making));
            go_on()
        };
        let Some(graph) = self.graph(space, desk, &sought, &goes_on)? else {
            return Ok(None);
        };
        let radius = options.radius.unwrap_or_else(|| radius(&graph));
        columns.cover(&graph);
        self.look_at_triage(space, desk, &mut columns)?;
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
            digest: digest_of(&entries),
            entries,
            epoch: version.0,
            as_of: version.1,
            changes: columns.changes,
            radius,
            mass,
            uncovered,
            until: columns.until,
            made,
            degraded,
        };
        Ok(Some((list, standing)))
    }

    /// The ids that a filter means; `None` without one, which means all records.
    pub(crate) fn meant_by(
        &self,
        space: &Space,
        filter: Option<&Filter>,
    ) -> Result<Option<BTreeSet<String>>> {
        filter.map(|filter| self.meant(space, filter)).transpose()
    }

    /// The ids that a filter means.
    pub(crate) fn meant(&self, space: &Space, filter: &Filter) -> Result<BTreeSet<String>> {
        let request = GetRequest {
            selection: RecordSelection {
                ids: None,
                filter: Some(filter.clone()),
            },
            consistency: Consistency::everything(),
            ..GetRequest::default()
        };
        let found = self.database.get(space.scope(), &request)?;
        Ok(found.ids.iter().map(str::to_owned).collect())
    }

    /// Notes how near production is to what a person saw go wrong.
    fn look_at_triage(&self, space: &Space, desk: &Desk, columns: &mut Columns) -> Result<()> {
        let triaged = std::mem::take(&mut columns.triaged);
        let production = Among::Context(Context::Production);
        let wanted = (TRIAGE_NEIGHBOURS, By::Direction);
        for part in triaged.chunks(CHUNK) {
            for (_, near) in self.near_of(space, desk, part, production, wanted)? {
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

impl List {
    /// What tells it from others of that key.
    pub(crate) fn mark(&self, key: &str) -> String {
        format!("{key}.{}", self.digest)
    }

    /// Whether nothing has moved since it was made.
    pub(crate) fn holds(&self, desk: &Desk, now: f64) -> bool {
        let state = desk.state.lock();
        let version = (state.as_of, state.epoch, state.changes);
        (self.as_of, self.epoch, self.changes) == version && now < self.until
    }
}

/// A digest of entries in their order.
fn digest_of(entries: &[Entry]) -> String {
    let mut digest = Sha256::new();
    for entry in entries {
        digest.update((entry.id.len() as u64).to_le_bytes());
        digest.update(&entry.id);
    }
    hexadecimal(&digest.finalize()[..KEY_BYTES])
}

/// The filter that a request tells as `where`.
pub(crate) fn filter_told(told: Option<Json>) -> Result<Option<Filter>> {
    filters::parse(told, None)
        .map_err(|error| Refusal::new(error.status, "bad_filter", error.message).field("where"))
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
