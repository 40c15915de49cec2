//! Measures the vector index alone, for `bench/index`: prints one JSON object for each figure.
//!
//! `cargo run --release -p vermilion-engine --example index -- FOLDER SPACE TRUTH [PARTITIONS [THREADS]]`
//! with FOLDER/base.npy and FOLDER/query.npy of `float32`, and TRUTH, a `.npy` of `int64` with the
//! exact nearest rows of each query; PARTITIONS may be `-`. Times are of this thread's processor
//! (Linux). With THREADS beyond one, all else is the same, and how many times as fast as one thread
//! so many build and search by the clock comes last.

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]
#![allow(
    clippy::disallowed_methods,
    reason = "it reads vectors and its own time from files"
)]

#[allow(dead_code, reason = "each program uses some of it")]
mod support;

use std::sync::Arc;
use std::time::Instant;

use vermilion_engine::model::Space;
use vermilion_engine::segments::RowSet;
use vermilion_engine::segments::blocks::{Blocks, checksums};
use vermilion_engine::segments::vector::{
    BuildOptions, SearchOptions, VectorIndex, build, exact_distance,
};

use support::{cpu_seconds, floats, nearest_rows};

const K: usize = 10;
const RECALLS: [f32; 6] = [0.8, 0.9, 0.95, 0.98, 0.99, 0.999];

struct Bench<'a> {
    index: &'a VectorIndex,
    rows: &'a [f32],
    queries: &'a [f32],
}

impl Bench<'_> {
    fn row(&self, row: u32) -> &[f32] {
        let dimension = self.index.dimension();
        &self.rows[row as usize * dimension..(row as usize + 1) * dimension]
    }

    /// The exact nearest rows of the first `count` queries among those of `mask`.
    fn truth(&self, mask: &RowSet, count: usize) -> Vec<Vec<u32>> {
        let space = self.index.space();
        self.queries
            .chunks_exact(self.index.dimension())
            .take(count)
            .map(|query| {
                let distance = |row| exact_distance(space, query, self.row(row));
                let mut all: Vec<(f32, u32)> =
                    mask.iter().map(|row| (distance(row), row)).collect();
                let nearest = all.len().min(K);
                if nearest < all.len() {
                    all.select_nth_unstable_by(nearest, |a, b| a.0.total_cmp(&b.0));
                }
                all[..nearest].iter().map(|found| found.1).collect()
            })
            .collect()
    }

    /// Queries that so many threads together answer in a second, each all of them.
    fn queries_per_second(&self, threads: usize) -> f64 {
        let options = SearchOptions {
            k: K,
            recall: 0.95,
            mask: None,
        };
        let dimension = self.index.dimension();
        let seconds = || {
            let begun = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        for query in self.queries.chunks_exact(dimension) {
                            let found = self.index.search(query, &options, |row| Ok(self.row(row)));
                            assert_eq!(found.expect("a sound query").len(), K);
                        }
                    });
                }
            });
            begun.elapsed().as_secs_f64()
        };
        let seconds = (0..5).map(|_| seconds()).fold(f64::INFINITY, f64::min);
        (threads * self.queries.len() / dimension) as f64 / seconds
    }

    fn run(&self, what: &str, recall: f32, mask: Option<&RowSet>, truth: &[Vec<u32>]) {
        let translated = mask.map(|mask| self.index.mask(mask).expect("it is of this index"));
        let options = SearchOptions {
            k: K,
            recall,
            mask: translated.as_ref(),
        };
        let mut times = Vec::new();
        let (mut hits, mut wanted) = (0, 0);
        for _ in 0..3 {
            (hits, wanted) = (0, 0);
            let begun = cpu_seconds();
            for (query, truth) in self.queries.chunks_exact(self.index.dimension()).zip(truth) {
                let found = self.index.search(query, &options, |row| Ok(self.row(row)));
                let found = found.expect("the query has the right dimension");
                hits += truth
                    .iter()
                    .filter(|row| found.iter().any(|f| f.row == **row))
                    .count();
                wanted += truth.len();
            }
            times.push((cpu_seconds() - begun) * 1e6 / truth.len() as f64);
        }
        times.sort_by(f64::total_cmp);
        let found = f64::from(hits as u32) / f64::from(wanted as u32);
        let share = mask.map_or(1.0, |mask| {
            f64::from(mask.len()) / f64::from(self.index.rows())
        });
        println!(
            "{{\"filter\":\"{what}\",\"share\":{share:.5},\"asked\":{recall},\
             \"recall\":{found:.4},\"microseconds\":{:.1},\"effort\":\"{:?}\"}}",
            times[0],
            self.index.effort(K, recall)
        );
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("the folder with the vectors");
    let space = match arguments.next().as_deref() {
        None | Some("cosine") => Space::Cosine,
        Some("l2") => Space::L2,
        Some("ip") => Space::Ip,
        Some(other) => panic!("{other} is no space; allowed are l2, cosine, ip"),
    };
    let truth = arguments.next().expect("the file with the nearest rows");
    let (dimension, rows) = floats(&format!("{folder}/base.npy"));
    let (_, queries) = floats(&format!("{folder}/query.npy"));
    let begun = cpu_seconds();
    let options = BuildOptions {
        partitions: arguments.next().and_then(|count| count.parse().ok()),
        ..BuildOptions::new(space)
    };
    let threads = arguments.next();
    let threads = threads.map_or(1, |count| count.parse().expect("a number of threads"));
    let bytes = build(&rows, dimension, &options, &|| true);
    let bytes = bytes
        .expect("the rows are whole")
        .expect("the rows can be coded");
    let seconds = cpu_seconds() - begun;
    let count = rows.len() / dimension;
    let bytes_per_row = bytes.len() / count;
    let sums = checksums(&bytes);
    let blocks = Blocks::new("index".to_owned(), bytes.into(), sums).expect("just built");
    let index = VectorIndex::open(Arc::new(blocks)).expect("it was just built");
    println!(
        "{{\"rows\":{count},\"dimension\":{dimension},\"build_seconds\":{seconds:.3},\
         \"bytes_per_row\":{bytes_per_row},\"partitions\":{},\"kernels\":\"{}\"}}",
        index.partitions(),
        vermilion_kernels::level()
    );
    let bench = Bench {
        index: &index,
        rows: &rows,
        queries: &queries,
    };
    let truth = nearest_rows(&truth, K);
    for recall in RECALLS {
        bench.run("none", recall, None, &truth);
    }
    filtered(&bench, truth.len().min(200));
    if threads > 1 {
        let build_seconds =
            |threads| build_seconds(&rows, dimension, BuildOptions { threads, ..options });
        println!(
            "{{\"threads\":{threads},\"build\":{:.2},\"queries\":{:.2}}}",
            build_seconds(1) / build_seconds(threads),
            bench.queries_per_second(threads) / bench.queries_per_second(1)
        );
    }
}

