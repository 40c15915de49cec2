//! When the catalogue changed between two backups, so that a restore to a time finds the names and
//! collections of that time.
//!
//! What must stay true: a change is noted after the catalogue committed it and before another can
//! be; what is missing here is found by comparing the catalogues of two backups, so that a note
//! that could not be written costs the time of a change and nothing else.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::catalog::{CatalogCopy, CollectionRow, Document, Manifest};
use crate::model::{Collection, CollectionId, DatabaseInfo, Tenant};
use crate::storage::{Storage, replace_file};
use crate::{Error, ErrorKind, Result};

/// The file of the notes in the data folder.
const FILE: &str = "backup/changes.log";
/// Bytes of notes kept at most; beyond, they are dropped, as if they could not be written.
const BYTES_MAX: usize = 16 << 20;

/// One change of the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// A tenant was made or changed.
    Tenant(Tenant),
    /// A database was made.
    Database(DatabaseInfo),
    /// A database was deleted, with its collections.
    DatabaseDeleted {
        /// Its tenant.
        tenant: String,
        /// Its name.
        name: String,
    },
    /// A collection was made, renamed or changed otherwise.
    Collection(Box<Collection>),
    /// A collection was deleted.
    CollectionDeleted(CollectionId),
    /// A document was stored.
    Document(Document),
    /// A document was deleted.
    DocumentDeleted {
        /// Its kind.
        kind: String,
        /// Its key.
        key: String,
    },
    /// Everything was deleted but for what a new catalogue holds.
    Reset(Box<CatalogCopy>),
}

/// A change with its time, in nanoseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TimedChange {
    /// Rises by one with each change.
    pub(super) index: u64,
    /// When.
    pub(super) time: u64,
    /// What.
    pub(super) change: Change,
}

impl Change {
    /// Does to `catalog` what the change did.
    pub(super) fn apply(&self, catalog: &mut CatalogCopy) {
        match self {
            Self::Tenant(tenant) => {
                catalog.tenants.retain(|one| one.name != tenant.name);
                catalog.tenants.push(tenant.clone());
                catalog.tenants.sort_by(|a, b| a.name.cmp(&b.name));
            }
            Self::Database(database) => {
                catalog.databases.retain(|one| one.id != database.id);
                catalog.databases.push(database.clone());
                let key = |one: &DatabaseInfo| (one.tenant.clone(), one.name.clone());
                catalog.databases.sort_by_key(key);
            }
            Self::DatabaseDeleted { tenant, name } => {
                catalog
                    .databases
                    .retain(|one| one.tenant != *tenant || one.name != *name);
                catalog.collections.retain(|row| {
                    row.collection.tenant != *tenant || row.collection.database != *name
                });
            }
            Self::Collection(collection) => {
                let find = |row: &CollectionRow| row.collection.id.cmp(&collection.id);
                match catalog.collections.binary_search_by(find) {
                    Ok(at) => catalog.collections[at].collection = *collection.clone(),
                    Err(at) => catalog.collections.insert(
                        at,
                        CollectionRow {
                            collection: *collection.clone(),
                            manifest: Manifest::default(),
                        },
                    ),
                }
            }
            Self::CollectionDeleted(id) => {
                catalog.collections.retain(|row| row.collection.id != *id);
            }
            Self::Document(document) => {
                let same = |one: &Document| one.kind == document.kind && one.key == document.key;
                catalog.documents.retain(|one| !same(one));
                catalog.documents.push(document.clone());
                let key = |one: &Document| (one.kind.clone(), one.key.clone());
                catalog.documents.sort_by_key(key);
            }
            Self::DocumentDeleted { kind, key } => {
                let documents = &mut catalog.documents;
                documents.retain(|one| one.kind != *kind || one.key != *key);
            }
            Self::Reset(new) => *catalog = *new.clone(),
        }
    }
}

/// Whether two catalogues have the same tenants, databases, documents and collections, whatever records they
/// have and what these brought.
pub(super) fn same_names(a: &CatalogCopy, b: &CatalogCopy) -> bool {
    let same = |(a, b): (&CollectionRow, &CollectionRow)| {
        let (a, b) = (&a.collection, &b.collection);
        (a.id, &a.name, &a.tenant, &a.database, &a.metadata)
            == (b.id, &b.name, &b.tenant, &b.database, &b.metadata)
    };
    a.tenants == b.tenants
        && a.databases == b.databases
        && a.documents == b.documents
        && a.collections.len() == b.collections.len()
        && a.collections.iter().zip(&b.collections).all(same)
}

