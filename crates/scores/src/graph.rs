//! Which rows are near which: neighbours of many rows, and an exact search for them.
//!
//! What must stay true: neighbours of a row are in ascending distance, equal ones by their number; distances are
//! Euclidean between vectors of length 1, in [0, 2].

use vermilion_kernels::tiles::{Packed, products};
use vermilion_kernels::{l2_squared, squared_norm};

use crate::Matrix;
use crate::parallel;

/// Columns of a tile of products.
const TILE: usize = 1024;

/// For each row its neighbours and how far they are, in compressed rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    offsets: Vec<usize>,
    neighbours: Vec<u32>,
    distances: Vec<f32>,
}

impl Default for Graph {
    /// A graph of nothing.
    fn default() -> Self {
        Self {
            offsets: vec![0],
            neighbours: Vec::new(),
            distances: Vec::new(),
        }
    }
}

impl Graph {
    /// A graph whose row r has the neighbours from `offsets[r]` to `offsets[r + 1]`.
    ///
    /// # Panics
    /// If the offsets do not begin at 0, rise, and end at the number of neighbours, which is that of distances.
    pub fn new(offsets: Vec<usize>, neighbours: Vec<u32>, distances: Vec<f32>) -> Self {
        assert!(
            offsets.first() == Some(&0)
                && offsets.is_sorted()
                && offsets.last() == Some(&neighbours.len())
                && neighbours.len() == distances.len(),
            "{} offsets do not divide {} neighbours with {} distances",
            offsets.len(),
            neighbours.len(),
            distances.len()
        );
        Self {
            offsets,
            neighbours,
            distances,
        }
    }

    /// A graph of rows with `width` neighbours each.
    ///
    /// # Panics
    /// If the neighbours are no whole number of rows, or not as many as distances.
    pub fn uniform(width: usize, neighbours: Vec<u32>, distances: Vec<f32>) -> Self {
        assert!(
            width != 0 && neighbours.len().is_multiple_of(width),
            "rows of {width} neighbours"
        );
        let offsets = (0..=neighbours.len() / width)
            .map(|row| row * width)
            .collect();
        Self::new(offsets, neighbours, distances)
    }

