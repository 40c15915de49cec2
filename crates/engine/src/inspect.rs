//! What is in a data folder, and whether it is sound, without changing a byte of it.
//!
//! What must stay true: neither call takes the folder's lock or writes; both may run beside a
//! server, and then see the state that is on disk at that moment.

use std::path::Path;

use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;
use serde::Serialize;

use crate::blobs::{self, Blob};
use crate::catalog::{Catalog, CollectionRow};
use crate::log::{self, CatalogSays, LogFile};
use crate::model::{CollectionId, SeqId};
use crate::remnants;
use crate::segments::Segment;
use crate::segments::vector::IndexDescription;
use crate::storage::{DiskStorage, Storage};
use crate::{Error, ErrorKind, Result};

/// The catalogue's file in a data folder.
pub(crate) const CATALOG_FILE: &str = "catalog.sqlite";

/// What is in a data folder.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Collections, by tenant, database and name.
    pub collections: Vec<InspectedCollection>,
    /// Log files, oldest first.
    pub log: Vec<InspectedLogFile>,
    /// Records in segments, alive at the applied SeqIds; the log may hold later changes.
    pub records: u64,
    /// Bytes of segments, those that collections share once.
    pub segment_bytes: u64,
    /// Files that are kept with collections.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Bytes of log files.
    pub log_bytes: u64,
}

/// One collection of a data folder.
#[derive(Clone, Debug, Serialize)]
pub struct InspectedCollection {
    /// Its tenant.
    pub tenant: String,
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// How its vectors are compared.
    pub space: crate::model::Space,
    /// Numbers in a vector, once known.
    pub dimension: Option<u32>,
    /// The SeqId up to which segments hold everything.
    pub applied_seq_id: u64,
    /// The last SeqId in the log, where the log holds any.
    pub last_logged_seq_id: Option<u64>,
    /// Its segments, oldest first.
    pub segments: Vec<InspectedSegment>,
}

/// One segment of a collection.
#[derive(Clone, Debug, Serialize)]
pub struct InspectedSegment {
    /// Its id.
    pub id: String,
    /// Rows in it.
    pub rows: u32,
    /// Rows that are dead.
    pub dead_rows: u64,
    /// Bytes of its files; `None` where they cannot be opened (run `verify`).
    pub bytes: Option<u64>,
    /// Its vector index, where it has one that can be read.
    pub vector_index: Option<IndexDescription>,
}

/// One log file.
#[derive(Clone, Debug, Serialize)]
pub struct InspectedLogFile {
    /// Its path in the data folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Batches in it.
    pub batches: u64,
    /// Records in it.
    pub records: u64,
}

/// Tells what is in the data folder at `path`.
pub fn inspect(path: &Path) -> Result<Inspection> {
    let (storage, catalog) = open(path)?;
    let files = log::scan(&storage)?.files;
    let mut collections: Vec<InspectedCollection> = catalog
        .load()?
        .iter()
        .map(|row| inspect_collection(&storage, row, &files))
        .collect::<Result<_>>()?;
    collections
        .sort_by(|a, b| (&a.tenant, &a.database, &a.name).cmp(&(&b.tenant, &b.database, &b.name)));
    let segments = || {
        collections
            .iter()
            .flat_map(|collection| &collection.segments)
    };
    let segment_bytes = {
        // Forks share segments.
        let bytes: HashMap<&str, u64> = segments()
            .filter_map(|one| Some((one.id.as_str(), one.bytes?)))
            .collect();
        bytes.values().sum()
    };
    let named = catalog.documents(blobs::KIND, "")?;
    let blobs: Vec<Blob> = named.iter().map(Blob::of_document).collect::<Result<_>>()?;
    Ok(Inspection {
        records: segments()
            .map(|one| u64::from(one.rows) - one.dead_rows)
            .sum(),
        segment_bytes,
        blobs: blobs.len() as u64,
        blob_bytes: blobs.iter().map(|blob| blob.bytes).sum(),
        log_bytes: files.iter().map(|file| file.bytes).sum(),
        log: files
            .iter()
            .map(|file| InspectedLogFile {
                path: file.path.clone(),
                bytes: file.bytes,
                batches: file.batches,
                records: file.records,
            })
            .collect(),
        collections,
    })
}

