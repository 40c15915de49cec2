//! What a log promises to those who write to it and those who read it, whichever log it is.

use std::sync::Arc;

use uuid::Uuid;

use super::{Log, LogBatch, LogHead, Ticket};
use crate::Result;
use crate::model::{CollectionId, FlushKey, RecordBatch, SeqId};

/// Names a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionId(pub Uuid);

/// Is given the batches of a subscription, one after the other, in the order of their SeqIds.
pub type ConsumeBatches = Box<dyn FnMut(LogBatch) + Send>;

/// Writes to the log.
///
/// A batch is durable and has its SeqIds when its ticket is done; until then it may yet fail, and
/// a batch that failed is absent. Batches of one collection get their SeqIds in the order in which
/// they were submitted, dense, from 1. A batch for a collection that is dropped fails with
/// `NotFound`; after a failed fsync every batch fails with `Closed`.
pub trait Producer {
    /// Submits a batch of one or many records. A repeated `flush` key answers what the first
    /// append with it answered, and appends nothing.
    fn submit(
        &self,
        collection: CollectionId,
        batch: Arc<RecordBatch>,
        flush: Option<FlushKey>,
    ) -> Result<Ticket>;
    /// Records that one batch may have at most.
    fn max_batch_size(&self) -> usize;
}

/// Reads the log.
pub trait Consumer {
    /// Calls `consume` with every durable record of `collection` behind `start` (exclusive; `None`
    /// is from the first one still there) up to `end` (inclusive; `None` is without end): first
    /// those that are there, then each as it becomes durable, without a gap or a repeat. Fails
    /// with `InvalidArgument` where `end` lies before `start` or the records behind `start` are
    /// purged already. Calls come from a thread of the subscription's own; while it lasts, the
    /// log keeps what it has not seen.
    fn subscribe(
        &self,
        collection: CollectionId,
        start: Option<SeqId>,
        end: Option<SeqId>,
        consume: ConsumeBatches,
    ) -> Result<SubscriptionId>;
    /// Ends a subscription; no call comes after this returns. An unknown one is fine.
    fn unsubscribe(&self, subscription: SubscriptionId);
    /// The lowest and highest SeqId of a collection.
    fn head(&self, collection: CollectionId) -> Option<LogHead>;
}

impl Producer for Log {
    fn submit(
        &self,
        collection: CollectionId,
        batch: Arc<RecordBatch>,
        flush: Option<FlushKey>,
    ) -> Result<Ticket> {
        Log::submit(self, collection, batch, flush)
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
        consume: ConsumeBatches,
    ) -> Result<SubscriptionId> {
        self.start_subscription(collection, start, end, consume)
    }

    fn unsubscribe(&self, subscription: SubscriptionId) {
        self.end_subscription(subscription);
    }

    fn head(&self, collection: CollectionId) -> Option<LogHead> {
        Log::head(self, collection)
    }
}
