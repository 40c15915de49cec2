//! Measures whether a graph over the rows would find neighbours faster than the vector index does,
//! for decision 0012: prints one JSON object for each figure.
//!
//! `cargo run --release -p vermilion-engine --example graph -- FOLDER SPACE TRUTH [DEGREE]`
//! with the files that the example `index` reads and SPACE `l2` or `cosine`. The graph gets the
//! best there is: each row is joined to its exact nearest neighbours, thinned out so that they lie
//! in different directions, and a search begins at the best of some hundred rows. It reads the same
//! 4-bit codes as the index and compares the last rows exactly as the index does. Products of all
//! rows with all rows are taken, so this is for at most some hundred thousand.

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]
#![allow(
    clippy::disallowed_methods,
    reason = "it reads vectors and its own time from files"
)]

#[allow(dead_code, reason = "each program uses some of it")]
mod support;

use std::sync::Arc;

use vermilion_engine::model::Space;
use vermilion_engine::segments::blocks::{Blocks, checksums};
use vermilion_engine::segments::vector::{
    BuildOptions, SearchOptions, VectorIndex, build, exact_distance,
};
use vermilion_kernels::codes::{
    DIMENSION_STEP, LevelBits, Rotation, dot_levels, encode_levels, quantise,
};
use vermilion_kernels::tiles::{Packed, products};
use vermilion_kernels::{inner_product, prefetch, squared_norm};

use support::{cpu_seconds, floats, nearest_rows};

const K: usize = 10;
const RECALLS: [f32; 6] = [0.8, 0.9, 0.95, 0.98, 0.99, 0.999];
/// Rows kept at a time, and rows of them compared exactly.
const EFFORTS: [(usize, usize); 9] = [
    (10, 10),
    (14, 12),
    (18, 14),
    (24, 16),
    (32, 18),
    (44, 20),
    (60, 24),
    (90, 30),
    (140, 40),
];
/// Nearest rows of each that are thinned out to its neighbours.
const NEAREST: usize = 96;
/// How much nearer to a neighbour than to the row itself a row must be to be left out.
const ALPHA: f32 = 1.2;
/// Rows that a search may begin at, and how many of them it begins at.
const ENTRIES: usize = 128;
const BEGINNINGS: usize = 4;
/// Marks a row of the list whose neighbours have been looked at.
const DONE: u32 = 1 << 31;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("the folder with the vectors");
    let space = match arguments.next().as_deref() {
        Some("cosine") => Space::Cosine,
        Some("l2") => Space::L2,
        other => panic!("{other:?} is no space of this program; allowed are l2, cosine"),
    };
    let truth = arguments.next().expect("the file with the nearest rows");
    let truth = nearest_rows(&truth, K);
    let degree = arguments.next();
    let degree = degree.map_or(32, |degree| degree.parse().expect("a number of neighbours"));
    let (dimension, mut rows) = floats(&format!("{folder}/base.npy"));
    let (_, mut queries) = floats(&format!("{folder}/query.npy"));
    if space == Space::Cosine {
        for vector in rows.chunks_exact_mut(dimension) {
            normalise(vector);
        }
        for vector in queries.chunks_exact_mut(dimension) {
            normalise(vector);
        }
    }
    let bench = Bench {
        space,
        dimension,
        rows,
        queries,
        truth,
    };
    bench.index();
    bench.graph(degree);
}

fn normalise(vector: &mut [f32]) {
    let norm = squared_norm(vector).sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|number| *number /= norm);
    }
}

struct Bench {
    space: Space,
    dimension: usize,
    rows: Vec<f32>,
    queries: Vec<f32>,
    truth: Vec<Vec<u32>>,
}

impl Bench {
    fn row(&self, row: u32) -> &[f32] {
        &self.rows[row as usize * self.dimension..][..self.dimension]
    }

