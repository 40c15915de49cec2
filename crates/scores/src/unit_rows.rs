//! Rows of length 1 that come and go, and an exact search for the nearest of them: by direction, or with the lengths
//! that they had.
//!
//! What must stay true: distances by direction are Euclidean between vectors of length 1, in [0, 2]; whoever is found is
//! compared number by number, so that near rows are told apart; rows of zeros stay as they are. The last row
//! takes the place of one that leaves, so that places are numbers without gaps. Both searches at once cost the products
//! of one.

use vermilion_kernels::tiles::{Packed, products};
use vermilion_kernels::{l2_squared, squared_norm};

use crate::Matrix;
use crate::parallel;

/// Columns of a tile of products.
const TILE: usize = 1024;
/// What is kept beyond what is asked for, for the comparison that follows: products lose the differences of
/// near vectors.
const SPARE: usize = 8;

/// See the head of this file.
///
/// ```
/// use vermilion_scores::{Matrix, UnitRows};
///
/// let mut rows = UnitRows::new(2);
/// rows.push(&[3.0, 0.0]);
/// rows.push(&[0.0, 0.5]);
/// rows.settle();
/// let found = rows.nearest(Matrix::new(&[9.0, 1.0], 2), 1, |_, _| true);
/// assert_eq!(found[0][0].0, 0);
/// ```
#[derive(Clone, Debug)]
pub struct UnitRows {
    dimension: usize,
    rows: Vec<f32>,
    /// How long each was.
    lengths: Vec<f32>,
    /// Laid out for products, each with the squared norms of its rows: 1, or 0 for rows of zeros. `None` where
    /// a row of it changed since.
    tiles: Vec<Option<(Packed, Vec<f32>)>>,
}

impl UnitRows {
    /// No rows of so many numbers.
    ///
    /// # Panics
    /// If that is 0.
    pub fn new(dimension: usize) -> Self {
        assert!(dimension != 0, "rows have numbers");
        Self {
            dimension,
            rows: Vec::new(),
            lengths: Vec::new(),
            tiles: Vec::new(),
        }
    }

