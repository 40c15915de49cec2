//! Ranks of the sketch against ranks of all values in order.

use proptest::prelude::*;

use super::QuantileSketch;
use crate::random::Dice;

/// The exact share below, equal ones counted half.
fn exact(sorted: &[f32], value: f32) -> f64 {
    let below = sorted.partition_point(|&other| other < value);
    let until = sorted.partition_point(|&other| other <= value);
    (below + until) as f64 / (2 * sorted.len()) as f64
}

fn check(values: &[f32], sketch: &QuantileSketch, allowed: f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let percentiles = sketch.percentiles();
    assert_eq!(percentiles.count(), values.len() as u64);
    for at in (0..sorted.len()).step_by(sorted.len() / 500 + 1) {
        for value in [sorted[at], sorted[at].next_up(), sorted[at] * 1.001] {
            let (found, truth) = (percentiles.rank(value), exact(&sorted, value));
            assert!(
                (found - truth).abs() <= allowed,
                "{value}: {found}, exactly {truth}"
            );
        }
        let share = at as f64 / sorted.len() as f64;
        let value = percentiles.value(share).unwrap();
        let below = sorted.partition_point(|&other| other < value) as f64 / sorted.len() as f64;
        let until = sorted.partition_point(|&other| other <= value) as f64 / sorted.len() as f64;
        let far = (below - share).max(share - until).max(0.0);
        assert!(
            far <= 2.0 * allowed + 1e-9,
            "share {share}: {value} has {below} to {until}"
        );
    }
}

/// Values that are hard for one kind of sketch or another.
fn hard(kind: usize, count: usize) -> Vec<f32> {
    let mut dice = Dice::new(kind as u64);
    let make = |at: usize| match kind {
        0 => dice.normal() as f32,
        1 => 1000.0 + dice.normal() as f32 * 0.01,
        2 => (dice.normal() * 20.0).exp() as f32,
        3 => at as f32,
        4 => -(at as f32),
        5 => (dice.below(21) as f32) / 20.0,
        _ => 1.0 - (dice.share() * 1e-4) as f32,
    };
    (0..count).map(make).collect()
}

#[test]
fn ranks_are_within_one_percent_of_the_truth_for_hard_values_in_hard_orders() {
    for kind in 0..7 {
        let values = hard(kind, 60_000);
        check(&values, &values.iter().copied().collect(), 0.01);
        let mut sorted = values.clone();
        sorted.sort_by(f32::total_cmp);
        check(&values, &sorted.into_iter().collect(), 0.01);
    }
}

#[test]
fn sketches_of_parts_merge_to_a_sketch_of_all() {
    for kind in 0..7 {
        let values = hard(kind, 60_000);
        let mut merged = QuantileSketch::new();
        for part in values.chunks(7_001) {
            merged.merge(&part.iter().copied().collect());
        }
        check(&values, &merged, 0.01);
        assert!(merged.nodes.len() < super::NODES_MAX);
    }
}

#[test]
fn a_sketch_of_nothing_ranks_in_the_middle() {
    let empty = QuantileSketch::new().percentiles();
    assert!((empty.rank(3.0) - 0.5).abs() < 1e-12);
    assert_eq!(empty.value(0.5), None);
    let mut sketch: QuantileSketch = [f32::NAN, f32::NAN].into_iter().collect();
    assert_eq!(sketch.count(), 0);
    assert!(!sketch.remove(1.0) && !sketch.remove(f32::NAN));
}

proptest! {
    #[test]
    fn few_values_are_ranked_exactly_in_any_order_and_after_removals(
        values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, 1..400),
        removed in prop::collection::vec(prop::num::f32::NORMAL, 0..100),
    ) {
        let mut sketch: QuantileSketch = removed.iter().chain(&values).copied().collect();
        for &value in &removed {
            prop_assert!(sketch.remove(value));
        }
        check(&values, &sketch, 0.0);
        let other: QuantileSketch = values.iter().rev().copied().collect();
        prop_assert_eq!(&other, &sketch);
        let text = serde_json::to_string(&sketch).unwrap();
        prop_assert_eq!(serde_json::from_str::<QuantileSketch>(&text).unwrap(), sketch);
    }
}
