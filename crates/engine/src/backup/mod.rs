//! Backups: full ones, and incremental ones made of the log, in a [`Destination`].
//!
//! A backup holds one moment. A full one has the catalogue as data, the files of the segments that
//! it names, and the batches of the log that these segments do not hold. An incremental one has
//! the batches since the backup before, the catalogue, and when the catalogue changed. A restore
//! takes a full backup and the ones that carry it on, and builds a new data folder: segments,
//! catalogue, and a log of the batches up to the SeqId or time that was asked for, which the next
//! opening applies as after any restart.
//!
//! What must stay true:
//!
//! - A backup blocks no write, and no read. The log is cut under its lock, which is not held
//!   across I/O; segments that go meanwhile stay on the disk until the backup has them.
//! - The manifest is written last, after every file was read back and found right: what has no
//!   manifest is no backup.
//! - Batches carry on by SeqId without a gap. Where the log that an incremental backup needs is
//!   gone (it is kept up to a bound), the backup becomes a full one and says so.
//! - A restore reads nothing that it has not checked, and builds under another name until the
//!   new folder passes `verify`.
//!
//! | file | what |
//! |---|---|
//! | `destination` | where backups are put |
//! | `manifest` | what a backup says of itself; its files, written and read with checksums |
//! | `state` | what the data folder remembers of its backups |
//! | `changes` | when the catalogue changed |
//! | `write` | making a backup |
//! | `blobs` | files that are kept with collections, of backups and restored |
//! | `batches` | the log of a backup, written and read |
//! | `plan` | which backups a restore needs |
//! | `restore` | building a data folder |

mod batches;
mod blobs;
mod changes;
mod destination;
mod manifest;
mod plan;
mod restore;
mod state;
mod write;

pub use destination::{Destination, Destinations, Folder, Folders, ObjectWriter, check_name};
pub use manifest::{
    BackupFile, BackupKind, BackupManifest, BackupNumber, ListedBackup, list, lost_link,
};
pub use plan::Target;
pub use restore::{OneCollection, RestoreReport, RestoredCollection, check, restore};

pub(crate) use changes::{Change, Journal};
pub(crate) use restore::restore_one;
pub(crate) use state::BackupState;
pub(crate) use write::{Foreseen, Source, foresee_backup, write_backup};

/// How far a backup or a restore is.
#[derive(Clone, Copy, Debug)]
pub struct BackupProgress<'a> {
    /// What is being worked on.
    pub what: &'a str,
    /// Bytes done so far.
    pub bytes: u64,
    /// Bytes to be done; it can grow until the log is written.
    pub bytes_total: u64,
}
