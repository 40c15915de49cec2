//! How far an import came, kept beside its file so that a rerun goes on there.
//!
//! What must stay true: a state counts only for the same bytes going to the same collection (by
//! id, so that one deleted and made again begins anew), and never counts a batch before it is
//! acknowledged.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::failure::Failure;

/// What an import is: which bytes go where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Import {
    /// Bytes of the file.
    pub(crate) file_bytes: u64,
    /// Its checksum (xxh3, hexadecimal).
    pub(crate) file_checksum: String,
    /// The folder or server.
    pub(crate) place: String,
    /// The id of the collection.
    pub(crate) collection: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    import: Import,
    records: u64,
}

/// The state of one import.
pub(crate) struct State {
    path: PathBuf,
    import: Import,
}

impl State {
    /// The state of the import of `file` to `collection` in `place`.
    pub(crate) fn of(file: &Path, place: String, collection: String) -> Result<Self, Failure> {
        let (file_bytes, file_checksum) = checksum(file)?;
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".vermilion-import.json");
        Ok(Self {
            path: file.with_file_name(name),
            import: Import {
                file_bytes,
                file_checksum,
                place,
                collection,
            },
        })
    }

    /// Bytes of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.import.file_bytes
    }

    /// Where it is kept.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many records an earlier run of the same import has behind it.
    pub(crate) fn records(&self) -> u64 {
        let stored = fs::read(&self.path).ok();
        stored
            .and_then(|bytes| serde_json::from_slice::<Stored>(&bytes).ok())
            .filter(|stored| stored.import == self.import)
            .map_or(0, |stored| stored.records)
    }

    /// Keeps that the first `records` records are acknowledged.
    pub(crate) fn keep(&self, records: u64) -> Result<(), Failure> {
        let stored = Stored {
            import: self.import.clone(),
            records,
        };
        let bytes = serde_json::to_vec(&stored).expect("a state is always valid JSON");
        let mut fresh = self.path.clone();
        fresh.add_extension("new");
        fs::write(&fresh, bytes)
            .and_then(|()| fs::rename(&fresh, &self.path))
            .map_err(|error| {
                Failure::from(error).context(format!("cannot write {}", self.path.display()))
            })
    }

    /// Forgets the state: the import is whole.
    pub(crate) fn forget(&self) {
        // One that stays does no harm: the rerun finds nothing left to do.
        let _ = fs::remove_file(&self.path);
    }
}

fn checksum(file: &Path) -> Result<(u64, String), Failure> {
    let doing = |error| Failure::from(error).context(format!("cannot read {}", file.display()));
    let mut input = fs::File::open(file).map_err(doing)?;
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let count = input.read(&mut buffer).map_err(doing)?;
        if count == 0 {
            return Ok((bytes, format!("{:016x}", hasher.digest())));
        }
        bytes += count as u64;
        hasher.update(&buffer[..count]);
    }
}
