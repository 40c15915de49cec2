//! Who writes to the log and who reads it: producers and consumers, and the threads that bring
//! records to subscribers.
//!
//! [`Producer`] and [`Consumer`] are the contract of Chroma's ingestion, which names what any log
//! answers to, here or elsewhere. The database itself writes with [`Log::submit`], whose ticket
//! lets one thread queue further batches while an earlier one becomes durable.
//!
//! What must stay true: a subscriber pulls from the files, up to their durable bytes, so that it
//! gets backfill and live records the same way and neither loses nor repeats one where they meet;
//! and however slow it is, no append waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use hashbrown::HashMap;
use parking_lot::Mutex;
use uuid::Uuid;

use super::format::{FrameHeader, FrameKind, file_path};
use super::reader::{Found, FrameReader};
use super::recovery::after;
use super::state::{LiveFile, Shared};
use super::writer::unknown_collection;
use super::{Log, LogBatch, payload};
use crate::model::{CollectionId, FlushKey, RecordBatch, SeqId, SeqRange};
use crate::{Error, ErrorKind, Result};

/// Writes batches of operations to the log of a collection.
pub trait Producer {
    /// Appends one batch. Answers once it is durable, with the SeqIds of its records, in their
    /// order. All or nothing: after an error none of the batch is in the log, unless the kind is
    /// `Closed`, where it shows after a restart whether it is. With a flush key, a repeat of an
    /// append that may have succeeded gets the answer of the first instead of a second copy.
    fn submit_batch(
        &self,
        collection: CollectionId,
        batch: Arc<RecordBatch>,
        flush: Option<FlushKey>,
    ) -> Result<SeqRange>;

    /// Appends several batches, in their order, and waits for all of them together. Answers for
    /// each as [`Self::submit_batch`] does; one that fails does not undo another.
    fn submit_batches(
        &self,
        collection: CollectionId,
        batches: Vec<Arc<RecordBatch>>,
    ) -> Vec<Result<SeqRange>>;

    /// How many records a batch may have at most; a larger one is refused whole.
    fn max_batch_size(&self) -> usize;
}

/// Names a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionId(Uuid);

/// What a subscriber is called with: batches in the order of their SeqIds, or the error that ends
/// the subscription.
pub type Delivery = Box<dyn FnMut(Result<LogBatch>) + Send>;

/// Reads the log of a collection.
pub trait Consumer {
    /// Lets `deliver` be called with the durable records of `collection` behind `start` up to and
    /// with `end`, each once, in order, without a gap: first those that are in the log, then those
    /// that come. Without `start` the first record is the next one to come; without `end` the
    /// subscription lasts until [`Self::unsubscribe`]. A batch that `start` or `end` falls into is
    /// delivered in part.
    ///
    /// Calls come one after the other on a thread of the subscription's own. A slow subscriber
    /// slows nobody else; records it has not had are purged all the same. It ends with an error of
    /// kind `NotFound` where records it is due are purged or the collection is dropped, and with
    /// `Corrupted` where a file is damaged; it ends silently when the log is closed. `NotFound` at
    /// once where the collection is unknown or records behind `start` are purged already,
    /// `InvalidArgument` where `end` lies before `start`.
    fn subscribe(
        &self,
        collection: CollectionId,
        start: Option<SeqId>,
        end: Option<SeqId>,
        deliver: Delivery,
    ) -> Result<SubscriptionId>;

    /// Ends a subscription. When this returns, `deliver` is not running and will not be called
    /// again (but where `deliver` itself calls this: then the running call is the last). A
    /// subscription that has ended or was never there is fine.
    fn unsubscribe(&self, id: SubscriptionId);

    /// The lowest SeqId of a collection that can still be read.
    fn min_seq(&self, collection: CollectionId) -> Option<SeqId>;

    /// The highest SeqId of a collection that is durable.
    fn max_seq(&self, collection: CollectionId) -> Option<SeqId>;
}

impl Producer for Log {
    fn submit_batch(
        &self,
        collection: CollectionId,
        batch: Arc<RecordBatch>,
        flush: Option<FlushKey>,
    ) -> Result<SeqRange> {
        self.submit(collection, batch, flush)?.wait()
    }

