//! The database: opens a folder, gives every operation on it, and looks after itself.
//!
//! What must stay true: opening replays the log beyond the segments before anything is answered;
//! closing leaves the log with a clean end; the `collections` lock is never held across I/O, and
//! `changes` orders everything that creates, renames or deletes. Whoever writes a segment that the
//! catalogue does not name yet shares `publishing`, by way of its `Publisher`; who looks for folders
//! that it does not name has it alone, and no request waits for it.

mod backups;
mod blobs;
mod conditional;
mod control;
mod documents;
mod expiry;
mod forks;
mod functions;
mod ingest;
mod memory;
mod namespaces;
mod opening;
mod pressure;
mod quotas;
mod recall;
mod records;
mod restores;
mod status;
mod tasks;
#[cfg(test)]
mod tests;
mod validate;

pub use blobs::BlobWriter;
pub use memory::MappedMemory;
pub use recall::MeasuredRecall;
pub use restores::{CollectionRestore, CollectionRestored};
pub use status::{Health, IndexingStatus, Statistics};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::backup::Journal;
use crate::catalog::{Catalog, CatalogLocation};
use crate::config::{Config, Limits, SchedulerClass};
use crate::control::{Component, Controls};
use crate::expiry::Marks;
use crate::indexing::{CostlyIndexes, Gauges, Handoff, LiveCollection, Publisher};
use crate::log::Log;
use crate::maintenance::{Budget, Named, Setbacks, Worker, forgive_deletion, seal_round};
use crate::model::{CollectionId, CollectionScope};
use crate::remnants;
use crate::schedule::Scheduler;
use crate::storage::{DeferringStorage, Storage};
use crate::threads::Priority;
use crate::{Error, ErrorKind, Result};

/// Memory beyond which writes wait, as a multiple of what upkeep aims at.
const PRESSURE_FACTOR: u64 = 2;

/// How often it is looked whether something must be sealed, or merged.
const SEAL_INTERVAL: Duration = Duration::from_millis(250);
/// See [`SEAL_INTERVAL`].
const MERGE_INTERVAL: Duration = Duration::from_secs(1);
/// How often memory of segments is looked at.
const MEMORY_INTERVAL: Duration = Duration::from_secs(1);

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
    jobs: Scheduler,
    workers: Mutex<Vec<Worker>>,
}

/// What the database and its workers share.
struct Inner {
    config: Config,
    catalog: Arc<Catalog>,
    log: Log,
    collections: RwLock<Collections>,
    /// Bytes of all collections together.
    gauges: Arc<Gauges>,
    /// The collections that the workers are to index.
    handoff: Handoff,
    controls: Controls,
    /// What merges and jobs may take.
    budget: Budget,
    /// Held by whoever merges: what a merge takes of memory and disk is taken once, and no two take
    /// the same segments.
    merging: Mutex<()>,
    /// See the head of this file.
    publishing: RwLock<()>,
    /// Held by whatever creates, renames or deletes tenants, databases or collections.
    changes: Mutex<()>,
    /// The storage of `config`, which a backup can ask to leave folders in place.
    folders: Arc<DeferringStorage>,
    /// When the catalogue changed, for the next backup.
    journal: Journal,
    /// When records were written, for those that have a life.
    expiry: Mutex<Marks>,
    /// Held while expired records are deleted.
    expiring: Mutex<()>,
    /// Held while a backup is made.
    backing_up: Mutex<()>,
    /// Held by whoever brings a collection of a backup back.
    restoring: Mutex<()>,
    closing: AtomicBool,
    /// Nobody begins to wait any more.
    stopping: AtomicBool,
    /// Told whenever a seal has freed memory.
    freed: (Mutex<()>, Condvar),
    /// What tenants have, as far as quotas ask for it.
    usage: Mutex<quotas::Usages>,
    /// Writes that were held back, and that were refused.
    slowed: AtomicU64,
    refused: AtomicU64,
    /// Bytes free on the disk, and the monotonic milliseconds when that was looked up.
    disk_free: AtomicU64,
    disk_looked_at: AtomicU64,
    /// Microseconds in which segments were sealed, and merged, by the threads for that.
    seal_time: AtomicU64,
    merge_time: AtomicU64,
    /// Records deleted since they were past their time.
    expired: AtomicU64,
    /// What of segments is in memory, and the monotonic milliseconds when that was looked up.
    mapped: Mutex<MappedMemory>,
    mapped_looked_at: AtomicU64,
}

