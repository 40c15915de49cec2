//! Class statistics against what is computed all over, and at the edge of what is defined.

use proptest::prelude::*;

use super::fit::{Pooled, Shrinkage};
use super::{ClassStatistics, HeldOut};
use crate::random::Dice;
use crate::{ClassMoments, Matrix};

fn close(a: f64, b: f64, what: &str) {
    let allowed = 1e-6 * a.abs().max(b.abs()) + 1e-9;
    assert!((a - b).abs() <= allowed, "{what}: {a} is not {b}");
}

/// Examples of classes that lie apart, with one direction that never changes.
fn examples(seed: u64, rows: usize, dimension: usize, classes: u32) -> (Vec<f32>, Vec<u32>) {
    let mut dice = Dice::new(seed);
    let labels: Vec<u32> = (0..rows)
        .map(|_| dice.below(classes as usize) as u32)
        .collect();
    let mut numbers = Vec::new();
    for &label in &labels {
        for at in 0..dimension {
            let centre = f64::from((label as usize + at) as u32 % 3) + 5.0;
            let noise = dice.normal() * (1.0 + at as f64) * 0.2;
            numbers.push(if at == 0 {
                7.0
            } else {
                (centre + noise) as f32
            });
        }
    }
    (numbers, labels)
}

/// Compares counts, means and scatters.
/// Both are the same but for rounding, which is relative to what they were made from.
fn check_same(found: &ClassStatistics, wanted: &ClassStatistics, made_from: &ClassStatistics) {
    let scatters = made_from.classes().iter().flat_map(ClassMoments::scatter);
    let scale = scatters.fold(1e-3, |most: f64, value| most.max(value.abs()));
    for (at, class) in found.classes().iter().enumerate() {
        let Some(other) = wanted.classes().get(at) else {
            assert_eq!(class.count(), 0);
            continue;
        };
        assert_eq!(class.count(), other.count());
        for (a, b) in class.scatter().iter().zip(other.scatter()) {
            assert!((a - b).abs() <= 1e-9 * scale, "scatter {a} is not {b}");
        }
        for (a, b) in class.mean().iter().zip(other.mean()) {
            close(*a, *b, "mean");
        }
    }
}

/// Count, mean and scatter as their definitions say.
fn naive(rows: Matrix<'_>, labels: &[u32], class: u32) -> (f64, Vec<f64>, Vec<f64>) {
    let d = rows.dimension();
    let own: Vec<&[f32]> = rows
        .rows()
        .zip(labels)
        .filter(|(_, label)| **label == class)
        .map(|(row, _)| row)
        .collect();
    let n = own.len() as f64;
    let mean: Vec<f64> = (0..d)
        .map(|at| own.iter().map(|row| f64::from(row[at])).sum::<f64>() / n)
        .collect();
    let mut scatter = Vec::new();
    for i in 0..d {
        for j in 0..=i {
            let deviation = |row: &[f32], at: usize| f64::from(row[at]) - mean[at];
            scatter.push(
                own.iter()
                    .map(|row| deviation(row, i) * deviation(row, j))
                    .sum(),
            );
        }
    }
    (n, mean, scatter)
}

#[test]
fn statistics_are_what_their_definitions_say() {
    let (numbers, labels) = examples(1, 60, 4, 3);
    let rows = Matrix::new(&numbers, 4);
    let statistics = ClassStatistics::of(rows, &labels);
    for class in 0..3 {
        let (count, mean, scatter) = naive(rows, &labels, class);
        let found = &statistics.classes()[class as usize];
        close(found.count() as f64, count, "count");
        found
            .mean()
            .iter()
            .zip(&mean)
            .for_each(|(a, b)| close(*a, *b, "mean"));
        found
            .sum()
            .iter()
            .zip(&mean)
            .for_each(|(a, b)| close(*a, b * count, "sum"));
        found
            .scatter()
            .iter()
            .zip(&scatter)
            .for_each(|(a, b)| close(*a, *b, "scatter"));
    }
}

#[test]
fn class_distance_is_the_quadratic_form_with_the_inverse() {
    // Two dimensions, so that the inverse is written down.
    let numbers = [0.0, 0.0, 1.0, 0.5, 2.0, 0.2, 5.0, 5.0, 6.0, 5.5, 5.0, 7.0];
    let statistics = ClassStatistics::of(Matrix::new(&numbers, 2), &[0, 0, 0, 1, 1, 1]);
    let pooled = Pooled::of(&statistics);
    let shrinkage = Shrinkage::of(&statistics, &pooled);
    let shared = pooled.covariance(4.0, shrinkage, 2);
    let own = statistics.classes()[0].scatter();
    let weight = 2.0 / 5.0;
    let mixed: Vec<f64> = (0..3)
        .map(|at| (1.0 - weight) * own[at] / 2.0 + weight * shared[at])
        .collect();
    let (a, b, c) = (mixed[0], mixed[1], mixed[2]);
    let mean = statistics.classes()[0].mean();
    let away = [3.0 - mean[0], 4.0 - mean[1]];
    let wanted = (c * away[0] * away[0] - 2.0 * b * away[0] * away[1] + a * away[1] * away[1])
        / (a * c - b * b);
    close(
        statistics.fit().class_distance(0, &[3.0, 4.0]).unwrap(),
        wanted,
        "distance",
    );
    // The rule for the amount of shrinkage, spelled out.
    let t: Vec<f64> = pooled.scatter.iter().map(|value| value / 4.0).collect();
    let (alpha, mu) = (
        (t[0] * t[0] + 2.0 * t[1] * t[1] + t[2] * t[2]) / 4.0,
        f64::midpoint(t[0], t[2]),
    );
    let amount = (alpha + mu * mu) / (5.0 * (alpha - mu * mu / 2.0));
    close(shrinkage.amount, amount.min(1.0), "shrinkage");
}

