//! The vector index of a segment: codes of its vectors, searched instead of the vectors.
//!
//! Every vector is turned by a random rotation and coded twice: one bit a dimension around the
//! centroid of its partition, scanned 32 rows at a time, and 4 or 8 bits a dimension around the
//! mean, read for the rows that the first code does not rule out. The best of those are compared
//! exactly with the raw vectors, which the index does not hold. A small index has one partition,
//! whose centroid is the mean.
//!
//! What must stay true: an index is one run of bytes that never changes, made by [`build`] from
//! the rows of one segment and read where it lies by [`VectorIndex::open`]; its rows have the
//! numbers of the segment's rows; a row that the mask leaves out is never given back.
//!
//! Absent: exact search (the caller's, for few rows, see [`pays`]) and filters, which come in as
//! a mask.

mod best;
mod build;
mod calibrate;
mod cluster;
mod describe;
mod file;
mod filtered;
mod layout;
mod mask;
mod mean;
mod order;
mod parting;
mod search;
mod space;
mod walk;
mod watch;

#[cfg(test)]
mod tests;

pub use best::Best;
pub(super) use build::index_bytes;
pub use build::{BuildOptions, build, pays};
pub use describe::{Calibrated, IndexDescription};
pub use file::VectorFile;
pub use layout::VectorIndex;
pub use mask::Mask;
pub use search::{Candidate, Effort, SearchOptions};
pub use space::exact_distance;
pub use watch::{STEPS_MAX, Watch};

/// The name of the file in a segment's folder.
pub(super) const INDEX_FILE: &str = "vectors.index";

/// The largest squared norm that codes can hold.
const SQUARED_NORM_MAX: f32 = 1e30;
