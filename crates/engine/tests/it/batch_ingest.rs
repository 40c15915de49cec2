//! Writers that are answered before readers see what they wrote: what each read level sees, order
//! when the way is changed, batches that are read from the log again, restarts, workers in turn.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use vermilion_engine::clock::{Clock, SystemClock};
use vermilion_engine::control::{Component, ComponentState};
use vermilion_engine::model::{
    BatchIngestChange, CollectionUpdate, Consistency, Deletion, Embeddings, Filter, GetRequest,
    MetadataColumn, Operation, OptionalStrings, Page, ReadLevel, RecordBatch, RecordSelection,
    Scalar, SeqId, Value,
};
use vermilion_engine::storage::MemoryStorage;
use vermilion_engine::{Config, Database, ErrorKind, IndexingStatus};

use crate::support::{
    Choices, DATABASE, ModelCollection, TENANT, create, random_batch, read_all, small, with_scope,
};

/// What can become of a collection's way.
const WAYS: [BatchIngestChange; 3] = [
    BatchIngestChange::Follow,
    BatchIngestChange::Set(true),
    BatchIngestChange::Set(false),
];

/// A database in memory that answers writers before it indexes; without threads.
fn by_hand() -> Config {
    let mut config = small(Config::in_memory());
    config.ingest.batch_ingest = true;
    config
}

/// The same with workers.
pub(crate) fn with_workers() -> Config {
    let mut config = by_hand();
    config.upkeep.background = true;
    config
}

/// Insertions of `rows` records `tag-0`, `tag-1` and so on, with vectors of `dimension` numbers.
pub(crate) fn insertion(tag: &str, rows: usize, dimension: usize) -> RecordBatch {
    let ids: Vec<String> = (0..rows).map(|row| format!("{tag}-{row}")).collect();
    let mut metadata = MetadataColumn::default();
    for row in 0..rows {
        metadata.push_row([("row", Value::Int(row as i64))]);
    }
    RecordBatch {
        operations: vec![Operation::Upsert; rows],
        ids: ids.iter().map(String::as_str).collect(),
        embeddings: Embeddings::new(dimension, vec![1.0; rows * dimension]).expect("whole rows"),
        documents: OptionalStrings::absent(rows),
        uris: OptionalStrings::absent(rows),
        metadata,
    }
}

pub(crate) fn seeing(read_level: ReadLevel) -> Consistency {
    Consistency {
        read_level: Some(read_level),
        ..Consistency::default()
    }
}

pub(crate) fn count(database: &Database, name: &str, consistency: Consistency) -> u64 {
    with_scope(database, name, |scope| {
        database.count_seeing(scope, consistency)
    })
    .expect("counting works")
}

pub(crate) fn status(database: &Database, name: &str) -> IndexingStatus {
    with_scope(database, name, |scope| database.indexing_status(scope)).expect("it is there")
}

pub(crate) fn write(database: &Database, name: &str, batch: RecordBatch) -> SeqId {
    with_scope(database, name, |scope| database.write(scope, batch))
        .expect("the batch is valid")
        .last
}

fn set(database: &Database, name: &str, batch_ingest: BatchIngestChange) {
    let update = CollectionUpdate {
        batch_ingest,
        ..CollectionUpdate::default()
    };
    with_scope(database, name, |scope| {
        database.update_collection(scope, update)
    })
    .expect("it can be changed");
}

