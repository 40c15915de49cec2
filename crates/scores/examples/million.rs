//! Measures the scores of curation at size: prints one JSON object for each figure, processor seconds of all threads.
//!
//! `cargo run --release -p vermilion-scores --example million -- RECORDS DIMENSION CLASSES` makes up that many production
//! records, a tenth as many of training, and neighbours of both at random, as an index would give them.

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use vermilion_scores::{
    ClassStatistics, Evidence, Graph, HeldOut, Matrix, Neighbours, PriorityOptions, Selection,
    Signal, SignalSketches, Signals, Undecided, VOTERS,
};

const NEIGHBOURS: usize = 15;
const LIST: usize = 1000;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn share(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }

    fn below(&mut self, end: usize) -> usize {
        (f64::from(self.share()) * end as f64) as usize
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Runs `work`, and prints what it took.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (cpu, begun) = (cpu_seconds(), Instant::now());
    let made = work();
    let (cpu, wall) = (cpu_seconds() - cpu, begun.elapsed().as_secs_f64());
    println!("{{\"what\": \"{what}\", \"cpu_seconds\": {cpu:.2}, \"seconds\": {wall:.2}}}");
    made
}

/// Rows of classes that overlap.
fn made_up(
    dice: &mut Dice,
    count: usize,
    dimension: usize,
    classes: usize,
) -> (Vec<f32>, Vec<u32>) {
    let labels: Vec<u32> = (0..count).map(|_| dice.below(classes) as u32).collect();
    let mut rows = Vec::with_capacity(count * dimension);
    for &label in &labels {
        let centre = |axis: usize| {
            if axis % classes == label as usize % dimension {
                2.0
            } else {
                0.0
            }
        };
        rows.extend((0..dimension).map(|axis| centre(axis) + dice.share() + dice.share()));
    }
    (rows, labels)
}

/// Neighbours of each row among `others`, at distances that rise.
fn neighbours(dice: &mut Dice, rows: usize, others: usize, width: usize) -> Graph {
    let (mut found, mut distances) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let mut distance = 0.2 * dice.share();
        for _ in 0..width {
            found.push(dice.below(others) as u32);
            distances.push(distance);
            distance += 0.05 * dice.share();
        }
    }
    Graph::uniform(width, found, distances)
}

fn main() {
    let number = |argument: Option<String>, default| {
        argument.map_or(default, |text| text.parse().expect("a number"))
    };
    let mut arguments = std::env::args().skip(1);
    let count: usize = number(arguments.next(), 1_000_000);
    let dimension = number(arguments.next(), 128);
    let classes = number(arguments.next(), 100);
    let mut dice = Dice(88_172_645_463_325_252);
    let (rows, labels) = made_up(&mut dice, count / 10, dimension, classes);
    let (production, _) = made_up(&mut dice, count, dimension, classes);
    let voters = neighbours(&mut dice, count, labels.len(), VOTERS);
    let graph = neighbours(&mut dice, count, count, NEIGHBOURS);
    let (rows, production) = (
        Matrix::new(&rows, dimension),
        Matrix::new(&production, dimension),
    );
    let begun = cpu_seconds();
    let statistics = timed("class statistics of a tenth", || {
        ClassStatistics::of(rows, &labels)
    });
    let classes = timed("fit", || statistics.fit());
    timed("fit for leave-one-out", || HeldOut::new(&statistics));
    let signals: Vec<Signals> = timed("signals, one thread", || {
        let of = |row: usize| {
            let near = voters.neighbours(row).iter();
            let near: Vec<u32> = near.map(|&other| labels[other as usize]).collect();
            let near = Neighbours {
                labels: &near,
                distances: voters.distances(row),
            };
            Signals::of(
                &classes,
                &Evidence {
                    row: production.row(row),
                    inferred: None,
                    probabilities: None,
                    uncertainty: None,
                    near,
                    voters: near,
                },
            )
        };
        (0..count).map(of).collect()
    });
    let percentiles = timed("sketches", || {
        let mut sketches = SignalSketches::default();
        signals.iter().for_each(|signals| sketches.add(signals));
        sketches.percentiles(&SignalSketches::default())
    });
    let uncertainty: Vec<f32> = timed("ranks", || {
        let troubles = signals.iter().map(|signals| percentiles.trouble(signals));
        troubles
            .map(|trouble| trouble.ranks[Signal::Uncertainty as usize].unwrap_or(0.5) as f32)
            .collect()
    });
    list(&graph, &uncertainty, &novelty(&signals));
    println!(
        "{{\"what\": \"all\", \"cpu_seconds\": {:.1}}}",
        cpu_seconds() - begun
    );
}

fn novelty(signals: &[Signals]) -> Vec<f32> {
    signals
        .iter()
        .map(|signals| signals.novelty.unwrap_or(2.0))
        .collect()
}

/// The list, and what a new record is worth beside it.
fn list(graph: &Graph, uncertainty: &[f32], novelty: &[f32]) {
    let records = Undecided {
        labelled: novelty,
        ..Undecided::new(graph, uncertainty)
    };
    let mut selection = timed("list, made ready", || {
        Selection::new(records, PriorityOptions::default())
    });
    let picks = timed("list of 1,000", || selection.by_ref().take(LIST).count());
    assert_eq!(picks, LIST.min(graph.len()));
    let coverage = selection.into_coverage();
    let mut times: Vec<f64> = (0..10_000.min(graph.len()))
        .map(|row| {
            let begun = Instant::now();
            std::hint::black_box(coverage.priority_of(graph.neighbours(row), graph.distances(row)));
            begun.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{{\"what\": \"provisional priority, p99\", \"microseconds\": {:.1}}}",
        times[times.len() * 99 / 100]
    );
}