/// The notes of a database. Nothing is noted before its first backup.
pub(crate) struct Journal {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    noting: bool,
    changes: Vec<TimedChange>,
    bytes: usize,
    /// The index of the next change.
    next: u64,
    /// The file holds more or less than `changes`.
    stale: bool,
}

impl Journal {
    /// Reads the notes, if this database is one that has backups. A torn or damaged end is cut off.
    pub(crate) fn open(storage: &dyn Storage, noting: bool) -> Result<Self> {
        let mut state = State {
            noting,
            next: 1,
            ..State::default()
        };
        if noting {
            let bytes = match storage.read(FILE) {
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                read => read?,
            };
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                let Some(change) = decode(line) else {
                    tracing::warn!(file = FILE, "a torn or damaged note of a change is dropped");
                    state.stale = true;
                    break;
                };
                state.next = change.index + 1;
                state.bytes += line.len();
                state.changes.push(change);
            }
        }
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    /// Begins to note changes.
    pub(super) fn start(&self) {
        self.state.lock().noting = true;
    }

    /// Notes `change`, which the catalogue has committed. A note that cannot be written is only
    /// logged: the next backup finds the change without its time. The caller holds the lock that
    /// orders all changes, so that nobody waits for this one's.
    pub(crate) fn note(&self, storage: &dyn Storage, time: u64, change: impl FnOnce() -> Change) {
        let mut state = self.state.lock();
        if !state.noting {
            return;
        }
        let change = TimedChange {
            index: state.next,
            time,
            change: change(),
        };
        state.next += 1;
        let Ok(line) = encode(&change) else {
            tracing::warn!("a change of the catalogue has no JSON form; its time is lost");
            return;
        };
        if state.bytes + line.len() > BYTES_MAX {
            state.changes.clear();
            (state.bytes, state.stale) = (0, true);
        }
        state.bytes += line.len();
        state.changes.push(change);
        let written = if state.stale {
            rewrite(storage, &state.changes)
        } else {
            append(storage, &line)
        };
        state.stale = written.is_err();
        if let Err(error) = written {
            tracing::warn!(%error, "the time of a change could not be noted for the next backup");
        }
    }

    /// The index behind the last change, and all changes from `from` on that are known.
    pub(super) fn since(&self, from: u64) -> (u64, Vec<TimedChange>) {
        let state = self.state.lock();
        let later = state.changes.iter().filter(|change| change.index >= from);
        (state.next, later.cloned().collect())
    }

    /// Drops what every backup has. A failure is only logged: it costs space.
    pub(super) fn forget_before(&self, storage: &dyn Storage, index: u64) {
        let mut state = self.state.lock();
        let before = state.changes.len();
        state.changes.retain(|change| change.index >= index);
        if state.changes.len() == before {
            return;
        }
        let lines = state
            .changes
            .iter()
            .filter_map(|change| encode(change).ok());
        state.bytes = lines.map(|line| line.len()).sum();
        let written = rewrite(storage, &state.changes);
        state.stale = written.is_err();
        if let Err(error) = written {
            tracing::warn!(%error, "old notes of changes stay for now");
        }
    }

    /// Goes on counting from `next`, where the notes that are there end before it.
    pub(crate) fn resume_at(&self, next: u64) {
        let mut state = self.state.lock();
        state.next = state.next.max(next);
    }
}

fn encode(change: &TimedChange) -> Result<Vec<u8>> {
    let body = serde_json::to_string(change)
        .map_err(|error| Error::internal(format!("a change has no JSON form: {error}")))?;
    Ok(format!("{:016x} {body}\n", xxh3_64(body.as_bytes())).into_bytes())
}

fn decode(line: &[u8]) -> Option<TimedChange> {
    let (checksum, body) = line.strip_suffix(b"\n")?.split_at_checked(17)?;
    let right = checksum == format!("{:016x} ", xxh3_64(body)).as_bytes();
    right.then(|| serde_json::from_slice(body).ok()).flatten()
}

fn append(storage: &dyn Storage, line: &[u8]) -> Result<()> {
    let mut file = if storage.exists(FILE)? {
        storage.append(FILE)?
    } else {
        return rewrite_lines(storage, &[line]);
    };
    file.write(&[line])?;
    file.sync()
}

fn rewrite(storage: &dyn Storage, changes: &[TimedChange]) -> Result<()> {
    let lines: Vec<Vec<u8>> = changes.iter().map(encode).collect::<Result<_>>()?;
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    rewrite_lines(storage, &lines)
}

fn rewrite_lines(storage: &dyn Storage, lines: &[&[u8]]) -> Result<()> {
    replace_file(storage, FILE, lines)
}
