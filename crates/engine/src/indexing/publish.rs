//! Publishes a collection's records as segments: seals what is in memory, merges what is on disk.
//!
//! What must stay true: files are durable before the catalogue names them, and are removed only
//! after it has forgotten them. The dead rows committed with a segment are those at the applied
//! SeqId, so that the log after it can be replayed; those dead now are carried over in memory.
//! A removed segment's files stay readable for the snapshots that mapped them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLockReadGuard;
use roaring::RoaringBitmap;

use super::LiveCollection;
use super::apply::translate;
use super::collection::{Loaded, read_dead, write_dead};
use super::due::lacks_vector_index;
use super::removal::{remove_collection, remove_segment};
use crate::catalog::{Catalog, Manifest, ManifestCommit, SegmentRow};
use crate::config::Upkeep;
use crate::log::Log;
use crate::model::{Schema, SegmentId, SeqId};
use crate::query::Part;
use crate::segments::{Indexes, Segment, SegmentSummary, Source, write_segment};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// What publishing needs of the database. While there is one, nobody sweeps folders.
pub(crate) struct Publisher<'a> {
    /// The disk.
    pub(crate) storage: &'a dyn Storage,
    /// The catalogue.
    pub(crate) catalog: &'a Catalog,
    /// The log, told what it may forget.
    pub(crate) log: &'a Log,
    /// Bytes of vectors in memory while they are indexed, about; 0 for all.
    pub(crate) mapped_max: u64,
    /// Asked now and then while a segment is written; `false` ends the work.
    pub(crate) go_on: &'a (dyn Fn() -> bool + Sync),
    /// Shared by all who write segments: the catalogue does not name theirs yet, and a sweep
    /// would take their folders for leftovers.
    pub(crate) _publishing: RwLockReadGuard<'a, ()>,
}

/// Segments to be merged into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MergeChoice {
    pub(crate) segments: Vec<SegmentId>,
}

/// When the indexes of a segment that cost much, those of its vectors and documents, are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CostlyIndexes {
    /// While it is written.
    Now,
    /// By a merge, since rows come faster than they could be indexed.
    Later,
}

/// What was in memory when a seal began.
struct Frozen {
    chunks: Vec<(Source, Arc<RoaringBitmap>)>,
    /// Dead rows of each segment at `applied`.
    dead: Vec<(SegmentId, Arc<RoaringBitmap>)>,
    applied: SeqId,
    dimension: Option<u32>,
    schema: Arc<Schema>,
}

impl LiveCollection {
    /// Writes what is in memory to a segment; whether there was anything to do.
    pub(crate) fn seal(&self, publisher: &Publisher<'_>, costly: CostlyIndexes) -> Result<bool> {
        let Some(loaded) = self.loaded() else {
            return Ok(false);
        };
        self.while_there(publisher, || self.seal_loaded(publisher, loaded, costly))
    }

    fn seal_loaded(
        &self,
        publisher: &Publisher<'_>,
        loaded: &Loaded,
        costly: CostlyIndexes,
    ) -> Result<bool> {
        let _sealing = self.sealing.lock();
        if self.is_broken() {
            return Ok(false);
        }
        let frozen = {
            let mut working = loaded.working.lock();
            working.chunks.freeze();
            self.searched.store(false, Ordering::Relaxed);
            Frozen {
                chunks: pairs(working.chunks.parts()),
                dead: working
                    .segments
                    .iter()
                    .map(|(id, part)| (*id, part.dead.clone()))
                    .collect(),
                applied: working.applied,
                dimension: working.dimension,
                schema: working.schema.clone(),
            }
        };
        if frozen.applied <= self.published.lock().applied {
            loaded.working.lock().chunks.thaw();
            return Ok(false);
        }
        let result = self.seal_frozen(publisher, &frozen, costly);
        let mut working = loaded.working.lock();
        let (id, summary) = result.inspect_err(|_| working.chunks.thaw())?;
        self.gauges
            .note_seal(summary.as_ref().map(|(_, one)| one.rows));
        let sealed = working.chunks.take_frozen()?;
        if let Some((segment, summary)) = summary {
            let dead = carried_over(&sealed, &frozen.chunks, &summary);
            working.segments.push((
                id,
                Part {
                    source: segment,
                    dead: Arc::new(dead),
                },
            ));
        }
        self.publish_snapshot(loaded, &working);
        drop(working);
        publisher.log.purge(self.id, frozen.applied)?;
        Ok(true)
    }