    /// Recall and the processor microseconds of a query, the best of five.
    fn time(&self, mut search: impl FnMut(&[f32]) -> Vec<u32>) -> (f64, f64) {
        let (mut hits, mut least) = (0, f64::INFINITY);
        for _ in 0..5 {
            hits = 0;
            let begun = cpu_seconds();
            for (query, truth) in self.queries.chunks_exact(self.dimension).zip(&self.truth) {
                let found = search(query);
                hits += truth.iter().filter(|row| found.contains(row)).count();
            }
            least = least.min((cpu_seconds() - begun) * 1e6 / self.truth.len() as f64);
        }
        (hits as f64 / (self.truth.len() * K) as f64, least)
    }

    fn index(&self) {
        let begun = cpu_seconds();
        let options = BuildOptions::new(self.space);
        let bytes = build(&self.rows, self.dimension, &options, &|| true);
        let bytes = bytes.expect("the rows are whole").expect("they have codes");
        let seconds = cpu_seconds() - begun;
        println!("{{\"index\":\"partitions\",\"build_seconds\":{seconds:.2}}}");
        let sums = checksums(&bytes);
        let blocks = Blocks::new("index".to_owned(), bytes.into(), sums).expect("just built");
        let index = VectorIndex::open(Arc::new(blocks)).expect("it was just built");
        for recall in RECALLS {
            let mask = None;
            let options = SearchOptions { k: K, recall, mask };
            let (found, microseconds) = self.time(|query| {
                let found = index.search(query, &options, |row| Ok(self.row(row)));
                let found = found.expect("the query has the right dimension");
                found.into_iter().map(|candidate| candidate.row).collect()
            });
            println!(
                "{{\"index\":\"partitions\",\"asked\":{recall},\"recall\":{found:.4},\
                 \"microseconds\":{microseconds:.1}}}"
            );
        }
    }

    fn graph(&self, degree: usize) {
        let begun = cpu_seconds();
        let codes = Codes::new(self);
        let graph = Graph::new(self, degree);
        let seconds = cpu_seconds() - begun;
        println!("{{\"index\":\"graph\",\"degree\":{degree},\"build_seconds\":{seconds:.2}}}");
        let mut search = Search::new(self, &codes, &graph);
        for (width, depth) in EFFORTS {
            let (found, microseconds) = self.time(|query| search.run(query, width, depth));
            println!(
                "{{\"index\":\"graph\",\"width\":{width},\"recall\":{found:.4},\
                 \"microseconds\":{microseconds:.1}}}"
            );
        }
    }
}

/// The 4-bit codes of all rows around their mean.
struct Codes {
    rotation: Rotation,
    mean: Vec<f32>,
    factors: Vec<(f32, f32)>,
    levels: Vec<u8>,
}

impl Codes {
    fn new(bench: &Bench) -> Self {
        let padded = bench.dimension.next_multiple_of(DIMENSION_STEP);
        let rotation = Rotation::new(padded, 1);
        let mut mean = vec![0.0f32; padded];
        let count = bench.rows.len() / bench.dimension;
        for row in bench.rows.chunks_exact(bench.dimension) {
            mean.iter_mut()
                .zip(row)
                .for_each(|(sum, number)| *sum += number / count as f32);
        }
        rotation.apply(&mut mean);
        let mut codes = Self {
            rotation,
            mean,
            factors: Vec::with_capacity(count),
            levels: vec![0; count * padded / 2],
        };
        let mut levels = std::mem::take(&mut codes.levels);
        let rows = bench.rows.chunks_exact(bench.dimension);
        for (row, levels) in rows.zip(levels.chunks_exact_mut(padded / 2)) {
            let turned = codes.turn(row);
            let squared = squared_norm(&turned);
            let scale = 1.0 / (0.3352 * (squared / padded as f32).sqrt()).max(f32::MIN_POSITIVE);
            let product = encode_levels(&turned, LevelBits::Four, scale, levels);
            codes
                .factors
                .push((squared, squared / product.max(f32::MIN_POSITIVE)));
        }
        codes.levels = levels;
        codes
    }

