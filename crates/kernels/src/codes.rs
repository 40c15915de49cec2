//! Kernels over codes: a random rotation, one-bit codes in blocks of 32 rows, and codes of 4 or 8
//! bits for a single row.
//!
//! What must stay true: dimensions are multiples of [`DIMENSION_STEP`] (callers pad with zeros),
//! and the bytes of a code are the same at every [`Level`](crate::Level), because they are kept in files.
//!
//! A block is, for each group of four dimensions, a line of 16 bytes: byte i has the four signs of
//! row i in its low half and those of row i + 16 in its high half, the first dimension lowest, a
//! bit set where the number is not negative. After the lines come 32 offsets and 32 slopes, `f32`,
//! little-endian. A row's bound for a query is
//! `times * offset + slope * (base - step * (sum of the table's entries for its lines))`; a row whose
//! offset is infinite is never reported.
//!
//! A row of 8-bit levels is one byte a dimension. A row of 4-bit levels has 32 bytes for each
//! stripe of 64 dimensions: byte i has dimension i in its low half, i + 32 in its high half.

use crate::dispatch::kernels;
use crate::random::split_mix;

/// Dimensions of coded vectors are multiples of it.
pub const DIMENSION_STEP: usize = 64;

/// Rows in a block of one-bit codes.
pub const BLOCK_ROWS: usize = 32;

/// Bytes after the lines of a block: an offset and a slope for each row.
pub const FACTOR_BYTES: usize = BLOCK_ROWS * 8;

/// Dimensions whose 4-bit levels are packed together.
pub(crate) const LEVELS_STRIPE: usize = 64;

/// Bytes of the lines of a block, and of a query's table, for vectors of `dimension`.
pub const fn line_bytes(dimension: usize) -> usize {
    dimension / 4 * 16
}

/// Bytes of a block of vectors of `dimension`.
pub const fn block_bytes(dimension: usize) -> usize {
    line_bytes(dimension) + FACTOR_BYTES
}

/// A random rotation, the same for the same dimension and seed on every machine.
#[derive(Clone, Debug)]
pub struct Rotation {
    dimension: usize,
    signs: Vec<f32>,
}

impl Rotation {
    /// The rotation that `seed` gives for vectors of `dimension`, a multiple of
    /// [`DIMENSION_STEP`].
    ///
    /// # Panics
    /// If it is no such multiple, or 0.
    pub fn new(dimension: usize, seed: u64) -> Self {
        check_dimension(dimension);
        let rounds = if dimension.is_power_of_two() { 2 } else { 4 };
        let mut state = seed;
        let mut signs = Vec::with_capacity(rounds * dimension);
        for _ in 0..rounds * dimension / 64 {
            let bits = split_mix(&mut state);
            signs.extend((0..64).map(|at| if bits >> at & 1 == 0 { 1.0 } else { -1.0 }));
        }
        Self { dimension, signs }
    }

    /// The dimension of the vectors it turns.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Turns `values` in place. Lengths and inner products stay.
    ///
    /// # Panics
    /// If there are not [`Rotation::dimension`] values.
    pub fn apply(&self, values: &mut [f32]) {
        kernels().rotate(self, values);
    }

    /// For each round, the sign of each dimension.
    pub(crate) fn signs(&self) -> &[f32] {
        &self.signs
    }
}

/// A query against blocks.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// What [`scan_table`] filled: 16 entries for each group of four dimensions.
    pub table: &'a [u8],
    /// See the bound in the module's text.
    pub base: f32,
    /// See the bound in the module's text.
    pub step: f32,
    /// See the bound in the module's text; not below 0.
    pub times: f32,
}

/// A row that [`scan_blocks`] reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survivor {
    /// Its number, counted from the first row of the first block given.
    pub slot: u32,
    /// Its bound.
    pub bound: f32,
}

/// Adds to `survivors` the rows of `blocks` whose bound is below `limit`. Where `admitted` is
/// given, it has a word for each block, and only rows whose bit is set are reported.
///
/// # Panics
/// If `blocks` is not a whole number of blocks, or `admitted` has fewer words than there are.
pub fn scan_blocks(
    scan: &Scan<'_>,
    blocks: &[u8],
    admitted: Option<&[u32]>,
    limit: f32,
    survivors: &mut Vec<Survivor>,
) {
    kernels().scan_blocks(scan, blocks, admitted, limit, survivors);
}

