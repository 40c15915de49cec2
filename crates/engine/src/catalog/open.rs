//! Opening, verifying and closing a catalogue, and the one way of every change.
//!
//! What must stay true: digests in memory are those of the last committed transaction, and so is the
//! generation, which counts transactions; once a sync has failed, nothing is written any more. A
//! catalogue in a file says in itself whether it is open: one that was not closed and has lost its
//! write-ahead log is damaged.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::fault::{Fault, Result};
use super::tables::{self, Changes, Digests, Table};
use super::{CatalogLocation, CatalogSize, connection, image, markers};
use crate::model::{DEFAULT_DATABASE, DEFAULT_TENANT};
use crate::{Error, ErrorKind};

/// Free pages beyond which closing makes the file smaller.
const FREE_PAGES_MAX: i64 = 256;

type OnCommit = Arc<dyn Fn(Vec<u8>) + Send + Sync>;

/// The catalogue. All methods can be called from any thread.
///
/// ```
/// use vermilion_engine::catalog::{Catalog, CatalogLocation};
///
/// let catalog = Catalog::open(&CatalogLocation::memory())?;
/// catalog.create_tenant("acme")?;
/// assert_eq!(catalog.tenant("acme")?.name, "acme");
/// assert!(catalog.load()?.is_empty());
/// # Ok::<(), vermilion_engine::Error>(())
/// ```
pub struct Catalog {
    name: String,
    mode: Mode,
    on_commit: Option<OnCommit>,
    state: Mutex<State>,
    /// See [`Catalog::generation`].
    generation: Arc<AtomicU64>,
    /// Why nothing is written any more. Apart from the state, so that nobody who asks waits for a
    /// transaction.
    refusal: OnceLock<Error>,
    /// Whether the last owner closed it.
    was_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    File,
    Memory,
    ReadOnly,
}

struct State {
    /// `None` once closed.
    connection: Option<Connection>,
    digests: Digests,
    /// Whether the write-ahead log must start a new round before the next change.
    round_due: bool,
    /// Whether the file must say that it is open before the next change.
    mark_due: bool,
}

impl Catalog {
    /// Opens the catalogue, made (with the default tenant and database) if it is not there,
    /// brought to today's schema, and verified.
    pub fn open(location: &CatalogLocation) -> crate::Result<Self> {
        match location {
            CatalogLocation::File(path) => {
                let name = path.display().to_string();
                Self::open_file(path).map_err(|fault| fault.told(&name))
            }
            CatalogLocation::Memory { image, on_commit } => {
                let image = image.as_ref().map(|image| image.as_slice());
                Self::open_memory(image, on_commit.clone()).map_err(|fault| fault.told("in memory"))
            }
        }
    }

    /// Opens the catalogue in the file `path` to look at it: no byte of its folder changes, and a
    /// process that has it open is not disturbed. Changes fail with `Unsupported`.
    pub fn open_read_only(path: &Path) -> crate::Result<Self> {
        let name = path.display().to_string();
        let open = || {
            let image = image::read(path)?;
            let connection = connection::open_memory(Some(&image.bytes))?;
            let version = tables::version(&connection)?;
            let mut catalog = Self::with(name.clone(), Mode::ReadOnly, connection, None);
            catalog.prepare(version)?;
            if !image.had_log {
                catalog.expect_closed()?;
            }
            Ok(catalog)
        };
        open().map_err(|fault: Fault| fault.told(&name))
    }

    fn open_file(path: &Path) -> Result<Self> {
        let file = connection::open_file(path)?;
        let version = tables::version(&file.connection)?;
        let name = path.display().to_string();
        let mut catalog = Self::with(name, Mode::File, file.connection, None);
        catalog.prepare(version)?;
        if !file.had_log && version > 0 {
            catalog.expect_closed()?;
        }
        catalog.was_closed = !file.had_log;
        // The file itself, not only its log, says that it is open; and the log starts a new round,
        // so that no frame of an earlier owner passes for one of this one.
        let marked = catalog.mark(true);
        let mark_due = matches!(&marked, Err(fault) if fault.is_full());
        match marked.and_then(|()| catalog.look(begin_round)) {
            // What is there can be read: both are made up for before the first change, once that fits.
            Err(fault) if fault.is_full() => {
                tracing::warn!(
                    path = catalog.name,
                    "the disk is full: nothing can be changed"
                );
                let state = catalog.state.get_mut();
                (state.mark_due, state.round_due) = (mark_due, true);
            }
            begun => begun?,
        }
        Ok(catalog)
    }

