//! Makes a vector index from the rows of a segment.
//!
//! What must stay true: rows are read in order, a few times over, and never all turned at once, so
//! that memory beyond the result is a bounded sample and some words a row. Rows that codes cannot
//! hold (numbers whose squares leave the range of `f32`) make no index.

use std::sync::Arc;

use vermilion_kernels::codes::{
    BLOCK_ROWS, DIMENSION_STEP, LevelBits, Rotation, block_bytes, encode_levels, encode_signs,
    set_factors,
};

use bytes::Bytes;
use vermilion_kernels::{inner_product, prefetch, squared_norm};

use super::layout::{Header, Knobs, LEVEL_FACTOR_BYTES, NO_ROW, RECALLS, Sections, VectorIndex};
use super::mean::usual_mean;
use super::parting::Parting;
use super::space::normalise;
use crate::helper_threads::{Helpers, split};
use crate::model::Space;
use crate::segments::blocks::{Blocks, checksums};
use crate::{Error, ErrorKind, Result};

/// Rows below which an exact search is as fast.
const ROWS_MIN: usize = 1_000;

/// Dimensions below which codes save nothing.
const DIMENSION_MIN: usize = 16;

/// Bytes of one-bit codes up to which scanning all of them is about as fast as searching
/// partitions, measured on real text embeddings.
const FLAT_CODE_BYTES: usize = 512 << 10;

/// Rows that a partition should have.
const PARTITION_ROWS: usize = 128;

/// Rows after which `go_on` is asked again.
const ROWS_PER_QUESTION: usize = 512;

/// Rows between one that is turned and one that is asked from memory.
const ROWS_AHEAD: usize = 4;

/// Parts that rows are divided into for several threads. Sums are added part by part, so that a
/// result does not depend on how many threads there were.
pub(super) const PARTS: usize = 4;

/// Partitions that are written together.
const PARTITIONS_TOGETHER: usize = 64;

/// Threads that work on one index; more would leave too little to who searches.
const THREADS: usize = 2;

/// What a helping thread is called.
pub(super) const THREAD_NAME: &str = "vermilion-build";

/// How an index is made.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions<'a> {
    /// How vectors are compared.
    pub space: Space,
    /// Bits of the second code: four take half the room of eight and leave more to the exact
    /// comparison.
    pub bits: LevelBits,
    /// Partitions to make; `None` chooses by the number of rows.
    pub partitions: Option<u32>,
    /// Seed of the rotation and of the sample.
    pub seed: u64,
    /// Threads that may work on it at most, where processors are free.
    pub threads: usize,
    /// Vectors that were asked for lately, one after the other, for which the index is to be
    /// calibrated beside its own rows.
    pub queries: &'a [f32],
}

impl BuildOptions<'_> {
    /// What suits `space`.
    pub fn new(space: Space) -> Self {
        Self {
            space,
            bits: LevelBits::Four,
            partitions: None,
            seed: 0x5eed_0001,
            threads: THREADS,
            queries: &[],
        }
    }
}

/// Whether an index of so many rows of so many dimensions is worth its bytes.
pub fn pays(rows: usize, dimension: usize) -> bool {
    rows >= ROWS_MIN && dimension >= DIMENSION_MIN
}

/// About the bytes of an index over so many rows of so many dimensions; 0 where there is none.
pub(in crate::segments) fn index_bytes(rows: usize, dimension: usize) -> usize {
    if !pays(rows, dimension) {
        return 0;
    }
    let padded = dimension.next_multiple_of(DIMENSION_STEP);
    // Levels and signs with their factors, the numbers of rows and slots.
    let row = LevelBits::Four.bytes(padded) + LEVEL_FACTOR_BYTES + padded / 8 + 16;
    // The last block of a partition is half empty.
    rows.saturating_mul(row) / 8 * 9
}

