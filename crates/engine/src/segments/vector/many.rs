//! Finds the rows nearest to each of several queries at once.
//!
//! What must stay true: each query is offered the rows that it would be offered alone, from the
//! same partitions; only the order differs, in which partitions and rows are looked at. Memory
//! grows with the queries given, by some ten times their own bytes.
//!
//! The queries go in waves. In a wave each names the partitions that it looks at next, few at first,
//! so that what is nearest narrows the rest, then more. A partition is scanned for all that named
//! it while its blocks are in a near cache, and the one after it is asked from memory meanwhile, as
//! are the levels of the rows that survive: these are looked at after the next scan.

use vermilion_kernels::codes::{BLOCK_ROWS, Scan, Survivor, scan_blocks_each};
use vermilion_kernels::prefetch;

use super::best::Best;
use super::filtered::Waiting;
use super::layout::VectorIndex;
use super::mask::Mask;
use super::search::{Effort, Prepared, RUN_BLOCKS};
use super::walk::Walk;
use crate::{Error, Result};

/// Partitions that each query names in the first wave; each wave has twice as many as the one before.
/// The nearest come first, as for a query alone: with more at once, rows of near partitions meet a
/// limit that far ones have narrowed, and a little of the recall is lost.
const FIRST_WAVE: usize = 1;

/// Blocks of the next partition that are asked from memory.
const BLOCKS_AHEAD: u32 = 4;

/// A query on its way.
struct Seeker<'a> {
    query: &'a Prepared,
    walk: Walk<'a>,
    waiting: Waiting,
    best: &'a mut Best,
    arrived: bool,
}

/// A partition that a seeker looks at in this wave; its centroid has the score.
#[derive(Clone, Copy)]
struct Named {
    partition: u32,
    seeker: u32,
    score: f32,
}

/// A row whose levels are on their way from memory, with its bound.
struct Pending {
    seeker: u32,
    slot: u32,
    bound: f32,
}

/// Several queries on their way through one index.
struct Travel<'a> {
    index: &'a VectorIndex,
    effort: &'a Effort,
    mask: Option<&'a Mask>,
    seekers: Vec<Seeker<'a>>,
    pending: Vec<Pending>,
    survivors: Vec<Vec<Survivor>>,
}

impl VectorIndex {
    /// As [`Self::search_into`] for each of `queries`, with its own best rows. As they share what is
    /// read of the index, many cost less than one after the other; what they are made ready to is
    /// held for all of them, so that some tens at a time are best.
    pub fn search_each(
        &self,
        queries: &[&[f32]],
        effort: &Effort,
        mask: Option<&Mask>,
        part: u32,
        bests: &mut [Best],
    ) -> Result<()> {
        if queries.len() != bests.len() {
            return Err(Error::internal(format!(
                "{} queries have {} lists of best rows",
                queries.len(),
                bests.len()
            )));
        }
        queries.iter().try_for_each(|query| self.check(query))?;
        bests.iter_mut().for_each(|best| best.part = part);
        let prepared: Vec<Prepared> = queries.iter().map(|query| self.prepare(query)).collect();
        if let Some(mask) = mask.filter(|mask| self.is_listed(mask)) {
            let mut each = prepared.iter().zip(bests);
            each.try_for_each(|(query, best)| self.search_all_admitted(query, mask, best))
        } else {
            self.search_partitions_each(&prepared, effort, mask, bests)
        }
    }

    /// Offers for each query the rows of the nearest partitions that `mask` admits to its best.
    pub(super) fn search_partitions_each(
        &self,
        queries: &[Prepared],
        effort: &Effort,
        mask: Option<&Mask>,
        bests: &mut [Best],
    ) -> Result<()> {
        let walks = Walk::each(self, queries, effort, mask)?;
        let seekers = queries.iter().zip(walks).zip(bests);
        let seekers = seekers.map(|((query, walk), best)| Seeker {
            query,
            walk,
            waiting: Waiting::default(),
            best,
            arrived: false,
        });
        let mut travel = Travel {
            index: self,
            effort,
            mask,
            seekers: seekers.collect(),
            pending: Vec::new(),
            survivors: vec![Vec::new(); queries.len()],
        };
        let (mut share, mut named) = (FIRST_WAVE, Vec::new());
        while travel.name_next(share, &mut named)? {
            travel.scan_wave(&mut named)?;
            share = share.saturating_mul(2);
        }
        Ok(())
    }
}

