//! Brings logged batches to what readers see, in the order of their SeqIds.
//!
//! Three parties do so: a writer that waits until its batch is visible, a worker of the pool for
//! batches whose writers were answered already, and, in a database without threads, whoever reads.
//!
//! What must stay true: one party at a time applies to a collection (`applying`); the log is read
//! without the lock that writers and seals wait for; the queue forgets what is applied, and
//! nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::LiveCollection;
use super::collection::Loaded;
use super::queue::{Backlog, Due, Next};
use super::sight::Sight;
use crate::expiry::EXPIRES_AT;
use crate::log::{Log, Logged};
use crate::model::{RecordBatch, SeqId, SeqRange};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// Bytes of batches that are applied in one go, before others have their turn.
const SLICE_BYTES: u64 = 8 << 20;

/// What applying needs of the database.
#[derive(Clone, Copy)]
pub(crate) struct Applier<'a> {
    /// The disk.
    pub(crate) storage: &'a dyn Storage,
    /// The log, from which batches are read again.
    pub(crate) log: &'a Log,
    /// Called before each slice, with no lock held: may wait for memory, for a while.
    pub(crate) make_room: &'a dyn Fn(),
    /// Metadata keys that a schema may have.
    pub(crate) schema_keys_max: usize,
    /// The monotonic time.
    pub(crate) now: Duration,
}

