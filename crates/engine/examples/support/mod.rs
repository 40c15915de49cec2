//! What the programs that measure share: reading `.npy` files, processor time, and a database with
//! one collection.
//!
//! What must stay true: a file that cannot be read stops the program and says which it was.

use vermilion_engine::model::{Collection, CollectionScope, NewCollection, RecordBatch, Schema};
use vermilion_engine::{Config, Database};

/// A database in memory with one collection of `batches`, which is as merged as it gets.
pub(crate) fn fill(
    schema: Schema,
    batches: impl Iterator<Item = RecordBatch>,
) -> (Database, Collection) {
    let database = Database::open(Config::in_memory()).expect("memory opens");
    let new = NewCollection {
        tenant: "default_tenant".to_owned(),
        database: "default_database".to_owned(),
        name: "measured".to_owned(),
        metadata: None,
        schema,
        get_or_create: false,
    };
    let made = database.create_collection(new).expect("a new collection");
    for batch in batches {
        let written = database.write(scope_of(&made), batch);
        written.expect("the batch is sound");
    }
    database.seal_all().expect("memory takes segments");
    while database.upkeep().expect("memory takes segments") {}
    (database, made)
}

/// Where `collection` is.
pub(crate) fn scope_of(collection: &Collection) -> CollectionScope<'_> {
    CollectionScope {
        tenant: &collection.tenant,
        database: &collection.database,
        id: collection.id,
    }
}

/// Seconds this thread has been running, which other work on the machine does not change.
pub(crate) fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A `.npy` file of two dimensions: its columns, and the bytes of its numbers.
pub(crate) fn table(path: &str) -> (usize, Vec<u8>) {
    let file = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let head = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    let text = String::from_utf8_lossy(&file[10..head]).into_owned();
    let shape = text.split("'shape': (").nth(1).expect("a shape");
    let columns = shape.split([',', ')']).nth(1).expect("two dimensions");
    let columns = columns.trim().parse().expect("a number of columns");
    (columns, file[head..].to_vec())
}

/// A `.npy` file of `float32`: its columns, and its numbers.
pub(crate) fn floats(path: &str) -> (usize, Vec<f32>) {
    let (columns, bytes) = table(path);
    let numbers = bytes.as_chunks::<4>().0.iter();
    (
        columns,
        numbers.map(|&four| f32::from_le_bytes(four)).collect(),
    )
}

/// A `.npy` file of `int64` row numbers: the first `count` of each of its rows.
pub(crate) fn nearest_rows(path: &str, count: usize) -> Vec<Vec<u32>> {
    let (columns, bytes) = table(path);
    let rows = bytes.as_chunks::<8>().0.chunks(columns);
    rows.map(|row| {
        let first = row[..count].iter();
        first
            .map(|&eight| i64::from_le_bytes(eight) as u32)
            .collect()
    })
    .collect()
}
