//! Finds the nearest rows among those that a mask admits.
//!
//! What must stay true: a search goes on while the partitions that come next are likely to have a
//! better row, wherever the admitted rows lie; partitions without one are never looked at. Rows
//! that wait for their levels are all looked at before the search ends.

use vermilion_kernels::codes::{BLOCK_ROWS, LevelBits, Survivor, scan_blocks};
use vermilion_kernels::prefetch;

use super::best::Best;
use super::layout::VectorIndex;
use super::mask::{Mask, bits};
use super::search::{BlockRun, Effort, Prepared};
use super::walk::{PASSED_OVER_MAX, Visit};
use crate::Result;

/// A mask whose rows are at most so many times as dense in the partitions that have some, as rows
/// picked by chance would be, has little to do with the vectors.
const SPREAD_OUT: f32 = 1.3;

/// What is left of the cosine asked of a partition for such a mask: it needs fewer partitions, as
/// the query lies among its rows as it does among all.
const SPREAD_OUT_COSINE: f32 = 0.6;

/// What is left of it for other masks, whose rows may all be far from the query.
const CORNER_COSINE: f32 = 0.9;

/// Partitions that are searched beyond those of a search without a mask, whatever is likely, if it admits
/// hardly any row; fewer, the more it admits. They cost little, and the fewer rows there are, the less
/// their centroids tell.
const PROBES_MORE: usize = 24;

/// Admitted rows for each block of a partition, up to which their levels are read at once, and no
/// block is scanned.
const LISTED_PER_BLOCK: u32 = 2;

/// Rows that wait for their levels at most: as many as are on their way from memory at a time.
const WAITING_MAX: usize = 24;

/// Partitions that are put in order for each one expected, and beyond that, since signs say only
/// about which are near.
const ORDERED_FACTOR: usize = 2;
const ORDERED_MORE: usize = 32;

/// Partitions that are expected at least where many rows are wanted: what signs put far behind would else
/// end the search before what comes after it is looked at.
const EXPECTED_WIDE: usize = 512;

/// Partitions with rows that a mask admits, the nearest first as far as codes tell: signs say which
/// come next, levels in which order.
pub(super) struct AdmittedOrder<'a> {
    index: &'a VectorIndex,
    query: &'a Prepared,
    /// All of them; the first `ordered` with their scores and in their order, the others with what
    /// their signs say.
    partitions: Vec<Survivor>,
    ordered: usize,
    /// How many are to be put in order next.
    few: usize,
    given: usize,
}

impl<'a> AdmittedOrder<'a> {
    /// An order of which about `expected` will be asked.
    pub(super) fn new(
        index: &'a VectorIndex,
        query: &'a Prepared,
        expected: usize,
        mask: &Mask,
    ) -> Result<Self> {
        let wanted = mask.partitions();
        let mut partitions = Vec::with_capacity(mask.partitions_with_rows());
        let scan = index.scan_of_centroids(query, 0.0);
        let blocks = index.centroid_blocks(0..wanted.len() as u32)?;
        scan_blocks(&scan, blocks, Some(&wanted), f32::INFINITY, &mut partitions);
        Ok(Self {
            index,
            query,
            partitions,
            ordered: 0,
            few: expected
                .saturating_mul(ORDERED_FACTOR)
                .saturating_add(ORDERED_MORE),
            given: 0,
        })
    }

    /// The next partition, with the score of its centroid by its levels.
    pub(super) fn next(&mut self) -> Result<Option<(f32, u32)>> {
        if self.given == self.ordered && self.ordered < self.partitions.len() {
            self.order_more()?;
        }
        let next = self.partitions.get(self.given);
        self.given += usize::from(next.is_some());
        Ok(next.map(|one| (one.bound, one.slot)))
    }

    /// The partition that comes after the one given last, where it is known.
    pub(super) fn peek(&self) -> Option<u32> {
        let known = self.given < self.ordered;
        known.then(|| self.partitions[self.given].slot)
    }

    /// Puts those in order that come next.
    fn order_more(&mut self) -> Result<()> {
        let rest = &mut self.partitions[self.ordered..];
        let few = self.few.min(rest.len());
        if few < rest.len() {
            rest.select_nth_unstable_by(few, |a, b| nearer(*a, *b));
        }
        let next = &mut rest[..few];
        for one in &*next {
            prefetch(self.index.centroid_levels(one.slot)?);
        }
        for one in &mut *next {
            let levels = self.index.centroid_levels(one.slot)?;
            one.bound = self.query.score_of_levels(levels, LevelBits::Eight);
        }
        next.sort_unstable_by(|a, b| nearer(*a, *b));
        self.ordered += few;
        self.few = few.saturating_mul(2);
        Ok(())
    }
}

fn nearer(a: Survivor, b: Survivor) -> std::cmp::Ordering {
    a.bound.total_cmp(&b.bound).then(a.slot.cmp(&b.slot))
}

/// Rows whose levels are on their way from memory.
#[derive(Default)]
pub(super) struct Waiting {
    slots: Vec<u32>,
}

impl Waiting {
    /// Adds the rows of a partition that a mask admits; offers all to `best` whenever they are many.
    pub(super) fn list(
        &mut self,
        index: &VectorIndex,
        query: &Prepared,
        (partition, mask): (usize, Option<&Mask>),
        best: &mut Best,
    ) -> Result<()> {
        let blocks = index.blocks_of_partition(partition);
        let first = blocks.start * BLOCK_ROWS as u32;
        for slot in mask
            .into_iter()
            .flat_map(|mask| bits(mask.words(blocks.clone())))
        {
            self.push(index, query, first + slot, best)?;
        }
        Ok(())
    }

