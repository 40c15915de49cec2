//! The file that says which log file was begun last, so that its loss is noticed after a crash too.
//!
//! What must stay true: it names a file that was durable before; it is behind at most, never ahead.
//! It guards nothing but the name of a file, so one that cannot be written or read is passed over.

use super::FOLDER;
use crate::Result;
use crate::storage::{Kept, Storage, read_checked, write_checked};

fn path() -> String {
    format!("{FOLDER}/newest")
}

/// Notes that file `number` is there, durably.
pub(super) fn note(storage: &dyn Storage, number: u64) {
    if let Err(error) = write_checked(storage, &path(), &number) {
        tracing::warn!(%error, "which log file is the newest is not noted");
    }
}

/// The number of the file that was noted; 0 where none was.
pub(super) fn noted(storage: &dyn Storage) -> Result<u64> {
    let path = path();
    let kept: Kept<u64> = read_checked(storage, &path)?;
    Ok(kept.or_default(&path, "a lost last log file would not be noticed"))
}