/// The bytes of an index over `rows`, vectors of `dimension` numbers one after the other; `None`
/// where there is no row, or codes cannot hold one, so that an exact search must do. `go_on` is
/// asked now and then; once it answers `false` the call ends with `Busy`.
pub fn build(
    rows: &[f32],
    dimension: usize,
    options: &BuildOptions<'_>,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Vec<u8>>> {
    if dimension == 0 || !rows.len().is_multiple_of(dimension) {
        return Err(Error::invalid(format!(
            "{} numbers are no whole number of vectors of {dimension}",
            rows.len()
        )));
    }
    let count = rows.len() / dimension;
    if count >= NO_ROW as usize {
        return Err(Error::invalid(format!(
            "a vector index takes at most {} rows, not {count}",
            NO_ROW - 1
        )));
    }
    let helpers = Helpers::take(options.threads.saturating_sub(1));
    let helped = (&helpers, go_on);
    let Some(coder) = Coder::new(rows, dimension, options, helped)? else {
        return Ok(None);
    };
    let partitions = options.partitions.map_or_else(
        || partitions_for(count, coder.padded()),
        |partitions| (partitions as usize).clamp(1, count),
    );
    let parting = if partitions > 1 {
        coder.part(partitions, helped)?
    } else {
        Parting::whole(count)
    };
    coder.write(&parting, helped).map(Some)
}

/// Partitions for `rows` of `padded` dimensions.
fn partitions_for(rows: usize, padded: usize) -> usize {
    if rows * (padded / 8 + 8) <= FLAT_CODE_BYTES {
        1
    } else {
        rows / PARTITION_ROWS
    }
}

/// Who helps, and what says whether to go on.
pub(super) type HelpersWhile<'a> = (&'a Helpers, &'a dyn Fn() -> bool);

/// The rows, and what turns them.
pub(super) struct Coder<'a> {
    rows: &'a [f32],
    dimension: usize,
    options: &'a BuildOptions<'a>,
    rotation: Rotation,
    /// The mean of the rows, turned.
    mean: Vec<f32>,
}

impl<'a> Coder<'a> {
    /// Looks at all rows: their mean, and whether codes can hold them.
    fn new(
        rows: &'a [f32],
        dimension: usize,
        options: &'a BuildOptions<'a>,
        (_, go_on): HelpersWhile<'_>,
    ) -> Result<Option<Self>> {
        let Some(mut mean) = usual_mean(rows, dimension, options.space, go_on)? else {
            return Ok(None);
        };
        let padded = dimension.next_multiple_of(DIMENSION_STEP);
        let rotation = Rotation::new(padded, options.seed);
        mean.resize(padded, 0.0);
        rotation.apply(&mut mean);
        Ok(Some(Self {
            rows,
            dimension,
            options,
            rotation,
            mean,
        }))
    }

    pub(super) fn padded(&self) -> usize {
        self.mean.len()
    }

    pub(super) fn count(&self) -> usize {
        self.rows.len() / self.dimension
    }

    /// The seed of the rotation and of the sample.
    pub(super) fn seed(&self) -> u64 {
        self.options.seed
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.rows[row * self.dimension..(row + 1) * self.dimension]
    }

    /// Turns `row` and takes the mean off; whether it was a vector of zeros.
    pub(super) fn turn(&self, row: usize, out: &mut [f32]) -> bool {
        let (own, padding) = out.split_at_mut(self.dimension);
        own.copy_from_slice(self.row(row));
        padding.fill(0.0);
        let zero = self.options.space == Space::Cosine && normalise(own) == 0.0;
        self.rotation.apply(out);
        out.iter_mut()
            .zip(&self.mean)
            .for_each(|(number, mean)| *number -= mean);
        zero
    }

