//! Drift that is there and drift that is not, and buckets in parts.

use super::{DriftBucket, FEATURES, Observed, RandomFeatures, Witness, drift, witness_clusters};
use crate::Matrix;
use crate::random::Dice;

const DIMENSION: usize = 4;

/// Rows around one centre; a share of them around another.
fn rows(dice: &mut Dice, count: usize, moved: f64) -> Vec<f32> {
    let mut rows = Vec::new();
    for at in 0..count {
        let away = if (at as f64) < moved * count as f64 {
            2.5
        } else {
            0.0
        };
        rows.extend((0..DIMENSION).map(|_| (away + dice.normal()) as f32));
    }
    rows
}

fn bucket(
    features: &RandomFeatures,
    rows: &[f32],
    first: u64,
    group: impl Fn(usize) -> Option<u64>,
) -> DriftBucket {
    let mut bucket = DriftBucket::new(400);
    let own = features.of(Matrix::new(rows, DIMENSION));
    for (at, features) in own.chunks_exact(FEATURES).enumerate() {
        bucket.add(&Observed {
            id: first + at as u64,
            features,
            group: group(at),
            class: Some(at as u32 % 3),
            trouble: Some(0.5),
            is_new: at % 10 == 0,
        });
    }
    bucket
}

fn alone(_: usize) -> Option<u64> {
    None
}

#[test]
fn features_stand_for_a_gaussian_kernel() {
    let mut dice = Dice::new(1);
    let numbers = rows(&mut dice, 200, 0.0);
    let all = Matrix::new(&numbers, DIMENSION);
    let features = RandomFeatures::fit(all, 3);
    let own = features.of(all);
    let bandwidth = features.bandwidth();
    for (a, b) in [(0, 0), (1, 2), (3, 40), (100, 199)] {
        let product = vermilion_kernels::inner_product(
            &own[a * FEATURES..(a + 1) * FEATURES],
            &own[b * FEATURES..(b + 1) * FEATURES],
        );
        let distance = f64::from(vermilion_kernels::l2_squared(all.row(a), all.row(b)));
        let kernel = (-distance / (2.0 * bandwidth * bandwidth)).exp();
        assert!(
            (f64::from(product) - kernel).abs() < 0.15,
            "{product} is not {kernel}"
        );
    }
    assert!((RandomFeatures::fit(Matrix::new(&[2.0; 8], 4), 3).bandwidth() - 1.0).abs() < 1e-12);
}

#[test]
fn a_moved_share_is_found_and_chance_is_not() {
    let mut dice = Dice::new(7);
    let reference = rows(&mut dice, 400, 0.0);
    let features = RandomFeatures::fit(Matrix::new(&reference, DIMENSION), 1);
    let before = bucket(&features, &reference, 0, alone);
    let mut alarms = 0;
    for at in 0..60 {
        // A reference of its own each time: what is odd in one would be seen against every window.
        let numbers = rows(&mut dice, 200, 0.0);
        let own = RandomFeatures::fit(Matrix::new(&numbers, DIMENSION), at);
        let sides = [
            bucket(&own, &numbers, 0, alone),
            bucket(&own, &rows(&mut dice, 100, 0.0), 1000, alone),
        ];
        alarms += usize::from(drift(&sides[0], &sides[1], 99, at).p.unwrap() <= 0.05);
    }
    assert!(
        alarms <= 7,
        "{alarms} of 60 windows of the same kind alarmed"
    );
    let moved = rows(&mut dice, 200, 0.2);
    let window = bucket(&features, &moved, 1000, alone);
    let found = drift(&before, &window, 199, 1);
    assert!(found.p.unwrap() <= 0.01 && found.blocks == [400, 200]);
    assert_eq!(found, drift(&before, &window, 199, 1));
    let values =
        Witness::between(&before, &window).values(&features.of(Matrix::new(&moved, DIMENSION)));
    let high = |from: usize, to: usize| values[from..to].iter().sum::<f64>() / (to - from) as f64;
    assert!(high(0, 40) > high(40, 200) + 0.02);
    let clusters = witness_clusters(Matrix::new(&moved, DIMENSION), &values, 3, 1);
    assert!((clusters.iter().map(|cluster| cluster.share).sum::<f64>() - 1.0).abs() < 1e-9);
    let moved_first = clusters[0].rows[..10]
        .iter()
        .filter(|row| **row < 40)
        .count();
    assert!(moved_first >= 9 && clusters.is_sorted_by(|a, b| a.share >= b.share));
}

