//! The best rows for a query: blocks of rows in the order of what their bounds add up to, and the
//! exact sums of all rows of a block.
//!
//! A row of a block can reach no more than the block's bounds of all dimensions of the query
//! together. The most promising blocks raise the mark at once, so that few of the others are read:
//! block-max pruning (Mallia, Suel and Tonellotto, "Faster Learned Sparse Retrieval with Block-Max
//! Pruning", 2024). Bounds are added as whole numbers, so that no rounding can put one below what
//! it bounds.
//!
//! What must stay true: every row whose exact sum is not below the mark is offered, with that sum,
//! added in ascending order of the dimensions.

use std::ops::Range;

use vermilion_kernels::prefetch;

use super::BLOCK_ROWS;
use super::index::{KeyIndex, RowBlocks, Term};
use crate::Result;
use crate::segments::RowSet;
use crate::segments::row_set::set_bits;

/// What all bounds together come to at most, but for what rounding up adds.
const SCALE: f64 = (1u32 << 29) as f64;
/// Blocks whose postings are found from one remembered place.
const STRIDE: usize = 64;
/// A row is looked up in each dimension rather than met in its postings where that is so many
/// times cheaper.
const LOOK_UP_FACTOR: u64 = 16;
/// Blocks that are fetched into a cache while others are searched.
const AHEAD: usize = 8;
/// Bits of a bound by which blocks are put in order. With more of them, blocks that are read one
/// after the other would seldom be neighbours in memory.
const ORDER_BITS: u32 = 4;

impl KeyIndex<'_> {
    /// Offers the rows whose sum of products with `query`, dimensions and weights by ascending
    /// dimension, is not below the mark: `least`, and then what `offer` answers. Rows beside
    /// `among` are passed over.
    pub fn search(
        &self,
        query: &[(u32, f64)],
        among: &RowSet,
        least: f64,
        offer: &mut dyn FnMut(u32, f64) -> f64,
    ) -> Result<()> {
        let mut terms = Vec::new();
        for &(dimension, weight) in query {
            if let Some(term) = self.term(dimension)? {
                terms.push((term, weight));
            }
        }
        let postings: u64 = terms.iter().map(|(term, _)| term.rows.len() as u64).sum();
        let looked_up = u64::from(among.len()) * terms.len() as u64;
        if looked_up * LOOK_UP_FACTOR < postings {
            look_up(&terms, among, offer);
            return Ok(());
        }
        let reach: f64 = terms.iter().map(reach).sum();
        let scale = if reach > 0.0 { SCALE / reach } else { 1.0 };
        let mut bounds = vec![0; among.words().len()];
        let terms = terms.into_iter();
        let terms = terms.map(|(term, weight)| Weighted::new(term, weight, scale, &mut bounds));
        let mut search = Search {
            terms: terms.collect(),
            among,
            scale,
            bounds,
            least: f64::NEG_INFINITY,
            mark: 0,
        };
        search.set_mark(least);
        search.run(offer);
        Ok(())
    }
}

