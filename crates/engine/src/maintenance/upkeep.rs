//! Decides which collection is sealed or merged next, and sweeps files that nobody names.
//!
//! What must stay true: a merge leaves the disk room for writes; work for a collection that is deleted meanwhile is no
//! failure; a collection that is damaged, or too large to be merged, keeps no other waiting; only a folder that the
//! catalogue does not name is swept.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::catalog::CollectionRow;
use crate::config::{Limits, Upkeep};
use crate::indexing::{CostlyIndexes, LiveCollection, MergeChoice, Publisher};
use crate::storage::{Entry, Storage};
use crate::{Error, ErrorKind, Result};

/// How long a collection is left alone after a merge of it met damage, or had no room.
const SETBACK_PAUSE: Duration = Duration::from_mins(1);

/// Free bytes that merges leave, as a multiple of what writes need.
const FREE_BYTES_FACTOR: u64 = 4;

/// What goes wrong with one collection while there is work for others, whose turn comes first.
#[derive(Default)]
pub(crate) struct Setbacks(Option<Error>);

impl Setbacks {
    /// Notes an error that is of one collection alone: it is damaged, or the disk has no room for what is to be
    /// done with it. Any other concerns all, and is an error still.
    pub(crate) fn pass<T>(&mut self, result: Result<T>, otherwise: T) -> Result<T> {
        match result {
            Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::OutOfSpace) => {
                self.note(error);
                Ok(otherwise)
            }
            result => result,
        }
    }

    /// Notes one.
    pub(crate) fn note(&mut self, error: Error) {
        self.0.get_or_insert(error);
    }

    /// What was `done`, or the first of them.
    pub(crate) fn end<T>(self, done: T) -> Result<T> {
        self.0.map_or(Ok(done), Err)
    }
}

/// Seals every collection that is due; whether one was.
pub(crate) fn seal_round(
    collections: &[Arc<LiveCollection>],
    publisher: &Publisher<'_>,
    upkeep: &Upkeep,
    now: Duration,
) -> Result<bool> {
    let mut in_memory: Vec<&Arc<LiveCollection>> = collections
        .iter()
        .filter(|collection| collection.memory().0 > 0)
        .collect();
    in_memory.sort_by_key(|collection| std::cmp::Reverse(collection.memory().0));
    let mut total: u64 = in_memory
        .iter()
        .map(|collection| collection.memory().0)
        .sum();
    let mut due: Vec<&Arc<LiveCollection>> = Vec::new();
    for collection in in_memory {
        let (bytes, rows) = collection.memory();
        let idle = now.saturating_sub(collection.written_at()) >= upkeep.seal_idle_after
            && bytes >= upkeep.seal_idle_bytes as u64;
        let large = bytes >= upkeep.seal_bytes as u64 || rows >= upkeep.seal_rows as u64;
        let searched = collection.is_searched() && rows >= upkeep.seal_searched_rows as u64;
        if large || idle || searched || total > upkeep.memory_bytes as u64 {
            total -= bytes;
            due.push(collection);
        }
    }
    let log = publisher.log;
    let crowded = log.bytes() > upkeep.log_bytes
        && indexed_bytes(log.bytes(), collections) > upkeep.log_bytes;
    let holders = if crowded {
        log.holders_of_oldest()
    } else {
        Vec::new()
    };
    let by_id: HashMap<_, _> = collections.iter().map(|one| (one.id, one)).collect();
    due.extend(holders.iter().filter_map(|id| by_id.get(id).copied()));
    due.extend(longest_idle(collections, upkeep, now));
    let (mut any, mut setbacks) = (false, Setbacks::default());
    let mut sealed = HashSet::new();
    for collection in due {
        if sealed.insert(collection.id) && (publisher.go_on)() && !collection.is_deleted() {
            let vectors = if collection.is_hurried(now) {
                CostlyIndexes::Later
            } else {
                CostlyIndexes::Now
            };
            collection.note_filling(now);
            let sealed = forgive_deletion(collection.seal(publisher, vectors), false);
            any |= setbacks.pass(sealed, false)?;
        }
    }
    setbacks.end(any)
}

/// The collection that nobody has written to for the longest time, however little of it is in
/// memory: one a round, so that many small ones cost little, and all come to their turn.
fn longest_idle<'a>(
    collections: &'a [Arc<LiveCollection>],
    upkeep: &Upkeep,
    now: Duration,
) -> Option<&'a Arc<LiveCollection>> {
    let is_idle = |one: &&Arc<LiveCollection>| {
        now.saturating_sub(one.written_at()) >= upkeep.seal_idle_after
            && one.has_unsealed()
            && !one.has_backlog()
    };
    let idle = collections.iter().filter(is_idle);
    idle.min_by_key(|one| one.written_at())
}

/// Bytes of the log that sealing can give back: not those of batches that are yet to be indexed,
/// for which it would make many small segments to no avail.
fn indexed_bytes(log_bytes: u64, collections: &[Arc<LiveCollection>]) -> u64 {
    let backlog = |one: &Arc<LiveCollection>| one.backlog().bytes;
    log_bytes.saturating_sub(collections.iter().map(backlog).sum())
}

