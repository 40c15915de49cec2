//! Signals and trouble against their definitions, and where something is missing.

use proptest::prelude::*;

use super::{
    Evidence, Measured, Neighbours, Signal, SignalSketches, SignalWeights, Signals, uncertainty,
};
use crate::random::Dice;
use crate::{ClassStatistics, HeldOut, Matrix};

fn statistics() -> ClassStatistics {
    let numbers = [0.0, 0.1, 0.2, 0.0, 0.1, 0.3, 3.0, 3.1, 3.2, 2.9, 3.1, 3.3];
    ClassStatistics::of(Matrix::new(&numbers, 2), &[0, 0, 0, 1, 1, 1])
}

const NEAR: Evidence<'_> = Evidence {
    row: &[0.1, 0.1],
    inferred: None,
    probabilities: None,
    uncertainty: None,
    near: AROUND,
    voters: AROUND,
};

const AROUND: Neighbours<'_> = Neighbours {
    labels: &[0, 0, 1, 0],
    distances: &[0.1, 0.2, 0.3, 0.4],
};

#[test]
fn signals_are_what_their_definitions_say() {
    let classes = statistics().fit();
    let given = Evidence {
        inferred: Some(1),
        probabilities: Some(&[0.7, 0.2, 0.1]),
        ..NEAR
    };
    let signals = Signals::of(&classes, &given);
    assert_eq!(signals.inferred, Some(1));
    assert!(!signals.inferred_by_server);
    assert!((signals.uncertainty.unwrap() - 0.5).abs() < 1e-6);
    assert_eq!(signals.novelty, Some(0.1));
    assert_eq!(signals.disagreement, Some(0.75));
    let distance = classes.class_distance(1, &[0.1, 0.1]).unwrap();
    assert!((f64::from(signals.class_distance.unwrap()) - distance).abs() < 1e-3 * distance);
}

#[test]
fn without_probabilities_the_posterior_and_the_vote_speak() {
    let classes = statistics().fit();
    let signals = Signals::of(&classes, &NEAR);
    assert_eq!(
        (signals.inferred, signals.inferred_by_server),
        (Some(0), true)
    );
    let squares = [0.01, 0.04, 0.09, 0.16_f64];
    let mean = squares.iter().sum::<f64>() / 4.0;
    let weights = squares.map(|square| (-square / (2.0 * mean)).exp());
    let other = weights[2] / weights.iter().sum::<f64>();
    let posterior = classes.posterior(NEAR.row);
    let p = [
        0.5 * (posterior[0] + 1.0 - other),
        0.5 * (posterior[1] + other),
    ];
    assert!((f64::from(signals.uncertainty.unwrap()) - (1.0 - (p[0] - p[1]))).abs() < 1e-6);
}

#[test]
fn those_vote_that_are_near_as_vectors_are_and_new_is_what_lies_in_no_direction_of_training() {
    let classes = statistics().fit();
    let evidence = Evidence {
        inferred: Some(0),
        voters: Neighbours {
            labels: &[1, 1, 1, 0],
            distances: &[5.0, 6.0, 7.0, 8.0],
        },
        ..NEAR
    };
    let (by_direction, signals) = (
        Signals::of(
            &classes,
            &Evidence {
                inferred: Some(0),
                ..NEAR
            },
        ),
        Signals::of(&classes, &evidence),
    );
    assert_eq!(
        (by_direction.disagreement, signals.disagreement),
        (Some(0.25), Some(0.75))
    );
    assert_eq!(
        (by_direction.novelty, signals.novelty),
        (Some(0.1), Some(0.1))
    );
    assert!(signals.uncertainty > by_direction.uncertainty);
}

#[test]
fn what_cannot_be_computed_is_missing_and_takes_no_part() {
    let empty = ClassStatistics::new(2).fit();
    let bare = Evidence {
        near: Neighbours::default(),
        voters: Neighbours::default(),
        ..NEAR
    };
    let nothing = Signals::of(&empty, &bare);
    assert_eq!(nothing, Signals::default());
    let unknown = Signals::of(
        &statistics().fit(),
        &Evidence {
            inferred: Some(9),
            ..NEAR
        },
    );
    assert_eq!(
        (unknown.class_distance, unknown.disagreement),
        (None, Some(1.0))
    );
    let mut sketches = SignalSketches::default();
    (0..250_u16).for_each(|at| {
        sketches.add(&Signals {
            novelty: Some(f32::from(at)),
            ..unknown
        });
    });
    let percentiles = sketches.percentiles(&SignalSketches::default());
    let trouble = percentiles.trouble(&Signals {
        novelty: Some(1e9),
        ..unknown
    });
    assert_eq!(
        trouble.missing().collect::<Vec<_>>(),
        [Signal::ClassDistance]
    );
    // Novelty is above all, the two others equal to all.
    assert!((trouble.value.unwrap() - (1.0 + 0.5 + 0.5) / 3.0).abs() < 1e-9);
    assert_eq!(percentiles.trouble(&Signals::default()).value, None);
}

