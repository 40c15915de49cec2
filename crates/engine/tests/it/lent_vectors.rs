//! Vectors of large batches stay in the log until they are sealed: what is read is what was written, and damage of the
//! log does not get into a segment.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use vermilion_engine::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, RecordBatch, Value,
};
use vermilion_engine::{Config, Database, ErrorKind};

use crate::support::{ModelCollection, create, on_disk, read_all, with_scope};

const ROWS: usize = 300;
const DIMENSION: usize = 300;

struct World {
    folder: tempfile::TempDir,
    database: Database,
    model: ModelCollection,
}

impl World {
    fn new(batch_ingest: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = open(folder.path(), batch_ingest);
        create(&database, "records").unwrap();
        Self {
            folder,
            database,
            model: ModelCollection::default(),
        }
    }

    /// Writes records `from` and on; the length of their ids depends on `from`.
    fn write(&mut self, operation: Operation, from: usize, seed: f32) {
        let batch = batch(operation, from, seed);
        self.model.apply(&batch);
        with_scope(&self.database, "records", |scope| {
            self.database.write(scope, batch)
        })
        .unwrap();
    }

    /// Opens the folder again after `harm` was done to it.
    fn reopen_after(mut self, batch_ingest: bool, harm: impl FnOnce(&Path)) -> Self {
        self.database.close().unwrap();
        drop(self.database);
        harm(self.folder.path());
        self.database = open(self.folder.path(), batch_ingest);
        self
    }

    #[track_caller]
    fn check(&self) {
        assert!(read_all(&self.database, "records").unwrap() == self.model);
    }
}

fn open(folder: &Path, batch_ingest: bool) -> Database {
    let mut config = on_disk(folder);
    config.upkeep.log_bytes = 1 << 30;
    config.ingest.batch_ingest = batch_ingest;
    Database::open(config).unwrap()
}

fn batch(operation: Operation, from: usize, seed: f32) -> RecordBatch {
    let ids = (from..from + ROWS).map(|row| format!("{row}{}", "x".repeat(from % 4)));
    let ids: Vec<String> = ids.collect();
    let values = (0..ROWS * DIMENSION).map(|at| seed + at as f32);
    let mut metadata = MetadataColumn::default();
    (0..ROWS).for_each(|row| metadata.push_row([("n", Value::Int(row as i64))]));
    RecordBatch {
        operations: vec![operation; ROWS],
        ids: ids.iter().map(String::as_str).collect(),
        embeddings: Embeddings::new(DIMENSION, values.collect()).unwrap(),
        documents: ids.iter().map(|id| Some(id.as_str())).collect(),
        uris: OptionalStrings::absent(ROWS),
        metadata,
    }
}

/// Changes a byte of every number `value` in the log, where it stands; how many there were.
fn harm(folder: &Path, value: f32) -> usize {
    let mut harmed = 0;
    for file in std::fs::read_dir(folder.join("log")).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        for at in memchr::memmem::find_iter(&bytes, &value.to_le_bytes()) {
            file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
            harmed += 1;
        }
    }
    harmed
}

