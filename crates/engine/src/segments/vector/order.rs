//! Orders partitions by how near their centroids are to a query.
//!
//! What must stay true: an order gives every partition once, however long it is asked; scores are
//! those of the centroids themselves. Many centroids are searched as rows are, by their signs and
//! then by their levels, since a query needs few of them; only those few are compared exactly.

use vermilion_kernels::codes::{BLOCK_ROWS, LevelBits};
use vermilion_kernels::{inner_product, inner_product_rows, l2_squared, l2_squared_rows, prefetch};

use super::layout::VectorIndex;
use super::mask::{Mask, bits, count};
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
    /// A bit for each partition that is wanted; `None` where all are.
    wanted: Option<Vec<u32>>,
    /// How many are wanted.
    count: usize,
    /// Scores and partitions; those before `sorted` are in their order.
    partitions: Vec<(f32, u32)>,
    sorted: usize,
    given: usize,
}

impl<'a> Order<'a> {
    /// An order of the partitions with rows that `mask` admits, of which about `expected` will be
    /// asked.
    pub(super) fn new(
        index: &'a VectorIndex,
        query: &'a Prepared,
        expected: usize,
        mask: Option<&Mask>,
    ) -> Result<Self> {
        let wanted = mask.map(|mask| index.partitions_of(mask));
        let all = index.header.partitions as usize;
        let count = wanted.as_deref().map_or(all, |words| count(words) as usize);
        let mut order = Self {
            index,
            query,
            wanted,
            count,
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
            let found =
                self.index
                    .nearest_by_codes(self.query, self.sorted, self.wanted.as_deref())?;
            self.add(found.into_iter());
        } else if self.partitions.len() < self.count {
            let found = self.index.scores_of(self.query, self.wanted.as_deref());
            self.add(found.into_iter());
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

    /// The scores of the centroids of the partitions that are `wanted`.
    fn scores_of(&self, query: &Prepared, wanted: Option<&[u32]>) -> Vec<(f32, u32)> {
        match wanted {
            None => self.partition_scores(query).into_iter().zip(0..).collect(),
            Some(words) => bits(words)
                .map(|partition| (self.score_of_centroid(query, partition), partition))
                .collect(),
        }
    }

    fn score_of_centroid(&self, query: &Prepared, partition: u32) -> f32 {
        let padded = self.header.padded();
        let from = partition as usize * padded;
        self.score(query, &self.centroids()[from..from + padded])
    }

    /// A bit for each partition that has a row which `mask` admits.
    fn partitions_of(&self, mask: &Mask) -> Vec<u32> {
        let partitions = self.header.partitions;
        let mut words = vec![0; partitions.div_ceil(32) as usize];
        for (partition, ends) in self.first_blocks.windows(2).enumerate() {
            if mask.words(ends[0]..ends[1]).iter().any(|&word| word != 0) {
                words[partition / 32] |= 1 << (partition % 32);
            }
        }
        words
    }

    /// About the `count` nearest of the partitions that are `wanted`.
    fn nearest_by_codes(
        &self,
        query: &Prepared,
        count: usize,
        wanted: Option<&[u32]>,
    ) -> Result<Vec<(f32, u32)>> {
        let score = self.score(query, &self.mean);
        let own = self.header.partitions as usize;
        let run = BlockRun {
            scan: self.scan(query, DEVIATIONS, (score, own)),
            score,
            blocks: 0..self.header.partitions.div_ceil(BLOCK_ROWS as u32),
            admitted: wanted,
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