    /// Writes and commits; the segment is `None` where no frozen row is alive.
    fn seal_frozen(
        &self,
        publisher: &Publisher<'_>,
        frozen: &Frozen,
        costly: CostlyIndexes,
    ) -> Result<(SegmentId, Option<(Source, SegmentSummary)>)> {
        let id = SegmentId::random();
        let written = if alive(&frozen.chunks) == 0 {
            None
        } else {
            let sound = frozen
                .chunks
                .iter()
                .try_for_each(|(source, _)| source.check_lent());
            let summary =
                sound.and_then(|()| self.write_new_segment(publisher, id, &frozen.chunks, costly));
            let summary = summary.inspect_err(|error| self.end_where_damaged(error))?;
            Some(self.open_written(publisher, id, summary, costly)?)
        };
        let mut published = self.published.lock();
        let mut segments: Vec<SegmentRow> = published.segments.clone();
        for row in &mut segments {
            let dead = frozen.dead.iter().find(|(segment, _)| *segment == row.id);
            row.dead = dead.map_or_else(Vec::new, |(_, dead)| write_dead(dead));
        }
        segments.extend(
            written
                .as_ref()
                .map(|(_, summary)| segment_row(id, summary)),
        );
        let manifest = Manifest {
            version: published.version + 1,
            applied: frozen.applied,
            segments,
        };
        let commit = ManifestCommit {
            collection: self.id,
            manifest,
            dimension: frozen.dimension,
            schema: Some(frozen.schema.as_ref().clone()),
        };
        if let Err(error) = publisher.catalog.commit_manifest(&commit) {
            remove_segment(publisher.storage, publisher.catalog, self.id, id);
            return Err(error);
        }
        self.note_published(&mut published, commit.manifest);
        Ok((id, written))
    }

    /// Ends the collection where `error`, of a seal, is damage: a segment that lends documents to what is
    /// in memory cannot be read. Else its memory would grow, and the log with it, until no collection
    /// had room. Its log is kept, from which it goes on once the segment is put back.
    fn end_where_damaged(&self, error: &Error) {
        if error.kind() == ErrorKind::Corrupted {
            self.unsealable.store(true, Ordering::Relaxed);
            self.fail(error);
        }
    }

    /// Merges `choice` into one segment; does nothing where one of them is gone by now. No two
    /// merges run at once, which is for the caller to see to: the merging thread and jobs may choose
    /// the same segments, and the memory that a merge may take is that of one.
    pub(crate) fn merge(&self, publisher: &Publisher<'_>, choice: &MergeChoice) -> Result<()> {
        let Some(loaded) = self.loaded() else {
            return Ok(());
        };
        self.while_there(publisher, || self.merge_loaded(publisher, loaded, choice))
    }

