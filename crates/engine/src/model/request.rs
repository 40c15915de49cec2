//! What can be asked of records, and what comes back, in columns.

use super::{Embeddings, Filter, MetadataColumn, OptionalStrings, Recall, Strings};

/// Which columns an answer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one column that can be asked for"
)]
pub struct Include {
    /// Documents.
    pub documents: bool,
    /// Metadata.
    pub metadatas: bool,
    /// Vectors.
    pub embeddings: bool,
    /// Uris.
    pub uris: bool,
    /// Distances (queries only).
    pub distances: bool,
}

/// Which records are meant: those that pass every part that is given.
#[derive(Clone, Debug, Default)]
pub struct RecordSelection {
    /// The record's id is one of these.
    pub ids: Option<Vec<String>>,
    /// The record passes this filter.
    pub filter: Option<Filter>,
}

/// Asks for records in the order of their first insertion.
#[derive(Clone, Debug, Default)]
pub struct GetRequest {
    /// Which records.
    pub selection: RecordSelection,
    /// How many at most.
    pub limit: Option<u32>,
    /// How many to pass over.
    pub offset: u32,
    /// Which columns.
    pub include: Include,
}

/// Asks for the nearest records to each of some vectors.
#[derive(Clone, Debug, Default)]
pub struct QueryRequest {
    /// The query vectors.
    pub embeddings: Embeddings,
    /// How many records for each at most.
    pub n_results: u32,
    /// How many of the nearest records should be found; `None` leaves it to the collection.
    pub recall: Option<Recall>,
    /// Which records may answer.
    pub selection: RecordSelection,
    /// Which columns.
    pub include: Include,
}

/// Asks for records to be deleted.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    /// Which records.
    pub selection: RecordSelection,
    /// How many at most, in the order of `get`; needs a filter.
    pub limit: Option<u32>,
}

/// Records in columns; a column that was not asked for is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fetched {
    /// Ids, one for each record.
    pub ids: Strings,
    /// Vectors.
    pub embeddings: Option<Embeddings>,
    /// Documents.
    pub documents: Option<OptionalStrings>,
    /// Uris.
    pub uris: Option<OptionalStrings>,
    /// Metadata.
    pub metadatas: Option<MetadataColumn>,
}

/// The nearest records to one vector, by ascending distance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nearest {
    /// The records.
    pub records: Fetched,
    /// Their distances.
    pub distances: Vec<f32>,
}
