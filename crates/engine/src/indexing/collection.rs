//! A collection that is open: takes writes in order, applies them, and gives snapshots.
//!
//! What must stay true:
//!
//! - Locks are taken in this order: `sealing`, `published`, `writer`, `applying`, `working`,
//!   `queue`; none is held while a batch waits for the log. `sealing` and `published` alone are
//!   held across writing (a segment, the catalogue), and no request waits for them; `applying`
//!   alone across reading the log again.
//! - Whatever can be wrong with a batch is found before it is logged.
//! - After an apply or a seal failed (a damaged segment could not be read) the collection refuses reads
//!   and writes and says why; other collections do not notice.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use roaring::RoaringBitmap;

use super::WorkingSet;
use super::chunks::Chunks;
use super::corrections::Corrections;
use super::ends::Ends;
use super::new_keys::NewKeys;
use super::queue::{Gauges, Kept, Queue, Submitted};
use super::samples::Samples;
use super::settle::Applier;
use super::sight::Watchers;
use super::watch::Watches;
use crate::catalog::{CollectionRow, Manifest};
use crate::expiry::earliest_end;
use crate::log::{ReadMark, Ticket};
use crate::model::{Collection, CollectionId, RecordBatch, Schema, SeqId, SeqRange};
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
    /// The version of `published` and its applied SeqId, for requests to read without a lock.
    pub(super) published_version: AtomicU64,
    /// See `published_version`.
    pub(super) published_applied: AtomicU64,
    pub(super) writer: Mutex<Writer>,
    loaded: OnceLock<Loaded>,
    /// Held by whoever applies; where reading the log again goes on.
    pub(super) applying: Mutex<Option<ReadMark>>,
    /// What is logged and not applied.
    pub(super) queue: Mutex<Queue>,
    pub(super) watchers: Watchers,
    /// The bytes of the published segments, with the version of the manifest they are of.
    pub(super) disk_bytes: Mutex<Option<(u64, u64)>>,
    /// The bytes of the schema, once something asked for them since it was last stored.
    pub(super) schema_bytes: Mutex<Option<u64>>,
    /// See [`Self::acknowledged`].
    pub(super) acknowledged: AtomicU64,
    /// Deleted for good: nothing is applied any more.
    pub(super) abandoned: AtomicBool,
    /// How many seals and merges write its files now: the last of them removes those of a deleted one.
    pub(super) publishing: AtomicUsize,
    /// Whether the workers have it on their list.
    pub(super) listed: AtomicBool,
    /// Monotonic milliseconds before which no worker tries again what failed.
    pub(super) retry_at: AtomicU64,
    pub(super) failure: OnceLock<Error>,
    /// Bytes in memory after the last change, for upkeep to read without a lock.
    memory_bytes: AtomicU64,
    memory_rows: AtomicU64,
    /// Bytes of all collections together.
    pub(super) gauges: Arc<Gauges>,
    /// Monotonic milliseconds of the last write.
    written_at: AtomicU64,
    /// Monotonic milliseconds from which on the rows in memory came.
    filling_since: AtomicU64,
    /// An index of its vectors was wanted and cannot be made: codes do not hold them.
    pub(super) unindexable: AtomicBool,
    /// Whether what is in memory cannot be sealed: a segment that lends documents to it is damaged.
    pub(super) unsealable: AtomicBool,
    /// Why the last merge failed, and the monotonic time before which no other is due.
    pub(super) merge_setback: Mutex<Option<(Duration, Error)>>,
    /// Whether a snapshot was asked for since [`Self::release`] looked last.
    pub(super) asked: AtomicBool,
    /// Whether vectors were searched since the last seal.
    pub(super) searched: AtomicBool,
    /// Some of the searches, to be made again exactly.
    pub(super) samples: Samples,
    /// How far it is filled, where a function fills it; held by whoever fills it.
    pub(crate) filled: Mutex<Filled>,
}

/// How far the output of a function holds what its input does.
#[derive(Default)]
pub(crate) struct Filled {
    /// The SeqId of the input up to which it does; `None` until it was first filled.
    pub(crate) seen: Option<SeqId>,
    /// Monotonic time when that was found.
    pub(crate) at: Duration,
    /// Monotonic time before which nobody fills it again.
    pub(crate) not_before: Duration,
    /// What went wrong when it was last to be filled.
    pub(crate) last_error: Option<String>,
}

/// When a writer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Once its batch is durable; workers apply it.
    WhenDurable,
    /// Once its batch is visible as well.
    WhenVisible,
}

/// The records, once something asked for them.
pub(super) struct Loaded {
    pub(super) working: Mutex<WorkingSet>,
    pub(super) snapshot: ArcSwap<Snapshot>,
}

#[derive(Default)]
pub(super) struct Writer {
    deleted: bool,
    /// The dimension that the batches admitted so far have.
    pub(super) dimension: Option<u32>,
    /// Batches admitted and not yet applied or failed.
    pub(super) in_flight: usize,
    /// What these bring to the schema.
    pub(super) new_keys: NewKeys,
    /// When their records end.
    pub(super) ends: Ends,
    /// Ids about which somebody wants to know whether they are written: see `watch`.
    pub(super) watches: Watches,
}

