//! Orders partitions by how near their centroids are to a query.
//!
//! What must stay true: an order gives every partition once, however long it is asked; scores are
//! those of the centroids themselves. Many centroids are searched as rows are, by their signs and
//! then by their levels, since a query needs few of them; only those few are compared exactly.

use vermilion_kernels::codes::{BLOCK_ROWS, LevelBits, scan_blocks};
use vermilion_kernels::{inner_product, inner_product_rows, l2_squared, l2_squared_rows};

use super::layout::VectorIndex;
use super::search::{Best, Prepared};
use crate::Result;
use crate::model::Space;

/// Partitions for each one expected, from which codes find them faster than all centroids do.
const CODES_FROM: usize = 8;

/// How far below its estimate a centroid's score may lie, in deviations of the estimate.
const DEVIATIONS: f32 = 1.5;

/// Blocks of centroids scanned between two looks at the limit.
const RUN_BLOCKS: u32 = 8;

/// Partitions, the nearest first.
pub(super) struct Order<'a> {
    index: &'a VectorIndex,
    query: &'a Prepared,
    /// Scores and partitions; those before `sorted` are in their order.
    partitions: Vec<(f32, u32)>,
    sorted: usize,
    given: usize,
    /// Whether `partitions` has every one.
    whole: bool,
}

impl<'a> Order<'a> {
    /// An order of which about `expected` will be asked.
    pub(super) fn new(
        index: &'a VectorIndex,
        query: &'a Prepared,
        expected: usize,
    ) -> Result<Self> {
        let count = index.header.partitions as usize;
        let mut order = Self {
            index,
            query,
            partitions: Vec::new(),
            sorted: expected.clamp(1, count),
            given: 0,
            whole: false,
        };
        if expected.saturating_mul(CODES_FROM) < count {
            order.partitions = index.nearest_by_codes(query, expected)?;
            order.sorted = order.partitions.len();
            order.partitions.sort_unstable_by(nearer);
        } else {
            order.partitions = index.partition_scores(query).into_iter().zip(0..).collect();
            order.whole = true;
            order.sort(0);
        }
        Ok(order)
    }

    /// The next partition, with the score of its centroid.
    pub(super) fn next(&mut self) -> Option<(f32, u32)> {
        if self.given == self.sorted {
            if !self.whole {
                self.complete();
            }
            if self.given == self.partitions.len() {
                return None;
            }
            self.sorted = self.partitions.len().min(self.sorted * 2);
            self.sort(self.given);
        }
        self.given += 1;
        self.partitions.get(self.given - 1).copied()
    }

    /// Adds the partitions that are not there yet.
    fn complete(&mut self) {
        let mut there = vec![false; self.index.header.partitions as usize];
        for &(_, partition) in &self.partitions {
            there[partition as usize] = true;
        }
        let scores = self.index.partition_scores(self.query);
        let others = scores.into_iter().zip(0..);
        self.partitions
            .extend(others.filter(|&(_, partition)| !there[partition as usize]));
        self.whole = true;
    }

    /// Brings those from `from` to `sorted` to their places.
    fn sort(&mut self, from: usize) {
        let rest = &mut self.partitions[from..];
        let wanted = self.sorted - from;
        if wanted < rest.len() {
            rest.select_nth_unstable_by(wanted, nearer);
        }
        rest[..wanted].sort_unstable_by(nearer);
    }
}

fn nearer(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

impl VectorIndex {
    /// For each partition the score of its centroid: what the scores of its rows begin with.
    pub(super) fn partition_scores(&self, query: &Prepared) -> Vec<f32> {
        let mut scores = vec![0.0; self.header.partitions as usize];
        let centroids = self.centroids();
        if self.header.space == Space::Ip {
            inner_product_rows(&query.turned, centroids, &mut scores);
            scores.iter_mut().for_each(|score| *score *= -2.0);
        } else {
            l2_squared_rows(&query.turned, centroids, &mut scores);
        }
        scores
    }

    /// The centroids, one after the other; the mean where there is one partition.
    fn centroids(&self) -> &[f32] {
        if self.header.partitions == 1 {
            &self.mean
        } else {
            &self.centroids
        }
    }

    /// About the `count` nearest partitions.
    fn nearest_by_codes(&self, query: &Prepared, count: usize) -> Result<Vec<(f32, u32)>> {
        let score = self.score(query, &self.mean);
        let own = self.header.partitions as usize;
        let scan = self.scan(query, DEVIATIONS, (score, own));
        let mut best = Best::new(count);
        let mut survivors = Vec::new();
        let blocks = self.header.partitions.div_ceil(BLOCK_ROWS as u32);
        for first in (0..blocks).step_by(RUN_BLOCKS as usize) {
            let run = first..blocks.min(first + RUN_BLOCKS);
            survivors.clear();
            let limit = best.limit() - score;
            scan_blocks(
                &scan,
                self.centroid_blocks(run)?,
                None,
                limit,
                &mut survivors,
            );
            for survivor in &survivors {
                if survivor.bound + score < best.limit() {
                    let partition = first * BLOCK_ROWS as u32 + survivor.slot;
                    let levels = self.centroid_levels(partition)?;
                    best.push(
                        self.score_of_levels(query, levels, LevelBits::Eight),
                        partition,
                    );
                }
            }
        }
        let padded = self.header.padded();
        let exact = best.rows().map(|(_, partition)| {
            let from = partition as usize * padded;
            let centroid = &self.centroids[from..from + padded];
            (self.score(query, centroid), partition)
        });
        Ok(exact.collect())
    }

    /// The score of a turned vector.
    fn score(&self, query: &Prepared, vector: &[f32]) -> f32 {
        if self.header.space == Space::Ip {
            -2.0 * inner_product(&query.turned, vector)
        } else {
            l2_squared(&query.turned, vector)
        }
    }
}
