//! Wrong labels that were put in, and the mixture against its definition.

use super::experts::{CLIENT, Experts, raised, weigh};
use super::{EXPERTS, LABEL_VOTERS, LabelEvidence, LabelReport, label_issues};
use crate::random::Dice;
use crate::signals::add_vote;
use crate::{ClassStatistics, Contradictions, Graph, HeldOut, Matrix, nearest};

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
        graph_with_lengths: None,
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
        assert_eq!(report.weights[CLIENT] > 0.0, softmax);
    }
}

/// The nearest other rows by the vectors as they are.
fn with_lengths(rows: Matrix<'_>) -> Graph {
    let count = LABEL_VOTERS.min(rows.len() - 1);
    let (mut neighbours, mut distances) = (Vec::new(), Vec::new());
    for (at, row) in rows.rows().enumerate() {
        let apart = |other: &[f32]| -> f32 {
            let squares = row.iter().zip(other).map(|(a, b)| (a - b) * (a - b));
            squares.sum::<f32>().sqrt()
        };
        let others = rows.rows().enumerate().filter(|(other, _)| *other != at);
        let mut others: Vec<(f32, u32)> = others
            .map(|(other, row)| (apart(row), other as u32))
            .collect();
        others.sort_by(|a, b| a.0.total_cmp(&b.0));
        neighbours.extend(others[..count].iter().map(|one| one.1));
        distances.extend(others[..count].iter().map(|one| one.0));
    }
    Graph::uniform(count, neighbours, distances)
}

/// The class with the highest probability, the first of equals.
fn best(p: &[f64]) -> usize {
    (0..p.len())
        .max_by(|&a, &b| p[a].total_cmp(&p[b]).then(b.cmp(&a)))
        .unwrap()
}

/// What each expert says of each row, from its definition, the posteriors as they are.
fn said(world: &World, graphs: [&Graph; 2], held_out: &HeldOut<'_>) -> [Vec<Vec<f64>>; 5] {
    let rows = Matrix::new(&world.numbers, 5);
    let vote = |graph: &Graph, row: usize| {
        let near = graph.neighbours(row).iter();
        let labels: Vec<u32> = near.map(|&other| world.labels[other as usize]).collect();
        let mut vote = vec![0.0; CLASSES];
        add_vote(&mut vote, &labels, graph.distances(row), 1.0);
        vote
    };
    let each = |of: &dyn Fn(usize) -> Vec<f64>| (0..world.labels.len()).map(of).collect();
    let client = |row: usize| {
        let given = &world.probabilities[row * CLASSES..(row + 1) * CLASSES];
        given.iter().map(|&p| f64::from(p)).collect()
    };
    [
        each(&|row| vote(graphs[0], row)),
        each(&|row| vote(graphs[1], row)),
        each(&|row| held_out.posterior(world.labels[row], rows.row(row))),
        each(&|row| held_out.class_posterior(world.labels[row], rows.row(row))),
        each(&client),
    ]
}

/// Posteriors to the power under which the labels are the likeliest, some of which may be anything.
fn as_sure_as_right(said: &[Vec<f64>], labels: &[u32]) -> Vec<Vec<f64>> {
    let to = |power: f64| -> Vec<Vec<f64>> {
        let one = |p: &Vec<f64>| {
            let raised: Vec<f64> = p.iter().map(|p| p.powf(power)).collect();
            let sum: f64 = raised.iter().sum();
            raised.iter().map(|p| p / sum).collect()
        };
        said.iter().map(one).collect()
    };
    let tried = (0..11).flat_map(|k| {
        let raised = to(2.0_f64.powf(-f64::from(k) / 2.0));
        [0.01, 0.03, 0.1, 0.2, 0.4].map(|any| {
            let of = raised.iter().zip(labels);
            let given = of.map(|(p, &label)| (1.0 - any) * p[label as usize] + any * 0.25);
            (given.map(f64::ln).sum::<f64>(), raised.clone())
        })
    });
    tried.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1
}

