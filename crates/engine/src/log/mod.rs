//! The ordered, durable log that every change goes through first.
//!
//! One append-only log for all collections, in files that are begun anew at a size and removed
//! once segments hold all that is in them. What must stay true:
//!
//! - A batch is one frame, all or nothing. Its SeqIds are dense per collection, from 1, and its
//!   place in the files is the order of its SeqIds.
//! - A ticket is done only after an fsync that covers its frame. Many writers share one fsync
//!   (group commit): one thread writes all that is queued, syncs once, and answers them all.
//! - After a failed fsync nothing is acknowledged any more until the log is opened again.

mod contract;
mod frame;
mod open;
mod payload;
mod scan;
mod subscribe;
mod ticket;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};

use crate::model::{CollectionId, FlushKey, RecordBatch, SeqId, SeqRange};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

pub use contract::{ConsumeBatches, Consumer, Producer, SubscriptionId};
pub use scan::{LogFile, Scan, scan};
pub use ticket::Ticket;

use subscribe::Subscription;
use writer::{Append, Queue, Recent};

/// What a log is opened with.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Bytes of a file at which the next is begun.
    pub file_bytes: u64,
    /// Records that one batch may have.
    pub batch_records_max: usize,
    /// Bytes that must stay free on the disk; below, an append fails with `OutOfSpace`.
    pub free_disk_bytes_min: u64,
}

/// A batch with the SeqIds it was given (the sources' LogRecords).
#[derive(Clone, Debug)]
pub struct LogBatch {
    /// The collection it is for.
    pub collection: CollectionId,
    /// Its SeqIds.
    pub seqs: SeqRange,
    /// Its records.
    pub batch: Arc<RecordBatch>,
}

/// What is known of one collection's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The lowest SeqId that can still be read for sure; one past `highest` where none can.
    pub lowest: SeqId,
    /// The highest SeqId given out; 0 where none was.
    pub highest: SeqId,
}

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Batches appended.
    pub appends: u64,
    /// Fsyncs.
    pub syncs: u64,
    /// Bytes appended.
    pub bytes: u64,
}

/// The log of a data folder.
pub struct Log {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What callers, the writing thread and subscriptions share. `queue` and `state` are never held
/// together, nor across I/O.
struct Shared {
    storage: Arc<dyn Storage>,
    options: LogOptions,
    queue: Mutex<Queue>,
    queued: Condvar,
    state: Mutex<State>,
    /// Told whenever `state` has new durable records, and when a subscription ends.
    grown: Condvar,
}

#[derive(Default)]
struct State {
    heads: HashMap<CollectionId, Head>,
    /// The log's files, oldest first.
    files: Vec<LogFile>,
    /// Answers to recent flush keys.
    recent: Recent,
    statistics: LogStatistics,
    failure: Option<Error>,
    subscriptions: HashMap<SubscriptionId, Subscription>,
}

#[derive(Clone, Copy, Default)]
struct Head {
    highest: SeqId,
    /// Segments hold everything up to here.
    purged: SeqId,
}

impl Log {
    /// Tells the log of a collection whose records at and below `applied` are in segments.
    pub fn register(&self, collection: CollectionId, applied: SeqId) {
        let mut state = self.shared.state.lock();
        let head = state.heads.entry(collection).or_default();
        head.highest = head.highest.max(applied);
        head.purged = head.purged.max(applied);
    }

    /// Queues `batch`; the ticket is done when it is durable. With a flush key, a batch that was
    /// appended before is answered again and not repeated.
    pub fn submit(
        &self,
        collection: CollectionId,
        batch: Arc<RecordBatch>,
        flush: Option<FlushKey>,
    ) -> Result<Ticket> {
        let allowed = self.shared.options.batch_records_max;
        if batch.is_empty() || batch.len() > allowed {
            return Err(Error::invalid(format!(
                "A batch of {} records cannot be logged; 1 to {allowed} are allowed.",
                batch.len()
            )));
        }
        {
            let state = self.shared.state.lock();
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if !state.heads.contains_key(&collection) {
                return Err(no_log(collection));
            }
        }
        let append = Append::new(collection, flush, batch);
        let ticket = append.ticket();
        let mut queue = self.shared.queue.lock();
        if queue.stop {
            return Err(closed());
        }
        queue.appends.push(append);
        drop(queue);
        self.shared.queued.notify_one();
        Ok(ticket)
    }

