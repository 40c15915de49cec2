//! A storage that can put off the removal of folders of segments, so that a backup copies the files
//! of segments that were merged away or deleted meanwhile. Other folders go at once.
//!
//! What must stay true: while nobody holds, every call does what the storage below does; a removal
//! that was put off is made up for by the last holder, or by the sweep of the next start.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Entry, Storage, StorageFile, StorageReader};
use crate::Result;

/// A storage around another, whose folders of segments stay while somebody holds them.
pub(crate) struct DeferringStorage {
    inner: Arc<dyn Storage>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    holders: usize,
    put_off: Vec<String>,
}

/// Folders stay while this lives.
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

    /// Lets every folder of segments that is there now stay while the hold lives.
    pub(crate) fn hold(self: &Arc<Self>) -> FolderHold {
        self.state.lock().holders += 1;
        FolderHold {
            storage: self.clone(),
        }
    }
}

impl Drop for FolderHold {
    fn drop(&mut self) {
        let put_off = {
            let mut state = self.storage.state.lock();
            state.holders -= 1;
            if state.holders > 0 {
                return;
            }
            std::mem::take(&mut state.put_off)
        };
        for folder in put_off {
            if let Err(error) = self.storage.inner.remove_dir(&folder) {
                tracing::warn!(folder, %error, "a folder that nobody needs stays until the next start");
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

    fn map(&self, path: &str) -> Result<Bytes> {
        self.inner.map(path)
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
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &str) -> Result<()> {
        {
            let mut state = self.state.lock();
            if state.holders > 0 && path.starts_with("segments/") {
                state.put_off.push(path.to_owned());
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