    fn turn(&self, vector: &[f32]) -> Vec<f32> {
        let mut turned = vector.to_vec();
        turned.resize(self.mean.len(), 0.0);
        self.rotation.apply(&mut turned);
        turned
            .iter_mut()
            .zip(&self.mean)
            .for_each(|(number, mean)| *number -= mean);
        turned
    }

    fn levels(&self, row: u32) -> &[u8] {
        let bytes = self.mean.len() / 2;
        &self.levels[row as usize * bytes..][..bytes]
    }
}

/// For each row its neighbours, and the rows that a search may begin at.
struct Graph {
    neighbours: Vec<Vec<u32>>,
    entries: Vec<u32>,
}

impl Graph {
    fn new(bench: &Bench, degree: usize) -> Self {
        let squares: Vec<f32> = bench
            .rows
            .chunks_exact(bench.dimension)
            .map(squared_norm)
            .collect();
        let distance = |a: u32, b: u32| {
            squares[a as usize] + squares[b as usize]
                - 2.0 * inner_product(bench.row(a), bench.row(b))
        };
        let thinned = |row: u32, mut near: Vec<(f32, u32)>| {
            near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            let mut kept: Vec<u32> = Vec::with_capacity(degree);
            for (own, next) in near {
                if kept.len() == degree {
                    break;
                }
                if next != row
                    && kept
                        .iter()
                        .all(|&other| ALPHA * distance(next, other) >= own)
                {
                    kept.push(next);
                }
            }
            kept
        };
        let one_way: Vec<Vec<u32>> = (0..)
            .zip(nearest_of_all(bench, &squares))
            .map(|(row, near)| thinned(row, near))
            .collect();
        let mut neighbours = one_way.clone();
        for (row, own) in (0..).zip(&one_way) {
            for &next in own {
                if !neighbours[next as usize].contains(&row) {
                    neighbours[next as usize].push(row);
                }
            }
        }
        for (row, own) in (0..).zip(&mut neighbours) {
            if own.len() > degree {
                let near = own.iter().map(|&next| (distance(row, next), next));
                *own = thinned(row, near.collect());
            }
        }
        let count = squares.len() as u64;
        let entries = (0..ENTRIES as u64).map(|at| (at * count / ENTRIES as u64) as u32);
        Self {
            neighbours,
            entries: entries.collect(),
        }
    }
}

/// For each row the nearest others, with their squared distances.
fn nearest_of_all(bench: &Bench, squares: &[f32]) -> Vec<Vec<(f32, u32)>> {
    let (dimension, rows_together, columns_together) = (bench.dimension, 256, 2048);
    let mut nearest = vec![Vec::with_capacity(2 * NEAREST); squares.len()];
    let mut room = Vec::new();
    for (from, columns) in bench.rows.chunks(columns_together * dimension).enumerate() {
        let (from, columns) = (from * columns_together, Packed::new(columns, dimension));
        let rows = bench.rows.chunks(rows_together * dimension);
        for (rows, lists) in rows.zip(nearest.chunks_mut(rows_together)) {
            room.clear();
            room.resize(lists.len() * columns.len(), 0.0);
            products(rows, &columns, &mut room);
            let rows = rows.chunks_exact(dimension).zip(lists);
            for ((row, list), products) in rows.zip(room.chunks_exact(columns.len())) {
                let square = squared_norm(row);
                let mut limit = limit_of(list);
                for (other, product) in (from..).zip(products) {
                    let distance = square + squares[other] - 2.0 * product;
                    if distance < limit {
                        list.push((distance, other as u32));
                        if list.len() == 2 * NEAREST {
                            cut(list);
                            limit = limit_of(list);
                        }
                    }
                }
                cut(list);
            }
        }
    }
    nearest
}

/// Leaves the nearest, and the row itself.
fn cut(list: &mut Vec<(f32, u32)>) {
    if list.len() > NEAREST + 1 {
        list.select_nth_unstable_by(NEAREST, |a, b| a.0.total_cmp(&b.0));
        list.truncate(NEAREST + 1);
    }
}

