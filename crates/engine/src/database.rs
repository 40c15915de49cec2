//! The database: opens a folder, gives every operation on it, and looks after itself.
//!
//! What must stay true: opening replays the log beyond the segments before anything is answered;
//! closing leaves the log with a clean end; the `collections` lock is never held across I/O, and
//! `changes` orders everything that creates, renames or deletes.

mod backups;
mod expiry;
mod namespaces;
mod records;
mod validate;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::backup::{BackupState, Journal};
use crate::catalog::Catalog;
use crate::config::{Config, Limits};
use crate::expiry::Marks;
use crate::indexing::{LiveCollection, Publisher};
use crate::log::{Keep, Log, LogOptions};
use crate::maintenance::{Worker, merge_round, seal_round, sweep_orphans};
use crate::model::{CollectionId, CollectionScope, SeqId};
use crate::storage::DeferringStorage;
use crate::{Error, ErrorKind, Result};

/// How long a write waits for memory to be sealed before it is refused.
const PRESSURE_WAIT: Duration = Duration::from_secs(10);
/// Memory beyond which writes wait, as a multiple of what upkeep aims at.
const PRESSURE_FACTOR: u64 = 2;

/// How often expired records are looked for.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);
/// Records that one round of expiry deletes at most.
const EXPIRY_RECORDS: usize = 10_000;

/// An open database. All methods can be called from any thread; share it in an `Arc`.
///
/// ```
/// use vermilion_engine::{Config, Database};
///
/// let database = Database::open(Config::in_memory())?;
/// assert_eq!(database.count_collections("default_tenant", "default_database")?, 0);
/// database.close()?;
/// # Ok::<(), vermilion_engine::Error>(())
/// ```
pub struct Database {
    inner: Arc<Inner>,
    workers: Mutex<Vec<Worker>>,
}

/// What the database and its workers share.
struct Inner {
    config: Config,
    catalog: Catalog,
    log: Log,
    collections: RwLock<Collections>,
    /// Bytes in memory of all collections together.
    memory: Arc<AtomicU64>,
    /// Held by whatever creates, renames or deletes tenants, databases or collections.
    changes: Mutex<()>,
    /// The storage of `config`, which a backup can ask to leave folders in place.
    folders: Arc<DeferringStorage>,
    /// When the catalogue changed, for the next backup.
    journal: Journal,
    /// When records were written, for those that have a life; held while records expire.
    expiry: Mutex<Marks>,
    /// Held while a backup is made.
    backing_up: Mutex<()>,
    closing: AtomicBool,
    /// Told whenever a seal has freed memory.
    freed: (Mutex<()>, Condvar),
}

/// The open collections, by id and by name.
#[derive(Default)]
struct Collections {
    by_id: HashMap<CollectionId, Arc<LiveCollection>>,
    by_name: HashMap<(String, String, String), CollectionId>,
}

/// How far the segments of a collection are behind its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexingStatus {
    /// Operations ever logged.
    pub total_operations: u64,
    /// Operations that searches see.
    pub indexed_operations: u64,
}

/// Whether the database takes writes and reads.
#[derive(Clone, Debug)]
pub struct Health {
    /// Reads are answered.
    pub readable: bool,
    /// Writes are taken; otherwise `reason` says why not.
    pub writable: bool,
    /// Why not.
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
    /// Batches appended since start.
    pub log_appends: u64,
    /// Segments of all collections.
    pub segments: u64,
}

impl Database {
    /// Opens the database, made if it is not there, and replays what the log has beyond the
    /// segments.
    pub fn open(mut config: Config) -> Result<Self> {
        let folders = DeferringStorage::new(config.storage.clone());
        config.storage = folders.clone();
        let catalog = Catalog::open(&config.catalog)?;
        let rows = catalog.load()?;
        let swept = sweep_orphans(config.storage.as_ref(), &rows)?;
        if swept > 0 {
            tracing::info!(
                swept,
                "removed folders of segments that were never published"
            );
        }
        let memory = Arc::new(AtomicU64::new(0));
        let mut collections = Collections::default();
        for row in rows {
            collections.insert(Arc::new(LiveCollection::new(row, memory.clone())));
        }
        let backups = read_backup_state(&config);
        let journal = Journal::open(config.storage.as_ref(), backups.is_some())?;
        let mut keep = Keep {
            from: None,
            bytes_max: config.limits.backup_log_bytes_max,
        };
        if let Some(backups) = backups {
            keep.from = backups.first_log_file();
            journal.resume_at(backups.next_change());
        }
        let expiry = Mutex::new(Marks::read(config.storage.as_ref())?);
        let log = open_log(&config, &catalog, &collections, keep)?;
        for (id, collection) in &collections.by_id {
            log.register(*id, collection.published_applied());
        }
        log.set_clock(config.clock.clone());
        let background = config.upkeep.background;
        let inner = Arc::new(Inner {
            config,
            catalog,
            log,
            collections: RwLock::new(collections),
            memory,
            changes: Mutex::new(()),
            folders,
            journal,
            expiry,
            backing_up: Mutex::new(()),
            closing: AtomicBool::new(false),
            freed: (Mutex::new(()), Condvar::new()),
        });
        let workers = if background {
            start_workers(&inner)?
        } else {
            Vec::new()
        };
        Ok(Self {
            inner,
            workers: Mutex::new(workers),
        })
    }

