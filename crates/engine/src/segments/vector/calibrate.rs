//! Finds out, when an index is built, what a recall needs: how many partitions, how deep a list of
//! candidates, how wide a bound.
//!
//! What must stay true: the queries are some rows of the index, each without itself, and as many
//! points between two rows, because queries often are no records and then lie apart from them. Where
//! some real queries are known, what they need is kept too, however few they are.
//! Their true neighbours are taken from the best rows by levels, compared exactly, or from all rows where
//! levels do not tell them apart. What may be missed
//! at a recall is divided among partitions, levels and signs, so that together they keep it. Rows at
//! the same distance as the last neighbour count as neighbours, or duplicates would ask for
//! everything.

use std::ops::Range;

use vermilion_kernels::codes::{BLOCK_ROWS, scan_blocks};

use super::best::{Best, Scored};
use super::build::{HelpersWhile, THREAD_NAME, stopped};
use super::cluster::Random;
use super::layout::{Knobs, RECALLS, VectorIndex, row_of_slot};
use super::order::Order;
use super::search::Prepared;
use super::space::{exact_distance, farness};
use super::walk::Reach;
use crate::Result;
use crate::helper_threads::split;
use crate::model::Space;

/// Rows of an index that are searched for.
const QUERIES: usize = 64;

/// Neighbours of each that must be found.
pub(super) const NEIGHBOURS: usize = 10;

/// How far from one row to another the points between them are.
const STRANGENESS: f32 = 0.4;

/// Partitions in which neighbours are looked for.
const PARTITIONS_MAX: usize = 1024;

/// Best rows by levels among which the neighbours are looked for, and how many there are at most:
/// where one is found far down, others may be further, and it is looked for among more.
const CANDIDATES: usize = 256;
const CANDIDATES_MOST: usize = 4096;

/// Numbers of an index up to which all rows are compared where the neighbours of a query are not to be had
/// otherwise: a second or so for each.
const ALL_NUMBERS_MAX: usize = 1 << 30;
/// Rows compared between two questions whether to go on.
const ALL_ROWS: usize = 512;
/// Scores that are kept of a query, beyond those of its neighbours.
const SCORES_MOST: usize = 1 << 16;

/// The widest bound, in deviations of the estimate.
pub(super) const DEVIATIONS_MAX: f32 = 4.0;

/// What each setting may miss of all that may be missed, the most first: the first with which all
/// together miss few is taken.
const SHARES: [f32; 7] = [0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25];

/// What all settings together may miss of it: the rest is left to queries that lie otherwise.
const SHARE_OF_ALL: f32 = 0.6;

/// What the cosine may miss of it: a filter meets rows that lie otherwise than those of the index.
const COSINE_SHARE: f32 = 0.3;

/// Candidates and deviations added to what the index's own rows need: queries differ from them.
const CANDIDATES_MORE: u32 = 3;
const DEVIATIONS_MORE: f32 = 0.1;

/// What one query needs.
struct Needs {
    /// Scores by levels, best first.
    scores: Vec<f32>,
    /// The neighbours.
    neighbours: Vec<Neighbour>,
}

/// The rows by levels, as far as they were looked at.
struct Ranking {
    /// The neighbours: their ranks and rows.
    neighbours: Vec<(usize, u32)>,
    /// The scores, best first.
    scores: Vec<f32>,
}

/// What finding one row takes.
struct Neighbour {
    /// Its rank by levels.
    rank: usize,
    /// Its partition, and the score of the centroid.
    partition: usize,
    centroid_score: f32,
    /// How many partitions are nearer, and how much nearer the nearest is.
    nearer: usize,
    gap: f32,
    /// Its score by signs, and what one deviation of it is.
    signs: (f32, f32),
}

impl VectorIndex {
    /// For each of the known recalls what a search needs; `rows` are the raw vectors, `asked` some
    /// that were asked for.
    pub(super) fn calibrate(
        &self,
        rows: &[f32],
        asked: &[f32],
        (helpers, go_on): HelpersWhile<'_>,
    ) -> Result<[Knobs; RECALLS.len()]> {
        let slots = self.slots()?;
        let dimension = self.header.dimension;
        let row = |at: usize| &rows[at * dimension..(at + 1) * dimension];
        let mut random = Random::new(self.header.seed);
        let own = random.sample(QUERIES, self.header.rows as usize);
        let mut queries: Vec<(Vec<f32>, Option<u32>)> = own
            .iter()
            .map(|&at| (row(at).to_vec(), Some(at as u32)))
            .collect();
        for &at in &own {
            let other = row(random.below(self.header.rows as usize));
            let between = row(at).iter().zip(other);
            let between = between.map(|(a, b)| a + STRANGENESS * (b - a));
            queries.push((between.collect(), None));
        }
        let asked = asked.chunks_exact(dimension);
        let asked = asked.filter(|query| self.can_rank(query));
        let made = queries.len();
        queries.extend(asked.map(|query| (query.to_vec(), None)));
        let mut needs = split(
            helpers,
            THREAD_NAME,
            queries,
            go_on,
            |(query, row), go_on| {
                if !go_on() {
                    return Err(stopped());
                }
                self.needs((&query, row), rows, &slots, go_on)
            },
        )?;
        let asked = needs.split_off(made);
        Ok(RECALLS.map(|recall| {
            let knobs = self.knobs_for(&needs, own.len(), recall);
            if asked.is_empty() {
                knobs
            } else {
                knobs.most(&self.knobs_for(&asked, 0, recall))
            }
        }))
    }