fn limit_of(list: &[(f32, u32)]) -> f32 {
    if list.len() <= NEAREST {
        return f32::INFINITY;
    }
    list.iter().fold(0.0, |most, one| most.max(one.0))
}

struct Search<'a> {
    bench: &'a Bench,
    codes: &'a Codes,
    graph: &'a Graph,
    seen: Vec<u64>,
    touched: Vec<u32>,
    /// The nearest rows so far, nearest first.
    list: Vec<(f32, u32)>,
}

impl<'a> Search<'a> {
    fn new(bench: &'a Bench, codes: &'a Codes, graph: &'a Graph) -> Self {
        Self {
            bench,
            codes,
            graph,
            seen: vec![0; graph.neighbours.len().div_ceil(64)],
            touched: Vec::new(),
            list: Vec::new(),
        }
    }

    /// The nearest rows, from a list of the `width` best, the `depth` best compared exactly.
    fn run(&mut self, query: &[f32], width: usize, depth: usize) -> Vec<u32> {
        let turned = self.codes.turn(query);
        let mut whole = vec![0; turned.len()];
        let quantised = quantise(&turned, &mut whole);
        let base = squared_norm(&turned);
        let middle = (LevelBits::Four.half() - 0.5) * quantised.sum as f32;
        let codes = self.codes;
        let score = |row: u32| {
            let (offset, slope) = codes.factors[row as usize];
            let dot = dot_levels(codes.levels(row), LevelBits::Four, &whole) as f32;
            offset + base - 2.0 * quantised.scale * slope * (dot - middle)
        };
        self.list.clear();
        let mut entries: Vec<(f32, u32)> = self
            .graph
            .entries
            .iter()
            .map(|&row| (score(row), row))
            .collect();
        entries.select_nth_unstable_by(BEGINNINGS, |a, b| a.0.total_cmp(&b.0));
        let mut fresh: Vec<u32> = entries[..BEGINNINGS].iter().map(|one| one.1).collect();
        fresh.retain(|&row| self.is_new(row));
        loop {
            fresh.iter().for_each(|&row| prefetch(codes.levels(row)));
            for &row in &fresh {
                self.offer(score(row), row, width);
            }
            let Some(next) = self.list.iter_mut().find(|one| one.1 & DONE == 0) else {
                break;
            };
            next.1 |= DONE;
            let from = (next.1 & !DONE) as usize;
            fresh.clear();
            let graph = self.graph;
            let neighbours = graph.neighbours[from].iter().copied();
            fresh.extend(neighbours.filter(|&row| self.is_new(row)));
        }
        for row in self.touched.drain(..) {
            self.seen[row as usize / 64] = 0;
        }
        self.exact(query, depth)
    }

    /// Whether `row` comes for the first time.
    fn is_new(&mut self, row: u32) -> bool {
        let (word, bit) = (&mut self.seen[row as usize / 64], 1 << (row % 64));
        let new = *word & bit == 0;
        if new {
            *word |= bit;
            self.touched.push(row);
        }
        new
    }

    fn offer(&mut self, score: f32, row: u32, width: usize) {
        if self.list.len() == width {
            if score >= self.list[width - 1].0 {
                return;
            }
            self.list.pop();
        }
        let at = self.list.partition_point(|one| one.0 <= score);
        self.list.insert(at, (score, row));
    }

    /// The nearest of the first `depth` rows of the list.
    fn exact(&self, query: &[f32], depth: usize) -> Vec<u32> {
        let best = self.list.iter().take(depth).map(|one| one.1 & !DONE);
        best.clone()
            .for_each(|row| prefetch(bytemuck::cast_slice(self.bench.row(row))));
        let distance = |row| exact_distance(self.bench.space, query, self.bench.row(row));
        let mut exact: Vec<(f32, u32)> = best.map(|row| (distance(row), row)).collect();
        exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        exact.truncate(K);
        exact.into_iter().map(|one| one.1).collect()
    }
}
