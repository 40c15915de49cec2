//! The database: opens a folder, and gives every operation on it.

use uuid::Uuid;

use crate::Result;
use crate::config::{Config, Limits};
use crate::model::{
    Collection, CollectionId, CollectionScope, CollectionUpdate, DatabaseInfo, Deletion, Fetched,
    GetRequest, Nearest, NewCollection, Page, QueryRequest, RecordBatch, SeqRange, Tenant,
};

/// An open database. All methods can be called from any thread; share it in an `Arc`.
pub struct Database {}

/// How far the segments of a collection are behind its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexingStatus {
    /// Operations ever logged.
    pub total_operations: u64,
    /// Operations that searches see.
    pub indexed_operations: u64,
}

/// Whether the database takes writes and reads.
#[derive(Clone, Debug)]
pub struct Health {
    /// Reads are answered.
    pub readable: bool,
    /// Writes are taken; otherwise `reason` says why not.
    pub writable: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// Sizes for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Collections.
    pub collections: u64,
    /// Live records of all collections.
    pub records: u64,
    /// Bytes of applied records in memory.
    pub memory_bytes: u64,
    /// Bytes of log files.
    pub log_bytes: u64,
    /// Fsyncs of the log since start.
    pub log_syncs: u64,
    /// Batches appended since start.
    pub log_appends: u64,
    /// Segments of all collections.
    pub segments: u64,
}

#[expect(
    unused_variables,
    reason = "bodies come with the database's own commit"
)]
impl Database {
    /// Opens the database, made if it is not there, and replays what the log has beyond the segments.
    pub fn open(config: Config) -> Result<Self> {
        unimplemented!()
    }
    /// Refuses new writes, waits for running ones, leaves the log with a clean end. Idempotent.
    pub fn close(&self) -> Result<()> {
        unimplemented!()
    }
    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        unimplemented!()
    }
    /// Whether reads and writes are taken.
    pub fn health(&self) -> Health {
        unimplemented!()
    }
    /// Sizes and counts for metrics.
    pub fn statistics(&self) -> Statistics {
        unimplemented!()
    }
    /// Nanoseconds since the Unix epoch by the database's clock.
    pub fn now_nanoseconds(&self) -> u64 {
        unimplemented!()
    }
    /// Deletes everything, then makes the default tenant and database again.
    pub fn reset(&self) -> Result<()> {
        unimplemented!()
    }

    /// Makes a tenant; `AlreadyExists`.
    pub fn create_tenant(&self, name: &str) -> Result<()> {
        unimplemented!()
    }
    /// A tenant by name; `NotFound`.
    pub fn tenant(&self, name: &str) -> Result<Tenant> {
        unimplemented!()
    }
    /// Gives a tenant its resource name; a missing tenant is passed over.
    pub fn update_tenant(&self, name: &str, resource_name: &str) -> Result<()> {
        unimplemented!()
    }
    /// Makes a database; the tenant need not exist.
    pub fn create_database(&self, tenant: &str, name: &str) -> Result<Uuid> {
        unimplemented!()
    }
    /// A database by name.
    pub fn database(&self, tenant: &str, name: &str) -> Result<DatabaseInfo> {
        unimplemented!()
    }
    /// Databases of a tenant, by name.
    pub fn databases(&self, tenant: &str, page: Page) -> Result<Vec<DatabaseInfo>> {
        unimplemented!()
    }
    /// Deletes a database and its collections.
    pub fn delete_database(&self, tenant: &str, name: &str) -> Result<()> {
        unimplemented!()
    }

    /// Makes a collection, or with `get_or_create` answers the one that has the name.
    pub fn create_collection(&self, new: NewCollection) -> Result<Collection> {
        unimplemented!()
    }
    /// A collection by name.
    pub fn collection(&self, tenant: &str, database: &str, name: &str) -> Result<Collection> {
        unimplemented!()
    }
    /// A collection by id; `NotFound` where it belongs to another tenant or database.
    pub fn collection_by_id(&self, scope: CollectionScope<'_>) -> Result<Collection> {
        unimplemented!()
    }
    /// A collection by id alone, whatever database it is in.
    pub fn collection_anywhere(&self, id: CollectionId) -> Result<Collection> {
        unimplemented!()
    }
    /// Collections of a database, by id; none for a missing database.
    pub fn collections(&self, tenant: &str, database: &str, page: Page) -> Result<Vec<Collection>> {
        unimplemented!()
    }
    /// How many collections a database has; 0 for a missing one.
    pub fn count_collections(&self, tenant: &str, database: &str) -> Result<u64> {
        unimplemented!()
    }
    /// Changes a collection.
    pub fn update_collection(
        &self,
        scope: CollectionScope<'_>,
        update: CollectionUpdate,
    ) -> Result<()> {
        unimplemented!()
    }
    /// Deletes a collection by name, with all its records and files.
    pub fn delete_collection(&self, tenant: &str, database: &str, name: &str) -> Result<()> {
        unimplemented!()
    }

    /// Validates the batch, logs it durably, applies it. All or nothing. Answers its SeqIds
    /// (an empty range for an empty batch).
    pub fn write(&self, scope: CollectionScope<'_>, batch: RecordBatch) -> Result<SeqRange> {
        unimplemented!()
    }
    /// Deletes the records a request means; answers how many there were.
    pub fn delete(&self, scope: CollectionScope<'_>, request: &Deletion) -> Result<u64> {
        unimplemented!()
    }
    /// Records in `get` order.
    pub fn get(&self, scope: CollectionScope<'_>, request: &GetRequest) -> Result<Fetched> {
        unimplemented!()
    }
    /// The nearest records to each query vector.
    pub fn query(
        &self,
        scope: CollectionScope<'_>,
        request: &QueryRequest,
    ) -> Result<Vec<Nearest>> {
        unimplemented!()
    }
    /// How many records are alive; constant time.
    pub fn count(&self, scope: CollectionScope<'_>) -> Result<u64> {
        unimplemented!()
    }
    /// How far searches are behind the log.
    pub fn indexing_status(&self, scope: CollectionScope<'_>) -> Result<IndexingStatus> {
        unimplemented!()
    }
    /// One round of upkeep (sealing, merging, log pruning); whether anything was done.
    pub fn upkeep(&self) -> Result<bool> {
        unimplemented!()
    }
}
