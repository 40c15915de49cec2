//! Measures the engine at size, in process: ingestion, start, reads of a large collection, and
//! many collections. Prints CPU and wall time of each; bounds are judged by a reader, not here.
//!
//! ```text
//! cargo run --release -p vermilion-engine --example scale -- records 1000000 384
//! cargo run --release -p vermilion-engine --example scale -- collections 10000
//! ```

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and the file system"
)]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use vermilion_engine::model::{
    CollectionId, CollectionScope, Comparison, Embeddings, Filter, GetRequest, Include,
    MetadataColumn, NewCollection, Number, Operation, OptionalStrings, QueryRequest, RecordBatch,
    RecordSelection, Scalar, Schema, Strings, Value,
};
use vermilion_engine::{Config, Database};

const TENANT: &str = "default_tenant";
const DATABASE: &str = "default_database";
const BATCH: usize = 5_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| -> usize {
        arguments
            .get(at)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let folder = std::env::temp_dir().join(format!("vermilion-scale-{}", std::process::id()));
    let result = match arguments.first().map(String::as_str) {
        Some("collections") => collections(&folder, number(1, 10_000)),
        _ => records(&folder, number(1, 1_000_000), number(2, 384)),
    };
    std::fs::remove_dir_all(&folder)?;
    result
}

fn records(folder: &Path, rows: usize, dimension: usize) -> Result<(), Box<dyn Error>> {
    println!("{rows} records of {dimension} numbers, with a document and five metadata fields");
    let database = Database::open(Config::at(folder)?)?;
    let id = create(&database, "scale")?;
    let scope = CollectionScope {
        tenant: TENANT,
        database: DATABASE,
        id,
    };
    timed("ingest", 1, || {
        for first in (0..rows).step_by(BATCH) {
            database.write(scope, batch(first, BATCH.min(rows - first), dimension))?;
        }
        Ok(())
    })?;
    timed("seal and merge what is left", 1, || {
        database.seal_all()?;
        while database.upkeep()? {}
        Ok(())
    })?;
    println!("{:32} {:>10.1} MB", "resident memory", resident_mb());
    println!("{:32} {:>10}", "segments", database.statistics().segments);
    timed("close", 1, || Ok(database.close()?))?;
    drop(database);

    let started = Instant::now();
    let database = Database::open(Config::at(folder)?)?;
    println!(
        "{:32} {:>10.1} ms wall",
        "start",
        milliseconds(started.elapsed())
    );
    println!(
        "{:32} {:>10.1} MB",
        "resident memory after start",
        resident_mb()
    );
    timed("count, the first", 1, || {
        assert_eq!(database.count(scope)?, rows as u64);
        Ok(())
    })?;
    for round in ["first", "again"] {
        timed(&format!("get by id, {round}"), 200, || {
            get_by_id(&database, scope, rows, 200)
        })?;
        timed(&format!("get, section = s7, limit 10, {round}"), 1, || {
            filtered(&database, scope, equal("section", "s7"), Some(10))
        })?;
        timed(&format!("get, 100 of u < 100, {round}"), 1, || {
            filtered(&database, scope, less("u", 100), Some(100))
        })?;
        timed(&format!("get, u < half, limit 10, {round}"), 1, || {
            filtered(&database, scope, less("u", rows as i64 / 2), Some(10))
        })?;
        timed(&format!("query, exact, {round}"), 1, || {
            query(&database, scope, dimension)
        })?;
    }
    println!(
        "{:32} {:>10.1} MB",
        "resident memory after reads",
        resident_mb()
    );
    println!("{:32} {:>10.1} MB", "disk", disk_mb(folder)?);
    println!(
        "{:32} {:>10.1} MB",
        "raw vectors",
        (rows * dimension * 4) as f64 / 1e6
    );
    database.close()?;
    Ok(())
}

fn collections(folder: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let database = Database::open(Config::at(folder)?)?;
    timed("create a collection", count, || {
        for at in 0..count {
            create(&database, &format!("collection-{at}"))?;
        }
        Ok(())
    })?;
    timed("write one record to each", count, || {
        for one in
            database.collections(TENANT, DATABASE, vermilion_engine::model::Page::default())?
        {
            let scope = CollectionScope {
                tenant: TENANT,
                database: DATABASE,
                id: one.id,
            };
            database.write(scope, batch(0, 1, 8))?;
        }
        Ok(())
    })?;
    println!("{:32} {:>10.1} MB", "resident memory", resident_mb());
    database.close()?;
    drop(database);
    let started = Instant::now();
    let database = Database::open(Config::at(folder)?)?;
    println!(
        "{:32} {:>10.1} ms wall",
        "start",
        milliseconds(started.elapsed())
    );
    println!(
        "{:32} {:>10.1} MB",
        "resident memory after start",
        resident_mb()
    );
    assert_eq!(database.count_collections(TENANT, DATABASE)?, count as u64);
    database.close()?;
    Ok(())
}

