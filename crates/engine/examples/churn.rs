//! Measures what deletions and updates do to searches: recall, the longest wait of a search, and
//! the room on disk, before and after the database has looked after itself.
//!
//! `cargo run --release -p vermilion-engine --example churn -- FOLDER SPACE` with FOLDER/base.npy and
//! FOLDER/query.npy of `float32`. Prints one JSON object for each step.

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]
#![allow(
    clippy::disallowed_methods,
    reason = "it reads vectors and its own time from files"
)]

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use vermilion_engine::model::{
    CollectionScope, Embeddings, MetadataColumn, NewCollection, Operation, OptionalStrings,
    QueryRequest, Recall, RecordBatch, Schema, Space, Strings,
};
use vermilion_engine::schedule::RunRequest;
use vermilion_engine::{Config, Database};

type Outcome<T> = Result<T, Box<dyn Error>>;

const BATCH: usize = 1000;
const K: u32 = 10;
const RECALL_QUERIES: usize = 500;

/// Vectors, one after the other.
struct Table {
    dimension: usize,
    values: Vec<f32>,
}

impl Table {
    /// Reads a `.npy` file of two dimensions.
    fn read(path: &Path) -> Outcome<Self> {
        let file = std::fs::read(path)?;
        let head = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
        let text = String::from_utf8_lossy(&file[10..head]).into_owned();
        let shape = text.split("'shape': (").nth(1).ok_or("no shape")?;
        let columns = shape.split([',', ')']).nth(1).ok_or("no two dimensions")?;
        let numbers = file[head..].as_chunks::<4>().0.iter();
        Ok(Self {
            dimension: columns.trim().parse()?,
            values: numbers.map(|&four| f32::from_le_bytes(four)).collect(),
        })
    }

    fn len(&self) -> usize {
        self.values.len() / self.dimension
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dimension..(row + 1) * self.dimension]
    }
}

struct Bench<'a> {
    database: &'a Database,
    scope: CollectionScope<'a>,
    base: Table,
    queries: Table,
}

impl Bench<'_> {
    fn write(&self, rows: &[usize], vector: impl Fn(usize) -> Vec<f32>) -> Outcome<()> {
        let ids: Vec<String> = rows.iter().map(|row| format!("id{row}")).collect();
        let values: Vec<f32> = rows.iter().flat_map(|&row| vector(row)).collect();
        let batch = RecordBatch {
            operations: vec![Operation::Upsert; rows.len()],
            ids: ids.iter().map(String::as_str).collect::<Strings>(),
            embeddings: Embeddings::new(self.base.dimension, values).ok_or("no whole rows")?,
            documents: OptionalStrings::absent(rows.len()),
            uris: OptionalStrings::absent(rows.len()),
            metadata: MetadataColumn::absent(rows.len()),
        };
        self.database.write(self.scope, batch)?;
        Ok(())
    }

    fn delete(&self, rows: &[usize]) -> Outcome<()> {
        let ids: Vec<String> = rows.iter().map(|row| format!("id{row}")).collect();
        let batch = RecordBatch::deletion(ids.iter().map(String::as_str).collect());
        self.database.write(self.scope, batch)?;
        Ok(())
    }

    fn ask(&self, query: usize, recall: Option<Recall>) -> Outcome<Vec<String>> {
        let vector = self.queries.row(query % self.queries.len()).to_vec();
        let request = QueryRequest {
            embeddings: Embeddings::new(self.queries.dimension, vector).ok_or("no vector")?,
            n_results: K,
            recall,
            ..QueryRequest::default()
        };
        let found = self.database.query(self.scope, &request)?;
        let ids = found[0].records.ids.iter();
        Ok(ids.map(str::to_owned).collect())
    }

    fn recall(&self) -> Outcome<f64> {
        let (mut found, mut wanted) = (0, 0);
        for query in 0..RECALL_QUERIES.min(self.queries.len()) {
            let truth = self.ask(query, Some(Recall::EXACT))?;
            let own = self.ask(query, None)?;
            found += own.iter().filter(|id| truth.contains(id)).count();
            wanted += truth.len();
        }
        Ok(found as f64 / wanted as f64)
    }

    /// Does `work` while searches go on; prints what they took, and recall and room after it.
    fn step(&self, name: &str, folder: &Path, work: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        let done = AtomicBool::new(false);
        let mut times = std::thread::scope(|scope| -> Outcome<Vec<(f64, f64)>> {
            let searching = scope.spawn(|| {
                let mut times = Vec::new();
                for query in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let (wall, cpu) = (Instant::now(), thread_seconds());
                    if self.ask(query, None).is_err() {
                        break;
                    }
                    let cpu = thread_seconds() - cpu;
                    times.push((wall.elapsed().as_secs_f64() * 1e3, cpu * 1e3));
                }
                times
            });
            let worked = work();
            done.store(true, Ordering::Relaxed);
            let times = searching
                .join()
                .map_err(|_| "the searching thread panicked")?;
            worked.map(|()| times)
        })?;
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let at = |share: f64| {
            times
                .get((times.len() as f64 * share) as usize)
                .map_or(0.0, |t| t.0)
        };
        let cpu = times.iter().map(|time| time.1).fold(0.0, f64::max);
        println!(
            "{{\"step\":\"{name}\",\"recall\":{:.4},\"searches\":{},\"p99_ms\":{:.2},\
             \"longest_ms\":{:.2},\"longest_cpu_ms\":{cpu:.2},\"disk_bytes\":{},\"records\":{}}}",
            self.recall()?,
            times.len(),
            at(0.99),
            times.last().map_or(0.0, |time| time.0),
            bytes_in(folder)?,
            self.database.count(self.scope)?,
        );
        Ok(())
    }
}

