//! The ordered, durable log that every change goes through first.
//!
//! One append-only log for all collections. A batch is one frame, all or nothing; SeqIds are
//! dense per collection from 1. Many writers share one fsync (group commit).

use std::sync::Arc;

use crate::Result;
use crate::model::{CollectionId, FlushKey, RecordBatch, SeqId, SeqRange};
use crate::storage::Storage;

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
    /// The lowest SeqId that can still be read; one past `highest` where none can.
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
pub struct Log {}

impl Log {
    /// Opens the log of `storage`, made if it is not there. Calls `replay` with every whole
    /// frame, in order, whose SeqIds are above `applied(collection)`; a collection for which
    /// `applied` answers `None` is gone and its frames are passed over. A torn tail of the last
    /// file is cut; damage anywhere else is an error that names file and offset.
    pub fn open(
        _storage: Arc<dyn Storage>,
        _options: LogOptions,
        _applied: &dyn Fn(CollectionId) -> Option<SeqId>,
        _replay: &mut dyn FnMut(LogBatch) -> Result<()>,
    ) -> Result<Self> {
        unimplemented!()
    }

    /// Tells the log of a collection whose records below and at `applied` are in segments.
    pub fn register(&self, _collection: CollectionId, _applied: SeqId) {
        unimplemented!()
    }

    /// Gives the batch its SeqIds and queues it; the ticket is done when it is durable.
    pub fn submit(
        &self,
        _collection: CollectionId,
        _batch: Arc<RecordBatch>,
        _flush: Option<FlushKey>,
    ) -> Result<Ticket> {
        unimplemented!()
    }

    /// Records at and below `upto` are in segments: their space may be taken back.
    pub fn purge(&self, _collection: CollectionId, _upto: SeqId) -> Result<()> {
        unimplemented!()
    }

    /// Drops the log of a collection that is deleted.
    pub fn drop_collection(&self, _collection: CollectionId) -> Result<()> {
        unimplemented!()
    }

    /// Lowest and highest SeqId of a collection.
    pub fn head(&self, _collection: CollectionId) -> Option<LogHead> {
        unimplemented!()
    }

    /// Bytes of all log files.
    pub fn bytes(&self) -> u64 {
        unimplemented!()
    }

    /// What the log has done since it was opened.
    pub fn statistics(&self) -> LogStatistics {
        unimplemented!()
    }

    /// The collections whose records keep the oldest log file from being removed.
    pub fn holders_of_oldest(&self) -> Vec<CollectionId> {
        unimplemented!()
    }

    /// Why the log refuses writes, where it does (a failed fsync).
    pub fn failure(&self) -> Option<crate::Error> {
        unimplemented!()
    }

    /// Waits for queued appends, marks the end as clean, and stops the log's thread.
    pub fn close(&self) -> Result<()> {
        unimplemented!()
    }
}

/// A queued append.
pub struct Ticket {}

impl Ticket {
    /// The SeqIds of the batch; they count only once the ticket is done.
    pub fn seqs(&self) -> SeqRange {
        unimplemented!()
    }

    /// Waits until the batch is durable, or has failed.
    pub fn wait(&self) -> Result<SeqRange> {
        unimplemented!()
    }
}
