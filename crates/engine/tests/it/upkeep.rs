//! What upkeep makes of records that come fast: segments without an index at first, so that memory
//! is free again soon, and their index once it is quiet or somebody searches.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use vermilion_engine::clock::ManualClock;
use vermilion_engine::model::{
    Embeddings, Include, MetadataColumn, Operation, OptionalStrings, QueryRequest, RecordBatch,
    RecordSelection,
};
use vermilion_engine::storage::{MemoryStorage, Storage};
use vermilion_engine::{Config, Database};

use crate::support::{Choices, create, everything_acknowledged, read_all, small, with_scope};

const DIMENSION: usize = 16;

struct World {
    storage: Arc<MemoryStorage>,
    clock: Arc<ManualClock>,
    database: Database,
    choices: Choices,
}

impl World {
    fn new() -> Self {
        let storage = Arc::new(MemoryStorage::default());
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_secs(1000));
        let mut config = small(Config::with_storage(storage.clone()));
        config.clock = clock.clone();
        config.upkeep.seal_rows = 1500;
        config.upkeep.log_bytes = 64 << 20;
        config.upkeep.merge_fan_out = 100;
        let database = Database::open(config).unwrap();
        create(&database, "records").unwrap();
        Self {
            storage,
            clock,
            database,
            choices: Choices(3),
        }
    }

    fn write(&mut self, tag: &str, rows: usize) {
        let numbers = (0..rows * DIMENSION).map(|_| self.choices.below(1000) as f32);
        let ids: Vec<String> = (0..rows).map(|row| format!("{tag}-{row}")).collect();
        let mut metadata = MetadataColumn::default();
        (0..rows).for_each(|_| metadata.finish_row());
        let batch = RecordBatch {
            operations: vec![Operation::Add; rows],
            ids: ids.iter().map(String::as_str).collect(),
            embeddings: Embeddings::new(DIMENSION, numbers.collect()).unwrap(),
            documents: OptionalStrings::absent(rows),
            uris: OptionalStrings::absent(rows),
            metadata,
        };
        with_scope(&self.database, "records", |scope| {
            self.database.write(scope, batch)
        })
        .unwrap();
    }

    fn upkeep(&self) {
        while self.database.upkeep().unwrap() {}
    }

    /// How many segments there are, and how many of them have an index.
    fn segments(&self) -> (usize, usize) {
        let (mut all, mut indexed) = (0, 0);
        for collection in self.storage.list("segments").unwrap() {
            let folder = format!("segments/{}", collection.name);
            for segment in self.storage.list(&folder).unwrap() {
                let index = format!("{folder}/{}/vectors.index", segment.name);
                all += 1;
                indexed += usize::from(self.storage.exists(&index).unwrap());
            }
        }
        (all, indexed)
    }

    fn search(&self) -> Vec<String> {
        let request = QueryRequest {
            embeddings: Embeddings::new(DIMENSION, vec![500.0; DIMENSION]).unwrap(),
            n_results: 5,
            selection: RecordSelection::default(),
            include: Include::default(),
            recall: None,
            consistency: everything_acknowledged(),
        };
        let found = with_scope(&self.database, "records", |scope| {
            self.database.query(scope, &request)
        });
        found.unwrap()[0]
            .records
            .ids
            .iter()
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn records_that_come_fast_are_indexed_by_one_merge_once_it_is_quiet() {
    let mut world = World::new();
    for part in 0..4 {
        world.write(&format!("p{part}"), 2000);
        world.clock.advance(Duration::from_millis(50));
        world.upkeep();
        assert_eq!(world.segments(), (part + 1, 0), "no index while they come");
    }
    let before = read_all(&world.database, "records").unwrap();
    world.clock.advance(Duration::from_millis(500));
    world.upkeep();
    assert_eq!(world.segments(), (4, 0), "half a second is not quiet yet");
    world.clock.advance(Duration::from_millis(600));
    world.upkeep();
    assert_eq!(world.segments(), (1, 1));
    assert_eq!(read_all(&world.database, "records").unwrap(), before);
    world.clock.advance(Duration::from_mins(1));
    assert!(!world.database.upkeep().unwrap(), "nothing is left to do");
}

#[test]
fn records_that_come_slowly_are_sealed_with_their_index() {
    let mut world = World::new();
    world.write("early", 1000);
    world.clock.advance(Duration::from_millis(900));
    world.write("late", 1000);
    world.upkeep();
    assert_eq!(world.segments(), (1, 1));
}

#[test]
fn a_search_has_records_indexed_that_came_fast_and_finds_the_same() {
    let mut world = World::new();
    world.write("a", 2000);
    world.upkeep();
    assert_eq!(world.segments(), (1, 0));
    let found = world.search();
    world.upkeep();
    assert_eq!(world.segments(), (1, 1), "it did not wait for quiet");
    assert_eq!(world.search(), found);
}

#[test]
fn merges_of_the_same_segments_at_once_make_no_record_twice() {
    for round in 0..5 {
        let mut world = World::new();
        for part in 0..4 {
            world.write(&format!("{round}-{part}"), 2000);
            world.upkeep();
        }
        let before = read_all(&world.database, "records").unwrap();
        world.clock.advance(Duration::from_secs(2));
        let together = std::sync::Barrier::new(4);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    together.wait();
                    world.upkeep();
                });
            }
        });
        assert_eq!(world.segments(), (1, 1), "the same rows are in one segment");
        assert_eq!(read_all(&world.database, "records").unwrap(), before);
    }
}

