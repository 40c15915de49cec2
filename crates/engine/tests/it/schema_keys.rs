//! Metadata keys that records bring to a schema: no more than allowed, whoever writes at the same time, and
//! wherever the batches are that bring them.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use vermilion_engine::clock::ManualClock;
use vermilion_engine::model::{
    MetadataColumn, NewCollection, Operation, RecordBatch, Schema, Value, ValueKind,
};
use vermilion_engine::{Config, Database, ErrorKind, Result};

use crate::batch_ingest::{insertion, status};
use crate::support::{DATABASE, TENANT, create, on_disk, read_all, small, with_scope};

/// The insertion of one record that has these keys.
fn with_keys<T: AsRef<str>>(id: &str, keys: impl IntoIterator<Item = T>) -> RecordBatch {
    let mut batch = insertion(id, 1, 2);
    let keys: Vec<T> = keys.into_iter().collect();
    batch.metadata = MetadataColumn::default();
    let cells = keys.iter().map(|key| (key.as_ref(), Value::Int(1)));
    batch.metadata.push_row(cells);
    batch
}

fn write(database: &Database, batch: RecordBatch) -> Result<()> {
    with_scope(database, "a", |scope| database.write(scope, batch)).map(|_| ())
}

fn refused(database: &Database, batch: RecordBatch, message: &str) {
    let error = write(database, batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.message().contains(message), "{error}");
    assert!(error.message().contains("schema_keys_max"), "{error}");
}

fn keys(database: &Database) -> usize {
    let found = database.collection(TENANT, DATABASE, "a").unwrap();
    found.schema.metadata_keys()
}

fn three_keys(mut config: Config) -> Config {
    config.limits.schema_keys_max = 3;
    config
}

#[test]
fn what_brings_too_many_keys_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Database::open(three_keys(on_disk(folder.path()))).unwrap();
    let database = open();
    create(&database, "a").unwrap();
    write(&database, with_keys("x", ["k1", "k2"])).unwrap();
    refused(
        &database,
        with_keys("y", ["k3", "k4"]),
        "has 2 metadata keys, and the batch brings 2 more; at most 3 are allowed",
    );
    assert_eq!(keys(&database), 2);
    assert_eq!(read_all(&database, "a").unwrap().records.len(), 1);
    write(&database, with_keys("y", ["k3"])).unwrap();
    // At the limit, records may have the keys that are known, and lose any.
    for operation in [Operation::Add, Operation::Upsert, Operation::Update] {
        let mut more = with_keys("x", ["k4"]);
        more.operations = vec![operation];
        refused(&database, more, "the batch brings 1 more");
    }
    write(&database, with_keys("z", ["k1", "k2", "k3"])).unwrap();
    let mut without = with_keys("x", ["k1", "k4"]);
    without.metadata = MetadataColumn::default();
    let null = |key| (key, Value::Null);
    without.metadata.push_row([null("k1"), null("k4")]);
    write(&database, without).unwrap();
    database.seal_all().unwrap();
    refused(&database, with_keys("v", ["k4"]), "has 3 metadata keys");
    drop(database);
    let database = open();
    refused(&database, with_keys("v", ["k4"]), "has 3 metadata keys");
    assert_eq!(keys(&database), 3);
    assert_eq!(read_all(&database, "a").unwrap().records.len(), 3);
}

