//! Scores of arrays in files, for `bench/curation`.
//!
//! `cargo run --release -p vermilion-scores --example scores -- COMMAND FOLDER` reads arrays from FOLDER
//! (`NAME.npy`, `float32` rows and `int64` classes) and writes its answers there as `float64`:
//!
//! - `trouble`: rows, labels, production, and if there are any inferred and probabilities, to trouble and ranks
//! - `accuracy`: the same, to the estimated accuracy, its bounds and the share unlike training; where there are
//!   probabilities, training is taken to be known by heart
//! - `priority`: the same and options, to picks
//! - `layout`: rows, and if there are any later ones that are placed among them, to points
//! - `drift`: rows, windows one after the other, options (rows of a window, seed), to p and witness values
//! - `labels`: rows, labels, and if there are any probabilities, to verdicts

#[allow(dead_code, reason = "each program uses some of it")]
mod support;

use std::path::Path;

use support::{Array, counts, floats, write};
use vermilion_scores::layout::{Layout, LayoutOptions, place, principal_start};
use vermilion_scores::{
    ClassStatistics, Contradictions, CorrectnessModel, DriftBucket, Evidence, FEATURES, Graph,
    HeldOut, LABEL_VOTERS, LabelEvidence, Matrix, Measured, Neighbours, Observed, PriorityOptions,
    RandomFeatures, Reduction, Selection, Signal, SignalSketches, SignalWeights, Signals, Trouble,
    Undecided, UnitRows, VOTERS, Witness, drift, label_issues, nearest,
};

/// Neighbours within production.
const NEIGHBOURS: usize = 15;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let folder = arguments.next().expect("a command and a folder");
    let folder = Path::new(&folder);
    match command.as_str() {
        "trouble" => trouble(folder),
        "accuracy" => accuracy(folder),
        "priority" => priority(folder),
        "labels" => labels(folder),
        "drift" => drifts(folder),
        "layout" => layout(folder),
        other => panic!("{other} is not one of trouble, accuracy, priority, labels, drift, layout"),
    }
}

fn matrix(array: &Array<f32>) -> Matrix<'_> {
    Matrix::new(&array.numbers, array.columns)
}

/// The signals of production, their ranks, and how near training is.
struct Scored {
    signals: Vec<Signals>,
    production: Array<f32>,
    troubles: Vec<Trouble>,
    novelty: Vec<f32>,
    /// Training, each record as if it were not of it.
    training: Vec<Measured>,
}

fn score(folder: &Path) -> Scored {
    let rows = floats(folder, "rows.npy").expect("rows.npy");
    let labels = counts(folder, "labels.npy").expect("labels.npy").numbers;
    let production = floats(folder, "production.npy").expect("production.npy");
    let inferred = counts(folder, "inferred.npy").map(|array| array.numbers);
    let probabilities = floats(folder, "probabilities.npy");
    let reduction = Reduction::fit(matrix(&rows), vermilion_scores::DIMENSIONS_MAX, 0);
    let (reduced, seen) = (
        reduction.apply(matrix(&rows)),
        reduction.apply(matrix(&production)),
    );
    let reduced = Matrix::new(&reduced, reduction.dimensions());
    let seen = Matrix::new(&seen, reduction.dimensions());
    let statistics = ClassStatistics::of(reduced, &labels);
    let all = UnitRows::of(matrix(&rows));
    let near = all.nearest_both(matrix(&rows), VOTERS, |query, row| row as usize != query);
    let graph = near_by_both(&near, &labels);
    let training = measured(reduced, &labels, &statistics, &graph);
    let classes = statistics.fit();
    let near = all.nearest_both(matrix(&production), VOTERS, |_, _| true);
    let graph = near_by_both(&near, &labels);
    let signals = |row: usize| {
        let evidence = Evidence {
            row: seen.row(row),
            inferred: inferred.as_ref().map(|classes| classes[row]),
            probabilities: probabilities.as_ref().map(|array| matrix(array).row(row)),
            uncertainty: None,
            near: graph[row][0].told(),
            voters: graph[row][1].told(),
        };
        Signals::of(&classes, &evidence)
    };
    let signals: Vec<Signals> = (0..seen.len()).map(signals).collect();
    let mut sketches = SignalSketches::default();
    signals.iter().for_each(|signals| sketches.add(signals));
    let mut before = SignalSketches::default();
    training.iter().for_each(|one| before.add(&one.signals));
    let percentiles = sketches.percentiles(&before);
    let percentiles = percentiles.weighted(SignalWeights::of(&training));
    let troubles = signals
        .iter()
        .map(|signals| percentiles.trouble(signals))
        .collect();
    let novelty = signals
        .iter()
        .map(|signals| signals.novelty.unwrap_or(2.0))
        .collect();
    Scored {
        signals,
        production,
        troubles,
        novelty,
        training,
    }
}

