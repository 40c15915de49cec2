//! The log as its owner sees it.
//!
//! What must stay true: no call here does I/O but `open`; all of it is left to the log's thread.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::consumer::Subscriptions;
use super::payload::encode;
use super::recovery::{Logged, recover};
use super::state::{Ending, Flushed, Pending, Shared, State};
use super::ticket::Ticket;
use super::writer::{Writer, unknown_collection};
use super::{Beside, Keep, LogHead, LogOptions, LogStatistics};
use crate::clock::Clock;
use crate::model::{CollectionId, FlushKey, RecordBatch, SeqId, SeqRange};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// Bytes that may wait for the log's thread; beyond, an append is refused for now.
const QUEUE_BYTES_MAX: u64 = 512 << 20;
/// Bytes of one batch in the log at most.
const BATCH_BYTES_MAX: u64 = 2 << 30;

/// The log of a data folder.
pub struct Log {
    pub(super) shared: Arc<Shared>,
    pub(super) subscriptions: Subscriptions,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Opens the log of `storage`, made if it is not there. Calls `replay` with every whole
    /// frame, in order, whose SeqIds are above `applied(collection)`; a collection for which
    /// `applied` answers `None` is gone and its frames are passed over. A torn tail of the last
    /// file is cut; damage anywhere else is an error that names file and offset.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        applied: &dyn Fn(CollectionId) -> Option<SeqId>,
        replay: &mut dyn FnMut(Logged<'_>) -> Result<()>,
    ) -> Result<Self> {
        let mut recovered = recover(storage.as_ref(), options.catalog, applied, replay)?;
        let shared = Arc::new(Shared {
            storage,
            options,
            clock: OnceLock::new(),
            beside: OnceLock::new(),
            state: Mutex::new(State {
                keep: options.keep,
                heads: std::mem::take(&mut recovered.heads),
                files: std::mem::take(&mut recovered.files),
                flushes: std::mem::take(&mut recovered.flushes),
                upkeep_due: true,
                ..State::default()
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let writer = Writer::new(shared.clone(), recovered);
        let thread = std::thread::Builder::new()
            .name("vermilion-log".to_owned())
            .spawn(move || writer.run())
            .map_err(|cause| Error::internal(format!("Cannot start the log's thread: {cause}")))?;
        Ok(Self {
            subscriptions: Subscriptions::default(),
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Tells the log of a collection whose records below and at `applied` are in segments.
    pub fn register(&self, collection: CollectionId, applied: SeqId) {
        let mut state = self.shared.state.lock();
        let head = state.heads.entry(collection).or_default();
        head.highest = head.highest.max(applied);
        if head.purged < applied {
            head.purged = applied;
            self.wake_for_upkeep(&mut state);
        }
    }

    /// Queues the batch; the ticket is done when it is durable, and then tells its SeqIds. A
    /// repeat of an append with the same flush key gets the answer of the first.
    pub fn submit(
        &self,
        collection: CollectionId,
        batch: Arc<RecordBatch>,
        flush: Option<FlushKey>,
    ) -> Result<Ticket> {
        let (records, allowed) = (batch.len(), self.shared.options.batch_records_max);
        if records > allowed {
            return Err(Error::invalid(format!(
                "A batch has {records} records; at most {allowed} are allowed."
            )));
        }
        if let Some(ticket) = self.answer_at_once(collection, records, flush)? {
            return Ok(ticket);
        }
        // The costly part: done by the caller, without the lock.
        let encoded = encode(batch).map_err(|detail| {
            Error::invalid(format!("The columns of a batch do not fit: {detail}"))
        })?;
        let (bytes, checksums) = (encoded.bytes(), encoded.checksums());
        if bytes > BATCH_BYTES_MAX {
            return Err(Error::invalid(format!(
                "A batch has {bytes} bytes; at most {BATCH_BYTES_MAX} are allowed. Split it."
            )));
        }
        let mut state = self.shared.state.lock();
        if let Some(ticket) = answer(&state, collection, records, flush)? {
            return Ok(ticket);
        }
        if state.queue_bytes > 0 && state.queue_bytes + bytes > QUEUE_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "{} bytes wait to be written to the log; retry later.",
                    state.queue_bytes
                ),
            ));
        }
        let (ticket, completion) = Ticket::new();
        if let Some(key) = flush {
            state.flushes.queued(key, collection, ticket.clone());
        }
        state.queue_bytes += bytes;
        state.queue.push_back(Pending {
            collection,
            count: records as u32,
            flush,
            encoded,
            bytes,
            checksums,
            completion,
        });
        self.shared.work.notify_one();
        Ok(ticket)
    }

    fn answer_at_once(
        &self,
        collection: CollectionId,
        records: usize,
        flush: Option<FlushKey>,
    ) -> Result<Option<Ticket>> {
        answer(&self.shared.state.lock(), collection, records, flush)
    }

    /// Records at and below `upto` are in segments: their space may be taken back.
    pub fn purge(&self, collection: CollectionId, upto: SeqId) -> Result<()> {
        let mut state = self.shared.state.lock();
        // A collection that was dropped meanwhile has nothing left to purge.
        if let Some(head) = state.heads.get_mut(&collection) {
            if upto > head.highest {
                return Err(Error::invalid(format!(
                    "The log of collection [{collection}] ends at {}; it cannot be purged up to \
                     {upto}.",
                    head.highest
                )));
            }
            if head.purged < upto {
                head.purged = upto;
                self.wake_for_upkeep(&mut state);
            }
        }
        Ok(())
    }

    /// Drops the log of a collection that is deleted. Appends that wait fail with `NotFound`.
    pub fn drop_collection(&self, collection: CollectionId) -> Result<()> {
        let mut state = self.shared.state.lock();
        if state.heads.remove(&collection).is_some() {
            self.wake_for_upkeep(&mut state);
            // Its subscriptions end.
            self.shared.progress.notify_all();
        }
        Ok(())
    }

    fn wake_for_upkeep(&self, state: &mut State) {
        self.shared.wake_for_upkeep(state);
    }

    /// Lowest and highest SeqId of a collection.
    pub fn head(&self, collection: CollectionId) -> Option<LogHead> {
        let state = self.shared.state.lock();
        state.heads.get(&collection).map(|head| head.public())
    }

    /// Batches that wait for the log's thread, and their bytes.
    pub fn queued(&self) -> (u64, u64) {
        let state = self.shared.state.lock();
        (state.queue.len() as u64, state.queue_bytes)
    }

    /// Lets every group of batches from now on tell the time by `clock`. The first call counts.
    pub fn set_clock(&self, clock: Arc<dyn Clock>) {
        let _ = self.shared.clock.set(clock);
    }

    /// Notes the catalogue's generation from now on, and tells the catalogue of new files. The first
    /// call counts.
    pub fn set_beside(&self, beside: Beside) {
        let _ = self.shared.beside.set(beside);
    }

    /// The number of the newest file; 0 where there is none.
    pub fn newest_file(&self) -> u64 {
        let state = self.shared.state.lock();
        state.files.back().map_or(0, |file| file.header.number)
    }

    /// Keeps files for the next incremental backup, or lets go of what was kept.
    pub fn keep(&self, keep: Keep) {
        let mut state = self.shared.state.lock();
        state.keep = keep;
        self.wake_for_upkeep(&mut state);
    }

    /// Bytes of the log files that some segment does not hold yet.
    pub fn bytes(&self) -> u64 {
        let state = self.shared.state.lock();
        let all: u64 = state.files.iter().map(|file| file.end).sum();
        all - state.kept_bytes()
    }

    /// Bytes of the log files that are there for the next backup alone.
    pub fn kept_bytes(&self) -> u64 {
        self.shared.state.lock().kept_bytes()
    }

    /// How many log files there are.
    pub fn files(&self) -> usize {
        self.shared.state.lock().files.len()
    }

    /// What the log has done since it was opened.
    pub fn statistics(&self) -> LogStatistics {
        self.shared.state.lock().statistics
    }

    /// The collections whose records keep the oldest log file that is needed from being removed.
    pub fn holders_of_oldest(&self) -> Vec<CollectionId> {
        let state = self.shared.state.lock();
        let needed = state.files.iter().find(|file| !state.is_free(file));
        needed.map_or_else(Vec::new, |file| {
            file.highest
                .iter()
                .filter(|(collection, highest)| state.holds(**collection, **highest))
                .map(|(collection, _)| *collection)
                .collect()
        })
    }

    /// Why the log refuses writes, where it does (a failed fsync).
    pub fn failure(&self) -> Option<Error> {
        self.shared.state.lock().failure.clone()
    }

    /// Waits until the log's thread has done all that it was given: appends, and the removal of
    /// files that nobody needs.
    pub fn settle(&self) {
        let mut state = self.shared.state.lock();
        while state.busy || !state.queue.is_empty() || state.upkeep_due {
            self.shared.progress.wait(&mut state);
        }
    }

    /// Waits for queued appends, marks the end as clean, and stops the log's threads. Idempotent.
    pub fn close(&self) -> Result<()> {
        self.end(Ending::Clean);
        self.failure().map_or(Ok(()), Err)
    }

    fn end(&self, ending: Ending) {
        let thread = self.thread.lock().take();
        {
            let mut state = self.shared.state.lock();
            state.ending.get_or_insert(ending);
            self.shared.work.notify_all();
            self.shared.progress.notify_all();
        }
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the log's thread ended by a fault");
        }
        self.subscriptions.end_all();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}

/// The answer to an append that needs no writing, or why it is refused.
fn answer(
    state: &State,
    collection: CollectionId,
    records: usize,
    flush: Option<FlushKey>,
) -> Result<Option<Ticket>> {
    if let Some(refusal) = state.refusal() {
        return Err(refusal);
    }
    let Some(head) = state.heads.get(&collection) else {
        return Err(unknown_collection(collection));
    };
    if records == 0 {
        return Ok(Some(Ticket::done(SeqRange::of(head.highest.plus(1), 0))));
    }
    let (known, ticket) = match flush.and_then(|key| state.flushes.find(key)) {
        None => return Ok(None),
        Some(Flushed::Queued(known, ticket)) => (*known, ticket.clone()),
        Some(Flushed::Done(known, seqs)) => (*known, Ticket::done(*seqs)),
    };
    if known != collection {
        return Err(Error::invalid(format!(
            "The flush key belongs to an append to collection [{known}]; use a new one for \
             collection [{collection}]."
        )));
    }
    Ok(Some(ticket))
}
