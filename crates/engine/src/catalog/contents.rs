//! What goes into the catalogue and comes out of it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Collection, CollectionId, DatabaseInfo, Schema, SegmentId, SeqId, Tenant};
use crate::segments::Segment;

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

/// How large a catalogue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatalogSize {
    /// Bytes of all its pages.
    pub bytes: u64,
    /// Bytes of pages that hold nothing.
    pub free_bytes: u64,
}

/// A published segment of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// Its id; its files are in `segments/<home>/<id>/`.
    pub id: SegmentId,
    /// The collection in whose folder its files are, where that is another one: a fork borrows the
    /// segments of its origin. They are removed when no collection names them any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<CollectionId>,
    /// Rows in it, dead ones too.
    pub rows: u32,
    /// Checksum of its table of contents, so that another folder's file is noticed.
    pub toc_checksum: u64,
    /// Rows that are dead at the collection's applied SeqId, as a serialised roaring bitmap.
    #[serde(with = "super::copy::hexadecimal")]
    pub dead: Vec<u8>,
}

impl SegmentRow {
    /// The folder of its files, as a segment of `collection`.
    pub fn folder(&self, collection: CollectionId) -> String {
        Segment::folder(self.home.unwrap_or(collection), self.id)
    }
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

/// What a catalogue holds of tenants, databases and collections, as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CatalogCopy {
    /// Tenants, by name.
    pub tenants: Vec<Tenant>,
    /// Databases, by tenant and name.
    pub databases: Vec<DatabaseInfo>,
    /// Collections, by id.
    pub collections: Vec<CollectionRow>,
    /// Documents, by kind and key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<Document>,
}

/// A JSON document of whoever builds on the database, such as what curation knows of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// What it is about.
    pub kind: String,
    /// Its name, unique in its kind.
    pub key: String,
    /// What it says.
    pub body: serde_json::Value,
}

/// A job of the scheduler, in the scheduler's own words. Times are milliseconds since the Unix
/// epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobRow {
    /// Its name.
    pub name: String,
    /// What it is and how it is treated, as JSON.
    pub spec: String,
    /// Whether it is kept from running by itself.
    pub paused: bool,
    /// The next occurrence.
    pub next_at: Option<i64>,
    /// The last occurrence that was run or missed.
    pub last_at: Option<i64>,
    /// The attempt that follows a failure; 0 where none does.
    pub retry_attempt: u32,
    /// When that begins.
    pub retry_at: Option<i64>,
    /// The occurrence that it is for.
    pub retry_for: Option<i64>,
}

/// One run of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRunRow {
    /// Its number, rising.
    pub id: u64,
    /// The job.
    pub job: String,
    /// What is told of it, as JSON.
    pub run: String,
}
