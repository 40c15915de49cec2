//! A storage in memory that notes what is durable, can fail at the n-th call, and lets tests
//! change bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::storage::{Entry, Storage, StorageFile};
use crate::{Error, ErrorKind, Result};

#[derive(Default)]
pub(super) struct State {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) folders: BTreeSet<String>,
    /// Every call that makes something durable, in order.
    pub(super) syncs: Vec<String>,
    /// Bytes of each file when it was synced last.
    pub(super) durable: BTreeMap<String, usize>,
    /// Changing calls until one fails; `None` for never.
    pub(super) fail_after: Option<u32>,
    /// Changing calls so far.
    pub(super) calls: u32,
}

impl State {
    fn step(&mut self) -> Result<()> {
        self.calls += 1;
        match &mut self.fail_after {
            Some(0) => Err(Error::new(ErrorKind::OutOfSpace, "the shelf is full")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct Shelf(pub(super) Arc<Mutex<State>>);

impl Shelf {
    /// The same files in a storage of their own.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::default();
        copy.0.lock().files = self.0.lock().files.clone();
        copy
    }

    fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let state = self.0.lock();
        let missing = || Error::not_found(format!("there is no {path}"));
        state.files.get(path).cloned().ok_or_else(missing)
    }
}

impl Storage for Shelf {
    fn create_dir(&self, path: &str) -> Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.folders.insert(path.into());
        Ok(())
    }
    fn create(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        let mut state = self.0.lock();
        state.step()?;
        assert!(
            state.files.insert(path.into(), Vec::new()).is_none(),
            "{path} is new"
        );
        Ok(Box::new(ShelfFile(self.clone(), path.into())))
    }
    fn append(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        Ok(Box::new(ShelfFile(self.clone(), path.into())))
    }
    fn reuse(&self, _: &str) -> Result<Box<dyn StorageFile>> {
        Err(Error::internal("segments write over nothing"))
    }
    fn map(&self, path: &str) -> Result<Bytes> {
        self.bytes(path).map(Bytes::from)
    }
    fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.bytes(path)
    }
    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        let bytes = self.bytes(path)?;
        let start = bytes.len().min(offset as usize);
        Ok(bytes[start..bytes.len().min(start + length)].to_vec())
    }
    fn list(&self, _: &str) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }
    fn exists(&self, path: &str) -> Result<bool> {
        let state = self.0.lock();
        Ok(state.files.contains_key(path) || state.folders.contains(path))
    }
    fn rename(&self, _: &str, _: &str) -> Result<()> {
        Err(Error::internal("segments rename nothing"))
    }
    fn remove_file(&self, path: &str) -> Result<()> {
        self.0.lock().files.remove(path);
        Ok(())
    }
    fn remove_dir(&self, path: &str) -> Result<()> {
        let mut state = self.0.lock();
        state.folders.retain(|folder| folder != path);
        state
            .files
            .retain(|file, _| !file.starts_with(&format!("{path}/")));
        Ok(())
    }
    fn sync_dir(&self, path: &str) -> Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.syncs.push(format!("{path}/"));
        Ok(())
    }
    fn free_bytes(&self) -> Result<u64> {
        Ok(u64::MAX)
    }
}

struct ShelfFile(Shelf, String);

impl StorageFile for ShelfFile {
    fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        let mut state = self.0.0.lock();
        state.step()?;
        let file = state.files.get_mut(&self.1).unwrap();
        parts.iter().for_each(|part| file.extend_from_slice(part));
        Ok(())
    }
    fn sync(&mut self) -> Result<()> {
        let mut state = self.0.0.lock();
        state.step()?;
        let bytes = state.files[&self.1].len();
        state.durable.insert(self.1.clone(), bytes);
        state.syncs.push(self.1.clone());
        Ok(())
    }
    fn bytes(&self) -> u64 {
        self.0.0.lock().files[&self.1].len() as u64
    }
    fn truncate(&mut self, bytes: u64) -> Result<()> {
        self.0
            .0
            .lock()
            .files
            .get_mut(&self.1)
            .unwrap()
            .truncate(bytes as usize);
        Ok(())
    }
}