/// The open collections, by id and by name.
#[derive(Default)]
struct Collections {
    by_id: HashMap<CollectionId, Arc<LiveCollection>>,
    by_name: HashMap<(String, String, String), CollectionId>,
}

impl Database {
    /// Opens the database, made if it is not there, and replays what the log has beyond the
    /// segments.
    pub fn open(config: Config) -> Result<Self> {
        let storage = config.storage.clone();
        Self::open_folder(config).map_err(|error| after_full_disk(error, storage.as_ref()))
    }

    fn open_folder(mut config: Config) -> Result<Self> {
        let folders = DeferringStorage::new(config.storage.clone());
        config.storage = folders.clone();
        if let CatalogLocation::File(_) = &config.catalog {
            remnants::check(config.storage.as_ref())?;
        }
        let catalog = Catalog::open(&config.catalog).map_err(after_damage)?;
        let catalog = Arc::new(catalog);
        let rows = catalog.load().map_err(after_damage)?;
        // Sealing must give log back long before writes are refused for want of it.
        let half = config.limits.log_bytes_max / 2;
        config.upkeep.log_bytes = config.upkeep.log_bytes.min(half);
        let gauges = Gauges::new(config.ingest.kept_bytes);
        let mut collections = Collections::default();
        let named = Named::by(&rows);
        let known = rows.iter().map(|row| row.collection.id).collect();
        for row in rows {
            collections.insert(Arc::new(LiveCollection::new(row, gauges.clone())));
        }
        let (journal, keep) = opening::open_journal(&config)?;
        let expiry = Mutex::new(Marks::read(config.storage.as_ref())?);
        let log = opening::open_log(&config, &catalog, &collections, keep)?;
        // Only now: a catalogue that is older than the log must not say what goes.
        opening::sweep(&config, &catalog, named, &known)?;
        for (id, collection) in &collections.by_id {
            log.register(*id, collection.published_applied());
        }
        log.set_clock(config.clock.clone());
        let budget = Budget::new(config.upkeep.budget, config.clock.clone());
        let inner = Arc::new(Inner {
            config,
            catalog,
            log,
            collections: RwLock::new(collections),
            gauges,
            handoff: Handoff::default(),
            controls: Controls::default(),
            budget,
            merging: Mutex::new(()),
            publishing: RwLock::new(()),
            changes: Mutex::new(()),
            folders,
            journal,
            expiry,
            expiring: Mutex::new(()),
            backing_up: Mutex::new(()),
            restoring: Mutex::new(()),
            closing: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            freed: (Mutex::new(()), Condvar::new()),
            usage: Mutex::default(),
            slowed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            disk_free: AtomicU64::new(u64::MAX),
            disk_looked_at: AtomicU64::new(0),
            seal_time: AtomicU64::new(0),
            merge_time: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            mapped: Mutex::new(MappedMemory::default()),
            mapped_looked_at: AtomicU64::new(0),
        });
        let jobs = open_jobs(&inner)?;
        let database = Self {
            inner,
            jobs,
            workers: Mutex::default(),
        };
        database.start()?;
        Ok(database)
    }

    /// Starts the threads that look after the database, where it has some.
    fn start(&self) -> Result<()> {
        self.restore_switches()?;
        if self.inner.config.upkeep.background {
            *self.workers.lock() = start_workers(&self.inner)?;
            if self.inner.config.scheduler_class == SchedulerClass::InProcess {
                self.jobs.start()?;
            }
        }
        Ok(())
    }

