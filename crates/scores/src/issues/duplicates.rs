//! Records that are too near to others, and records that are near to none.
//!
//! What must stay true: a cluster of duplicates has two records at least, in ascending order; clusters are in the order
//! of their first records.

use crate::graph::Graph;
use crate::priority::radius;

/// How near duplicates are at most, by how near the nearest neighbour typically is.
const THRESHOLD_SHARE: f64 = 0.13;
/// Records that chance may bring so near to another, of all.
const BY_CHANCE: f64 = 0.05;
/// Neighbours that tell how far the nearest would be if there were no duplicates, with the median number of records
/// that independent ones have within the distance of that neighbour.
const FIFTH: (usize, f64) = (5, 4.671);
/// See [`FIFTH`].
const TENTH: (usize, f64) = (10, 9.669);
/// The same of the nearest.
const NEAREST: f64 = std::f64::consts::LN_2;
/// Dimensions that records are thought to lie in, at most.
const DIMENSIONS_MAX: f64 = 100.0;
/// How far apart equal vectors of 32-bit numbers seem by rounding.
const ROUNDING: f64 = 5e-4;

/// Rank of the distance to the nearest neighbour from which on a record may be an outlier.
const OUTLIER_RANK: f64 = 0.99;

/// The distance below which records are duplicates if nobody said otherwise: a share of the typical distance to the
/// nearest neighbour, less where records lie in few dimensions, so that chance brings hardly any so near. `None` where
/// no record has a neighbour.
pub fn duplicate_threshold(graph: &Graph) -> Option<f32> {
    let (typical, dimensions) = typical_nearest(graph)?;
    // Of independent records a share 1 - 2^-(t^dimensions) has a neighbour within t times the median distance.
    let by_chance = (BY_CHANCE / (NEAREST * graph.len() as f64)).powf(1.0 / dimensions);
    let threshold = typical * THRESHOLD_SHARE.min(by_chance);
    Some(threshold.max(ROUNDING.min(typical / 2.0)) as f32)
}

/// How far the nearest neighbour of most records is, and in how many dimensions they lie. The fifth and the tenth
/// neighbour tell, so that it does not matter how many records have a few duplicates; where there are fewer, the nearest.
fn typical_nearest(graph: &Graph) -> Option<(f64, f64)> {
    let median = |neighbour: usize| {
        let of = |row| graph.distances(row).get(neighbour - 1).copied();
        let mut all: Vec<f32> = (0..graph.len()).filter_map(of).collect();
        let middle = all.len().checked_sub(1)? / 2;
        Some(f64::from(
            *all.select_nth_unstable_by(middle, f32::total_cmp).1,
        ))
    };
    if let (Some(fifth), Some(tenth)) = (median(FIFTH.0), median(TENTH.0))
        && 0.0 < fifth
        && fifth < tenth
    {
        let dimensions = (TENTH.1 / FIFTH.1).ln() / (tenth / fifth).ln();
        let dimensions = dimensions.clamp(1.0, DIMENSIONS_MAX);
        return Some((
            tenth * (NEAREST / TENTH.1).powf(1.0 / dimensions),
            dimensions,
        ));
    }
    Some((median(1)?, DIMENSIONS_MAX))
}

/// Clusters of records that are joined by distances of at most `threshold`.
pub fn near_duplicates(graph: &Graph, threshold: f32) -> Vec<Vec<u32>> {
    let mut parents: Vec<u32> = (0..graph.len() as u32).collect();
    for row in 0..graph.len() {
        let near = graph
            .edges(row)
            .take_while(|&(_, distance)| distance <= threshold);
        for (other, _) in near {
            let (a, b) = (
                root(&mut parents, row as u32),
                root(&mut parents, other as u32),
            );
            parents[a.max(b) as usize] = a.min(b);
        }
    }
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); graph.len()];
    for row in 0..graph.len() as u32 {
        let first = root(&mut parents, row);
        members[first as usize].push(row);
    }
    members.retain(|cluster| cluster.len() > 1);
    members
}

/// The first record of a cluster, halving the way to it (Tarjan and van Leeuwen 1984).
fn root(parents: &mut [u32], mut row: u32) -> u32 {
    while parents[row as usize] != row {
        parents[row as usize] = parents[parents[row as usize] as usize];
        row = parents[row as usize];
    }
    row
}

/// The clusters that have records both of training and of test.
///
/// # Panics
/// If a cluster has a record of which nothing is told.
pub fn leaks(clusters: &[Vec<u32>], is_training: &[bool], is_test: &[bool]) -> Vec<Vec<u32>> {
    let any = |cluster: &[u32], of: &[bool]| cluster.iter().any(|&row| of[row as usize]);
    let leaks = clusters
        .iter()
        .filter(|cluster| any(cluster, is_training) && any(cluster, is_test));
    leaks.cloned().collect()
}

/// Records that are far from all others: their nearest neighbour is farther than 99 % of records have theirs, and than
/// similarity reaches (the median distance of the tenth neighbour), and no record has them among its neighbours within
/// that reach. The farthest first.
pub fn outliers(graph: &Graph) -> Vec<u32> {
    let reach = radius(graph) as f32;
    let mut supported = vec![false; graph.len()];
    for row in 0..graph.len() {
        let near = graph
            .edges(row)
            .take_while(|&(_, distance)| distance <= reach);
        near.for_each(|(other, _)| supported[other] = true);
    }
    let nearest = |row: usize| graph.distances(row).first().copied();
    let mut sorted: Vec<f32> = (0..graph.len()).filter_map(nearest).collect();
    sorted.sort_by(f32::total_cmp);
    let far = |row: usize| {
        nearest(row).is_some_and(|distance| {
            let below = sorted.partition_point(|&other| other < distance);
            below as f64 >= OUTLIER_RANK * (sorted.len() - 1) as f64 && distance > reach
        })
    };
    let mut found: Vec<u32> = (0..graph.len())
        .filter(|&row| !supported[row] && far(row))
        .map(|row| row as u32)
        .collect();
    found.sort_by(|&a, &b| {
        let distance = |row: u32| nearest(row as usize).unwrap_or(0.0);
        distance(b).total_cmp(&distance(a)).then(a.cmp(&b))
    });
    found
}