    /// These rows, settled.
    pub fn of(rows: Matrix<'_>) -> Self {
        let dimension = rows.dimension();
        let lengths = rows.rows().map(length).collect();
        let rows = rows.unit_rows();
        let mut all = Self {
            dimension,
            lengths,
            tiles: (0..(rows.len() / dimension).div_ceil(TILE))
                .map(|_| None)
                .collect(),
            rows,
        };
        all.settle();
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len() / self.dimension
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row at the end.
    ///
    /// # Panics
    /// If it has another dimension.
    pub fn push(&mut self, row: &[f32]) {
        let at = self.len();
        assert!(row.len() == self.dimension, "a row of another dimension");
        self.rows
            .extend(Matrix::new(row, self.dimension).unit_rows());
        self.lengths.push(length(row));
        self.change(at);
    }

    /// Puts a row in the place of another.
    ///
    /// # Panics
    /// If it has another dimension, or the other is not there.
    pub fn set(&mut self, at: usize, row: &[f32]) {
        assert!(row.len() == self.dimension, "a row of another dimension");
        let unit = Matrix::new(row, self.dimension).unit_rows();
        self.rows[at * self.dimension..(at + 1) * self.dimension].copy_from_slice(&unit);
        self.lengths[at] = length(row);
        self.change(at);
    }

    /// Takes a row away; the last one takes its place.
    ///
    /// # Panics
    /// If it is not there.
    pub fn swap_remove(&mut self, at: usize) {
        let last = self.len() - 1;
        let from = last * self.dimension;
        self.rows.copy_within(from.., at * self.dimension);
        self.rows.truncate(from);
        self.lengths.swap_remove(at);
        self.change(at);
        self.change(last);
        self.tiles.truncate(last.div_ceil(TILE));
    }

    fn change(&mut self, at: usize) {
        let tile = at / TILE;
        if self.tiles.len() <= tile {
            self.tiles.resize(tile + 1, None);
        }
        self.tiles[tile] = None;
    }

    /// Makes what changed ready to be searched.
    pub fn settle(&mut self) {
        let parts = self.rows.chunks(TILE * self.dimension);
        for (tile, columns) in self.tiles.iter_mut().zip(parts) {
            if tile.is_none() {
                let norms = columns.chunks_exact(self.dimension).map(squared_norm);
                let norms = norms.collect();
                *tile = Some((Packed::new(columns, self.dimension), norms));
            }
        }
    }

    /// Whether nothing changed since it was made ready.
    pub fn is_settled(&self) -> bool {
        self.tiles.iter().all(Option::is_some)
    }

    /// The `count` rows that are nearest to each of `queries`, nearest first, equal ones by their number, of those
    /// that `admits`, which is asked with the number of the query and of the row.
    ///
    /// # Panics
    /// If the dimensions differ, or something changed since the rows were settled.
    pub fn nearest(
        &self,
        queries: Matrix<'_>,
        count: usize,
        admits: impl Fn(usize, u32) -> bool + Sync,
    ) -> Vec<Vec<(u32, f32)>> {
        let mut found = vec![[Vec::new()]; queries.len()];
        self.search(queries, &mut found, [By::Direction], count, &admits);
        found.into_iter().map(|[found]| found).collect()
    }

    /// The same by direction, and by how far rows are with the lengths that they had.
    ///
    /// # Panics
    /// As [`Self::nearest`].
    pub fn nearest_both(
        &self,
        queries: Matrix<'_>,
        count: usize,
        admits: impl Fn(usize, u32) -> bool + Sync,
    ) -> Vec<[Vec<(u32, f32)>; 2]> {
        let mut found = vec![[Vec::new(), Vec::new()]; queries.len()];
        let by = [By::Direction, By::Lengths];
        self.search(queries, &mut found, by, count, &admits);
        found
    }

    fn search<const N: usize>(
        &self,
        queries: Matrix<'_>,
        found: &mut [[Vec<(u32, f32)>; N]],
        by: [By; N],
        count: usize,
        admits: &(impl Fn(usize, u32) -> bool + Sync),
    ) {
        assert!(
            queries.dimension() == self.dimension,
            "rows of different dimensions"
        );
        assert!(self.is_settled(), "the rows are not settled");
        let lengths: Vec<f32> = queries.rows().map(length).collect();
        let queries = queries.unit_rows();
        if count != 0 {
            parallel::fill(found, 1, |first, part| {
                let part_of = first..first + part.len();
                let asked = Asked {
                    first,
                    rows: &queries[first * self.dimension..part_of.end * self.dimension],
                    lengths: &lengths[part_of],
                };
                self.fill(&asked, part, by, count, admits);
            });
        }
    }

    /// Finds the neighbours of some queries.
    fn fill<const N: usize>(
        &self,
        asked: &Asked<'_>,
        found: &mut [[Vec<(u32, f32)>; N]],
        by: [By; N],
        count: usize,
        admits: &impl Fn(usize, u32) -> bool,
    ) {
        let mut best: Vec<[Vec<(f32, u32)>; N]> = vec![[const { Vec::new() }; N]; found.len()];
        let mut room = vec![0.0; found.len() * TILE];
        for (tile, made) in self.tiles.iter().enumerate() {
            let Some((columns, norms)) = made else {
                continue;
            };
            let room = &mut room[..found.len() * columns.len()];
            products(asked.rows, columns, room);
            for (at, line) in room.chunks_exact(columns.len()).enumerate() {
                let admitted = |found: &(f32, u32)| admits(asked.first + at, found.1);
                let place = |column: usize| (tile * TILE + column) as u32;
                let lines = line.iter().zip(norms).enumerate();
                for (by, best) in by.iter().zip(&mut best[at]) {
                    match by {
                        By::Direction => {
                            let rows = lines.clone().map(|(column, (product, norm))| {
                                (norm - 2.0 * product, place(column))
                            });
                            keep(best, rows, admitted, count);
                        }
                        By::Lengths => {
                            // In lengths of the query, so that squares of very large and very small ones stay finite.
                            let unit = Some(asked.lengths[at]).filter(|length| *length > 0.0);
                            let scale = 1.0 / f64::from(unit.unwrap_or(1.0));
                            let lengths = &self.lengths[tile * TILE..];
                            let rows = lines.clone().zip(lengths).map(
                                |((column, (product, _)), length)| {
                                    let length = (f64::from(*length) * scale) as f32;
                                    let apart = length * (length - 2.0 * product);
                                    (apart.min(f32::MAX), place(column))
                                },
                            );
                            keep(best, rows, admitted, count);
                        }
                    }
                }
            }
        }
        let queries = asked.rows.chunks_exact(self.dimension).zip(asked.lengths);
        for ((best, query), found) in best.into_iter().zip(queries).zip(found) {
            for ((best, by), found) in best.into_iter().zip(by).zip(found) {
                let exact = best
                    .into_iter()
                    .map(|(_, row)| (row, self.distance(query, row as usize, by)));
                *found = exact.collect();
                found.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
                found.truncate(count);
            }
        }
    }

    /// How far a row is from a query, which is of length 1, with the length that it had.
    fn distance(&self, (query, length): (&[f32], &f32), row: usize, by: By) -> f32 {
        let other = &self.rows[row * self.dimension..(row + 1) * self.dimension];
        match by {
            By::Direction => l2_squared(query, other).sqrt(),
            By::Lengths => {
                let (own, of_row) = (f64::from(*length), f64::from(self.lengths[row]));
                (scaled_distance((query, own), (other, of_row)) as f32).min(f32::MAX)
            }
        }
    }
}

/// What is near.
#[derive(Clone, Copy)]
enum By {
    Direction,
    Lengths,
}

/// Queries, the first of which has the number `first`: at length 1, and how long they were.
struct Asked<'a> {
    first: usize,
    rows: &'a [f32],
    lengths: &'a [f32],
}

