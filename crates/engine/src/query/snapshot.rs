//! What is asked: the records of a collection at one moment.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::model::{Schema, SeqId};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Number of the part.
    pub part: usize,
    /// Row in its source.
    pub row: u32,
}
