//! Orders partitions by how near their centroids are to a query.
//!
//! What must stay true: an order gives every partition once, however long it is asked; scores are
//! those of the centroids themselves. Many centroids are searched as rows are, by their signs and
//! then by their levels, since a query needs few of them; only those few are compared exactly.

use vermilion_kernels::codes::{BLOCK_ROWS, LevelBits, Scan};
use vermilion_kernels::{inner_product, inner_product_rows, l2_squared, l2_squared_rows, prefetch};

use super::layout::VectorIndex;
use super::search::{Best, BlockRun, Prepared};
use crate::Result;
use crate::model::Space;

/// Partitions for each one expected, from which codes find them faster than all centroids do.
const CODES_FROM: usize = 8;

/// How far below its estimate a centroid's score may lie, in deviations of the estimate.
const DEVIATIONS: f32 = 0.2;

/// Partitions, the nearest first.
pub(super) struct Order<'a> {
    index: &'a VectorIndex,
    query: &'a Prepared,
    /// How many there are.
    count: usize,
    /// Scores and partitions; those before `sorted` are in their order.
    partitions: Vec<(f32, u32)>,
    sorted: usize,
    given: usize,
}

impl<'a> Order<'a> {
    /// An order of the partitions, of which about `expected` will be asked.
    pub(super) fn new(
        index: &'a VectorIndex,
        query: &'a Prepared,
        expected: usize,
    ) -> Result<Self> {
        let mut order = Self {
            index,
            query,
            count: index.header.partitions as usize,
            partitions: Vec::new(),
            sorted: expected.max(1),
            given: 0,
        };
        order.find()?;
        Ok(order)
    }

    /// The next partition, with the score of its centroid.
    pub(super) fn next(&mut self) -> Result<Option<(f32, u32)>> {
        if self.given == self.sorted && self.given < self.count {
            self.sorted = self.sorted.saturating_mul(4);
            self.find()?;
        }
        let next = self.partitions.get(self.given).copied();
        self.given += usize::from(next.is_some());
        Ok(next)
    }

    /// The partition that comes after the one given last, where it is known.
    pub(super) fn peek(&self) -> Option<u32> {
        let known = self.given < self.sorted;
        known.then(|| self.partitions[self.given].1)
    }

    /// Finds the nearest partitions, as many as are to be sorted, after those given before.
    fn find(&mut self) -> Result<()> {
        self.sorted = self.sorted.min(self.count);
        let by_codes = self.sorted.saturating_mul(CODES_FROM) < self.count;
        if by_codes {
            let found = self.index.nearest_by_codes(self.query, self.sorted)?;
            self.add(found.into_iter());
        } else if self.partitions.len() < self.count {
            let scores = self.index.partition_scores(self.query);
            self.add(scores.into_iter().zip(0..));
        }
        // Codes leave out a partition whose bound is no finite number: fewer are known then than
        // were to be sorted, and those left out come with the look that compares all centroids.
        self.sorted = self.sorted.min(self.partitions.len());
        let rest = &mut self.partitions[self.given..];
        let wanted = self.sorted - self.given;
        if wanted < rest.len() {
            rest.select_nth_unstable_by(wanted, |a, b| nearer(*a, *b));
        }
        rest[..wanted].sort_unstable_by(|a, b| nearer(*a, *b));
        Ok(())
    }

    /// Adds those of `found` that are not there yet.
    fn add(&mut self, found: impl Iterator<Item = (f32, u32)>) {
        if self.partitions.is_empty() {
            self.partitions = found.collect();
            return;
        }
        let mut there = vec![false; self.index.header.partitions as usize];
        for &(_, partition) in &self.partitions {
            there[partition as usize] = true;
        }
        self.partitions
            .extend(found.filter(|&(_, partition)| !there[partition as usize]));
    }
}

fn nearer(a: (f32, u32), b: (f32, u32)) -> std::cmp::Ordering {
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

    /// The score of the centroid of `partition`.
    pub(super) fn score_of_centroid(&self, query: &Prepared, partition: u32) -> f32 {
        let padded = self.header.padded();
        let from = partition as usize * padded;
        self.score(query, &self.centroids()[from..from + padded])
    }

    /// The scan of the centroids, and the score of what their codes lie around.
    pub(super) fn scan_of_centroids<'q>(
        &self,
        query: &'q Prepared,
        deviations: f32,
    ) -> (Scan<'q>, f32) {
        let score = self.score(query, &self.mean);
        let own = self.header.partitions as usize;
        (self.scan(query, deviations, (score, own)), score)
    }

    /// About the `count` nearest partitions.
    fn nearest_by_codes(&self, query: &Prepared, count: usize) -> Result<Vec<(f32, u32)>> {
        let (scan, score) = self.scan_of_centroids(query, DEVIATIONS);
        let run = BlockRun {
            scan,
            score,
            blocks: 0..self.header.partitions.div_ceil(BLOCK_ROWS as u32),
            admitted: None,
        };
        let mut best = Best::new(count);
        run.survivors(
            |run| self.centroid_blocks(run),
            (&mut best, &mut Vec::new()),
            |run, survivors, best| {
                for survivor in survivors {
                    if survivor.bound + score < best.limit() {
                        let partition = run.start * BLOCK_ROWS as u32 + survivor.slot;
                        let levels = self.centroid_levels(partition)?;
                        best.push(query.score_of_levels(levels, LevelBits::Eight), partition);
                    }
                }
                Ok(())
            },
        )?;
        let nearest = best.rows();
        let padded = self.header.padded();
        for (_, partition) in best.rows() {
            let from = partition as usize * padded;
            prefetch(bytemuck::cast_slice(
                &self.centroids[from..from + padded.min(64)],
            ));
        }
        Ok(nearest
            .map(|(_, partition)| (self.score_of_centroid(query, partition), partition))
            .collect())
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