    /// The bytes of the index.
    fn write(&self, parting: &Parting, helped: HelpersWhile<'_>) -> Result<Vec<u8>> {
        let blocks: usize = parting
            .rows
            .iter()
            .map(|rows| rows.len().div_ceil(BLOCK_ROWS))
            .sum();
        let mut header = Header {
            dimension: self.dimension,
            space: self.options.space,
            has_mean_products: self.options.space == Space::Ip,
            bits: self.options.bits,
            rows: self.count() as u32,
            partitions: parting.rows.len() as u32,
            blocks: blocks as u32,
            seed: self.options.seed,
            knobs: [Knobs::default(); RECALLS.len()],
        };
        let sections = header.sections().ok_or_else(|| {
            Error::invalid("the vector index would be larger than this machine can address")
        })?;
        let mut bytes = vec![0; sections.levels.end];
        put_floats(&mut bytes[sections.mean.clone()], &self.mean);
        let mut first_blocks = vec![0];
        for rows in &parting.rows {
            let next = first_blocks[first_blocks.len() - 1];
            let end = next + rows.len().div_ceil(BLOCK_ROWS) as u32;
            if parting.rows.len() > 1 {
                let slot = next as usize * BLOCK_ROWS;
                let slots = slot * 4..end as usize * BLOCK_ROWS * 4;
                put_rows(&mut bytes[sections.slot_rows.clone()][slots], rows);
                put_slots(&mut bytes[sections.row_slots.clone()], rows, slot as u32);
            }
            first_blocks.push(end);
        }
        let (front, levels) = bytes.split_at_mut(sections.levels.start);
        let places = (&mut front[sections.blocks.clone()], levels);
        let (mut spreads, radii) = self.write_partitions(places, &first_blocks, parting, helped)?;
        if parting.rows.len() > 1 {
            put_floats(&mut bytes[sections.radii.clone()], &radii);
            spreads.push(self.write_centroids(&mut bytes, &sections, &parting.centroids));
        }
        put_floats(&mut bytes[sections.spreads.clone()], &spreads);
        for (to, first) in bytes[sections.first_blocks.clone()]
            .chunks_exact_mut(4)
            .zip(first_blocks)
        {
            to.copy_from_slice(&first.to_le_bytes());
        }
        bytes[..sections.mean.start].copy_from_slice(&header.encode());
        let bytes = Bytes::from(bytes);
        let sums = checksums(&bytes);
        let blocks = Blocks::new("the index just built".to_owned(), bytes.clone(), sums)?;
        header.knobs = VectorIndex::open(Arc::new(blocks))?.calibrate(
            self.rows,
            self.options.queries,
            helped,
        )?;
        let mut bytes = Vec::from(bytes);
        bytes[..sections.mean.start].copy_from_slice(&header.encode());
        Ok(bytes)
    }

    /// Writes the codes of the centroids, which are given relative to the mean; gives their spread.
    fn write_centroids(&self, bytes: &mut [u8], sections: &Sections, centroids: &[f32]) -> f32 {
        let padded = self.padded();
        let size = block_bytes(padded);
        let blocks = &mut bytes[sections.centroid_blocks.clone()];
        let mut spread = 0.0f32;
        for (at, block) in blocks.chunks_exact_mut(size).enumerate() {
            for slot in 0..BLOCK_ROWS {
                let from = (at * BLOCK_ROWS + slot) * padded;
                match centroids.get(from..from + padded) {
                    Some(centroid) => {
                        let width = self.write_signs(block, slot, centroid, None, false);
                        spread = spread.max(width);
                    }
                    None => set_factors(block, slot, f32::INFINITY, 0.0),
                }
            }
        }
        let levels = &mut bytes[sections.centroid_levels.clone()];
        let size = LEVEL_FACTOR_BYTES + LevelBits::Eight.bytes(padded);
        let rows = levels.chunks_exact_mut(size);
        for (out, centroid) in rows.zip(centroids.chunks_exact(padded)) {
            self.write_row_levels(out, centroid, LevelBits::Eight, false);
        }
        spread.sqrt()
    }

