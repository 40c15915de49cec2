//! The list held against its definition, which looks at every candidate for each pick, and what it promises.

use proptest::prelude::*;

use super::{Objective, Pick, PriorityOptions, Selection, Undecided, radius};
use crate::random::Dice;
use crate::{Graph, Matrix, nearest};

struct World {
    graph: Graph,
    uncertainty: Vec<f32>,
    labelled: Vec<f32>,
    triage: Vec<f32>,
    rejected: Vec<f32>,
    decided: Vec<bool>,
    classes: Vec<u32>,
}

fn world(seed: u64, rows: usize) -> World {
    let mut dice = Dice::new(seed);
    let mut numbers = Vec::new();
    for _ in 0..rows {
        let centre = dice.below(5) as f64;
        numbers.extend(
            [
                centre + 0.3 * dice.normal(),
                2.0 - centre + 0.3 * dice.normal(),
                1.0,
            ]
            .map(|v| v as f32),
        );
    }
    let rows_of = Matrix::new(&numbers, 3);
    let mut shares =
        |most: f64| -> Vec<f32> { (0..rows).map(|_| (most * dice.share()) as f32).collect() };
    World {
        graph: nearest(rows_of, rows_of, 12, true),
        uncertainty: shares(1.0),
        labelled: shares(0.5),
        triage: shares(2.0),
        rejected: shares(2.0),
        decided: shares(1.0).iter().map(|&share| share < 0.2).collect(),
        classes: shares(4.0).iter().map(|&class| class as u32).collect(),
    }
}

impl World {
    fn records(&self) -> Undecided<'_> {
        Undecided {
            labelled: &self.labelled,
            triage: &self.triage,
            rejected: &self.rejected,
            decided: &self.decided,
            classes: &self.classes,
            groups: &self.classes,
            ..Undecided::new(&self.graph, &self.uncertainty)
        }
    }

    /// Holds each pick against the definition: it has the highest gain of all that are open at that moment, which are all
    /// looked at. Picks whose gains differ by rounding alone may change places, so the list is followed, not made again.
    fn check(&self, options: &PriorityOptions, list: &[Pick], count: usize) {
        let s = options.radius.unwrap_or_else(|| radius(&self.graph));
        let like = |d: f32| (-f64::from(d).powi(2) / (2.0 * s * s)).exp();
        let rows = self.graph.len();
        // Masses and coverages are kept as f32, and so they are here.
        let mass: Vec<f32> = (0..rows)
            .map(|j| {
                let own = f64::from(self.uncertainty[j]).powf(options.exponent);
                (own.max(like(self.triage[j])) * (1.0 - like(self.rejected[j]))) as f32
            })
            .collect();
        let mut covered: Vec<f32> = self.labelled.iter().map(|&d| like(d) as f32).collect();
        let mut open: Vec<usize> = (0..rows).filter(|&row| !self.decided[row]).collect();
        open.sort_by(|&a, &b| {
            self.uncertainty[b]
                .total_cmp(&self.uncertainty[a])
                .then(a.cmp(&b))
        });
        open.truncate((open.len() as f64 * options.candidates).ceil() as usize);
        let mut taken = [0; 8];
        for at in 0..=count {
            let cap = options.per_class_cap.unwrap_or(usize::MAX);
            open.retain(|&row| taken[self.classes[row] as usize] < cap);
            let Some(pick) = list.get(at) else {
                assert!(open.is_empty() || at == count, "{at} of {count} picks");
                return;
            };
            let row = pick.row as usize;
            assert!(open.contains(&row), "{row} is not open");
            let gain = |i: usize| -> f64 {
                let near = self
                    .graph
                    .edges(i)
                    .map(|(j, d)| f64::from(mass[j]) * (like(d) - f64::from(covered[j])).max(0.0));
                let own = f64::from(mass[i]) * (1.0 - f64::from(covered[i]));
                near.sum::<f64>() + options.singletons * own
            };
            let best = open.iter().map(|&i| gain(i)).fold(0.0, f64::max);
            for wanted in [best, gain(row)] {
                assert!((pick.gain - wanted).abs() <= 1e-9, "{pick:?}: {wanted}");
            }
            open.retain(|&i| i != row);
            taken[self.classes[row] as usize] += 1;
            covered[row] = 1.0;
            let mut stands_for = 0;
            for (j, d) in self.graph.edges(row) {
                let raises = like(d) as f32 > covered[j];
                stands_for += u32::from(raises && like(d) >= 0.5);
                covered[j] = covered[j].max(like(d) as f32);
            }
            assert_eq!(pick.stands_for, stands_for, "{pick:?}");
        }
    }
}