    /// Refuses new writes, waits for running ones, leaves the log with a clean end. Idempotent.
    pub fn close(&self) -> Result<()> {
        if self.inner.closing.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let workers = std::mem::take(&mut *self.workers.lock());
        workers.iter().for_each(Worker::stop);
        let log = self.inner.log.close();
        self.inner.catalog.close()?;
        log
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.inner.config.limits
    }

    /// Whether reads and writes are taken.
    pub fn health(&self) -> Health {
        let closing = self.inner.closing.load(Ordering::SeqCst);
        let failure = self.inner.log.failure();
        let reason = match (&failure, closing) {
            (Some(failure), _) => Some(failure.message().to_owned()),
            (None, true) => Some("the database is closing".to_owned()),
            (None, false) => None,
        };
        Health {
            readable: !closing,
            writable: reason.is_none(),
            reason,
        }
    }

    /// Sizes and counts for metrics.
    pub fn statistics(&self) -> Statistics {
        let log = self.inner.log.statistics();
        let mut statistics = Statistics {
            log_bytes: self.inner.log.bytes() + self.inner.log.kept_bytes(),
            log_syncs: log.syncs,
            log_appends: log.appends,
            ..Statistics::default()
        };
        for collection in self.inner.all_collections() {
            statistics.collections += 1;
            statistics.segments += collection.segment_count() as u64;
            statistics.memory_bytes += collection.memory().0;
            if collection.is_loaded() {
                statistics.records += collection.count().unwrap_or(0);
            }
        }
        statistics
    }

    /// Nanoseconds since the Unix epoch by the database's clock.
    pub fn now_nanoseconds(&self) -> u64 {
        self.inner.config.clock.wall_nanoseconds()
    }

    /// One round of upkeep (sealing, merging, log pruning); whether anything was done.
    pub fn upkeep(&self) -> Result<bool> {
        let sealed = self.inner.seal_round()?;
        Ok(self.inner.merge_round()? || sealed)
    }

    /// Writes everything in memory to segments, however little it is.
    pub fn seal_all(&self) -> Result<()> {
        for collection in self.inner.all_collections() {
            if !collection.is_deleted() {
                collection.seal(self.inner.publisher(&|| true))?;
            }
        }
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the database did not close cleanly");
        }
    }
}

impl Inner {
    fn all_collections(&self) -> Vec<Arc<LiveCollection>> {
        self.collections.read().by_id.values().cloned().collect()
    }

    /// The collection of a record request, which must belong to the tenant and database named.
    fn scoped(&self, scope: CollectionScope<'_>) -> Result<Arc<LiveCollection>> {
        let found = self.collections.read().by_id.get(&scope.id).cloned();
        found
            .filter(|collection| {
                let info = collection.info();
                info.tenant == scope.tenant && info.database == scope.database
            })
            .ok_or_else(|| crate::indexing::missing(scope.id))
    }

    fn publisher<'a>(&'a self, go_on: &'a (dyn Fn() -> bool + Sync)) -> Publisher<'a> {
        Publisher {
            storage: self.config.storage.as_ref(),
            catalog: &self.catalog,
            log: Some(&self.log),
            go_on,
        }
    }

    fn seal_round(&self) -> Result<bool> {
        let go_on = || !self.closing.load(Ordering::Relaxed);
        let sealed = seal_round(
            &self.all_collections(),
            self.publisher(&go_on),
            &self.config.upkeep,
            self.config.clock.monotonic(),
        )?;
        self.freed.1.notify_all();
        Ok(sealed)
    }

    fn merge_round(&self) -> Result<bool> {
        let go_on = || !self.closing.load(Ordering::Relaxed);
        merge_round(
            &self.all_collections(),
            self.publisher(&go_on),
            &self.config.upkeep,
            &self.config.limits,
        )
    }

