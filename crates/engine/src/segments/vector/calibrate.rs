//! Finds out, when an index is built, what a recall needs: how many partitions, how deep a list of
//! candidates, how wide a bound.
//!
//! What must stay true: some rows of the index are the queries, each without itself. Their true
//! neighbours are taken from the best rows by levels, compared exactly. What may be missed at a
//! recall is divided among partitions, levels and signs, so that together they keep it. Rows at
//! the same distance as the last neighbour count as neighbours, or duplicates would ask for
//! everything.

use vermilion_kernels::codes::{BLOCK_ROWS, scan_blocks};

use super::cluster::Random;
use super::layout::{Knobs, RECALLS, VectorIndex};
use super::search::{Best, Prepared, Scored};
use super::space::exact_distance;
use crate::Result;

/// Rows of an index that are searched for.
const QUERIES: usize = 64;

/// Neighbours of each that must be found.
pub(super) const NEIGHBOURS: usize = 10;

/// Best rows by levels among which the neighbours are looked for.
const CANDIDATES: usize = 256;

/// The widest bound, in deviations of the estimate.
pub(super) const DEVIATIONS_MAX: f32 = 4.0;

/// Candidates and deviations added to what the index's own rows need: queries differ from them.
const CANDIDATES_MORE: u32 = 3;
const DEVIATIONS_MORE: f32 = 0.1;

/// What one query needs.
struct Needs {
    /// Scores by levels, best first.
    scores: Vec<f32>,
    /// For each neighbour its score by signs, and what one deviation of it is.
    signs: Vec<(f32, f32)>,
}

impl VectorIndex {
    /// For each of the known recalls what a search needs; `rows` are the raw vectors.
    pub(super) fn calibrate(&self, rows: &[f32]) -> Result<[Knobs; RECALLS.len()]> {
        let slots = self.slots()?;
        let dimension = self.header.dimension;
        let (mut depths, mut probes, mut needs) = (Vec::new(), Vec::new(), Vec::new());
        for at in Random::new(self.header.seed).sample(QUERIES, self.header.rows as usize) {
            let query = &rows[at * dimension..(at + 1) * dimension];
            let prepared = self.prepare(query);
            let others = (0..self.header.rows).filter(|&other| other as usize != at);
            let mut best = Best::new(CANDIDATES);
            self.search_rows(&prepared, others, &mut best)?;
            let best = best.heap.into_sorted_vec();
            let exact = |scored: &Scored| {
                let from = scored.row as usize * dimension;
                exact_distance(self.header.space, query, &rows[from..from + dimension])
            };
            let neighbours = neighbours(&best.iter().map(exact).collect::<Vec<_>>());
            depths.extend(neighbours.iter().map(|&rank| rank as f32 + 1.0));
            let centroids = self.partition_scores(&prepared);
            let mut signs = Vec::new();
            for &rank in &neighbours {
                let slot = slots[best[rank].row as usize];
                let own = self.partition_of(slot);
                let nearer = centroids.iter().filter(|&&score| score < centroids[own]);
                probes.push(nearer.count() as f32 + 1.0);
                signs.push(self.sign_score(&prepared, slot, own, centroids[own])?);
            }
            let scores = best.iter().map(|scored| scored.score).collect();
            needs.push(Needs { scores, signs });
        }
        depths.sort_unstable_by(f32::total_cmp);
        probes.sort_unstable_by(f32::total_cmp);
        Ok(RECALLS.map(|recall| {
            let missed = 1.0 - recall;
            let flat = self.header.partitions == 1;
            let part = if flat { missed / 2.0 } else { missed / 4.0 };
            let depth = at_share(&depths, 1.0 - part) as u32;
            let extra = depth.saturating_sub(NEIGHBOURS as u32) + CANDIDATES_MORE;
            Knobs {
                probes: (at_share(&probes, 1.0 - missed / 2.0) as u32).max(1),
                extra,
                deviations: deviations(&needs, NEIGHBOURS + extra as usize, 1.0 - part),
            }
        }))
    }

    /// For each row its slot.
    pub(super) fn slots(&self) -> Result<Vec<u32>> {
        let mut slots: Vec<u32> = (0..self.header.rows).collect();
        if let Some(rows) = self.slot_rows(0..self.header.blocks)? {
            for (slot, row) in (0..).zip(rows) {
                if let Some(own) = slots.get_mut(u32::from_le_bytes(*row) as usize) {
                    *own = slot;
                }
            }
        }
        Ok(slots)
    }

    pub(super) fn partition_of(&self, slot: u32) -> usize {
        let block = slot / BLOCK_ROWS as u32;
        self.first_blocks.partition_point(|&first| first <= block) - 1
    }

    /// The score of a row by its signs, and what one deviation of it is.
    pub(super) fn sign_score(
        &self,
        query: &Prepared,
        slot: u32,
        partition: usize,
        centroid_score: f32,
    ) -> Result<(f32, f32)> {
        let block = slot / BLOCK_ROWS as u32;
        let codes = self.blocks(block..block + 1)?;
        let bound = |deviations: f32| {
            let scan = self.scan(query, deviations, (centroid_score, partition));
            let mut all = Vec::new();
            scan_blocks(&scan, codes, None, f32::INFINITY, &mut all);
            let own = all
                .iter()
                .find(|survivor| survivor.slot == slot % BLOCK_ROWS as u32);
            own.map_or(f32::NEG_INFINITY, |survivor| {
                survivor.bound + centroid_score
            })
        };
        let score = bound(0.0);
        Ok((score, score - bound(1.0)))
    }
}

/// The ranks of the rows that are no farther than the last neighbour, as many as neighbours;
/// `distances` are by rank.
fn neighbours(distances: &[f32]) -> Vec<usize> {
    let mut sorted = distances.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let Some(&last) = sorted.get(NEIGHBOURS.min(sorted.len()).wrapping_sub(1)) else {
        return Vec::new();
    };
    let ranks = distances
        .iter()
        .enumerate()
        .filter(|&(_, &distance)| distance <= last);
    ranks.map(|(rank, _)| rank).take(NEIGHBOURS).collect()
}

/// How wide the bound must be so that `share` of the neighbours pass a limit at `depth`.
fn deviations(needs: &[Needs], depth: usize, share: f32) -> f32 {
    let mut wanted = Vec::new();
    for need in needs {
        let limit = need.scores.get(depth - 1).copied().unwrap_or(f32::INFINITY);
        wanted.extend(need.signs.iter().map(|&(score, one)| {
            if score <= limit {
                0.0
            } else if one > 0.0 {
                ((score - limit) / one).min(DEVIATIONS_MAX)
            } else {
                DEVIATIONS_MAX
            }
        }));
    }
    wanted.sort_unstable_by(f32::total_cmp);
    at_share(&wanted, share) + DEVIATIONS_MORE
}

/// The number that `share` of the ascending `numbers` do not exceed; 0 where there are none.
fn at_share(numbers: &[f32], share: f32) -> f32 {
    let at = (numbers.len() as f32 * share).ceil() as usize;
    numbers.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}