/// How far two vectors are from each other, each multiplied by its number.
pub fn scaled_distance((a, of_a): (&[f32], f64), (b, of_b): (&[f32], f64)) -> f64 {
    let difference = |(x, y): (&f32, &f32)| f64::from(*x) * of_a - f64::from(*y) * of_b;
    let square: f64 = a.iter().zip(b).map(|pair| difference(pair).powi(2)).sum();
    square.sqrt()
}

/// How long a row is.
fn length(row: &[f32]) -> f32 {
    let squares = row.iter().map(|&value| f64::from(value).powi(2));
    (squares.sum::<f64>().sqrt() as f32).min(f32::MAX)
}

/// Keeps the lowest `width` of what is in `best` and what is admitted of `more`, some more for the comparison
/// that follows.
fn keep(
    best: &mut Vec<(f32, u32)>,
    more: impl Iterator<Item = (f32, u32)>,
    admitted: impl Fn(&(f32, u32)) -> bool,
    width: usize,
) {
    let kept = width + SPARE;
    let mut limit = if best.len() < kept {
        f32::INFINITY
    } else {
        worst(best)
    };
    for found in more {
        if found.0 < limit && admitted(&found) {
            best.push(found);
            if best.len() >= 4 * kept {
                cut(best, kept);
                limit = worst(best);
            }
        }
    }
    cut(best, kept);
}

fn cut(best: &mut Vec<(f32, u32)>, kept: usize) {
    if best.len() > kept {
        best.select_nth_unstable_by(kept - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        best.truncate(kept);
    }
}

fn worst(best: &[(f32, u32)]) -> f32 {
    best.iter()
        .fold(f32::NEG_INFINITY, |most, found| most.max(found.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nearest;

    /// Numbers that repeat themselves in every run.
    fn numbers(count: usize) -> Vec<f32> {
        let mut state = 7_u64;
        let next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn rows_that_came_and_went_are_searched_as_if_they_had_come_at_once() {
        let dimension = 6;
        let numbers = numbers(3000 * dimension);
        let matrix = Matrix::new(&numbers, dimension);
        let mut rows = UnitRows::new(dimension);
        let mut known: Vec<usize> = Vec::new();
        for at in 0..3000 {
            rows.push(matrix.row(at));
            known.push(at);
            if at % 3 == 0 {
                let gone = at * 7 % known.len();
                rows.swap_remove(gone);
                known.swap_remove(gone);
            }
            if at % 500 == 0 {
                rows.settle();
            }
        }
        rows.set(5, matrix.row(known[9]));
        known[5] = known[9];
        rows.settle();
        let queries = matrix.slice(0, 40);
        let left = matrix.gather(&known);
        let expected = nearest(Matrix::new(&left, dimension), queries, 12, false);
        for (query, found) in rows.nearest(queries, 12, |_, _| true).iter().enumerate() {
            let expected: Vec<(u32, f32)> = expected
                .edges(query)
                .map(|(row, distance)| (row as u32, distance))
                .collect();
            assert_eq!(found, &expected);
        }
        let both = rows.nearest_both(queries, 12, |_, _| true);
        for (query, [by_direction, by_lengths]) in both.into_iter().enumerate() {
            assert_eq!(by_direction, rows.nearest(queries, 12, |_, _| true)[query]);
            let apart = |row: usize| -> f64 {
                let other = &left[row * dimension..(row + 1) * dimension];
                let pairs = queries.row(query).iter().zip(other);
                pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum()
            };
            let mut expected: Vec<usize> = (0..known.len()).collect();
            expected.sort_by(|a, b| apart(*a).total_cmp(&apart(*b)));
            for (at, (row, distance)) in by_lengths.into_iter().enumerate() {
                assert!((apart(expected[at]).sqrt() - f64::from(distance)).abs() < 1e-5);
                assert!((apart(row as usize).sqrt() - f64::from(distance)).abs() < 1e-5);
            }
        }
        let even = rows.nearest(queries, 12, |_, row| row % 2 == 0);
        assert!(even.iter().flatten().all(|one| one.0 % 2 == 0));
        assert!(even.iter().all(|found| found.len() == 12));
    }

    #[test]
    fn the_last_row_may_leave() {
        let mut rows = UnitRows::new(1);
        rows.push(&[2.0]);
        rows.swap_remove(0);
        rows.settle();
        assert!(
            rows.is_empty() && rows.nearest(Matrix::new(&[1.0], 1), 3, |_, _| true)[0].is_empty()
        );
    }
}
