//! Log files that nobody needs any more, kept to be written over instead of a new file being made.
//!
//! Their blocks are on the disk and their pages in memory: nothing has to be found, cleared and noted for what is written,
//! and a sync has bytes to bring to the disk, but no new length (decision 0019).
//!
//! What must stay true: a file is written over only once its old name is durably gone and nobody looks at it any more; it
//! gets its new name only once its new header is durable, since a start takes another header there for damage; the bytes of
//! its former life are never believed, because frames carry the salt of their file.

use std::sync::Arc;

use super::FOLDER;
use super::format::file_path;
use super::state::LiveFile;
use crate::Result;
use crate::model::FileHold;
use crate::storage::{Storage, StorageFile};

/// Spare files at most, and their bytes.
const FILES_MAX: usize = 8;
const BYTES_MAX: u64 = 256 << 20;
/// Bytes that are free on the disk, beyond those that must be, while spare files are kept.
const FREE_BYTES_MIN: u64 = 16 * BYTES_MAX;
/// How their names end.
const SUFFIX: &str = ".spare";

/// A file that may be written over once nobody looks at it.
pub(super) struct Spare {
    path: String,
    bytes: u64,
    hold: FileHold,
}

/// The spare files of a log.
pub(super) struct Spares {
    storage: Arc<dyn Storage>,
    /// Bytes that must stay free on the disk.
    free_bytes_min: u64,
    files: Vec<Spare>,
}

impl Spares {
    /// None yet.
    pub(super) fn new(storage: Arc<dyn Storage>, free_bytes_min: u64) -> Self {
        Self {
            storage,
            free_bytes_min,
            files: Vec::new(),
        }
    }

    /// Takes its name from a file that nobody needs: it is a spare from now on where it may be one and there is room, and
    /// removed otherwise. Durable once the folder is synced; only then the answer may be [kept](Self::keep).
    pub(super) fn set_aside(&self, file: &LiveFile, may_keep: bool) -> Result<Option<Spare>> {
        let path = file_path(file.header.number);
        let spare = Spare {
            path: format!("{FOLDER}/{:020}{SUFFIX}", file.header.number),
            bytes: file.end,
            hold: file.hold.clone(),
        };
        let keeps = may_keep && self.has_room_for(file.end);
        if keeps && self.storage.rename(&path, &spare.path).is_ok() {
            return Ok(Some(spare));
        }
        self.storage.remove_file(&path)?;
        Ok(None)
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        let held: u64 = self.files.iter().map(|spare| spare.bytes).sum();
        let free_min = self.free_bytes_min.saturating_add(FREE_BYTES_MIN);
        self.storage.gains_by_reuse()
            && self.files.len() < FILES_MAX
            && held + bytes <= BYTES_MAX
            && self.storage.free_bytes().is_ok_and(|free| free >= free_min)
    }

    /// Keeps a file whose old name is durably gone.
    pub(super) fn keep(&mut self, spare: Spare) {
        self.files.push(spare);
    }

    /// A spare file that nobody looks at, if there is one: the last, of which most is still in memory. `header` is written
    /// over its beginning, but not synced.
    pub(super) fn take(&mut self, header: &[u8]) -> Option<(Spare, Box<dyn StorageFile>)> {
        let at = self
            .files
            .iter_mut()
            .rposition(|spare| spare.hold.is_alone())?;
        let spare = self.files.remove(at);
        let opened = self.storage.reuse(&spare.path);
        match opened.and_then(|mut file| file.write(&[header]).map(|()| file)) {
            Ok(file) => Some((spare, file)),
            Err(error) => {
                tracing::warn!(%error, "a spare log file cannot be written over; a new one is made");
                self.remove(&spare);
                None
            }
        }
    }

    /// Gives the file, whose header is durable by now, the name `path`.
    pub(super) fn rename(&self, spare: &Spare, path: &str) -> Result<()> {
        let renamed = self.storage.rename(&spare.path, path);
        if renamed.is_err() {
            self.remove(spare);
        }
        renamed
    }

    /// Gives the space of all of them back; whether there was any.
    pub(super) fn release(&mut self) -> bool {
        let files = std::mem::take(&mut self.files);
        files.iter().for_each(|spare| self.remove(spare));
        !files.is_empty()
    }

    fn remove(&self, spare: &Spare) {
        if let Err(error) = self.storage.remove_file(&spare.path) {
            tracing::warn!(%error, "a spare log file stays until the next start");
        }
    }
}

/// Removes what an earlier run has left.
pub(super) fn remove_left(storage: &dyn Storage) -> Result<()> {
    let entries = storage.list(FOLDER)?.into_iter();
    let left = entries.filter(|entry| !entry.is_dir && entry.name.ends_with(SUFFIX));
    left.map(|entry| format!("{FOLDER}/{}", entry.name))
        .try_for_each(|path| storage.remove_file(&path))
}
