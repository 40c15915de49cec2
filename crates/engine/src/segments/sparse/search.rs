//! The best rows for a query: bounds added up by windows of rows, exact products for what is left.
//!
//! A window's rows have a sum each. Dimensions are taken in order of what they can add in this
//! window: the smallest, as long as they cannot carry a row over the mark by themselves, are left
//! out of the sums (MaxScore; Turtle and Flood 1995), and only looked up for the rows that the
//! others leave in the race. Sums are whole numbers, so that no rounding can put a bound below what
//! it bounds.
//!
//! What must stay true: every row whose exact sum is not below the mark is offered, with that sum,
//! added in ascending order of the dimensions.

use super::BLOCK_POSTINGS;
use super::index::{KeyIndex, Term};
use crate::Result;
use crate::segments::RowSet;
use crate::segments::row_set::set_bits;

/// Rows of a window.
const WINDOW: usize = 4096;
/// What all bounds together come to at most, but for what rounding up adds.
const SCALE: f64 = (1u32 << 29) as f64;
/// A row is looked up in each dimension rather than met in its postings where that is so many
/// times cheaper.
const LOOK_UP_FACTOR: u64 = 16;

/// A dimension of the query that some row has.
struct Weighted<'a> {
    term: Term<'a>,
    weight: f64,
    /// The bound of a posting is `base + slope * code`.
    base: i32,
    slope: i32,
    /// The first posting that is not before the window.
    cursor: usize,
}

impl Weighted<'_> {
    /// The most that `term` with `weight` can be away from 0.
    fn reach(&self) -> f64 {
        let high = self.term.low + self.term.step * f64::from(super::CODES);
        (self.weight * self.term.low)
            .abs()
            .max((self.weight * high).abs())
    }

    fn scale(&mut self, scale: f64) {
        let Term { low, step, .. } = self.term;
        let first = if self.weight < 0.0 { low } else { low + step };
        self.base = (self.weight * first * scale).ceil() as i32 + 1;
        self.slope = (self.weight * step * scale).ceil() as i32;
    }

    fn bound(&self, code: u8) -> i32 {
        self.base + self.slope * i32::from(code)
    }

    /// The exact product for `row`, looked up among the postings of `range`.
    fn product(&self, row: u32, range: std::ops::Range<usize>) -> Option<f64> {
        let at = self.term.rows[range.clone()].binary_search(&row).ok()?;
        Some(self.weight * f64::from(self.term.values[range.start + at]))
    }
}

/// A dimension with postings in the window.
#[derive(Clone)]
struct Active {
    number: usize,
    postings: std::ops::Range<usize>,
    /// The most it can add to a row's sum; a row may also be without it.
    bound: i32,
}

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
                terms.push(Weighted {
                    term,
                    weight,
                    base: 0,
                    slope: 0,
                    cursor: 0,
                });
            }
        }
        let postings: u64 = terms.iter().map(|one| one.term.rows.len() as u64).sum();
        let looked_up = u64::from(among.len()) * terms.len() as u64;
        if looked_up * LOOK_UP_FACTOR < postings {
            look_up(&terms, among, offer);
            return Ok(());
        }
        let reach: f64 = terms.iter().map(Weighted::reach).sum();
        let scale = if reach > 0.0 { SCALE / reach } else { 1.0 };
        terms.iter_mut().for_each(|one| one.scale(scale));
        Search {
            terms,
            among,
            scale,
            mark: 0,
            sums: vec![0; WINDOW],
            met: vec![0; WINDOW / 64],
            active: Vec::new(),
            candidates: Vec::new(),
        }
        .run(least, offer);
        Ok(())
    }
}

/// Offers every row of `among` that has one of the dimensions.
fn look_up(terms: &[Weighted<'_>], among: &RowSet, offer: &mut dyn FnMut(u32, f64) -> f64) {
    for row in among.iter() {
        let products = terms
            .iter()
            .filter_map(|one| one.product(row, 0..one.term.rows.len()));
        if let Some(sum) = products.reduce(|a, b| a + b) {
            offer(row, sum);
        }
    }
}

struct Search<'a> {
    terms: Vec<Weighted<'a>>,
    among: &'a RowSet,
    scale: f64,
    /// Rows whose bounds add up to less are out.
    mark: i32,
    sums: Vec<i32>,
    /// The rows of the window that a dimension was added for, one bit each.
    met: Vec<u64>,
    active: Vec<Active>,
    /// Rows that are still in the race, with their bounds.
    candidates: Vec<(i32, u32)>,
}

