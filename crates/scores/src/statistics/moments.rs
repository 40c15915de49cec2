//! Counts, means and scatters of classes that change example by example.
//!
//! What must stay true: scatters are about the class's own mean, so that vectors far from the origin lose no digits.
//! The updates are those of Welford (1962) for one example and of Chan, Golub, LeVeque (1979) for many, and their
//! inverses; a class without examples is as if it never had any.

use serde::{Deserialize, Serialize};

use crate::algebra::{add_outer, difference, triangle};

/// What is kept of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMoments {
    count: u64,
    mean: Vec<f64>,
    /// The sum over examples of (x - mean)(x - mean)': its lower triangle, row after row.
    scatter: Vec<f64>,
}

impl ClassMoments {
    fn new(dimension: usize) -> Self {
        Self {
            count: 0,
            mean: vec![0.0; dimension],
            scatter: vec![0.0; triangle(dimension)],
        }
    }

    /// How many examples there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; zeros where there are none.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The lower triangle, row after row, of the sum of their squared deviations from the mean.
    pub fn scatter(&self) -> &[f64] {
        &self.scatter
    }

    /// The sum of the examples.
    pub fn sum(&self) -> Vec<f64> {
        self.mean
            .iter()
            .map(|mean| mean * self.count as f64)
            .collect()
    }

    fn add(&mut self, row: &[f32]) {
        let deviation = difference(row, &self.mean);
        let before = self.count as f64;
        self.count += 1;
        let after = self.count as f64;
        shift(&mut self.mean, &deviation, 1.0 / after);
        add_outer(&mut self.scatter, &deviation, before / after);
    }

    fn remove(&mut self, row: &[f32]) {
        let deviation = difference(row, &self.mean);
        let before = self.count as f64;
        self.count -= 1;
        let after = self.count as f64;
        if self.count == 0 {
            *self = Self::new(self.mean.len());
            return;
        }
        shift(&mut self.mean, &deviation, -1.0 / after);
        add_outer(&mut self.scatter, &deviation, -before / after);
        self.settle();
    }

    fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (ours, theirs) = (self.count as f64, other.count as f64);
        let deviation = distance(&other.mean, &self.mean);
        self.count += other.count;
        let all = self.count as f64;
        shift(&mut self.mean, &deviation, theirs / all);
        add(&mut self.scatter, &other.scatter, 1.0);
        add_outer(&mut self.scatter, &deviation, ours * theirs / all);
    }

    fn subtract(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (all, theirs) = (self.count as f64, other.count as f64);
        self.count -= other.count;
        if self.count == 0 {
            *self = Self::new(self.mean.len());
            return;
        }
        let left = self.count as f64;
        let deviation = distance(&other.mean, &self.mean);
        shift(&mut self.mean, &deviation, -theirs / left);
        add(&mut self.scatter, &other.scatter, -1.0);
        add_outer(&mut self.scatter, &deviation, -all * theirs / left);
        self.settle();
    }

    /// What rounding left of a scatter that cannot be: one example has none, and no diagonal is negative.
    fn settle(&mut self) {
        if self.count == 1 {
            self.scatter.fill(0.0);
        }
        let mut diagonal = 0;
        for row in 0..self.mean.len() {
            diagonal += row;
            let value = &mut self.scatter[diagonal + row];
            *value = value.max(0.0);
        }
    }
}

fn shift(mean: &mut [f64], deviation: &[f64], share: f64) {
    add(mean, deviation, share);
}

fn add(to: &mut [f64], from: &[f64], weight: f64) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += weight * from;
    }
}

fn distance(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Count, mean and scatter of every class of a training set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassStatistics {
    dimension: usize,
    classes: Vec<ClassMoments>,
}

impl ClassStatistics {
    /// Statistics of nothing.
    ///
    /// # Panics
    /// If `dimension` is 0.
    pub fn new(dimension: usize) -> Self {
        assert!(dimension != 0, "a row has at least one number");
        Self {
            dimension,
            classes: Vec::new(),
        }
    }

    /// Statistics of `rows`, each of the class that stands at its place.
    ///
    /// # Panics
    /// If there are not as many classes as rows.
    pub fn of(rows: crate::Matrix<'_>, classes: &[u32]) -> Self {
        assert!(
            rows.len() == classes.len(),
            "{} rows, {} classes",
            rows.len(),
            classes.len()
        );
        let mut statistics = Self::new(rows.dimension());
        for (row, &class) in rows.rows().zip(classes) {
            statistics.add(class, row);
        }
        statistics
    }

    /// How many numbers a row has.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Each class that an example ever had, from 0 on, and those between.
    pub fn classes(&self) -> &[ClassMoments] {
        &self.classes
    }

    /// How many examples there are.
    pub fn count(&self) -> u64 {
        self.classes.iter().map(|class| class.count).sum()
    }

    /// Adds an example, in O(d^2).
    ///
    /// # Panics
    /// If `row` is of another dimension.
    pub fn add(&mut self, class: u32, row: &[f32]) {
        assert!(
            row.len() == self.dimension,
            "{} numbers, not {}",
            row.len(),
            self.dimension
        );
        self.reach(class as usize + 1);
        self.classes[class as usize].add(row);
    }

    /// Takes back an example that was added, in O(d^2).
    ///
    /// # Panics
    /// If `row` is of another dimension, or the class has no example left.
    pub fn remove(&mut self, class: u32, row: &[f32]) {
        assert!(
            row.len() == self.dimension,
            "{} numbers, not {}",
            row.len(),
            self.dimension
        );
        let moments = self
            .classes
            .get_mut(class as usize)
            .filter(|class| class.count != 0);
        moments
            .unwrap_or_else(|| panic!("class {class} has no example to remove"))
            .remove(row);
    }

    /// Adds all that `other` holds, in O(d^2) a class.
    ///
    /// # Panics
    /// If `other` is of another dimension.
    pub fn merge(&mut self, other: &Self) {
        self.reach_as(other);
        for (ours, theirs) in self.classes.iter_mut().zip(&other.classes) {
            ours.merge(theirs);
        }
    }

    /// Takes back all that `other` holds, in O(d^2) a class.
    ///
    /// # Panics
    /// If `other` is of another dimension, or has more examples of a class than there are.
    pub fn subtract(&mut self, other: &Self) {
        self.reach_as(other);
        for (at, (ours, theirs)) in self.classes.iter_mut().zip(&other.classes).enumerate() {
            assert!(
                theirs.count <= ours.count,
                "class {at} has fewer examples than are subtracted"
            );
            ours.subtract(theirs);
        }
    }

    /// Makes room for the classes of `other`, which must be of the same dimension.
    fn reach_as(&mut self, other: &Self) {
        assert!(
            other.dimension == self.dimension,
            "{} numbers, not {}",
            other.dimension,
            self.dimension
        );
        self.reach(other.classes.len());
    }

    fn reach(&mut self, classes: usize) {
        if self.classes.len() < classes {
            self.classes
                .resize_with(classes, || ClassMoments::new(self.dimension));
        }
    }
}
