//! Backups of the open database.
//!
//! What must stay true: one backup runs at a time, beside writes and reads; it ends with an error
//! once the database closes, or whoever asked for it takes that back.

use parking_lot::MutexGuard;

use super::{Database, Inner};
use crate::backup::{
    BackupKind, BackupManifest, BackupProgress, Destination, Destinations, Foreseen, Source,
    check_name, foresee_backup, write_backup,
};
use crate::threads::{Priority, apart};
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
        let _running = self.inner.begin_backup()?;
        self.inner.back_up(destination, kind, progress, &|| true)
    }

    /// The same to the destination called `name`, of those that [`crate::Config::backups`] has, as
    /// maintenance: behind requests, and within its budget.
    pub fn backup_to(&self, name: &str, kind: BackupKind) -> Result<BackupManifest> {
        let inner = &self.inner;
        apart("vermilion-backup", Priority::Last, || {
            inner.backup_to(name, kind, &|| inner.go_on())
        })
    }

    /// Tells of destinations that take nothing before the first backup is due, in the log: what can be
    /// mended meanwhile, such as a disk that is not mounted, keeps nobody from using the database.
    /// `InvalidArgument` where they are in a data folder.
    pub fn check_destinations(&self) -> Result<()> {
        let destinations = self.inner.config.backups.as_deref();
        match destinations.map_or(Ok(()), Destinations::check) {
            Err(error) if error.kind() != ErrorKind::InvalidArgument => {
                tracing::warn!(%error, "backups will fail");
                Ok(())
            }
            checked => checked,
        }
    }

    /// Whether there are destinations that backups may be made to by name.
    pub fn has_destinations(&self) -> bool {
        self.inner.config.backups.is_some()
    }
}

impl Inner {
    pub(super) fn backup_to(
        &self,
        name: &str,
        kind: BackupKind,
        go_on: &dyn Fn() -> bool,
    ) -> Result<BackupManifest> {
        let destinations = self.destinations(name)?;
        // Before the destination is opened: one that a running backup has is locked.
        let _running = self.begin_backup()?;
        let destination = destinations.open(name)?;
        self.back_up(destination.as_ref(), kind, &mut |_| {}, go_on)
    }

    /// Which backup [`Self::backup_to`] would make now; changes nothing, there or here.
    pub(super) fn foresee_backup(&self, name: &str, kind: BackupKind) -> Result<Foreseen> {
        let destination = self.destinations(name)?.look(name)?;
        let source = self.source(&|| true);
        foresee_backup(&source, destination.as_deref(), kind)
    }

    pub(super) fn destinations(&self, name: &str) -> Result<&dyn Destinations> {
        check_name(name)?;
        self.config.backups.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "Backups are disabled: the setting backup_folder names no folder.",
            )
        })
    }

    /// Makes sure that no other backup runs, for as long as the answer lives.
    fn begin_backup(&self) -> Result<MutexGuard<'_, ()>> {
        self.backing_up.try_lock().ok_or_else(|| {
            let message = "A backup is running; begin the next one when it has ended.";
            Error::new(ErrorKind::Busy, message)
        })
    }

    fn back_up(
        &self,
        destination: &dyn Destination,
        kind: BackupKind,
        progress: &mut dyn FnMut(BackupProgress<'_>),
        go_on: &dyn Fn() -> bool,
    ) -> Result<BackupManifest> {
        if self.is_closing() {
            let message = "The database is closing; no backup is begun.";
            return Err(Error::new(ErrorKind::Closed, message));
        }
        let go_on = || !self.is_closing() && go_on();
        write_backup(&self.source(&go_on), destination, kind, progress)
    }

    fn source<'a>(&'a self, go_on: &'a dyn Fn() -> bool) -> Source<'a> {
        Source {
            storage: &self.folders,
            catalog: &self.catalog,
            log: &self.log,
            journal: &self.journal,
            changes: &self.changes,
            clock: self.config.clock.as_ref(),
            keep_bytes_max: self.config.limits.backup_log_bytes_max,
            go_on,
        }
    }
}
