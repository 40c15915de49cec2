//! What the catalogue holds of a collection, as requests ask for it.
//!
//! What must stay true: requests read version and applied SeqId without a lock, each at most what
//! the catalogue has committed.

use std::sync::atomic::Ordering;

use super::LiveCollection;
use crate::catalog::{Manifest, SegmentRow};
use crate::model::SeqId;

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

    /// Takes over the manifest that the catalogue has committed; the caller holds `published`.
    pub(super) fn note_published(&self, published: &mut Manifest, committed: Manifest) {
        let (version, applied) = (committed.version, committed.applied.0);
        *published = committed;
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
