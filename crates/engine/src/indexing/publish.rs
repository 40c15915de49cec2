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
use crate::Result;
use crate::catalog::{Catalog, Manifest, ManifestCommit, SegmentRow};
use crate::log::Log;
use crate::model::{Schema, SegmentId, SeqId};
use crate::query::Part;
use crate::segments::{Segment, SegmentSummary, Source, write_segment};
use crate::storage::Storage;

/// What publishing needs of the database. While there is one, nobody sweeps folders.
pub(crate) struct Publisher<'a> {
    /// The disk.
    pub(crate) storage: &'a dyn Storage,
    /// The catalogue.
    pub(crate) catalog: &'a Catalog,
    /// The log, told what it may forget.
    pub(crate) log: &'a Log,
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
    pub(crate) fn seal(&self, publisher: &Publisher<'_>) -> Result<bool> {
        let Some(loaded) = self.loaded() else {
            return Ok(false);
        };
        let sealed = self.seal_loaded(publisher, loaded);
        self.sweep_if_gone(publisher.storage);
        sealed
    }

    fn seal_loaded(&self, publisher: &Publisher<'_>, loaded: &Loaded) -> Result<bool> {
        let _sealing = self.sealing.lock();
        let frozen = {
            let mut working = loaded.working.lock();
            working.frozen = working.chunks.len();
            self.searched.store(false, Ordering::Relaxed);
            Frozen {
                chunks: pairs(&working.chunks),
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
            loaded.working.lock().frozen = 0;
            return Ok(false);
        }
        let result = self.seal_frozen(publisher, &frozen);
        let mut working = loaded.working.lock();
        working.frozen = 0;
        let (id, summary) = result?;
        let rest = working.chunks.split_off(frozen.chunks.len());
        let sealed = std::mem::replace(&mut working.chunks, rest);
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
    ) -> Result<(SegmentId, Option<(Source, SegmentSummary)>)> {
        let id = SegmentId::random();
        let alive: u64 = frozen
            .chunks
            .iter()
            .map(|(source, dead)| u64::from(source.rows()) - dead.len())
            .sum();
        let written = if alive == 0 {
            None
        } else {
            Some(self.write_new_segment(publisher, id, &frozen.chunks)?)
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
            self.remove_segment(publisher, id);
            return Err(error);
        }
        *published = commit.manifest;
        Ok((id, written))
    }

    /// Merges `choice` into one segment.
    pub(crate) fn merge(&self, publisher: &Publisher<'_>, choice: &MergeChoice) -> Result<()> {
        let Some(loaded) = self.loaded() else {
            return Ok(());
        };
        let merged = self.merge_loaded(publisher, loaded, choice);
        self.sweep_if_gone(publisher.storage);
        merged
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
        let alive: u64 = inputs
            .iter()
            .map(|(source, dead)| u64::from(source.rows()) - dead.len())
            .sum();
        let written = if alive == 0 {
            None
        } else {
            Some(self.write_new_segment(publisher, id, &inputs)?)
        };
        let _sealing = self.sealing.lock();
        self.commit_merge(
            publisher,
            choice,
            id,
            written.as_ref().map(|(_, summary)| summary),
        )?;
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
        for id in &choice.segments {
            self.remove_segment(publisher, *id);
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
            self.remove_segment(publisher, id);
            return Err(error);
        }
        *published = commit.manifest;
        Ok(())
    }

    /// The segments that are due to be merged, if any: `fan_out` of one size class, or one that
    /// is more than a quarter dead or an index of which is damaged.
    pub(crate) fn due_merge(&self, fan_out: usize, rows_max: usize) -> Option<MergeChoice> {
        let loaded = self.loaded()?;
        let working = loaded.working.lock();
        let segments = working.segments.iter();
        let sizes: Vec<(SegmentId, u64)> = segments
            .clone()
            .map(|(id, part)| (*id, u64::from(part.source.rows())))
            .collect();
        let damaged = segments
            .clone()
            .find(|(_, part)| part.source.has_damaged_index())
            .map(|(id, _)| *id);
        drop(working);
        let published = self.published.lock();
        let mostly_dead = sizes.iter().find(|(id, rows)| {
            published
                .segments
                .iter()
                .find(|row| row.id == *id)
                .is_some_and(|row| read_dead(&row.dead).is_ok_and(|dead| dead.len() * 4 > *rows))
        });
        if let Some(id) = damaged.or(mostly_dead.map(|(id, _)| *id)) {
            return Some(MergeChoice { segments: vec![id] });
        }
        drop(published);
        let class = |rows: u64| (rows.max(1).ilog2() / (fan_out as u32).ilog2().max(1)) as usize;
        for wanted in 0..64 {
            let alike: Vec<&(SegmentId, u64)> = sizes
                .iter()
                .filter(|(_, rows)| class(*rows) == wanted && *rows * 2 <= rows_max as u64)
                .collect();
            if alike.len() >= fan_out {
                let mut rows = 0;
                let segments: Vec<SegmentId> = alike
                    .iter()
                    .take_while(|(_, count)| {
                        rows += count;
                        rows <= rows_max as u64
                    })
                    .map(|(id, _)| *id)
                    .collect();
                if segments.len() > 1 {
                    return Some(MergeChoice { segments });
                }
            }
        }
        None
    }

    fn write_new_segment(
        &self,
        publisher: &Publisher<'_>,
        id: SegmentId,
        sources: &[(Source, Arc<RoaringBitmap>)],
    ) -> Result<(Source, SegmentSummary)> {
        let folder = Segment::folder(self.id, id);
        let info = self.info();
        let summary = write_segment(
            publisher.storage,
            &folder,
            sources,
            &info.schema,
            publisher.go_on,
        )?;
        let segment = Segment::open(publisher.storage, &folder, summary.toc_checksum)?;
        Ok((Source::Segment(Arc::new(segment)), summary))
    }

    /// Removes the files of a segment that the catalogue does not name. A failure leaves files
    /// that the next start sweeps.
    fn remove_segment(&self, publisher: &Publisher<'_>, id: SegmentId) {
        let folder = Segment::folder(self.id, id);
        if let Err(error) = publisher.storage.remove_dir(&folder) {
            tracing::warn!(folder, %error, "files of a removed segment stay until the next start");
        }
    }

    /// Removes what was written for a collection that was deleted meanwhile.
    fn sweep_if_gone(&self, storage: &dyn Storage) {
        if !self.is_over() || !self.is_deleted() {
            return;
        }
        let folder = format!("segments/{}", self.id);
        if let Err(error) = storage.remove_dir(&folder) {
            tracing::warn!(folder, %error, "files of a deleted collection stay for now");
        }
    }
}

fn pairs(parts: &[Part]) -> Vec<(Source, Arc<RoaringBitmap>)> {
    parts
        .iter()
        .map(|part| (part.source.clone(), part.dead.clone()))
        .collect()
}

fn segment_row(id: SegmentId, summary: &SegmentSummary) -> SegmentRow {
    SegmentRow {
        id,
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