    fn merge_loaded(
        &self,
        publisher: &Publisher<'_>,
        loaded: &Loaded,
        choice: &MergeChoice,
    ) -> Result<()> {
        let at_start = self.published.lock().clone();
        let inputs = {
            let working = loaded.working.lock();
            let mut inputs = Vec::with_capacity(choice.segments.len());
            for id in &choice.segments {
                let part = working.segments.iter().find(|(segment, _)| segment == id);
                let row = at_start.segments.iter().find(|row| row.id == *id);
                let (Some((_, part)), Some(row)) = (part, row) else {
                    return Ok(());
                };
                inputs.push((part.source.clone(), Arc::new(read_dead(&row.dead)?)));
            }
            inputs
        };
        let id = SegmentId::random();
        let written = if alive(&inputs) == 0 {
            None
        } else {
            let costly = CostlyIndexes::Now;
            let summary = self.write_new_segment(publisher, id, &inputs, costly)?;
            Some(self.open_written(publisher, id, summary, costly)?)
        };
        let _sealing = self.sealing.lock();
        self.commit_merge(
            publisher,
            choice,
            id,
            written.as_ref().map(|(_, summary)| summary),
        )?;
        self.gauges
            .note_merge(written.as_ref().map(|(_, one)| one.rows));
        let mut working = loaded.working.lock();
        let first = working
            .segments
            .iter()
            .position(|(segment, _)| *segment == choice.segments[0]);
        let parts: Vec<Part> = choice
            .segments
            .iter()
            .filter_map(|id| working.segments.iter().find(|(segment, _)| segment == id))
            .map(|(_, part)| part.clone())
            .collect();
        working
            .segments
            .retain(|(segment, _)| !choice.segments.contains(segment));
        if let Some((source, summary)) = written {
            let dead = carried_over(&parts, &inputs, &summary);
            let at = first.unwrap_or(0).min(working.segments.len());
            working.segments.insert(
                at,
                (
                    id,
                    Part {
                        source,
                        dead: Arc::new(dead),
                    },
                ),
            );
        }
        self.publish_snapshot(loaded, &working);
        drop(working);
        let merged = at_start.segments.iter();
        for row in merged.filter(|row| choice.segments.contains(&row.id)) {
            let home = row.home.unwrap_or(self.id);
            remove_segment(publisher.storage, publisher.catalog, home, row.id);
        }
        Ok(())
    }

    fn commit_merge(
        &self,
        publisher: &Publisher<'_>,
        choice: &MergeChoice,
        id: SegmentId,
        summary: Option<&SegmentSummary>,
    ) -> Result<()> {
        let mut published = self.published.lock();
        let mut manifest = published.clone();
        manifest.version += 1;
        let mut dead = RoaringBitmap::new();
        if let Some(summary) = summary {
            // A seal may have committed more dead rows of the inputs since the merge began.
            for (input, row_of) in choice.segments.iter().zip(&summary.row_of) {
                let row = manifest.segments.iter().find(|row| row.id == *input);
                dead |= translate(&read_dead(row.map_or(&[], |row| &row.dead))?, row_of);
            }
        }
        manifest
            .segments
            .retain(|row| !choice.segments.contains(&row.id));
        manifest.segments.extend(summary.map(|summary| SegmentRow {
            dead: write_dead(&dead),
            ..segment_row(id, summary)
        }));
        let commit = ManifestCommit {
            collection: self.id,
            manifest,
            dimension: None,
            schema: None,
        };
        if let Err(error) = publisher.catalog.commit_manifest(&commit) {
            remove_segment(publisher.storage, publisher.catalog, self.id, id);
            return Err(error);
        }
        self.note_published(&mut published, commit.manifest);
        Ok(())
    }

    /// Whether `choice` makes no larger segment, and takes no more memory, than a merge may.
    pub(crate) fn may_merge(&self, choice: &MergeChoice, upkeep: &Upkeep) -> bool {
        let rows = self.sum_of(choice, |source| u64::from(source.rows()));
        is_bearable(upkeep, rows, self.sum_of(choice, Source::merge_bytes))
    }

    /// Bytes on disk of the segments of `choice`.
    pub(crate) fn disk_bytes(&self, choice: &MergeChoice) -> u64 {
        self.sum_of(choice, Source::disk_bytes)
    }

    fn sum_of(&self, choice: &MergeChoice, of: impl Fn(&Source) -> u64) -> u64 {
        let Some(loaded) = self.loaded() else {
            return 0;
        };
        let working = loaded.working.lock();
        let chosen = working.segments.iter();
        let chosen = chosen.filter(|(id, _)| choice.segments.contains(id));
        chosen.map(|(_, part)| of(&part.source)).sum()
    }

