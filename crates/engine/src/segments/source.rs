//! One face for chunks and segments, so that queries do not care where a row lives.
//!
//! What must stay true: both answer every question alike; the tests compare them row by row.

use std::borrow::Cow;
use std::sync::Arc;

use vermilion_kernels::prefetch;

use super::IndexFile;
use super::sparse::SparseIndex;
use super::text::TextIndex;
use super::vector::VectorFile;
use super::{AnyIndexFile, Chunk, FilterCache, HashedId, RowDocument, RowSet, Segment};
use crate::Result;
use crate::model::{Comparison, DocumentTest, MetadataColumn, SeqId, SparseVector};

/// A set of rows that never changes, in memory or on disk.
#[derive(Clone)]
pub enum Source {
    /// Rows in memory.
    Chunk(Arc<Chunk>),
    /// Rows on disk.
    Segment(Arc<Segment>),
}

/// Which keys of metadata are read.
#[derive(Clone, Copy, Debug)]
pub enum Keys<'a> {
    /// Every key.
    All,
    /// These, where a record has them.
    These(&'a [&'a str]),
}

impl Keys<'_> {
    /// Whether `key` is one of them.
    pub(super) fn has(self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(keys) => keys.contains(&key),
        }
    }
}

/// Each method answers from the chunk or the segment. Rows are numbered from 0. A segment checks
/// the checksum of a block the first time it reads from it, and fails with `Corrupted`.
impl Source {
    /// How many rows there are, dead ones too.
    pub fn rows(&self) -> u32 {
        match self {
            Self::Chunk(chunk) => chunk.rows(),
            Self::Segment(segment) => segment.rows(),
        }
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.dimension(),
            Self::Segment(segment) => segment.dimension(),
        }
    }

    /// The row of `id`, dead or alive.
    pub fn find(&self, id: &str) -> Result<Option<u32>> {
        self.find_hashed(HashedId::new(id))
    }

    /// The same, for an id that is looked for in many sources.
    pub fn find_hashed(&self, id: HashedId<'_>) -> Result<Option<u32>> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.find(id)),
            Self::Segment(segment) => segment.find(id),
        }
    }

    /// Asks for what [`Self::find_hashed`] reads first, ahead of it.
    pub fn prefetch_id(&self, id: HashedId<'_>) -> Result<()> {
        match self {
            // Tables in memory are small, and near.
            Self::Chunk(_) => Ok(()),
            Self::Segment(segment) => segment.prefetch_id(id),
        }
    }

    /// The id of `row`.
    pub fn id(&self, row: u32) -> Result<&str> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.id(row)),
            Self::Segment(segment) => segment.id(row),
        }
    }

    /// For each row the SeqId of its record's first insertion: the key of the `get` order.
    pub fn births(&self) -> Result<&[u64]> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.births()),
            Self::Segment(segment) => segment.births(),
        }
    }

    /// For each row the SeqId of the operation that wrote it.
    pub fn seqs(&self) -> Result<&[u64]> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.seqs()),
            Self::Segment(segment) => segment.seqs(),
        }
    }

    /// Rows by ascending birth; `None` where that is the row order itself.
    pub fn order(&self) -> Result<Option<&[u32]>> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.order()),
            Self::Segment(segment) => segment.order(),
        }
    }

    /// The vector of `row`.
    pub fn vector(&self, row: u32) -> Result<&[f32]> {
        self.vectors(row, 1)
    }

    /// What `look` makes of the vector of `row`: for a search that compares single rows.
    pub fn with_vector<T>(&self, row: u32, look: impl FnOnce(&[f32]) -> T) -> Result<T> {
        match self {
            Self::Chunk(chunk) => Ok(look(chunk.vectors(row, 1))),
            Self::Segment(segment) => segment.with_vector(row, look),
        }
    }

    /// Asks for the vector of `row` ahead of [`Self::with_vector`].
    pub fn prefetch_vector(&self, row: u32) -> Result<()> {
        match self {
            Self::Chunk(chunk) => prefetch(bytemuck::cast_slice(chunk.vectors(row, 1))),
            Self::Segment(segment) => segment.prefetch_vector(row)?,
        }
        Ok(())
    }

    /// The vectors of rows `first..first + count`, one after the other.
    pub fn vectors(&self, first: u32, count: u32) -> Result<&[f32]> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.vectors(first, count)),
            Self::Segment(segment) => segment.vectors(first, count),
        }
    }

    /// The document of `row`.
    pub fn document(&self, row: u32) -> Result<Option<Cow<'_, str>>> {
        match self {
            Self::Chunk(chunk) => chunk.document(row),
            Self::Segment(segment) => Ok(segment.document(row)?.map(Cow::Owned)),
        }
    }

    /// Where the document of `row` is, for a row that is to have the same: nothing is read.
    pub(crate) fn row_document(&self, row: u32) -> RowDocument<'_> {
        match self {
            Self::Chunk(chunk) => chunk.row_document(row),
            Self::Segment(segment) if segment.has_documents() => RowDocument::Lent(segment, row),
            Self::Segment(_) => RowDocument::Own(None),
        }
    }

    /// The uri of `row`.
    pub fn uri(&self, row: u32) -> Result<Option<&str>> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.uri(row)),
            Self::Segment(segment) => segment.uri(row),
        }
    }

    /// Appends the metadata of `row` under `keys` to `to` as one more row.
    pub fn push_metadata(&self, row: u32, keys: Keys<'_>, to: &mut MetadataColumn) -> Result<()> {
        match self {
            Self::Chunk(chunk) => {
                chunk.push_metadata(row, keys, to);
                Ok(())
            }
            Self::Segment(segment) => segment.push_metadata(row, keys, to),
        }
    }

    /// The sparse vector under `key` of `row`.
    pub fn sparse(&self, row: u32, key: &str) -> Result<Option<Cow<'_, SparseVector>>> {
        match self {
            Self::Chunk(chunk) => Ok(chunk.sparse(row, key).map(Cow::Borrowed)),
            Self::Segment(segment) => Ok(segment.sparse(row, key)?.map(Cow::Owned)),
        }
    }

    /// The index of sparse vectors, where there is one.
    pub fn sparse_index(&self) -> Option<&IndexFile<SparseIndex>> {
        match self {
            Self::Chunk(_) => None,
            Self::Segment(segment) => segment.sparse_index(),
        }
    }

    /// What the last filters passed, where that is kept.
    pub fn filters(&self) -> Option<&FilterCache> {
        match self {
            Self::Chunk(_) => None,
            Self::Segment(segment) => Some(segment.filters()),
        }
    }

    /// The index of the vectors, where there is one.
    pub fn vector_index(&self) -> Option<&VectorFile> {
        match self {
            Self::Chunk(_) => None,
            Self::Segment(segment) => segment.vector_index(),
        }
    }

    /// The index of the documents, where there is one.
    pub fn text_index(&self) -> Option<&IndexFile<TextIndex>> {
        match self {
            Self::Chunk(_) => None,
            Self::Segment(segment) => segment.text_index(),
        }
    }

    /// Whether an index was found damaged, and is to be made anew.
    pub fn has_damaged_index(&self) -> bool {
        match self {
            Self::Chunk(_) => false,
            Self::Segment(segment) => segment.indexes().any(AnyIndexFile::is_damaged),
        }
    }

    /// Bytes of files on disk.
    pub fn disk_bytes(&self) -> u64 {
        match self {
            Self::Chunk(_) => 0,
            Self::Segment(segment) => segment.disk_bytes(),
        }
    }

    /// About the bytes of memory that merging it with others takes.
    pub fn merge_bytes(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.merge_bytes(),
            Self::Segment(segment) => segment.merge_bytes(),
        }
    }

    /// Bytes held in memory (a segment's mapped files do not count).
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.heap_bytes(),
            Self::Segment(segment) => segment.heap_bytes(),
        }
    }

    /// Whether what a chunk looks at in the log is still what was written: `Corrupted` otherwise.
    pub(crate) fn check_lent(&self) -> Result<()> {
        match self {
            Self::Chunk(chunk) => chunk.check_lent(),
            Self::Segment(_) => Ok(()),
        }
    }

    /// The highest SeqId in it.
    pub fn last_seq(&self) -> SeqId {
        match self {
            Self::Chunk(chunk) => chunk.last_seq(),
            Self::Segment(segment) => segment.last_seq(),
        }
    }

    /// Adds to `to` the rows whose metadata passes `comparison` of `key`, exactly; negative tests
    /// match rows without the key. `to` comes in empty; dead rows may be added too.
    pub fn matching(&self, key: &str, comparison: &Comparison, to: &mut RowSet) -> Result<()> {
        match self {
            Self::Chunk(chunk) => {
                chunk.matching(key, comparison, to);
                Ok(())
            }
            Self::Segment(segment) => segment.matching(key, comparison, to),
        }
    }

    /// Takes from `among` the rows whose document does not pass `test`.
    pub fn retain_documents(&self, test: &DocumentTest, among: &mut RowSet) -> Result<()> {
        match self {
            Self::Chunk(chunk) => chunk.retain_documents(test, among),
            Self::Segment(segment) => segment.retain_documents(test, among),
        }
    }
}
