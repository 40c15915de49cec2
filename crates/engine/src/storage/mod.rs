//! The only door to the disk.
//!
//! What must stay true: no other module of the engine touches the file system (the embedded SQL
//! library of the catalogue is the one exception, and keeps its own promises). Paths are relative
//! to the data folder, with `/` between parts. A name exists for sure only after
//! [`Storage::sync_dir`] of its folder; bytes exist for sure only after [`StorageFile::sync`].

use bytes::Bytes;

use crate::{Error, Result};

mod deferring;
mod disk;
mod mapped;
mod memory;
mod replace;
mod resident;
pub mod sim;
#[cfg(test)]
mod tests;
pub(crate) mod traffic;

pub(crate) use deferring::DeferringStorage;
pub use disk::DiskStorage;
pub use memory::MemoryStorage;
pub(crate) use replace::{Kept, new_path, read_checked, replace_file, write_checked};
pub(crate) use resident::{Resident, give_back, let_go};

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the folder.
    pub name: String,
    /// Its length in bytes; 0 for a folder.
    pub bytes: u64,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// A data folder.
pub trait Storage: Send + Sync + 'static {
    /// Makes the folder `path` and those above it; one that exists is fine.
    /// Durable after `sync_dir` of the folder above.
    fn create_dir(&self, path: &str) -> Result<()>;
    /// Makes the file `path`, which must not exist, for appending.
    fn create(&self, path: &str) -> Result<Box<dyn StorageFile>>;
    /// Opens the file `path` for appending at its end.
    fn append(&self, path: &str) -> Result<Box<dyn StorageFile>>;
    /// Opens the file `path` to be written over from its beginning; what is not written over stays. The caller has made
    /// sure that nobody looks at it.
    fn reuse(&self, path: &str) -> Result<Box<dyn StorageFile>>;
    /// Whether writing over a file is worth more than beginning a new one.
    fn gains_by_reuse(&self) -> bool {
        false
    }
    /// The whole file `path`, mapped or shared; cheap to clone and slice. The caller has made
    /// sure that nobody changes the file while the bytes live (sealed files never change).
    fn map(&self, path: &str) -> Result<Bytes>;
    /// `length` bytes of the file `path` from `offset`, mapped; `None` where that cannot be had: the storage has no files,
    /// or enough is mapped. The caller has made sure that nobody changes these bytes while they live; more may be
    /// appended behind them.
    fn map_part(&self, _path: &str, _offset: u64, _length: usize) -> Result<Option<Bytes>> {
        Ok(None)
    }
    /// The whole file `path`, copied.
    fn read(&self, path: &str) -> Result<Vec<u8>>;
    /// `length` bytes of the file `path` from `offset`; fewer where the file ends before.
    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>>;
    /// The file `path`, open for reading places of it past its mapping; it stays readable when it is
    /// removed. The caller has made sure of what [`Storage::map`] asks for.
    fn open(&self, path: &str) -> Result<Box<dyn StorageReader>> {
        Ok(Box::new(self.map(path)?))
    }
    /// What is in the folder `path`, by name; `NotFound` where there is none.
    fn list(&self, path: &str) -> Result<Vec<Entry>>;
    /// Whether `path` is there.
    fn exists(&self, path: &str) -> Result<bool>;
    /// Gives the file `from` the name `to`, replacing what was there, in one step.
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Removes the file `path`; one that is not there is fine.
    fn remove_file(&self, path: &str) -> Result<()>;
    /// Removes the folder `path` and all in it; one that is not there is fine.
    fn remove_dir(&self, path: &str) -> Result<()>;
    /// Makes the names in the folder `path` durable ("" is the data folder itself).
    fn sync_dir(&self, path: &str) -> Result<()>;
    /// Bytes that can still be written; `u64::MAX` where nobody knows.
    fn free_bytes(&self) -> Result<u64>;
}

/// A file open for reading.
pub trait StorageReader: std::fmt::Debug + Send + Sync {
    /// Fills `to` with the bytes from `offset` on; an error where the file ends before.
    fn fill(&self, offset: u64, to: &mut [u8]) -> Result<()>;
}

impl StorageReader for Bytes {
    fn fill(&self, offset: u64, to: &mut [u8]) -> Result<()> {
        let from = usize::try_from(offset).ok();
        let part = from.and_then(|from| self.get(from..from.checked_add(to.len())?));
        let part = part.ok_or_else(|| {
            let (length, end) = (to.len(), self.len());
            Error::internal(format!(
                "{length} bytes from {offset} on were asked for where {end} are"
            ))
        })?;
        to.copy_from_slice(part);
        Ok(())
    }
}

/// A file open for writing, one write behind the other.
pub trait StorageFile: Send {
    /// Writes all of `parts` behind what was written. After an error some of them may be there.
    fn write(&mut self, parts: &[&[u8]]) -> Result<()>;
    /// Makes everything written so far durable. After an error nothing is known of it, and
    /// calling again proves nothing.
    fn sync(&mut self) -> Result<()>;
    /// Where the next write goes: the end of the file, but for one that is written over.
    fn bytes(&self) -> u64;
    /// Cuts the file to `bytes`, where the next write goes.
    fn truncate(&mut self, bytes: u64) -> Result<()>;
}

/// Checks that `path` is relative to the data folder and stays in it.
fn check_path(path: &str) -> Result<()> {
    let sound = path.is_empty()
        || path
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']));
    if sound {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{path:?} is no path in a data folder: parts stand between single slashes and are not \
         empty, \".\" or \"..\"."
    )))
}