    fn write_new_segment(
        &self,
        publisher: &Publisher<'_>,
        id: SegmentId,
        sources: &[(Source, Arc<RoaringBitmap>)],
        costly: CostlyIndexes,
    ) -> Result<SegmentSummary> {
        // What nobody will see is not written to its end.
        let go_on = || !self.is_abandoned() && (publisher.go_on)();
        let folder = Segment::folder(self.id, id);
        let dimension = sources.first().map_or(0, |(source, _)| source.dimension());
        let recent = self.samples.recent(dimension);
        let mut indexes = Indexes::from(&self.info().schema).asked_for(recent);
        indexes = indexes.within(publisher.mapped_max);
        if costly == CostlyIndexes::Later {
            indexes = indexes.in_a_hurry();
        }
        write_segment(publisher.storage, &folder, sources, indexes, &go_on)
    }

    fn open_written(
        &self,
        publisher: &Publisher<'_>,
        id: SegmentId,
        summary: SegmentSummary,
        costly: CostlyIndexes,
    ) -> Result<(Source, SegmentSummary)> {
        let folder = Segment::folder(self.id, id);
        let segment = Segment::open(publisher.storage, &folder, summary.toc_checksum)?;
        let segment = Source::Segment(Arc::new(segment));
        if costly == CostlyIndexes::Now && lacks_vector_index(&segment) {
            self.unindexable.store(true, Ordering::Relaxed);
        }
        Ok((segment, summary))
    }

    /// Does `work`, which writes or reads files of the collection. Where it is deleted meanwhile, its
    /// files stay until the work has ended, and that it failed says nothing but that.
    fn while_there<T>(
        &self,
        publisher: &Publisher<'_>,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.publishing.fetch_add(1, Ordering::SeqCst);
        let done = self.unless_gone(work());
        self.publishing.fetch_sub(1, Ordering::SeqCst);
        self.remove_if_gone(publisher.storage, publisher.catalog);
        done
    }

    /// Removes the files of a collection that was deleted, unless somebody works with them, who will.
    pub(crate) fn remove_if_gone(&self, storage: &dyn Storage, catalog: &Catalog) {
        if self.is_abandoned() && self.publishing.load(Ordering::SeqCst) == 0 {
            remove_collection(storage, catalog, self.id, &self.published_segments());
        }
    }
}

/// Whether a merge may make a segment of so many rows, with so many bytes of memory.
pub(super) fn is_bearable(upkeep: &Upkeep, rows: u64, bytes: u64) -> bool {
    rows <= upkeep.segment_rows_max as u64 && bytes <= upkeep.merge_bytes
}

fn pairs(parts: &[Part]) -> Vec<(Source, Arc<RoaringBitmap>)> {
    parts
        .iter()
        .map(|part| (part.source.clone(), part.dead.clone()))
        .collect()
}

/// How many rows are not dead.
fn alive(sources: &[(Source, Arc<RoaringBitmap>)]) -> u64 {
    let alive = sources
        .iter()
        .map(|(source, dead)| u64::from(source.rows()) - dead.len());
    alive.sum()
}

fn segment_row(id: SegmentId, summary: &SegmentSummary) -> SegmentRow {
    SegmentRow {
        id,
        home: None,
        rows: summary.rows,
        toc_checksum: summary.toc_checksum,
        dead: Vec::new(),
    }
}

/// Rows of the new segment that died while it was written.
fn carried_over(
    now: &[Part],
    inputs: &[(Source, Arc<RoaringBitmap>)],
    summary: &SegmentSummary,
) -> RoaringBitmap {
    debug_assert_eq!(
        now.len(),
        inputs.len(),
        "the inputs of a seal or merge stay in place"
    );
    now.iter()
        .zip(&summary.row_of)
        .fold(RoaringBitmap::new(), |dead, (part, row_of)| {
            dead | translate(&part.dead, row_of)
        })
}