    /// The graph of some of the rows, ascending, alone: they are numbered anew, in their order.
    ///
    /// # Panics
    /// If a row is not there.
    #[must_use]
    pub fn of_rows(&self, rows: &[u32]) -> Self {
        let mut part = Self::default();
        for &row in rows {
            for (neighbour, distance) in self.edges(row as usize) {
                if let Ok(place) = rows.binary_search(&(neighbour as u32)) {
                    part.neighbours.push(place as u32);
                    part.distances.push(distance);
                }
            }
            part.offsets.push(part.neighbours.len());
        }
        part
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The neighbours of a row, nearest first.
    pub fn neighbours(&self, row: usize) -> &[u32] {
        &self.neighbours[self.offsets[row]..self.offsets[row + 1]]
    }

    /// How far they are.
    pub fn distances(&self, row: usize) -> &[f32] {
        &self.distances[self.offsets[row]..self.offsets[row + 1]]
    }

    /// The neighbours of a row, each with how far it is.
    pub fn edges(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let neighbours = self
            .neighbours(row)
            .iter()
            .map(|&neighbour| neighbour as usize);
        neighbours.zip(self.distances(row).iter().copied())
    }

    /// Row by row the neighbours that this graph has or, where `other` has more, those.
    ///
    /// # Panics
    /// If the graphs are not of as many rows.
    #[must_use]
    pub fn or_fuller(&self, other: &Self) -> Self {
        assert!(
            self.len() == other.len(),
            "graphs of {} and {} rows",
            self.len(),
            other.len()
        );
        let mut both = Self::default();
        for row in 0..self.len() {
            let more = other.neighbours(row).len() > self.neighbours(row).len();
            let of = if more { other } else { self };
            both.neighbours.extend_from_slice(of.neighbours(row));
            both.distances.extend_from_slice(of.distances(row));
            both.offsets.push(both.neighbours.len());
        }
        both
    }
}

/// The `count` rows of `reference` that are nearest to each of `queries`, by comparing all: for small data. With
/// `same`, queries are the reference and a row is not its own neighbour.
///
/// # Panics
/// If the dimensions differ, or with `same` the numbers of rows.
pub fn nearest(reference: Matrix<'_>, queries: Matrix<'_>, count: usize, same: bool) -> Graph {
    assert!(
        reference.dimension() == queries.dimension(),
        "rows of different dimensions"
    );
    assert!(
        !same || reference.len() == queries.len(),
        "the queries are not the reference"
    );
    let width = count.min(reference.len() - usize::from(same && !reference.is_empty()));
    if width == 0 {
        return Graph::new(vec![0; queries.len() + 1], Vec::new(), Vec::new());
    }
    let search = Search::new(reference, queries);
    let mut found = vec![(0.0_f32, 0_u32); queries.len() * width];
    parallel::fill(&mut found, width, |first, part| {
        search.fill(first, part, width, same);
    });
    let (distances, neighbours) = found.into_iter().unzip();
    Graph::uniform(width, neighbours, distances)
}

/// An exact search over tiles of products.
struct Search {
    dimension: usize,
    reference: Vec<f32>,
    queries: Vec<f32>,
    /// Columns of a tile, and their squared norms: 1, or 0 for rows of zeros.
    tiles: Vec<(Packed, Vec<f32>)>,
}

impl Search {
    fn new(reference: Matrix<'_>, queries: Matrix<'_>) -> Self {
        let dimension = reference.dimension();
        let rows = reference.unit_rows();
        let tile = |columns: &[f32]| {
            let norms = columns.chunks_exact(dimension).map(squared_norm).collect();
            (Packed::new(columns, dimension), norms)
        };
        let tiles = rows.chunks(TILE * dimension).map(tile).collect();
        Self {
            dimension,
            queries: queries.unit_rows(),
            tiles,
            reference: rows,
        }
    }

    /// Finds the neighbours of the queries from `first` on.
    fn fill(&self, first: usize, part: &mut [(f32, u32)], width: usize, same: bool) {
        let count = part.len() / width;
        let queries = &self.queries[first * self.dimension..(first + count) * self.dimension];
        let mut best: Vec<Vec<(f32, u32)>> = vec![Vec::new(); count];
        let mut found = vec![0.0; count * TILE];
        for (tile, (columns, norms)) in self.tiles.iter().enumerate() {
            let found = &mut found[..count * columns.len()];
            products(queries, columns, found);
            for (at, line) in found.chunks_exact(columns.len()).enumerate() {
                let rows = line.iter().zip(norms).enumerate();
                let rows = rows.map(|(column, (product, norm))| {
                    (norm - 2.0 * product, (tile * TILE + column) as u32)
                });
                let own = (first + at) as u32;
                keep(
                    &mut best[at],
                    rows.filter(|found| !same || found.1 != own),
                    width,
                );
            }
        }
        for (at, best) in best.iter_mut().enumerate() {
            let query = &queries[at * self.dimension..(at + 1) * self.dimension];
            // Differences of near vectors are lost in products, so those that are kept are compared again.
            for (distance, row) in best.iter_mut() {
                let row = *row as usize * self.dimension;
                *distance = l2_squared(query, &self.reference[row..row + self.dimension]).sqrt();
            }
            best.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            part[at * width..(at + 1) * width].copy_from_slice(&best[..width]);
        }
    }
}

/// Keeps the lowest `width` of what is in `best` and `more`, some more for the comparison that follows.
fn keep(best: &mut Vec<(f32, u32)>, more: impl Iterator<Item = (f32, u32)>, width: usize) {
    let kept = width + 8;
    let mut limit = if best.len() < kept {
        f32::INFINITY
    } else {
        worst(best)
    };
    for found in more {
        if found.0 < limit {
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
mod tests;
