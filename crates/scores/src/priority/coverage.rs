//! How much of the mass is covered: what outlives the making of a list, so that new records and decisions count at once.
//!
//! What must stay true: coverages only rise, and the uncovered mass is the sum of `w_j (1 - c_j)` up to rounding.

use super::mass::Similarity;

/// Similarity from which on one record stands for another.
const SIMILAR: f64 = 0.5;

/// Masses and coverages of records by their number; those that come later are numbered on.
#[derive(Clone, Debug)]
pub struct Coverage {
    similarity: Similarity,
    mass: Vec<f32>,
    covered: Vec<f32>,
    first_gain: f64,
    at_first: f64,
    uncovered: f64,
}

impl Coverage {
    pub(super) fn new(similarity: Similarity, mass: Vec<f32>, covered: Vec<f32>) -> Self {
        let left = mass.iter().zip(&covered);
        let left = left.map(|(&mass, &covered)| f64::from(mass) * (1.0 - f64::from(covered)));
        let uncovered = left.sum();
        Self {
            similarity,
            mass,
            covered,
            first_gain: 0.0,
            at_first: uncovered,
            uncovered,
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.mass.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.mass.is_empty()
    }

    /// The mass of all records, covered or not.
    pub fn mass(&self) -> f64 {
        self.mass.iter().map(|&mass| f64::from(mass)).sum()
    }

    /// The mass that nothing covers: a list is due again when it has grown.
    pub fn uncovered(&self) -> f64 {
        self.uncovered
    }

    /// The share of the mass that was not covered at first and is now, in [0, 1]; 1 where there was none.
    pub fn share(&self) -> f64 {
        if self.at_first > 0.0 {
            (1.0 - self.uncovered / self.at_first).clamp(0.0, 1.0)
        } else {
            1.0
        }
    }

    /// The provisional priority of a record that came after the list was made: what it would add now, by the gain of
    /// the first pick, at most 1. Its neighbours are records of the coverage.
    ///
    /// # Panics
    /// If a neighbour is none of them.
    pub fn priority_of(&self, neighbours: &[u32], distances: &[f32]) -> f64 {
        let gain = self.gain(neighbours.iter().copied().zip(distances.iter().copied()));
        self.by_first(gain).min(1.0)
    }

    /// Adds a record with this mass, its rank of uncertainty to the list's exponent, and how far the nearest labelled
    /// record is (infinity without one). Returns its number.
    pub fn push(&mut self, mass: f64, labelled: f32) -> u32 {
        let mass = mass.clamp(0.0, 1.0) as f32;
        let covered = self.similarity.of(labelled) as f32;
        let left = f64::from(mass) * (1.0 - f64::from(covered));
        self.mass.push(mass);
        self.covered.push(covered);
        self.uncovered += left;
        self.at_first += left;
        (self.mass.len() - 1) as u32
    }

    /// Covers a record that was picked or labelled, and what is like it. Returns for how many of the neighbours it
    /// stands: those that it covers by half at least, and that nothing covered as much.
    ///
    /// # Panics
    /// If the record or a neighbour is none of the coverage.
    pub fn take(&mut self, row: u32, neighbours: &[u32], distances: &[f32]) -> u32 {
        self.cover(row as usize, 1.0);
        let mut stands_for = 0;
        for (&other, &distance) in neighbours.iter().zip(distances) {
            let similarity = self.similarity.of(distance);
            let raises = self.cover(other as usize, similarity as f32);
            stands_for += u32::from(raises && similarity >= SIMILAR);
        }
        stands_for
    }

    /// Covers a record so far at least; whether that is farther than before.
    fn cover(&mut self, row: usize, similarity: f32) -> bool {
        let more = similarity - self.covered[row];
        if more > 0.0 {
            self.covered[row] = similarity;
            self.uncovered -= f64::from(self.mass[row]) * f64::from(more);
        }
        more > 0.0
    }

    /// What covering a record's neighbours would add.
    pub(super) fn gain(&self, edges: impl Iterator<Item = (u32, f32)>) -> f64 {
        edges
            .map(|(other, distance)| {
                let other = other as usize;
                let more = self.similarity.of(distance) - f64::from(self.covered[other]);
                f64::from(self.mass[other]) * more.max(0.0)
            })
            .sum()
    }

    /// What covering a record itself would add.
    pub(super) fn own(&self, row: usize) -> f64 {
        f64::from(self.mass[row]) * (1.0 - f64::from(self.covered[row]))
    }

    pub(super) fn note_first(&mut self, gain: f64) {
        if self.first_gain == 0.0 {
            self.first_gain = gain;
        }
    }

    /// A gain by that of the first pick; before there was one, whether there is any.
    pub(super) fn by_first(&self, gain: f64) -> f64 {
        if self.first_gain > 0.0 {
            gain / self.first_gain
        } else {
            f64::from(u8::from(gain > 0.0))
        }
    }
}
