//! Bodies in plain Rust that the compiler turns into good vector code by itself.
//!
//! What must stay true: each is inlined into a function of every instruction set (see
//! `codes::bodies`), so that it is compiled once for each; alone it is the scalar kernel.

#![expect(
    clippy::inline_always,
    reason = "the bodies must be compiled with the instructions of their callers"
)]

use crate::codes::{LEVELS_STRIPE, Rotation};

/// Turns `values` by `rotation`: for each round, flips signs, mixes a window by a Hadamard
/// transform and, where the window is not everything, the two halves with each other.
#[inline(always)]
pub(crate) fn rotate(rotation: &Rotation, values: &mut [f32]) {
    let dimension = values.len();
    let window = 1 << dimension.ilog2();
    let scale = 1.0 / (window as f32).sqrt();
    for (round, signs) in rotation.signs().chunks_exact(dimension).enumerate() {
        for (value, sign) in values.iter_mut().zip(signs) {
            *value *= sign;
        }
        let from = if round % 2 == 0 {
            0
        } else {
            dimension - window
        };
        hadamard(&mut values[from..from + window], scale);
        if window != dimension {
            let (low, high) = values.split_at_mut(dimension / 2);
            for (low, high) in low.iter_mut().zip(high) {
                let (a, b) = (*low, *high);
                *low = (a + b) * std::f32::consts::FRAC_1_SQRT_2;
                *high = (a - b) * std::f32::consts::FRAC_1_SQRT_2;
            }
        }
    }
}

/// The Hadamard transform of `values`, a power of two of at least 16 numbers, times `scale`.
#[inline(always)]
fn hadamard(values: &mut [f32], scale: f32) {
    for chunk in values.as_chunks_mut::<16>().0 {
        let mut mixed = chunk.map(|value| value * scale);
        mixed = mix::<1>(mixed);
        mixed = mix::<2>(mixed);
        mixed = mix::<4>(mixed);
        *chunk = mix::<8>(mixed);
    }
    let mut half = 16;
    // Two steps at a time, so that numbers are loaded and stored half as often.
    while 4 * half <= values.len() {
        for four in values.chunks_exact_mut(4 * half) {
            let (low, high) = four.split_at_mut(2 * half);
            let (first, second) = low.split_at_mut(half);
            let (third, fourth) = high.split_at_mut(half);
            let pairs = first
                .iter_mut()
                .zip(second)
                .zip(third.iter_mut().zip(fourth));
            for ((a, b), (c, d)) in pairs {
                let near = [*a + *b, *a - *b];
                let far = [*c + *d, *c - *d];
                *a = near[0] + far[0];
                *b = near[1] + far[1];
                *c = near[0] - far[0];
                *d = near[1] - far[1];
            }
        }
        half *= 4;
    }
    if half < values.len() {
        let (low, high) = values.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            let (a, b) = (*low, *high);
            *low = a + b;
            *high = a - b;
        }
    }
}

/// One step of a Hadamard transform among sixteen numbers, between those H apart.
#[inline(always)]
fn mix<const H: usize>(values: [f32; 16]) -> [f32; 16] {
    std::array::from_fn(|at| {
        let sign = if at & H == 0 { 1.0 } else { -1.0 };
        values[at ^ H] + sign * values[at]
    })
}

/// Added to a number from 0 to 255, leaves the nearest whole number in its lowest bits: cheaper than
/// a conversion, which must think of numbers that are out of range.
const WHOLE: f32 = 8_388_608.0;

/// The same for numbers of either sign.
const WHOLE_SIGNED: f32 = 12_582_912.0;

/// For each of sixteen numbers the sum of the four of its group.
#[inline(always)]
fn sums_of_fours(numbers: [f32; 16]) -> [f32; 16] {
    let pairs: [f32; 16] = std::array::from_fn(|at| numbers[at] + numbers[at ^ 1]);
    std::array::from_fn(|at| pairs[at] + pairs[at ^ 2])
}

#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Fills `table` with the sums that `codes::scan_blocks` looks up; gives their step, and the sum of
/// all sizes.
#[inline(always)]
pub(crate) fn scan_table(query: &[f32], table: &mut [u8]) -> (f32, f32) {
    let (chunks, _) = query.as_chunks::<16>();
    let mut all = [0.0f32; 16];
    let mut largest = [0.0f32; 16];
    for chunk in chunks {
        let sizes = chunk.map(f32::abs);
        let groups = sums_of_fours(sizes);
        for at in 0..16 {
            all[at] += sizes[at];
            largest[at] = greater(groups[at], largest[at]);
        }
    }
    let all = all.iter().sum();
    let largest = largest.into_iter().fold(0.0, greater);
    let scale = 255.0 / largest;
    if !scale.is_finite() {
        table.fill(0);
        return (0.0, all);
    }
    for (chunk, lines) in chunks.iter().zip(table.as_chunks_mut::<64>().0) {
        let scaled = chunk.map(|number| number * scale);
        let below = sums_of_fours(scaled.map(|number| if number < 0.0 { -number } else { 0.0 }));
        for (group, entries) in lines.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let sum = |bits: usize| {
                let of = |at: usize| {
                    if bits >> at & 1 == 1 {
                        scaled[group * 4 + at]
                    } else {
                        0.0
                    }
                };
                below[group * 4] + ((of(0) + of(1)) + (of(2) + of(3)))
            };
            *entries = std::array::from_fn(|bits| (sum(bits) + WHOLE).to_bits() as u8);
        }
    }
    (largest / 255.0, all)
}