impl Travel<'_> {
    /// Has each seeker name its next partitions, `share` of them or as many as it can foresee;
    /// `false` once all have arrived.
    fn name_next(&mut self, share: usize, named: &mut Vec<Named>) -> Result<bool> {
        named.clear();
        let (index, mask) = (self.index, self.mask);
        for (number, seeker) in (0..).zip(&mut self.seekers) {
            for _ in 0..share.min(seeker.walk.ahead().max(1)) {
                let Some(visit) = seeker.walk.next(seeker.best.limit())? else {
                    seeker.arrived = true;
                    break;
                };
                if visit.listed {
                    let which = (visit.partition, mask);
                    seeker
                        .waiting
                        .list(index, seeker.query, which, seeker.best)?;
                } else {
                    named.push(Named {
                        partition: visit.partition as u32,
                        seeker: number,
                        score: visit.score,
                    });
                }
            }
            seeker.waiting.look(index, seeker.query, seeker.best)?;
        }
        Ok(self.seekers.iter().any(|seeker| !seeker.arrived) || !named.is_empty())
    }

    /// Scans the partitions that were named, each once for all who named it.
    fn scan_wave(&mut self, named: &mut [Named]) -> Result<()> {
        named.sort_unstable_by_key(|one| (one.partition, one.seeker));
        let mut groups = named.chunk_by(|a, b| a.partition == b.partition).peekable();
        while let Some(group) = groups.next() {
            if let Some(next) = groups.peek() {
                let blocks = self.index.blocks_of_partition(next[0].partition as usize);
                let few = blocks.start..blocks.end.min(blocks.start + BLOCKS_AHEAD);
                prefetch(self.index.blocks(few)?);
            }
            self.scan_partition(group)?;
        }
        self.look_at_pending()
    }

    /// Scans the partition that all of `group` named.
    fn scan_partition(&mut self, group: &[Named]) -> Result<()> {
        let (index, partition) = (self.index, group[0].partition as usize);
        let scans: Vec<Scan<'_>> = group
            .iter()
            .map(|one| {
                let query = self.seekers[one.seeker as usize].query;
                index.scan(query, self.effort.deviations, (one.score, partition))
            })
            .collect();
        let all = index.blocks_of_partition(partition);
        for first in all.clone().step_by(RUN_BLOCKS) {
            let blocks = first..all.end.min(first + RUN_BLOCKS as u32);
            let limits: Vec<f32> = group
                .iter()
                .map(|one| self.seekers[one.seeker as usize].best.limit() - one.score)
                .collect();
            let survivors = &mut self.survivors[..group.len()];
            survivors.iter_mut().for_each(Vec::clear);
            let admitted = self.mask.map(|mask| mask.words(blocks.clone()));
            scan_blocks_each(&scans, index.blocks(blocks)?, admitted, &limits, survivors);
            self.look_at_pending()?;
            self.keep_survivors(group, first * BLOCK_ROWS as u32)?;
        }
        Ok(())
    }

    /// Asks for the levels of the rows that survived a scan of blocks whose first slot is given.
    fn keep_survivors(&mut self, group: &[Named], first_slot: u32) -> Result<()> {
        let index = self.index;
        for (one, survivors) in group.iter().zip(&mut self.survivors) {
            let Seeker { query, best, .. } = &mut self.seekers[one.seeker as usize];
            let likeliest = best.likeliest(survivors);
            let (likeliest, others) = survivors.split_at(likeliest);
            let mut now = likeliest;
            if !others.is_empty() {
                // The others wait for what these narrow.
                for survivor in likeliest {
                    prefetch(index.levels(first_slot + survivor.slot)?);
                }
                for survivor in likeliest {
                    index.search_slot(query, first_slot + survivor.slot, best)?;
                }
                now = others;
            }
            let limit = best.limit() - one.score;
            for survivor in now.iter().filter(|survivor| survivor.bound < limit) {
                let slot = first_slot + survivor.slot;
                prefetch(index.levels(slot)?);
                self.pending.push(Pending {
                    seeker: one.seeker,
                    slot,
                    bound: survivor.bound + one.score,
                });
            }
        }
        Ok(())
    }

    /// Offers the rows that are pending to those who found them.
    fn look_at_pending(&mut self) -> Result<()> {
        for pending in self.pending.drain(..) {
            let Seeker { query, best, .. } = &mut self.seekers[pending.seeker as usize];
            if pending.bound < best.limit() {
                self.index.search_slot(query, pending.slot, best)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Candidate;
    use super::super::tests::{SPACES, built, clumps, exact, masked, options, sorted};
    use super::super::walk::Reach;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Where bounds rule nothing out, what is left are the partitions that a query looks at, and
        /// what becomes of their rows: each query must keep what it keeps alone.
        #[test]
        fn queries_together_keep_the_rows_that_each_keeps_alone(
            seed in any::<u64>(),
            count in 1usize..900,
            dimension in prop_oneof![1usize..20, 20usize..101],
            partitions in prop_oneof![Just(1u32), 2u32..12, 100u32..200],
            probes in 1usize..30,
            gap in prop_oneof![Just(f32::INFINITY), 0f32..2.0],
            depth in 1usize..60,
            queries in 0usize..40,
            one_in in prop::option::of(1usize..20),
            space in prop::sample::select(&SPACES[..]),
        ) {
            let rows = clumps(seed, count, dimension, 5);
            let index = built(&rows, dimension, &options(space, partitions));
            let mut set = masked(index.rows(), seed, one_in.unwrap_or(1));
            // The bound of a row that is its partition's centroid has no width, however wide bounds
            // are: what it rules out depends on the order.
            let prepared = index.prepare(&rows[..dimension]);
            let centroids = index.partition_scores(&prepared).expect("the index is sound");
            let mut narrow = false;
            for (row, slot) in (0..).zip(index.slots().expect("there are slots")) {
                let own = index.partition_of(slot);
                let score = index.sign_score(&prepared, slot, own, centroids[own]);
                if score.expect("the slot has a row").1 <= 0.0 {
                    set.remove(row);
                    narrow = true;
                }
            }
            let mask = index.mask(&set).expect("the set is over the rows");
            let mask = (narrow || one_in.is_some()).then_some(&mask);
            // A way under a mask depends on what was found before: to infinity it goes on.
            let cosine = f32::INFINITY;
            let reach = Reach { probes, gap };
            let effort = Effort { deviations: 1e6, depth, reach, cosine };
            let values = clumps(seed ^ 1, queries, dimension, 5);
            let asked = values.chunks_exact(dimension);
            let asked: Vec<Prepared> = asked.map(|query| index.prepare(query)).collect();
            let mut together: Vec<Best> = asked.iter().map(|_| Best::new(depth)).collect();
            let found = index.search_partitions_each(&asked, &effort, mask, &mut together);
            found.expect("the index is sound");
            for (query, found) in asked.iter().zip(together) {
                let mut alone = Best::new(depth);
                let done = index.search_partitions(query, &effort, mask, &mut alone);
                done.expect("the index is sound");
                prop_assert_eq!(sorted(found), sorted(alone));
            }
        }
    }

    #[test]
    fn queries_together_find_as_much_as_alone_at_a_recall() {
        let (count, dimension) = (8000, 64);
        let rows = clumps(3, count, dimension, 200);
        let near = rows.chunks_exact(dimension).step_by(130);
        let values: Vec<f32> = near
            .flat_map(|row| row.iter().zip(&rows).map(|(a, b)| 0.8 * a + 0.2 * b))
            .collect();
        let asked: Vec<&[f32]> = values.chunks_exact(dimension).collect();
        for space in SPACES {
            for partitions in [1, 60, 300] {
                let index = built(&rows, dimension, &options(space, partitions));
                for one_in in [None, Some(2), Some(5)] {
                    let set = masked(index.rows(), 9, one_in.unwrap_or(1));
                    let mask = index.mask(&set).expect("the set is over the rows");
                    let mask = one_in.map(|_| &mask);
                    let effort = index.effort(10, 0.95);
                    let depth = effort.depth();
                    let mut together: Vec<Best> = asked.iter().map(|_| Best::new(depth)).collect();
                    let found = index.search_each(&asked, &effort, mask, 0, &mut together);
                    found.expect("they fit");
                    let (mut hits, mut hits_alone) = (0, 0);
                    for (query, found) in asked.iter().zip(together) {
                        let mut alone = Best::new(depth);
                        let done = index.search_into(query, &effort, mask, 0, &mut alone);
                        done.expect("it fits");
                        let truth = exact(&rows, query, space, Some(&set));
                        let hits_of = |best: &Best| {
                            let near = truth[..10].iter();
                            let is_kept =
                                |one: &&Candidate| best.rows().any(|(_, row)| row == one.row);
                            near.filter(is_kept).count()
                        };
                        hits += hits_of(&found);
                        hits_alone += hits_of(&alone);
                    }
                    assert!(
                        hits * 100 >= hits_alone * 99 && hits * 100 >= asked.len() * 10 * 94,
                        "{space:?}, {partitions} partitions, 1 in {one_in:?}: {hits}, {hits_alone}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_query_of_another_dimension_is_refused_before_any_is_searched() {
        let rows = clumps(8, 400, 20, 6);
        let index = built(&rows, 20, &options(crate::model::Space::L2, 4));
        let effort = index.effort(5, 0.95);
        let mut bests = [Best::new(5), Best::new(5)];
        let asked: [&[f32]; 2] = [&rows[..20], &rows[..19]];
        let error = index.search_each(&asked, &effort, None, 0, &mut bests);
        let error = error.expect_err("19 numbers");
        assert_eq!(
            error.message(),
            "the query has 19 numbers, the index vectors of 20"
        );
        assert!(bests.iter().all(|best| best.rows().next().is_none()));
        assert!(
            index
                .search_each(&asked[..1], &effort, None, 0, &mut bests)
                .is_err()
        );
    }
}