#[test]
fn a_write_is_answered_before_it_is_indexed_and_each_level_says_what_it_sees() {
    let database = Database::open(by_hand()).unwrap();
    create(&database, "records").unwrap();
    for batch in 0..15 {
        let last = write(
            &database,
            "records",
            insertion(&format!("b{batch}"), 1000, 2),
        );
        assert_eq!(last, SeqId(1000 * (batch + 1)));
    }
    assert_eq!(count(&database, "records", Consistency::default()), 0);
    assert_eq!(count(&database, "records", seeing(ReadLevel::IndexOnly)), 0);
    let behind = status(&database, "records");
    assert_eq!(
        (behind.total_operations, behind.indexed_operations),
        (15_000, 0)
    );
    // A bounded part of the log: the next ten thousand operations.
    let bounded = seeing(ReadLevel::IndexAndBoundedWal);
    assert_eq!(count(&database, "records", bounded), 10_000);
    let named = Consistency {
        min_seq: Some(SeqId(11_500)),
        ..Consistency::default()
    };
    assert_eq!(count(&database, "records", named), 12_000);
    assert_eq!(
        count(&database, "records", seeing(ReadLevel::IndexAndWal)),
        15_000
    );
    let done = status(&database, "records");
    assert_eq!(
        (done.total_operations, done.indexed_operations),
        (15_000, 15_000)
    );
    let statistics = database.statistics();
    assert_eq!(
        (statistics.waiting_bytes, statistics.waiting_bytes_kept),
        (0, 0)
    );
}