#[test]
fn a_collection_is_not_made_with_more_keys_than_allowed() {
    let database = Database::open(three_keys(Config::in_memory())).unwrap();
    let with = |count: usize| {
        let mut schema = Schema::default();
        for number in 0..count {
            schema.discover(&format!("k{number}"), ValueKind::Str);
        }
        database.create_collection(NewCollection {
            tenant: TENANT.to_owned(),
            database: DATABASE.to_owned(),
            name: "a".to_owned(),
            metadata: None,
            schema,
            get_or_create: false,
        })
    };
    let error = with(4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let message = "has 4 metadata keys; at most 3 are allowed (schema_keys_max)";
    assert!(error.message().contains(message), "{error}");
    with(3).unwrap();
    refused(&database, with_keys("x", ["other"]), "has 3 metadata keys");
}

#[test]
fn writers_at_the_same_time_do_not_pass_the_limit_together() {
    for batch_ingest in [false, true] {
        let mut config = small(Config::in_memory());
        config.upkeep.background = true;
        config.ingest.batch_ingest = batch_ingest;
        config.limits.schema_keys_max = 20;
        let database = Database::open(config).unwrap();
        create(&database, "a").unwrap();
        let taken = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|writer| {
                    let database = &database;
                    scope.spawn(move || {
                        let batches = (0..10).map(|number| {
                            let name = format!("w{writer}n{number}");
                            write(database, with_keys(&name, [&name]))
                        });
                        batches.flatten().count()
                    })
                })
                .collect();
            let counts = writers.into_iter().map(|writer| writer.join().unwrap());
            counts.sum::<usize>()
        });
        assert_eq!(taken, 20);
        assert_eq!(read_all(&database, "a").unwrap().records.len(), 20);
        assert_eq!(keys(&database), 20);
    }
}

#[test]
fn keys_of_batches_that_are_logged_and_not_indexed_count_also_behind_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let mut config = on_disk(folder.path());
        config.ingest.batch_ingest = true;
        config.upkeep.memory_bytes = 1;
        config.limits.schema_keys_max = 12;
        Database::open(config).unwrap()
    };
    let database = open();
    create(&database, "a").unwrap();
    for number in 0..12 {
        write(
            &database,
            with_keys(&format!("x{number}"), [format!("k{number}")]),
        )
        .unwrap();
    }
    refused(&database, with_keys("y", ["more"]), "has 12 metadata keys");
    assert_eq!(keys(&database), 0, "nothing is indexed yet");
    database.close().unwrap();
    drop(database);
    let database = open();
    let behind = status(&database, "a");
    assert!(behind.indexed_operations < 12, "{behind:?}");
    refused(&database, with_keys("y", ["more"]), "has 12 metadata keys");
    write(&database, with_keys("y", ["k0", "k11"])).unwrap();
    assert_eq!(read_all(&database, "a").unwrap().records.len(), 13);
    assert_eq!(keys(&database), 12);
}

#[test]
fn a_limit_that_was_lowered_keeps_no_logged_batch_from_being_applied() {
    let folder = tempfile::tempdir().unwrap();
    let open = |most: usize| {
        let mut config = on_disk(folder.path());
        config.ingest.batch_ingest = true;
        config.limits.schema_keys_max = most;
        Database::open(config).unwrap()
    };
    let database = open(12);
    create(&database, "a").unwrap();
    let names = (0..12).map(|number| format!("k{number}"));
    write(&database, with_keys("x", names)).unwrap();
    drop(database);
    let database = open(3);
    assert_eq!(read_all(&database, "a").unwrap().records.len(), 1);
    assert_eq!(keys(&database), 12);
    write(&database, with_keys("y", ["k7"])).unwrap();
    refused(&database, with_keys("z", ["more"]), "has 12 metadata keys");
}

#[test]
fn a_schema_counts_in_the_bytes_of_its_tenant_when_its_records_are_gone() {
    let clock = Arc::new(ManualClock::default());
    let mut config = small(Config::in_memory());
    config.clock = clock.clone();
    config.limits.quotas.bytes = Some(40_000);
    let database = Database::open(config).unwrap();
    create(&database, "a").unwrap();
    let long = |number: usize| format!("{number}{}", "k".repeat(4_000));
    let gone = |id: &str| RecordBatch::deletion([id].into_iter().collect());
    let mut keys = 0;
    loop {
        let written = write(&database, with_keys("x", [long(keys)]));
        if let Err(error) = written {
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
            assert!(error.message().contains("tenant_bytes_max"), "{error}");
            break;
        }
        keys += 1;
        write(&database, gone("x-0")).unwrap();
        database.seal_all().unwrap();
        database.upkeep().unwrap();
        clock.advance(Duration::from_secs(1));
        assert!(keys < 20, "nothing is refused");
    }
    assert!(keys > 2, "the first ones fit");
    assert!(read_all(&database, "a").unwrap().records.is_empty());
    let made = create(&database, "b");
    made.expect("there is room for a small one");
}
