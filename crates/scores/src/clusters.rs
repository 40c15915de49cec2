//! Rows divided into groups of rows that are near each other.
//!
//! k-means: centres begin far apart (Arthur and Vassilvitskii, "k-means++", SODA 2007) and move to the mean of the rows
//! that are nearest to them (Lloyd 1982), heavy rows pulling more.
//!
//! What must stay true: every row is in one group, no group is empty, and the same seed gives the same groups.

use vermilion_kernels::l2_squared;

use crate::Matrix;
use crate::parallel;
use crate::random::Dice;

const ROUNDS_MAX: usize = 30;

/// The members of each of at most `count` groups, in ascending order. Fewer where rows are equal.
///
/// # Panics
/// If there are not as many weights as rows.
pub fn weighted_clusters(
    rows: Matrix<'_>,
    weights: &[f64],
    count: usize,
    seed: u64,
) -> Vec<Vec<u32>> {
    assert!(
        rows.len() == weights.len(),
        "{} rows, {} weights",
        rows.len(),
        weights.len()
    );
    if rows.is_empty() || count == 0 {
        return Vec::new();
    }
    let mut centres = beginnings(rows, weights, count, seed);
    let mut nearest = assign(rows, &centres);
    for _ in 0..ROUNDS_MAX {
        centres = means(rows, weights, &nearest, &centres);
        let next = assign(rows, &centres);
        if next == nearest {
            break;
        }
        nearest = next;
    }
    let mut members = vec![Vec::new(); centres.len() / rows.dimension()];
    for (row, &(group, _)) in nearest.iter().enumerate() {
        members[group as usize].push(row as u32);
    }
    members.retain(|members| !members.is_empty());
    members
}

/// The nearest centre of each row, and its squared distance.
fn assign(rows: Matrix<'_>, centres: &[f32]) -> Vec<(u32, f32)> {
    parallel::map(rows.len(), |row| {
        let mut best = (0, f32::INFINITY);
        for (at, centre) in centres.chunks_exact(rows.dimension()).enumerate() {
            let distance = l2_squared(rows.row(row), centre);
            if distance < best.1 {
                best = (at as u32, distance);
            }
        }
        best
    })
}

/// Rows that are far from each other: each is drawn by its weight times its squared distance to those before it.
fn beginnings(rows: Matrix<'_>, weights: &[f64], count: usize, seed: u64) -> Vec<f32> {
    let mut dice = Dice::new(seed);
    let mut masses = weights.to_vec();
    let mut distances = vec![f32::INFINITY; rows.len()];
    let mut centres = Vec::new();
    for _ in 0..count {
        let whole: f64 = masses.iter().sum();
        if whole <= 0.0 && !centres.is_empty() {
            break;
        }
        let mut left = dice.share() * whole;
        let drawn = masses.iter().position(|&mass| {
            left -= mass;
            mass > 0.0 && left < 0.0
        });
        let last = masses.iter().rposition(|&mass| mass > 0.0);
        let centre = rows.row(drawn.or(last).unwrap_or(0));
        centres.extend_from_slice(centre);
        for (row, distance) in distances.iter_mut().enumerate() {
            *distance = distance.min(l2_squared(rows.row(row), centre));
            masses[row] = weights[row] * f64::from(*distance);
        }
    }
    centres
}

/// The mean of the rows of each centre; one that has none stays where it is.
fn means(rows: Matrix<'_>, weights: &[f64], nearest: &[(u32, f32)], centres: &[f32]) -> Vec<f32> {
    let d = rows.dimension();
    let mut sums = vec![0.0_f64; centres.len()];
    let mut masses = vec![0.0_f64; centres.len() / d];
    for (row, &(group, _)) in nearest.iter().enumerate() {
        let group = group as usize;
        masses[group] += weights[row];
        let sum = &mut sums[group * d..(group + 1) * d];
        sum.iter_mut()
            .zip(rows.row(row))
            .for_each(|(sum, &value)| *sum += weights[row] * f64::from(value));
    }
    let mean = |(at, sum): (usize, f64)| {
        let mass = masses[at / d];
        if mass > 0.0 {
            (sum / mass) as f32
        } else {
            centres[at]
        }
    };
    sums.into_iter().enumerate().map(mean).collect()
}

#[cfg(test)]
mod tests;
