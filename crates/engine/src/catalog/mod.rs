//! The catalogue (SysDB): tenants, databases, collections, segments and applied SeqIds, in
//! embedded SQL.
//!
//! What must stay true: every change is one durable transaction; every row and every table
//! carries a checksum, so that damage is found when the catalogue is opened.

use std::path::PathBuf;
use std::sync::Arc;

use crate::Result;
use crate::model::{
    Collection, CollectionId, CollectionUpdate, DatabaseInfo, NewCollection, Page, SegmentId,
    SeqId, Tenant,
};

/// Where a catalogue lives.
#[derive(Clone)]
pub enum CatalogLocation {
    /// In this file.
    File(PathBuf),
    /// In memory: starts from `image`, and hands an image to `on_commit` after each transaction.
    Memory {
        /// What to start from.
        image: Option<Arc<Vec<u8>>>,
        /// Who is told of each transaction.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// Its id; its files are in `segments/<collection>/<id>/`.
    pub id: SegmentId,
    /// Rows in it, dead ones too.
    pub rows: u32,
    /// Checksum of its table of contents, so that another folder's file is noticed.
    pub toc_checksum: u64,
    /// Rows that are dead at the collection's applied SeqId, as a serialised roaring bitmap.
    pub dead: Vec<u8>,
}

/// What the catalogue knows of a collection's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Rises with each change.
    pub version: u64,
    /// The SeqId up to which segments hold everything.
    pub applied: SeqId,
    /// The segments.
    pub segments: Vec<SegmentRow>,
}

/// One change of a collection's manifest (seal, merge, deletion), all or nothing.
#[derive(Clone, Debug)]
pub struct ManifestCommit {
    /// The collection.
    pub collection: CollectionId,
    /// The manifest as it is to be; its `version` must be one more than the stored one.
    pub manifest: Manifest,
    /// The dimension, once known.
    pub dimension: Option<u32>,
    /// The schema with the metadata keys seen, where it changed.
    pub schema: Option<crate::model::Schema>,
}

/// The catalogue. All methods can be called from any thread.
pub struct Catalog {}

/// A collection with its manifest, as loaded when a database opens.
#[derive(Clone, Debug)]
pub struct CollectionRow {
    /// The collection.
    pub collection: Collection,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Catalog {
    /// Opens the catalogue, made (with the default tenant and database) if it is not there,
    /// brought to today's schema, and verified.
    pub fn open(_location: &CatalogLocation) -> Result<Self> {
        unimplemented!()
    }
    /// Every collection.
    pub fn load(&self) -> Result<Vec<CollectionRow>> {
        unimplemented!()
    }
    /// Makes a tenant.
    pub fn create_tenant(&self, _name: &str) -> Result<()> {
        unimplemented!()
    }
    /// A tenant by name.
    pub fn tenant(&self, _name: &str) -> Result<Tenant> {
        unimplemented!()
    }
    /// Gives a tenant its resource name; a tenant that is missing is passed over.
    pub fn update_tenant(&self, _name: &str, _resource_name: &str) -> Result<()> {
        unimplemented!()
    }
    /// Makes a database; the tenant need not exist.
    pub fn create_database(&self, _tenant: &str, _name: &str) -> Result<DatabaseInfo> {
        unimplemented!()
    }
    /// A database by name.
    pub fn database(&self, _tenant: &str, _name: &str) -> Result<DatabaseInfo> {
        unimplemented!()
    }
    /// Databases of a tenant by name; none for a tenant that is missing.
    pub fn databases(&self, _tenant: &str, _page: Page) -> Result<Vec<DatabaseInfo>> {
        unimplemented!()
    }
    /// Deletes a database and the rows of its collections, whose ids it answers.
    pub fn delete_database(&self, _tenant: &str, _name: &str) -> Result<Vec<CollectionId>> {
        unimplemented!()
    }
    /// Makes a collection. Fails with `AlreadyExists` where the name is taken (the caller deals
    /// with `get_or_create`) and `InvalidArgument` where the database is missing.
    pub fn create_collection(&self, _id: CollectionId, _new: &NewCollection) -> Result<Collection> {
        unimplemented!()
    }
    /// Changes a collection; `AlreadyExists` where the new name is taken.
    pub fn update_collection(&self, _id: CollectionId, _update: &CollectionUpdate) -> Result<()> {
        unimplemented!()
    }
    /// Deletes a collection's rows; `NotFound` where it is gone.
    pub fn delete_collection(&self, _id: CollectionId) -> Result<()> {
        unimplemented!()
    }
    /// Commits a manifest; `Conflict` where the version is not the next one, `NotFound` where the
    /// collection is gone.
    pub fn commit_manifest(&self, _commit: &ManifestCommit) -> Result<()> {
        unimplemented!()
    }
    /// Deletes everything, then makes the default tenant and database again.
    pub fn reset(&self) -> Result<()> {
        unimplemented!()
    }
    /// Full verification: every row and table checksum, and SQLite's own integrity check.
    pub fn verify(&self) -> Result<()> {
        unimplemented!()
    }
    /// Writes everything into the main file and closes.
    pub fn close(&self) -> Result<()> {
        unimplemented!()
    }
}
