//! Every level this machine has, against sums in `f64` over odd lengths and unaligned slices.

use proptest::prelude::*;

use crate::dispatch::{Kernels, available, choose};
use crate::{BLOCK, Bf16, Element, F16, Level};

/// What the sum of `terms` is, and how far `f32` may be from it.
fn close(found: f32, terms: impl Iterator<Item = f64>, what: &str) {
    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| {
        (sum + term, size + term.abs())
    });
    let allowed = size * 5e-6 + 1e-30;
    let error = (f64::from(found) - sum).abs();
    assert!(
        error <= allowed,
        "{what}: {found} is {error:e} from {sum}, {allowed:e} allowed"
    );
}

fn products<'a>(a: &'a [f32], b: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b))
}

fn squares<'a>(a: &'a [f32], b: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
    a.iter().zip(b).map(|(&a, &b)| {
        let difference = f64::from(a) - f64::from(b);
        difference * difference
    })
}

/// Checks `rows` as they are and brought to every narrower element.
fn check(kernels: &Kernels, query: &[f32], rows: &[f32], count: usize) {
    check_elements::<f32>(kernels, query, rows, count);
    check_elements::<F16>(kernels, query, rows, count);
    check_elements::<Bf16>(kernels, query, rows, count);
    check_elements::<i8>(kernels, query, rows, count);
}

fn check_elements<E: Element>(kernels: &Kernels, query: &[f32], rows: &[f32], count: usize) {
    let level = format!("{}, {}", kernels.level, std::any::type_name::<E>());
    let elements: Vec<E> = rows.iter().map(|&number| E::nearest(number)).collect();
    let numbers: Vec<f32> = elements.iter().map(|element| element.to_f32()).collect();
    let mut distances = vec![f32::NAN; count];
    let mut inner = vec![f32::NAN; count];
    let mut both = (vec![f32::NAN; count], vec![f32::NAN; count]);
    kernels.l2_squared_rows(query, &elements, &mut distances);
    kernels.inner_product_rows(query, &elements, &mut inner);
    kernels.products_and_norms_rows(query, &elements, &mut both.0, &mut both.1);
    for at in 0..count {
        let range = at * query.len()..(at + 1) * query.len();
        let (row, kept) = (&numbers[range.clone()], &elements[range]);
        let what = format!("{level}, {} numbers, row {at} of {count}", query.len());
        let distance = kernels.l2_squared(query, kept);
        close(distance, squares(query, row), &what);
        let product = kernels.inner_product(query, kept);
        close(product, products(query, row), &what);
        close(distances[at], squares(query, row), &what);
        close(inner[at], products(query, row), &what);
        close(both.0[at], products(query, row), &what);
        close(both.1[at], products(row, row), &what);
    }
}

/// Numbers of very different size, from `seed`.
fn uneven_numbers(seed: u64, count: usize) -> Vec<f32> {
    let size = |state: u64| [1.0, 1e-3, 100.0, 0.0][(state >> 20) as usize % 4];
    chance(seed)
        .map(|state| unit(state) * size(state))
        .take(count)
        .collect()
}

/// Numbers between -1 and 1, from `seed`.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    chance(seed).map(unit).take(count).collect()
}

/// What a generator gives that begins with `seed`.
fn chance(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

fn unit(state: u64) -> f32 {
    (state >> 40) as f32 / (1 << 23) as f32 - 1.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_level_agrees_with_sums_in_double_precision(
        seed in any::<u64>(),
        length in prop_oneof![0usize..70, 0usize..2000],
        count in 0usize..12,
        shift in (0usize..16, 0usize..16),
    ) {
        let query = uneven_numbers(seed, length + shift.0);
        let rows = uneven_numbers(!seed, length * count + shift.1);
        for kernels in available() {
            check(&kernels, &query[shift.0..], &rows[shift.1..], count);
        }
    }
}

#[test]
fn every_level_agrees_at_every_length_up_to_three_steps() {
    for length in 0..=200 {
        let (query, rows) = (uneven_numbers(7, length), uneven_numbers(11, length * 5));
        for kernels in available() {
            check(&kernels, &query, &rows, 5);
        }
    }
}

#[test]
fn vectors_longer_than_a_block_keep_their_precision() {
    for length in [BLOCK, BLOCK + 1, 3 * BLOCK + 17, 65_535] {
        let (query, rows) = (uneven_numbers(3, length), uneven_numbers(5, length * 2));
        for kernels in available() {
            check(&kernels, &query, &rows, 2);
        }
    }
}

#[test]
fn many_equal_terms_do_not_lose_the_last_ones() {
    let ones = vec![0.1f32; 65_535];
    let expected = 65_535.0 * f64::from(0.1f32) * f64::from(0.1f32);
    for kernels in available() {
        let found = f64::from(kernels.inner_product(&ones, &ones));
        assert!(
            (found / expected - 1.0).abs() < 1e-5,
            "{}: {found}",
            kernels.level
        );
    }
}

#[test]
fn the_distance_of_a_vector_to_itself_is_exactly_zero() {
    let vector = uneven_numbers(1, 999);
    for kernels in available() {
        assert_eq!(kernels.l2_squared(&vector, &vector).to_bits(), 0);
    }
}

#[test]
fn a_forced_level_the_machine_lacks_falls_back_to_the_best_below() {
    let tables = available();
    let best = tables[tables.len() - 1].level;
    assert_eq!(choose(&tables, None).level, best);
    assert_eq!(choose(&tables, Some("scalar")).level, Level::Scalar);
    assert_eq!(choose(&tables, Some("no such level")).level, best);
    assert_eq!(choose(&tables[..1], Some("avx512")).level, Level::Scalar);
    for table in &tables {
        assert_eq!(choose(&tables, Some(table.level.name())).level, table.level);
    }
}

#[test]
fn a_level_reads_back_from_its_name_and_others_are_told_what_is_allowed() {
    for level in [Level::Scalar, Level::Neon, Level::Avx2, Level::Avx512] {
        assert_eq!(level.to_string().parse(), Ok(level));
    }
    let error = "sse9"
        .parse::<Level>()
        .expect_err("no such level")
        .to_string();
    assert_eq!(
        error,
        "`sse9` is no kernel level; allowed are scalar, neon, avx2, avx512"
    );
}

#[test]
#[should_panic(expected = "the vectors have 2 and 3 numbers")]
fn vectors_of_different_lengths_are_refused() {
    crate::l2_squared(&[1.0; 2], &[1.0; 3]);
}

#[test]
#[should_panic(expected = "3 rows of 2 numbers were announced, 5 numbers given")]
fn rows_that_do_not_fill_the_output_are_refused() {
    crate::l2_squared_rows(&[1.0; 2], &[1.0; 5], &mut [0.0; 3]);
}