/// Training records near one, and how far they are.
struct Near(Vec<u32>, Vec<f32>);

impl Near {
    fn told(&self) -> Neighbours<'_> {
        Neighbours {
            labels: &self.0,
            distances: &self.1,
        }
    }
}

/// Those by direction and those with lengths, of each record.
fn near_by_both(found: &[[Vec<(u32, f32)>; 2]], labels: &[u32]) -> Vec<[Near; 2]> {
    let near = |found: &Vec<(u32, f32)>| {
        let rows = found.iter();
        let (labels, distances) = rows.map(|one| (labels[one.0 as usize], one.1)).unzip();
        Near(labels, distances)
    };
    found.iter().map(|both| both.each_ref().map(near)).collect()
}

/// Training, each record as if it were not of it.
fn measured(
    rows: Matrix<'_>,
    labels: &[u32],
    statistics: &ClassStatistics,
    graph: &[[Near; 2]],
) -> Vec<Measured> {
    let (classes, held_out) = (statistics.fit(), HeldOut::new(statistics));
    let measure = |(row, &label): (usize, &u32)| {
        let evidence = Evidence {
            row: rows.row(row),
            inferred: None,
            probabilities: None,
            uncertainty: None,
            near: graph[row][0].told(),
            voters: graph[row][1].told(),
        };
        let signals = Signals::held_out(&held_out, &classes, label, &evidence);
        Measured {
            signals,
            is_right: signals.inferred == Some(label),
            unknown: Signals::without_class(&held_out, &classes, label, &evidence),
        }
    };
    labels.iter().enumerate().map(measure).collect()
}

fn accuracy(folder: &Path) {
    let scored = score(folder);
    let by_heart = floats(folder, "probabilities.npy").is_some();
    let training = scored.training.into_iter().map(|mut one| {
        one.signals.uncertainty = one.signals.uncertainty.filter(|_| !by_heart);
        (one.signals, one.is_right)
    });
    let (signals, right): (Vec<Signals>, Vec<bool>) = training.unzip();
    let model = CorrectnessModel::fit(&signals, &right).expect("records of training");
    let found = model
        .estimate(&scored.signals)
        .expect("records of production");
    let [low, high] = found.bounds;
    let told = [found.accuracy, low, high, found.unlike_training];
    let inferred = scored.signals.iter();
    let inferred = inferred.map(|signals| signals.inferred.map_or(-1.0, f64::from));
    write(folder, "inferred.npy", 1, &inferred.collect::<Vec<f64>>());
    write(folder, "accuracy.npy", told.len(), &told);
}

fn trouble(folder: &Path) {
    let scored = score(folder);
    let value = |value: Option<f64>| value.unwrap_or(f64::NAN);
    let troubles: Vec<f64> = scored
        .troubles
        .iter()
        .map(|trouble| value(trouble.value))
        .collect();
    let ranks: Vec<f64> = scored
        .troubles
        .iter()
        .flat_map(|trouble| trouble.ranks.map(value))
        .collect();
    let inferred = scored
        .signals
        .iter()
        .map(|signals| signals.inferred.map_or(-1.0, f64::from));
    write(folder, "inferred.npy", 1, &inferred.collect::<Vec<f64>>());
    write(folder, "trouble.npy", 1, &troubles);
    write(folder, "ranks.npy", Signal::ALL.len(), &ranks);
}

/// `options.npy`: how many picks, the share of candidates, the exponent.
fn priority(folder: &Path) {
    let options = floats(folder, "options.npy").expect("options.npy").numbers;
    let scored = score(folder);
    let graph = nearest(
        matrix(&scored.production),
        matrix(&scored.production),
        NEIGHBOURS,
        true,
    );
    let ranks = scored.troubles.iter();
    let uncertainty: Vec<f32> = ranks
        .map(|trouble| trouble.ranks[0].unwrap_or(0.5) as f32)
        .collect();
    let rejected = floats(folder, "rejected.npy").map(|rows| {
        let graph = nearest(matrix(&rows), matrix(&scored.production), 1, false);
        (0..graph.len())
            .map(|row| graph.distances(row)[0])
            .collect::<Vec<f32>>()
    });
    let records = Undecided {
        labelled: &scored.novelty,
        rejected: rejected.as_deref().unwrap_or(&[]),
        ..Undecided::new(&graph, &uncertainty)
    };
    let options_of = PriorityOptions {
        candidates: f64::from(options[1]),
        exponent: f64::from(options[2]),
        ..PriorityOptions::default()
    };
    let picks = Selection::new(records, options_of).take(options[0] as usize);
    let picks: Vec<f64> = picks
        .flat_map(|pick| [f64::from(pick.row), pick.priority, pick.coverage])
        .collect();
    write(folder, "picks.npy", 3, &picks);
}

