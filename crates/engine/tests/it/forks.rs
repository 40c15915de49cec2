//! Forks: the same records at once, independent from then on, sharing files as long as anybody
//! needs them.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use vermilion_engine::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, RecordBatch, SeqId,
};
use vermilion_engine::storage::{MemoryStorage, Storage};
use vermilion_engine::{Config, Database, ErrorKind};

use crate::support::{
    Choices, DATABASE, TENANT, create, fork, random_batch, read_all, small, with_scope,
};

struct World {
    storage: Arc<MemoryStorage>,
    database: Database,
    choices: Choices,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let storage = Arc::new(MemoryStorage::default());
        let mut config = small(Config::with_storage(storage.clone()));
        change(&mut config);
        let database = Database::open(config).unwrap();
        create(&database, "source").unwrap();
        Self {
            storage,
            database,
            choices: Choices(11),
        }
    }

    fn write(&mut self, name: &str) -> RecordBatch {
        let batch = random_batch(&mut self.choices, 60, 20);
        write(&self.database, name, batch.clone());
        batch
    }

    fn delete(&self, name: &str) {
        self.database
            .delete_collection(TENANT, DATABASE, name)
            .unwrap();
    }

    /// The folders of segments.
    fn folders(&self) -> Vec<String> {
        let mut found = Vec::new();
        for collection in self.storage.list("segments").unwrap() {
            let folder = format!("segments/{}", collection.name);
            let inside = self.storage.list(&folder).unwrap();
            found.extend(inside.iter().map(|one| format!("{folder}/{}", one.name)));
        }
        found
    }
}

fn write(database: &Database, name: &str, batch: RecordBatch) -> SeqId {
    with_scope(database, name, |scope| database.write(scope, batch))
        .unwrap()
        .last
}

/// Adds `rows` records, with numbers from `first` on.
fn insertion(first: usize, rows: usize) -> RecordBatch {
    let ids: Vec<String> = (first..first + rows).map(|n| format!("n{n}")).collect();
    let mut metadata = MetadataColumn::default();
    ids.iter().for_each(|_| metadata.finish_row());
    RecordBatch {
        operations: vec![Operation::Add; rows],
        ids: ids.iter().map(String::as_str).collect(),
        embeddings: Embeddings::new(3, vec![1.0; rows * 3]).unwrap(),
        documents: OptionalStrings::absent(rows),
        uris: OptionalStrings::absent(rows),
        metadata,
    }
}

#[test]
fn a_fork_copies_no_file_and_each_side_goes_its_own_way() {
    let mut world = World::new();
    for _ in 0..5 {
        world.write("source");
    }
    world.database.seal_all().unwrap();
    world.write("source");
    fork(&world.database, "source", "fork").unwrap();
    let shared = world.folders();
    assert_eq!(shared.len(), 2, "what was in memory was sealed: {shared:?}");
    let before = read_all(&world.database, "source").unwrap();
    assert_eq!(read_all(&world.database, "fork").unwrap(), before);
    let (mut source, mut forked) = (before.clone(), before);
    for _ in 0..6 {
        source.apply(&world.write("source"));
        forked.apply(&world.write("fork"));
    }
    for _ in 0..2 {
        assert_eq!(read_all(&world.database, "source").unwrap(), source);
        assert_eq!(read_all(&world.database, "fork").unwrap(), forked);
        world.database.seal_all().unwrap();
        while world.database.upkeep().unwrap() {}
    }
}