impl LiveCollection {
    /// A collection as the catalogue has it; nothing is read until it is asked for.
    /// What it holds in memory is added to `gauges`.
    pub(crate) fn new(row: CollectionRow, gauges: Arc<Gauges>) -> Self {
        Self {
            queue: Mutex::new(Queue::new(gauges.clone())),
            gauges,
            id: row.collection.id,
            writer: Mutex::new(Writer {
                dimension: row.collection.dimension,
                ..Writer::default()
            }),
            info: RwLock::new(Arc::new(row.collection)),
            sealing: Mutex::new(()),
            published_version: AtomicU64::new(row.manifest.version),
            published_applied: AtomicU64::new(row.manifest.applied.0),
            published: Mutex::new(row.manifest),
            loaded: OnceLock::new(),
            applying: Mutex::new(None),
            watchers: Watchers::default(),
            disk_bytes: Mutex::new(None),
            schema_bytes: Mutex::new(None),
            acknowledged: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
            publishing: AtomicUsize::new(0),
            listed: AtomicBool::new(false),
            retry_at: AtomicU64::new(0),
            failure: OnceLock::new(),
            memory_bytes: AtomicU64::new(0),
            memory_rows: AtomicU64::new(0),
            written_at: AtomicU64::new(0),
            filling_since: AtomicU64::new(0),
            unindexable: AtomicBool::new(false),
            unsealable: AtomicBool::new(false),
            merge_setback: Mutex::new(None),
            asked: AtomicBool::new(false),
            searched: AtomicBool::new(false),
            samples: Samples::default(),
            filled: Mutex::default(),
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
        info.log_position = self.published_applied();
        info.version = self.published_version();
        info
    }

    /// Index settings and the keys that records brought, as they are known without opening a file.
    pub(crate) fn schema(&self) -> Arc<Schema> {
        match self.loaded.get() {
            Some(loaded) => loaded.snapshot.load().schema.clone(),
            None => Arc::new(self.info().schema.clone()),
        }
    }

    /// Name, metadata, tenant and database.
    pub(crate) fn info(&self) -> Arc<Collection> {
        self.info.read().clone()
    }

    /// Changes what clients are told; the caller has committed it, and changes the schema next.
    pub(crate) fn set_info(&self, info: Collection) {
        *self.info.write() = Arc::new(info);
    }

    /// Changes the schema to that of [`Self::set_info`]. Keys that records brought meanwhile stay known.
    /// Waits for an apply that is under way.
    pub(crate) fn set_schema(&self, schema: &Schema) {
        // Whoever is loading the records may have read the information of before.
        let _published = self.published.lock();
        if let Some(loaded) = self.loaded.get() {
            let mut working = loaded.working.lock();
            let mut schema = schema.clone();
            schema.add_discovered(&working.schema);
            working.schema = Arc::new(schema);
            loaded.snapshot.store(Arc::new(working.snapshot()));
        }
        *self.schema_bytes.lock() = None;
    }

    /// The records as they are now.
    pub(crate) fn snapshot(&self, storage: &dyn Storage) -> Result<Arc<Snapshot>> {
        self.check_failure()?;
        self.asked.store(true, Ordering::Relaxed);
        Ok(self.load(storage)?.snapshot.load_full())
    }

    /// The records as they are now, where something has asked for them.
    pub(crate) fn loaded_snapshot(&self) -> Option<Arc<Snapshot>> {
        self.loaded.get().map(|loaded| loaded.snapshot.load_full())
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

    /// When each of these records was last written, `None` of those that are not there; and the SeqId up to which
    /// that is all that was.
    pub(crate) fn last_written(
        &self,
        storage: &dyn Storage,
        ids: &[&str],
    ) -> Result<(Vec<Option<SeqId>>, SeqId)> {
        self.check_failure()?;
        let working = self.load(storage)?.working.lock();
        let seqs = ids.iter().map(|id| working.written(id));
        Ok((seqs.collect::<Result<_>>()?, working.applied))
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

    /// Notes when the collection was last written to.
    pub(super) fn touch(&self, now: Duration) {
        if self.memory().1 == 0 {
            self.note_filling(now);
        }
        self.written_at
            .store(now.as_millis() as u64, Ordering::Relaxed);
    }

    /// From when on the rows in memory came.
    pub(super) fn filling_since(&self) -> Duration {
        Duration::from_millis(self.filling_since.load(Ordering::Relaxed))
    }

    /// Notes that the rows in memory are new from now on: they are being sealed.
    pub(crate) fn note_filling(&self, now: Duration) {
        self.filling_since
            .store(now.as_millis() as u64, Ordering::Relaxed);
    }

    /// Logs `batch`. Answers once it is durable, and visible if that is asked for.
    pub(crate) fn write(
        &self,
        applier: Applier<'_>,
        batch: RecordBatch,
        answered: Answered,
    ) -> Result<SeqRange> {
        self.check_failure()?;
        let loaded = self.load(applier.storage)?;
        let batch = Arc::new(batch);
        let ticket = self.admit(&mut self.writer.lock(), applier, batch, answered)?;
        self.answer(applier, loaded, &ticket, answered)
    }

    /// Waits until an admitted batch is durable, and visible if that is asked for.
    pub(super) fn answer(
        &self,
        applier: Applier<'_>,
        loaded: &Loaded,
        ticket: &Ticket,
        answered: Answered,
    ) -> Result<SeqRange> {
        let durable = ticket.wait();
        match (answered, &durable) {
            (Answered::WhenVisible, Ok(seqs)) => self.settle(applier, seqs.last),
            _ => self.collect(loaded),
        }
        self.touch(applier.now);
        if self.is_deleted() {
            return Err(self.gone());
        }
        let seqs = durable?;
        self.check_failure()?;
        self.acknowledge(seqs.last);
        Ok(seqs)
    }

    /// Submits a batch to the log, for whoever holds the writers' lock.
    pub(super) fn admit(
        &self,
        writer: &mut Writer,
        applier: Applier<'_>,
        batch: Arc<RecordBatch>,
        answered: Answered,
    ) -> Result<Ticket> {
        if writer.deleted {
            return Err(self.gone());
        }
        let dimension = batch.embeddings.dimension() as u32;
        if dimension > 0 {
            match writer.dimension {
                Some(expected) if expected != dimension => {
                    return Err(Error::wrong_dimension(expected, dimension as usize));
                }
                _ => {}
            }
        }
        let most = applier.schema_keys_max;
        let metadata = &batch.metadata;
        let new_keys = writer.new_keys.brought(metadata, &self.schema(), most)?;
        let ticket = applier.log.submit(self.id, batch.clone(), None)?;
        writer.new_keys.note(new_keys);
        if dimension > 0 {
            writer.dimension = Some(dimension);
        }
        writer.in_flight += 1;
        writer.ends.admit(earliest_end(&batch.metadata));
        writer.watches.note(&batch.ids);
        let bytes = batch.heap_bytes() as u64;
        let kept = match answered {
            Answered::WhenVisible => Some(Kept { batch, lease: None }),
            Answered::WhenDurable => self.gauges.lease(bytes).map(|lease| Kept {
                batch,
                lease: Some(lease),
            }),
        };
        self.queue.lock().submitted(Submitted {
            ticket: ticket.clone(),
            batch: kept,
            bytes,
            since: applier.now,
        });
        Ok(ticket)
    }

    pub(super) fn publish_snapshot(&self, loaded: &Loaded, working: &WorkingSet) {
        loaded.snapshot.store(Arc::new(working.snapshot()));
        let bytes = working.memory_bytes() as u64;
        let before = self.memory_bytes.swap(bytes, Ordering::Relaxed);
        // Wraps on purpose: the sum of all additions is what counts.
        self.gauges
            .memory
            .fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        self.memory_rows
            .store(working.memory_rows() as u64, Ordering::Relaxed);
        self.watchers.advance(working.applied);
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
        let corrections = Corrections::read_or_none(storage);
        let mut segments = Vec::with_capacity(published.segments.len());
        let mut count = 0;
        for row in &published.segments {
            let folder = row.folder(self.id);
            let segment = Segment::open(storage, &folder, row.toc_checksum);
            let segment = self.unless_gone(segment)?;
            let dead = read_dead(&row.dead)?;
            count += u64::from(row.rows) - dead.len();
            let source = Source::Segment(Arc::new(segment));
            corrections.apply(row.id, &source);
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
            chunks: Chunks::default(),
            count,
            applied: published.applied,
            dimension: info.dimension,
            schema: Arc::new(info.schema.clone()),
            recent: None,
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

    /// Fails where an apply has failed: see the head of this file.
    pub(crate) fn check_failure(&self) -> Result<()> {
        self.failure
            .get()
            .map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Whether what is in memory cannot be kept, or is not to be: a panic may have left a batch half
    /// applied.
    pub(super) fn is_broken(&self) -> bool {
        let failure = self.failure.get();
        self.unsealable.load(Ordering::Relaxed)
            || failure.is_some_and(|error| error.kind() == ErrorKind::Internal)
    }

    /// The same, but that of a collection which was deleted meanwhile nothing is damaged: it is not
    /// there.
    pub(crate) fn unless_gone<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(_) if self.is_abandoned() => Err(self.gone()),
            result => result,
        }
    }

    /// The error for a collection that is not there.
    pub(crate) fn gone(&self) -> Error {
        Error::missing_collection(self.id)
    }
}

impl Drop for LiveCollection {
    fn drop(&mut self) {
        let bytes = self.memory_bytes.load(Ordering::Relaxed);
        self.gauges.memory.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Reads the dead rows of a segment as the catalogue keeps them.
pub(crate) fn read_dead(bytes: &[u8]) -> Result<RoaringBitmap> {
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
