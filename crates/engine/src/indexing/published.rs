//! What the catalogue holds of a collection, as requests ask for it.
//!
//! What must stay true: requests read version and applied SeqId without a lock, each at most what
//! the catalogue has committed.

use std::sync::atomic::Ordering;

use super::LiveCollection;
use crate::catalog::{Manifest, SegmentRow};
use crate::model::SeqId;
use crate::storage::Storage;
use crate::{ErrorKind, Result};

impl LiveCollection {
    /// How often its segments changed.
    pub(super) fn published_version(&self) -> u64 {
        self.published_version.load(Ordering::Acquire)
    }

    /// The SeqId up to which segments hold everything.
    pub(crate) fn published_applied(&self) -> SeqId {
        SeqId(self.published_applied.load(Ordering::Acquire))
    }

    /// The segments that the catalogue names for it.
    pub(crate) fn published_segments(&self) -> Vec<SegmentRow> {
        self.published.lock().segments.clone()
    }

    /// Bytes of the files of its segments; those that it shares with others too.
    pub(crate) fn disk_bytes_held(&self, storage: &dyn Storage) -> Result<u64> {
        let version = self.published_version();
        if let Some((of, bytes)) = *self.disk_bytes.lock()
            && of == version
        {
            return Ok(bytes);
        }
        let mut bytes = 0;
        for row in self.published_segments() {
            match storage.list(&row.folder(self.id)) {
                Ok(files) => bytes += files.iter().map(|file| file.bytes).sum::<u64>(),
                // It was merged away meanwhile; the next look finds what took its place.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        *self.disk_bytes.lock() = Some((version, bytes));
        Ok(bytes)
    }

    /// Bytes of the schema as the catalogue keeps it. Keys that records brought since are part of what
    /// these records take in memory.
    pub(crate) fn schema_bytes(&self) -> u64 {
        let mut known = self.schema_bytes.lock();
        *known.get_or_insert_with(|| self.schema().stored_bytes())
    }

    /// Takes over the manifest that the catalogue has committed; the caller holds `published`.
    pub(super) fn note_published(&self, published: &mut Manifest, committed: Manifest) {
        let (version, applied) = (committed.version, committed.applied.0);
        *published = committed;
        *self.schema_bytes.lock() = None;
        self.published_applied.store(applied, Ordering::Release);
        self.published_version.store(version, Ordering::Release);
    }

    /// Whether anything was applied that no segment holds.
    pub(crate) fn has_unsealed(&self) -> bool {
        self.visible() > self.published_applied()
    }

    /// How many segments are published.
    pub(crate) fn segment_count(&self) -> usize {
        self.published.lock().segments.len()
    }
}
