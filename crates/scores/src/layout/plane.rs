//! The points and how they move.
//!
//! What must stay true: a step takes a bounded number of edges, so that a caller can stop between steps.

use super::edges::{Edge, edges};
use crate::Matrix;
use crate::graph::{Graph, vote_weights};
use crate::random::Dice;
use crate::reduction::Reduction;

/// Where a row is on the plane.
pub type Point = [f32; 2];

/// The curve `1 / (1 + A d^(2B))` that stands for nearness on the plane, for a least distance of 0.1.
const A: f32 = 1.576_943;
const B: f32 = 0.895_061;
/// Random rows that push a row away for each edge that pulls it.
const PUSHES: usize = 5;
/// How far one push or pull moves a point at most, before the learning rate.
const MOVE_MAX: f32 = 4.0;
/// Half the width of the plane at the start.
const HALF_WIDTH: f32 = 10.0;
/// Rounds of a geometric median.
const MEDIAN_ROUNDS: usize = 20;
/// Places nearer than this are one to a geometric median.
const TOUCHING: f64 = 0.03;
/// Rows up to which there are more epochs.
const SMALL: usize = 10_000;

/// How a layout is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayoutOptions {
    /// How often the strongest edges pull; 500, or 200 for more than 10,000 rows, where it is `None`.
    pub epochs: Option<usize>,
    /// How far points move at first: 1 for a new layout, a tenth of it for one that keeps old places.
    pub learning_rate: f32,
    /// Where random numbers begin.
    pub seed: u64,
}

impl Default for LayoutOptions {
    fn default() -> Self {
        Self {
            epochs: None,
            learning_rate: 1.0,
            seed: 0,
        }
    }
}

/// A layout on its way.
#[derive(Clone, Debug)]
pub struct Layout {
    points: Vec<Point>,
    edges: Vec<Edge>,
    strongest: f32,
    epochs: usize,
    epoch: usize,
    next: usize,
    learning_rate: f32,
    dice: Dice,
}

/// The first two principal components of rows, as wide as a layout begins.
pub fn principal_start(rows: Matrix<'_>, seed: u64) -> Vec<Point> {
    let reduction = Reduction::fit(rows, 2, seed);
    let reduced = reduction.apply(rows);
    let reduced = Matrix::new(&reduced, reduction.dimensions());
    let widest = reduced
        .numbers()
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = if widest > 0.0 {
        HALF_WIDTH / widest
    } else {
        0.0
    };
    let mut dice = Dice::new(seed);
    // Equal rows begin a hair's breadth apart, since a push needs a direction.
    let mut number = |value: Option<&f32>| {
        value.map_or(0.0, |value| value * scale) + (dice.normal() * 1e-4) as f32
    };
    reduced
        .rows()
        .map(|row| [number(row.first()), number(row.get(1))])
        .collect()
}

/// Places for new rows: the weighted geometric median of the places of their neighbours among the `points`, by Weiszfeld's
/// iteration (1937), beginning at their mean; they count as they do in a vote ([`vote_weights`]). The mean
/// itself would lie between two groups where a few neighbours are of the other one. The middle of all where a row has no
/// neighbour.
///
/// # Panics
/// If a neighbour has no point.
pub fn place(points: &[Point], neighbours: &Graph) -> Vec<Point> {
    let count = points.len().max(1) as f32;
    let middle = [0, 1].map(|axis| points.iter().map(|point| point[axis]).sum::<f32>() / count);
    let one = |row: usize| {
        let places = neighbours
            .neighbours(row)
            .iter()
            .map(|&other| points[other as usize].map(f64::from));
        let weights = vote_weights(neighbours.distances(row));
        let near: Vec<([f64; 2], f64)> = places.zip(weights).collect();
        match weighted_mean(&near, |_| 1.0) {
            Some(start) => median(&near, start).map(|number| number as f32),
            None => middle,
        }
    };
    (0..neighbours.len()).map(one).collect()
}

/// The place from which weighted points are least apart on the sum, beginning at their mean.
fn median(points: &[([f64; 2], f64)], start: [f64; 2]) -> [f64; 2] {
    (0..MEDIAN_ROUNDS).fold(start, |at, _| {
        let nearness = |point: &[f64; 2]| {
            let square = (point[0] - at[0]).powi(2) + (point[1] - at[1]).powi(2);
            (square + TOUCHING.powi(2)).sqrt().recip()
        };
        weighted_mean(points, nearness).unwrap_or(at)
    })
}