#[test]
fn the_mixture_is_what_its_definition_says() {
    let world = world(60);
    let rows = Matrix::new(&world.numbers, 5);
    let statistics = ClassStatistics::of(rows, &world.labels);
    let held_out = HeldOut::new(&statistics);
    let graphs = [nearest(rows, rows, LABEL_VOTERS, true), with_lengths(rows)];
    let report = label_issues(&LabelEvidence {
        rows,
        labels: &world.labels,
        held_out: &held_out,
        graph: &graphs[0],
        graph_with_lengths: Some(&graphs[1]),
        probabilities: Some(Matrix::new(&world.probabilities, CLASSES)),
        elsewhere: Contradictions::default(),
    });
    let mut experts = said(&world, [&graphs[0], &graphs[1]], &held_out);
    for expert in [2, 3] {
        experts[expert] = as_sure_as_right(&experts[expert], &world.labels);
    }
    let agrees =
        |expert: usize, row: usize| best(&experts[expert][row]) == world.labels[row] as usize;
    let believed: Vec<usize> = (0..60)
        .filter(|&row| (0..5).any(|expert| agrees(expert, row)))
        .collect();
    let mut weights: [f64; 5] = std::array::from_fn(|expert| {
        let wrong = believed.iter().filter(|&&row| !agrees(expert, row)).count();
        ((believed.len() as f64 + 4.0) / (wrong as f64 + 2.0)).powi(2)
    });
    // Nobody vouches for the client.
    weights[CLIENT] = weights[CLIENT].min(weights[..CLIENT].iter().copied().fold(0.0, f64::max));
    let sum: f64 = weights.iter().sum();
    for (expert, weight) in weights.iter().enumerate() {
        assert!((report.weights[expert] - weight / sum).abs() < 1e-9);
    }
    for row in 0..60 {
        let each = experts.iter().zip(weights);
        let mut p = vec![0.0; CLASSES];
        for (said, weight) in each {
            (0..CLASSES).for_each(|class| p[class] += weight * said[row][class] / sum);
        }
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

/// Two half moons one in the other, which no ellipsoid and no direction tells apart, every twentieth label wrong.
fn moons(rows: usize) -> (Vec<f32>, Vec<u32>) {
    let mut dice = Dice::new(5);
    let (mut numbers, mut labels) = (Vec::new(), Vec::new());
    for at in 0..rows {
        let angle = std::f64::consts::PI * dice.share();
        let (x, y) = if at % 2 == 0 {
            (angle.cos(), angle.sin())
        } else {
            (1.0 - angle.cos(), 0.5 - angle.sin())
        };
        numbers.push((x + 0.15 * dice.normal()) as f32);
        numbers.push((y + 0.15 * dice.normal()) as f32);
        labels.push(u32::from((at % 2 == 1) != (at % 20 == 7)));
    }
    (numbers, labels)
}

#[test]
fn lengths_tell_wrong_labels_of_curved_classes_where_they_mean_something() {
    let (numbers, labels) = moons(600);
    let rows = Matrix::new(&numbers, 2);
    let statistics = ClassStatistics::of(rows, &labels);
    let graphs = (nearest(rows, rows, LABEL_VOTERS, true), with_lengths(rows));
    let found = |lengths: Option<&Graph>| {
        let report = label_issues(&LabelEvidence {
            rows,
            labels: &labels,
            held_out: &HeldOut::new(&statistics),
            graph: &graphs.0,
            graph_with_lengths: lengths,
            probabilities: None,
            elsewhere: Contradictions::default(),
        });
        let mut order: Vec<usize> = (0..600).collect();
        let score = |at: usize| report.verdicts[at].score;
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        let right = order[..30].iter().filter(|&&at| at % 20 == 7).count();
        (right, report.weights)
    };
    let (without, weights) = found(None);
    assert_eq!(weights[1].to_bits(), 0.0_f64.to_bits());
    let (with, weights) = found(Some(&graphs.1));
    assert!(
        with >= 28 && with > without + 5,
        "{with} and {without} of 30"
    );
    assert!(weights[1] > 0.9, "{weights:?} of {EXPERTS:?}");
}

#[test]
fn class_statistics_are_no_surer_than_they_are_right() {
    // A ring around another: one covariance for both tells nothing, however sure it is; one for each tells nearly all.
    let mut dice = Dice::new(3);
    let labels: Vec<u32> = (0..600).map(|at| at % 2).collect();
    let mut numbers: Vec<f32> = Vec::new();
    for &label in &labels {
        let (angle, radius) = (
            std::f64::consts::TAU * dice.share(),
            1.0 - 0.5 * f64::from(label),
        );
        for place in [angle.cos(), angle.sin()] {
            numbers.push((radius * place + 0.08 * dice.normal()) as f32);
        }
    }
    let rows = Matrix::new(&numbers, 2);
    let statistics = ClassStatistics::of(rows, &labels);
    let held_out = HeldOut::new(&statistics);
    let graph = nearest(rows, rows, LABEL_VOTERS, true);
    let evidence = LabelEvidence {
        rows,
        labels: &labels,
        held_out: &held_out,
        graph: &graph,
        graph_with_lengths: None,
        probabilities: None,
        elsewhere: Contradictions::default(),
    };
    let experts = Experts::of(evidence, 2);
    let [one, each] = experts.powers;
    assert!(one < 0.1 && each > 0.7, "{one} and {each}");
}

#[test]
fn raised_probabilities_keep_their_order_and_what_is_impossible() {
    let found = raised(vec![0.0, 1e-300, 0.2, 0.8 - 1e-300], 0.25);
    assert!(found[0] == 0.0 && found.is_sorted() && found[1] > 0.0);
    assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!((found[3] / found[2] - 4.0_f64.powf(0.25)).abs() < 1e-9);
    assert_eq!(raised(vec![0.0; 3], 0.5), [0.0; 3]);
}

#[test]
fn labels_that_all_contradict_do_not_hide_who_is_better() {
    // Of 100 labels 30 are wrong, and all see that; of the others one expert contradicts none and one 10.
    let contradicts = |more: usize| (0..100).map(|at| Some(at >= 30 + more)).collect();
    let weights = weigh(&[
        contradicts(0),
        vec![None; 100],
        contradicts(10),
        vec![None; 100],
        vec![None; 100],
    ]);
    assert!((weights[0] / weights[2] - 36.0).abs() < 1e-9, "{weights:?}");
    assert!(weights[1] == 0.0 && weights[CLIENT] == 0.0);
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
            graph_with_lengths: None,
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
            graph_with_lengths: None,
            probabilities: Some(Matrix::new(&world.probabilities, CLASSES)),
            elsewhere,
        })
    };
    let vouched = with(Contradictions { count: 2, of: 100 });
    let alone = with(Contradictions::default());
    assert!(!vouched.is_by_heart && !alone.is_by_heart);
    assert!(vouched.weights[CLIENT] >= alone.weights[CLIENT]);
    let best = alone.weights[..CLIENT].iter().copied().fold(0.0, f64::max);
    assert!(alone.weights[CLIENT] > 0.0 && alone.weights[CLIENT] <= best);
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
