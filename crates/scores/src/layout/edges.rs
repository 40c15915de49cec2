//! How strongly neighbours hold together.
//!
//! For a row with neighbours at distances d, the strength of one is `exp(-max(0, d - r) / s)`, r the distance of the
//! nearest that is not equal, s such that the strengths add up to the logarithm of their number to base 2. An edge
//! that has strength a from one side and b from the other has `a + b - a b`.
//!
//! What must stay true: an edge is listed once, strengths are in (0, 1].

use crate::graph::Graph;
use crate::parallel;

/// Halvings of the interval in which the scale of a row is looked for.
const ROUNDS: usize = 64;
/// The scale is at least this share of the mean distance.
const SCALE_MIN: f64 = 1e-3;

/// Two rows and how strongly they hold together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edge {
    pub(super) rows: [u32; 2],
    pub(super) strength: f32,
}

/// The edges of a graph, in the order of their first rows.
pub(super) fn edges(graph: &Graph) -> Vec<Edge> {
    let scales = parallel::map(graph.len(), |row| scale(graph.distances(row)));
    let directed = |row: usize, other: usize| {
        let found = graph.edges(row).find(|&(neighbour, _)| neighbour == other);
        found.map(|(_, distance)| strength(scales[row], distance))
    };
    let mut edges = Vec::new();
    for (row, &own) in scales.iter().enumerate() {
        for (other, distance) in graph.edges(row) {
            let back = if other < graph.len() {
                directed(other, row)
            } else {
                None
            };
            // An edge that both sides list belongs to the lower row.
            if other == row || other >= graph.len() || (back.is_some() && other < row) {
                continue;
            }
            let (a, b) = (strength(own, distance), back.unwrap_or(0.0));
            let strength = (a + b - a * b) as f32;
            if strength > 0.0 {
                edges.push(Edge {
                    rows: [row as u32, other as u32],
                    strength,
                });
            }
        }
    }
    edges
}

/// The distance at which a row's strengths begin to fall, and how fast they do.
fn scale(distances: &[f32]) -> (f64, f64) {
    let nearest = distances.iter().copied().find(|distance| *distance > 0.0);
    let nearest = f64::from(nearest.unwrap_or(0.0));
    let wanted = (distances.len() as f64).log2();
    let mean = distances.iter().map(|&d| f64::from(d)).sum::<f64>() / distances.len().max(1) as f64;
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut middle = 1.0;
    for _ in 0..ROUNDS {
        let sum: f64 = distances
            .iter()
            .map(|&d| strength((nearest, middle), d))
            .sum();
        if sum > wanted {
            high = middle;
            middle = f64::midpoint(low, high);
        } else {
            low = middle;
            middle = if high.is_finite() {
                f64::midpoint(low, high)
            } else {
                middle * 2.0
            };
        }
    }
    // Where all are equally near no scale gives the sum; strengths are 1 with any.
    (
        nearest,
        middle.clamp(SCALE_MIN * mean, 1e6).max(f64::MIN_POSITIVE),
    )
}

fn strength((nearest, scale): (f64, f64), distance: f32) -> f64 {
    let beyond = f64::from(distance) - nearest;
    if beyond <= 0.0 {
        1.0
    } else {
        (-beyond / scale).exp()
    }
}
