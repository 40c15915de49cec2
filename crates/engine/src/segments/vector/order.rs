//! Orders partitions by how near their centroids are to a query.
//!
//! What must stay true: an order gives every partition once, however long it is asked; scores are
//! those of the centroids' levels, which differ from the centroids' own by about a hundredth of what
//! the signs of a row differ from the row. Many centroids are searched as rows are, by their signs
//! first, since a query needs few of them.

use vermilion_kernels::codes::{BLOCK_ROWS, LevelBits, Scan, Survivor, scan_blocks};
use vermilion_kernels::prefetch;

use super::best::Best;
use super::layout::VectorIndex;
use super::search::{Prepared, RUN_BLOCKS};
use crate::Result;

/// Partitions for each one expected, from which signs find them faster than the levels of
/// all centroids do.
const SIGNS_FROM: usize = 8;

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
        if by_signs(self.sorted, self.count) {
            let found = self.index.nearest_by_signs(self.query, self.sorted)?;
            self.add(found);
        } else if self.partitions.len() < self.count {
            let scores = self.index.partition_scores(self.query)?;
            self.add(scores.into_iter().zip(0..));
        }
        // Signs leave out a partition whose bound is no finite number: fewer are known then than
        // were to be sorted, and those left out come with the look at the levels of all centroids.
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

/// Whether signs find `wanted` of `count` partitions faster than the levels of all do.
fn by_signs(wanted: usize, count: usize) -> bool {
    wanted.saturating_mul(SIGNS_FROM) < count
}

fn nearer(a: (f32, u32), b: (f32, u32)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

impl VectorIndex {
    /// For each partition the score of its centroid by its levels: what the scores of its rows begin
    /// with.
    pub(super) fn partition_scores(&self, query: &Prepared) -> Result<Vec<f32>> {
        if self.header.partitions == 1 {
            return Ok(vec![query.level_base]);
        }
        let levels = self.all_centroid_levels()?;
        let each = levels.chunks_exact(self.header.centroid_level_bytes());
        Ok(each
            .map(|levels| query.score_of_levels(levels, LevelBits::Eight))
            .collect())
    }

    /// The scan of the centroids, whose codes lie around the mean.
    pub(super) fn scan_of_centroids<'q>(&self, query: &'q Prepared, deviations: f32) -> Scan<'q> {
        let own = self.header.partitions as usize;
        self.scan(query, deviations, (query.level_base, own))
    }

    /// About the `count` partitions that are nearest to a query.
    fn nearest_by_signs(
        &self,
        query: &Prepared,
        count: usize,
    ) -> Result<impl Iterator<Item = (f32, u32)> + use<>> {
        let scan = self.scan_of_centroids(query, DEVIATIONS);
        let (mut best, mut limit) = (Best::new(count), f32::INFINITY);
        let (mut survivors, mut before) = (Vec::new(), 0);
        let all = 0..self.header.partitions.div_ceil(BLOCK_ROWS as u32);
        for first in all.clone().step_by(RUN_BLOCKS) {
            let end = all.end.min(first + RUN_BLOCKS as u32);
            let blocks = self.centroid_blocks(first..end)?;
            scan_blocks(&scan, blocks, None, limit, &mut survivors);
            for survivor in &mut survivors[before..] {
                survivor.slot += first * BLOCK_ROWS as u32;
            }
            if survivors.len() >= CENTROIDS_WAITING || end == all.end {
                self.look_at_centroids(query, &mut survivors, &mut best)?;
                limit = best.limit() - query.level_base;
            }
            before = survivors.len();
        }
        let found = best.heap.into_iter();
        Ok(found.map(|scored| (scored.score, scored.row)))
    }

    /// Offers the centroids that survived a scan, those of `survivors`, to `best` by their levels.
    fn look_at_centroids(
        &self,
        query: &Prepared,
        survivors: &mut Vec<Survivor>,
        best: &mut Best,
    ) -> Result<()> {
        let likeliest = best.likeliest(survivors);
        let (likeliest, others) = survivors.split_at(likeliest);
        for some in [likeliest, others] {
            let limit = best.limit() - query.level_base;
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
}
