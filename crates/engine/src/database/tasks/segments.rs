//! Tasks about segments: merged, built anew, swept; and collections that nobody asks for unloaded.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{Inner, asked_collection, check_names, collection_in, told};
use crate::catalog::CollectionRow;
use crate::control::Component;
use crate::indexing::{MergeChoice, read_dead};
use crate::maintenance::{
    Named, Setbacks, find_orphans, forgive_deletion, merge_chosen, merge_round,
};
use crate::model::SegmentId;
use crate::schedule::Run;
use crate::{Error, ErrorKind, Result};

/// A collection is built anew by itself when one row in so many is dead.
const DEAD_SHARE: u64 = 10;
/// How long the sweep waits for running seals and merges.
const SWEEP_WAIT: Duration = Duration::from_secs(5);

#[derive(Default, Serialize)]
struct MergeReport {
    segments_before: usize,
    segments_after: usize,
    /// Collections that are due for a merge.
    due: u64,
    /// Merges done.
    merges: u64,
}

#[derive(Default, Serialize)]
struct RebuildReport {
    rebuilt: Vec<Rebuilt>,
}

#[derive(Serialize)]
struct Rebuilt {
    collection: String,
    name: String,
    segments: usize,
    rows: u64,
    dead_rows: u64,
}

#[derive(Default, Serialize)]
struct SweepReport {
    /// Folders that the catalogue does not name.
    found: Vec<String>,
    removed: usize,
}

#[derive(Default, Serialize)]
struct UnloadReport {
    /// Collections whose records were asked for since the start.
    loaded: u64,
    /// Of these, collections that nobody asked for since the run before.
    idle: u64,
    unloaded: u64,
}

impl Inner {
    /// Merges until nothing is due.
    pub(super) fn merge_segments(&self, run: &Run<'_>) -> Result<Value> {
        let count = |inner: &Self| -> usize {
            let collections = inner.all_collections();
            collections.iter().map(|one| one.segment_count()).sum()
        };
        let mut report = MergeReport {
            segments_before: count(self),
            due: self.due_merges(),
            ..MergeReport::default()
        };
        let go_on = || run.go_on();
        while !run.dry_run && run.go_on() && self.merge_while(&go_on)? {
            report.merges += 1;
        }
        report.segments_after = count(self);
        told(&report)
    }