    /// Writes factors and levels of a vector relative to the mean.
    fn write_row_levels(&self, out: &mut [u8], residual: &[f32], bits: LevelBits, zero: bool) {
        // The steps that code numbers of a normal distribution best.
        let step = match bits {
            LevelBits::Four => 0.3352,
            LevelBits::Eight => 0.0308,
        };
        let squared = squared_norm(residual);
        let deviation = (squared / residual.len() as f32).sqrt();
        let scale = if deviation > 0.0 {
            1.0 / (step * deviation)
        } else {
            0.0
        };
        let (factors, codes) = out.split_at_mut(LEVEL_FACTOR_BYTES);
        let product = encode_levels(residual, bits, scale, codes);
        let slope = if product > 0.0 {
            squared / product
        } else {
            0.0
        };
        put_floats(factors, &[self.offset(residual, squared, zero), slope]);
    }

    /// Writes signs and factors of a vector relative to `centroid`, which is itself relative to the
    /// mean; gives the square of its spread.
    fn write_signs(
        &self,
        block: &mut [u8],
        slot: usize,
        residual: &[f32],
        centroid: Option<&[f32]>,
        zero: bool,
    ) -> f32 {
        let squared = squared_norm(residual);
        let sizes = encode_signs(residual, block, slot);
        let slope = if sizes > 0.0 { squared / sizes } else { 0.0 };
        let mut offset = self.offset(residual, squared, zero);
        if let Some(centroid) = centroid
            && self.options.space != Space::Ip
        {
            offset += 2.0 * slope * product_with_signs(residual, centroid);
        }
        set_factors(block, slot, offset, slope);
        if squared > 0.0 {
            (residual.len() as f32 - sizes / squared * sizes).max(0.0)
        } else {
            0.0
        }
    }

    /// What a row's score begins with: its squared distance to the centre of its code, or by inner
    /// product what of it the mean tells.
    /// Between a vector of zeros and one of length 1 the cosine is 0, as for a squared distance
    /// of 2; the code says 1.
    fn offset(&self, residual: &[f32], squared: f32, zero: bool) -> f32 {
        match self.options.space {
            Space::Ip => -2.0 * inner_product(residual, &self.mean),
            Space::L2 | Space::Cosine => squared + if zero { 1.0 } else { 0.0 },
        }
    }

    /// Writes the blocks and the levels of all partitions, which begin at `first_blocks`; gives
    /// their spreads and radii.
    fn write_partitions(
        &self,
        (mut blocks, mut levels): (&mut [u8], &mut [u8]),
        first_blocks: &[u32],
        parting: &Parting,
        (helpers, go_on): HelpersWhile<'_>,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let padded = self.padded();
        let level_bytes = LEVEL_FACTOR_BYTES + self.options.bits.bytes(padded);
        let mut parts = Vec::new();
        for from in (0..parting.rows.len()).step_by(PARTITIONS_TOGETHER) {
            let to = parting.rows.len().min(from + PARTITIONS_TOGETHER);
            let count = (first_blocks[to] - first_blocks[from]) as usize;
            let (own_blocks, others) = blocks.split_at_mut(count * block_bytes(padded));
            blocks = others;
            // Levels of a single partition have no place for slots without a row.
            let bytes = (count * BLOCK_ROWS * level_bytes).min(levels.len());
            let (own_levels, others) = levels.split_at_mut(bytes);
            levels = others;
            parts.push((from..to, own_blocks, own_levels));
        }
        let written = split(helpers, THREAD_NAME, parts, go_on, |part, go_on| {
            let (partitions, mut blocks, mut levels) = part;
            let mut written = Vec::with_capacity(partitions.len());
            for partition in partitions {
                let count = (first_blocks[partition + 1] - first_blocks[partition]) as usize;
                let (own, others) = blocks.split_at_mut(count * block_bytes(padded));
                blocks = others;
                let bytes = (count * BLOCK_ROWS * level_bytes).min(levels.len());
                let (own_levels, others) = levels.split_at_mut(bytes);
                levels = others;
                written.push(self.write_partition(own, own_levels, parting, (partition, go_on))?);
            }
            Ok(written)
        })?;
        Ok(written.into_iter().flatten().unzip())
    }

