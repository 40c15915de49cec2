//! Rows in memory: the columns of one applied batch, or of several joined.
//!
//! What must stay true: every row is a whole record (no null metadata value, a vector in each
//! row), each id stands in at most one row, and nothing changes once the chunk is made.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Source;
use crate::Result;
use crate::model::{RecordBatch, Value};

/// Rows in memory.
pub struct Chunk {}

impl Chunk {
    /// Takes the columns of `rows` as they are: each row is a whole record with an id of its own.
    /// `births` and `seqs` have one entry for each row.
    pub fn new(_rows: Arc<RecordBatch>, _births: Vec<u64>, _seqs: Vec<u64>) -> Self {
        unimplemented!()
    }

    /// One chunk with the rows of `parts` that are not dead, by ascending birth.
    pub fn join(_parts: &[(Source, Arc<RoaringBitmap>)]) -> Result<Self> {
        unimplemented!()
    }
}

/// Builds a chunk row by row. Every row has a vector of the same dimension.
#[derive(Default)]
pub struct ChunkBuilder {}

/// One whole record to be pushed to a [`ChunkBuilder`].
#[derive(Clone, Copy, Debug)]
pub struct RowParts<'a> {
    /// Its id, pushed once.
    pub id: &'a str,
    /// SeqId of its first insertion.
    pub birth: u64,
    /// SeqId of the operation that wrote it.
    pub seq: u64,
    /// Its vector.
    pub vector: &'a [f32],
    /// Its document.
    pub document: Option<&'a str>,
    /// Its uri.
    pub uri: Option<&'a str>,
    /// Its metadata, without nulls.
    pub metadata: &'a [(&'a str, &'a Value)],
}

impl ChunkBuilder {
    /// Appends a row.
    pub fn push(&mut self, _row: RowParts<'_>) {
        unimplemented!()
    }
    /// The chunk of the rows pushed.
    pub fn finish(self) -> Chunk {
        unimplemented!()
    }
}
