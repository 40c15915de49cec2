//! Where records live once they are applied: chunks in memory, segments on disk.
//!
//! A [`Source`] is a set of rows that never changes, each id at most once. A collection's
//! records are a list of sources with, for each, the rows that are dead. Chunks are rows of one
//! or more applied batches; a segment is many chunks written to files, or segments merged.
//!
//! What must stay true: nothing a source answers depends on when it is asked; every byte that a
//! segment answers from has been checked against the checksum written with it.

mod arrow;
pub mod blocks;
mod builder;
mod chunk;
mod column;
mod documents;
mod filter_cache;
mod id_table;
mod index_file;
mod lent;
mod metadata;
mod row_set;
mod segment;
mod sink;
mod source;
pub mod sparse;
pub mod text;
mod toc;
pub mod vector;
mod write;

#[cfg(test)]
mod tests;

pub use builder::{ChunkBuilder, RowParts};
pub use chunk::Chunk;
pub use filter_cache::{FilterCache, Filtered};
pub use id_table::HashedId;
pub use index_file::{AnyIndexFile, IndexFile};
pub use lent::RowDocument;
pub(crate) use metadata::compare_numbers;
pub use row_set::RowSet;
pub(crate) use row_set::set_bits;
pub use segment::{MappedPart, Segment};
pub use source::{Keys, Source};
pub use write::{Indexes, SegmentSummary, write_segment};

#[cfg(target_endian = "big")]
compile_error!("segments are little-endian and are read in place; big-endian machines need a copy");