    fn submit_batches(
        &self,
        collection: CollectionId,
        batches: Vec<Arc<RecordBatch>>,
    ) -> Vec<Result<SeqRange>> {
        let tickets: Vec<_> = batches
            .into_iter()
            .map(|batch| self.submit(collection, batch, None))
            .collect();
        tickets
            .into_iter()
            .map(|ticket| ticket.and_then(|ticket| ticket.wait()))
            .collect()
    }

    fn max_batch_size(&self) -> usize {
        self.shared.options.batch_records_max
    }
}

impl Consumer for Log {
    fn subscribe(
        &self,
        collection: CollectionId,
        start: Option<SeqId>,
        end: Option<SeqId>,
        deliver: Delivery,
    ) -> Result<SubscriptionId> {
        self.subscriptions.forget_ended();
        let stop = Arc::new(AtomicBool::new(false));
        let reader = {
            let state = self.shared.state.lock();
            if state.ending.is_some() {
                return Err(Error::new(ErrorKind::Closed, "The log is closed."));
            }
            let head = *state
                .heads
                .get(&collection)
                .ok_or_else(|| unknown_collection(collection))?;
            let start = start.unwrap_or(head.highest);
            if start < head.purged {
                return Err(Error::not_found(format!(
                    "The log of collection [{collection}] begins at SeqId {}; records behind \
                     {start} are purged.",
                    head.purged.plus(1)
                )));
            }
            if end.is_some_and(|end| end < start) {
                return Err(Error::invalid(format!(
                    "A subscription cannot end before its start, {start}."
                )));
            }
            // The first file that can hold a record behind the start.
            let first = state.files.iter().find(|file| {
                let highest = file.highest.get(&collection);
                highest.is_some_and(|highest| *highest > start)
            });
            let file = first.or(state.files.back());
            Subscriber {
                shared: self.shared.clone(),
                stop: stop.clone(),
                collection,
                delivered: start,
                end,
                file: file.map_or(0, |file| file.header.number),
            }
        };
        let thread = std::thread::Builder::new()
            .name("vermilion-subscriber".to_owned())
            .spawn(move || reader.run(deliver))
            .map_err(|cause| Error::internal(format!("Cannot start a subscription: {cause}")))?;
        let id = SubscriptionId(Uuid::new_v4());
        self.subscriptions
            .running
            .lock()
            .insert(id, Running { stop, thread });
        Ok(id)
    }

    fn unsubscribe(&self, id: SubscriptionId) {
        let running = self.subscriptions.running.lock().remove(&id);
        if let Some(running) = running {
            running.end(&self.shared);
        }
    }

    fn min_seq(&self, collection: CollectionId) -> Option<SeqId> {
        self.head(collection).map(|head| head.lowest)
    }

    fn max_seq(&self, collection: CollectionId) -> Option<SeqId> {
        self.head(collection).map(|head| head.highest)
    }
}

/// The subscriptions of a log.
#[derive(Default)]
pub(super) struct Subscriptions {
    running: Mutex<HashMap<SubscriptionId, Running>>,
}

struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Running {
    fn end(self, shared: &Shared) {
        {
            // Under the lock, so that a subscriber about to wait does not miss it.
            let _state = shared.state.lock();
            self.stop.store(true, Ordering::SeqCst);
            shared.progress.notify_all();
        }
        self.join();
    }

    fn join(self) {
        let from_within = self.thread.thread().id() == std::thread::current().id();
        if !from_within && self.thread.join().is_err() {
            tracing::error!("a subscriber's callback panicked; its subscription is over");
        }
    }
}

impl Subscriptions {
    /// Waits for all to end; the log is closed, so they do.
    pub(super) fn end_all(&self) {
        let all = std::mem::take(&mut *self.running.lock());
        for (_, running) in all {
            running.join();
        }
    }

    fn forget_ended(&self) {
        let mut running = self.running.lock();
        running.retain(|_, one| !one.thread.is_finished());
    }
}

/// Brings records to one subscriber, on a thread of its own.
struct Subscriber {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    collection: CollectionId,
    /// The last SeqId delivered.
    delivered: SeqId,
    end: Option<SeqId>,
    /// The number of the file to read in; 0 before the log has one.
    file: u64,
}

/// What a subscriber does next.
enum Next {
    /// Read in this file.
    Read(LiveFile),
    /// Nothing: it is over.
    Stop,
    /// The same, and the subscriber is told why.
    Fail(Error),
}

