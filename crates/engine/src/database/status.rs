//! What an open database tells of itself: health, sizes and counts.
//!
//! What must stay true: nothing here reads a file or waits for a disk. What refuses every request of a
//! kind makes the database unhealthy; what refuses those of one collection, or of a moment, does not.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Database;
use crate::control::Component;

/// How far the segments of a collection are behind its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexingStatus {
    /// Operations ever logged.
    pub total_operations: u64,
    /// Operations that searches see.
    pub indexed_operations: u64,
    /// Operations that segments hold.
    pub sealed_operations: u64,
}

/// Whether the database takes writes and reads.
#[derive(Clone, Debug)]
pub struct Health {
    /// Reads are answered.
    pub readable: bool,
    /// Writes are taken.
    pub writable: bool,
    /// Why one of them is refused.
    pub reason: Option<String>,
}

/// Sizes for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Collections.
    pub collections: u64,
    /// Live records of all collections whose records were asked for since the start.
    pub records: u64,
    /// Bytes of applied records in memory.
    pub memory_bytes: u64,
    /// Bytes of log files.
    pub log_bytes: u64,
    /// Fsyncs of the log since start.
    pub log_syncs: u64,
    /// Microseconds that those of batches took together.
    pub log_sync_microseconds: u64,
    /// Batches that wait for the log, and their bytes.
    pub log_queue_batches: u64,
    /// See `log_queue_batches`.
    pub log_queue_bytes: u64,
    /// Batches appended since start.
    pub log_appends: u64,
    /// Segments of all collections.
    pub segments: u64,
    /// Collections that wait for an indexing worker.
    pub waiting_collections: u64,
    /// Spans of SeqIds that are logged and not indexed.
    pub waiting_spans: u64,
    /// Bytes of batches that are logged and not indexed.
    pub waiting_bytes: u64,
    /// Of these, bytes that are in memory.
    pub waiting_bytes_kept: u64,
    /// Operations that are logged and not indexed.
    pub waiting_operations: u64,
    /// How long ago the oldest of these was written, in milliseconds.
    pub indexing_lag_milliseconds: u64,
    /// Batches that were read from the log again to be indexed.
    pub batches_read_again: u64,
    /// Searches that were made again exactly.
    pub searches_checked: u64,
    /// The nearest records of these searches, and those of them that were found.
    pub recall_wanted: u64,
    /// See `recall_wanted`.
    pub recall_found: u64,
    /// Indexes that are read further than their tables say.
    pub indexes_corrected: u64,
    /// Writes that were held back since memory, log or disk were filling up.
    pub writes_slowed: u64,
    /// Writes that were refused since one of them was full.
    pub writes_refused: u64,
    /// Bytes that are free on the disk; `None` where nobody knows.
    pub disk_free_bytes: Option<u64>,
    /// Seals since start, rows that they wrote, and microseconds that the sealing thread took.
    pub seals: u64,
    /// See `seals`.
    pub sealed_rows: u64,
    /// See `seals`.
    pub seal_microseconds: u64,
    /// Merges and rebuilds since start, rows that they wrote, and microseconds that the merging
    /// thread took.
    pub merges: u64,
    /// See `merges`.
    pub merged_rows: u64,
    /// See `merges`.
    pub merge_microseconds: u64,
    /// Collections whose records are at hand.
    pub loaded_collections: u64,
    /// How often the memory of an idle collection was given back.
    pub unloaded: u64,
    /// Records deleted since they were past their time.
    pub expired_records: u64,
}

impl Database {
    /// Whether reads and writes are taken.
    pub fn health(&self) -> Health {
        let inner = &self.inner;
        if inner.is_closing() {
            return Health {
                readable: false,
                writable: false,
                reason: Some("the database is closing".to_owned()),
            };
        }
        let paused = |component| {
            let message = format!("the component `{component}` is paused");
            (!inner.controls.lets_in(component)).then_some(message)
        };
        let unreadable = paused(Component::Query).map(|why| format!("reads are refused: {why}"));
        let failure = inner.unsynced();
        let unwritable = failure
            .map(|failure| failure.message().to_owned())
            .or_else(|| paused(Component::Producer).map(|why| format!("writes are refused: {why}")))
            .or_else(|| inner.full());
        let (readable, writable) = (unreadable.is_none(), unwritable.is_none());
        let reasons: Vec<String> = unwritable.into_iter().chain(unreadable).collect();
        Health {
            readable,
            writable,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
        }
    }

    /// Sizes and counts for metrics.
    pub fn statistics(&self) -> Statistics {
        let log = self.inner.log.statistics();
        let gauges = &self.inner.gauges;
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut statistics = Statistics {
            log_bytes: self.inner.log.bytes() + self.inner.log.kept_bytes(),
            log_syncs: log.syncs,
            log_sync_microseconds: log.sync_microseconds,
            log_appends: log.appends,
            waiting_collections: self.inner.handoff.len() as u64,
            waiting_bytes: counted(&gauges.backlog),
            waiting_bytes_kept: counted(&gauges.kept),
            batches_read_again: counted(&gauges.read_again),
            writes_slowed: counted(&self.inner.slowed),
            writes_refused: counted(&self.inner.refused),
            seals: counted(&gauges.seals),
            sealed_rows: counted(&gauges.sealed_rows),
            seal_microseconds: counted(&self.inner.seal_time),
            merges: counted(&gauges.merges),
            merged_rows: counted(&gauges.merged_rows),
            merge_microseconds: counted(&self.inner.merge_time),
            unloaded: counted(&gauges.unloaded),
            expired_records: counted(&self.inner.expired),
            ..Statistics::default()
        };
        let free = self.inner.config.storage.free_bytes();
        statistics.disk_free_bytes = free.ok().filter(|free| *free != u64::MAX);
        (statistics.log_queue_batches, statistics.log_queue_bytes) = self.inner.log.queued();
        let now = self.inner.config.clock.monotonic();
        for collection in self.inner.all_collections() {
            statistics.collections += 1;
            statistics.segments += collection.segment_count() as u64;
            statistics.memory_bytes += collection.memory().0;
            if collection.is_loaded() {
                statistics.loaded_collections += 1;
                statistics.records += collection.count().unwrap_or(0);
            }
            let (checked, tally) = collection.samples().checked();
            statistics.searches_checked += checked;
            statistics.recall_wanted += tally.wanted;
            statistics.recall_found += tally.found;
            statistics.indexes_corrected += collection.corrected_segments().len() as u64;
            let backlog = collection.backlog();
            if let Some(since) = backlog.since {
                let lag = now.saturating_sub(since).as_millis() as u64;
                let operations = collection
                    .acknowledged()
                    .0
                    .saturating_sub(collection.visible().0);
                statistics.waiting_spans += backlog.spans as u64;
                statistics.waiting_operations += operations;
                statistics.indexing_lag_milliseconds =
                    statistics.indexing_lag_milliseconds.max(lag);
            }
        }
        statistics
    }
}