impl LiveCollection {
    /// Applies everything up to `upto` that is durable.
    pub(crate) fn settle(&self, applier: Applier<'_>, upto: SeqId) {
        while self.visible() < upto {
            if self.has_backlog() {
                (applier.make_room)();
            }
            match self.apply_slice(applier, upto) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(collection = %self.id, %error, "indexing is interrupted");
                    return;
                }
            }
        }
    }

    /// Applies what is next, up to the batch that holds `upto`; whether there was anything. After
    /// an error it may be tried again: what cannot be mended fails the collection instead.
    pub(crate) fn apply_slice(&self, applier: Applier<'_>, upto: SeqId) -> Result<bool> {
        let loaded = match self.load(applier.storage) {
            Ok(loaded) => loaded,
            Err(error) => return self.interrupted(error),
        };
        let mut applying = self.applying.lock();
        let (failed, next) = {
            let mut queue = self.queue.lock();
            (queue.collect(), queue.next(upto, SLICE_BYTES))
        };
        let batches = match next {
            None => {
                drop(applying);
                self.finish(loaded, 0, failed);
                return Ok(false);
            }
            Some(Next::Batches(mut batches)) => {
                batches
                    .iter_mut()
                    .for_each(|due| due.lend_vectors(applier.log));
                Ok(batches)
            }
            Some(Next::InLog(span)) => {
                let start = SeqId(span.first.0 - 1);
                let read = applier
                    .log
                    .read(self.id, start, span.last, SLICE_BYTES, &mut applying);
                read.map(|read| {
                    let count = read.len() as u64;
                    self.gauges.read_again.fetch_add(count, Ordering::Relaxed);
                    let due = read.into_iter().map(|one| Due::new(one.seqs, one.batch));
                    due.collect::<Vec<Due>>()
                })
            }
        };
        self.touch(applier.now);
        let applied = match batches {
            Ok(batches) => self.apply_batches(loaded, &batches).inspect_err(|error| {
                // The working set may have had a part of the batches.
                self.fail(error);
            }),
            Err(error) => Err(error),
        };
        drop(applying);
        let done = applied.as_ref().map_or(0, |done| *done);
        self.finish(loaded, done, failed);
        applied.map_or_else(|error| self.interrupted(error), |_| Ok(true))
    }

    /// What an error ends that came before anything was applied: the collection where it is
    /// damage, nothing where the collection is deleted, and otherwise this attempt.
    fn interrupted(&self, error: Error) -> Result<bool> {
        if self.is_deleted() {
            return Ok(false);
        }
        if error.kind() == ErrorKind::Corrupted {
            self.fail(&error);
            return Ok(false);
        }
        Err(error)
    }

    /// Applies these batches; answers how many admitted ones are done with that.
    fn apply_batches(&self, loaded: &Loaded, batches: &[Due]) -> Result<usize> {
        self.check_failure()?;
        let mut working = loaded.working.lock();
        let applied = unpanicked(|| {
            let mut batches = batches.iter();
            batches.try_for_each(|due| working.apply(&due.batch, due.seqs))
        });
        // Before readers see them, so that nobody who does finds them counted as waiting.
        let done = applied.map(|()| self.queue.lock().applied(working.applied));
        self.publish_snapshot(loaded, &working);
        done
    }

    /// Takes over what the log has made durable since; for a writer that is answered now.
    pub(super) fn collect(&self, loaded: &Loaded) {
        let failed = self.queue.lock().collect();
        self.finish(loaded, 0, failed);
    }

    /// Notes that so many admitted batches are applied and so many have failed.
    fn finish(&self, loaded: &Loaded, applied: usize, failed: usize) {
        let done = applied + failed;
        if done == 0 {
            return;
        }
        let mut writer = self.writer.lock();
        writer.in_flight = writer.in_flight.saturating_sub(done);
        writer.ends.apply(applied);
        if writer.in_flight == 0 {
            // Where the first batch failed, its dimension binds nobody.
            writer.dimension = loaded.snapshot.load().dimension;
            writer.new_keys.clear();
            writer.ends.clear();
        }
    }

    /// Applies a batch that the log has from before the database was opened.
    pub(crate) fn replay(&self, storage: &dyn Storage, batch: &Arc<RecordBatch>, seqs: SeqRange) {
        if self.check_failure().is_err() {
            return;
        }
        let applied = self.load(storage).and_then(|loaded| {
            let mut working = loaded.working.lock();
            let result = unpanicked(|| working.apply(batch, seqs));
            self.publish_snapshot(loaded, &working);
            result.map(|()| working.dimension)
        });
        match applied {
            Ok(dimension) => {
                self.writer.lock().dimension = dimension;
                self.acknowledge(seqs.last);
            }
            // A collection whose segments are damaged must not keep the others from opening.
            Err(error) => self.fail(&error),
        }
    }

    /// Leaves a batch that the log has from before for the workers; whether it may be left. It
    /// may not before the dimension is known, against which writes are checked. `Corrupted` where
    /// its keys cannot be read.
    pub(crate) fn defer(&self, frame: &Logged<'_>, now: Duration) -> Result<bool> {
        let mut writer = self.writer.lock();
        if writer.dimension.is_none() {
            return Ok(false);
        }
        let schema = self.schema();
        let keys = frame.metadata_keys()?;
        // The times are not read before the batch is applied: any of them may be past.
        let may_end = keys.contains(&EXPIRES_AT);
        let new_keys = keys.into_iter();
        let new_keys = new_keys.filter(|key| !schema.keys.contains_key(*key));
        writer.new_keys.note(new_keys.map(Arc::from));
        writer.in_flight += 1;
        writer.ends.admit(may_end.then_some(f64::NEG_INFINITY));
        self.queue.lock().logged(frame.seqs(), frame.bytes(), now);
        drop(writer);
        self.acknowledge(frame.seqs().last);
        Ok(true)
    }

    /// Notes that the writers of everything up to `seq` were answered.
    pub(super) fn acknowledge(&self, seq: SeqId) {
        self.acknowledged.fetch_max(seq.0, Ordering::AcqRel);
    }

    /// The last SeqId whose writer was answered, and what came before the database was opened.
    pub(crate) fn acknowledged(&self) -> SeqId {
        SeqId(self.acknowledged.load(Ordering::Acquire))
    }

    /// Whether logged batches wait to be applied.
    pub(crate) fn has_backlog(&self) -> bool {
        self.queue.lock().is_due()
    }

    /// Lets no worker try again before `at`.
    pub(crate) fn retry_at(&self, at: Duration) {
        self.retry_at
            .store(at.as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether a worker may try at `now`.
    pub(crate) fn may_try(&self, now: Duration) -> bool {
        self.retry_at.load(Ordering::Relaxed) <= now.as_millis() as u64
    }

    /// What waits to be applied.
    pub(crate) fn backlog(&self) -> Backlog {
        self.queue.lock().backlog()
    }

    /// A sight of `target`: clear once readers see it.
    pub(crate) fn watch(&self, target: SeqId) -> Result<Sight> {
        self.check_failure()?;
        let sight = self.watchers.watch(target);
        if self.visible() >= target {
            self.watchers.advance(target);
        }
        // Told after the sight was made, or seen here: a failure between the two is not missed.
        self.check_failure()?;
        if self.is_deleted() {
            return Err(self.gone());
        }
        Ok(sight)
    }

    /// Ends the waits of all who wait for something to become visible.
    pub(crate) fn end_waits(&self, error: &Error) {
        self.watchers.fail(error);
    }

    /// Forgets what is yet to be applied, since the collection is gone.
    pub(crate) fn abandon(&self) {
        // In one order with `publishing`: see `publish`.
        self.abandoned.store(true, Ordering::SeqCst);
        self.queue.lock().clear();
        self.watchers.fail(&self.gone());
    }

    /// Whether nothing will be applied any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_abandoned() || self.check_failure().is_err()
    }

    /// Whether the collection is deleted for good.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    /// Refuses reads and writes from now on, for this reason. The log keeps what is not applied.
    pub(crate) fn fail(&self, error: &Error) {
        tracing::error!(collection = %self.id, %error, "collection refuses requests");
        // The first failure is the cause; later ones follow from it.
        let _ = self.failure.set(error.clone());
        self.queue.lock().clear();
        self.watchers.fail(error);
    }
}

/// Applies what was logged; a panic in it is an error, after which nothing is known of what it was at.
/// It must not keep the database from opening, where the same batch is applied again.
pub(super) fn unpanicked(apply: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(apply)).unwrap_or_else(|_| {
        Err(Error::internal(
            "a batch could not be applied: see the panic in the log of the server, and report it",
        ))
    })
}

/// The error of a read that must see what is not visible in time.
pub(crate) fn late(target: SeqId, visible: SeqId, waited: Duration) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!(
            "SeqId {target} was not visible within {} ms: indexing has come to {visible}. Retry, \
             wait longer, or read at the level index_only.",
            waited.as_millis()
        ),
    )
}