    /// One merge, unless the index builder is paused; whether there was one.
    pub(in crate::database) fn merge_while(
        &self,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<bool> {
        let _inside = self.controls.enter(Component::IndexBuilder)?;
        let _merging = self.merging.lock();
        merge_round(
            &self.all_collections(),
            &self.publisher(go_on),
            &self.config.upkeep,
            &self.config.limits,
            self.config.clock.monotonic(),
        )
    }

    /// Collections that are due for a merge.
    pub(in crate::database) fn due_merges(&self) -> u64 {
        let upkeep = &self.config.upkeep;
        let collections = self.all_collections();
        let now = self.config.clock.monotonic();
        let due = collections
            .iter()
            .filter(|collection| collection.due_merge(upkeep, now).is_some());
        due.count() as u64
    }

    /// Writes the segments of collections anew, with their indexes and without dead rows: of the
    /// one that was named, of all where that was asked, else of those with many dead rows, and single
    /// segments whose searches find too little.
    pub(super) fn rebuild_indexes(&self, run: &Run<'_>) -> Result<Value> {
        let asked = asked_collection(run)?;
        let all = all_of(run.arguments)?;
        let rows = self.catalog.load()?;
        if let Some(id) = asked
            && !rows.iter().any(|row| row.collection.id == id)
        {
            return Err(Error::missing_collection(id));
        }
        let mut report = RebuildReport::default();
        let mut setbacks = Setbacks::default();
        for row in &rows {
            let (count, dead) = rows_of(row)?;
            let wanted = match asked {
                Some(id) => row.collection.id == id,
                None => all || dead * DEAD_SHARE >= count,
            };
            let choices = if wanted {
                self.whole(row)
            } else if asked.is_none() {
                self.drifted(row)
            } else {
                Vec::new()
            };
            if choices.is_empty() {
                continue;
            }
            if !run.go_on() {
                break;
            }
            if run.dry_run || setbacks.pass(self.rebuild(row, &choices, run), false)? {
                report.rebuilt.push(Rebuilt {
                    collection: row.collection.id.to_string(),
                    name: row.collection.name.clone(),
                    segments: choices.iter().map(|choice| choice.segments.len()).sum(),
                    rows: count,
                    dead_rows: dead,
                });
            }
        }
        told(&setbacks.end(report)?)
    }

    /// All segments of a collection: as one where that is no more than a merge may take.
    fn whole(&self, row: &CollectionRow) -> Vec<MergeChoice> {
        let segments: Vec<_> = row.manifest.segments.iter().map(|one| one.id).collect();
        let Some(live) = self
            .live(row.collection.id)
            .filter(|_| !segments.is_empty())
        else {
            return Vec::new();
        };
        // How large segments are is known once they are open; what cannot be opened fails later.
        let _ = live.snapshot(self.config.storage.as_ref());
        let all = MergeChoice { segments };
        if live.may_merge(&all, &self.config.upkeep) {
            vec![all]
        } else {
            all.segments.into_iter().map(single).collect()
        }
    }

    /// The segments of a collection whose searches find too little.
    fn drifted(&self, row: &CollectionRow) -> Vec<MergeChoice> {
        let live = self.live(row.collection.id);
        let drifted = live.map_or_else(Vec::new, |live| live.drifted_segments());
        drifted.into_iter().map(single).collect()
    }

    /// Whether the collection was still there to be built anew.
    fn rebuild(&self, row: &CollectionRow, choices: &[MergeChoice], run: &Run<'_>) -> Result<bool> {
        let Some(live) = self.live(row.collection.id) else {
            return Ok(false);
        };
        let go_on = || run.go_on() && !self.is_closing();
        for choice in choices {
            let _inside = self.controls.enter(Component::IndexBuilder)?;
            let _merging = self.merging.lock();
            // A merge is of records that are at hand.
            match live.snapshot(self.config.storage.as_ref()) {
                Err(_) if live.is_abandoned() => return Ok(false),
                loaded => loaded?,
            };
            merge_chosen(&live, choice, &self.publisher(&go_on), &self.config.limits)?;
        }
        Ok(true)
    }

    /// Removes folders of segments and files of blobs that the catalogue does not name. None is published meanwhile.
    pub(super) fn sweep_folders(&self, run: &Run<'_>) -> Result<Value> {
        let Some(_publishing) = self.publishing.try_write_for(SWEEP_WAIT) else {
            let message = "A segment is being written; the sweep waits for a quieter moment.";
            return Err(Error::new(ErrorKind::Busy, message));
        };
        // A transaction that failed may come true at the next start, and name what nobody names now.
        if let Some(refusal) = self.catalog.refusal() {
            return Err(refusal);
        }
        let storage = self.config.storage.as_ref();
        let mut report = SweepReport {
            found: find_orphans(storage, Named::by(&self.catalog.load()?))?,
            removed: 0,
        };
        for folder in &report.found {
            if run.dry_run || !run.go_on() {
                break;
            }
            storage.remove_dir(folder)?;
            report.removed += 1;
        }
        for path in self.unnamed_blobs()? {
            if !run.dry_run && run.go_on() {
                storage.remove_file(&path)?;
                report.removed += 1;
            }
            report.found.push(path);
        }
        told(&report)
    }

    /// Lets go of what collections hold in memory that nobody asked for since the run before.
    pub(super) fn unload_idle(&self, run: &Run<'_>) -> Result<Value> {
        let (mut report, mut setbacks) = (UnloadReport::default(), Setbacks::default());
        for collection in self.all_collections() {
            if !collection.is_loaded() {
                continue;
            }
            report.loaded += 1;
            report.idle += u64::from(!collection.was_asked());
            if !run.dry_run && run.go_on() {
                let released = collection.release(self.config.storage.as_ref());
                let released = setbacks.pass(forgive_deletion(released, false), false)?;
                report.unloaded += u64::from(released);
            }
        }
        told(&setbacks.end(report)?)
    }
}

/// Whether a job may tell the rebuilding of indexes this.
pub(super) fn check_rebuild(arguments: &Value) -> Result<()> {
    check_names(arguments, &["collection", "all"])?;
    collection_in(arguments)?;
    all_of(arguments).map(|_| ())
}

/// Whether all collections are asked for.
fn all_of(arguments: &Value) -> Result<bool> {
    match arguments.get("all") {
        None => Ok(false),
        Some(Value::Bool(all)) => Ok(*all),
        Some(other) => Err(Error::invalid(format!(
            "The argument `all` is {other}; it is true or false."
        ))),
    }
}

/// One segment to be written anew.
fn single(id: SegmentId) -> MergeChoice {
    MergeChoice { segments: vec![id] }
}

/// Rows and dead rows in the segments of a collection.
fn rows_of(row: &CollectionRow) -> Result<(u64, u64)> {
    let segments = &row.manifest.segments;
    let rows = segments.iter().map(|one| u64::from(one.rows)).sum();
    let dead = segments.iter().try_fold(0, |sum, one| -> Result<u64> {
        Ok(sum + read_dead(&one.dead)?.len())
    })?;
    Ok((rows, dead))
}