/// Writes the signs of `residual` as row `slot` of a block; gives the sum of their sizes.
#[inline(always)]
pub(crate) fn encode_signs(residual: &[f32], block: &mut [u8], slot: usize) -> f32 {
    let shift = slot / 16 * 4;
    let lines = block.as_chunks_mut::<16>().0;
    let mut total = [0.0f32; 4];
    for (group, line) in residual.as_chunks::<4>().0.iter().zip(lines) {
        let mut bits = 0u8;
        for (at, number) in group.iter().enumerate() {
            bits |= u8::from(*number >= 0.0) << at;
            total[at] += number.abs();
        }
        let byte = &mut line[slot % 16];
        *byte = *byte & !(15 << shift) | bits << shift;
    }
    total.iter().sum()
}

/// Sixteen numbers of `residual` as levels 0 to `most`; their product with the levels' middles.
#[inline(always)]
fn levels_of(residual: &[f32; 16], scale: f32, half: f32, sums: &mut [f32; 16]) -> [u8; 16] {
    let most = 2.0 * half - 1.0;
    std::array::from_fn(|at| {
        let level = (residual[at] * scale + half).max(0.0).min(most + 0.5) as i32;
        sums[at] += residual[at] * (level as f32 - half + 0.5);
        level as u8
    })
}

/// The 8-bit levels of `residual`; gives the product of both.
#[inline(always)]
pub(crate) fn encode_levels8(residual: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
    let mut sums = [0.0; 16];
    let (residual, _) = residual.as_chunks::<16>();
    for (residual, codes) in residual.iter().zip(codes.as_chunks_mut::<16>().0) {
        *codes = levels_of(residual, scale, 128.0, &mut sums);
    }
    sums.iter().sum()
}

/// The 4-bit levels of `residual`, two in a byte; gives the product of both.
#[inline(always)]
pub(crate) fn encode_levels4(residual: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
    let mut sums = [0.0; 16];
    let (stripes, _) = residual.as_chunks::<LEVELS_STRIPE>();
    for (stripe, codes) in stripes.iter().zip(codes.as_chunks_mut::<32>().0) {
        let (parts, _) = stripe.as_chunks::<16>();
        for half in 0..2 {
            let low = levels_of(&parts[half], scale, 8.0, &mut sums);
            let high = levels_of(&parts[half + 2], scale, 8.0, &mut sums);
            for at in 0..16 {
                codes[half * 16 + at] = low[at] | high[at] << 4;
            }
        }
    }
    sums.iter().sum()
}

/// Rounds `numbers` to whole multiples of a scale, from -127 to 127; gives scale and sum.
#[inline(always)]
pub(crate) fn quantise(numbers: &[f32], out: &mut [i8]) -> (f32, i32) {
    let (chunks, rest) = numbers.as_chunks::<16>();
    let mut largest = [0.0f32; 16];
    for chunk in chunks {
        for at in 0..16 {
            largest[at] = greater(chunk[at].abs(), largest[at]);
        }
    }
    let all = largest.iter().chain(rest).map(|number| number.abs());
    let largest = all.fold(0.0, greater);
    let scale = 127.0 / largest;
    // Nothing, or so little that no number says how often it goes into one.
    if !scale.is_finite() {
        out.fill(0);
        return (0.0, 0);
    }
    let mut sum = 0;
    for (number, out) in numbers.iter().zip(out) {
        let bits = (number * scale + WHOLE_SIGNED).to_bits() as i32;
        let whole = bits - WHOLE_SIGNED.to_bits() as i32;
        sum += whole;
        *out = whole as i8;
    }
    (largest / 127.0, sum)
}

/// Where `constants` less `products` is lowest, the first of equals.
#[inline(always)]
pub(crate) fn lowest_difference(constants: &[f32], products: &[f32]) -> Option<(usize, f32)> {
    const LANES: usize = 16;
    let mut lowest = [f32::INFINITY; LANES];
    let mut places = [0u32; LANES];
    let (constant_chunks, constants) = constants.as_chunks::<LANES>();
    let (product_chunks, products) = products.as_chunks::<LANES>();
    for (chunk, (constants, products)) in constant_chunks.iter().zip(product_chunks).enumerate() {
        for at in 0..LANES {
            let difference = constants[at] - products[at];
            let lower = difference < lowest[at];
            lowest[at] = if lower { difference } else { lowest[at] };
            places[at] = if lower { chunk as u32 } else { places[at] };
        }
    }
    // Without branches, since there are as many lanes as a row has chunks.
    let mut least = lowest.into_iter().fold(f32::INFINITY, f32::min);
    let mut first = u32::MAX;
    for at in 0..LANES {
        let own = places[at] * LANES as u32 + at as u32;
        let own = if lowest[at] <= least { own } else { u32::MAX };
        first = first.min(own);
    }
    let mut place = first as usize;
    let before = constant_chunks.len() * LANES;
    for (at, (constant, product)) in constants.iter().zip(products).enumerate() {
        let difference = constant - product;
        if difference < least {
            (place, least) = (before + at, difference);
        }
    }
    (least < f32::INFINITY).then_some((place, least))
}