#[test]
fn files_go_when_the_last_collection_that_names_them_lets_them_go() {
    for order in [
        ["source", "fork", "grandchild"],
        ["grandchild", "fork", "source"],
        ["fork", "source", "grandchild"],
        ["source", "grandchild", "fork"],
    ] {
        let mut world = World::new();
        world.write("source");
        world.database.seal_all().unwrap();
        fork(&world.database, "source", "fork").unwrap();
        world.write("fork");
        fork(&world.database, "fork", "grandchild").unwrap();
        assert_eq!(
            world.folders().len(),
            2,
            "one of the source, one of the fork"
        );
        let count = |name: &str| {
            with_scope(&world.database, name, |scope| {
                world.database.fork_count(scope)
            })
            .unwrap()
        };
        assert_eq!(
            (count("source"), count("fork"), count("grandchild")),
            (2, 2, 2)
        );
        let expected = read_all(&world.database, order[2]).unwrap();
        world.delete(order[0]);
        world.delete(order[1]);
        assert_eq!(
            read_all(&world.database, order[2]).unwrap(),
            expected,
            "{order:?}"
        );
        let left = if order[2] == "source" { 1 } else { 2 };
        assert_eq!(world.folders().len(), left, "{order:?}");
        let last = u64::from(order[2] != "source");
        assert_eq!(count(order[2]), last, "{order:?}");
        world.delete(order[2]);
        assert!(
            world.storage.list("segments").unwrap().is_empty(),
            "{order:?}"
        );
    }
}

#[test]
fn a_merge_on_one_side_leaves_the_files_to_the_other() {
    let world = World::new();
    for part in 0..3 {
        write(&world.database, "source", insertion(part * 10, 10));
        world.database.seal_all().unwrap();
    }
    fork(&world.database, "source", "fork").unwrap();
    let shared = world.folders();
    let expected = read_all(&world.database, "source").unwrap();
    // The fork is not loaded yet, so only the source merges.
    while world.database.upkeep().unwrap() {}
    let folders = world.folders();
    assert_eq!(folders.len(), 4, "three old ones and the merged one");
    assert!(shared.iter().all(|one| folders.contains(one)));
    for name in ["fork", "source"] {
        assert_eq!(read_all(&world.database, name).unwrap(), expected, "{name}");
    }
    while world.database.upkeep().unwrap() {}
    assert_eq!(
        world.folders().len(),
        2,
        "each side has merged them for itself"
    );
    for name in ["fork", "source"] {
        assert_eq!(read_all(&world.database, name).unwrap(), expected, "{name}");
    }
}

#[test]
fn a_fork_has_what_was_acknowledged_and_not_indexed_yet() {
    let mut world = World::with(|config| config.ingest.batch_ingest = true);
    let mut expected = read_all(&world.database, "source").unwrap();
    for _ in 0..8 {
        expected.apply(&world.write("source"));
    }
    fork(&world.database, "source", "fork").unwrap();
    assert_eq!(read_all(&world.database, "fork").unwrap(), expected);
}

#[test]
fn forks_beside_a_writer_hold_whole_batches_and_all_that_was_acknowledged() {
    let world = World::new();
    let stop = AtomicBool::new(false);
    let acknowledged = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                write(&world.database, "source", insertion(number, 1));
                acknowledged.store(number + 1, Ordering::SeqCst);
            }
        });
        for round in 0..20 {
            let before = acknowledged.load(Ordering::SeqCst);
            let name = format!("fork{round}");
            fork(&world.database, "source", &name).unwrap();
            let found = read_all(&world.database, &name).unwrap().records;
            assert!(found.len() >= before, "{} of {before}", found.len());
            for (number, record) in found.iter().enumerate() {
                assert_eq!(record.id, format!("n{number}"), "they are the first ones");
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn seq_ids_of_a_fork_go_on_and_a_name_that_is_taken_is_refused() {
    let mut world = World::new();
    let sent = world.write("source").len() as u64;
    fork(&world.database, "source", "fork").unwrap();
    let error = fork(&world.database, "source", "fork").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let batch = random_batch(&mut world.choices, 9, 4);
    let rows = batch.len() as u64;
    assert_eq!(write(&world.database, "fork", batch), SeqId(sent + rows));
    let told = world.database.collection(TENANT, DATABASE, "fork").unwrap();
    let source = world
        .database
        .collection(TENANT, DATABASE, "source")
        .unwrap();
    assert_eq!(told.log_position, SeqId(sent));
    assert_eq!(told.root(), source.id);
    assert_eq!(told.origins.len(), 1);
}
