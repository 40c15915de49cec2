//! Wrong labels that were put in, and the mixture against its definition.

use super::{LABEL_VOTERS, LabelEvidence, LabelReport, label_issues};
use crate::random::Dice;
use crate::signals::add_vote;
use crate::{ClassStatistics, Contradictions, HeldOut, Matrix, nearest};

struct World {
    numbers: Vec<f32>,
    truth: Vec<u32>,
    labels: Vec<u32>,
    probabilities: Vec<f32>,
}

const CLASSES: usize = 4;

/// Overlapping classes in five dimensions, every twentieth label wrong.
fn world(rows: usize) -> World {
    let mut dice = Dice::new(11);
    let truth: Vec<u32> = (0..rows).map(|_| dice.below(CLASSES) as u32).collect();
    let mut world = World {
        numbers: Vec::new(),
        labels: truth.clone(),
        truth,
        probabilities: Vec::new(),
    };
    for (at, &class) in world.truth.iter().enumerate() {
        let centre = |axis: usize| if axis == class as usize { 4.0 } else { 1.0 };
        world
            .numbers
            .extend((0..5).map(|axis| (centre(axis) + 0.6 * dice.normal()) as f32));
        let given = |other: usize| if other == class as usize { 0.7 } else { 0.1 };
        world.probabilities.extend((0..CLASSES).map(given));
        if at % 20 == 7 {
            world.labels[at] = (class + 1 + dice.below(CLASSES - 1) as u32) % CLASSES as u32;
        }
    }
    world
}

fn judge(world: &World, softmax: bool) -> LabelReport {
    let rows = Matrix::new(&world.numbers, 5);
    let statistics = ClassStatistics::of(rows, &world.labels);
    label_issues(&LabelEvidence {
        rows,
        labels: &world.labels,
        held_out: &HeldOut::new(&statistics),
        graph: &nearest(rows, rows, LABEL_VOTERS, true),
        probabilities: softmax.then(|| Matrix::new(&world.probabilities, CLASSES)),
        elsewhere: Contradictions::default(),
    })
}