#[test]
fn records_of_a_group_are_dealt_out_together() {
    let mut dice = Dice::new(9);
    let (mut by_group, mut by_record) = (0, 0);
    for round in 0..20 {
        // Ten videos a window, whose frames are nearly equal: the windows differ by their videos alone.
        let mut videos = |count: usize| -> Vec<f32> {
            let videos = rows(&mut dice, count, 0.0);
            let frame = |at: usize| &videos[at / 20 * DIMENSION..(at / 20 + 1) * DIMENSION];
            (0..count * 20)
                .flat_map(|at| {
                    frame(at)
                        .iter()
                        .map(|v| v + dice.normal() as f32 * 0.05)
                        .collect::<Vec<_>>()
                })
                .collect()
        };
        let (one, other) = (videos(10), videos(10));
        let features = RandomFeatures::fit(Matrix::new(&one, DIMENSION), 1);
        let compare = |of: &dyn Fn(usize, u64) -> Option<u64>| {
            let sides = [
                bucket(&features, &one, 0, |at| of(at, 0)),
                bucket(&features, &other, 500, |at| of(at, 100)),
            ];
            drift(&sides[0], &sides[1], 99, round).p.unwrap() <= 0.05
        };
        by_group += usize::from(compare(&|at, first| Some(first + at as u64 / 20)));
        by_record += usize::from(compare(&|_, _| None));
    }
    assert!(by_group <= 4, "{by_group} of 20 alarms by groups");
    assert!(by_record >= 15, "{by_record} of 20 alarms without groups");
}

#[test]
fn buckets_of_parts_merge_to_the_bucket_of_all_in_any_order() {
    let mut dice = Dice::new(5);
    let numbers = rows(&mut dice, 900, 0.3);
    let features = RandomFeatures::fit(Matrix::new(&numbers, DIMENSION), 1);
    let all = bucket(&features, &numbers, 0, alone);
    let part = |from: usize, to: usize| {
        bucket(
            &features,
            &numbers[from * DIMENSION..to * DIMENSION],
            from as u64,
            alone,
        )
    };
    let mut merged = part(600, 900);
    merged.merge(&part(0, 300));
    merged.merge(&part(300, 600));
    assert_eq!((merged.count(), merged.sample().count()), (900, 400));
    assert!(merged.sample().eq(all.sample()));
    assert_eq!(merged.classes(), all.classes());
    assert_eq!(merged.trouble(), all.trouble());
    assert!((merged.share_new() - 0.1).abs() < 1e-9);
    merged
        .mean()
        .iter()
        .zip(all.mean())
        .for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
    let text = serde_json::to_string(&DriftBucket::new(3)).unwrap();
    assert_eq!(
        serde_json::from_str::<DriftBucket>(&text).unwrap(),
        DriftBucket::new(3)
    );
}

#[test]
fn a_window_of_nothing_has_no_p() {
    let features = RandomFeatures::fit(Matrix::new(&[1.0, 2.0, 3.0, 4.0], DIMENSION), 1);
    let full = bucket(&features, &[1.0, 2.0, 3.0, 4.0], 0, alone);
    let empty = DriftBucket::new(10);
    assert_eq!(drift(&full, &empty, 99, 1).p, None);
    assert_eq!(drift(&empty, &empty, 99, 1).p, None);
    assert!(drift(&full, &full, 99, 1).p.unwrap() > 0.9);
    let one_group = bucket(&features, &[1.0; 16], 0, |_| Some(4));
    let same = bucket(&features, &[2.0; 16], 10, |_| Some(4));
    assert!(drift(&one_group, &same, 99, 1).p.unwrap() <= 1.0);
    assert!(witness_clusters(Matrix::new(&[], DIMENSION), &[], 3, 1).is_empty());
}

#[test]
fn a_record_with_numbers_near_the_largest_tells_nothing_of_the_others() {
    let mut dice = Dice::new(5);
    let reference = rows(&mut dice, 300, 0.0);
    let mut window = rows(&mut dice, 200, 0.0);
    let features = RandomFeatures::fit(Matrix::new(&reference, DIMENSION), 0);
    window.extend([3e38, -3e38, 3e38, 3e38]);
    let own = features.of(Matrix::new(&window, DIMENSION));
    assert!(own.iter().all(|value| value.is_finite()));
    let before = bucket(&features, &reference, 0, alone);
    let now = bucket(&features, &window, 1000, alone);
    let found = drift(&before, &now, 199, 0);
    assert!(
        found.statistic.is_finite() && found.p.unwrap() > 0.05,
        "{found:?}"
    );
    // Distances that overflow are no bandwidth.
    let fitted = RandomFeatures::fit(Matrix::new(&window, DIMENSION), 0);
    assert!(fitted.bandwidth().is_finite());
}
