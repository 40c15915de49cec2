//! Connections of the SQL library: on a file, in memory, and to bytes that nobody may change.
//!
//! What must stay true: a commit returns after an fsync of the write-ahead log; nobody else can
//! open the file meanwhile; a connection that is dropped without [`close`] leaves the file and its
//! log as a crash would. The catalogue is the one exception to the storage door: the SQL library
//! reads and writes its file itself, so this file and `image` look at it by the same way.

use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::fault::{self, Fault, Result};
use super::wal;

/// Bytes of a page of the file.
pub(super) const PAGE_BYTES: usize = 4096;

/// Where the header asks for a write-ahead log (2, 2) or none (1, 1).
pub(super) const MODE: Range<usize> = 18..20;

/// A file made ready for the SQL library.
pub(super) struct OnFile {
    /// The connection.
    pub(super) connection: Connection,
    /// Whether a write-ahead log was there: the last owner did not close.
    pub(super) had_log: bool,
}

/// The name of the file beside the catalogue at `path` that ends in `suffix`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Opens the file at `path`, made if it is not there.
pub(super) fn open_file(path: &Path) -> Result<OnFile> {
    let had_log = prepare(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Another owner keeps the file until it ends: waiting for it would be in vain.
    connection.busy_timeout(Duration::ZERO)?;
    // The lock comes first: a pragma that reads the file before it would share an index of the log with
    // other processes, in a further file for which a full disk has no room.
    connection.execute_batch(&format!(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA page_size = {PAGE_BYTES};
         PRAGMA cell_size_check = ON;
         PRAGMA synchronous = EXTRA;"
    ))?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Damaged(format!(
            "its header does not allow a write-ahead log (journal mode `{mode}`)"
        )));
    }
    connection.execute_batch(
        "PRAGMA wal_autocheckpoint = 1000;
         PRAGMA journal_size_limit = 16777216;
         PRAGMA cache_size = -4096;",
    )?;
    settle(&connection)?;
    Ok(OnFile {
        connection,
        had_log,
    })
}

/// Opens a catalogue in memory, from `image` where there is one.
pub(super) fn open_memory(image: Option<&[u8]>) -> Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    if let Some(bytes) = image.filter(|bytes| !bytes.is_empty()) {
        connection.deserialize_read_exact("main", bytes, bytes.len(), false)?;
    }
    settle(&connection)?;
    Ok(connection)
}

/// Settings that every connection has.
fn settle(connection: &Connection) -> Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;",
    )?;
    Ok(())
}

/// Writes the log into the file, removes the log, and lets go of the file.
pub(super) fn close(connection: Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Makes the file if there is none, and looks over the write-ahead log of one that was not
/// closed; answers whether there was such a log.
fn prepare(path: &Path) -> Result<bool> {
    let log_path = beside(path, "-wal");
    let length = |path: &Path| match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(fault::io(path, "look for", &error)),
    };
    let (file_bytes, log_bytes) = (length(path)?, length(&log_path)?);
    if file_bytes == 0 {
        if log_bytes > 0 {
            return Err(fault::damaged(
                &path.display().to_string(),
                "the file is missing or empty, yet its write-ahead log is there",
            )
            .into());
        }
        create(path)?;
        return Ok(false);
    }
    let mut header = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MODE.end as u64).read_to_end(&mut header))
        .map_err(|error| fault::io(path, "read", &error))?;
    check_mode(&header)?;
    let undo_bytes = length(&beside(path, "-journal"))?;
    if log_bytes == 0 && undo_bytes == 0 {
        check_whole(file_bytes)?;
    }
    if log_bytes > 0 {
        let bytes = std::fs::read(&log_path)
            .map_err(|error| fault::io(&log_path, "read the log of", &error))?;
        wal::scan(&log_path.display().to_string(), &bytes)?;
    }
    Ok(log_bytes >= wal::HEADER_BYTES as u64)
}

/// Fails where the header asks for anything but a write-ahead log or none, for which the SQL
/// library would have other words than "damaged".
pub(super) fn check_mode(header: &[u8]) -> Result<()> {
    match header.get(MODE) {
        None | Some([1, 1] | [2, 2]) => Ok(()),
        Some(mode) => Err(Fault::Damaged(format!(
            "bytes 18 and 19 of its header are {} and {}, where both are 1 or both are 2",
            mode[0], mode[1]
        ))),
    }
}

/// Fails where a file that has no log beside it ends inside a page: the SQL library takes what is
/// shorter than one page for a new file.
pub(super) fn check_whole(file_bytes: u64) -> Result<()> {
    if file_bytes.is_multiple_of(PAGE_BYTES as u64) {
        return Ok(());
    }
    Err(Fault::Damaged(format!(
        "it ends at byte {file_bytes}, inside a page of {PAGE_BYTES} bytes"
    )))
}

/// Makes an empty file whose name is durable, so that no log can outlive it.
fn create(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| fault::io(path, "make", &error);
    let options = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    options.and_then(|file| file.sync_all()).map_err(failed)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(())
}