    /// Records at and below `upto` are in segments: their space may be taken back.
    pub fn purge(&self, collection: CollectionId, upto: SeqId) -> Result<()> {
        {
            let mut state = self.shared.state.lock();
            let head = state
                .heads
                .get_mut(&collection)
                .ok_or_else(|| no_log(collection))?;
            head.purged = head.purged.max(upto.min(head.highest));
        }
        self.tidy();
        Ok(())
    }

    /// Drops the log of a collection that is deleted; appends to it that are queued fail.
    pub fn drop_collection(&self, collection: CollectionId) -> Result<()> {
        self.shared.state.lock().heads.remove(&collection);
        self.shared.grown.notify_all();
        self.tidy();
        Ok(())
    }

    /// Lowest and highest SeqId of a collection; `None` where it is unknown or dropped.
    pub fn head(&self, collection: CollectionId) -> Option<LogHead> {
        let state = self.shared.state.lock();
        state.heads.get(&collection).map(|head| LogHead {
            lowest: head.purged.plus(1),
            highest: head.highest,
        })
    }

    /// Bytes of all log files.
    pub fn bytes(&self) -> u64 {
        self.shared
            .state
            .lock()
            .files
            .iter()
            .map(|file| file.bytes)
            .sum()
    }

    /// What the log has done since it was opened.
    pub fn statistics(&self) -> LogStatistics {
        self.shared.state.lock().statistics
    }

    /// The collections whose records keep the oldest log file from being removed.
    pub fn holders_of_oldest(&self) -> Vec<CollectionId> {
        let state = self.shared.state.lock();
        let Some(oldest) = state.files.first() else {
            return Vec::new();
        };
        oldest
            .highest
            .iter()
            .filter(|(collection, highest)| {
                state
                    .heads
                    .get(*collection)
                    .is_some_and(|head| head.purged < **highest)
            })
            .map(|(collection, _)| *collection)
            .collect()
    }

    /// Why the log refuses writes, where it does (a failed fsync).
    pub fn failure(&self) -> Option<Error> {
        self.shared.state.lock().failure.clone()
    }

    /// Ends all subscriptions, writes what is queued, notes where the log ends, and stops the
    /// log's thread. Idempotent.
    pub fn close(&self) -> Result<()> {
        let ids: Vec<SubscriptionId> = self
            .shared
            .state
            .lock()
            .subscriptions
            .keys()
            .copied()
            .collect();
        ids.into_iter().for_each(|id| self.end_subscription(id));
        self.shared.queue.lock().stop = true;
        self.shared.queued.notify_one();
        let Some(thread) = self.thread.lock().take() else {
            return Ok(());
        };
        thread
            .join()
            .map_err(|_| Error::internal("the log's thread panicked; see the server's log"))?;
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        open::note_clean_end(&self.shared)
    }

    fn tidy(&self) {
        self.shared.queue.lock().tidy = true;
        self.shared.queued.notify_one();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the log has no clean end; the next start will replay it");
        }
    }
}

impl State {
    /// Whether nobody needs the file: segments hold what is in it, and no subscription is still
    /// to read it.
    fn is_spent(&self, file: &LogFile) -> bool {
        let read = |collection: &CollectionId, highest: &SeqId| {
            self.subscriptions
                .values()
                .all(|one| one.collection != *collection || one.has_passed(*highest))
        };
        file.highest.iter().all(|(collection, highest)| {
            let purged = self
                .heads
                .get(collection)
                .is_none_or(|head| head.purged >= *highest);
            purged && read(collection, highest)
        })
    }
}

fn no_log(collection: CollectionId) -> Error {
    Error::not_found(format!("Collection [{collection}] does not exist."))
}

fn closed() -> Error {
    Error::new(
        ErrorKind::Closed,
        "The database is closed; open it again to write.",
    )
}
