//! A collection that is open: takes writes in order, applies them, and gives snapshots.
//!
//! What must stay true:
//!
//! - Locks are taken in this order: `sealing`, `published`, `writer`, `working`, `pending`; none
//!   is held while a batch waits for the log. `sealing` and `published` alone are held across I/O
//!   (writing a segment, committing the catalogue), and no request waits for them.
//! - Whatever can be wrong with a batch is found before it is logged.
//! - After an apply failed (a damaged segment could not be read) the collection refuses reads and
//!   writes and says why; other collections do not notice.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use roaring::RoaringBitmap;

use super::WorkingSet;
use crate::catalog::{CollectionRow, Manifest};
use crate::log::{Log, Ticket};
use crate::model::{Collection, CollectionId, RecordBatch, SeqId, SeqRange, Strings};
use crate::query::{Part, Snapshot};
use crate::segments::{Segment, Source};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// A collection that is open.
pub(crate) struct LiveCollection {
    pub(crate) id: CollectionId,
    /// Name and metadata; schema and dimension are those of the working set once it is loaded.
    info: RwLock<Arc<Collection>>,
    /// Held from freezing chunks until their segment is published, and while a merge publishes.
    pub(super) sealing: Mutex<()>,
    /// What the catalogue holds of the collection's records.
    pub(super) published: Mutex<Manifest>,
    writer: Mutex<Writer>,
    loaded: OnceLock<Loaded>,
    pending: Mutex<VecDeque<Arc<Pending>>>,
    failure: OnceLock<Error>,
    /// Bytes in memory after the last change, for upkeep to read without a lock.
    memory_bytes: AtomicU64,
    memory_rows: AtomicU64,
    /// Bytes in memory of all collections together.
    memory_total: Arc<AtomicU64>,
    /// Monotonic milliseconds of the last write.
    written_at: AtomicU64,
    /// Whether vectors were searched since the last seal.
    pub(super) searched: AtomicBool,
}

/// The records, once something asked for them.
pub(super) struct Loaded {
    pub(super) working: Mutex<WorkingSet>,
    pub(super) snapshot: ArcSwap<Snapshot>,
}

#[derive(Default)]
struct Writer {
    deleted: bool,
    /// The dimension that the batches admitted so far have.
    dimension: Option<u32>,
    /// Batches admitted and not yet applied or failed.
    in_flight: usize,
}

/// A batch on its way through the log.
struct Pending {
    ticket: Ticket,
    batch: Arc<RecordBatch>,
    applied: AtomicBool,
}

impl LiveCollection {
    /// A collection as the catalogue has it; nothing is read until it is asked for.
    /// What it holds in memory is added to `memory_total`.
    pub(crate) fn new(row: CollectionRow, memory_total: Arc<AtomicU64>) -> Self {
        Self {
            memory_total,
            id: row.collection.id,
            writer: Mutex::new(Writer {
                dimension: row.collection.dimension,
                ..Writer::default()
            }),
            info: RwLock::new(Arc::new(row.collection)),
            sealing: Mutex::new(()),
            published: Mutex::new(row.manifest),
            loaded: OnceLock::new(),
            pending: Mutex::new(VecDeque::new()),
            failure: OnceLock::new(),
            memory_bytes: AtomicU64::new(0),
            memory_rows: AtomicU64::new(0),
            written_at: AtomicU64::new(0),
            searched: AtomicBool::new(false),
        }
    }

    /// The collection as clients are told of it.
    pub(crate) fn describe(&self) -> Collection {
        let mut info = Collection::clone(&self.info());
        if let Some(loaded) = self.loaded.get() {
            let snapshot = loaded.snapshot.load();
            info.schema = snapshot.schema.as_ref().clone();
            info.dimension = snapshot.dimension;
        }
        info
    }

    /// Name, metadata, tenant and database.
    pub(crate) fn info(&self) -> Arc<Collection> {
        self.info.read().clone()
    }

    /// Changes what clients are told; the caller has committed it. Keys that records brought
    /// meanwhile stay known.
    pub(crate) fn set_info(&self, info: Collection) {
        if let Some(loaded) = self.loaded.get() {
            let mut working = loaded.working.lock();
            let mut schema = info.schema.clone();
            schema.add_discovered(&working.schema);
            working.schema = Arc::new(schema);
            loaded.snapshot.store(Arc::new(working.snapshot()));
        }
        *self.info.write() = Arc::new(info);
    }

    /// The records as they are now.
    pub(crate) fn snapshot(&self, storage: &dyn Storage) -> Result<Arc<Snapshot>> {
        self.check_failure()?;
        Ok(self.load(storage)?.snapshot.load_full())
    }

    /// The SeqId up to which segments hold everything.
    pub(crate) fn published_applied(&self) -> SeqId {
        self.published.lock().applied
    }

    /// The last SeqId that readers see.
    pub(crate) fn visible(&self) -> SeqId {
        match self.loaded.get() {
            Some(loaded) => loaded.snapshot.load().visible,
            None => self.published_applied(),
        }
    }