    fn open_memory(image: Option<&[u8]>, on_commit: Option<OnCommit>) -> Result<Self> {
        let connection = connection::open_memory(image)?;
        let version = tables::version(&connection)?;
        let mut catalog = Self::with("in memory".into(), Mode::Memory, connection, on_commit);
        catalog.prepare(version)?;
        Ok(catalog)
    }

    fn with(name: String, mode: Mode, connection: Connection, on_commit: Option<OnCommit>) -> Self {
        let state = State {
            connection: Some(connection),
            digests: Digests::default(),
            round_due: false,
            mark_due: false,
        };
        Self {
            name,
            mode,
            on_commit,
            state: Mutex::new(state),
            generation: Arc::default(),
            refusal: OnceLock::new(),
            was_closed: true,
        }
    }

    /// Verifies what is there, and brings it to today's version.
    fn prepare(&mut self, version: i64) -> Result<()> {
        let state = self.state.get_mut();
        tables::check_pages(state.connection()?)?;
        if version > 0 {
            state.digests = tables::check_rows(state.connection()?, version)?;
            let generation = markers::value(state.connection()?, markers::GENERATION)?;
            let generation = generation.unwrap_or_default() as u64;
            self.generation.store(generation, Ordering::SeqCst);
        }
        if version == tables::VERSION {
            return Ok(());
        }
        self.change(|changes| {
            tables::migrate(changes.connection, version)?;
            if version == 0 {
                insert_defaults(changes)
            } else {
                changes.renew_digests()
            }
        })
    }

    /// Fails where the file says that it is open, which it cannot be without a log.
    fn expect_closed(&self) -> Result<()> {
        let open = self.look(|connection| markers::value(connection, markers::OPEN))?;
        if open.is_some_and(|value| value != 0) {
            return Err(Fault::Damaged(
                "it was not closed, yet its write-ahead log (the file with `-wal` at the end of \
                 its name) is missing or empty: put that file back"
                    .into(),
            ));
        }
        Ok(())
    }

    /// Notes whether the catalogue is open.
    fn mark(&self, open: bool) -> Result<()> {
        self.put_marker(markers::OPEN, i64::from(open))
    }

    fn put_marker(&self, name: &str, value: i64) -> Result<()> {
        if self.look(|connection| markers::value(connection, name))? == Some(value) {
            return Ok(());
        }
        self.change(|changes| markers::put(changes, name, value))
    }

