//! What goes into the catalogue and comes out of it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Collection, CollectionId, DatabaseInfo, Schema, SegmentId, SeqId, Tenant};

/// Where a catalogue lives.
#[derive(Clone)]
pub enum CatalogLocation {
    /// In this file.
    File(PathBuf),
    /// In memory: starts from `image`, and hands an image to `on_commit` after each transaction.
    Memory {
        /// What to start from.
        image: Option<Arc<Vec<u8>>>,
        /// Who is told of each transaction, in their order, before the call that made it returns.
        /// It must not call the catalogue.
        on_commit: Option<Arc<dyn Fn(Vec<u8>) + Send + Sync>>,
    },
}

impl CatalogLocation {
    /// In memory, empty, told to nobody.
    pub fn memory() -> Self {
        Self::Memory {
            image: None,
            on_commit: None,
        }
    }
}

/// A published segment of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// Its id; its files are in `segments/<collection>/<id>/`.
    pub id: SegmentId,
    /// Rows in it, dead ones too.
    pub rows: u32,
    /// Checksum of its table of contents, so that another folder's file is noticed.
    pub toc_checksum: u64,
    /// Rows that are dead at the collection's applied SeqId, as a serialised roaring bitmap.
    #[serde(with = "super::copy::hexadecimal")]
    pub dead: Vec<u8>,
}

/// What the catalogue knows of a collection's records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Rises with each change.
    pub version: u64,
    /// The SeqId up to which segments hold everything.
    pub applied: SeqId,
    /// The segments, oldest first; the order is kept.
    pub segments: Vec<SegmentRow>,
}

/// One change of a collection's manifest (seal, merge, deletion), all or nothing.
#[derive(Clone, Debug)]
pub struct ManifestCommit {
    /// The collection.
    pub collection: CollectionId,
    /// The manifest as it is to be; its `version` must be one more than the stored one.
    pub manifest: Manifest,
    /// The dimension, once known; `None` leaves the stored one as it is.
    pub dimension: Option<u32>,
    /// The schema with the metadata keys seen, where it changed.
    pub schema: Option<Schema>,
}

/// A collection with its manifest, as loaded when a database opens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionRow {
    /// The collection.
    pub collection: Collection,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Everything a catalogue holds, as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CatalogCopy {
    /// Tenants, by name.
    pub tenants: Vec<Tenant>,
    /// Databases, by tenant and name.
    pub databases: Vec<DatabaseInfo>,
    /// Collections, by id.
    pub collections: Vec<CollectionRow>,
}
