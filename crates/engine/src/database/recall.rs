//! What is known of how much searches find.
//!
//! What must stay true: only searches that were made again exactly count.

use super::Database;
use crate::model::CollectionId;

/// What is known of the recall of a collection since the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeasuredRecall {
    /// The collection.
    pub collection: CollectionId,
    /// Searches that were made again exactly.
    pub searches: u64,
    /// The share of the nearest records that was asked for.
    pub asked: f64,
    /// The share that was found.
    pub found: f64,
}

impl Database {
    /// What is known of the recall of collections whose searches were made again exactly, the lowest
    /// first, at most `count` of them.
    pub fn measured_recalls(&self, count: usize) -> Vec<MeasuredRecall> {
        let mut measured: Vec<MeasuredRecall> = Vec::new();
        for collection in self.inner.all_collections() {
            let (searches, tally) = collection.samples().checked();
            if tally.wanted > 0 {
                measured.push(MeasuredRecall {
                    collection: collection.id,
                    searches,
                    asked: tally.asked_share(),
                    found: tally.found_share(),
                });
            }
        }
        measured.sort_by(|a, b| a.found.total_cmp(&b.found));
        measured.truncate(count);
        measured
    }
}
