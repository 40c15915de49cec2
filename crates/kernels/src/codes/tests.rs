//! Every level this machine has against the scalar kernels, and those against the formulas.

use proptest::prelude::*;

use super::{
    BLOCK_ROWS, DIMENSION_STEP, FACTOR_BYTES, LevelBits, Rotation, Scan, Survivor, TableScale,
    block_bytes, line_bytes, set_factors,
};
use crate::dispatch::{Kernels, available};
use crate::tests::numbers;

/// Blocks of the signs of random rows, with random factors.
fn blocks(kernels: &Kernels, dimension: usize, count: usize, seed: u64) -> Vec<u8> {
    let mut blocks = vec![0; count * block_bytes(dimension)];
    let factors = numbers(seed ^ 5, count * BLOCK_ROWS * 2);
    for (at, block) in blocks.chunks_exact_mut(block_bytes(dimension)).enumerate() {
        for slot in 0..BLOCK_ROWS {
            let row = at * BLOCK_ROWS + slot;
            let residual = numbers(seed.wrapping_add(row as u64 * 77), dimension);
            kernels.encode_signs(&residual, block, slot);
            let slope = factors[row * 2 + 1].abs() + 0.1;
            set_factors(block, slot, factors[row * 2] * 9.0, slope);
        }
    }
    blocks
}

/// What a scan must report, from the signs themselves.
fn expected(
    table: &[u8],
    base: f32,
    step: f32,
    times: f32,
    blocks: &[u8],
    admitted: Option<&[u32]>,
) -> Vec<(bool, f64)> {
    let lines = table.len();
    let mut rows = Vec::new();
    for (at, block) in blocks.chunks_exact(lines + FACTOR_BYTES).enumerate() {
        for slot in 0..BLOCK_ROWS {
            let mut sum = 0u32;
            for group in 0..lines / 16 {
                let byte = block[group * 16 + slot % 16];
                let bits = if slot < 16 { byte & 15 } else { byte >> 4 };
                sum += u32::from(table[group * 16 + usize::from(bits)]);
            }
            let factor = |at: usize| {
                let from = lines + at * 4;
                let bytes = block[from..from + 4].try_into().expect("four bytes");
                f64::from(f32::from_le_bytes(bytes))
            };
            let terms = f64::from(base) - f64::from(step) * f64::from(sum);
            let bound = f64::from(times) * factor(slot) + factor(slot + BLOCK_ROWS) * terms;
            rows.push((
                admitted.is_none_or(|words| words[at] >> slot & 1 == 1),
                bound,
            ));
        }
    }
    rows
}