/// Checks every checksum in the data folder at `path`: the catalogue, every block of every segment,
/// every blob and every frame of the log. Answers what is damaged; an empty list means sound. `progress` is
/// told what is being looked at.
pub fn verify(path: &Path, progress: &mut dyn FnMut(&str)) -> Result<Vec<Error>> {
    progress("catalogue");
    let (storage, catalog) = match open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::Corrupted => return Ok(vec![error]),
        Err(error) => return Err(error),
    };
    let mut damaged: Vec<Error> = catalog.verify().err().into_iter().collect();
    let rows = match catalog.load() {
        Ok(rows) => rows,
        Err(error) => {
            damaged.push(error);
            Vec::new()
        }
    };
    // Forks share segments.
    let mut seen = HashSet::new();
    for row in &rows {
        for segment in &row.manifest.segments {
            let folder = segment.folder(row.collection.id);
            if !seen.insert(folder.clone()) {
                continue;
            }
            progress(&folder);
            match Segment::open(&storage, &folder, segment.toc_checksum) {
                Ok(segment) => damaged.extend(segment.verify()),
                Err(error) => damaged.push(error),
            }
        }
    }
    for document in catalog.documents(blobs::KIND, "")? {
        let blob = Blob::of_document(&document)?;
        progress(&blob.path());
        let Err(error) = blob.read(&storage) else {
            continue;
        };
        // Behind a server's back it may have been removed since the catalogue was read.
        let (_, catalog) = open(path)?;
        if catalog.document(blobs::KIND, &document.key)?.is_some() {
            damaged.push(error);
        }
    }
    progress("log");
    let said = CatalogSays::by(&catalog)?;
    let found = log::scan(&storage)?;
    if found.check_catalog(said).is_err() {
        // Behind a server's back the catalogue goes on as the log does.
        let said = CatalogSays::by(&open(path)?.1)?;
        damaged.extend(found.check_catalog(said).err());
    }
    if !found.missing(&applied(&rows)).is_empty() {
        // Behind a server's back segments may hold by now what the log held when the catalogue was
        // read.
        let (_, catalog) = open(path)?;
        damaged.extend(found.missing(&applied(&catalog.load()?)));
    }
    damaged.extend(found.damaged);
    Ok(damaged)
}

/// Up to which SeqId segments hold each collection.
fn applied(rows: &[CollectionRow]) -> HashMap<CollectionId, SeqId> {
    let of_row = |row: &CollectionRow| (row.collection.id, row.manifest.applied);
    rows.iter().map(of_row).collect()
}

fn open(path: &Path) -> Result<(DiskStorage, Catalog)> {
    let storage = DiskStorage::open_read_only(path)?;
    remnants::check(&storage)?;
    if !storage.exists(CATALOG_FILE)? {
        return Err(Error::not_found(format!(
            "{} is no data folder of Vermilion: it has no {CATALOG_FILE}",
            path.display()
        )));
    }
    let catalog = Catalog::open_read_only(&path.join(CATALOG_FILE))?;
    Ok((storage, catalog))
}

fn inspect_collection(
    storage: &dyn Storage,
    row: &CollectionRow,
    files: &[LogFile],
) -> Result<InspectedCollection> {
    let collection = &row.collection;
    let segments = row
        .manifest
        .segments
        .iter()
        .map(|segment| {
            let folder = segment.folder(collection.id);
            let opened = Segment::open(storage, &folder, segment.toc_checksum);
            let dead_rows = if segment.dead.is_empty() {
                0
            } else {
                RoaringBitmap::deserialize_from(&segment.dead[..])
                    .map_err(|cause| Error::corrupted(CATALOG_FILE, 0, cause))?
                    .len()
            };
            Ok(InspectedSegment {
                id: segment.id.to_string(),
                rows: segment.rows,
                dead_rows,
                bytes: opened.as_ref().ok().map(Segment::disk_bytes),
                vector_index: opened.ok().and_then(|segment| {
                    let index = segment.vector_index()?.index()?;
                    Some(index.describe())
                }),
            })
        })
        .collect::<Result<_>>()?;
    let last_logged_seq_id = files
        .iter()
        .filter_map(|file| file.highest.get(&collection.id))
        .map(|seq| seq.0)
        .max();
    Ok(InspectedCollection {
        tenant: collection.tenant.clone(),
        database: collection.database.clone(),
        name: collection.name.clone(),
        id: collection.id.to_string(),
        space: collection.schema.space(),
        dimension: collection.dimension,
        applied_seq_id: row.manifest.applied.0,
        last_logged_seq_id,
        segments,
    })
}