    /// How many records are alive, without opening any file.
    pub(crate) fn count(&self) -> Result<u64> {
        self.check_failure()?;
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded.snapshot.load().count);
        }
        let published = self.published.lock();
        published.segments.iter().try_fold(0, |count, row| {
            Ok(count + u64::from(row.rows) - read_dead(&row.dead)?.len())
        })
    }

    /// How many segments are published.
    pub(crate) fn segment_count(&self) -> usize {
        self.published.lock().segments.len()
    }

    /// Bytes and rows in memory.
    pub(crate) fn memory(&self) -> (u64, u64) {
        (
            self.memory_bytes.load(Ordering::Relaxed),
            self.memory_rows.load(Ordering::Relaxed),
        )
    }

    /// Whether vectors were searched since the last seal.
    pub(crate) fn is_searched(&self) -> bool {
        self.searched.load(Ordering::Relaxed)
    }

    /// Notes that vectors are searched.
    pub(crate) fn note_search(&self) {
        self.searched.store(true, Ordering::Relaxed);
    }

    /// When the collection was last written to, by the monotonic clock.
    pub(crate) fn written_at(&self) -> Duration {
        Duration::from_millis(self.written_at.load(Ordering::Relaxed))
    }

    /// Whether the records were asked for since the database opened.
    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.get().is_some()
    }

    /// Refuses writes from now on; those under way end with `NotFound`.
    pub(crate) fn mark_deleted(&self, deleted: bool) {
        self.writer.lock().deleted = deleted;
    }

    /// Whether the collection is deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.writer.lock().deleted
    }

    /// Logs `batch` and, once it is durable, applies it.
    pub(crate) fn write(
        &self,
        storage: &dyn Storage,
        log: &Log,
        batch: RecordBatch,
        now: Duration,
    ) -> Result<SeqRange> {
        self.check_failure()?;
        let loaded = self.load(storage)?;
        let batch = Arc::new(batch);
        let pending = self.submit(log, &batch)?;
        self.finish(loaded, &pending, now)
    }

    /// Waits until a batch is durable and applied.
    fn finish(&self, loaded: &Loaded, pending: &Arc<Pending>, now: Duration) -> Result<SeqRange> {
        let durable = pending.ticket.wait();
        self.settle(loaded, pending);
        self.written_at
            .store(now.as_millis() as u64, Ordering::Relaxed);
        let seqs = durable?;
        self.check_failure()?;
        if self.is_deleted() {
            return Err(self.gone());
        }
        Ok(seqs)
    }

    /// Applies a batch that the log replays.
    pub(crate) fn replay(&self, storage: &dyn Storage, batch: &Arc<RecordBatch>, seqs: SeqRange) {
        if self.failure.get().is_some() {
            return;
        }
        let applied = self.load(storage).and_then(|loaded| {
            let mut working = loaded.working.lock();
            let result = working.apply(batch, seqs);
            self.publish_snapshot(loaded, &working);
            result
        });
        // A collection whose segments are damaged must not keep the others from opening.
        if let Err(error) = applied {
            self.fail(error);
        } else if let Some(loaded) = self.loaded.get() {
            self.writer.lock().dimension = loaded.snapshot.load().dimension;
        }
    }

    /// Deletes those of `ids` that nobody wrote behind `bound`; answers how many, or `None` where
    /// another write is under way, which may be one of theirs.
    pub(crate) fn delete_unchanged(
        &self,
        storage: &dyn Storage,
        log: &Log,
        ids: &[String],
        bound: SeqId,
        now: Duration,
    ) -> Result<Option<u64>> {
        self.check_failure()?;
        let loaded = self.load(storage)?;
        let (pending, count) = {
            // While the lock is held no other batch is submitted.
            let mut writer = self.writer.lock();
            if writer.in_flight > 0 {
                return Ok(None);
            }
            let mut unchanged = Strings::default();
            {
                let working = loaded.working.lock();
                for id in ids {
                    if working.written(id)?.is_some_and(|seq| seq <= bound) {
                        unchanged.push(id);
                    }
                }
            }
            let count = unchanged.len() as u64;
            if count == 0 {
                return Ok(Some(0));
            }
            let batch = Arc::new(RecordBatch::deletion(unchanged));
            (self.submit_as(&mut writer, log, &batch)?, count)
        };
        self.finish(loaded, &pending, now)?;
        Ok(Some(count))
    }

    fn submit(&self, log: &Log, batch: &Arc<RecordBatch>) -> Result<Arc<Pending>> {
        self.submit_as(&mut self.writer.lock(), log, batch)
    }

    fn submit_as(
        &self,
        writer: &mut Writer,
        log: &Log,
        batch: &Arc<RecordBatch>,
    ) -> Result<Arc<Pending>> {
        if writer.deleted {
            return Err(self.gone());
        }
        let dimension = batch.embeddings.dimension() as u32;
        if dimension > 0 {
            match writer.dimension {
                Some(expected) if expected != dimension => {
                    return Err(wrong_dimension(expected, dimension));
                }
                _ => {}
            }
        }
        let ticket = log.submit(self.id, batch.clone(), None)?;
        if dimension > 0 {
            writer.dimension = Some(dimension);
        }
        writer.in_flight += 1;
        let pending = Arc::new(Pending {
            ticket,
            batch: batch.clone(),
            applied: AtomicBool::new(false),
        });
        self.pending.lock().push_back(pending.clone());
        Ok(pending)
    }

    /// Applies every batch up to `last`, in order. The log finishes the batches of a collection
    /// in order, so that all before `last` are done as well.
    fn settle(&self, loaded: &Loaded, last: &Arc<Pending>) {
        let mut done = 0;
        {
            let mut working = loaded.working.lock();
            while !last.applied.load(Ordering::Acquire) {
                let Some(next) = self.pending.lock().pop_front() else {
                    break;
                };
                if let Ok(seqs) = next.ticket.wait()
                    && self.failure.get().is_none()
                    && let Err(error) = working.apply(&next.batch, seqs)
                {
                    self.fail(error);
                }
                next.applied.store(true, Ordering::Release);
                done += 1;
            }
            if done > 0 {
                self.publish_snapshot(loaded, &working);
            }
        }
        if done > 0 {
            let mut writer = self.writer.lock();
            writer.in_flight -= done;
            if writer.in_flight == 0 {
                // Where the first batch failed, its dimension binds nobody.
                writer.dimension = loaded.snapshot.load().dimension;
            }
        }
    }

    pub(super) fn publish_snapshot(&self, loaded: &Loaded, working: &WorkingSet) {
        loaded.snapshot.store(Arc::new(working.snapshot()));
        let bytes = working.memory_bytes() as u64;
        let before = self.memory_bytes.swap(bytes, Ordering::Relaxed);
        // Wraps on purpose: the sum of all additions is what counts.
        self.memory_total
            .fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        self.memory_rows
            .store(working.memory_rows() as u64, Ordering::Relaxed);
    }

    /// The records, opened at the first call.
    pub(super) fn load(&self, storage: &dyn Storage) -> Result<&Loaded> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let published = self.published.lock();
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let info = self.info();
        let mut segments = Vec::with_capacity(published.segments.len());
        let mut count = 0;
        for row in &published.segments {
            let folder = Segment::folder(self.id, row.id);
            let segment = Segment::open(storage, &folder, row.toc_checksum)?;
            let dead = read_dead(&row.dead)?;
            count += u64::from(row.rows) - dead.len();
            let source = Source::Segment(Arc::new(segment));
            segments.push((
                row.id,
                Part {
                    source,
                    dead: Arc::new(dead),
                },
            ));
        }
        let working = WorkingSet {
            segments,
            chunks: Vec::new(),
            frozen: 0,
            count,
            applied: published.applied,
            dimension: info.dimension,
            schema: Arc::new(info.schema.clone()),
        };
        let snapshot = ArcSwap::from_pointee(working.snapshot());
        let loaded = Loaded {
            working: Mutex::new(working),
            snapshot,
        };
        Ok(self.loaded.get_or_init(|| loaded))
    }

    /// The records if they are loaded.
    pub(super) fn loaded(&self) -> Option<&Loaded> {
        self.loaded.get()
    }

    fn fail(&self, error: Error) {
        tracing::error!(collection = %self.id, %error, "collection refuses requests");
        // The first failure is the cause; later ones follow from it.
        let _ = self.failure.set(error);
    }

    fn check_failure(&self) -> Result<()> {
        self.failure
            .get()
            .map_or(Ok(()), |error| Err(error.clone()))
    }

    /// The error for a collection that is not there.
    pub(crate) fn gone(&self) -> Error {
        missing(self.id)
    }
}

