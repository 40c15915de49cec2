//! The words of the database as types: ids, operations, columns, metadata, filters, collections.
//!
//! A batch of records is columns from the wire to the disk: ids, one contiguous block of `f32`,
//! documents, uris and metadata cells. Nothing here does I/O.

mod collection;
mod columns;
mod filter;
mod function;
mod ids;
mod lent;
mod metadata;
mod operation;
mod recall;
mod request;
mod schema;
mod search;
mod survey;

pub use collection::{
    BATCH_INGEST_KEY, BatchIngestChange, CURATION_PREFIX, Collection, CollectionScope,
    CollectionUpdate, DEFAULT_DATABASE, DEFAULT_TENANT, DatabaseInfo, NewCollection, Origin, Page,
    Tenant,
};
pub(crate) use columns::Numbers;
pub use columns::{Embeddings, OptionalStrings, Strings, all_finite};
pub use filter::{Comparison, DocumentTest, Filter, Number, Scalar};
pub use function::{AttachedFunction, Function, FunctionDetails, FunctionSource};
pub use ids::{CollectionId, FlushKey, SegmentId, SeqId, SeqRange};
pub use lent::LENT_BYTES_MIN;
pub(crate) use lent::{FileHold, LentNumbers};
pub use metadata::{MetadataColumn, SparseVector, Value};
pub use operation::{Operation, RecordBatch};
pub use recall::{RECALL_KEY, Recall};
pub use request::{
    ConditionalWrite, Consistency, Deleted, Deletion, Fetched, GetRequest, Include, Nearest,
    QueryRequest, ReadLevel, RecordSelection,
};
pub use schema::*;
pub use search::{
    Found, GroupBy, GroupKey, Knn, KnnQuery, Rank, Search, SearchRequest, Select, SelectMetadata,
};
pub use survey::{Aggregate, Aggregated, OrderBy, Survey};