    /// Ends the waits of readers for what is to be indexed, and of writers for room, with the error
    /// that says so; nobody begins to wait from now on. For whoever is about to close: requests
    /// that need not wait are still answered.
    pub fn end_waits(&self) {
        self.inner.stopping.store(true, Ordering::SeqCst);
        for collection in self.inner.all_collections() {
            collection.end_waits(&closing());
        }
        self.inner.freed.1.notify_all();
    }

    /// Refuses new writes, waits for running ones, leaves the log with a clean end. Idempotent.
    pub fn close(&self) -> Result<()> {
        if self.inner.closing.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.end_waits();
        self.inner.handoff.end();
        self.jobs.stop();
        let workers = std::mem::take(&mut *self.workers.lock());
        workers.iter().for_each(Worker::stop);
        let log = self.inner.log.close();
        self.inner.catalog.close()?;
        log
    }

    /// The jobs that run by themselves, and what is known of their runs.
    pub fn jobs(&self) -> &Scheduler {
        &self.jobs
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.inner.config.limits
    }

    /// Nanoseconds since the Unix epoch by the database's clock.
    pub fn now_nanoseconds(&self) -> u64 {
        self.inner.config.clock.wall_nanoseconds()
    }

    /// One round of upkeep (indexing, sealing, merging, log pruning); whether anything was done.
    pub fn upkeep(&self) -> Result<bool> {
        let indexed = self.inner.index_all();
        let sealed = self.inner.seal_round()?;
        Ok(self.inner.merge_round()? || sealed || indexed)
    }