    /// Refuses writes while the database closes or the log has failed; while memory or log are
    /// full, waits for upkeep, and after [`PRESSURE_WAIT`] refuses for now.
    fn admit_write(&self) -> Result<()> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(Error::new(
                ErrorKind::Closed,
                "The database is closing; retry later.",
            ));
        }
        let memory_max = self.config.upkeep.memory_bytes as u64 * PRESSURE_FACTOR;
        let deadline = self.config.clock.monotonic() + PRESSURE_WAIT;
        loop {
            let memory = self.memory.load(Ordering::Relaxed);
            let log = self.log.bytes();
            if memory <= memory_max && log <= self.config.limits.log_bytes_max {
                return Ok(());
            }
            if self.config.clock.monotonic() >= deadline || !self.config.upkeep.background {
                return Err(Error::new(
                    ErrorKind::Busy,
                    format!(
                        "Writes come faster than they can be stored: {memory} bytes in memory \
                         ({memory_max} allowed), {log} bytes of log ({} allowed). Retry later.",
                        self.config.limits.log_bytes_max
                    ),
                ));
            }
            let mut guard = self.freed.0.lock();
            self.freed
                .1
                .wait_for(&mut guard, Duration::from_millis(100));
        }
    }
}

impl Collections {
    fn insert(&mut self, collection: Arc<LiveCollection>) {
        let info = collection.info();
        self.by_name.insert(
            (
                info.tenant.clone(),
                info.database.clone(),
                info.name.clone(),
            ),
            collection.id,
        );
        self.by_id.insert(collection.id, collection);
    }

    fn remove(&mut self, collection: &LiveCollection) {
        let info = collection.info();
        self.by_name.remove(&(
            info.tenant.clone(),
            info.database.clone(),
            info.name.clone(),
        ));
        self.by_id.remove(&collection.id);
    }

    fn named(&self, tenant: &str, database: &str, name: &str) -> Option<&Arc<LiveCollection>> {
        let key = (tenant.to_owned(), database.to_owned(), name.to_owned());
        self.by_name.get(&key).and_then(|id| self.by_id.get(id))
    }
}

/// What the folder remembers of its backups. Where that is damaged, the next backup says so; it
/// must not keep the database from opening.
fn read_backup_state(config: &Config) -> Option<BackupState> {
    BackupState::read(config.storage.as_ref()).unwrap_or_else(|error| {
        tracing::warn!(%error, "no log is kept for backups");
        None
    })
}

/// Opens the log and applies what it has beyond the segments. While it does, memory is kept in
/// bounds by sealing.
fn open_log(
    config: &Config,
    catalog: &Catalog,
    collections: &Collections,
    keep: Keep,
) -> Result<Log> {
    let storage = config.storage.as_ref();
    let options = LogOptions {
        file_bytes: config.upkeep.log_file_bytes,
        batch_records_max: config.limits.batch_records_max,
        free_disk_bytes_min: config.limits.free_disk_bytes_min,
        keep,
    };
    let applied = |id: CollectionId| -> Option<SeqId> {
        collections
            .by_id
            .get(&id)
            .map(|collection| collection.published_applied())
    };
    let publisher = Publisher {
        storage,
        catalog,
        log: None,
        go_on: &|| true,
    };
    let memory_max = config.upkeep.memory_bytes as u64 * PRESSURE_FACTOR;
    let mut memory: u64 = 0;
    Log::open(config.storage.clone(), options, &applied, &mut |frame| {
        let Some(collection) = collections.by_id.get(&frame.collection) else {
            return Ok(());
        };
        memory += frame.batch.heap_bytes() as u64;
        collection.replay(storage, &frame.batch, frame.seqs);
        if memory > memory_max {
            memory = 0;
            for collection in collections.by_id.values().filter(|one| one.memory().0 > 0) {
                // A full disk must not keep the database from opening.
                if let Err(error) = collection.seal(publisher) {
                    tracing::warn!(%error, "cannot seal while the log is replayed");
                }
            }
        }
        Ok(())
    })
}

fn start_workers(inner: &Arc<Inner>) -> Result<Vec<Worker>> {
    let (sealing, merging, expiring) = (inner.clone(), inner.clone(), inner.clone());
    let sealer = Worker::start("vermilion-seal", Duration::from_millis(250), move || {
        sealing.seal_round().unwrap_or_else(|error| {
            tracing::warn!(%error, "sealing failed and will be tried again");
            false
        })
    })?;
    let merger = Worker::start("vermilion-merge", Duration::from_secs(1), move || {
        merging.merge_round().unwrap_or_else(|error| {
            tracing::warn!(%error, "merging failed and will be tried again");
            false
        })
    })?;
    let expirer = Worker::start("vermilion-expire", EXPIRY_INTERVAL, move || {
        let now = expiring.config.clock.wall_nanoseconds();
        match expiring.expire(now, EXPIRY_RECORDS) {
            Ok(report) => report.more && report.expired > 0,
            Err(error) => {
                tracing::warn!(%error, "expiry failed and will be tried again");
                false
            }
        }
    })?;
    Ok(vec![sealer, merger, expirer])
}
