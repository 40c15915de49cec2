//! Each issue where it was put in, against slow definitions, and where there is none.

use proptest::prelude::*;

use super::{
    DimensionStatistics, dead_dimensions, duplicate_threshold, imbalance, leaks, near_duplicates,
    norm_shift, outliers, underperforming_clusters, unknown_classes,
};
use crate::random::Dice;
use crate::{Graph, Matrix, nearest};

fn normal(seed: u64, rows: usize, dimension: usize) -> Vec<f32> {
    let mut dice = Dice::new(seed);
    (0..rows * dimension)
        .map(|_| (1.0 + dice.normal()) as f32)
        .collect()
}

fn graph(rows: &[f32], dimension: usize) -> Graph {
    nearest(
        Matrix::new(rows, dimension),
        Matrix::new(rows, dimension),
        12,
        true,
    )
}

#[test]
fn duplicates_are_joined_over_others_and_leaks_are_those_across_contexts() {
    let mut rows = normal(1, 200, 6);
    for (to, from) in [(50, 3), (120, 50), (180, 77)] {
        for at in 0..6 {
            rows[to * 6 + at] = rows[from * 6 + at] + if at == 0 { 1e-4 } else { 0.0 };
        }
    }
    let graph = graph(&rows, 6);
    let threshold = duplicate_threshold(&graph).unwrap();
    assert!(threshold > 1e-3, "{threshold}");
    let clusters = near_duplicates(&graph, threshold);
    assert_eq!(clusters, near_duplicates(&graph, 1e-3));
    assert_eq!(clusters, [vec![3, 50, 120], vec![77, 180]]);
    let is_test: Vec<bool> = (0..200).map(|row| row == 120).collect();
    let is_training: Vec<bool> = is_test.iter().map(|test| !test).collect();
    assert_eq!(leaks(&clusters, &is_training, &is_test), [[3, 50, 120]]);
    assert!(near_duplicates(&graph, 0.0).is_empty());
    assert_eq!(
        duplicate_threshold(&Graph::new(vec![0, 0], vec![], vec![])),
        None
    );
}

/// How many of the first `copied` rows have a copy with some noise among the last ones, and are joined with it; and how
/// many clusters there are besides.
fn found(
    seed: u64,
    (rows, dimension): (usize, usize),
    copied: usize,
    noise: f64,
) -> (usize, usize) {
    let mut numbers = normal(seed, rows, dimension);
    let mut dice = Dice::new(seed + 1);
    for at in 0..copied * dimension {
        numbers.push((f64::from(numbers[at]) + noise * dice.normal()) as f32);
    }
    let graph = graph(&numbers, dimension);
    let clusters = near_duplicates(&graph, duplicate_threshold(&graph).unwrap());
    let is_pair = |cluster: &&Vec<u32>| {
        cluster.len() == 2
            && (cluster[1] - cluster[0]) as usize == rows
            && (cluster[0] as usize) < copied
    };
    let pairs = clusters.iter().filter(is_pair).count();
    (pairs, clusters.len() - pairs)
}

#[test]
fn copies_with_a_little_noise_are_found_however_many_there_are() {
    for (dimension, noise) in [(8, 0.005), (32, 0.02), (64, 0.03)] {
        for copied in [5, 100, 400] {
            let (pairs, others) = found(7, (400, dimension), copied, noise);
            assert!(
                pairs * 20 >= copied * 19 && others == 0,
                "{pairs} of {copied} in {dimension} dimensions, {others} besides"
            );
        }
    }
}

#[test]
fn records_that_are_independent_are_no_duplicates() {
    for (dimension, rows) in [(3, 1000), (5, 1000), (32, 500), (32, 2000)] {
        let others: usize = (0..5)
            .map(|seed| found(seed, (rows, dimension), 0, 0.0).1)
            .sum();
        assert!(others <= 1, "{others} in {dimension} dimensions of {rows}");
    }
}

#[test]
fn a_record_that_is_near_to_none_is_an_outlier() {
    let mut rows = normal(2, 300, 3);
    rows.iter_mut()
        .skip(2)
        .step_by(3)
        .for_each(|value| *value = 9.0);
    rows[100 * 3..101 * 3].copy_from_slice(&[-30.0, 3.0, -9.0]);
    let found = outliers(&graph(&rows, 3));
    assert!(found[0] == 100 && found.len() <= 3, "{found:?}");
    // Two that are alike support each other.
    rows[101 * 3..102 * 3].copy_from_slice(&[-30.0, 3.01, -9.0]);
    assert!(
        outliers(&graph(&rows, 3))
            .iter()
            .all(|&row| row != 100 && row != 101)
    );
    assert!(outliers(&graph(&[1.0, 2.0], 1)).is_empty());
}

