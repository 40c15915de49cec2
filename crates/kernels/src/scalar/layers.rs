//! The bodies of the kernels of layers, which the compiler turns into good vector code by itself.
//!
//! What must stay true: each is inlined into a function of every instruction set (see `layers`); sums are
//! kept in lanes, since the order of sums of `f32` is not the compiler's to change.

#![expect(
    clippy::inline_always,
    reason = "the bodies must be compiled with the instructions of their callers"
)]

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use crate::layers::{LayerTable, Norm};

/// Numbers that are worked on side by side.
const LANES: usize = 16;

#[inline(always)]
fn sum(lanes: [f32; LANES], rest: impl Iterator<Item = f32>) -> f32 {
    let mut halves = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for at in 0..width {
            halves[at] += halves[at + width];
        }
        width /= 2;
    }
    halves[0] + rest.sum::<f32>()
}

#[inline(always)]
pub(crate) fn gelu_rows(rows: &mut [f32], bias: &[f32]) {
    let (biases, last_biases) = bias.as_chunks::<LANES>();
    for row in rows.chunks_exact_mut(bias.len()) {
        let (chunks, rest) = row.as_chunks_mut::<LANES>();
        for (chunk, bias) in chunks.iter_mut().zip(biases) {
            for (number, bias) in chunk.iter_mut().zip(bias) {
                *number = gelu(*number + bias);
            }
        }
        for (number, bias) in rest.iter_mut().zip(last_biases) {
            *number = gelu(*number + bias);
        }
    }
}

#[inline(always)]
fn gelu(number: f32) -> f32 {
    0.5 * number * (1.0 + error_function(number * FRAC_1_SQRT_2))
}

/// The error function to 5e-7: a rational approximation on [-4, 4], beyond which it is 1 in `f32`, as the
/// libraries of neural networks have it.
#[inline(always)]
pub(crate) fn error_function(number: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.726_142e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_5e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const BELOW: [f32; 5] = [
        -1.456_607_2e-5,
        -2.133_740_5e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ];
    let number = number.clamp(-4.0, 4.0);
    let square = number * number;
    number * polynomial(&ABOVE, square) / polynomial(&BELOW, square)
}

/// The polynomial with these factors, that of the highest power first.
#[inline(always)]
fn polynomial<const N: usize>(factors: &[f32; N], number: f32) -> f32 {
    let mut sum = 0.0;
    for factor in factors {
        sum = sum * number + factor;
    }
    sum
}

/// Added to a number of a size below 2^22, leaves the nearest whole number in its lowest bits.
const WHOLE: f32 = 12_582_912.0;

/// The exponential of a number that is not above 0, to 2e-7 of it; below -87 that of -87, which is nearly 0.
///
/// The number is a whole one times the logarithm of 2, which goes into the exponent, and a rest of less
/// than half of that, for which seven members of the series are enough.
#[inline(always)]
pub(crate) fn exponential(number: f32) -> f32 {
    // The logarithm of 2 in two parts, the first with so few digits that its multiples are exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    const SERIES: [f32; 8] = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let number = if number < -87.0 { -87.0 } else { number };
    let shifted = number * LOG2_E + WHOLE;
    let whole = shifted - WHOLE;
    let rest = (number - whole * HIGH) - whole * LOW;
    let power = shifted.to_bits().wrapping_sub(WHOLE.to_bits());
    let scale = f32::from_bits(power.wrapping_add(127) << 23);
    polynomial(&SERIES, rest) * scale
}

#[inline(always)]
pub(crate) fn soften_rows(rows: &mut [f32], length: usize) {
    for row in rows.chunks_exact_mut(length) {
        let (chunks, rest) = row.as_chunks_mut::<LANES>();
        let mut highest = [f32::NEG_INFINITY; LANES];
        for chunk in &*chunks {
            for (highest, &number) in highest.iter_mut().zip(chunk) {
                *highest = if number > *highest { number } else { *highest };
            }
        }
        let all = highest.iter().chain(&*rest).copied();
        let highest = all.fold(f32::NEG_INFINITY, f32::max);
        let mut sums = [0.0; LANES];
        for chunk in &mut *chunks {
            for (sum, number) in sums.iter_mut().zip(chunk) {
                *number = exponential(*number - highest);
                *sum += *number;
            }
        }
        for number in &mut *rest {
            *number = exponential(*number - highest);
        }
        let share = 1.0 / sum(sums, rest.iter().copied());
        for number in row {
            *number *= share;
        }
    }
}

#[inline(always)]
pub(crate) fn normalise_rows(rows: &mut [f32], others: &[f32], bias: &[f32], norm: &Norm) {
    let length = bias.len();
    let pairs = rows
        .chunks_exact_mut(length)
        .zip(others.chunks_exact(length));
    for (row, other) in pairs {
        for ((number, other), bias) in row.iter_mut().zip(other).zip(bias) {
            *number += other + bias;
        }
        let (chunks, rest) = row.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for chunk in chunks {
            for (sum, number) in sums.iter_mut().zip(chunk) {
                *sum += number;
            }
        }
        let mean = sum(sums, rest.iter().copied()) / length as f32;
        let mut squares = [0.0; LANES];
        for chunk in chunks {
            for (square, number) in squares.iter_mut().zip(chunk) {
                *square += (number - mean) * (number - mean);
            }
        }
        let rest = rest.iter().map(|number| (number - mean) * (number - mean));
        let variance = sum(squares, rest) / length as f32;
        let factor = 1.0 / (variance + norm.epsilon).sqrt();
        for ((number, scale), shift) in row.iter_mut().zip(&norm.scale).zip(&norm.shift) {
            *number = (*number - mean) * factor * scale + shift;
        }
    }
}

/// The kernels of layers for every machine.
pub(crate) const LAYERS: LayerTable = LayerTable {
    gelu: gelu_rows,
    soften: soften_rows,
    normalise: normalise_rows,
};
