//! The mean of the rows of an index, around which they are coded.
//!
//! What must stay true: rows that codes cannot hold are found out here, before anything is made of
//! them; a few rows that are far longer than usual do not draw the mean away from the others.

use vermilion_kernels::squared_norm;

use super::SQUARED_NORM_MAX;
use super::build::ask;
use super::space::normalise;
use crate::Result;
use crate::model::Space;

/// Rows looked at to know how long a usual row is.
const USUAL_ROWS: usize = 1_000;

/// Rows this many times longer than usual count nothing for the mean: around a mean that is far from
/// the usual rows their differences would be lost.
const UNUSUAL_LENGTH: f32 = 1_000.0;

/// Rows whose numbers are added up in `f32` before the sums go on in `f64`.
const ROWS_PER_SUM: usize = 64;

/// The mean of the usual ones of `rows`, brought to length 1 for `cosine`; `None` where there is no
/// row, or codes cannot hold one. `go_on` is asked now and then.
pub(super) fn usual_mean(
    rows: &[f32],
    dimension: usize,
    space: Space,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Vec<f32>>> {
    let mut sums = vec![0.0f64; dimension];
    let mut few = vec![0.0f32; dimension];
    let mut copy = vec![0.0; dimension];
    let longest = longest_usual(rows, dimension, space);
    let mut counted = 0usize;
    for (at, row) in rows.chunks_exact(dimension).enumerate() {
        ask(go_on, at)?;
        copy.copy_from_slice(row);
        if space == Space::Cosine {
            normalise(&mut copy);
        }
        // A sum that is not a number is in no range.
        let squared = squared_norm(&copy);
        if !(0.0..=SQUARED_NORM_MAX).contains(&squared) {
            return Ok(None);
        }
        if squared <= longest {
            counted += 1;
            few.iter_mut()
                .zip(&copy)
                .for_each(|(sum, &number)| *sum += number);
        }
        if (at + 1).is_multiple_of(ROWS_PER_SUM) {
            add_up(&mut sums, &mut few);
        }
    }
    add_up(&mut sums, &mut few);
    let mean = sums.iter().map(|sum| (sum / counted as f64) as f32);
    Ok((counted > 0).then(|| mean.collect()))
}

/// The squared length beyond which a row is unusual, by some rows from all over.
fn longest_usual(rows: &[f32], dimension: usize, space: Space) -> f32 {
    if space == Space::Cosine {
        return f32::INFINITY;
    }
    let count = rows.len() / dimension;
    let step = count.div_ceil(USUAL_ROWS).max(1);
    let some = rows.chunks_exact(dimension).step_by(step);
    let mut lengths: Vec<f32> = some.map(squared_norm).collect();
    lengths.sort_unstable_by(f32::total_cmp);
    match lengths.get(lengths.len() / 2) {
        Some(&usual) if usual > 0.0 => usual * UNUSUAL_LENGTH * UNUSUAL_LENGTH,
        _ => f32::INFINITY,
    }
}

/// Adds `few` to `sums` and sets it to zeros.
fn add_up(sums: &mut [f64], few: &mut [f32]) {
    for (sum, few) in sums.iter_mut().zip(few) {
        *sum += f64::from(*few);
        *few = 0.0;
    }
}