    /// Indexes what is logged and writes everything in memory to segments, however little it is.
    pub fn seal_all(&self) -> Result<()> {
        self.inner.index_all();
        self.inner.seal_everything(&|| true)
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

    /// The collection with this id, where there is one.
    fn live(&self, id: CollectionId) -> Option<Arc<LiveCollection>> {
        self.collections.read().by_id.get(&id).cloned()
    }

    /// The collection of a record request, which must belong to the tenant and database named.
    fn scoped(&self, scope: CollectionScope<'_>) -> Result<Arc<LiveCollection>> {
        self.live(scope.id)
            .filter(|collection| {
                let info = collection.info();
                info.tenant == scope.tenant && info.database == scope.database
            })
            .ok_or_else(|| Error::missing_collection(scope.id))
    }

    /// For whoever writes segments; a thread has one at a time.
    fn publisher<'a>(&'a self, go_on: &'a (dyn Fn() -> bool + Sync)) -> Publisher<'a> {
        Publisher {
            storage: self.config.storage.as_ref(),
            catalog: &self.catalog,
            log: &self.log,
            mapped_max: self.config.upkeep.mapped_bytes,
            go_on,
            _publishing: self.publishing.read(),
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Seals what is due; nothing while indexing is paused.
    fn seal_round(&self) -> Result<bool> {
        let Ok(_inside) = self.controls.enter(Component::Indexing) else {
            return Ok(false);
        };
        let go_on = || !self.is_closing();
        let begun = self.config.clock.monotonic();
        let sealed = seal_round(
            &self.all_collections(),
            &self.publisher(&go_on),
            &self.config.upkeep,
            begun,
        );
        if matches!(sealed, Ok(true)) {
            self.note_time(&self.seal_time, begun);
        }
        self.freed.1.notify_all();
        self.handoff.wake();
        self.controls.note(Component::Indexing, &sealed);
        sealed
    }

    /// Merges what is due; nothing while the index builder is paused.
    fn merge_round(&self) -> Result<bool> {
        let begun = self.config.clock.monotonic();
        let merged = self.merge_while(&|| {
            self.pace(&|| !self.is_closing());
            !self.is_closing()
        });
        if matches!(merged, Ok(true)) {
            self.note_time(&self.merge_time, begun);
        }
        if matches!(&merged, Err(error) if error.kind() == ErrorKind::Busy) {
            return Ok(false);
        }
        self.controls.note(Component::IndexBuilder, &merged);
        merged
    }

    /// A step of maintenance: rests while requests are answered, and as its budget says.
    fn pace(&self, wanted: &dyn Fn() -> bool) {
        let requests = [Component::Query, Component::Producer];
        let is_busy = || requests.iter().any(|one| self.controls.inside(*one) > 0);
        self.budget.step(&is_busy, wanted);
    }

    /// Adds the time since `begun` to `sum`.
    fn note_time(&self, sum: &AtomicU64, begun: Duration) {
        let took = self.config.clock.monotonic().saturating_sub(begun);
        sum.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    fn seal_everything(&self, go_on: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let publisher = self.publisher(go_on);
        let mut setbacks = Setbacks::default();
        for collection in self.all_collections() {
            if !collection.is_deleted() && go_on() {
                let sealed = collection.seal(&publisher, CostlyIndexes::Now);
                setbacks.pass(forgive_deletion(sealed, false), false)?;
            }
        }
        setbacks.end(())
    }

    /// Memory beyond which nothing more is indexed until some is freed.
    fn memory_max(&self) -> u64 {
        self.config.upkeep.memory_bytes as u64 * PRESSURE_FACTOR
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

/// Says of a damaged catalogue what to do next: a start cannot mend it, since nothing else says
/// which records there are.
fn after_damage(error: Error) -> Error {
    if error.kind() != ErrorKind::Corrupted {
        return error;
    }
    let message = format!(
        "{}. Nothing in the folder was changed. Keep it aside, build a new one from a backup \
         (`vermilion restore BACKUPS NEW_FOLDER`), and serve that; without a backup, put the \
         catalogue's files back from a copy of the folder: indexes can be built anew, a catalogue \
         cannot.",
        error.message().trim_end_matches('.')
    );
    Error::new(ErrorKind::Corrupted, message)
}

/// Says of a start that a full disk has stopped how full that is and what to do.
fn after_full_disk(error: Error, storage: &dyn Storage) -> Error {
    if error.kind() != ErrorKind::OutOfSpace {
        return error;
    }
    let free = match storage.free_bytes() {
        Ok(free) => format!("{free} bytes are free on the file system of the data folder"),
        Err(_) => "the file system of the data folder is full".to_owned(),
    };
    let message = format!(
        "{}. {free}: make some room there, but with none of the files of the data folder, and start \
         again.",
        error.message().trim_end_matches('.')
    );
    Error::new(ErrorKind::OutOfSpace, message)
}

/// What is answered once the database closes.
fn closing() -> Error {
    Error::new(ErrorKind::Closed, "The database is closing; retry later.")
}

/// The jobs of the catalogue and those of the program.
fn open_jobs(inner: &Arc<Inner>) -> Result<Scheduler> {
    let paced = inner.clone();
    let pace = move |wanted: &dyn Fn() -> bool| paced.pace(wanted);
    let clock = inner.config.clock.clone();
    let jobs = Scheduler::open(inner.catalog.clone(), clock, Arc::new(pace))?;
    tasks::bring(inner, &jobs)?;
    Ok(jobs)
}

fn start_workers(inner: &Arc<Inner>) -> Result<Vec<Worker>> {
    let (sealing, merging) = (inner.clone(), inner.clone());
    let sealer = Worker::start_patient(
        "vermilion-seal",
        Priority::Behind,
        SEAL_INTERVAL,
        move || sealing.seal_round(),
    )?;
    let merger = Worker::start_patient(
        "vermilion-merge",
        Priority::Last,
        MERGE_INTERVAL,
        move || merging.merge_round(),
    )?;
    let mut workers = vec![sealer, merger];
    if inner.config.upkeep.mapped_bytes > 0 {
        let keeping = inner.clone();
        let keep = move || {
            keeping.keep_memory_budget();
            false
        };
        let interval = MEMORY_INTERVAL;
        let keeper = Worker::start("vermilion-memory", Priority::Behind, interval, keep)?;
        workers.push(keeper);
    }
    workers.extend(ingest::start_indexing(inner)?);
    for collection in inner.all_collections() {
        if collection.has_backlog() {
            inner.handoff.offer(&collection);
        }
    }
    Ok(workers)
}