impl Drop for LiveCollection {
    fn drop(&mut self) {
        let bytes = self.memory_bytes.load(Ordering::Relaxed);
        self.memory_total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The error for a collection that is not there.
pub(crate) fn missing(id: CollectionId) -> Error {
    Error::not_found(format!("Collection [{id}] does not exist."))
}

/// The error for a vector of another dimension than the collection's.
pub(crate) fn wrong_dimension(expected: u32, found: u32) -> Error {
    Error::invalid(format!(
        "Collection expecting embedding with dimension of {expected}, got {found}"
    ))
}

/// Reads the dead rows of a segment as the catalogue keeps them.
pub(super) fn read_dead(bytes: &[u8]) -> Result<RoaringBitmap> {
    if bytes.is_empty() {
        return Ok(RoaringBitmap::new());
    }
    RoaringBitmap::deserialize_from(bytes).map_err(|cause| {
        Error::new(
            ErrorKind::Corrupted,
            format!("the catalogue's list of a segment's dead rows cannot be read: {cause}"),
        )
    })
}

/// Dead rows of a segment as the catalogue keeps them; none are no bytes.
pub(super) fn write_dead(dead: &RoaringBitmap) -> Vec<u8> {
    if dead.is_empty() {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(dead.serialized_size());
    dead.serialize_into(&mut bytes)
        .expect("writing to memory cannot fail");
    bytes
}