    /// Writes the blocks and the levels of a partition; gives its spread (how much the true product
    /// of a row can differ from what its signs say, in units of the row's slope) and its radius:
    /// the root of the mean squared distance of its rows from the centroid.
    fn write_partition(
        &self,
        own: &mut [u8],
        levels: &mut [u8],
        parting: &Parting,
        (partition, go_on): (usize, &dyn Fn() -> bool),
    ) -> Result<(f32, f32)> {
        let padded = self.padded();
        let rows = &parting.rows[partition];
        let centroid = parting
            .centroids
            .get(partition * padded..(partition + 1) * padded);
        let mut turned = vec![0.0; padded];
        let mut spread = 0.0f32;
        let mut squares = 0.0f64;
        let level_bytes = LEVEL_FACTOR_BYTES + self.options.bits.bytes(padded);
        let mut levels = levels.chunks_exact_mut(level_bytes);
        for (at, block) in own.chunks_exact_mut(block_bytes(padded)).enumerate() {
            for slot in 0..BLOCK_ROWS {
                let Some(&row) = rows.get(at * BLOCK_ROWS + slot) else {
                    set_factors(block, slot, f32::INFINITY, 0.0);
                    continue;
                };
                ask(go_on, at * BLOCK_ROWS + slot)?;
                if let Some(&ahead) = rows.get(at * BLOCK_ROWS + slot + ROWS_AHEAD) {
                    prefetch(bytemuck::cast_slice(self.row(ahead as usize)));
                }
                let zero = self.turn(row as usize, &mut turned);
                if let Some(levels) = levels.next() {
                    self.write_row_levels(levels, &turned, self.options.bits, zero);
                }
                if let Some(centroid) = centroid {
                    turned
                        .iter_mut()
                        .zip(centroid)
                        .for_each(|(number, c)| *number -= c);
                }
                squares += f64::from(squared_norm(&turned));
                spread = spread.max(self.write_signs(block, slot, &turned, centroid, zero));
            }
        }
        let radius = (squares / rows.len().max(1) as f64).sqrt() as f32;
        Ok((spread.sqrt(), radius))
    }
}

/// The product of the signs of `residual` with `centroid`.
fn product_with_signs(residual: &[f32], centroid: &[f32]) -> f32 {
    // Eight sums, which do not wait for each other.
    let mut sums = [0.0f32; 8];
    let (residual, _) = residual.as_chunks::<8>();
    let (centroid, _) = centroid.as_chunks::<8>();
    for (signs, numbers) in residual.iter().zip(centroid) {
        for at in 0..8 {
            let sign = if signs[at] >= 0.0 { 1.0 } else { -1.0 };
            sums[at] += sign * numbers[at];
        }
    }
    sums.iter().sum()
}

pub(super) fn ask(go_on: &dyn Fn() -> bool, row: usize) -> Result<()> {
    if row.is_multiple_of(ROWS_PER_QUESTION) && !go_on() {
        return Err(stopped());
    }
    Ok(())
}

/// What a build ends with that is not to go on.
pub(super) fn stopped() -> Error {
    Error::new(
        ErrorKind::Busy,
        "the building of a vector index was stopped",
    )
}

fn put_floats(to: &mut [u8], floats: &[f32]) {
    for (to, float) in to.chunks_exact_mut(4).zip(floats) {
        to.copy_from_slice(&float.to_le_bytes());
    }
}

/// Writes for each of `rows` its slot, counted from `first`.
fn put_slots(to: &mut [u8], rows: &[u32], first: u32) {
    let (to, _) = to.as_chunks_mut::<4>();
    for (slot, &row) in (first..).zip(rows) {
        to[row as usize] = slot.to_le_bytes();
    }
}

/// Writes the rows of the slots, then [`NO_ROW`] for those left.
fn put_rows(to: &mut [u8], rows: &[u32]) {
    let rows = rows.iter().copied().chain(std::iter::repeat(NO_ROW));
    for (to, row) in to.chunks_exact_mut(4).zip(rows) {
        to.copy_from_slice(&row.to_le_bytes());
    }
}
