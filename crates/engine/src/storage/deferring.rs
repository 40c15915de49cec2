//! A storage that can put off the removal of folders of segments and of blobs, so that a backup copies
//! those that were merged away or deleted meanwhile. Everything else goes at once.
//!
//! What must stay true: while nobody holds, every call does what the storage below does; a removal
//! that was put off is made up for by the last holder, or by the sweep of the next start.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Entry, Storage, StorageFile, StorageReader};
use crate::{Result, blobs};

/// A storage around another, whose segments and blobs stay while somebody holds them.
pub(crate) struct DeferringStorage {
    inner: Arc<dyn Storage>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    holders: usize,
    folders: Vec<String>,
    blobs: Vec<String>,
}

/// Segments and blobs stay while this lives.
pub(crate) struct FolderHold {
    storage: Arc<DeferringStorage>,
}

impl DeferringStorage {
    /// Around `inner`; nothing is held yet.
    pub(crate) fn new(inner: Arc<dyn Storage>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            state: Mutex::default(),
        })
    }

    /// Lets every segment and blob that is there now stay while the hold lives.
    pub(crate) fn hold(self: &Arc<Self>) -> FolderHold {
        self.state.lock().holders += 1;
        FolderHold {
            storage: self.clone(),
        }
    }
}

impl Drop for FolderHold {
    fn drop(&mut self) {
        let (folders, blobs) = {
            let mut state = self.storage.state.lock();
            state.holders -= 1;
            if state.holders > 0 {
                return;
            }
            let State { folders, blobs, .. } = &mut *state;
            (std::mem::take(folders), std::mem::take(blobs))
        };
        let inner = &self.storage.inner;
        let folders = folders.iter().map(|path| (path, inner.remove_dir(path)));
        let blobs = blobs.iter().map(|path| (path, inner.remove_file(path)));
        for (path, removed) in folders.chain(blobs) {
            if let Err(error) = removed {
                tracing::warn!(path, %error, "what nobody needs stays until the next start");
            }
        }
    }
}

impl Storage for DeferringStorage {
    fn create_dir(&self, path: &str) -> Result<()> {
        self.inner.create_dir(path)
    }

    fn create(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        self.inner.create(path)
    }

    fn append(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        self.inner.append(path)
    }

    fn reuse(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        self.inner.reuse(path)
    }

    fn gains_by_reuse(&self) -> bool {
        self.inner.gains_by_reuse()
    }

    fn map(&self, path: &str) -> Result<Bytes> {
        self.inner.map(path)
    }

    fn map_part(&self, path: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        self.inner.map_part(path, offset, length)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.inner.read(path)
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageReader>> {
        self.inner.open(path)
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.inner.read_at(path, offset, length)
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        self.inner.list(path)
    }

    fn exists(&self, path: &str) -> Result<bool> {
        self.inner.exists(path)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &str) -> Result<()> {
        {
            let mut state = self.state.lock();
            if state.holders > 0 && blobs::is_one(path) {
                state.blobs.push(path.to_owned());
                return Ok(());
            }
        }
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &str) -> Result<()> {
        {
            let mut state = self.state.lock();
            if state.holders > 0 && path.starts_with("segments/") {
                state.folders.push(path.to_owned());
                return Ok(());
            }
        }
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &str) -> Result<()> {
        self.inner.sync_dir(path)
    }

    fn free_bytes(&self) -> Result<u64> {
        self.inner.free_bytes()
    }
}
