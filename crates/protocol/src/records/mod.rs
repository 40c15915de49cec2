//! The bodies of `add`, `upsert` and `update`, decoded straight into the columns of a batch.
//!
//! What must stay true: ids go into one buffer, numbers into one block, cells into the metadata
//! column, whatever order the members come in. Shape errors (422) and syntax errors (400) of any
//! part of the body come before broken rules (400), so rules that are found broken on the way are
//! noted and reported at the end.

mod decode;
mod metadata;
mod strings;
mod vectors;

pub use decode::{decode, decode_columns};
pub(crate) use metadata::{Cell, CollectionMetadata, MetadataRows, list_of, problem_of_key};
pub(crate) use vectors::{PackedQueryVectors, QueryVectors, check_absent, explain_overflow};

#[cfg(test)]
mod tests;