#[test]
fn ranks_begin_with_training_and_change_to_production_at_200_records() {
    let of = |novelty: f32| Signals {
        novelty: Some(novelty),
        ..Signals::default()
    };
    let (mut training, mut production) = (SignalSketches::default(), SignalSketches::default());
    (0..50_u16).for_each(|at| training.add(&of(f32::from(at))));
    (0..199).for_each(|_| production.add(&of(1000.0)));
    let before = production.percentiles(&training);
    assert!(before.from_training());
    assert!((before.trouble(&of(25.0)).value.unwrap() - 0.51).abs() < 1e-9);
    production.add(&of(1000.0));
    let after = production.percentiles(&training);
    assert!(!after.from_training());
    assert!(after.trouble(&of(25.0)).value.unwrap() < 1e-9);
    production.remove(&of(1000.0));
    assert!(production.percentiles(&training).from_training());
}

#[test]
fn a_training_record_is_scored_as_if_it_were_none() {
    let all = statistics();
    let row = [0.2, 0.0];
    let mut without = all.clone();
    without.remove(0, &row);
    let evidence = Evidence { row: &row, ..NEAR };
    let held = Signals::held_out(&HeldOut::new(&all), &all.fit(), 0, &evidence);
    let direct = Signals::of(&all.fit(), &evidence);
    let removed = Signals::of(&without.fit(), &evidence);
    // Shrinkage is that of all examples, so that the answers are near and not equal.
    let (held, direct, removed) = (
        held.class_distance.unwrap(),
        direct.class_distance.unwrap(),
        removed.class_distance.unwrap(),
    );
    assert!(
        (held - removed).abs() < 0.5 * (direct - removed).abs(),
        "{held} {direct} {removed}"
    );
}

#[test]
fn what_is_all_but_sure_keeps_its_order() {
    let found: Vec<f32> = [1e-3, 1e-9, 1e-18, 1e-30]
        .map(|rest| uncertainty(&[1.0 - 3.0 * rest, 2.0 * rest, rest]))
        .to_vec();
    for (found, rest) in found.iter().zip([1e-3, 1e-9, 1e-18, 1e-30]) {
        assert!(
            (f64::from(*found) / (5.0 * rest) - 1.0).abs() < 1e-6,
            "{found}"
        );
    }
    // Of probabilities that are no whole, the difference of the two says it.
    assert!((uncertainty(&[0.6, 0.1]) - 0.5).abs() < 1e-6);
}

#[test]
fn uncertainty_that_is_known_stands_for_probabilities() {
    let classes = statistics().fit();
    let evidence = Evidence {
        inferred: Some(1),
        uncertainty: Some(0.25),
        ..NEAR
    };
    let signals = Signals::of(&classes, &evidence);
    assert_eq!(
        (signals.uncertainty, signals.inferred),
        (Some(0.25), Some(1))
    );
}