fn picks(records: Undecided<'_>, options: PriorityOptions, count: usize) -> Vec<Pick> {
    Selection::new(records, options).take(count).collect()
}

proptest! {
    #[test]
    fn the_lazy_choice_is_the_greedy_one(
        seed in 0_u64..1000, candidates in 0.1..1.0_f64, singletons in prop::sample::select(vec![0.0, 0.5]),
        per_class_cap in prop::option::of(1_usize..20), scaled in prop::option::of(0.05..1.0_f64),
    ) {
        let world = world(seed, 120);
        let options = PriorityOptions { candidates, singletons, per_class_cap, radius: scaled, ..PriorityOptions::default() };
        let found = picks(world.records(), options.clone(), 40);
        world.check(&options, &found, 40);
        prop_assert!(found.windows(2).all(|two| two[1].gain <= two[0].gain && two[1].coverage >= two[0].coverage));
    }
}

#[test]
fn a_shorter_list_is_the_head_of_a_longer_one_and_priority_falls_from_one() {
    let world = world(3, 400);
    let options = PriorityOptions {
        random_share: 0.25,
        candidates: 1.0,
        ..PriorityOptions::default()
    };
    let long = picks(world.records(), options.clone(), 200);
    assert_eq!(long[..50], picks(world.records(), options, 50));
    assert_eq!(long.iter().filter(|pick| pick.drawn).count(), 50);
    let ordered: Vec<f64> = long
        .iter()
        .filter(|pick| !pick.drawn)
        .map(|pick| pick.priority)
        .collect();
    assert!((ordered[0] - 1.0).abs() < 1e-12 && ordered.windows(2).all(|two| two[1] <= two[0]));
    let mut rows: Vec<u32> = long.iter().map(|pick| pick.row).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), 200);
    assert!(rows.iter().all(|&row| !world.decided[row as usize]));
}

#[test]
fn coverage_is_the_share_of_uncovered_mass_and_reaches_all_of_it() {
    let world = world(4, 150);
    let records = Undecided::new(&world.graph, &world.uncertainty);
    let options = PriorityOptions {
        candidates: 1.0,
        ..PriorityOptions::default()
    };
    let mut selection = Selection::new(records, options.clone());
    let whole = selection.coverage().uncovered();
    let wanted: f64 = world
        .uncertainty
        .iter()
        .map(|&u| f64::from(u).powi(3))
        .sum();
    assert!((whole - wanted).abs() < 1e-3);
    let first = selection.next().unwrap();
    let own = f64::from(world.uncertainty[first.row as usize]).powi(3);
    assert!((first.coverage - (first.gain + own) / whole).abs() < 1e-4);
    assert!((selection.last().unwrap().coverage - 1.0).abs() < 1e-4);
}

#[test]
fn caps_bound_every_class_and_draws_respect_them() {
    let world = world(5, 300);
    for random_share in [0.0, 0.5] {
        let options = PriorityOptions {
            per_group_cap: Some(3),
            random_share,
            candidates: 1.0,
            ..PriorityOptions::default()
        };
        let list = picks(world.records(), options, 100);
        for class in 0..4 {
            let count = list
                .iter()
                .filter(|pick| world.classes[pick.row as usize] == class)
                .count();
            assert_eq!(count, 3, "class {class}");
        }
    }
}

#[test]
fn an_isolated_record_earns_nothing_unless_singletons_count() {
    // Three records that are alike, and one that is like none but the most uncertain.
    let graph = Graph::new(vec![0, 2, 4, 6, 6], vec![1, 2, 0, 2, 0, 1], vec![0.1; 6]);
    let uncertainty = [0.8, 0.7, 0.6, 1.0];
    let records = Undecided::new(&graph, &uncertainty);
    let options = PriorityOptions {
        candidates: 1.0,
        ..PriorityOptions::default()
    };
    let list = picks(records, options.clone(), 4);
    assert_eq!(
        list.iter()
            .find(|pick| pick.row == 3)
            .unwrap()
            .gain
            .to_bits(),
        0
    );
    assert_ne!(list[0].row, 3);
    let own = picks(
        records,
        PriorityOptions {
            singletons: 1.0,
            ..options
        },
        4,
    );
    assert!(own.iter().find(|pick| pick.row == 3).unwrap().gain > 0.9);
}