/// Merges one group of segments; whether there was one. What cannot be merged is put off, and told while there is
/// nothing else to merge.
pub(crate) fn merge_round(
    collections: &[Arc<LiveCollection>],
    publisher: &Publisher<'_>,
    upkeep: &Upkeep,
    limits: &Limits,
    now: Duration,
) -> Result<bool> {
    let mut setbacks = Setbacks::default();
    for collection in collections
        .iter()
        .filter(|collection| collection.is_loaded())
    {
        if let Some(error) = collection.merge_setback(now) {
            setbacks.note(error);
        }
        let choice = collection.due_merge(upkeep, now);
        if let Some(choice) = choice
            && !collection.is_deleted()
            && (publisher.go_on)()
        {
            let merged = merge_chosen(collection, &choice, publisher, limits);
            if let Err(error) = &merged {
                collection.put_merges_off(now + SETBACK_PAUSE, error.clone());
            }
            if setbacks.pass(merged.map(|()| true), false)? {
                return Ok(true);
            }
        }
    }
    setbacks.end(false)
}

/// Merges `choice` of a collection, which may be deleted meanwhile. No two merges run at once: see
/// [`LiveCollection::merge`].
pub(crate) fn merge_chosen(
    collection: &LiveCollection,
    choice: &MergeChoice,
    publisher: &Publisher<'_>,
    limits: &Limits,
) -> Result<()> {
    check_room(collection, choice, publisher.storage, limits)?;
    forgive_deletion(collection.merge(publisher, choice), ())
}

/// Refuses a merge for which the disk has no room: what it writes is as large as what it reads, and
/// what writes need comes first, so merges stop well before the disk is full.
fn check_room(
    collection: &LiveCollection,
    choice: &MergeChoice,
    storage: &dyn Storage,
    limits: &Limits,
) -> Result<()> {
    let free = storage.free_bytes()?;
    let reserve = limits.free_disk_bytes_min.saturating_mul(FREE_BYTES_FACTOR);
    let needed = reserve.saturating_add(collection.disk_bytes(choice));
    if free >= needed {
        return Ok(());
    }
    let message = format!(
        "The disk is nearly full: a merge needs {needed} free bytes, of which {reserve} stay free \
         for writes; there are {free}."
    );
    Err(Error::new(ErrorKind::OutOfSpace, message))
}

/// A collection that was deleted meanwhile, or work that was called off, is no failure.
pub(crate) fn forgive_deletion<T>(result: Result<T>, otherwise: T) -> Result<T> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Busy) => {
            Ok(otherwise)
        }
        result => result,
    }
}

/// The folders under `segments` that the catalogue names: of each collection's folder those of the segments
/// in it.
pub(crate) struct Named(HashMap<String, HashSet<String>>);

impl Named {
    /// Those that these collections name.
    pub(crate) fn by(rows: &[CollectionRow]) -> Self {
        let mut named: HashMap<String, HashSet<String>> = HashMap::new();
        for row in rows {
            let id = row.collection.id;
            named.entry(id.to_string()).or_default();
            for segment in &row.manifest.segments {
                let home = segment.home.unwrap_or(id).to_string();
                named
                    .entry(home)
                    .or_default()
                    .insert(segment.id.to_string());
            }
        }
        Self(named)
    }
}

/// What becomes of folders of collections that the catalogue does not know at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strangers {
    /// They are removed: a deletion or a restore left them.
    Go,
    /// They stay, and are told: the catalogue may have lost the transactions that knew of them.
    Stay,
}

/// Removes the folders of segments and collections that the catalogue does not name: what a crash
/// left between writing files and committing them, or between forgetting and removing them.
pub(crate) fn sweep_orphans(
    storage: &dyn Storage,
    named: Named,
    strangers: Strangers,
) -> Result<usize> {
    let mut swept = 0;
    for folder in find_orphans(storage, named)? {
        // Of a collection that is known one of its folders is told, never all of it.
        let is_stranger = folder
            .strip_prefix("segments/")
            .is_some_and(|rest| !rest.contains('/'));
        if is_stranger && strangers == Strangers::Stay {
            tracing::warn!(
                folder,
                "the folder of a collection that the catalogue does not know stays until the job \
                 orphan_sweep, since the database was not closed: is the collection missing, keep a \
                 copy of the data folder now"
            );
        } else {
            storage.remove_dir(&folder)?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// The folders that the catalogue does not name. Files between them, such as those that the finder of
/// a Mac leaves, are none of ours. None is told where a folder that it names is missing: an older
/// catalogue names what a merge has replaced, and does not know what it was replaced by.
pub(crate) fn find_orphans(storage: &dyn Storage, named: Named) -> Result<Vec<String>> {
    if !storage.exists("segments")? {
        return Ok(Vec::new());
    }
    let Named(mut named) = named;
    let mut orphans = Vec::new();
    let folders = |entry: &Entry| entry.is_dir;
    for collection in storage.list("segments")?.into_iter().filter(folders) {
        let folder = format!("segments/{}", collection.name);
        let Some(segments) = named.get_mut(&collection.name) else {
            orphans.push(folder);
            continue;
        };
        for segment in storage.list(&folder)?.into_iter().filter(folders) {
            if !segments.remove(&segment.name) {
                orphans.push(format!("{folder}/{}", segment.name));
            }
        }
    }
    let missing = named.iter().find_map(|(home, segments)| {
        let segment = segments.iter().next()?;
        Some(format!("segments/{home}/{segment}"))
    });
    if let Some(folder) = missing {
        tracing::warn!(
            folder,
            "a segment that the catalogue names is missing: nothing is swept until it is back"
        );
        return Ok(Vec::new());
    }
    Ok(orphans)
}