/// Seconds this thread has been running.
fn thread_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn bytes_in(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let what = entry.metadata()?;
        bytes += if what.is_dir() {
            bytes_in(&entry.path())?
        } else {
            what.len()
        };
    }
    Ok(bytes)
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("the folder with the vectors")?;
    let space = match arguments.next().as_deref() {
        None | Some("cosine") => Space::Cosine,
        Some("l2") => Space::L2,
        Some("ip") => Space::Ip,
        Some(other) => return Err(format!("{other} is no space: l2, cosine or ip").into()),
    };
    let folder = std::env::temp_dir().join(format!("vermilion-churn-{}", std::process::id()));
    let outcome = measure(Path::new(&data), space, &folder);
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn measure(data: &Path, space: Space, folder: &Path) -> Outcome<()> {
    let database = Database::open(Config::at(folder)?)?;
    let mut schema = Schema::default();
    schema.change_vectors(|vectors| vectors.space = Some(space));
    let collection = database.create_collection(NewCollection {
        tenant: "default_tenant".to_owned(),
        database: "default_database".to_owned(),
        name: "churn".to_owned(),
        metadata: None,
        schema,
        get_or_create: false,
    })?;
    let bench = Bench {
        database: &database,
        scope: CollectionScope {
            tenant: "default_tenant",
            database: "default_database",
            id: collection.id,
        },
        base: Table::read(&data.join("base.npy"))?,
        queries: Table::read(&data.join("query.npy"))?,
    };
    let rows: Vec<usize> = (0..bench.base.len()).collect();
    let own = |row: usize| bench.base.row(row).to_vec();
    for rows in rows.chunks(BATCH) {
        bench.write(rows, own)?;
    }
    database.seal_all()?;
    while database.upkeep()? {}
    bench.step("loaded", folder, || Ok(()))?;

    // A stride that has no factor in common with an order in the data.
    let tenth = |part: usize| -> Vec<usize> {
        let chosen = |row: &usize| row.wrapping_mul(2_654_435_761) / 1024 % 10 == part;
        rows.iter().copied().filter(chosen).collect()
    };
    bench.step("deleted a tenth", folder, || {
        tenth(0).chunks(100).try_for_each(|rows| bench.delete(rows))
    })?;
    let moved = |row: usize| {
        let other = bench.base.row((row + 7919) % bench.base.len());
        let pairs = bench.base.row(row).iter().zip(other);
        pairs.map(|(own, other)| 0.6 * own + 0.4 * other).collect()
    };
    bench.step("updated a tenth", folder, || {
        tenth(1)
            .chunks(100)
            .try_for_each(|rows| bench.write(rows, moved))
    })?;
    // What the jobs of a night do.
    bench.step("after a night", folder, || {
        for job in ["log_sync", "index_rebuild", "segment_merge", "log_prune"] {
            let run = database.jobs().run(job, RunRequest::default())?;
            println!("{{\"job\":\"{job}\",\"outcome\":\"{:?}\"}}", run.outcome);
        }
        Ok(())
    })?;
    Ok(database.close()?)
}
