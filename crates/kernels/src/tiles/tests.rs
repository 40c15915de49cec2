//! Every level this machine has against sums in `f64`, over odd numbers of rows and columns.

use proptest::prelude::*;

use super::Packed;
use crate::BLOCK;
use crate::dispatch::{Kernels, available};
use crate::tests::numbers;

fn check(kernels: &Kernels, rows: &[f32], picked: Option<&[u32]>, columns: &[f32], length: usize) {
    let packed = Packed::new(columns, length);
    let all: Vec<u32> = (0..(rows.len() / length) as u32).collect();
    let wanted = picked.unwrap_or(&all);
    let mut out = vec![f32::NAN; wanted.len() * packed.len()];
    kernels.products(rows, picked, &packed, &mut out);
    let mut out = out.iter();
    for (at, &row) in wanted.iter().enumerate() {
        let row = &rows[row as usize * length..(row as usize + 1) * length];
        for (column, numbers) in columns.chunks_exact(length).enumerate() {
            let terms = row.iter().zip(numbers);
            let terms = terms.map(|(&a, &b)| f64::from(a) * f64::from(b));
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| {
                (sum + term, size + term.abs())
            });
            let found = f64::from(*out.next().expect("a product for each pair"));
            assert!(
                (found - sum).abs() <= size * 5e-6 + 1e-30,
                "{}, {length} numbers, row {at}, column {column}: {found} instead of {sum}",
                kernels.level
            );
        }
    }
    assert!(out.next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_level_agrees_with_products_in_double_precision(
        seed in any::<u64>(),
        rows in 0usize..60,
        columns in 0usize..100,
        length in prop_oneof![1usize..20, 1usize..400],
        picked in prop::option::of(prop::collection::vec(any::<u32>(), 0..40)),
    ) {
        let values = numbers(seed, rows * length);
        let others = numbers(!seed, columns * length);
        let picked = picked.map(|mut picked| {
            picked.truncate(if rows == 0 { 0 } else { 40 });
            picked.iter_mut().for_each(|row| *row %= rows.max(1) as u32);
            picked
        });
        for kernels in available() {
            check(&kernels, &values, picked.as_deref(), &others, length);
        }
    }

    #[test]
    fn every_level_finds_the_first_of_the_lowest(
        pairs in prop::collection::vec((0u8..12, 0u8..12), 0..120),
    ) {
        let constants: Vec<f32> = pairs.iter().map(|pair| f32::from(pair.0)).collect();
        let products: Vec<f32> = pairs.iter().map(|pair| f32::from(pair.1)).collect();
        let differences = constants.iter().zip(&products).map(|(a, b)| a - b);
        let expected = differences.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        for kernels in available() {
            prop_assert_eq!(kernels.lowest_difference(&constants, &products), expected);
        }
    }
}

#[test]
fn columns_of_a_matrix_are_laid_out_as_its_vectors_are() {
    for (dimension, count) in [(1, 1), (5, 32), (7, 33), (3, 70)] {
        let rows = numbers(9, dimension * count);
        let columns: Vec<f32> = (0..count)
            .flat_map(|column| rows.iter().skip(column).step_by(count).copied())
            .collect();
        let (made, expected) = (
            Packed::of_rows(&rows, count),
            Packed::new(&columns, dimension),
        );
        assert_eq!((made.len(), made.dimension), (count, dimension));
        assert_eq!(made.panels, expected.panels);
    }
}

#[test]
fn more_rows_than_stay_in_a_cache_are_all_multiplied() {
    let (rows, columns) = (numbers(3, 701 * 768), numbers(5, 37 * 768));
    for kernels in available() {
        check(&kernels, &rows, None, &columns, 768);
    }
}

#[test]
fn products_longer_than_a_block_keep_their_precision() {
    for length in [BLOCK, BLOCK + 1, 2 * BLOCK + 17] {
        let (rows, columns) = (numbers(3, 14 * length), numbers(5, 3 * length));
        for kernels in available() {
            check(&kernels, &rows, None, &columns, length);
        }
    }
}

#[test]
fn nothing_below_infinity_is_no_lowest() {
    for kernels in available() {
        for count in [0, 1, 16, 40] {
            let constants = vec![f32::INFINITY; count];
            let found = kernels.lowest_difference(&constants, &vec![0.0; count]);
            assert_eq!(found, None);
        }
    }
}

#[test]
#[should_panic(expected = "3 rows times 2 columns were announced, there is room for 5 products")]
fn products_without_room_are_refused() {
    super::products(&[1.0; 6], &Packed::new(&[1.0; 4], 2), &mut [0.0; 5]);
}

#[test]
#[should_panic(expected = "a row was picked that is not among the 3 given")]
fn rows_that_are_not_there_are_refused() {
    let columns = Packed::new(&[1.0; 4], 2);
    super::products_of(&[1.0; 6], &[0, 3], &columns, &mut [0.0; 4]);
}

#[test]
#[should_panic(expected = "5 numbers are no whole number of vectors of 2")]
fn columns_that_are_not_whole_are_refused() {
    Packed::new(&[1.0; 5], 2);
}