/// What vectors were received in, with other bytes around them.
struct Body {
    bytes: Vec<u8>,
    _watched: Arc<()>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[test]
fn what_vectors_were_received_in_goes_once_they_are_applied() {
    let folder = tempfile::tempdir().unwrap();
    for (database, batch_ingest) in [
        (open(folder.path(), false), false),
        (open(&folder.path().join("later"), true), true),
        (Database::open(Config::in_memory()).unwrap(), false),
    ] {
        create(&database, "records").unwrap();
        let mut model = ModelCollection::default();
        // Enough for a mapping, and too few for one.
        for (rows, from) in [(ROWS, 0), (10, ROWS)] {
            let mut batch = batch(Operation::Add, from, 0.5).rows(0..rows);
            model.apply(&batch);
            let numbers = batch.embeddings.values();
            let bytes = [&[7; 64], bytemuck::cast_slice(numbers), &[7; 100]].concat();
            let watched = Arc::new(());
            let body = Bytes::from_owner(Body {
                bytes,
                _watched: watched.clone(),
            });
            let (vectors, held) = (body.slice(64..body.len() - 100), body.len());
            drop(body);
            batch.embeddings = Embeddings::received(DIMENSION, vectors, held).unwrap();
            with_scope(&database, "records", |scope| database.write(scope, batch)).unwrap();
            // Reading waits until all is applied.
            assert!(read_all(&database, "records").unwrap() == model);
            let mut waited = 0;
            while Arc::strong_count(&watched) > 1 && waited < 1000 {
                std::thread::sleep(std::time::Duration::from_millis(5));
                waited += 1;
            }
            assert_eq!(
                Arc::strong_count(&watched),
                1,
                "batch_ingest {batch_ingest}"
            );
        }
    }
}

#[test]
fn vectors_are_received_in_whole_rows_of_aligned_numbers() {
    let bytes = Bytes::from_owner(
        [0_u32; 12]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect::<Vec<u8>>(),
    );
    let rows =
        |dimension, bytes: Bytes| Embeddings::received(dimension, bytes, 48).map(|e| e.len());
    let from = bytes.as_ptr().align_offset(4);
    let aligned = bytes.slice(from..from + 40);
    assert_eq!(rows(5, aligned.clone()), Some(2));
    assert_eq!(rows(4, aligned.clone()), None);
    assert_eq!(rows(5, aligned.slice(..39)), None);
    assert_eq!(rows(5, bytes.slice(from + 1..from + 41)), None);
    let received = Embeddings::received(5, aligned, 48).unwrap();
    assert_eq!(received, Embeddings::new(5, vec![0.0; 10]).unwrap());
    assert_eq!(received.heap_bytes(), 48);
    assert_eq!(received.into_values(), [0.0; 10]);
}

#[test]
fn records_of_large_batches_are_those_that_were_written_before_and_after_a_seal_and_a_start() {
    for batch_ingest in [false, true] {
        let mut world = World::new(batch_ingest);
        // Batches of ids of each length, so that vectors begin anywhere in the log but for the padding.
        for part in 0..5 {
            world.write(Operation::Add, part * (ROWS + 1), part as f32 + 0.5);
        }
        world.check();
        // Some are written again while others look at the log.
        world.write(Operation::Upsert, ROWS + 1, -7.25);
        world.write(Operation::Upsert, 7, 9.75);
        world.check();
        let mut world = world.reopen_after(batch_ingest, |_| ());
        world.check();
        world.database.seal_all().unwrap();
        world.check();
        world.write(Operation::Upsert, 0, 1.25);
        world.check();
        world.database.seal_all().unwrap();
        world.check();
    }
}

#[test]
fn damage_of_the_log_ends_the_collection_when_it_is_to_be_sealed_and_no_other() {
    let mut world = World::new(false);
    create(&world.database, "others").unwrap();
    let mark = 777_777.5_f32;
    world.write(Operation::Add, 0, mark);
    world.check();
    assert_eq!(
        harm(world.folder.path(), mark),
        1,
        "the number is found once"
    );
    let error = world.database.seal_all().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    assert!(error.message().contains("log/"), "{error}");
    let count = |name: &str| with_scope(&world.database, name, |scope| world.database.count(scope));
    assert_eq!(count("records").unwrap_err().kind(), ErrorKind::Corrupted);
    with_scope(&world.database, "others", |scope| {
        world.database.write(scope, batch(Operation::Add, 0, 0.0))
    })
    .unwrap();
    world.database.seal_all().unwrap();
    assert_eq!(count("others").unwrap(), ROWS as u64);
    // What was damaged is put back, and all is there again.
    let damaged = f32::from_bits(mark.to_bits() ^ 1);
    let world = world.reopen_after(false, |folder| {
        assert_eq!(harm(folder, damaged), 1);
    });
    world.check();
    world.database.seal_all().unwrap();
    world.check();
}

#[test]
fn damage_of_the_log_does_not_get_into_chunks_that_are_joined() {
    let mut world = World::new(false);
    let mark = 777_777.5_f32;
    world.write(Operation::Add, 0, mark);
    assert_eq!(harm(world.folder.path(), mark), 1);
    let mut failed = None;
    for part in 1..20 {
        let batch = batch(Operation::Add, part * ROWS, part as f32);
        let written = with_scope(&world.database, "records", |scope| {
            world.database.write(scope, batch)
        });
        failed = written.err();
        if failed.is_some() {
            break;
        }
    }
    let error = failed.expect("chunks of so many rows are joined after some");
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    assert!(error.message().contains("log/"), "{error}");
}
