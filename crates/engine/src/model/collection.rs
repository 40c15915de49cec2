//! Tenants, databases and collections as the catalogue tells of them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CollectionId, Schema, SeqId};

/// The tenant that is there from the start.
pub const DEFAULT_TENANT: &str = "default_tenant";
/// The database of it that is there from the start.
pub const DEFAULT_DATABASE: &str = "default_database";

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its name, unique.
    pub name: String,
    /// The resource name that an operator gave it, first part of a collection's CRN.
    pub resource_name: Option<String>,
}

/// A database of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseInfo {
    /// Its id.
    pub id: Uuid,
    /// Its name, unique in its tenant.
    pub name: String,
    /// The name of its tenant.
    pub tenant: String,
}

/// A collection as the catalogue tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collection {
    /// Its id.
    pub id: CollectionId,
    /// Its name, unique in its database.
    pub name: String,
    /// The name of its tenant.
    pub tenant: String,
    /// The name of its database.
    pub database: String,
    /// Its metadata, a JSON object as the client gave it; `None` where there is none.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// Its schema: index settings, and the metadata keys seen so far.
    pub schema: Schema,
    /// Numbers in a vector; `None` until the first record.
    pub dimension: Option<u32>,
    /// Where it comes from, where it is a fork; the first collection of its lineage first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
    /// How often its segments changed: a seal or a merge adds one. Told by an open database; the
    /// catalogue keeps it in the manifest.
    #[serde(skip)]
    pub version: u64,
    /// The SeqId up to which segments hold everything. As `version`.
    #[serde(skip)]
    pub log_position: SeqId,
}

/// A collection that a fork comes from. What it was up to `seq` is what the fork was: SeqIds of the
/// fork go on behind it, and those behind the `seq` of the origin before are the origin's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The collection, which may be gone by now.
    pub collection: CollectionId,
    /// Its SeqId at the fork.
    pub seq: SeqId,
}

/// The key of a collection's metadata that says whether its writers are answered before readers
/// see what they wrote.
pub const BATCH_INGEST_KEY: &str = "vermilion:batch_ingest";
/// What the keys of a collection's metadata begin with that make it a space of curation.
pub const CURATION_PREFIX: &str = "curation:";

impl Collection {
    /// The first collection of its lineage: itself where it is no fork.
    pub fn root(&self) -> CollectionId {
        self.origins
            .first()
            .map_or(self.id, |origin| origin.collection)
    }

    /// Whether writers are answered once their batch is durable; `None` where the collection does
    /// not say and follows the database.
    pub fn batch_ingest(&self) -> Option<bool> {
        self.metadata.as_ref()?.get(BATCH_INGEST_KEY)?.as_bool()
    }
}

/// What a new collection is to be.
#[derive(Clone, Debug)]
pub struct NewCollection {
    /// The tenant to make it in.
    pub tenant: String,
    /// The database to make it in.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// Its schema.
    pub schema: Schema,
    /// Whether a collection of that name is to be returned as it is.
    pub get_or_create: bool,
}

/// Changes to a collection; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub struct CollectionUpdate {
    /// The new name.
    pub name: Option<String>,
    /// The new metadata as a whole; an empty map leaves the collection without any.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// The new schema as a whole.
    pub schema: Option<Schema>,
    /// Whether writers are answered once their batch is durable. New metadata alone does not
    /// change it.
    pub batch_ingest: BatchIngestChange,
}

/// What becomes of a collection's word on when its writers are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchIngestChange {
    /// It stays.
    #[default]
    Keep,
    /// The collection follows the database again.
    Follow,
    /// Writers are answered once their batch is durable, or once it is visible.
    Set(bool),
}

/// Where a record request looks: a collection, which must belong to this tenant and database.
#[derive(Clone, Copy, Debug)]
pub struct CollectionScope<'a> {
    /// The tenant of the path.
    pub tenant: &'a str,
    /// The database of the path.
    pub database: &'a str,
    /// The collection.
    pub id: CollectionId,
}

/// A page of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// How many items at most; `None` means all.
    pub limit: Option<u32>,
    /// How many items to pass over.
    pub offset: u32,
}

impl Page {
    /// Those of `items` that are on the page.
    pub fn of<I: IntoIterator>(self, items: I) -> impl Iterator<Item = I::Item> {
        let limit = self.limit.map_or(usize::MAX, |limit| limit as usize);
        items.into_iter().skip(self.offset as usize).take(limit)
    }
}