#[test]
fn rare_and_unknown_classes_are_named() {
    let rare = imbalance(&[100, 3, 0, 120, 1, 90]);
    assert_eq!(
        rare.iter()
            .map(|class| (class.class, class.count))
            .collect::<Vec<_>>(),
        [(4, 1), (1, 3)]
    );
    assert!((rare[0].share - 1.0 / 314.0).abs() < 1e-12);
    assert!(imbalance(&[5, 5, 4]).is_empty() && imbalance(&[]).is_empty());
    assert_eq!(unknown_classes(&[4, 0, 7, 2], &[1, 0, 0]), [(2, 7), (3, 2)]);
}

#[test]
fn a_cluster_that_is_often_wrong_is_named_and_chance_is_not() {
    let mut dice = Dice::new(4);
    let mut rows = Vec::new();
    let (mut correct, mut chance) = (Vec::new(), Vec::new());
    for at in 0..600 {
        let group = at % 3;
        rows.extend([f64::from(group) * 10.0 + dice.normal(), dice.normal()].map(|v| v as f32));
        correct.push(f64::from(u8::from(
            dice.share() < if group == 1 { 0.6 } else { 0.95 },
        )));
        chance.push(f64::from(u8::from(dice.share() < 0.9)));
    }
    let weak = underperforming_clusters(Matrix::new(&rows, 2), &correct, 3, 1);
    assert_eq!(weak.len(), 1);
    assert!(weak[0].rows.len() == 200 && weak[0].rows.iter().all(|row| row % 3 == 1));
    assert!(weak[0].accuracy < 0.7 && weak[0].accuracy_of_all > 0.75);
    assert!(correct[weak[0].rows[0] as usize] < 0.5);
    assert!(underperforming_clusters(Matrix::new(&rows, 2), &chance, 3, 1).is_empty());
    assert!(underperforming_clusters(Matrix::new(&[], 2), &[], 3, 1).is_empty());
}

#[test]
fn dead_dimensions_and_moved_norms_are_named() {
    let mut rows = normal(5, 100, 5);
    for row in rows.chunks_exact_mut(5) {
        row[1] = 0.3;
        row[4] *= 1e-6;
    }
    let before = DimensionStatistics::of(Matrix::new(&rows, 5));
    assert_eq!(dead_dimensions(&before), [1, 4]);
    assert!(dead_dimensions(&DimensionStatistics::of(Matrix::new(&rows[..5], 5))).is_empty());
    let all_equal = DimensionStatistics::of(Matrix::new(&[0.1; 20], 5));
    assert_eq!(dead_dimensions(&all_equal), [0, 1, 2, 3, 4]);
    let same = DimensionStatistics::of(Matrix::new(&rows[..250], 5));
    assert_eq!(norm_shift(&before, &same), None);
    let longer: Vec<f32> = rows.iter().map(|value| value * 3.0).collect();
    let shift = norm_shift(&before, &DimensionStatistics::of(Matrix::new(&longer, 5))).unwrap();
    assert!((shift.means[1] / shift.means[0] - 3.0).abs() < 1e-5);
    let unit = Matrix::new(&rows, 5).unit_rows();
    let halves =
        [&unit[..250], &unit[250..]].map(|half| DimensionStatistics::of(Matrix::new(half, 5)));
    assert_eq!(norm_shift(&halves[0], &halves[1]), None);
}

proptest! {
    #[test]
    fn statistics_of_parts_merge_to_those_of_all(seed in 0_u64..1000, rows in 2_usize..50, cut in 0.0..1.0_f64) {
        let numbers = normal(seed, rows, 3);
        let all = DimensionStatistics::of(Matrix::new(&numbers, 3));
        let at = (rows as f64 * cut) as usize;
        let mut merged = DimensionStatistics::of(Matrix::new(&numbers[at * 3..], 3));
        merged.merge(&DimensionStatistics::of(Matrix::new(&numbers[..at * 3], 3)));
        prop_assert_eq!(merged.count(), all.count());
        for place in 0..4 {
            prop_assert!((merged.means[place] - all.means[place]).abs() < 1e-9);
            prop_assert!((merged.squares[place] - all.squares[place]).abs() < 1e-9);
        }
    }
}
