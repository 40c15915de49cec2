//! The ordered, durable log that every change goes through first.
//!
//! One append-only log for all collections. A batch is one frame, all or nothing; SeqIds are
//! dense per collection from 1. Many writers share one fsync (group commit).
//!
//! What must stay true:
//!
//! - A ticket is done only after an fsync that covers its frame and the name of its file.
//! - In the files, the frames of a collection stand in the order of their SeqIds, without a gap.
//! - Files have numbers without a gap: removed oldest first, each removal durable before the next.
//! - After a failed fsync nothing is acknowledged any more, until the log is opened again.
//!
//! Where to look: [`format`] draws every byte and argues the crash cases, `payload` is the form
//! of a batch, `journal` the public [`Log`], `writer` its thread, `recovery` the opening, `scan` a
//! look that changes nothing, `newest` the note of the last file, `reader` the walk over a file,
//! `lend` vectors that chunks look at in the
//! log, `consumer` subscriptions, `readback` what indexing reads again, `archive` frames on their way to
//! a backup and back.

pub mod archive;
mod clean_end;
mod consumer;
pub mod format;
mod group;
mod journal;
mod lend;
mod newest;
mod payload;
mod readback;
mod reader;
mod recovery;
mod scan;
mod spares;
mod state;
#[cfg(test)]
mod tests;
mod ticket;
mod writer;

pub use consumer::{Consumer, Delivery, Producer, SubscriptionId};
pub use journal::Log;
pub(crate) use lend::VectorPlace;
pub use payload::{Encoded, decode, encode};
pub use readback::ReadMark;
pub use recovery::Logged;
pub use scan::{LogFile, Scan, scan};
pub use ticket::Ticket;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Result;
use crate::catalog::Catalog;
use crate::model::{CollectionId, RecordBatch, SeqId, SeqRange};

/// The folder of the log in the data folder.
pub(crate) const FOLDER: &str = "log";

/// What a log is opened with.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Bytes of a file at which the next is begun.
    pub file_bytes: u64,
    /// Records that one batch may have.
    pub batch_records_max: usize,
    /// Bytes that must stay free on the disk; below, an append fails with `OutOfSpace`.
    pub free_disk_bytes_min: u64,
    /// Files that are kept for backups from the start.
    pub keep: Keep,
    /// What the catalogue says as it is opened.
    pub catalog: CatalogSays,
}

/// What the catalogue says of itself and of the log, against which the log is checked: of the two
/// each notices that the other is older than it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatalogSays {
    /// How many transactions have changed it.
    pub generation: u64,
    /// The number of the newest log file that it was told of; 0 where there was none.
    pub newest_file: u64,
}

impl CatalogSays {
    /// What `catalog` says now.
    pub(crate) fn by(catalog: &Catalog) -> Result<Self> {
        Ok(Self {
            generation: catalog.generation().load(Ordering::SeqCst),
            newest_file: catalog.newest_log_file()?,
        })
    }
}

/// The catalogue beside a running log.
pub struct Beside {
    /// Its generation, as it goes on.
    pub generation: Arc<AtomicU64>,
    /// Tells it of a new log file, before anything is in that.
    pub tell_file: Box<dyn Fn(u64) + Send + Sync>,
}

/// Which files are kept for the next incremental backup although segments hold their records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The number of the first file to keep; `None` keeps none.
    pub from: Option<u64>,
    /// Bytes kept at most; beyond, the oldest files go, and the next backup is a full one.
    pub bytes_max: u64,
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
    /// Microseconds that fsyncs of batches took together.
    pub sync_microseconds: u64,
    /// Bytes appended.
    pub bytes: u64,
}