#[test]
fn fits_are_defined_at_the_edges() {
    let check = |numbers: &[f32], labels: &[u32], dimension: usize| {
        let rows = Matrix::new(numbers, dimension);
        let statistics = ClassStatistics::of(rows, labels);
        let (fitted, held_out) = (statistics.fit(), HeldOut::new(&statistics));
        let far: Vec<f32> = vec![1e6; dimension];
        for (row, &label) in rows
            .rows()
            .chain([&far[..]])
            .zip(labels.iter().chain([&labels[0]]))
        {
            assert!(fitted.class_distance(label, row).unwrap().is_finite());
            for posterior in [fitted.posterior(row), fitted.class_posterior(row)] {
                close(posterior.iter().sum(), 1.0, "sum of probabilities");
            }
            assert!(
                fitted
                    .predict(row)
                    .is_some_and(|class| labels.contains(&class))
            );
        }
        for (row, &label) in rows.rows().zip(labels) {
            assert!(
                held_out
                    .class_distance(label, row)
                    .is_none_or(f64::is_finite)
            );
            let several = labels.iter().any(|other| *other != label);
            let left = several || labels.len() > 1;
            for posterior in [
                held_out.posterior(label, row),
                held_out.class_posterior(label, row),
            ] {
                close(
                    posterior.iter().sum(),
                    f64::from(u8::from(left)),
                    "sum of probabilities",
                );
            }
        }
    };
    check(&[1.0, 2.0, 3.0], &[0], 3);
    check(&[1.0, 2.0, 3.0, 4.0], &[0, 1], 2);
    check(&[3.0; 12], &[0, 0, 1, 1], 3);
    check(&[0.0; 12], &[0, 0, 0, 0], 3);
    check(&[1e-20, 2e-20, 5e-20, 1e-20], &[0, 0, 1, 1], 1);
    check(&[1e18, 2e18, 5e18, 1e18], &[0, 0, 1, 1], 1);
    check(
        &[1000.0, 1000.01, 1000.02, 1000.03, 1000.0, 999.9],
        &[0, 0, 0, 5, 5, 5],
        1,
    );
    for seed in 0..5 {
        let (numbers, _) = examples(seed, 16, 40, 8);
        let labels: Vec<u32> = (0..16).map(|at| at / 2).collect();
        check(&numbers, &labels, 40);
    }
}

#[test]
fn without_examples_nothing_has_a_class() {
    let mut statistics = ClassStatistics::new(2);
    assert_eq!(statistics.fit().predict(&[1.0, 1.0]), None);
    statistics.add(1, &[1.0, 2.0]);
    statistics.remove(1, &[1.0, 2.0]);
    let fitted = statistics.fit();
    assert_eq!(fitted.predict(&[1.0, 1.0]), None);
    assert_eq!(fitted.class_distance(1, &[1.0, 1.0]), None);
    assert_eq!(fitted.class_distance(7, &[1.0, 1.0]), None);
}

#[test]
fn leaving_one_out_is_removing_it() {
    for (seed, count, dimension, classes) in
        [(1, 40, 6, 3), (2, 12, 9, 4), (3, 9, 3, 8), (4, 200, 20, 5)]
    {
        let (numbers, labels) = examples(seed, count, dimension, classes);
        let rows = Matrix::new(&numbers, dimension);
        let statistics = ClassStatistics::of(rows, &labels);
        let shrinkage = Shrinkage::of(&statistics, &Pooled::of(&statistics));
        let held_out = HeldOut::new(&statistics);
        for (row, &label) in rows.rows().zip(&labels) {
            let mut without = statistics.clone();
            without.remove(label, row);
            let fitted = without.fit_with(&Pooled::of(&without), shrinkage);
            let distance = held_out.class_distance(label, row);
            assert_eq!(distance.is_some(), fitted.knows(label));
            if let Some(distance) = distance {
                close(
                    distance,
                    fitted.class_distance(label, row).unwrap(),
                    "distance",
                );
                let own = held_out.class_posterior(label, row);
                own.iter()
                    .zip(fitted.class_posterior(row))
                    .for_each(|(a, b)| close(*a, b, "own"));
            }
            let posterior = held_out.posterior(label, row);
            posterior
                .iter()
                .zip(fitted.posterior(row))
                .for_each(|(a, b)| close(*a, b, "posterior"));
        }
    }
}

proptest! {
    #[test]
    fn changes_give_what_counting_all_over_gives(
        seed in 0_u64..1000, count in 2_usize..80, dimension in 1_usize..7, cut in 0.0..1.0_f64,
    ) {
        let (mut numbers, labels) = examples(seed, count, dimension, 3);
        numbers.iter_mut().for_each(|value| *value += 1000.0);
        let rows = Matrix::new(&numbers, dimension);
        let all = ClassStatistics::of(rows, &labels);
        let at = (count as f64 * cut) as usize;
        let head = ClassStatistics::of(rows.slice(0, at), &labels[..at]);
        let tail = ClassStatistics::of(rows.slice(at, count - at), &labels[at..]);
        let mut merged = head.clone();
        merged.merge(&tail);
        check_same(&merged, &all, &all);
        let mut subtracted = all.clone();
        subtracted.subtract(&head);
        check_same(&subtracted, &tail, &all);
        let mut removed = all.clone();
        for (row, &label) in rows.slice(0, at).rows().zip(&labels) {
            removed.remove(label, row);
        }
        check_same(&removed, &tail, &all);
        let text = serde_json::to_string(&removed).unwrap();
        let read: ClassStatistics = serde_json::from_str(&text).unwrap();
        check_same(&read, &removed, &all);
    }
}