#[test]
fn wrong_labels_come_first_with_the_right_suggestion() {
    let world = world(400);
    for softmax in [false, true] {
        let report = judge(&world, softmax);
        let mut order: Vec<usize> = (0..400).collect();
        order.sort_by(|&a, &b| {
            report.verdicts[b]
                .score
                .total_cmp(&report.verdicts[a].score)
        });
        let right = order[..20].iter().filter(|&&at| at % 20 == 7).count();
        assert!(right >= 18, "{right} of the first 20 are wrong labels");
        for at in (7..400).step_by(20) {
            assert_eq!(report.verdicts[at].suggested, world.truth[at]);
        }
        let confident: u64 = report.confident.iter().map(|pair| pair.count).sum();
        assert!(
            (15..=25).contains(&confident),
            "{confident} errors estimated, 20 made"
        );
        assert!(report.confident.is_sorted_by(|a, b| a.count >= b.count));
        assert!((report.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert_eq!(report.weights[3] > 0.0, softmax);
    }
}

#[test]
fn the_mixture_is_what_its_definition_says() {
    let world = world(60);
    let report = judge(&world, true);
    let rows = Matrix::new(&world.numbers, 5);
    let statistics = ClassStatistics::of(rows, &world.labels);
    let held_out = HeldOut::new(&statistics);
    let graph = nearest(rows, rows, LABEL_VOTERS, true);
    let experts = |row: usize| {
        let labels: Vec<u32> = graph
            .neighbours(row)
            .iter()
            .map(|&other| world.labels[other as usize])
            .collect();
        let mut vote = vec![0.0; CLASSES];
        add_vote(&mut vote, &labels, graph.distances(row), 1.0);
        let (label, vector) = (world.labels[row], rows.row(row));
        let client = world.probabilities[row * CLASSES..(row + 1) * CLASSES]
            .iter()
            .map(|&p| f64::from(p));
        [
            vote,
            held_out.posterior(label, vector),
            held_out.class_posterior(label, vector),
            client.collect(),
        ]
    };
    let best = |p: &[f64]| {
        (0..CLASSES)
            .max_by(|&a, &b| p[a].total_cmp(&p[b]).then(b.cmp(&a)))
            .unwrap()
    };
    let mut weights = [0.0; 4];
    for (expert, weight) in weights.iter_mut().enumerate() {
        let wrong = (0..60)
            .filter(|&row| best(&experts(row)[expert]) != world.labels[row] as usize)
            .count();
        *weight = (62.0 / (wrong as f64 + 1.0)).powi(2);
    }
    // Nobody vouches for the client.
    weights[3] = weights[3].min(weights[..3].iter().copied().fold(0.0, f64::max));
    let sum: f64 = weights.iter().sum();
    for row in 0..60 {
        let said = experts(row);
        let p: Vec<f64> = (0..CLASSES)
            .map(|class| {
                said.iter()
                    .zip(weights)
                    .map(|(expert, weight)| weight * expert[class] / sum)
                    .sum()
            })
            .collect();
        let given = world.labels[row] as usize;
        let other = (0..CLASSES)
            .filter(|&class| class != given)
            .map(|class| p[class])
            .fold(0.0, f64::max);
        let verdict = report.verdicts[row];
        assert!((f64::from(verdict.score) - (other - p[given])).abs() < 1e-6);
        assert_eq!(verdict.suggested as usize, best(&p));
        assert!((f64::from(verdict.confidence) - p[best(&p)]).abs() < 1e-6);
    }
}

#[test]
fn one_record_and_one_class_are_no_trouble() {
    for (labels, numbers) in [
        (vec![0], vec![1.0]),
        (vec![2, 2, 2], vec![1.0, 2.0, 3.0]),
        (vec![], vec![]),
    ] {
        let rows = Matrix::new(&numbers, 1);
        let statistics = ClassStatistics::of(rows, &labels);
        let report = label_issues(&LabelEvidence {
            rows,
            labels: &labels,
            held_out: &HeldOut::new(&statistics),
            graph: &nearest(rows, rows, LABEL_VOTERS, true),
            probabilities: None,
            elsewhere: Contradictions::default(),
        });
        assert!(
            report
                .verdicts
                .iter()
                .zip(&labels)
                .all(|(verdict, label)| verdict.suggested == *label)
        );
        assert!(
            report
                .verdicts
                .iter()
                .all(|verdict| verdict.score.is_finite() && verdict.score <= 0.0)
        );
        assert_eq!(report.confident, []);
    }
}

/// Labels as the world gives them, which a model learned by heart.
fn learned(world: &World) -> Vec<f32> {
    let mut probabilities = vec![0.0; world.labels.len() * CLASSES];
    for (row, label) in world.labels.iter().enumerate() {
        probabilities[row * CLASSES + *label as usize] = 1.0;
    }
    probabilities
}

#[test]
fn a_client_that_was_trained_on_the_labels_hides_no_wrong_one() {
    let mut world = world(400);
    let alone = judge(&world, false);
    world.probabilities = learned(&world);
    let report = judge(&world, true);
    assert!(report.is_by_heart && !alone.is_by_heart);
    assert_eq!(
        report.weights.map(f64::to_bits),
        alone.weights.map(f64::to_bits)
    );
    assert_eq!(report.verdicts, alone.verdicts);
}

#[test]
fn a_client_is_believed_where_it_is_as_good_on_other_records() {
    // It is right of nearly all, and contradicts the wrong labels.
    let world = world(400);
    let rows = Matrix::new(&world.numbers, 5);
    let statistics = ClassStatistics::of(rows, &world.labels);
    let with = |elsewhere| {
        label_issues(&LabelEvidence {
            rows,
            labels: &world.labels,
            held_out: &HeldOut::new(&statistics),
            graph: &nearest(rows, rows, LABEL_VOTERS, true),
            probabilities: Some(Matrix::new(&world.probabilities, CLASSES)),
            elsewhere,
        })
    };
    let vouched = with(Contradictions { count: 2, of: 100 });
    let alone = with(Contradictions::default());
    assert!(!vouched.is_by_heart && !alone.is_by_heart);
    assert!(vouched.weights[3] >= alone.weights[3]);
    let best = alone.weights[..3].iter().copied().fold(0.0, f64::max);
    assert!(alone.weights[3] > 0.0 && alone.weights[3] <= best);
}

#[test]
fn a_label_with_hardly_any_other_example_is_not_called_wrong() {
    let mut world = world(200);
    let centre = |at: usize| [3.0, 1.0, 1.0, 1.0, 3.0 + 0.1 * at as f32];
    for (class, examples) in [(4, 1), (5, 3), (6, 4)] {
        for at in 0..examples {
            world.labels.push(class);
            world.numbers.extend(centre(at));
        }
    }
    let report = judge(&world, false);
    for (verdict, label) in report.verdicts.iter().zip(&world.labels) {
        assert_eq!(verdict.is_rare, [4, 5].contains(label));
        assert!(!verdict.is_rare || (verdict.score <= 0.0 && verdict.suggested == *label));
    }
    assert!(
        report
            .confident
            .iter()
            .all(|pair| ![4, 5].contains(&pair.given))
    );
}