    /// Adds the row in `slot`; offers all to `best` once they are many.
    fn push(
        &mut self,
        index: &VectorIndex,
        query: &Prepared,
        slot: u32,
        best: &mut Best,
    ) -> Result<()> {
        index.prefetch_levels(slot)?;
        self.slots.push(slot);
        if self.slots.len() == WAITING_MAX {
            self.look(index, query, best)?;
        }
        Ok(())
    }

    /// Offers all that wait to `best`.
    pub(super) fn look(
        &mut self,
        index: &VectorIndex,
        query: &Prepared,
        best: &mut Best,
    ) -> Result<()> {
        index.search_slots(query, self.slots.drain(..), best)
    }
}

/// The way of a query through the partitions that have admitted rows. How many are near enough is
/// not known before: a query may be far from all rows that are admitted, and then many partitions
/// are about as near. So it goes on while better rows are likely.
pub(super) struct AdmittedWalk<'a> {
    order: AdmittedOrder<'a>,
    effort: Effort,
    mask: &'a Mask,
    /// The share of the rows that is admitted.
    share: f32,
    /// Partitions that are searched whatever is likely, and those that were.
    surely: usize,
    searched: usize,
    passed_over: usize,
    /// Admitted rows of the partitions so far, and how many there were by chance.
    seen: (u32, f32),
}

impl<'a> AdmittedWalk<'a> {
    pub(super) fn new(
        index: &'a VectorIndex,
        query: &'a Prepared,
        effort: &Effort,
        mask: &'a Mask,
    ) -> Result<Self> {
        let share = mask.rows() as f32 / index.header.rows as f32;
        // A filter thins the neighbourhood out, so more partitions hold it.
        let mut expected = (effort.reach.probes as f32 / share.sqrt()).ceil() as usize;
        if effort.wide.is_some() {
            expected = expected.max(EXPECTED_WIDE);
        }
        Ok(Self {
            order: AdmittedOrder::new(index, query, expected, mask)?,
            effort: *effort,
            mask,
            share,
            surely: effort.reach.probes.saturating_add(probes_more(share)),
            searched: 0,
            passed_over: 0,
            seen: (0, 0.0),
        })
    }

    /// The partition that comes next, where it is known.
    pub(super) fn peek(&self) -> Option<u32> {
        self.order.peek()
    }

    /// The next partition to be searched, where `limit` is what a row's score must be below.
    pub(super) fn next(&mut self, limit: f32) -> Result<Option<Visit>> {
        let index = self.order.index;
        while let Some((score, partition)) = self.order.next()? {
            let partition = partition as usize;
            let blocks = index.blocks_of_partition(partition).len();
            let rows = self.mask.rows_of(partition);
            self.seen.0 += rows;
            self.seen.1 += by_chance(self.share * (blocks * BLOCK_ROWS) as f32);
            let least = if self.seen.0 as f32 > SPREAD_OUT * self.seen.1 {
                CORNER_COSINE
            } else {
                SPREAD_OUT_COSINE
            };
            let times = self.effort.wide.unwrap_or(0.0).max(least);
            let cosine = self.effort.cosine_left(times);
            if self.searched >= self.surely && index.needed_cosine(score, partition, limit) > cosine
            {
                self.passed_over += 1;
                if self.passed_over == PASSED_OVER_MAX {
                    break;
                }
                continue;
            }
            self.passed_over = 0;
            self.searched += 1;
            let listed = rows <= blocks as u32 * LISTED_PER_BLOCK;
            return Ok(Some(Visit {
                partition,
                score,
                listed,
            }));
        }
        Ok(None)
    }
}

impl VectorIndex {
    /// Offers all rows that `mask` admits to `best`, by their levels.
    pub(super) fn search_all_admitted(
        &self,
        query: &Prepared,
        mask: &Mask,
        best: &mut Best,
    ) -> Result<()> {
        let mut waiting = Waiting::default();
        for partition in bits(&mask.partitions()) {
            waiting.list(self, query, (partition as usize, Some(mask)), best)?;
        }
        waiting.look(self, query, best)
    }

    /// The blocks of a partition, whose centroid has `score`, to be scanned for `query`.
    pub(super) fn run_of_partition<'a>(
        &self,
        query: &'a Prepared,
        effort: &Effort,
        (score, partition): (f32, usize),
        mask: Option<&'a Mask>,
    ) -> BlockRun<'a> {
        let blocks = self.blocks_of_partition(partition);
        BlockRun {
            scan: self.scan(query, effort.deviations, (score, partition)),
            score,
            admitted: mask.map(|mask| mask.words(blocks.clone())),
            blocks,
        }
    }
}

/// See [`PROBES_MORE`], of a mask that admits this share of the rows.
fn probes_more(share: f32) -> usize {
    (PROBES_MORE as f32 * (1.0 - share).max(0.0).sqrt()).ceil() as usize
}

/// How many rows a partition has that has any, where `mean` would be picked by chance.
fn by_chance(mean: f32) -> f32 {
    mean / (1.0 - (-mean).exp()).max(f32::MIN_POSITIVE)
}