    /// The knobs that keep `recall` for those of `needs`.
    fn knobs_for(&self, needs: &[Needs], own: usize, recall: f32) -> Knobs {
        // What one setting misses another often misses too, so each may miss more than its share
        // as long as all together miss few.
        let most = 1.0 - recall;
        let mut knobs = Knobs::default();
        for share in SHARES {
            knobs = self.knobs(needs, most * share);
            if kept(needs, &knobs) >= 1.0 - most * SHARE_OF_ALL {
                break;
            }
        }
        // A query is to the rows that a mask admits what a stranger is to all.
        let cosines = all(&needs[own..]).map(|(need, one)| {
            let limit = need.limit(knobs.depth());
            self.needed_cosine(one.centroid_score, one.partition, limit)
        });
        knobs.cosine = at_share(cosines, 1.0 - most * COSINE_SHARE);
        knobs
    }

    /// The knobs, but for the cosine, of which each misses `missed` of the neighbours.
    fn knobs(&self, needs: &[Needs], missed: f32) -> Knobs {
        let depth = at_share(
            all(needs).map(|(_, one)| one.rank as f32 + 1.0),
            1.0 - missed,
        );
        let extra = (depth as u32).saturating_sub(NEIGHBOURS as u32) + CANDIDATES_MORE;
        let probes = at_share(
            all(needs).map(|(_, one)| one.nearer as f32 + 1.0),
            1.0 - missed,
        );
        let mut knobs = Knobs {
            probes: probes.max(1.0) as u32,
            extra,
            ..Knobs::default()
        };
        let depth = knobs.depth();
        let wanted = all(needs).map(|(need, one)| one.deviations(need.limit(depth)));
        knobs.deviations = at_share(wanted, 1.0 - missed) + DEVIATIONS_MORE;
        knobs.gap = self.gap(needs, &Reach::new(&knobs), missed);
        knobs
    }

    /// The gap with which a search that reaches as far as `reach` misses `missed` of the neighbours.
    /// Inner products have none: how far they fall from one partition to the next depends on the
    /// lengths of the vectors there.
    fn gap(&self, needs: &[Needs], reach: &Reach, missed: f32) -> f32 {
        if self.header.space == Space::Ip {
            return f32::INFINITY;
        }
        let gaps = all(needs).map(|(_, one)| {
            if one.nearer < reach.surely() {
                0.0
            } else if one.nearer < reach.at_most() {
                one.gap
            } else {
                f32::INFINITY
            }
        });
        at_share(gaps, 1.0 - missed)
    }

