//! What an embedder decides when it opens a database: places and limits, each with its default.
//!
//! What must stay true: settings are data, components (storage, clock) are injected.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::backup::Destinations;
use crate::clock::{Clock, SystemClock};
use crate::inspect::CATALOG_FILE;
use crate::storage::{DiskStorage, MemoryStorage, Storage};
use crate::{Result, catalog::CatalogLocation};

/// Everything [`crate::Database::open`] needs.
#[derive(Clone)]
pub struct Config {
    /// The one door to the disk.
    pub storage: Arc<dyn Storage>,
    /// Where the catalogue lives.
    pub catalog: CatalogLocation,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Limits.
    pub limits: Limits,
    /// When records leave memory for segments, and log files go.
    pub upkeep: Upkeep,
    /// Who begins jobs that are due.
    pub scheduler_class: SchedulerClass,
    /// When writers are answered, and who indexes what they wrote.
    pub ingest: Ingest,
    /// Where backups may be made; none refuses those that are asked for by name.
    pub backups: Option<Arc<dyn Destinations>>,
    /// The data folder, where [`Self::storage`] is one on a disk: a collection of a backup is built in
    /// it before it is brought back.
    pub folder: Option<PathBuf>,
}

/// When writers are answered, and who indexes what they wrote.
#[derive(Clone, Copy, Debug)]
pub struct Ingest {
    /// Whether writers are answered once their batch is durable, and readers see it a little
    /// later. A collection that says otherwise itself has its own way.
    pub batch_ingest: bool,
    /// Threads that index what was written so. None run where [`Upkeep::background`] is off; then
    /// [`crate::Database::upkeep`] and readers do it.
    pub workers: usize,
    /// Bytes of such batches that are kept in memory until they are indexed; what is beyond is
    /// read from the log again.
    pub kept_bytes: u64,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            batch_ingest: false,
            workers: 2,
            kept_bytes: 128 << 20,
        }
    }
}

/// Who begins jobs that are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchedulerClass {
    /// A thread of this process, unless [`Upkeep::background`] is off.
    #[default]
    InProcess,
    /// Nobody: an operator's own scheduler asks for runs.
    External,
}

impl Config {
    /// Why no job begins by itself, where that is so.
    pub(crate) fn scheduler_note(&self) -> Option<String> {
        let note = match (self.scheduler_class, self.upkeep.background) {
            (SchedulerClass::External, _) => {
                "scheduler_class is external: jobs begin when asked for"
            }
            (SchedulerClass::InProcess, false) => "no thread begins jobs in this process",
            (SchedulerClass::InProcess, true) => return None,
        };
        Some(note.to_owned())
    }
}

/// What a request may ask for at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records in one batch.
    pub batch_records_max: usize,
    /// Numbers in a vector.
    pub dimension_max: usize,
    /// Bytes of an id.
    pub id_bytes_max: usize,
    /// Bytes of a metadata key.
    pub key_bytes_max: usize,
    /// Bytes of a document.
    pub document_bytes_max: usize,
    /// Cells in the metadata of one record.
    pub metadata_cells_max: usize,
    /// Metadata keys in the schema of one collection.
    pub schema_keys_max: usize,
    /// Bytes of the log that no segment holds yet; past them writes are refused for a while.
    pub log_bytes_max: u64,
    /// Bytes that must stay free on the disk for writes; merges stop at four times as much.
    pub free_disk_bytes_min: u64,
    /// Bytes of the log kept for the next incremental backup once segments hold them.
    pub backup_log_bytes_max: u64,
    /// What each tenant may have.
    pub quotas: Quotas,
}

/// What a tenant may have at most; `None` sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Collections.
    pub collections: Option<u64>,
    /// Records of all its collections.
    pub records: Option<u64>,
    /// Bytes of all its collections: segments, schemas, and what is in memory and in the log beyond them.
    pub bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_records_max: 100_000,
            dimension_max: 65_535,
            id_bytes_max: 64 << 10,
            key_bytes_max: 4 << 10,
            document_bytes_max: 32 << 20,
            metadata_cells_max: 10_000,
            schema_keys_max: 10_000,
            log_bytes_max: 4 << 30,
            free_disk_bytes_min: 16 << 20,
            backup_log_bytes_max: 1 << 30,
            quotas: Quotas::default(),
        }
    }
}

