//! Where records live once they are applied: chunks in memory, segments on disk.
//!
//! A [`Source`] is a set of rows that never changes, each id at most once. A collection's
//! records are a list of sources with, for each, the rows that are dead. Chunks are rows of one
//! or more applied batches; a segment is many chunks written to files, or segments merged.

pub mod blocks;
mod chunk;
mod row_set;
mod segment;
pub mod vector;
mod write;

pub use chunk::{Chunk, ChunkBuilder, RowParts};
pub use row_set::RowSet;
pub use segment::Segment;
pub use write::{SegmentSummary, write_segment};

use std::borrow::Cow;
use std::sync::Arc;

use crate::Result;
use crate::model::{Comparison, DocumentTest, MetadataColumn, SeqId};

/// A set of rows that never changes, in memory or on disk.
#[derive(Clone)]
pub enum Source {
    /// Rows in memory.
    Chunk(Arc<Chunk>),
    /// Rows on disk.
    Segment(Arc<Segment>),
}

/// Each method answers from the chunk or the segment. Rows are numbered from 0. A segment checks
/// the checksum of a block the first time it reads from it, and fails with `Corrupted`.
impl Source {
    /// How many rows there are, dead ones too.
    pub fn rows(&self) -> u32 {
        unimplemented!()
    }
    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        unimplemented!()
    }
    /// The row of `id`, dead or alive.
    pub fn find(&self, _id: &str) -> Result<Option<u32>> {
        unimplemented!()
    }
    /// The id of `row`.
    pub fn id(&self, _row: u32) -> Result<&str> {
        unimplemented!()
    }
    /// For each row the SeqId of its record's first insertion: the key of the `get` order.
    pub fn births(&self) -> Result<&[u64]> {
        unimplemented!()
    }
    /// For each row the SeqId of the operation that wrote it.
    pub fn seqs(&self) -> Result<&[u64]> {
        unimplemented!()
    }
    /// Rows by ascending birth; `None` where that is the row order itself.
    pub fn order(&self) -> Result<Option<&[u32]>> {
        unimplemented!()
    }
    /// The vector of `row`.
    pub fn vector(&self, _row: u32) -> Result<&[f32]> {
        unimplemented!()
    }
    /// The vectors of rows `first..first + count`, one after the other.
    pub fn vectors(&self, _first: u32, _count: u32) -> Result<&[f32]> {
        unimplemented!()
    }
    /// The document of `row`.
    pub fn document(&self, _row: u32) -> Result<Option<Cow<'_, str>>> {
        unimplemented!()
    }
    /// The uri of `row`.
    pub fn uri(&self, _row: u32) -> Result<Option<&str>> {
        unimplemented!()
    }
    /// Appends the metadata of `row` to `to` as one more row.
    pub fn push_metadata(&self, _row: u32, _to: &mut MetadataColumn) -> Result<()> {
        unimplemented!()
    }
    /// Bytes held in memory (a segment's mapped files do not count).
    pub fn heap_bytes(&self) -> usize {
        unimplemented!()
    }
    /// The highest SeqId in it.
    pub fn last_seq(&self) -> SeqId {
        unimplemented!()
    }

    /// Adds to `to` the rows whose metadata passes `comparison` of `key`, exactly; negative tests
    /// match rows without the key. `to` comes in empty; dead rows may be added too.
    pub fn matching(&self, _key: &str, _comparison: &Comparison, _to: &mut RowSet) -> Result<()> {
        unimplemented!()
    }
    /// Takes from `among` the rows whose document does not pass `test`.
    pub fn retain_documents(&self, _test: &DocumentTest, _among: &mut RowSet) -> Result<()> {
        unimplemented!()
    }
}