/// The most that `term` with its weight can be away from 0.
fn reach((term, weight): &(Term<'_>, f64)) -> f64 {
    let most = if let Some(blocks) = &term.blocks {
        blocks.low.abs().max(blocks.bound(u8::MAX).abs())
    } else {
        let values = term.values.iter().copied().map(f32::abs);
        values.fold(0.0, f32::max).into()
    };
    (weight * most).abs()
}

/// Offers every row of `among` that has one of the dimensions.
fn look_up(terms: &[(Term<'_>, f64)], among: &RowSet, offer: &mut dyn FnMut(u32, f64) -> f64) {
    for row in among.iter() {
        let products = terms.iter().filter_map(|(term, weight)| {
            let at = term.rows.binary_search(&row).ok()?;
            Some(weight * f64::from(term.values[at]))
        });
        if let Some(sum) = products.reduce(|a, b| a + b) {
            offer(row, sum);
        }
    }
}

/// A dimension of the query that some row has.
struct Weighted<'a> {
    term: Term<'a>,
    weight: f64,
    /// Where the postings of each [`STRIDE`] blocks begin, and their end.
    starts: Vec<u32>,
}

impl<'a> Weighted<'a> {
    /// Adds what the dimension can add to a row of each block to its number of `bounds`: at least 1
    /// where a row has it, so that only blocks without any posting stay at 0.
    fn new(term: Term<'a>, weight: f64, scale: f64, bounds: &mut [i32]) -> Self {
        let strides = bounds.len().div_ceil(STRIDE);
        let starts = match &term.blocks {
            Some(blocks) => {
                add_common(blocks, weight * scale, bounds);
                starts_common(blocks, strides)
            }
            None => add_rare(&term, weight * scale, bounds, strides),
        };
        Self {
            term,
            weight,
            starts,
        }
    }

    /// The postings of `block`.
    fn postings(&self, block: usize) -> Range<usize> {
        let stride = block / STRIDE;
        let Some(blocks) = &self.term.blocks else {
            let [from, end] = [stride, stride + 1].map(|at| self.starts[at] as usize);
            let below = |from: usize, row: usize| {
                let rows = &self.term.rows[from..end];
                from + rows.partition_point(|&one| (one as usize) < row)
            };
            let first = below(from, block * BLOCK_ROWS);
            return first..below(first, (block + 1) * BLOCK_ROWS);
        };
        let Some(&count) = blocks.counts.get(block) else {
            return 0..0;
        };
        let before = &blocks.counts[stride * STRIDE..block];
        let before: u32 = before.iter().map(|&count| u32::from(count)).sum();
        let first = (self.starts[stride] + before) as usize;
        first..first + usize::from(count)
    }
}

/// `number` rounded up, and one more for what computing it lost; 1 at least.
fn bound_of(number: f64) -> i32 {
    (number.ceil() as i32).saturating_add(1).max(1)
}

fn add_common(blocks: &RowBlocks<'_>, weight: f64, bounds: &mut [i32]) {
    let (codes, first) = if weight < 0.0 {
        (blocks.lowest, blocks.low)
    } else {
        (blocks.highest, blocks.low + blocks.step)
    };
    let base = (weight * first).ceil() as i32;
    let slope = (weight * blocks.step).ceil() as i32;
    for ((bound, &code), &count) in bounds.iter_mut().zip(codes).zip(blocks.counts) {
        // Damaged numbers must not end the process.
        let own = slope.wrapping_mul(code.into()).wrapping_add(base);
        let own = own.wrapping_add(1).max(1);
        *bound = bound.wrapping_add(if count > 0 { own } else { 0 });
    }
}

fn starts_common(blocks: &RowBlocks<'_>, strides: usize) -> Vec<u32> {
    let mut starts = vec![0];
    let mut start = 0;
    for counts in blocks.counts.chunks(STRIDE) {
        start += counts.iter().map(|&count| u32::from(count)).sum::<u32>();
        starts.push(start);
    }
    starts.resize(strides + 1, start);
    starts
}

/// Adds the bounds of a dimension that few rows have, and answers where the postings of each stride
/// begin.
fn add_rare(term: &Term<'_>, weight: f64, bounds: &mut [i32], strides: usize) -> Vec<u32> {
    let mut starts = Vec::with_capacity(strides + 1);
    let mut at = 0;
    while let Some(&row) = term.rows.get(at) {
        let block = row as usize / BLOCK_ROWS;
        while starts.len() <= (block / STRIDE).min(strides) {
            starts.push(at as u32);
        }
        let mut own = 1;
        while let Some(&row) = term.rows.get(at)
            && row as usize / BLOCK_ROWS == block
        {
            own = own.max(bound_of(weight * f64::from(term.values[at])));
            at += 1;
        }
        if let Some(bound) = bounds.get_mut(block) {
            *bound = bound.wrapping_add(own);
        }
    }
    starts.resize(strides + 1, at as u32);
    starts
}

struct Search<'a> {
    terms: Vec<Weighted<'a>>,
    among: &'a RowSet,
    scale: f64,
    /// For each block what the dimensions can add up to in one row.
    bounds: Vec<i32>,
    /// Rows with a lower sum are out, and blocks with a bound below `mark`, the same at scale.
    least: f64,
    mark: i32,
}

impl Search<'_> {
    fn run(&mut self, offer: &mut dyn FnMut(u32, f64) -> f64) {
        let order = self.order();
        let terms = self.terms.len();
        // The postings of the next blocks, which are on their way to a cache.
        let mut ahead = vec![0..0; AHEAD * terms];
        for at in 0..order.len() + AHEAD {
            let place = at % AHEAD * terms;
            if at >= AHEAD {
                let block = order[at - AHEAD] as usize;
                if self.bounds[block] >= self.mark {
                    self.search_block(block, &ahead[place..place + terms], offer);
                }
            }
            let Some(&block) = order.get(at) else {
                continue;
            };
            if self.bounds[block as usize] >= self.mark {
                for (one, next) in self.terms.iter().zip(&mut ahead[place..]) {
                    *next = one.postings(block as usize);
                    prefetch(bytemuck::cast_slice(&one.term.rows[next.clone()]));
                    prefetch(bytemuck::cast_slice(&one.term.values[next.clone()]));
                }
            }
        }
    }

    /// Raises the mark: blocks that are not fetched are never wanted later.
    fn set_mark(&mut self, least: f64) {
        self.least = self.least.max(least);
        // Casting stops at the ends of the range. One less makes up for rounding, and a block
        // without postings has the bound 0.
        self.mark = ((self.least * self.scale).floor() - 1.0).max(1.0) as i32;
    }

    /// The blocks that reach the mark, about from the best on.
    fn order(&self) -> Vec<u32> {
        let wanted = || {
            let blocks = self.bounds.iter().zip(self.among.words()).zip(0..);
            let blocks = blocks.filter(|((bound, among), _)| **bound >= self.mark && **among != 0);
            blocks.map(|((bound, _), block)| (*bound as u32, block))
        };
        let most = wanted().map(|(bound, _)| bound).max().unwrap_or(0);
        let shift = (u32::BITS - most.leading_zeros()).saturating_sub(ORDER_BITS);
        let place = |bound: u32| ((most >> shift) - (bound >> shift)) as usize;
        let mut places = vec![0u32; place(0) + 2];
        wanted().for_each(|(bound, _)| places[place(bound) + 1] += 1);
        for at in 1..places.len() {
            places[at] += places[at - 1];
        }
        let mut order = vec![0; places[places.len() - 1] as usize];
        for (bound, block) in wanted() {
            let next = &mut places[place(bound)];
            order[*next as usize] = block;
            *next += 1;
        }
        order
    }

    /// Offers the rows of `block` that reach the mark.
    fn search_block(
        &mut self,
        block: usize,
        postings: &[Range<usize>],
        offer: &mut dyn FnMut(u32, f64) -> f64,
    ) {
        // What a number is added to without any trace, not even in the sign of a zero.
        let mut sums = [-0.0f64; BLOCK_ROWS];
        let mut met = 0u64;
        for (one, postings) in self.terms.iter().zip(postings) {
            let rows = &one.term.rows[postings.clone()];
            for (&row, &value) in rows.iter().zip(&one.term.values[postings.clone()]) {
                // Sound rows are in the block, each once; damaged ones must not end the process.
                let at = row as usize % BLOCK_ROWS;
                sums[at] += one.weight * f64::from(value);
                met |= 1 << at;
            }
        }
        for bit in set_bits(met & self.among.words()[block]) {
            let sum = sums[bit as usize];
            if sum >= self.least {
                let row = (block * BLOCK_ROWS) as u32 + bit;
                let least = offer(row, sum);
                self.set_mark(least);
            }
        }
    }
}