#[test]
fn small_collections_that_nobody_writes_to_are_sealed_one_a_round_the_longest_idle_first() {
    let world = World::new();
    for name in ["first", "second"] {
        create(&world.database, name).unwrap();
        add_one(&world.database, name, "a");
        world.clock.advance(Duration::from_secs(1));
    }
    let state = |name: &str| {
        let status = with_scope(&world.database, name, |scope| {
            world.database.indexing_status(scope)
        });
        let status = status.unwrap();
        assert_eq!(status.indexed_operations, status.total_operations, "{name}");
        let told = world
            .database
            .collection("default_tenant", "default_database", name);
        let told = told.unwrap();
        assert_eq!(told.log_position.0, status.sealed_operations, "{name}");
        (told.version, status.sealed_operations)
    };
    assert!(!world.database.upkeep().unwrap(), "nothing is idle yet");
    assert_eq!((state("first"), state("second")), ((0, 0), (0, 0)));
    world.clock.advance(Duration::from_mins(1));
    assert!(world.database.upkeep().unwrap());
    assert_eq!((state("first"), state("second")), ((1, 1), (0, 0)));
    assert!(world.database.upkeep().unwrap());
    assert_eq!((state("first"), state("second")), ((1, 1), (1, 1)));
    assert!(!world.database.upkeep().unwrap(), "nothing is left to do");

    // A deletion leaves nothing in memory, and yet is something that no segment holds.
    let gone = RecordBatch::deletion(["a"].into_iter().collect());
    with_scope(&world.database, "first", |scope| {
        world.database.write(scope, gone)
    })
    .unwrap();
    world.clock.advance(Duration::from_mins(1));
    world.upkeep();
    let (version, sealed) = state("first");
    assert!(version >= 2);
    assert_eq!(sealed, 2);
}

fn add_one(database: &Database, name: &str, id: &str) {
    let mut metadata = MetadataColumn::default();
    metadata.finish_row();
    let batch = RecordBatch {
        operations: vec![Operation::Add],
        ids: [id].into_iter().collect(),
        embeddings: Embeddings::new(2, vec![1.0, 2.0]).unwrap(),
        documents: OptionalStrings::absent(1),
        uris: OptionalStrings::absent(1),
        metadata,
    };
    with_scope(database, name, |scope| database.write(scope, batch)).unwrap();
}
