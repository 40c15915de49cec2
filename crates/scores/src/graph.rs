//! Which rows are near which: neighbours of many rows, and an exact search for them.
//!
//! What must stay true: neighbours of a row are in ascending distance, equal ones by their number; distances are
//! Euclidean between vectors of length 1, in [0, 2].

use crate::{Matrix, UnitRows};

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

/// How much each of the neighbours at these distances counts: `exp(-d^2 / 2 s^2)`, with s^2 the mean of the d^2, which is at
/// most 1, so that one duplicate does not outvote the rest.
pub(crate) fn vote_weights(distances: &[f32]) -> Vec<f64> {
    let squares = distances.iter().map(|&d| f64::from(d).powi(2));
    let mean = squares.clone().sum::<f64>() / distances.len().max(1) as f64;
    let weight = |square: f64| {
        if mean > 0.0 {
            (-square / (2.0 * mean)).exp()
        } else {
            1.0
        }
    };
    squares.map(weight).collect()
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
    let rows = UnitRows::of(reference);
    let found = rows.nearest(queries, width, |query, row| !same || row as usize != query);
    let (neighbours, distances) = found.into_iter().flatten().unzip();
    Graph::uniform(width, neighbours, distances)
}

#[cfg(test)]
mod tests;
