//! The file that says that the log was closed, and where it ended then.
//!
//! What must stay true: the file is durable whole or not there; it is gone, durably, before
//! anything is appended. Its bytes are drawn in [`super::format`].

use super::FOLDER;
use super::format::{Flaw, VERSION, check, seal, u32_at, u64_at};
use crate::storage::{Storage, new_path, replace_file};
use crate::{ErrorKind, Result};

const MAGIC: [u8; 8] = *b"VERMEND\n";
const BYTES: usize = 48;

/// Where a closed log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CleanEnd {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) end: u64,
    pub(super) chain: u32,
}

/// The path of the file.
pub(super) fn path() -> String {
    format!("{FOLDER}/clean-end")
}

impl CleanEnd {
    /// Puts the file there, durably.
    pub(super) fn write(&self, storage: &dyn Storage) -> Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.last.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.end.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.chain.to_le_bytes());
        seal(&mut bytes, 12);
        replace_file(storage, &path(), &[&bytes])
    }

    /// What the file says; `None` where there is none.
    pub(super) fn read(storage: &dyn Storage) -> Result<Option<Result<Self, Flaw>>> {
        match storage.read(&path()) {
            Ok(bytes) => Ok(Some(Self::decode(&bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the file away; durable after the folder is synced.
    pub(super) fn remove(storage: &dyn Storage) -> Result<()> {
        storage.remove_file(&new_path(&path()))?;
        storage.remove_file(&path())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        check(bytes, BYTES, &MAGIC, 12)?;
        if u32_at(bytes, 8) != VERSION {
            return Err(Flaw::Newer(u32_at(bytes, 8)));
        }
        Ok(Self {
            first: u64_at(bytes, 16),
            last: u64_at(bytes, 24),
            end: u64_at(bytes, 32),
            chain: u32_at(bytes, 40),
        })
    }
}
