//! What searches of an index have turned out to find, and how far its calibrated table is corrected
//! for that.
//!
//! What must stay true: a correction changes how much of an index a search reads, never what a
//! distance is; each step of it reads no less than the one before. An index that is written again
//! begins without, calibrated with the queries that asked for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Steps of correction at most. The table has a row for each known recall; beyond its last row a
/// step doubles partitions and candidates, which comes to everything well before this.
pub const STEPS_MAX: u32 = 24;

/// What is known of the searches of one index.
#[derive(Debug, Default)]
pub struct Watch {
    steps: AtomicU32,
    wanted: AtomicU64,
    found: AtomicU64,
}

impl Watch {
    /// Rows of the calibrated table that a search goes beyond the one for its recall.
    pub fn steps(&self) -> u32 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Has searches go `steps` rows of the table further, at most [`STEPS_MAX`].
    pub fn correct(&self, steps: u32) {
        self.steps.store(steps.min(STEPS_MAX), Ordering::Relaxed);
    }

    /// Notes that of `wanted` true nearest rows searches found `found`.
    pub fn note(&self, wanted: u64, found: u64) {
        self.wanted.fetch_add(wanted, Ordering::Relaxed);
        self.found.fetch_add(found, Ordering::Relaxed);
    }

    /// True nearest rows that were looked for since the index was opened, and those of them that
    /// were found.
    pub fn counts(&self) -> (u64, u64) {
        let wanted = self.wanted.load(Ordering::Relaxed);
        (wanted, self.found.load(Ordering::Relaxed))
    }
}
