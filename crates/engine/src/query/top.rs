//! The best few of many candidates.
//!
//! What must stay true: memory is bounded by the candidates that exist, whatever number is asked
//! for; ties go to the record that was inserted first, so that answers do not depend on parts.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Location;

/// A record and how far it is from a query vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// Its distance, a finite number.
    pub(super) distance: f32,
    /// SeqId of its first insertion.
    pub(super) birth: u64,
    /// Where it is.
    pub(super) location: Location,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance
            .total_cmp(&other.distance)
            .then(self.birth.cmp(&other.birth))
            .then(self.location.cmp(&other.location))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best `count` candidates so far.
#[derive(Clone, Debug)]
pub(super) struct Top {
    count: usize,
    worst_first: BinaryHeap<Candidate>,
}

impl Top {
    /// Keeps the best `count`.
    pub(super) fn new(count: usize) -> Self {
        Self {
            count,
            worst_first: BinaryHeap::new(),
        }
    }

    /// Whether a candidate at `distance` could be kept: the cheap test before [`Self::offer`].
    pub(super) fn admits(&self, distance: f32) -> bool {
        self.worst_first.len() < self.count
            || self
                .worst_first
                .peek()
                .is_some_and(|worst| distance <= worst.distance)
    }

    /// The largest distance that is kept; `None` while any is.
    pub(super) fn worst(&self) -> Option<f32> {
        let full = self.worst_first.len() >= self.count;
        let worst = self.worst_first.peek().filter(|_| full);
        worst.map(|worst| worst.distance)
    }

    /// Keeps `candidate` if it is among the best.
    pub(super) fn offer(&mut self, candidate: Candidate) {
        if self.worst_first.len() < self.count {
            self.worst_first.push(candidate);
        } else if let Some(mut worst) = self.worst_first.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    /// Keeps what is among the best of both.
    pub(super) fn take_in(&mut self, other: Self) {
        if self.worst_first.is_empty() && self.count == other.count {
            *self = other;
        } else {
            other
                .worst_first
                .into_iter()
                .for_each(|one| self.offer(one));
        }
    }

    /// The best, nearest first.
    pub(super) fn into_sorted(self) -> Vec<Candidate> {
        self.worst_first.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn top_is_the_beginning_of_everything_sorted(
            distances in prop::collection::vec(-3..3i8, 0..60),
            count in 0..20usize,
        ) {
            let (mut top, mut other) = (Top::new(count), Top::new(count));
            let mut all = Vec::new();
            // Births fall while rows rise, so that a tie cannot be won by coming first.
            for (row, distance) in (0u32..).zip(distances) {
                let candidate = Candidate {
                    distance: f32::from(distance),
                    birth: 1000 - u64::from(row),
                    location: Location { part: 0, row },
                };
                all.push(candidate);
                let top = if row % 3 == 0 { &mut other } else { &mut top };
                if top.admits(candidate.distance) {
                    top.offer(candidate);
                }
            }
            top.take_in(other);
            all.sort();
            all.truncate(count);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }

    #[test]
    fn enormous_count_takes_no_memory_before_there_are_candidates() {
        let mut top = Top::new(u32::MAX as usize);
        assert!(top.admits(f32::MAX));
        let location = Location { part: 0, row: 0 };
        top.offer(Candidate {
            distance: 1.0,
            birth: 1,
            location,
        });
        assert_eq!(top.into_sorted().len(), 1);
    }
}