#[test]
fn triage_raises_what_is_like_it_and_junk_lowers_it() {
    let graph = Graph::new(vec![0, 1, 2, 3, 4], vec![1, 0, 3, 2], vec![0.1; 4]);
    let uncertainty = [0.5; 4];
    let options = || PriorityOptions {
        candidates: 1.0,
        ..PriorityOptions::default()
    };
    let near = [2.0, 2.0, 0.0, 0.0];
    let raised = Undecided {
        triage: &near,
        ..Undecided::new(&graph, &uncertainty)
    };
    assert!(picks(raised, options(), 1)[0].row >= 2);
    let lowered = Undecided {
        rejected: &near,
        ..Undecided::new(&graph, &uncertainty)
    };
    let list = picks(lowered, options(), 4);
    assert!(list[0].row < 2);
    assert!(
        list.iter()
            .filter(|pick| pick.row >= 2)
            .all(|pick| pick.gain < 1e-9)
    );
}

#[test]
fn a_new_record_is_worth_what_it_adds_to_the_selection() {
    let world = world(6, 200);
    let records = Undecided::new(&world.graph, &world.uncertainty);
    let options = PriorityOptions {
        candidates: 1.0,
        ..PriorityOptions::default()
    };
    let mut selection = Selection::new(records, options);
    let first = selection.next().unwrap();
    selection.by_ref().take(20).for_each(drop);
    let next = selection.clone().next().unwrap();
    let near = |row: u32| {
        (
            world.graph.neighbours(row as usize),
            world.graph.distances(row as usize),
        )
    };
    let (neighbours, distances) = near(next.row);
    let mut coverage = selection.into_coverage();
    let priority = coverage.priority_of(neighbours, distances);
    assert!((priority - next.gain / first.gain).abs() < 1e-9);
    assert!(coverage.priority_of(&[], &[]).abs() < 1e-12);
    // Once it is labelled, another one like it adds nothing.
    let before = coverage.uncovered();
    coverage.take(next.row, neighbours, distances);
    assert!(coverage.uncovered() < before && coverage.share() > first.coverage);
    assert!(coverage.priority_of(neighbours, distances).abs() < 1e-6);
}

#[test]
fn records_that_come_later_add_mass_until_one_of_them_is_taken() {
    let world = world(6, 50);
    let records = Undecided::new(&world.graph, &world.uncertainty);
    let mut coverage = Selection::new(records, PriorityOptions::default()).into_coverage();
    let before = coverage.uncovered();
    let (one, other) = (coverage.push(0.5, f32::INFINITY), coverage.push(0.25, 0.0));
    assert_eq!((one, other, coverage.len()), (50, 51, 52));
    assert!((coverage.uncovered() - before - 0.5).abs() < 1e-6);
    assert!(coverage.priority_of(&[one], &[0.0]) > 0.0);
    assert!(coverage.priority_of(&[other], &[0.0]).abs() < 1e-12);
    coverage.take(one, &[], &[]);
    assert!((coverage.uncovered() - before).abs() < 1e-6);
}

#[test]
fn the_other_objectives_order_by_what_they_say() {
    let world = world(7, 100);
    let trouble: Vec<f32> = world.uncertainty.iter().map(|u| 1.0 - u).collect();
    let records = Undecided {
        trouble: &trouble,
        novelty: &trouble,
        ..Undecided::new(&world.graph, &world.uncertainty)
    };
    let of = |objective| PriorityOptions {
        objective,
        ..PriorityOptions::default()
    };
    let verify = picks(records, of(Objective::Verify), 100);
    assert_eq!(verify.len(), 100);
    assert!(
        verify
            .windows(2)
            .all(|two| trouble[two[1].row as usize] <= trouble[two[0].row as usize])
    );
    let random = picks(records, of(Objective::Random), 100);
    assert!(random.len() == 100 && random.iter().all(|pick| pick.drawn));
    assert!(random.windows(2).any(|two| two[1].row < two[0].row));
    let other = picks(
        records,
        PriorityOptions {
            seed: 1,
            ..of(Objective::Random)
        },
        100,
    );
    assert_ne!(other, random);
    let explore = picks(records, of(Objective::Explore), 10);
    let retrain = picks(records, of(Objective::Retrain), 10);
    assert_ne!(explore[0].row, retrain[0].row);
}

#[test]
fn nothing_undecided_gives_no_list() {
    let world = world(8, 30);
    let decided = vec![true; 30];
    let records = Undecided {
        decided: &decided,
        ..Undecided::new(&world.graph, &world.uncertainty)
    };
    for objective in [
        Objective::Retrain,
        Objective::Explore,
        Objective::Verify,
        Objective::Random,
    ] {
        let options = PriorityOptions {
            objective,
            random_share: 0.5,
            ..PriorityOptions::default()
        };
        assert_eq!(picks(records, options, 5), []);
    }
    let none = Graph::new(vec![0], vec![], vec![]);
    assert_eq!(
        picks(Undecided::new(&none, &[]), PriorityOptions::default(), 5),
        []
    );
}
