//! Answers questions about one snapshot of a collection.
//!
//! What must stay true: a request sees one [`Snapshot`] from its first look to its last fetch.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::Result;
use crate::model::{Fetched, GetRequest, Nearest, QueryRequest, Schema, SeqId};
use crate::segments::Source;

/// One source of a snapshot with the rows of it that are dead.
#[derive(Clone)]
pub struct Part {
    /// The rows.
    pub source: Source,
    /// Those that are dead.
    pub dead: Arc<RoaringBitmap>,
}

/// The records of a collection at one moment. Each id is alive in at most one part.
#[derive(Clone)]
pub struct Snapshot {
    /// Sources, oldest first.
    pub parts: Vec<Part>,
    /// The last SeqId that is visible.
    pub visible: SeqId,
    /// How many records are alive.
    pub count: u64,
    /// Numbers in a vector; `None` before the first record.
    pub dimension: Option<u32>,
    /// Index settings and keys.
    pub schema: Arc<Schema>,
}

/// Where a live record is: the part's number and the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Number of the part.
    pub part: usize,
    /// Row in its source.
    pub row: u32,
}

/// Finds the live record `id`.
pub fn find(_snapshot: &Snapshot, _id: &str) -> Result<Option<Location>> {
    unimplemented!()
}

/// Records in `get` order.
pub fn get(_snapshot: &Snapshot, _request: &GetRequest) -> Result<Fetched> {
    unimplemented!()
}

/// The live records that a selection means, in `get` order, at most `limit` of them.
pub fn select(
    _snapshot: &Snapshot,
    _selection: &crate::model::RecordSelection,
    _limit: Option<u32>,
) -> Result<Vec<Location>> {
    unimplemented!()
}

/// The nearest records to each query vector.
pub fn query(_snapshot: &Snapshot, _request: &QueryRequest) -> Result<Vec<Nearest>> {
    unimplemented!()
}