    /// Looks something up.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Connection) -> Result<T>) -> crate::Result<T> {
        self.look(look).map_err(|fault| fault.told(&self.name))
    }

    /// Makes one transaction of `make`: all of it is durable when this returns, or none of it is
    /// there.
    pub(super) fn write<T>(
        &self,
        make: impl FnOnce(&mut Changes<'_>) -> Result<T>,
    ) -> crate::Result<T> {
        if self.mode == Mode::ReadOnly {
            return Err(self.read_only());
        }
        self.change(make).map_err(|fault| fault.told(&self.name))
    }

    fn look<T>(&self, look: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        look(self.state.lock().connection()?)
    }

    fn change<T>(&self, make: impl FnOnce(&mut Changes<'_>) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if let Some(refusal) = self.refusal() {
            return Err(refusal.into());
        }
        match state.transact(&self.generation, make) {
            Ok(made) => {
                // The lock is kept, so that images are handed out in the order of commits.
                if let Some(on_commit) = &self.on_commit {
                    let connection = state.connection.as_mut().expect("it was just used");
                    on_commit(connection.serialize("main")?.to_vec());
                }
                Ok(made)
            }
            Err(fault) => {
                self.refuse_after(&fault);
                Err(fault)
            }
        }
    }

    /// Ends all writing where the fault says that nobody knows what the disk holds.
    fn refuse_after(&self, fault: &Fault) {
        if fault.ends_writing() {
            let message = format!(
                "the catalogue {} refuses changes since a sync of its file failed ({fault}); \
                 restart to find out what the disk holds",
                self.name
            );
            tracing::error!(error = message, "the catalogue refuses changes");
            // The first failure is the cause.
            let _ = self.refusal.set(Error::new(ErrorKind::Closed, message));
        }
    }

    /// Deletes everything, then makes the default tenant and database again.
    pub fn reset(&self) -> crate::Result<()> {
        self.write(|changes| {
            delete_all(changes)?;
            insert_defaults(changes)
        })
    }

    /// Makes the file as small as its rows allow. Other calls wait meanwhile.
    pub fn vacuum(&self) -> crate::Result<()> {
        if self.mode == Mode::ReadOnly {
            return Err(self.read_only());
        }
        let state = self.state.lock();
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let vacuum = |connection: &Connection| -> Result<()> {
            begin_round(connection)?;
            connection.execute_batch("VACUUM")?;
            // The log stays, as the mark of an open catalogue asks for.
            begin_round(connection)
        };
        let result = state.connection().and_then(vacuum);
        result.map_err(|fault| {
            self.refuse_after(&fault);
            fault.told(&self.name)
        })
    }

    /// Whether a sync of its file has failed: what the last transaction was to change may be there at the
    /// next start, though the transaction failed.
    pub fn is_uncertain(&self) -> bool {
        self.refusal().is_some()
    }

    /// Why nothing can be changed until the next start, where that is so.
    pub fn refusal(&self) -> Option<Error> {
        self.refusal.get().cloned()
    }

    /// How many transactions have ever changed it, as it goes on. The log notes it beside what it
    /// makes durable, so that a catalogue that lost its latest transactions is noticed.
    pub fn generation(&self) -> Arc<AtomicU64> {
        self.generation.clone()
    }

    /// Whether its last owner closed it: if not, its last transactions may have been cut off.
    pub fn was_closed(&self) -> bool {
        self.was_closed
    }

    /// The number of the newest log file that it was told of; 0 where there was none.
    pub fn newest_log_file(&self) -> crate::Result<u64> {
        let noted = self.read(|connection| markers::value(connection, markers::LOG_FILE))?;
        Ok(noted.unwrap_or_default() as u64)
    }

    /// Notes that log file `number` is there, so that the loss of all log files is noticed.
    pub fn note_log_file(&self, number: u64) -> crate::Result<()> {
        if self.mode == Mode::ReadOnly {
            return Err(self.read_only());
        }
        self.put_marker(markers::LOG_FILE, number as i64)
            .map_err(|fault| fault.told(&self.name))
    }

    /// Bytes of the catalogue, and how many of them hold nothing.
    pub fn size(&self) -> crate::Result<CatalogSize> {
        self.read(|connection| {
            let count = |name| {
                let pages = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
                pages.map(|pages| pages as u64 * connection::PAGE_BYTES as u64)
            };
            Ok(CatalogSize {
                bytes: count("page_count")?,
                free_bytes: count("freelist_count")?,
            })
        })
    }

    /// Lets no transaction change anything, as a full disk does, or any again.
    #[cfg(test)]
    pub(crate) fn refuse_changes(&self, refuse: bool) {
        let set =
            |connection: &Connection| Ok(connection.pragma_update(None, "query_only", refuse)?);
        self.look(set).expect("a pragma needs no disk");
    }

    /// Behaves as after a sync of its file that failed.
    #[cfg(test)]
    pub(crate) fn lose_sync(&self) {
        let cause = Error::new(ErrorKind::Closed, "a sync failed");
        let _ = self.refusal.set(cause);
    }

    fn read_only(&self) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!("the catalogue {} is open for reading only", self.name),
        )
    }

    /// Full verification: every row and table checksum, and SQLite's own integrity check. Pages
    /// held in memory are read again.
    pub fn verify(&self) -> crate::Result<()> {
        let state = self.state.lock();
        let verify = || {
            let connection = state.connection()?;
            connection.release_memory()?;
            tables::version(connection)?;
            tables::check_pages(connection)?;
            if tables::check_rows(connection, tables::VERSION)? != state.digests {
                return Err(Fault::Damaged(
                    "its digests are not those of the last transaction".into(),
                ));
            }
            Ok(())
        };
        verify().map_err(|fault: Fault| fault.told(&self.name))
    }

    /// Writes everything into the main file and closes. Idempotent; any other call fails with
    /// `Closed` from then on. After a failed sync it only lets go of the file.
    pub fn close(&self) -> crate::Result<()> {
        let open = self.state.lock().connection.is_some();
        if !open {
            return Ok(());
        }
        let close = || -> Result<()> {
            let refused = self.is_uncertain();
            if self.mode == Mode::File && !refused {
                self.look(shrink)?;
                self.mark(false)?;
            }
            let Some(connection) = self.state.lock().connection.take() else {
                return Ok(());
            };
            if self.mode == Mode::File && !refused {
                connection::close(connection)?;
            }
            Ok(())
        };
        match close() {
            // The next start takes the end for that of a crash, which loses nothing.
            Err(fault) if fault.is_full() => {
                tracing::warn!(
                    path = self.name,
                    "the disk is full: the catalogue is not closed"
                );
                self.state.lock().connection = None;
                Ok(())
            }
            closed => closed.map_err(|fault| fault.told(&self.name)),
        }
    }
}