impl Search<'_> {
    fn run(&mut self, least: f64, offer: &mut dyn FnMut(u32, f64) -> f64) {
        self.set_mark(least);
        let rows = self.among.rows() as usize;
        for first in (0..rows).step_by(WINDOW) {
            self.enter(first);
            let most: i32 = self.active.iter().map(|one| one.bound).sum();
            if self.active.is_empty() || most < self.mark {
                continue;
            }
            let rest = self.add_up(first);
            self.gather(first, rest);
            self.offer_all(offer);
        }
    }

    fn set_mark(&mut self, least: f64) {
        // Casting stops at the ends of the range. One less makes up for rounding.
        self.mark = ((least * self.scale).floor() - 1.0) as i32;
    }

    /// Finds the postings of the window that begins at row `first`.
    fn enter(&mut self, first: usize) {
        let end = (first + WINDOW) as u64;
        self.active.clear();
        for (number, one) in self.terms.iter_mut().enumerate() {
            let start = one.cursor;
            one.cursor = start + count_below(&one.term.rows[start..], end);
            if one.cursor == start {
                continue;
            }
            let blocks = start / BLOCK_POSTINGS..=(one.cursor - 1) / BLOCK_POSTINGS;
            let bounds = one.term.bounds[blocks].iter();
            let (lowest, highest) = bounds.fold((u8::MAX, 0), |(lowest, highest), bounds| {
                (lowest.min(bounds[0]), highest.max(bounds[1]))
            });
            self.active.push(Active {
                number,
                postings: start..one.cursor,
                bound: one.bound(lowest).max(one.bound(highest)).max(0),
            });
        }
    }

    /// Adds up the bounds of all dimensions that can decide; answers what the others can add.
    fn add_up(&mut self, first: usize) -> i32 {
        self.active
            .sort_unstable_by_key(|one| (one.bound, one.number));
        let mut rest = 0;
        let mut left_out = 0;
        for one in &self.active {
            if rest + one.bound >= self.mark {
                break;
            }
            rest += one.bound;
            left_out += 1;
        }
        self.sums.fill(0);
        self.met.fill(0);
        for active in &self.active[left_out..] {
            let one = &self.terms[active.number];
            let rows = &one.term.rows[active.postings.clone()];
            let codes = &one.term.codes[active.postings.clone()];
            for (&row, &code) in rows.iter().zip(codes) {
                // Sound rows are in the window, each once; damaged ones must not end the process.
                let at = (row as usize).wrapping_sub(first) % WINDOW;
                self.sums[at] = self.sums[at].wrapping_add(one.bound(code));
                self.met[at / 64] |= 1 << (at % 64);
            }
        }
        rest
    }

    /// Gathers the rows whose bounds reach the mark, the best first.
    fn gather(&mut self, first: usize, rest: i32) {
        self.candidates.clear();
        let least = self.mark.saturating_sub(rest);
        for (word, &met) in self.met.iter().enumerate() {
            let word_of = |words: &[u64]| words.get(first / 64 + word).copied().unwrap_or(0);
            for bit in set_bits(met & word_of(self.among.words())) {
                let at = word * 64 + bit as usize;
                let sum = self.sums[at];
                if sum >= least {
                    self.candidates
                        .push((sum.saturating_add(rest), (first + at) as u32));
                }
            }
        }
        let order = |one: &(i32, u32)| (std::cmp::Reverse(one.0), one.1);
        self.candidates.sort_unstable_by_key(order);
        // The exact sum is added in the order of the dimensions.
        self.active.sort_unstable_by_key(|one| one.number);
    }

    fn offer_all(&mut self, offer: &mut dyn FnMut(u32, f64) -> f64) {
        for at in 0..self.candidates.len() {
            let (bound, row) = self.candidates[at];
            if bound < self.mark {
                break;
            }
            let products = self.active.iter().filter_map(|active| {
                let one = &self.terms[active.number];
                one.product(row, active.postings.clone())
            });
            if let Some(sum) = products.reduce(|a, b| a + b) {
                let least = offer(row, sum);
                self.set_mark(least);
            }
        }
    }
}

/// How many of `rows`, which ascend, are below `end`.
fn count_below(rows: &[u32], end: u64) -> usize {
    let below = |row: &u32| u64::from(*row) < end;
    let mut width = 1;
    while rows.get(width - 1).is_some_and(below) {
        width *= 2;
    }
    let from = width / 2;
    from + rows[from..rows.len().min(width)].partition_point(below)
}