fn labels(folder: &Path) {
    let rows = floats(folder, "rows.npy").expect("rows.npy");
    let labels = counts(folder, "labels.npy").expect("labels.npy").numbers;
    let probabilities = floats(folder, "probabilities.npy");
    let reduction = Reduction::fit(matrix(&rows), vermilion_scores::DIMENSIONS_MAX, 0);
    let reduced = reduction.apply(matrix(&rows));
    let reduced = Matrix::new(&reduced, reduction.dimensions());
    let statistics = ClassStatistics::of(reduced, &labels);
    let report = label_issues(&LabelEvidence {
        rows: reduced,
        labels: &labels,
        held_out: &HeldOut::new(&statistics),
        graph: &nearest(matrix(&rows), matrix(&rows), LABEL_VOTERS, true),
        graph_with_lengths: Some(&nearest_with_lengths(reduced, LABEL_VOTERS)),
        probabilities: probabilities.as_ref().map(matrix),
        elsewhere: Contradictions::default(),
    });
    let verdicts = report.verdicts.iter();
    let verdicts: Vec<f64> = verdicts
        .flat_map(|verdict| {
            [
                f64::from(verdict.score),
                f64::from(verdict.suggested),
                f64::from(verdict.confidence),
            ]
        })
        .collect();
    write(folder, "verdicts.npy", 3, &verdicts);
}

/// The nearest other rows of each by the vectors as they are, by comparing all.
fn nearest_with_lengths(rows: Matrix<'_>, count: usize) -> Graph {
    let count = count.min(rows.len().saturating_sub(1));
    let (mut offsets, mut neighbours, mut distances) = (vec![0], Vec::new(), Vec::new());
    for (at, row) in rows.rows().enumerate() {
        let apart = |other: &[f32]| -> f32 {
            let pairs = row.iter().zip(other);
            pairs.map(|(a, b)| (a - b) * (a - b)).sum()
        };
        let others = rows.rows().enumerate().filter(|(other, _)| *other != at);
        let mut others: Vec<(f32, u32)> = others
            .map(|(other, row)| (apart(row), other as u32))
            .collect();
        others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        neighbours.extend(others[..count].iter().map(|one| one.1));
        distances.extend(others[..count].iter().map(|one| one.0.sqrt()));
        offsets.push(neighbours.len());
    }
    Graph::new(offsets, neighbours, distances)
}

fn drifts(folder: &Path) {
    let rows = floats(folder, "rows.npy").expect("rows.npy");
    let windows = floats(folder, "windows.npy").expect("windows.npy");
    let options = floats(folder, "options.npy").expect("options.npy").numbers;
    let (size, seed) = (options[0] as usize, options[1] as u64);
    let features = RandomFeatures::fit(matrix(&rows), seed);
    let bucket = |rows: Matrix<'_>| {
        let own = features.of(rows);
        let mut bucket = DriftBucket::new(rows.len());
        for (at, features) in own.chunks_exact(FEATURES).enumerate() {
            let (id, group, class, trouble) = (at as u64, None, None, None);
            bucket.add(&Observed {
                id,
                features,
                group,
                class,
                trouble,
                is_new: false,
            });
        }
        bucket
    };
    let reference = bucket(matrix(&rows));
    let (mut found, mut values) = (Vec::new(), Vec::new());
    for at in 0..matrix(&windows).len() / size {
        let rows = matrix(&windows).slice(at * size, size);
        let window = bucket(rows);
        let difference = drift(&reference, &window, 199, seed.wrapping_add(at as u64));
        found.extend([difference.statistic, difference.p.unwrap_or(f64::NAN)]);
        values.extend(Witness::between(&reference, &window).values(&features.of(rows)));
    }
    write(folder, "drift.npy", 2, &found);
    write(folder, "witness.npy", size, &values);
}

fn layout(folder: &Path) {
    let rows = floats(folder, "rows.npy").expect("rows.npy");
    let graph = nearest(matrix(&rows), matrix(&rows), NEIGHBOURS, true);
    let start = principal_start(matrix(&rows), 0);
    let mut points = Layout::new(&graph, start, LayoutOptions::default()).finish();
    if let Some(later) = floats(folder, "later.npy") {
        let placed = place(
            &points,
            &nearest(matrix(&rows), matrix(&later), NEIGHBOURS, false),
        );
        points.extend(placed);
    }
    let numbers: Vec<f64> = points
        .iter()
        .flatten()
        .map(|&value| f64::from(value))
        .collect();
    write(folder, "points.npy", 2, &numbers);
}
