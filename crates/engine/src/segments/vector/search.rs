//! Finds the rows nearest to a query.
//!
//! What must stay true: a block's survivors are refined before the next run of blocks is scanned,
//! and none is dropped at the end of a partition, whatever the mask; the limit is the score of the
//! worst candidate kept, once there are enough.

use std::ops::Range;

use vermilion_kernels::codes::{
    BLOCK_ROWS, LevelBits, Quantised, Scan, Survivor, TableScale, dot_levels, line_bytes, quantise,
    scan_blocks, scan_table,
};
use vermilion_kernels::{inner_product, prefetch, squared_norm};

use super::SQUARED_NORM_MAX;
use super::best::Best;
use super::calibrate::{DEVIATIONS_MAX, NEIGHBOURS};
use super::filtered::Waiting;
use super::layout::{Knobs, LEVEL_FACTOR_BYTES, RECALLS, VectorIndex, row_of_slot};
use super::mask::Mask;
use super::space::{exact_distance, farness, normalise};
use super::walk::{Reach, Walk, wide_cosine};
use crate::model::Space;
use crate::{Error, Result};

/// Blocks scanned between two looks at the limit.
pub(super) const RUN_BLOCKS: usize = 8;

/// Admitted rows up to which each one's levels are read, and no block is scanned, where there are
/// partitions.
const LISTED_ROWS: u32 = 1_000;

/// What each step of correction beyond the calibrated table adds to the bound, in deviations, and
/// to the cosine asked of a partition.
const CORRECTED_DEVIATIONS: f32 = 0.5;
const CORRECTED_COSINE: f32 = 0.1;

/// What a search is asked for.
#[derive(Clone, Copy, Debug)]
pub struct SearchOptions<'a> {
    /// Rows wanted.
    pub k: usize,
    /// The share of the true nearest rows that should be found, 0 to 1.
    pub recall: f32,
    /// The rows that may be found; `None` for all.
    pub mask: Option<&'a Mask>,
}

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its number.
    pub row: u32,
    /// Its exact distance as users see it.
    pub distance: f32,
}

/// What a recall means inside.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How far below its estimate a row's score may lie, in deviations of the estimate.
    pub(super) deviations: f32,
    /// Candidates to keep for the exact comparison.
    pub(super) depth: usize,
    pub(super) reach: Reach,
    /// See [`Knobs::cosine`].
    pub(super) cosine: f32,
    /// What is left of the cosine where more rows are wanted than the reach was calibrated for, and `None`
    /// where they are not.
    pub(super) wide: Option<f32>,
}

impl Effort {
    /// Candidates to keep for the exact comparison.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// What is left of the cosine at so many `times`; one below none is asked for as it is, not for less.
    pub(super) fn cosine_left(&self, times: f32) -> f32 {
        if self.cosine < 0.0 {
            self.cosine * times.min(1.0)
        } else {
            self.cosine * times
        }
    }
}

/// A query made ready for the codes.
pub(super) struct Prepared {
    table: Vec<u8>,
    table_scale: TableScale,
    whole: Vec<i8>,
    quantised: Quantised,
    /// What the score of levels begins with: the score of the mean.
    pub(super) level_base: f32,
    /// What offsets count: 1, but by inner product how often the mean is in the query.
    offset_times: f32,
    /// The length of what codes are multiplied with, by inner product.
    length: f32,
}

impl Prepared {
    /// The score of a vector with these levels and factors.
    pub(super) fn score_of_levels(&self, levels: &[u8], bits: LevelBits) -> f32 {
        let (factors, codes) = levels.split_at(LEVEL_FACTOR_BYTES);
        let (factors, _) = factors.as_chunks::<4>();
        let [offset, slope] = [0, 1].map(|at| f32::from_le_bytes(factors[at]));
        let dot = dot_levels(codes, bits, &self.whole) as f32;
        let middle = (bits.half() - 0.5) * self.quantised.sum as f32;
        self.offset_times * offset + self.level_base
            - 2.0 * self.quantised.scale * slope * (dot - middle)
    }
}