fn create(database: &Database, name: &str) -> vermilion_engine::Result<CollectionId> {
    let new = NewCollection {
        tenant: TENANT.to_owned(),
        database: DATABASE.to_owned(),
        name: name.to_owned(),
        metadata: None,
        schema: Schema::default(),
        get_or_create: false,
    };
    Ok(database.create_collection(new)?.id)
}

fn batch(first: usize, rows: usize, dimension: usize) -> RecordBatch {
    let mut state = first as u64 ^ 0x5851_f42d_4c95_7f2d;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let values = (0..rows * dimension)
        .map(|_| random() as f32 / 1e9 - 1.0)
        .collect();
    let mut metadata = MetadataColumn::default();
    let (mut ids, mut documents) = (Strings::default(), OptionalStrings::default());
    for row in first..first + rows {
        ids.push(&format!("record-{row}"));
        documents.push(Some(&format!(
            "document {row} about topic {} and {}",
            random() % 97,
            row % 13
        )));
        metadata.push_row([
            ("section", Value::Str(format!("s{}", row % 50).into())),
            ("name", Value::Str(format!("name-{row}").into())),
            (
                "u",
                Value::Int((row as i64).wrapping_mul(7_919) % 1_000_003),
            ),
            ("score", Value::Float(random() as f64 / 1e9)),
            ("seen", Value::Bool(row % 3 == 0)),
        ]);
    }
    RecordBatch {
        operations: vec![Operation::Add; rows],
        ids,
        embeddings: Embeddings::new(dimension, values).expect("whole rows"),
        documents,
        uris: OptionalStrings::absent(rows),
        metadata,
    }
}

fn get_by_id(
    database: &Database,
    scope: CollectionScope<'_>,
    rows: usize,
    times: usize,
) -> Result<(), Box<dyn Error>> {
    for at in 0..times {
        let id = format!("record-{}", at * 7_919 % rows);
        let selection = RecordSelection {
            ids: Some(vec![id]),
            filter: None,
        };
        let include = Include {
            documents: true,
            metadatas: true,
            embeddings: true,
            ..Include::default()
        };
        let request = GetRequest {
            selection,
            include,
            ..GetRequest::default()
        };
        assert_eq!(database.get(scope, &request)?.ids.len(), 1);
    }
    Ok(())
}

fn filtered(
    database: &Database,
    scope: CollectionScope<'_>,
    filter: Filter,
    limit: Option<u32>,
) -> Result<(), Box<dyn Error>> {
    let selection = RecordSelection {
        ids: None,
        filter: Some(filter),
    };
    let include = Include {
        documents: true,
        metadatas: true,
        ..Include::default()
    };
    let request = GetRequest {
        selection,
        limit,
        include,
        ..GetRequest::default()
    };
    assert!(!database.get(scope, &request)?.ids.is_empty());
    Ok(())
}

fn query(
    database: &Database,
    scope: CollectionScope<'_>,
    dimension: usize,
) -> Result<(), Box<dyn Error>> {
    let request = QueryRequest {
        embeddings: Embeddings::new(dimension, vec![0.5; dimension]).expect("one row"),
        n_results: 10,
        ..QueryRequest::default()
    };
    assert_eq!(database.query(scope, &request)?.len(), 1);
    Ok(())
}

fn equal(key: &str, value: &str) -> Filter {
    let comparison = Comparison::Equal(Scalar::Str(value.to_owned()));
    Filter::Metadata {
        key: key.to_owned(),
        comparison,
    }
}

fn less(key: &str, value: i64) -> Filter {
    Filter::Metadata {
        key: key.to_owned(),
        comparison: Comparison::Less(Number::Int(value)),
    }
}

fn timed(
    what: &str,
    times: usize,
    act: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let (wall, cpu) = (Instant::now(), cpu_time());
    act()?;
    let times = times as f64;
    println!(
        "{what:32} {:>10.3} ms wall, {:>10.3} ms CPU",
        milliseconds(wall.elapsed()) / times,
        milliseconds(cpu_time().saturating_sub(cpu)) / times
    );
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// CPU time of the process, all threads.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let anonymous = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    anonymous
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(f64::NAN, |kilobytes| kilobytes / 1e3)
}

fn disk_mb(folder: &Path) -> std::io::Result<f64> {
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            disk_mb(&entry.path())?
        } else {
            meta.len() as f64 / 1e6
        };
    }
    Ok(bytes)
}