/// What maintenance (merges, rebuilds, jobs) may take of the machine. Writing memory to segments is
/// not part of it: that lets writers go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaintenanceBudget {
    /// Bytes read and written a second by all of it together; `None` sets no limit.
    pub bytes_per_second: Option<u64>,
    /// The share of a processor that each thread of it takes at most, from 1 to 100.
    pub cpu_percent: u8,
}

impl Default for MaintenanceBudget {
    fn default() -> Self {
        Self {
            bytes_per_second: None,
            cpu_percent: 100,
        }
    }
}

/// When the engine does its upkeep by itself.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep {
    /// Rows in memory at which a collection is sealed.
    pub seal_rows: usize,
    /// Bytes in memory at which a collection is sealed.
    pub seal_bytes: usize,
    /// Bytes in memory of all collections together at which the largest is sealed.
    pub memory_bytes: usize,
    /// A collection that nobody wrote to for so long is sealed: at once if it holds
    /// `seal_idle_bytes`, else when its turn comes, one such collection at a time.
    pub seal_idle_after: Duration,
    /// See `seal_idle_after`.
    pub seal_idle_bytes: usize,
    /// Rows in memory at which a collection that is searched is sealed, so that searches find an
    /// index of most rows.
    pub seal_searched_rows: usize,
    /// Bytes of a log file at which the next is begun.
    pub log_file_bytes: u64,
    /// Bytes of log kept before the collections that hold its oldest file are sealed.
    pub log_bytes: u64,
    /// Segments of one tier that are merged into one of the next.
    pub merge_fan_out: usize,
    /// Bytes of vectors and their indexes in memory past which those that were searched longest ago
    /// are given back to the system; 0 leaves that to the system.
    pub mapped_bytes: u64,
    /// One search in so many is made again exactly when the machine is idle, so that the recall that
    /// users get is known and kept; 0 makes none again.
    pub recall_check_one_in: u32,
    /// Rows beyond which a segment is merged no further.
    pub segment_rows_max: usize,
    /// What merges and jobs may take of the machine.
    pub budget: MaintenanceBudget,
    /// Bytes of memory that a merge may take; segments that would take more stay apart.
    pub merge_bytes: u64,
    /// Whether a thread does upkeep; without it, the owner calls [`crate::Database::upkeep`].
    pub background: bool,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            seal_rows: 65_536,
            seal_bytes: 128 << 20,
            memory_bytes: 384 << 20,
            seal_idle_after: Duration::from_secs(5),
            seal_idle_bytes: 1 << 20,
            seal_searched_rows: 2_048,
            log_file_bytes: 32 << 20,
            log_bytes: 128 << 20,
            merge_fan_out: 8,
            mapped_bytes: 0,
            recall_check_one_in: 2_000,
            segment_rows_max: 16_000_000,
            budget: MaintenanceBudget::default(),
            merge_bytes: 768 << 20,
            background: true,
        }
    }
}

impl Config {
    /// A database in the folder `path`, made if it is not there.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let storage = DiskStorage::open(&path)?;
        Ok(Self {
            catalog: CatalogLocation::File(path.join(CATALOG_FILE)),
            folder: Some(path),
            ..Self::with_storage(Arc::new(storage))
        })
    }

    /// A database in memory that is gone when it is dropped.
    pub fn in_memory() -> Self {
        Self::with_storage(Arc::new(MemoryStorage::default()))
    }

    /// A database on `storage` with its catalogue in memory.
    pub fn with_storage(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            catalog: CatalogLocation::memory(),
            clock: SystemClock::new(),
            limits: Limits::default(),
            upkeep: Upkeep::default(),
            ingest: Ingest::default(),
            scheduler_class: SchedulerClass::default(),
            backups: None,
            folder: None,
        }
    }
}