impl VectorIndex {
    /// Whether codes can rank rows for `query`: not where its length is none, so that all rows are
    /// equally far, or so great that every distance is infinite. An exact search does that.
    pub fn can_rank(&self, query: &[f32]) -> bool {
        let squared = squared_norm(query);
        match self.header.space {
            Space::L2 => squared < SQUARED_NORM_MAX,
            Space::Cosine | Space::Ip => query.iter().any(|&number| number != 0.0),
        }
    }

    /// Offers rows that may be the nearest to `query` to `best`, as those of part `part`. Scores of
    /// several indexes over one space can be compared. `mask` says which rows may be found.
    pub fn search_into(
        &self,
        query: &[f32],
        effort: &Effort,
        mask: Option<&Mask>,
        part: u32,
        best: &mut Best,
    ) -> Result<()> {
        self.check(query)?;
        best.part = part;
        let prepared = self.prepare(query);
        match mask {
            Some(mask) if self.is_listed(mask) => self.search_all_admitted(&prepared, mask, best),
            _ => self.search_partitions(&prepared, effort, mask, best),
        }
    }

    /// The `k` rows nearest to `query`, nearest first, with exact distances; `vector` gives the
    /// raw vector of a row.
    pub fn search<'v>(
        &self,
        query: &[f32],
        options: &SearchOptions<'_>,
        mut vector: impl FnMut(u32) -> Result<&'v [f32]>,
    ) -> Result<Vec<Candidate>> {
        let effort = self.effort(options.k, options.recall);
        let mut best = Best::new(effort.depth);
        if options.k > 0 {
            self.search_into(query, &effort, options.mask, 0, &mut best)?;
        }
        let mut found = Vec::with_capacity(effort.depth);
        for (_, row) in best.rows() {
            prefetch(bytemuck::cast_slice(vector(row)?));
        }
        for (_, row) in best.rows() {
            let distance = exact_distance(self.header.space, query, vector(row)?);
            found.push(Candidate { row, distance });
        }
        found.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
        found.truncate(options.k);
        Ok(found)
    }

    pub(super) fn check(&self, query: &[f32]) -> Result<()> {
        if query.len() != self.header.dimension {
            return Err(Error::invalid(format!(
                "the query has {} numbers, the index vectors of {}",
                query.len(),
                self.header.dimension
            )));
        }
        Ok(())
    }

    /// Whether reading the levels of each row that `mask` admits costs less than scanning blocks.
    pub(super) fn is_listed(&self, mask: &Mask) -> bool {
        let most = if self.header.partitions == 1 {
            self.header.blocks.max(BLOCK_ROWS as u32)
        } else {
            LISTED_ROWS
        };
        mask.rows() <= most
    }

    /// What finding `k` rows with this recall, 0 to 1, takes.
    pub fn effort(&self, k: usize, recall: f32) -> Effort {
        let recall = recall.clamp(0.0, 1.0);
        let known = RECALLS.iter().position(|&known| recall <= known);
        let knobs = known.map_or_else(
            || {
                let most = self.header.knobs[RECALLS.len() - 1];
                Knobs {
                    probes: self.header.partitions,
                    gap: f32::INFINITY,
                    cosine: f32::INFINITY,
                    extra: most.extra.saturating_mul(2),
                    deviations: DEVIATIONS_MAX,
                }
            },
            |at| self.corrected(at, self.watch.steps()),
        );
        let times = (k as f32 / NEIGHBOURS as f32).max(1.0);
        let extra = (knobs.extra as f32 * times) as usize;
        Effort {
            deviations: knobs.deviations,
            depth: k.saturating_add(extra).min(self.header.rows as usize),
            reach: Reach::new(&knobs),
            cosine: knobs.cosine,
            wide: (k > NEIGHBOURS).then(|| wide_cosine(recall)),
        }
    }

    /// The knobs `steps` rows of the table after row `at`. Beyond the last row each step doubles
    /// what is read.
    fn corrected(&self, at: usize, steps: u32) -> Knobs {
        let at = at + steps as usize;
        let last = RECALLS.len() - 1;
        let mut knobs = self.header.knobs[at.min(last)];
        let beyond = at.saturating_sub(last) as u32;
        if beyond > 0 {
            let times = 1u32.checked_shl(beyond).unwrap_or(u32::MAX);
            let partitions = self.header.partitions;
            knobs.probes = knobs.probes.saturating_mul(times).min(partitions);
            knobs.gap *= times as f32;
            knobs.extra = knobs.extra.saturating_mul(times).min(self.header.rows);
            let wider = CORRECTED_DEVIATIONS * beyond as f32;
            knobs.deviations = (knobs.deviations + wider).min(DEVIATIONS_MAX);
            knobs.cosine += CORRECTED_COSINE * beyond as f32;
        }
        knobs
    }

    pub(super) fn prepare(&self, query: &[f32]) -> Prepared {
        let padded = self.header.padded();
        let mut relative = Vec::with_capacity(padded);
        relative.extend_from_slice(query);
        if self.header.space != Space::L2 {
            normalise(&mut relative);
        }
        relative.resize(padded, 0.0);
        self.rotation.apply(&mut relative);
        let (level_base, offset_times) = self.part_from_mean(&mut relative);
        let mut table = vec![0; line_bytes(padded)];
        let table_scale = scan_table(&relative, &mut table);
        let mut whole = vec![0; padded];
        Prepared {
            quantised: quantise(&relative, &mut whole),
            table,
            table_scale,
            whole,
            level_base,
            offset_times,
            length: squared_norm(&relative).sqrt(),
        }
    }

    /// Takes from `query`, turned, what a row's product with the mean tells exactly, and leaves what
    /// codes estimate: the less that is, the better they do. Gives the score of the mean, and what
    /// offsets count.
    fn part_from_mean(&self, query: &mut [f32]) -> (f32, f32) {
        let take = |times: f32, query: &mut [f32]| {
            let numbers = query.iter_mut().zip(&self.mean);
            numbers.for_each(|(number, mean)| *number -= times * mean);
        };
        if self.header.space != Space::Ip {
            take(1.0, query);
            return (squared_norm(query), 1.0);
        }
        let product = inner_product(query, &self.mean);
        let times = product / squared_norm(&self.mean);
        // An offset that counts less than nothing would turn that of a place without a row around.
        let times = if self.header.has_mean_products && times.is_finite() {
            times.max(0.0)
        } else {
            0.0
        };
        take(times, query);
        (-2.0 * product, times)
    }

    /// The score of the row in `slot` by its levels.
    pub(super) fn level_score(&self, query: &Prepared, slot: u32) -> Result<f32> {
        self.with_levels(slot, |levels| {
            query.score_of_levels(levels, self.header.bits)
        })
    }

    /// Offers the rows in `slots` to `best` by their levels.
    pub(super) fn search_slots(
        &self,
        query: &Prepared,
        slots: impl Iterator<Item = u32>,
        best: &mut Best,
    ) -> Result<()> {
        for slot in slots {
            self.search_slot(query, slot, best)?;
        }
        Ok(())
    }

    /// Offers the row in `slot`, if it has one, to `best` by its levels.
    pub(super) fn search_slot(&self, query: &Prepared, slot: u32, best: &mut Best) -> Result<()> {
        let score = self.level_score(query, slot)?;
        if score <= best.limit() {
            let block = slot / BLOCK_ROWS as u32;
            let rows = self.slot_rows(block..block + 1)?;
            let row = row_of_slot(rows, block, slot % BLOCK_ROWS as u32);
            if row < self.header.rows {
                best.push(score, row);
            }
        }
        Ok(())
    }

    /// Offers the rows of the nearest partitions that `mask` admits to `best`.
    pub(super) fn search_partitions(
        &self,
        query: &Prepared,
        effort: &Effort,
        mask: Option<&Mask>,
        best: &mut Best,
    ) -> Result<()> {
        let mut walk = Walk::new(self, query, effort, mask)?;
        let (mut waiting, mut survivors) = (Waiting::default(), Vec::new());
        while let Some(visit) = walk.next(best.limit())? {
            if visit.listed {
                waiting.list(self, query, (visit.partition, mask), best)?;
                continue;
            }
            if let Some(next) = walk.peek() {
                let first = self.first_blocks[next as usize];
                prefetch(self.blocks(first..first + 1)?);
            }
            waiting.look(self, query, best)?;
            let run = self.run_of_partition(query, effort, visit.at(), mask);
            self.search_blocks(query, &run, best, &mut survivors)?;
        }
        waiting.look(self, query, best)
    }

    /// What the cosine between the way from the query to the centroid of a partition, which has
    /// `score`, and the way from there to a row must be for a row at the partition's radius to
    /// score `limit`. Where a query and its neighbours lie as others do, it says how likely the
    /// partition has one of them, whatever the scale of distances.
    pub(super) fn needed_cosine(&self, score: f32, partition: usize, limit: f32) -> f32 {
        let Some(&radius) = self.radii.get(partition) else {
            return f32::NEG_INFINITY;
        };
        let (missing, reach) = match self.header.space {
            Space::Ip => (score - limit, 2.0 * radius),
            Space::L2 | Space::Cosine => (
                score + radius * radius - limit,
                2.0 * radius * score.max(0.0).sqrt(),
            ),
        };
        if reach > 0.0 {
            missing / reach
        } else if missing < 0.0 {
            f32::NEG_INFINITY
        } else {
            f32::INFINITY
        }
    }

    /// The scan of a partition, whose centroid has `score`, with bounds that many deviations wide.
    pub(super) fn scan<'q>(
        &self,
        query: &'q Prepared,
        deviations: f32,
        (score, partition): (f32, usize),
    ) -> Scan<'q> {
        let padded = self.header.padded() as f32;
        let radius = match self.header.space {
            Space::Ip => query.length,
            Space::L2 | Space::Cosine => farness(score),
        };
        let spread = self.spreads[partition] * radius / (padded - 1.0).sqrt();
        Scan {
            table: &query.table,
            base: 2.0 * query.table_scale.sizes - 2.0 * deviations * spread,
            step: 4.0 * query.table_scale.step,
            times: query.offset_times,
        }
    }

    /// Offers the rows of a run of blocks of one partition to `best`.
    pub(super) fn search_blocks(
        &self,
        query: &Prepared,
        run: &BlockRun<'_>,
        best: &mut Best,
        survivors: &mut Vec<Survivor>,
    ) -> Result<()> {
        for first in run.blocks.clone().step_by(RUN_BLOCKS) {
            let few = first..run.blocks.end.min(first + RUN_BLOCKS as u32);
            let from = (first - run.blocks.start) as usize;
            let admitted = run.admitted.map(|words| &words[from..from + few.len()]);
            survivors.clear();
            let limit = best.limit() - run.score;
            scan_blocks(&run.scan, self.blocks(few)?, admitted, limit, survivors);
            let likeliest = best.likeliest(survivors);
            let (likeliest, others) = survivors.split_at(likeliest);
            for some in [likeliest, others] {
                let limit = best.limit() - run.score;
                let slots = some.iter().filter(|survivor| survivor.bound < limit);
                let slots = slots.map(|survivor| first * BLOCK_ROWS as u32 + survivor.slot);
                for slot in slots.clone() {
                    self.prefetch_levels(slot)?;
                }
                self.search_slots(query, slots, best)?;
            }
        }
        Ok(())
    }
}

/// Blocks of codes around one centre, and how a query scans them.
pub(super) struct BlockRun<'a> {
    pub(super) scan: Scan<'a>,
    /// The score of the centre.
    pub(super) score: f32,
    pub(super) blocks: Range<u32>,
    /// For each block the slots that may be found; `None` for all.
    pub(super) admitted: Option<&'a [u32]>,
}
