//! Every level this machine has against the exact functions in `f64`, over lengths that fill no lanes.

use proptest::prelude::*;

use super::Norm;
use crate::dispatch::available;
use crate::scalar::layers::{error_function, exponential};

fn numbers(count: std::ops::Range<usize>, size: f32) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-size..size, count)
}

/// The error function by its series, which is exact enough for arguments of this size in `f64`.
fn exact_error_function(number: f64) -> f64 {
    let (mut term, mut sum) = (number, number);
    for at in 1..200 {
        term *= -number * number / f64::from(at);
        sum += term / f64::from(2 * at + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn near(found: f32, expected: f64, within: f64) -> bool {
    (f64::from(found) - expected).abs() <= within
}

#[test]
fn error_function_is_near_the_true_one() {
    // To 15 digits.
    let known = [
        (0.0, 0.0),
        (0.1, 0.112_462_916_018_285),
        (0.5, 0.520_499_877_813_047),
        (1.0, 0.842_700_792_949_715),
        (2.0, 0.995_322_265_018_953),
        (3.5, 0.999_999_256_901_628),
        (9.0, 1.0),
    ];
    for (number, expected) in known {
        for sign in [1.0, -1.0] {
            let found = error_function(sign * number);
            assert!(
                near(found, f64::from(sign) * expected, 5e-7),
                "{number}: {found}"
            );
        }
    }
}

#[test]
fn exponential_is_near_the_true_one() {
    for step in 0..87_000 {
        let number = -(step as f32) / 1000.0;
        let expected = f64::from(number).exp();
        let found = exponential(number);
        assert!(
            near(found, expected, expected * 3e-7),
            "{number}: {found} instead of {expected}"
        );
    }
    for number in [-88.0, -1e30, f32::NEG_INFINITY] {
        assert!((0.0..2e-38).contains(&exponential(number)), "{number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_level_takes_the_exact_gelu_of_sums(
        rows in 0usize..4,
        bias in numbers(1..70, 3.0),
        seed in numbers(280..281, 3.0),
    ) {
        let given = &seed[..rows * bias.len()];
        for kernels in available() {
            let mut made = given.to_vec();
            kernels.gelu_rows(&mut made, &bias);
            for (at, (&found, &number)) in made.iter().zip(given).enumerate() {
                let number = f64::from(number + bias[at % bias.len()]);
                let expected = number * 0.5 * (1.0 + exact_error_function(number / 2f64.sqrt()));
                prop_assert!(near(found, expected, 3e-6), "{}: {found}, {expected}", kernels.level);
            }
        }
    }

    #[test]
    fn every_level_makes_shares_of_rows(
        length in 1usize..70,
        rows in 0usize..4,
        seed in numbers(280..281, 40.0),
    ) {
        let given = &seed[..rows * length];
        for kernels in available() {
            let mut made = given.to_vec();
            kernels.soften_rows(&mut made, length);
            for (found, row) in made.chunks_exact(length).zip(given.chunks_exact(length)) {
                let powers: Vec<f64> = row.iter().map(|&number| f64::from(number).exp()).collect();
                let sum: f64 = powers.iter().sum();
                for (&found, power) in found.iter().zip(powers) {
                    prop_assert!(near(found, power / sum, 5e-6 * power / sum + 1e-30), "{}", kernels.level);
                }
            }
        }
    }

    #[test]
    fn every_level_normalises_rows(
        bias in numbers(2..70, 3.0),
        rows in 0usize..4,
        seed in numbers(560..561, 3.0),
    ) {
        let length = bias.len();
        let (given, others) = (&seed[..rows * length], &seed[280..280 + rows * length]);
        let norm = Norm {
            scale: seed[100..100 + length].to_vec(),
            shift: seed[200..200 + length].to_vec(),
            epsilon: 1e-3,
        };
        for kernels in available() {
            let mut made = given.to_vec();
            kernels.normalise_rows(&mut made, others, &bias, &norm);
            for at in 0..rows {
                let all = |column: usize| {
                    let at = at * length + column;
                    f64::from(given[at]) + f64::from(others[at]) + f64::from(bias[column])
                };
                let mean = (0..length).map(all).sum::<f64>() / length as f64;
                let squares = (0..length).map(|column| (all(column) - mean).powi(2)).sum::<f64>();
                let factor = 1.0 / (squares / length as f64 + 1e-3).sqrt();
                for column in 0..length {
                    let (scale, shift) = (f64::from(norm.scale[column]), f64::from(norm.shift[column]));
                    let expected = (all(column) - mean) * factor * scale + shift;
                    let found = made[at * length + column];
                    prop_assert!(near(found, expected, 1e-4), "{}: {found}, {expected}", kernels.level);
                }
            }
        }
    }
}

#[test]
fn a_row_is_made_of_itself_alone() {
    let numbers: Vec<f32> = (0..200).map(|at| ((at * 37 % 101) as f32).sin()).collect();
    for kernels in available() {
        let (mut together, mut alone) = (numbers.clone(), numbers.clone());
        kernels.soften_rows(&mut together, 40);
        alone
            .chunks_exact_mut(40)
            .for_each(|row| kernels.soften_rows(row, 40));
        assert_eq!(together, alone);
    }
}

#[test]
#[should_panic(expected = "7 numbers are no whole number of rows of 3")]
fn rows_that_are_not_whole_are_refused() {
    super::gelu_rows(&mut [0.0; 7], &[0.0; 3]);
}

#[test]
#[should_panic(expected = "6 numbers with 3 others")]
fn rows_without_what_is_added_are_refused() {
    let norm = Norm {
        scale: vec![1.0; 3],
        shift: vec![0.0; 3],
        epsilon: 0.0,
    };
    super::normalise_rows(&mut [0.0; 6], &[0.0; 3], &[0.0; 3], &norm);
}