/// The first `asked` queries among some of the rows.
fn filtered(bench: &Bench<'_>, asked: usize) {
    for (name, every) in [("50%", 2), ("10%", 10), ("1%", 100), ("0.1%", 1000)] {
        let mut mask = RowSet::none(bench.index.rows());
        // A stride that has no factor in common with an order in the data.
        (0..bench.index.rows())
            .filter(|row| row.wrapping_mul(2_654_435_761) / 1024 % every == 0)
            .for_each(|row| mask.insert(row));
        bench.run(name, 0.95, Some(&mask), &bench.truth(&mask, asked));
    }
    for share in [10, 100] {
        let mask = corner(bench, bench.index.rows() as usize / share);
        let name = format!("corner {}%", 100 / share);
        bench.run(&name, 0.95, Some(&mask), &bench.truth(&mask, asked));
    }
}

/// Seconds of the clock.
fn build_seconds(rows: &[f32], dimension: usize, options: BuildOptions<'_>) -> f64 {
    let begun = Instant::now();
    let built = build(rows, dimension, &options, &|| true);
    assert!(built.is_ok_and(|bytes| bytes.is_some()));
    begun.elapsed().as_secs_f64()
}

/// The `count` rows nearest to a row in the middle.
fn corner(bench: &Bench<'_>, count: usize) -> RowSet {
    let pivot = bench.row(bench.index.rows() / 3);
    let distance = |row| exact_distance(bench.index.space(), pivot, bench.row(row));
    let mut all: Vec<(f32, u32)> = (0..bench.index.rows())
        .map(|row| (distance(row), row))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut mask = RowSet::none(bench.index.rows());
    all.iter()
        .take(count)
        .for_each(|found| mask.insert(found.1));
    mask
}
