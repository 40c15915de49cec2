//! Lets go of what reading an idle collection has left in memory.
//!
//! What must stay true: readers notice nothing; a snapshot that somebody holds keeps its segments
//! as they are. Rows that no segment holds stay in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::LiveCollection;
use crate::Result;
use crate::segments::{Segment, Source};
use crate::storage::Storage;

impl LiveCollection {
    /// Whether a snapshot was asked for since the last call of [`Self::release`].
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Opens every segment anew, so that tables read from the old ones and pages mapped by them
    /// are given back once their readers have gone; not where a snapshot was asked for since the
    /// last call. Whether that was done.
    pub(crate) fn release(&self, storage: &dyn Storage) -> Result<bool> {
        if self.asked.swap(false, Ordering::Relaxed) {
            return Ok(false);
        }
        let Some(loaded) = self.loaded() else {
            return Ok(false);
        };
        self.samples.forget();
        // Segments come and go under this lock alone.
        let _sealing = self.sealing.lock();
        let published = self.published_segments();
        let mut opened = Vec::with_capacity(published.len());
        for row in &published {
            let folder = row.folder(self.id);
            let segment = Segment::open(storage, &folder, row.toc_checksum);
            let segment = self.unless_gone(segment)?;
            opened.push((row.id, segment));
        }
        let mut working = loaded.working.lock();
        working.recent = None;
        for (id, part) in &mut working.segments {
            let at = opened.iter().position(|(other, _)| other == id);
            if let (Some(at), Source::Segment(before)) = (at, &part.source) {
                let (_, mut segment) = opened.swap_remove(at);
                segment.go_on_with(before);
                part.source = Source::Segment(Arc::new(segment));
            }
        }
        self.publish_snapshot(loaded, &working);
        self.gauges.unloaded.fetch_add(1, Ordering::Relaxed);
        Ok(!published.is_empty())
    }
}