    /// What `query` needs; `own` is the row that it is, if any, which is no neighbour.
    fn needs(
        &self,
        (query, own): (&[f32], Option<u32>),
        rows: &[f32],
        slots: &[u32],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Needs> {
        let prepared = self.prepare(query);
        let centroids = self.partition_scores(&prepared)?;
        let (is_certain, mut ranking) = self.ranking(&prepared, (query, own), rows)?;
        if !is_certain && rows.len() <= ALL_NUMBERS_MAX {
            ranking = self.ranking_of_all(&prepared, (query, own), rows, slots, go_on)?;
        }
        let nearest = farness(centroids.iter().copied().fold(f32::INFINITY, f32::min));
        let neighbours = ranking.neighbours.into_iter().map(|(rank, row)| {
            let slot = slots[row as usize];
            let partition = self.partition_of(slot);
            let score = centroids[partition];
            Ok(Neighbour {
                rank,
                partition,
                centroid_score: score,
                nearer: centroids.iter().filter(|&&other| other < score).count(),
                gap: farness(score) - nearest,
                signs: self.sign_score(&prepared, slot, partition, score)?,
            })
        });
        Ok(Needs {
            neighbours: neighbours.collect::<Result<_>>()?,
            scores: ranking.scores,
        })
    }

    /// The neighbours of a query among the best rows by levels; whether they are likely to be all there.
    fn ranking(
        &self,
        prepared: &Prepared,
        (query, own): (&[f32], Option<u32>),
        rows: &[f32],
    ) -> Result<(bool, Ranking)> {
        let dimension = self.header.dimension;
        let mut depth = CANDIDATES;
        loop {
            let mut best = self.ranked(prepared, depth)?;
            let is_all = best.len() < depth;
            best.retain(|scored| Some(scored.row) != own);
            let exact = |scored: &Scored| {
                let from = scored.row as usize * dimension;
                exact_distance(self.header.space, query, &rows[from..from + dimension])
            };
            let ranks = neighbours(&best.iter().map(exact).collect::<Vec<_>>());
            let deepest = ranks.last().copied().unwrap_or(0);
            let is_certain = is_all || deepest * 2 < best.len();
            if is_certain || depth >= CANDIDATES_MOST {
                let ranking = Ranking {
                    neighbours: ranks.iter().map(|&rank| (rank, best[rank].row)).collect(),
                    scores: best.iter().map(|scored| scored.score).collect(),
                };
                return Ok((is_certain, ranking));
            }
            depth *= 4;
        }
    }

    /// The neighbours of a query among all rows. Levels are of the distance from the mean of all: rows of a
    /// group that lies much closer together than the whole look alike to them, and its neighbours are anywhere
    /// in it.
    fn ranking_of_all(
        &self,
        prepared: &Prepared,
        (query, own): (&[f32], Option<u32>),
        rows: &[f32],
        slots: &[u32],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Ranking> {
        let mut ranked = Vec::with_capacity(slots.len());
        for (row, vector) in (0..).zip(rows.chunks_exact(self.header.dimension)) {
            if (row as usize).is_multiple_of(ALL_ROWS) && !go_on() {
                return Err(stopped());
            }
            if Some(row) != own {
                let score = self.level_score(prepared, slots[row as usize])?;
                let distance = exact_distance(self.header.space, query, vector);
                ranked.push((score, row, distance));
            }
        }
        ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let ranks = neighbours(&ranked.iter().map(|one| one.2).collect::<Vec<_>>());
        let deepest = ranks.last().copied().unwrap_or(0);
        let scores = ranked.iter().take(SCORES_MOST.max(deepest + 1));
        Ok(Ranking {
            neighbours: ranks.iter().map(|&rank| (rank, ranked[rank].1)).collect(),
            scores: scores.map(|one| one.0).collect(),
        })
    }

    /// The `depth` best rows by levels of the partitions nearest to `query`, best first.
    fn ranked(&self, query: &Prepared, depth: usize) -> Result<Vec<Scored>> {
        let mut best = Best::new(depth);
        let mut order = Order::new(self, query, PARTITIONS_MAX)?;
        for _ in 0..PARTITIONS_MAX {
            let Some((_, partition)) = order.next()? else {
                break;
            };
            let blocks = self.blocks_of_partition(partition as usize);
            self.search_slots(query, self.slots_of(blocks), &mut best)?;
        }
        Ok(best.heap.into_sorted_vec())
    }

    /// The slots of `blocks` that have a row.
    fn slots_of(&self, blocks: Range<u32>) -> impl Iterator<Item = u32> {
        let slots = blocks.start * BLOCK_ROWS as u32..blocks.end * BLOCK_ROWS as u32;
        let rows = self.slot_rows(blocks.clone()).ok().flatten();
        let first = blocks.start;
        slots.filter(move |slot| {
            let at = slot - first * BLOCK_ROWS as u32;
            row_of_slot(rows, first, at) < self.header.rows
        })
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

impl Knobs {
    /// Candidates to keep for [`NEIGHBOURS`].
    fn depth(&self) -> usize {
        NEIGHBOURS + self.extra as usize
    }
}

impl Neighbour {
    /// How wide the bound must be for it to pass `limit`.
    fn deviations(&self, limit: f32) -> f32 {
        let (score, deviation) = self.signs;
        if score <= limit {
            0.0
        } else if deviation > 0.0 {
            ((score - limit) / deviation).min(DEVIATIONS_MAX)
        } else {
            DEVIATIONS_MAX
        }
    }
}

/// The share of the neighbours that a search with `knobs` finds.
fn kept(needs: &[Needs], knobs: &Knobs) -> f32 {
    let (depth, reach) = (knobs.depth(), Reach::new(knobs));
    let found = all(needs).filter(|(need, one)| {
        one.rank < depth
            && reach.includes(one.nearer, one.gap)
            && one.deviations(need.limit(depth)) <= knobs.deviations
    });
    found.count() as f32 / all(needs).count().max(1) as f32
}

/// Every neighbour, with the needs of its query.
fn all(needs: &[Needs]) -> impl Iterator<Item = (&Needs, &Neighbour)> {
    needs
        .iter()
        .flat_map(|need| need.neighbours.iter().map(move |one| (need, one)))
}

impl Needs {
    /// The score that a search which keeps `depth` rows ends with.
    fn limit(&self, depth: usize) -> f32 {
        self.scores.get(depth - 1).copied().unwrap_or(f32::INFINITY)
    }
}

/// The number that `share` of `numbers` do not exceed; 0 where there are none.
fn at_share(numbers: impl Iterator<Item = f32>, share: f32) -> f32 {
    let mut numbers: Vec<f32> = numbers.collect();
    if numbers.is_empty() {
        return 0.0;
    }
    let at = (numbers.len() as f32 * share).ceil() as usize;
    *numbers
        .select_nth_unstable_by(at.saturating_sub(1), f32::total_cmp)
        .1
}
