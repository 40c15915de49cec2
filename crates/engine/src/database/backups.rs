//! Backups of the open database.
//!
//! What must stay true: one backup runs at a time, beside writes and reads; it ends with an error
//! once the database closes.

use super::Database;
use crate::backup::{
    BackupKind, BackupManifest, BackupProgress, Destination, Source, write_backup,
};
use crate::{Error, ErrorKind, Result};

impl Database {
    /// Writes a backup to `destination` while the database goes on; answers what it says of itself.
    /// An incremental one becomes a full one where it cannot carry on the one before, and its
    /// `reason` says why.
    pub fn backup(
        &self,
        destination: &dyn Destination,
        kind: BackupKind,
        progress: &mut dyn FnMut(BackupProgress<'_>),
    ) -> Result<BackupManifest> {
        let inner = &self.inner;
        let Some(_running) = inner.backing_up.try_lock() else {
            let message = "A backup is running; begin the next one when it has ended.";
            return Err(Error::new(ErrorKind::Busy, message));
        };
        if inner.is_closing() {
            let message = "The database is closing; no backup is begun.";
            return Err(Error::new(ErrorKind::Closed, message));
        }
        let source = Source {
            storage: &inner.folders,
            catalog: &inner.catalog,
            log: &inner.log,
            journal: &inner.journal,
            changes: &inner.changes,
            clock: inner.config.clock.as_ref(),
            keep_bytes_max: inner.config.limits.backup_log_bytes_max,
            go_on: &|| !inner.is_closing(),
        };
        write_backup(&source, destination, kind, progress)
    }
}
