//! Keeps the memory of vectors and their indexes within a budget: what was searched longest ago is
//! given back to the system first.
//!
//! What must stay true: giving back changes no answer, only how long the next search takes. Where all
//! is more than the budget, single vectors are read past their mapping, and take none of it. Raw
//! vectors go first, then the levels of indexes, and signs only of indexes that are not searched
//! now, since every search reads some of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Database, Inner};
use crate::segments::{MappedPart, Segment, Source};
use crate::storage::Resident;

/// How long what was looked up stays true enough for metrics.
const LOOKED_UP_FOR_MILLISECONDS: u64 = 10_000;

/// Bytes of mapped files that are in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MappedMemory {
    /// Of vector indexes.
    pub index_bytes: u64,
    /// Of raw vectors.
    pub vector_bytes: u64,
}

/// A segment as the budget sees it.
struct Holder {
    /// Rounds since it was searched last.
    idle: u64,
    /// Bytes in memory.
    vectors: u64,
    index: u64,
    /// Bytes of its index that every search reads some of.
    signs: u64,
}

impl Database {
    /// What of segments is in memory, as it was some seconds ago at most.
    pub fn mapped_memory(&self) -> MappedMemory {
        let inner = &self.inner;
        let now = inner.config.clock.monotonic().as_millis() as u64;
        let looked = inner.mapped_looked_at.load(Ordering::Relaxed);
        if looked == 0 || now.saturating_sub(looked) > LOOKED_UP_FOR_MILLISECONDS {
            inner.mapped_looked_at.store(now.max(1), Ordering::Relaxed);
            let memory = sum(&holders(&inner.mapped_segments(), &Resident::look()));
            *inner.mapped.lock() = memory;
        }
        *inner.mapped.lock()
    }

    /// Gives memory of segments back until what is left is within the budget; whether there was
    /// any to give.
    pub fn keep_memory_budget(&self) -> bool {
        self.inner.keep_memory_budget()
    }
}

impl Inner {
    /// See [`Database::keep_memory_budget`].
    pub(super) fn keep_memory_budget(&self) -> bool {
        let budget = self.config.upkeep.mapped_bytes;
        if budget == 0 {
            return false;
        }
        let segments = self.mapped_segments();
        let files: u64 = segments.iter().map(|one| one.searched_bytes()).sum();
        for segment in &segments {
            segment.note_round();
            segment.read_past_mapping(self.config.storage.as_ref(), files > budget);
        }
        if files <= budget {
            return false;
        }
        let holders = holders(&segments, &Resident::look());
        let plan = plan(&holders, budget);
        for &(at, part) in &plan {
            segments[at].give_back(part);
        }
        !plan.is_empty()
    }

    /// The segments of loaded collections.
    fn mapped_segments(&self) -> Vec<Arc<Segment>> {
        let collections = self.all_collections().into_iter();
        let snapshots = collections.filter_map(|collection| collection.loaded_snapshot());
        let mut segments = Vec::new();
        for snapshot in snapshots {
            for part in &snapshot.parts {
                if let Source::Segment(segment) = &part.source {
                    segments.push(segment.clone());
                }
            }
        }
        segments
    }
}

fn holders(segments: &[Arc<Segment>], resident: &Resident) -> Vec<Holder> {
    let holder = |segment: &Arc<Segment>| {
        let (vectors, index) = segment.mapped();
        Holder {
            idle: segment.idle_rounds(),
            vectors: resident.of(vectors),
            index: index.map_or(0, |index| resident.of(index)),
            signs: segment.sign_bytes(),
        }
    };
    segments.iter().map(holder).collect()
}

fn sum(holders: &[Holder]) -> MappedMemory {
    MappedMemory {
        index_bytes: holders.iter().map(|one| one.index).sum(),
        vector_bytes: holders.iter().map(|one| one.vectors).sum(),
    }
}

/// Bytes of a part of a holder that are in memory.
type BytesOf<'a> = &'a dyn Fn(&Holder) -> u64;

/// What to give back of which holder, so that what is left is at most `budget`.
fn plan(holders: &[Holder], budget: u64) -> Vec<(usize, MappedPart)> {
    let memory = sum(holders);
    let mut left = memory.index_bytes + memory.vector_bytes;
    let mut by_age: Vec<usize> = (0..holders.len()).collect();
    by_age.sort_by_key(|&at| std::cmp::Reverse(holders[at].idle));
    let levels = |one: &Holder| one.index.saturating_sub(one.signs);
    let signs = |one: &Holder| {
        if one.idle == 0 {
            0
        } else {
            one.index.min(one.signs)
        }
    };
    let stages: [(MappedPart, BytesOf<'_>); 3] = [
        (MappedPart::Vectors, &|one| one.vectors),
        (MappedPart::Levels, &levels),
        (MappedPart::Signs, &signs),
    ];
    let mut plan = Vec::new();
    for (part, bytes) in stages {
        for &at in &by_age {
            let own = bytes(&holders[at]);
            if left > budget && own > 0 {
                plan.push((at, part));
                left = left.saturating_sub(own);
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::MappedPart::{Levels, Signs, Vectors};
    use super::*;

    fn holder(idle: u64, vectors: u64, index: u64, signs: u64) -> Holder {
        Holder {
            idle,
            vectors,
            index,
            signs,
        }
    }

    #[test]
    fn what_was_searched_longest_ago_goes_first_and_vectors_before_codes() {
        let holders = [
            holder(0, 100, 60, 20),
            holder(7, 100, 60, 20),
            holder(2, 100, 60, 20),
        ];
        assert_eq!(plan(&holders, 480), []);
        assert_eq!(plan(&holders, 479), [(1, Vectors)]);
        assert_eq!(plan(&holders, 300), [(1, Vectors), (2, Vectors)]);
        assert_eq!(
            plan(&holders, 170),
            [(1, Vectors), (2, Vectors), (0, Vectors), (1, Levels)]
        );
        let everything = plan(&holders, 0);
        assert_eq!(
            everything[6..],
            [(1, Signs), (2, Signs)],
            "signs in use stay"
        );
    }
}
