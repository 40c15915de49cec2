//! Writes a segment: the live rows of some sources, in one folder of files.
//!
//! What must stay true: when [`write_segment`] returns, every file is durable under its name, and
//! so is the folder; only the catalogue's commit makes the segment part of its collection.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Source;
use crate::Result;
use crate::storage::Storage;

/// What a written segment is.
#[derive(Clone, Debug)]
pub struct SegmentSummary {
    /// Rows in it.
    pub rows: u32,
    /// Checksum of its table of contents.
    pub toc_checksum: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// For each source, for each of its rows, the row of the new segment; `u32::MAX` where the
    /// row was dead.
    pub row_of: Vec<Vec<u32>>,
}

/// Writes the rows of `sources` that are not dead into the new folder `folder`, by ascending birth.
/// `go_on` is asked now and then; once it answers `false` the call cleans up and ends with `Busy`.
pub fn write_segment(
    _storage: &dyn Storage,
    _folder: &str,
    _sources: &[(Source, Arc<RoaringBitmap>)],
    _go_on: &dyn Fn() -> bool,
) -> Result<SegmentSummary> {
    unimplemented!()
}