#[test]
fn a_signal_counts_as_much_as_it_tells_on_training() {
    // Uncertainty is higher where training is wrong, class distance lower, novelty as it happens; disagreement is not
    // known. What is without its class is farther than all others, and as novel as they are.
    let mut dice = Dice::new(4);
    let mut records: Vec<Measured> = Vec::new();
    for at in 0..1000 {
        let is_right = at % 10 != 0;
        let shift = if is_right { 0.0 } else { 1.5 };
        let mut draw = || dice.normal();
        let signals = Signals {
            uncertainty: Some((draw() + shift) as f32),
            class_distance: Some((draw() - shift) as f32),
            novelty: Some(draw() as f32),
            ..Signals::default()
        };
        let unknown = Signals {
            class_distance: Some(9.0),
            novelty: Some(draw() as f32),
            ..Signals::default()
        };
        records.push(Measured {
            signals,
            is_right,
            unknown,
        });
    }
    let ranks = |uncertainty: f32, class_distance: f32, novelty: f32, weights: SignalWeights| {
        let mut sketches = SignalSketches::default();
        for at in 0..1000_u16 {
            let value = Some(f32::from(at));
            sketches.add(&Signals {
                uncertainty: value,
                class_distance: value,
                novelty: value,
                ..Signals::default()
            });
        }
        let percentiles = sketches.percentiles(&SignalSketches::default());
        let asked = Signals {
            uncertainty: Some(uncertainty),
            class_distance: Some(class_distance),
            novelty: Some(novelty),
            ..Signals::default()
        };
        percentiles.weighted(weights).trouble(&asked).value.unwrap()
    };
    let weights = SignalWeights::of(&records);
    // A trouble that only one signal makes is that one's share of all.
    let share = [(1e9, -1.0, -1.0), (-1.0, 1e9, -1.0), (-1.0, -1.0, 1e9)]
        .map(|(u, a, n)| ranks(u, a, n, weights));
    assert!((share.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{share:?}");
    // 1.5 deviations apart, so above in 86 of 100, by 3 % of which that may be more.
    assert!(share[0] > 0.62, "{share:?}");
    // It tells no errors and all that is unknown: a quarter of what a sure sign counts.
    assert!(
        (share[1] / share[0] - 0.25 / 0.78).abs() < 0.05,
        "{share:?}"
    );
    assert!(share[2] < 0.15, "{share:?}");
    let told = weights.signal(Signal::Uncertainty);
    assert!((told.tells_errors.unwrap() - 0.86).abs() < 0.05, "{told:?}");
    assert_eq!(
        weights.signal(Signal::ClassDistance).tells_unknown,
        Some(1.0)
    );
    assert_eq!(weights.right + weights.wrong, records.len());
    // Where training is never wrong, or there is none, all count alike.
    let of_right: Vec<Measured> = records.iter().filter(|one| one.is_right).copied().collect();
    let equal = |weights| (ranks(1e9, -1.0, -1.0, weights) - 1.0 / 3.0).abs();
    assert!(equal(SignalWeights::of(&[])) < 1e-9 && equal(SignalWeights::default()) < 1e-9);
    assert!(equal(SignalWeights::of(&of_right)) < 0.05);
}

#[test]
fn a_record_without_its_class_is_as_far_as_the_others_are() {
    let all = statistics();
    let (held_out, classes) = (HeldOut::new(&all), all.fit());
    let of = |label: u32, evidence: &Evidence<'_>| {
        Signals::without_class(&held_out, &classes, label, evidence)
    };
    let alone = of(0, &NEAR);
    assert_eq!((alone.inferred, alone.novelty), (Some(1), Some(0.3)));
    let distance = classes.class_distance(1, NEAR.row).unwrap();
    assert!((f64::from(alone.class_distance.unwrap()) / distance - 1.0).abs() < 1e-3);
    // None of its neighbours has another label: it is at least as far as the last of them.
    let of_its_own = Neighbours {
        labels: &[0, 0, 0, 0],
        ..AROUND
    };
    let among = Evidence {
        near: of_its_own,
        voters: of_its_own,
        ..NEAR
    };
    assert_eq!(of(0, &among).novelty, Some(0.4));
    let one = ClassStatistics::of(Matrix::new(&[0.0, 1.0, 1.0, 0.0], 2), &[0, 0]);
    let lonely = Signals::without_class(&HeldOut::new(&one), &one.fit(), 0, &among);
    assert_eq!((lonely.inferred, lonely.class_distance), (None, None));
}

proptest! {
    #[test]
    fn every_signal_of_finite_evidence_is_finite_and_in_its_range(
        seed in 0_u64..5000, rows in 1_usize..20, dimension in 1_usize..6, scale in -15_i32..15, voters in 0_usize..30,
    ) {
        let mut dice = Dice::new(seed);
        let mut numbers = |count: usize| -> Vec<f32> {
            (0..count).map(|_| (dice.normal() * 10_f64.powi(scale)) as f32).collect()
        };
        let (training, row) = (numbers(rows * dimension), numbers(dimension));
        let labels: Vec<u32> = (0..rows).map(|at| (at as u32 * 7) % 5).collect();
        let statistics = ClassStatistics::of(Matrix::new(&training, dimension), &labels);
        let neighbour_labels: Vec<u32> = (0..voters as u32).map(|at| at % 6).collect();
        let neighbour_distances: Vec<f32> = (0..voters).map(|at| at as f32 * 0.01).collect();
        let near = Neighbours {
            labels: &neighbour_labels,
            distances: &neighbour_distances,
        };
        let evidence = Evidence {
            row: &row,
            inferred: None,
            probabilities: None,
            uncertainty: None,
            near,
            voters: near,
        };
        let signals = Signals::of(&statistics.fit(), &evidence);
        prop_assert!(signals.values().into_iter().flatten().all(f32::is_finite));
        prop_assert!(signals.uncertainty.is_some_and(|u| (0.0..=1.0).contains(&u)));
        prop_assert!(signals.class_distance.is_none_or(|a| a >= 0.0));
        prop_assert_eq!(signals.disagreement.is_some(), voters != 0);
    }

    #[test]
    fn uncertainty_is_one_less_the_gap_of_the_highest_two(mut p in prop::collection::vec(0.0..1.0_f64, 1..9)) {
        let sum: f64 = p.iter().sum::<f64>().max(1e-9);
        p.iter_mut().for_each(|value| *value /= sum);
        let found = uncertainty(&p);
        p.push(0.0);
        p.sort_by(|a, b| b.total_cmp(a));
        prop_assert!((f64::from(found) - (1.0 - (p[0] - p[1]))).abs() < 1e-6);
    }
}
