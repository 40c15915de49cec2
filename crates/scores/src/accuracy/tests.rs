//! Accuracies that are known, and edges.

use super::{CorrectnessModel, counted_interval};
use crate::random::Dice;
use crate::signals::Signals;

/// Records whose chance to be right follows from their signals, drawn around a level of doubt; they are equally new.
fn records(seed: u64, count: usize, level: f64) -> (Vec<Signals>, Vec<bool>) {
    let mut dice = Dice::new(seed);
    (0..count)
        .map(|_| {
            let mut draw = |level: f64| (level + 0.3 * dice.share()) as f32;
            let signals = Signals {
                uncertainty: Some(draw(level)),
                disagreement: Some(draw(level)),
                novelty: Some(draw(0.1)),
                class_distance: Some(draw(0.1) * 100.0),
                ..Signals::default()
            };
            let z = 5.0
                - 4.0 * f64::from(signals.uncertainty.unwrap())
                - 5.0 * f64::from(signals.disagreement.unwrap());
            (signals, dice.share() < 1.0 / (1.0 + (-z).exp()))
        })
        .unzip()
}

#[test]
fn the_accuracy_of_harder_records_is_found_without_their_labels() {
    let (mut signals, mut correct) = records(1, 3000, 0.1);
    let (more, right) = records(2, 1000, 0.5);
    signals.extend(more);
    correct.extend(right);
    let model = CorrectnessModel::fit(&signals, &correct).unwrap();
    assert_eq!(model.records(), 4000);
    for (seed, level) in [(3, 0.1), (4, 0.3), (5, 0.5)] {
        let (signals, correct) = records(seed, 3000, level);
        let truth = correct.iter().filter(|right| **right).count() as f64 / 3000.0;
        let found = model.estimate(&signals).unwrap();
        assert!(
            (found.accuracy - truth).abs() < 0.035,
            "{} is not {truth}",
            found.accuracy
        );
        assert!(found.standard_error > 0.0 && found.standard_error < 0.01);
    }
    let weights: [f64; 5] = model.weights;
    assert!(
        weights[1] < 0.0 && weights[2] < 0.0 && weights[3].abs() < 0.3 && weights[4].abs() < 0.3
    );
}

/// The share about which the model is right.
fn share(correct: &[bool]) -> f64 {
    correct.iter().filter(|right| **right).count() as f64 / correct.len() as f64
}

#[test]
fn what_is_unlike_training_is_taken_to_be_wrong() {
    let (signals, correct) = records(1, 2000, 0.1);
    let model = CorrectnessModel::fit(&signals, &correct).unwrap();
    let (mut seen, mut right) = records(2, 1500, 0.1);
    let before = model.estimate(&seen).unwrap();
    assert!(before.unlike_training < 0.02, "{before:?}");
    let truth = share(&right);
    assert!((before.accuracy - truth).abs() < 0.03);
    // Every fifth is of a class that training does not have, about which the model is as sure as of others.
    for at in (0..1500).step_by(5) {
        let far = 0.5 + 0.001 * (at % 70) as f32;
        seen[at].novelty = Some(far);
        seen[at].class_distance = Some(100.0 * far);
        right[at] = false;
    }
    let (after, truth) = (model.estimate(&seen).unwrap(), share(&right));
    assert!((after.unlike_training - 0.2).abs() < 0.03, "{after:?}");
    assert!((after.accuracy - truth).abs() < 0.04, "{after:?}, {truth}");
    assert!(
        after.bounds[0] < truth && truth < after.bounds[1],
        "{after:?}"
    );
    assert!(before.bounds[0] > after.accuracy && after.bounds[1] > before.accuracy);
    let each = model.probabilities(&seen);
    assert!((each.iter().sum::<f64>() / 1500.0 - after.accuracy).abs() < 1e-9);
    assert!(each.iter().step_by(5).all(|p| *p < 0.3));
}

#[test]
fn the_newer_half_of_what_training_knows_is_not_taken_for_unknown() {
    let (signals, correct) = records(1, 2000, 0.1);
    let model = CorrectnessModel::fit(&signals, &correct).unwrap();
    let pairs = records(2, 3000, 0.1);
    let newer = |pair: &(Signals, bool)| pair.0.novelty > Some(0.25);
    let (seen, right): (Vec<Signals>, Vec<bool>) =
        pairs.0.into_iter().zip(pairs.1).filter(newer).unzip();
    let (found, truth) = (model.estimate(&seen).unwrap(), share(&right));
    assert!((found.accuracy - truth).abs() < 0.15, "{found:?}, {truth}");
    assert!(
        found.bounds[0] < truth && truth < found.bounds[1],
        "{found:?}"
    );
}

#[test]
fn one_sided_missing_and_constant_signals_are_no_trouble() {
    let (signals, _) = records(1, 50, 0.1);
    let all_right = CorrectnessModel::fit(&signals, &[true; 50]).unwrap();
    let estimate = all_right.estimate(&signals).unwrap();
    assert!(estimate.accuracy > 0.9 && estimate.accuracy < 1.0);
    let bare = vec![Signals::default(); 10];
    let half: Vec<bool> = (0..10).map(|at| at % 2 == 0).collect();
    let flat = CorrectnessModel::fit(&bare, &half).unwrap();
    assert!((flat.estimate(&bare).unwrap().accuracy - 0.5).abs() < 1e-6);
    assert_eq!(flat.estimate(&[]), None);
    assert_eq!(CorrectnessModel::fit(&[], &[]), None);
}

#[test]
fn the_interval_of_a_count_is_the_one_in_the_tables() {
    let close = |found: (f64, f64), low: f64, high: f64| {
        assert!(
            (found.0 - low).abs() < 5e-4 && (found.1 - high).abs() < 5e-4,
            "{found:?}"
        );
    };
    close(counted_interval(8, 10), 0.490, 0.943);
    close(counted_interval(0, 10), 0.0, 0.278);
    close(counted_interval(10, 10), 0.722, 1.0);
    close(counted_interval(0, 0), 0.0, 1.0);
}
