//! The index of a segment's sparse vectors: for each dimension the rows that have it, with their
//! values, and for a dimension that many rows have bounds of them by blocks of rows.
//!
//! A search reads the blocks that bounds leave in the race. What must stay true: answers are exact,
//! whatever the bounds are; an index is made from values that are in another file too, so that
//! damage to it costs no answer.
//!
//! | file | what |
//! |---|---|
//! | `build` | [`write`]: an index of the vectors of some rows |
//! | `layout` | the bytes of the file |
//! | `index` | [`SparseIndex`]: an opened file; the postings of a dimension |
//! | `search` | the best rows for a query |

mod build;
mod index;
mod layout;
mod search;
#[cfg(test)]
mod tests;

pub(super) use build::write;
pub use build::{Vectors, build};
pub use index::{KeyIndex, SparseIndex};

/// The name of the file in a segment's folder.
pub(super) const SPARSE_FILE: &str = "sparse.index";
/// Rows of a block: those of one word of a set of rows.
const BLOCK_ROWS: usize = 64;
/// How many codes there are: each stands for so much of the range of a dimension's values.
const CODES: u32 = 256;
