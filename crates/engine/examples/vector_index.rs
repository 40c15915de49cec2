//! Measures the vector index on a folder with `base.f16.npy` and `query.f16.npy`:
//! `cargo run --release -p vermilion-engine --example vector_index -- FOLDER [SPACE] [PARTITIONS]`.
//!
//! Prints the processor time of the build, then for each recall asked for the recall found, against
//! an exact search, and the processor time of a query, without and with masks; one thread (Linux).

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]
#![allow(
    clippy::disallowed_methods,
    reason = "it reads vectors and its own time from files"
)]

use vermilion_engine::model::Space;
use vermilion_engine::segments::RowSet;
use vermilion_engine::segments::vector::{
    BuildOptions, SearchOptions, VectorIndex, build, exact_distance,
};

const K: usize = 10;

/// Seconds this thread has been running (Linux), which other work on the machine does not change.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let nanoseconds = text
        .split(' ')
        .next()
        .and_then(|text| text.parse::<f64>().ok());
    nanoseconds.expect("the first number is the time on a processor") / 1e9
}

struct Table {
    columns: usize,
    bytes: Vec<u8>,
}

fn table(path: &str) -> Table {
    let file = std::fs::read(path).expect("the file can be read");
    let head = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    let text = String::from_utf8_lossy(&file[10..head]).into_owned();
    let shape = text.split("'shape': (").nth(1).expect("a shape");
    let columns = shape.split([',', ')']).nth(1).expect("two dimensions");
    Table {
        columns: columns.trim().parse().expect("a number of columns"),
        bytes: file[head..].to_vec(),
    }
}

fn half(bits: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bits));
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 31, bits & 1023);
    let size = if exponent == 0 {
        fraction as f32 * 2f32.powi(-24)
    } else {
        (1.0 + fraction as f32 / 1024.0) * 2f32.powi(exponent as i32 - 15)
    };
    if sign == 1 { -size } else { size }
}

fn halves(table: &Table) -> Vec<f32> {
    table
        .bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&bits| half(bits))
        .collect()
}

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

    fn truth(&self, mask: Option<&RowSet>) -> Vec<Vec<u32>> {
        let space = self.index.space();
        self.queries
            .chunks_exact(self.index.dimension())
            .map(|query| {
                let mut all: Vec<(f32, u32)> = (0..self.index.rows())
                    .filter(|&row| mask.is_none_or(|mask| mask.contains(row)))
                    .map(|row| (exact_distance(space, query, self.row(row)), row))
                    .collect();
                all.sort_by(|a, b| a.0.total_cmp(&b.0));
                all.iter().take(K).map(|found| found.1).collect()
            })
            .collect()
    }

    fn run(&self, what: &str, recall: f32, mask: Option<&RowSet>, truth: &[Vec<u32>]) {
        let options = SearchOptions { k: K, recall, mask };
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
        println!(
            "{what:>12} recall asked {recall:.3} found {:.4} in {:7.1} us",
            f64::from(hits as u32) / f64::from(wanted as u32),
            times[0]
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
    let base = table(&format!("{folder}/base.f16.npy"));
    let (rows, dimension) = (halves(&base), base.columns);
    let queries = halves(&table(&format!("{folder}/query.f16.npy")));
    let begun = cpu_seconds();
    let options = BuildOptions {
        partitions: arguments.next().and_then(|count| count.parse().ok()),
        ..BuildOptions::new(space)
    };
    let bytes = build(&rows, dimension, &options, &|| true);
    let bytes = bytes
        .expect("the rows are whole")
        .expect("the rows can be coded");
    let seconds = cpu_seconds() - begun;
    let count = rows.len() / dimension;
    println!(
        "{count} rows of {dimension}: built in {seconds:.3} s, {:.0} rows/s, {} bytes a row",
        count as f64 / seconds,
        bytes.len() / count
    );
    let index = VectorIndex::open("index", bytes.into()).expect("it was just built");
    println!(
        "{} partitions, kernels {}",
        index.partitions(),
        vermilion_kernels::level()
    );
    let bench = Bench {
        index: &index,
        rows: &rows,
        queries: &queries,
    };
    let truth = bench.truth(None);
    for recall in [0.8, 0.9, 0.95, 0.99, 0.999] {
        bench.run("all", recall, None, &truth);
    }
    for (name, every) in [
        ("1 in 2", 2),
        ("1 in 10", 10),
        ("1 in 100", 100),
        ("1 in 1000", 1000),
    ] {
        let mut mask = RowSet::none(index.rows());
        (0..index.rows())
            .filter(|row| row % every == 0)
            .for_each(|row| mask.insert(row));
        bench.run(name, 0.95, Some(&mask), &bench.truth(Some(&mask)));
    }
    corner(&bench);
}

/// The tenth of the rows nearest to the first query.
fn corner(bench: &Bench<'_>) {
    let query = &bench.queries[..bench.index.dimension()];
    let distance = |row| exact_distance(bench.index.space(), query, bench.row(row));
    let mut all: Vec<(f32, u32)> = (0..bench.index.rows())
        .map(|row| (distance(row), row))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut mask = RowSet::none(bench.index.rows());
    all.iter()
        .take(all.len() / 10)
        .for_each(|found| mask.insert(found.1));
    bench.run("a corner", 0.95, Some(&mask), &bench.truth(Some(&mask)));
}
