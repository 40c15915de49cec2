//! Orders partitions by how near their centroids are to a query.
//!
//! What must stay true: an order gives every partition once, however long it is asked; scores are
//! those of the centroids themselves. Many centroids are searched as rows are, by their signs and
//! then by their levels, since a query needs few of them; only those few are compared exactly.

use std::slice::from_ref;

use vermilion_kernels::codes::{BLOCK_ROWS, LevelBits, Scan, Survivor, scan_blocks_each};
use vermilion_kernels::{inner_product, inner_product_rows, l2_squared, l2_squared_rows, prefetch};

use super::best::Best;
use super::layout::VectorIndex;
use super::search::{Prepared, RUN_BLOCKS};
use crate::model::Space;
use crate::{Error, Result};

/// Partitions for each one expected, from which codes find them faster than all centroids do.
const CODES_FROM: usize = 8;

/// Centroids that survive scans before their levels are looked at, the likeliest first: the more
/// wait, the fewer have to be.
const CENTROIDS_WAITING: usize = 64;

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
        let mut orders = Self::each(index, from_ref(query), expected)?;
        orders
            .pop()
            .ok_or_else(|| Error::internal("a query got no order of partitions"))
    }

    /// For each of `queries` such an order; codes are read once for all.
    pub(super) fn each(
        index: &'a VectorIndex,
        queries: &'a [Prepared],
        expected: usize,
    ) -> Result<Vec<Self>> {
        let (count, sorted) = (index.header.partitions as usize, expected.max(1));
        let mut found = Vec::new();
        if by_codes(sorted.min(count), count) {
            found = index.nearest_by_codes(queries, sorted)?;
        }
        found.resize_with(queries.len(), Vec::new);
        let orders = queries.iter().zip(found).map(|(query, partitions)| {
            let mut order = Self {
                index,
                query,
                count,
                partitions,
                sorted,
                given: 0,
            };
            order.find()?;
            Ok(order)
        });
        orders.collect()
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
        if by_codes(self.sorted, self.count) {
            if self.given > 0 || self.partitions.is_empty() {
                let found = (self.index).nearest_by_codes(from_ref(self.query), self.sorted)?;
                self.add(found.into_iter().flatten());
            }
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

/// Whether codes find `wanted` of `count` partitions faster than all centroids do.
fn by_codes(wanted: usize, count: usize) -> bool {
    wanted.saturating_mul(CODES_FROM) < count
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

    /// For each of `queries` about the `count` nearest partitions. Each run of blocks is scanned for
    /// all queries while it is in a near cache.
    fn nearest_by_codes(&self, queries: &[Prepared], count: usize) -> Result<Vec<Vec<(f32, u32)>>> {
        let (scans, scores): (Vec<Scan<'_>>, Vec<f32>) = queries
            .iter()
            .map(|query| self.scan_of_centroids(query, DEVIATIONS))
            .unzip();
        let mut bests: Vec<Best> = queries.iter().map(|_| Best::new(count)).collect();
        let mut limits = vec![f32::INFINITY; queries.len()];
        let mut survivors = vec![Vec::new(); queries.len()];
        let mut before = vec![0; queries.len()];
        let all = 0..self.header.partitions.div_ceil(BLOCK_ROWS as u32);
        for first in all.clone().step_by(RUN_BLOCKS) {
            let end = all.end.min(first + RUN_BLOCKS as u32);
            let blocks = self.centroid_blocks(first..end)?;
            scan_blocks_each(&scans, blocks, None, &limits, &mut survivors);
            for (at, survivors) in survivors.iter_mut().enumerate() {
                for survivor in &mut survivors[before[at]..] {
                    survivor.slot += first * BLOCK_ROWS as u32;
                }
                if survivors.len() >= CENTROIDS_WAITING || end == all.end {
                    let (best, score) = (&mut bests[at], scores[at]);
                    self.look_at_centroids(&queries[at], score, survivors, best)?;
                    limits[at] = best.limit() - score;
                }
                before[at] = survivors.len();
            }
        }
        let nearest = queries.iter().zip(&bests).enumerate();
        let nearest = nearest.map(|(at, (query, best))| {
            if at == 0 {
                self.prefetch_centroids(best);
            }
            if let Some(next) = bests.get(at + 1) {
                self.prefetch_centroids(next);
            }
            self.exact_centroids(query, best)
        });
        Ok(nearest.collect())
    }

    /// Offers the centroids that survived a scan, those of `survivors`, to `best` by their levels;
    /// `score` is that of what their codes lie around.
    fn look_at_centroids(
        &self,
        query: &Prepared,
        score: f32,
        survivors: &mut Vec<Survivor>,
        best: &mut Best,
    ) -> Result<()> {
        let likeliest = best.likeliest(survivors);
        let (likeliest, others) = survivors.split_at(likeliest);
        for some in [likeliest, others] {
            let limit = best.limit() - score;
            let near = || some.iter().filter(|survivor| survivor.bound < limit);
            for survivor in near() {
                prefetch(self.centroid_levels(survivor.slot)?);
            }
            for survivor in near() {
                let levels = self.centroid_levels(survivor.slot)?;
                let score = query.score_of_levels(levels, LevelBits::Eight);
                best.push(score, survivor.slot);
            }
        }
        survivors.clear();
        Ok(())
    }

    fn prefetch_centroids(&self, nearest: &Best) {
        let padded = self.header.padded();
        for (_, partition) in nearest.rows() {
            let from = partition as usize * padded;
            prefetch(bytemuck::cast_slice(
                &self.centroids[from..from + padded.min(64)],
            ));
        }
    }

    /// The partitions in `nearest` with the exact scores of their centroids.
    fn exact_centroids(&self, query: &Prepared, nearest: &Best) -> Vec<(f32, u32)> {
        let partitions = nearest.rows().map(|(_, partition)| partition);
        partitions
            .map(|partition| (self.score_of_centroid(query, partition), partition))
            .collect()
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
