//! Rows on disk: an opened segment.
//!
//! What must stay true: files of a segment never change; each is checked block by block the
//! first time it is read (see [`super::blocks`]).

use crate::Result;
use crate::model::{CollectionId, SegmentId};
use crate::storage::Storage;

/// Rows on disk.
pub struct Segment {}

impl Segment {
    /// The folder of a segment's files.
    pub fn folder(collection: CollectionId, id: SegmentId) -> String {
        format!("segments/{collection}/{id}")
    }

    /// Opens the segment in `folder`, whose table of contents must have `toc_checksum`.
    /// Reads little more than the table of contents.
    pub fn open(_storage: &dyn Storage, _folder: &str, _toc_checksum: u64) -> Result<Self> {
        unimplemented!()
    }

    /// Checks every block of every file; the damaged ones as errors.
    pub fn verify(&self) -> Vec<crate::Error> {
        unimplemented!()
    }

    /// Bytes of its files on disk.
    pub fn disk_bytes(&self) -> u64 {
        unimplemented!()
    }
}