#[test]
fn a_read_that_names_what_nobody_wrote_is_told_so_in_time() {
    let database = Database::open(with_workers()).unwrap();
    create(&database, "records").unwrap();
    write(&database, "records", insertion("a", 3, 2));
    let named = Consistency {
        min_seq: Some(SeqId(9)),
        wait_max: Some(Duration::from_millis(50)),
        ..Consistency::default()
    };
    let counted = with_scope(&database, "records", |scope| {
        database.count_seeing(scope, named)
    });
    let error = counted.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(
        error
            .message()
            .contains("SeqId 9 was not visible within 50 ms"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_is_refused_before_it_is_logged_also_against_batches_not_indexed() {
    let database = Database::open(by_hand()).unwrap();
    create(&database, "records").unwrap();
    write(&database, "records", insertion("a", 2, 4));
    let refused = with_scope(&database, "records", |scope| {
        database.write(scope, insertion("b", 2, 5))
    });
    let error = refused.unwrap_err();
    assert_eq!(
        error.message(),
        "Collection expecting embedding with dimension of 4, got 5"
    );
    assert_eq!(status(&database, "records").total_operations, 2);
    assert_eq!(
        count(&database, "records", seeing(ReadLevel::IndexAndWal)),
        2
    );
}

#[test]
fn a_collection_has_its_own_way_which_new_metadata_leaves_alone() {
    let database = Database::open(small(Config::in_memory())).unwrap();
    create(&database, "records").unwrap();
    write(&database, "records", insertion("a", 1, 2));
    assert_eq!(count(&database, "records", seeing(ReadLevel::IndexOnly)), 1);
    set(&database, "records", BatchIngestChange::Set(true));
    write(&database, "records", insertion("b", 1, 2));
    assert_eq!(count(&database, "records", seeing(ReadLevel::IndexOnly)), 1);
    let metadata = serde_json::Map::from_iter([("k".to_owned(), 1.into())]);
    let update = CollectionUpdate {
        metadata: Some(metadata),
        ..CollectionUpdate::default()
    };
    with_scope(&database, "records", |scope| {
        database.update_collection(scope, update)
    })
    .unwrap();
    let told = database.collection(TENANT, DATABASE, "records").unwrap();
    assert_eq!(told.batch_ingest(), Some(true));
    assert_eq!(told.metadata.unwrap()["k"], 1);
    write(&database, "records", insertion("c", 1, 2));
    assert_eq!(count(&database, "records", Consistency::default()), 1);
    set(&database, "records", BatchIngestChange::Follow);
    let told = database.collection(TENANT, DATABASE, "records").unwrap();
    assert_eq!(told.batch_ingest(), None);
    // A writer that waits until its batch is visible finds the others applied before it.
    write(&database, "records", insertion("d", 1, 2));
    assert_eq!(count(&database, "records", seeing(ReadLevel::IndexOnly)), 4);
}

#[test]
fn deletions_mean_everything_that_was_acknowledged() {
    let database = Database::open(by_hand()).unwrap();
    create(&database, "records").unwrap();
    write(&database, "records", insertion("a", 6, 2));
    let by_ids = Deletion {
        selection: RecordSelection {
            ids: Some(vec![
                "a-0".to_owned(),
                "a-1".to_owned(),
                "nobody".to_owned(),
                String::new(),
            ]),
            filter: None,
        },
        limit: None,
        tell_ids: false,
    };
    let deleted = with_scope(&database, "records", |scope| {
        database.delete(scope, &by_ids)
    })
    .unwrap();
    assert_eq!(deleted.seqs.unwrap().first, SeqId(7));
    assert_eq!(count(&database, "records", seeing(ReadLevel::IndexOnly)), 0);
    let by_filter = Deletion {
        selection: RecordSelection {
            ids: None,
            filter: Some(Filter::Metadata {
                key: "row".to_owned(),
                comparison: vermilion_engine::model::Comparison::Equal(Scalar::Int(2)),
            }),
        },
        limit: None,
        tell_ids: false,
    };
    let deleted = with_scope(&database, "records", |scope| {
        database.delete(scope, &by_filter)
    })
    .unwrap();
    assert_eq!(deleted.count, 1);
    let left = read_all(&database, "records").unwrap();
    let ids: Vec<_> = left
        .records
        .iter()
        .map(|record| record.id.as_str())
        .collect();
    assert_eq!(ids, ["a-3", "a-4", "a-5"]);
}

/// Random batches on a few collections while the way of each changes, against the model.
fn random_ways(mut config: Config, seed: u64) {
    let storage = Arc::new(MemoryStorage::default());
    config.storage = storage;
    config.ingest.kept_bytes = [0, 4 << 10, 1 << 30][seed as usize % 3];
    let database = Database::open(config).unwrap();
    let mut choices = Choices(seed);
    let mut models = vec![ModelCollection::default(); 3];
    for number in 0..3 {
        create(&database, &format!("col{number}")).unwrap();
    }
    for step in 0..200 {
        let at = choices.below(3);
        let name = format!("col{at}");
        match choices.below(12) {
            0 => set(&database, &name, WAYS[choices.below(3)]),
            1 => drop(database.upkeep().unwrap()),
            2 => assert_eq!(
                read_all(&database, &name).unwrap(),
                models[at],
                "step {step}"
            ),
            _ => {
                let batch = random_batch(&mut choices, 40, 20);
                models[at].apply(&batch);
                write(&database, &name, batch);
            }
        }
    }
    for (at, model) in models.iter().enumerate() {
        let found = read_all(&database, &format!("col{at}")).unwrap();
        assert_eq!(&found, model, "seed {seed}, collection {at}");
        let done = status(&database, &format!("col{at}"));
        assert_eq!(done.total_operations, done.indexed_operations);
    }
    let statistics = database.statistics();
    assert_eq!((statistics.waiting_bytes, statistics.waiting_spans), (0, 0));
    if seed.is_multiple_of(3) {
        assert!(
            statistics.batches_read_again > 0,
            "nothing was kept, so all is read again"
        );
    }
}

#[test]
fn order_is_kept_whatever_way_a_collection_has_and_wherever_its_batches_are() {
    for seed in 0..12 {
        random_ways(by_hand(), seed);
    }
}

#[test]
fn workers_keep_the_order_of_every_collection() {
    for seed in 0..12 {
        random_ways(with_workers(), seed);
    }
}

#[test]
fn a_start_leaves_most_of_a_long_log_for_later_and_applies_it_once() {
    let storage = Arc::new(MemoryStorage::default());
    let image = Arc::new(std::sync::Mutex::new(None));
    let open = || {
        let mut config = by_hand();
        config.storage = storage.clone();
        config.upkeep.memory_bytes = 4 << 10;
        let kept = image.clone();
        config.catalog = vermilion_engine::catalog::CatalogLocation::Memory {
            image: image.lock().unwrap().clone(),
            on_commit: Some(Arc::new(move |bytes| {
                *kept.lock().unwrap() = Some(Arc::new(bytes));
            })),
        };
        Database::open(config).unwrap()
    };
    let mut choices = Choices(3);
    let mut model = ModelCollection::default();
    let database = open();
    create(&database, "records").unwrap();
    for _ in 0..120 {
        let batch = random_batch(&mut choices, 50, 20);
        model.apply(&batch);
        write(&database, "records", batch);
    }
    let total = status(&database, "records").total_operations;
    database.close().unwrap();
    drop(database);
    let database = open();
    let behind = status(&database, "records");
    assert_eq!(behind.total_operations, total);
    assert!(
        behind.indexed_operations > 0 && behind.indexed_operations < total / 2,
        "{behind:?}"
    );
    // What is written now comes after what was left, and is checked against it.
    let refused = with_scope(&database, "records", |scope| {
        database.write(scope, insertion("x", 1, 77))
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let batch = random_batch(&mut choices, 50, 20);
    model.apply(&batch);
    write(&database, "records", batch);
    assert_eq!(read_all(&database, "records").unwrap(), model);
    drop(database);
    // And once more, with a part of it in segments.
    let database = open();
    assert_eq!(read_all(&database, "records").unwrap(), model);
    assert_eq!(
        database
            .collections(TENANT, DATABASE, Page::default())
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_small_collection_waits_for_a_slice_of_a_large_one_and_no_longer() {
    let mut config = with_workers();
    config.ingest.workers = 1;
    config.upkeep.seal_rows = 1 << 30;
    let database = Database::open(config).unwrap();
    create(&database, "large").unwrap();
    create(&database, "small").unwrap();
    database.pause(Component::Indexing);
    assert_eq!(
        database.component(Component::Indexing).state,
        ComponentState::Paused
    );
    for batch in 0..60 {
        write(
            &database,
            "large",
            insertion(&format!("b{batch}"), 1000, 256),
        );
    }
    let last = write(&database, "small", insertion("s", 1, 256));
    assert_eq!(count(&database, "small", Consistency::default()), 0);
    assert_eq!(database.statistics().waiting_collections, 2);
    database.resume(Component::Indexing);
    let named = Consistency {
        min_seq: Some(last),
        ..Consistency::default()
    };
    assert_eq!(count(&database, "small", named), 1);
    let large = status(&database, "large");
    assert!(
        large.indexed_operations < large.total_operations,
        "the large collection was indexed first: {large:?}"
    );
    assert_eq!(
        count(&database, "large", seeing(ReadLevel::IndexAndWal)),
        60_000
    );
}

#[test]
fn reads_of_the_index_alone_are_answered_while_indexing_is_paused() {
    let database = Database::open(with_workers()).unwrap();
    create(&database, "records").unwrap();
    database.pause(Component::Indexing);
    write(&database, "records", insertion("a", 5, 2));
    let got = with_scope(&database, "records", |scope| {
        database.get(scope, &GetRequest::default())
    });
    assert_eq!(got.unwrap().ids.len(), 0);
    let wait = Consistency {
        wait_max: Some(Duration::from_millis(20)),
        ..seeing(ReadLevel::IndexAndWal)
    };
    let late = with_scope(&database, "records", |scope| {
        database.count_seeing(scope, wait)
    });
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Busy);
    database.resume(Component::Indexing);
    assert_eq!(
        count(&database, "records", seeing(ReadLevel::IndexAndWal)),
        5
    );
}

#[test]
fn the_first_write_after_a_start_is_seen_as_soon_as_any_other() {
    let database = Database::open(with_workers()).unwrap();
    create(&database, "records").unwrap();
    let clock = SystemClock::new();
    let begun = clock.monotonic();
    write(&database, "records", insertion("a", 1, 3));
    while count(&database, "records", seeing(ReadLevel::IndexOnly)) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = clock.monotonic().saturating_sub(begun);
    assert!(took < Duration::from_millis(600), "{took:?}");
}
