//! What can be asked of records, and what comes back, in columns.

use std::time::Duration;

use super::{
    Embeddings, Filter, MetadataColumn, OptionalStrings, Recall, RecordBatch, SeqId, SeqRange,
    Strings,
};

/// How much of what is in the log a read sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLevel {
    /// Everything that was acknowledged before the read began; the read waits for indexing.
    IndexAndWal,
    /// What is indexed; the read never waits.
    IndexOnly,
    /// What is indexed, and a bounded part of what is not: the read waits for it.
    IndexAndBoundedWal,
}

/// What a read must see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consistency {
    /// Where nothing is said: everything acknowledged, or what is indexed if the collection's
    /// writers are answered before readers see what they wrote.
    pub read_level: Option<ReadLevel>,
    /// And everything up to this SeqId.
    pub min_seq: Option<SeqId>,
    /// How long the read may wait for that; half a minute where nothing is said.
    pub wait_max: Option<Duration>,
}

impl Consistency {
    /// Sees what is indexed, without a wait.
    pub fn at_once() -> Self {
        Self {
            read_level: Some(ReadLevel::IndexOnly),
            ..Self::default()
        }
    }

    /// Sees all that is acknowledged.
    pub fn everything() -> Self {
        Self {
            read_level: Some(ReadLevel::IndexAndWal),
            ..Self::default()
        }
    }
}

/// What a deletion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Records that were meant.
    pub count: u64,
    /// The SeqIds of the deletions in the log; `None` where there was nothing to delete.
    pub seqs: Option<SeqRange>,
    /// The ids of the records that were there, where they were asked for.
    pub ids: Option<Strings>,
}

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
    /// What must be seen.
    pub consistency: Consistency,
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
    /// What must be seen.
    pub consistency: Consistency,
}

/// Asks for records to be deleted.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    /// Which records.
    pub selection: RecordSelection,
    /// How many at most, in the order of `get`; needs a filter.
    pub limit: Option<u32>,
    /// Whether the ids of the records that were there are answered; the deletion then waits until
    /// it shows what is there.
    pub tell_ids: bool,
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

/// A write that holds only if what was read before has not changed since.
#[derive(Clone, Debug, Default)]
pub struct ConditionalWrite {
    /// The SeqId that the reads answered; may be absent where nothing was read.
    pub read_token: Option<SeqId>,
    /// The records that were read, there or not.
    pub read_ids: Vec<String>,
    /// What is to be written, all or nothing.
    pub batch: RecordBatch,
}