/// The mean of weighted points, each weight times what `factor` says of its point; `None` where there is no weight.
fn weighted_mean(
    points: &[([f64; 2], f64)],
    factor: impl Fn(&[f64; 2]) -> f64,
) -> Option<[f64; 2]> {
    let (mut sum, mut weights) = ([0.0; 2], 0.0);
    for (point, weight) in points {
        let weight = weight * factor(point);
        weights += weight;
        sum = [0, 1].map(|axis| sum[axis] + weight * point[axis]);
    }
    (weights > 0.0).then(|| sum.map(|sum| sum / weights))
}

impl Layout {
    /// A layout of the rows of a graph that begins at `start`.
    ///
    /// # Panics
    /// If there is not a place for each row.
    pub fn new(graph: &Graph, start: Vec<Point>, options: LayoutOptions) -> Self {
        assert!(
            start.len() == graph.len(),
            "{} places for {} rows",
            start.len(),
            graph.len()
        );
        let edges = edges(graph);
        let epochs = options
            .epochs
            .unwrap_or(if graph.len() > SMALL { 200 } else { 500 });
        Self {
            points: start,
            strongest: edges.iter().fold(0.0, |most, edge| edge.strength.max(most)),
            epochs: if edges.is_empty() { 0 } else { epochs },
            edges,
            epoch: 0,
            next: 0,
            learning_rate: options.learning_rate,
            dice: Dice::new(options.seed),
        }
    }

    /// Goes on by at most so many edges. Returns whether there is more to do.
    pub fn advance(&mut self, edges: usize) -> bool {
        for _ in 0..edges {
            if self.epoch >= self.epochs {
                return false;
            }
            let edge = self.edges[self.next];
            if self.is_due(edge) {
                let [one, other] = edge.rows.map(|row| row as usize);
                self.pull(one, other);
                self.push(one);
                self.pull(other, one);
                self.push(other);
            }
            self.next += 1;
            if self.next == self.edges.len() {
                (self.next, self.epoch) = (0, self.epoch + 1);
            }
        }
        self.epoch < self.epochs
    }

    /// Goes on to the end; the places of the rows.
    pub fn finish(mut self) -> Vec<Point> {
        while self.advance(usize::MAX) {}
        self.points
    }

    /// How much is done, in [0, 1].
    pub fn progress(&self) -> f64 {
        self.epoch as f64 / self.epochs.max(1) as f64
    }

    /// The places as they are now.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// An edge pulls in as many epochs as its strength says, evenly spread.
    fn is_due(&self, edge: Edge) -> bool {
        let share = f64::from(edge.strength / self.strongest);
        let until = |epoch: usize| (epoch as f64 * share).floor();
        until(self.epoch + 1) > until(self.epoch)
    }

    /// How far points move now: less in each epoch.
    fn rate(&self) -> f32 {
        self.learning_rate * (1.0 - self.epoch as f32 / self.epochs as f32)
    }

    /// Moves two points towards each other.
    fn pull(&mut self, one: usize, other: usize) {
        let (apart, square) = difference(self.points[one], self.points[other]);
        if square > 0.0 {
            let power = square.powf(B);
            let gradient = -2.0 * A * B * power / (square * (1.0 + A * power));
            let steps = steps(self.rate(), gradient, apart);
            self.shift(one, steps);
            self.shift(other, steps.map(|step| -step));
        }
    }

    /// Moves a point away from some others.
    fn push(&mut self, row: usize) {
        let rate = self.rate();
        for _ in 0..PUSHES {
            let other = self.dice.below(self.points.len());
            if other == row {
                continue;
            }
            let (apart, square) = difference(self.points[row], self.points[other]);
            if square > 0.0 {
                let gradient = 2.0 * B / ((0.001 + square) * (1.0 + A * square.powf(B)));
                self.shift(row, steps(rate, gradient, apart));
            }
        }
    }

    fn shift(&mut self, row: usize, steps: Point) {
        let point = &mut self.points[row];
        *point = [point[0] + steps[0], point[1] + steps[1]];
    }
}

/// How far a push or a pull moves a point along each axis.
fn steps(rate: f32, gradient: f32, apart: Point) -> Point {
    apart.map(|apart| rate * (gradient * apart).clamp(-MOVE_MAX, MOVE_MAX))
}

/// One point less another, and the square of its length.
fn difference(one: Point, other: Point) -> (Point, f32) {
    let apart = [one[0] - other[0], one[1] - other[1]];
    (apart, apart[0] * apart[0] + apart[1] * apart[1])
}
