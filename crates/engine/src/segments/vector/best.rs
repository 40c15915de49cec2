//! The best rows that a search has found so far.
//!
//! What must stay true: equal scores are told apart by the lower part and row, so that what is kept
//! does not depend on the order in which rows are offered.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use vermilion_kernels::codes::Survivor;

/// A row and its score; the greater is the worse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored {
    pub(super) score: f32,
    pub(super) part: u32,
    pub(super) row: u32,
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(self.part.cmp(&other.part))
            .then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scored {}

/// The best rows so far, the worst of them on top. Handed from index to index, it lets the rows of
/// one narrow the search of the next.
pub struct Best {
    pub(super) heap: BinaryHeap<Scored>,
    depth: usize,
    /// The part whose rows are offered.
    pub(super) part: u32,
}

impl Best {
    /// Keeps `depth` rows, at least one.
    pub fn new(depth: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            depth: depth.max(1),
            part: 0,
        }
    }

    /// The rows kept, each with its part, in no order.
    pub fn rows(&self) -> impl Iterator<Item = (u32, u32)> {
        self.heap.iter().map(|scored| (scored.part, scored.row))
    }

    fn is_full(&self) -> bool {
        self.heap.len() == self.depth
    }

    /// Below it a score must be to be kept.
    pub(super) fn limit(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.is_full() => worst.score,
            _ => f32::INFINITY,
        }
    }

    /// Brings those of `survivors` to the front that are likeliest to be kept, and gives their
    /// number. Where many survive, and while rows are missing all do, what is found among the
    /// likeliest rules out most of the others.
    pub(super) fn likeliest(&self, survivors: &mut [Survivor]) -> usize {
        if survivors.len() <= self.depth {
            return survivors.len();
        }
        survivors.select_nth_unstable_by(self.depth, |a, b| a.bound.total_cmp(&b.bound));
        self.depth
    }

    /// Keeps the row if it is among the best.
    pub(super) fn push(&mut self, score: f32, row: u32) {
        let part = self.part;
        let scored = Scored { score, part, row };
        if !self.is_full() {
            self.heap.push(scored);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && scored < *worst
        {
            *worst = scored;
        }
    }
}