fn check_scan(kernels: &Kernels, dimension: usize, count: usize, seed: u64, masked: bool) {
    let query = numbers(seed ^ 9, dimension);
    let mut table = vec![0; line_bytes(dimension)];
    let TableScale { step, sizes: base } = kernels.scan_table(&query, &mut table);
    let blocks = blocks(kernels, dimension, count, seed);
    let words: Vec<u32> = numbers(seed, count)
        .iter()
        .map(|number| {
            if *number < 0.0 {
                0
            } else {
                number.to_bits().wrapping_mul(seed as u32 | 1)
            }
        })
        .collect();
    let admitted = masked.then_some(&words[..]);
    let times = [1.0, 0.25, 0.0][seed as usize % 3];
    let rows = expected(&table, base, 2.0 * step, times, &blocks, admitted);
    let mut sorted: Vec<f64> = rows.iter().map(|row| row.1).collect();
    sorted.sort_by(f64::total_cmp);
    let scan = Scan {
        table: &table,
        base,
        step: 2.0 * step,
        times,
    };
    for limit in [
        f32::INFINITY,
        sorted[sorted.len() / 2] as f32,
        f32::NEG_INFINITY,
    ] {
        let mut found = Vec::new();
        kernels.scan_blocks(&scan, &blocks, admitted, limit, &mut found);
        let near = |bound: f64| (bound - f64::from(limit)).abs() < 1e-3 * f64::from(base);
        for &Survivor { slot, bound } in &found {
            let (allowed, expected) = rows[slot as usize];
            assert!(allowed, "row {slot} is not admitted");
            assert!((f64::from(bound) - expected).abs() < 1e-3 * f64::from(base).max(1.0));
            assert!(expected < f64::from(limit) || near(expected));
        }
        let slots: Vec<u32> = found.iter().map(|survivor| survivor.slot).collect();
        assert!(slots.is_sorted_by(|a, b| a < b));
        for (slot, &(allowed, bound)) in rows.iter().enumerate() {
            if allowed && bound < f64::from(limit) && !near(bound) {
                assert!(
                    slots.contains(&(slot as u32)),
                    "{}: row {slot}",
                    kernels.level
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_scan_reports_the_admitted_rows_below_the_limit_and_no_others(
        seed in any::<u64>(), steps in 1usize..24, count in 0usize..5, masked in any::<bool>(),
    ) {
        for kernels in available() {
            if count > 0 {
                check_scan(&kernels, steps * DIMENSION_STEP, count, seed, masked);
            }
        }
    }

    #[test]
    fn levels_and_their_products_are_the_same_at_every_level(
        seed in any::<u64>(), steps in 1usize..24, scale in 0.5f32..300.0,
    ) {
        let dimension = steps * DIMENSION_STEP;
        let residual = numbers(seed, dimension);
        let query = numbers(!seed, dimension);
        for bits in [LevelBits::Four, LevelBits::Eight] {
            let mut first: Option<(Vec<u8>, f32, Vec<i8>, i32)> = None;
            for kernels in available() {
                let mut codes = vec![0; bits.bytes(dimension)];
                let product = kernels.encode_levels(&residual, bits, scale, &mut codes);
                let mut whole = vec![0i8; dimension];
                let quantised = kernels.quantise(&query, &mut whole);
                prop_assert_eq!(quantised.sum, whole.iter().map(|&n| i32::from(n)).sum::<i32>());
                let dot = kernels.dot_levels(&codes, bits, &whole);
                for (number, &whole) in query.iter().zip(&whole) {
                    let error = (number - f32::from(whole) * quantised.scale).abs();
                    prop_assert!(error <= quantised.scale * 0.501);
                }
                let found = (codes, product, whole, dot);
                match &first {
                    Some(first) => prop_assert_eq!(first, &found, "{}", kernels.level),
                    None => first = Some(found),
                }
            }
            let (codes, product, whole, dot) = first.expect("the scalar level is always there");
            let level = |at: usize| match bits {
                LevelBits::Eight => codes[at],
                LevelBits::Four if at % 64 < 32 => codes[at / 64 * 32 + at % 32] & 15,
                LevelBits::Four => codes[at / 64 * 32 + at % 32] >> 4,
            };
            let half = bits.half();
            let mut expected_product = 0.0;
            let mut expected_dot = 0;
            for at in 0..dimension {
                let held = (residual[at] * scale + half).floor().clamp(0.0, 2.0 * half - 1.0);
                prop_assert_eq!(u32::from(level(at)), held as u32);
                expected_product += f64::from(residual[at]) * f64::from(held - half + 0.5);
                expected_dot += i32::from(level(at)) * i32::from(whole[at]);
            }
            prop_assert_eq!(dot, expected_dot);
            prop_assert!((f64::from(product) - expected_product).abs() < 1e-3 * dimension as f64);
        }
    }

    #[test]
    fn a_rotation_keeps_lengths_and_products(seed in any::<u64>(), steps in 1usize..24) {
        let dimension = steps * DIMENSION_STEP;
        let rotation = Rotation::new(dimension, seed);
        let (a, b) = (numbers(seed, dimension), numbers(!seed, dimension));
        let dot = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
        };
        let mut first: Option<Vec<f32>> = None;
        for kernels in available() {
            let (mut turned_a, mut turned_b) = (a.clone(), b.clone());
            kernels.rotate(&rotation, &mut turned_a);
            kernels.rotate(&rotation, &mut turned_b);
            let size = dot(&a, &a);
            prop_assert!((dot(&turned_a, &turned_a) - size).abs() < 1e-4 * size);
            prop_assert!((dot(&turned_a, &turned_b) - dot(&a, &b)).abs() < 1e-4 * size);
            prop_assert_eq!(first.get_or_insert_with(|| turned_a.clone()), &turned_a);
        }
    }
}

#[test]
fn sums_of_very_long_lines_do_not_overflow() {
    let dimension = 65_536;
    let query = vec![1.0; dimension];
    for kernels in available() {
        let mut table = vec![0; line_bytes(dimension)];
        let step = kernels.scan_table(&query, &mut table).step;
        let mut block = vec![0; block_bytes(dimension)];
        kernels.encode_signs(&query, &mut block, 7);
        kernels.encode_signs(&query, &mut block, 23);
        for slot in 0..BLOCK_ROWS {
            set_factors(&mut block, slot, 0.0, 1.0);
        }
        let scan = Scan {
            table: &table,
            base: 0.0,
            step,
            times: 1.0,
        };
        let mut found = Vec::new();
        kernels.scan_blocks(&scan, &block, None, -65_000.0, &mut found);
        let slots: Vec<u32> = found.iter().map(|survivor| survivor.slot).collect();
        assert_eq!(slots, [7, 23], "{}", kernels.level);
        assert!((found[0].bound + 65_536.0).abs() < 1.0);
        let (codes, whole) = (vec![255; dimension], vec![127; dimension]);
        let dot = kernels.dot_levels(&codes, LevelBits::Eight, &whole);
        assert_eq!(dot, 255 * 127 * 65_536);
    }
}

#[test]
fn one_large_coordinate_is_spread_over_all_by_a_rotation() {
    for dimension in [64, 128, 384, 768, 1536] {
        let rotation = Rotation::new(dimension, 42);
        let mut vector = vec![0.0; dimension];
        vector[dimension / 3] = 1.0;
        rotation.apply(&mut vector);
        let largest = vector
            .iter()
            .fold(0.0f32, |most, number| most.max(number.abs()));
        assert!(
            largest < 8.0 / (dimension as f32).sqrt(),
            "{dimension}: {largest}"
        );
    }
}

#[test]
fn a_row_with_an_infinite_offset_is_never_reported() {
    let mut block = vec![0; block_bytes(64)];
    for slot in 0..BLOCK_ROWS {
        set_factors(
            &mut block,
            slot,
            if slot == 3 { 1.0 } else { f32::INFINITY },
            0.0,
        );
    }
    let table = vec![1; line_bytes(64)];
    for (kernels, times) in available()
        .into_iter()
        .flat_map(|one| [(one, 0.0), (one, 1.0)])
    {
        let scan = Scan {
            table: &table,
            base: 1.0,
            step: 1.0,
            times,
        };
        let mut found = Vec::new();
        kernels.scan_blocks(&scan, &block, None, f32::INFINITY, &mut found);
        let bound = times;
        assert_eq!(found, [Survivor { slot: 3, bound }]);
    }
}