/// What the entries of a query's table are worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TableScale {
    /// What one in an entry is worth.
    pub step: f32,
    /// The sum of the sizes of all numbers of the query.
    pub sizes: f32,
}

/// Fills `table` for [`Scan`] from a rotated query: the entry for four signs is the sum of the
/// sizes of those numbers whose sign is the same, in steps. With what it gives,
/// `2 * step * sum - sizes` is the product of the signs with the query.
///
/// # Panics
/// If `table` is not [`line_bytes`] long.
pub fn scan_table(query: &[f32], table: &mut [u8]) -> TableScale {
    kernels().scan_table(query, table)
}

/// Writes the signs of `residual` as row `slot` of `block`; gives the sum of the numbers' sizes.
///
/// # Panics
/// If `block` is not [`block_bytes`] long or `slot` is not below [`BLOCK_ROWS`].
pub fn encode_signs(residual: &[f32], block: &mut [u8], slot: usize) -> f32 {
    kernels().encode_signs(residual, block, slot)
}

/// Writes offset and slope of row `slot` of `block`.
///
/// # Panics
/// If `block` has no room for factors or `slot` is not below [`BLOCK_ROWS`].
pub fn set_factors(block: &mut [u8], slot: usize, offset: f32, slope: f32) {
    assert!(
        slot < BLOCK_ROWS,
        "a block has {BLOCK_ROWS} rows; {slot} is not one of them"
    );
    let from = block.len() - FACTOR_BYTES;
    let factors = block[from..].as_chunks_mut::<4>().0;
    factors[slot] = offset.to_le_bytes();
    factors[slot + BLOCK_ROWS] = slope.to_le_bytes();
}

/// Bits of a level of a row's second code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LevelBits {
    /// Sixteen levels.
    Four,
    /// 256 levels.
    Eight,
}

impl LevelBits {
    /// Bytes of a row of `dimension`.
    pub const fn bytes(self, dimension: usize) -> usize {
        match self {
            Self::Four => dimension / 2,
            Self::Eight => dimension,
        }
    }

    /// Number of levels below zero.
    pub const fn half(self) -> f32 {
        match self {
            Self::Four => 8.0,
            Self::Eight => 128.0,
        }
    }
}

/// Writes each number of `residual` times `scale` as a level: rounded down, plus half the number
/// of levels, held within them. Gives the product of `residual` with the middles of the levels
/// (level - half + 0.5).
///
/// # Panics
/// If `codes` is not [`LevelBits::bytes`] long.
pub fn encode_levels(residual: &[f32], bits: LevelBits, scale: f32, codes: &mut [u8]) -> f32 {
    kernels().encode_levels(residual, bits, scale, codes)
}

/// The product of a row's levels with a query of whole numbers.
///
/// # Panics
/// If `codes` is not [`LevelBits::bytes`] long.
pub fn dot_levels(codes: &[u8], bits: LevelBits, query: &[i8]) -> i32 {
    kernels().dot_levels(codes, bits, query)
}

/// A query in whole numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantised {
    /// What one whole is worth.
    pub scale: f32,
    /// The sum of the whole numbers.
    pub sum: i32,
}

/// Rounds `numbers` to wholes from -127 to 127.
///
/// # Panics
/// If `out` has another length.
pub fn quantise(numbers: &[f32], out: &mut [i8]) -> Quantised {
    kernels().quantise(numbers, out)
}

/// Panics unless `dimension` is a multiple of [`DIMENSION_STEP`] other than 0.
pub(crate) fn check_dimension(dimension: usize) {
    assert!(
        dimension != 0 && dimension.is_multiple_of(DIMENSION_STEP),
        "coded vectors have a multiple of {DIMENSION_STEP} dimensions, not {dimension}"
    );
}

pub(crate) mod bodies;

#[cfg(test)]
mod tests;
