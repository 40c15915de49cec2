//! What a data folder remembers of its backups: who it is, and from where on each destination
//! needs the log.
//!
//! What must stay true: the file is replaced in one step. It guards no record: without it the next
//! backup is a full one, and goes to a new destination.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::storage::{Kept, Storage, read_checked, write_checked};
use crate::{Error, Result};

const FILE: &str = "backup/state";
/// Destinations that are remembered; the one that was used longest ago goes first.
const DESTINATIONS_MAX: usize = 16;

/// What a data folder remembers of its backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BackupState {
    /// Tells this database from every other.
    pub(super) database: Uuid,
    /// The destinations, by their ids.
    pub(super) destinations: BTreeMap<Uuid, Needed>,
}

/// What the next incremental backup to a destination needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Needed {
    /// The number of the first log file.
    pub(super) log_file: u64,
    /// The index of the first change of the catalogue.
    pub(super) change: u64,
    /// When the destination got its last backup.
    pub(super) time: u64,
}

impl BackupState {
    /// A database that has no backup yet.
    pub(super) fn new() -> Self {
        Self {
            database: Uuid::new_v4(),
            destinations: BTreeMap::new(),
        }
    }

    /// What the data folder remembers; `None` where it has no backup yet.
    pub(crate) fn read(storage: &dyn Storage) -> Result<Option<Self>> {
        match read_checked(storage, FILE)? {
            Kept::Missing => Ok(None),
            Kept::Sound(state) => Ok(Some(state)),
            Kept::Damaged => Err(Error::corrupted(
                FILE,
                0,
                "it is not what was written; remove it, and back up to a new destination",
            )),
        }
    }

    /// Remembers this in place of what was remembered.
    pub(super) fn write(&self, storage: &dyn Storage) -> Result<()> {
        write_checked(storage, FILE, self)
    }

    /// Notes what the next backup to a destination needs.
    pub(super) fn note(&mut self, destination: Uuid, needed: Needed) {
        self.destinations.insert(destination, needed);
        while self.destinations.len() > DESTINATIONS_MAX {
            let oldest = self.destinations.iter().min_by_key(|(_, one)| one.time);
            let Some(oldest) = oldest.map(|(id, _)| *id) else {
                return;
            };
            self.destinations.remove(&oldest);
        }
    }

    /// The first log file that any destination needs.
    pub(crate) fn first_log_file(&self) -> Option<u64> {
        self.destinations.values().map(|one| one.log_file).min()
    }

    /// The first change that any destination needs.
    pub(super) fn first_change(&self) -> u64 {
        let needed = self.destinations.values().map(|one| one.change);
        needed.min().unwrap_or(u64::MAX)
    }

    /// One past the last change that any destination has.
    pub(crate) fn next_change(&self) -> u64 {
        let needed = self.destinations.values().map(|one| one.change);
        needed.max().unwrap_or(1)
    }
}