impl State {
    fn connection(&self) -> Result<&Connection> {
        let closed = || Error::new(ErrorKind::Closed, "the catalogue is closed");
        Ok(self.connection.as_ref().ok_or_else(closed)?)
    }

    fn transact<T>(
        &mut self,
        generation: &AtomicU64,
        make: impl FnOnce(&mut Changes<'_>) -> Result<T>,
    ) -> Result<T> {
        if self.mark_due {
            self.commit(generation, |changes| {
                markers::put(changes, markers::OPEN, 1)
            })?;
            self.mark_due = false;
        }
        if self.round_due {
            begin_round(self.connection()?)?;
            self.round_due = false;
        }
        self.commit(generation, make)
    }

    fn commit<T>(
        &mut self,
        generation: &AtomicU64,
        make: impl FnOnce(&mut Changes<'_>) -> Result<T>,
    ) -> Result<T> {
        let closed = || Error::new(ErrorKind::Closed, "the catalogue is closed");
        let connection = self.connection.as_mut().ok_or_else(closed)?;
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut changes = Changes::new(&transaction, self.digests);
        let made = make(&mut changes)?;
        let changed = changes.has_changed(&self.digests);
        let next = generation.load(Ordering::SeqCst) + u64::from(changed);
        if changed {
            markers::put(&mut changes, markers::GENERATION, next as i64)?;
        }
        let digests = changes.finish(&self.digests)?;
        transaction.commit()?;
        self.digests = digests;
        generation.store(next, Ordering::SeqCst);
        Ok(made)
    }
}

/// Writes the log into the file, and has the log start again.
fn begin_round(connection: &Connection) -> Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
    Ok(())
}

/// Deletes every tenant, database, collection and segment.
pub(super) fn delete_all(changes: &mut Changes<'_>) -> Result<()> {
    // What refers to others goes before them.
    for table in [
        Table::Segment,
        Table::BorrowedSegment,
        Table::Origin,
        Table::Collection,
        Table::Database,
        Table::Tenant,
        Table::Document,
    ] {
        for (place, ()) in table.rows(changes.connection, "", [], |_| Ok(()))? {
            changes.delete(place)?;
        }
    }
    Ok(())
}

/// The tenant and the database that exist from the start.
fn insert_defaults(changes: &mut Changes<'_>) -> Result<()> {
    let tenant = ValueRef::Text(DEFAULT_TENANT.as_bytes());
    let database = ValueRef::Text(DEFAULT_DATABASE.as_bytes());
    let id = uuid::Uuid::nil();
    changes.insert(Table::Tenant, &[tenant, ValueRef::Null])?;
    changes.insert(
        Table::Database,
        &[ValueRef::Blob(id.as_bytes()), tenant, database],
    )
}

/// Gives space back to the disk where much of the file is free.
fn shrink(connection: &Connection) -> Result<()> {
    let count = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (free, all) = (count("freelist_count")?, count("page_count")?);
    if free > FREE_PAGES_MAX && free * 4 > all {
        connection.execute_batch("VACUUM")?;
    }
    Ok(())
}