impl Subscriber {
    fn run(mut self, mut deliver: Delivery) {
        let shared = self.shared.clone();
        // Where to read on, in which file.
        let mut reader: Option<(u64, FrameReader<'_>)> = None;
        while self.end.is_none_or(|end| self.delivered < end) {
            let at = reader
                .as_ref()
                .map(|(number, reader)| (*number, reader.offset));
            let file = match self.next_file(at) {
                Next::Read(file) => file,
                Next::Stop => return,
                Next::Fail(error) => return deliver(Err(error)),
            };
            let number = file.header.number;
            self.file = number;
            let reader = match &mut reader {
                Some((open, reader)) if *open == number => reader,
                other => {
                    let storage = shared.storage.as_ref();
                    let fresh = FrameReader::new(storage, &file.header, file.chain, file.end);
                    &mut other.insert((number, fresh)).1
                }
            };
            reader.extend(file.end);
            match self.read_on(reader, &mut deliver) {
                Ok(()) => {}
                // The file was removed meanwhile, which shows at the next look.
                Err(error) if error.kind() == ErrorKind::NotFound && self.is_gone(number) => {}
                Err(error) => return deliver(Err(error)),
            }
        }
    }

    /// Waits for a file with something to read behind `at`.
    fn next_file(&mut self, at: Option<(u64, u64)>) -> Next {
        let mut state = self.shared.state.lock();
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Next::Stop;
            }
            let Some(head) = state.heads.get(&self.collection) else {
                return Next::Fail(unknown_collection(self.collection));
            };
            let read = |file: &LiveFile| match at {
                Some((number, offset)) if number == file.header.number => offset >= file.end,
                Some((number, _)) => file.header.number < number,
                None => file.header.number < self.file,
            };
            let next = state.files.iter().find(|file| !file.going && !read(file));
            if let Some(file) = next {
                return Next::Read(file.clone());
            }
            if head.purged > self.delivered && self.delivered < head.highest {
                return Next::Fail(self.purged(head.purged));
            }
            if state.ending.is_some() {
                return Next::Stop;
            }
            self.shared.progress.wait(&mut state);
        }
    }

    /// Whether file `number` is no longer there.
    fn is_gone(&self, number: u64) -> bool {
        let state = self.shared.state.lock();
        !state
            .files
            .iter()
            .any(|file| file.header.number == number && !file.going)
    }

    /// Delivers what the file has.
    fn read_on(&mut self, reader: &mut FrameReader<'_>, deliver: &mut Delivery) -> Result<()> {
        loop {
            if self.stop.load(Ordering::SeqCst) || self.end.is_some_and(|end| self.delivered >= end)
            {
                return Ok(());
            }
            let path = file_path(self.file);
            let frame = match reader.header()? {
                Found::End => return Ok(()),
                Found::Bad(detail) => return Err(Error::corrupted(&path, reader.offset, detail)),
                Found::Frame(frame) => frame,
            };
            let wanted = frame.kind == FrameKind::Batch
                && frame.collection == self.collection
                && frame.last() > self.delivered;
            if wanted {
                if frame.first > self.delivered.plus(1) {
                    return Err(self.purged(SeqId(frame.first.0 - 1)));
                }
                let batch = reader
                    .payload(&frame)?
                    .and_then(|payload| payload::decode(payload, frame.count))
                    .map_err(|detail| Error::corrupted(&path, frame.offset, detail))?;
                let part = self.part(batch, &frame);
                self.delivered = part.seqs.last;
                deliver(Ok(part));
            }
            reader.pass(&frame);
        }
    }

    /// The part of a batch that the subscriber is due.
    fn part(&self, batch: RecordBatch, frame: &FrameHeader) -> LogBatch {
        let seqs = SeqRange::of(frame.first, frame.count as usize);
        let (mut batch, mut seqs) = after(batch, seqs, self.delivered);
        if let Some(end) = self.end
            && end < seqs.last
        {
            seqs.last = end;
            batch = batch.rows(0..seqs.count() as usize);
        }
        LogBatch {
            collection: self.collection,
            seqs,
            batch: Arc::new(batch),
        }
    }

    fn purged(&self, upto: SeqId) -> Error {
        Error::not_found(format!(
            "Records {} to {upto} of collection [{}] were purged before the subscription had \
             them; subscribe again behind {upto}.",
            self.delivered.plus(1),
            self.collection
        ))
    }
}
