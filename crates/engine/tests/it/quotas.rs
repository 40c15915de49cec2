//! What each tenant may have: refused as a whole beyond it, deletions always taken.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use vermilion_engine::clock::ManualClock;
use vermilion_engine::config::Quotas;
use vermilion_engine::model::{
    Embeddings, MetadataColumn, NewCollection, Operation, OptionalStrings, RecordBatch, Schema,
    Value,
};
use vermilion_engine::storage::MemoryStorage;
use vermilion_engine::{Config, Database, Error, ErrorKind, Result};

use crate::support::{create, fork, read_all, small, with_scope};

struct World {
    database: Database,
    clock: Arc<ManualClock>,
}

fn world(quotas: Quotas) -> World {
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_secs(1000));
    let mut config = small(Config::with_storage(Arc::new(MemoryStorage::default())));
    config.clock = clock.clone();
    config.limits.quotas = quotas;
    let database = Database::open(config).unwrap();
    World { database, clock }
}

fn upsertion(ids: &[&str]) -> RecordBatch {
    let mut metadata = MetadataColumn::default();
    ids.iter().for_each(|_| metadata.finish_row());
    RecordBatch {
        operations: vec![Operation::Upsert; ids.len()],
        ids: ids.iter().copied().collect(),
        embeddings: Embeddings::new(2, vec![1.0; ids.len() * 2]).unwrap(),
        documents: OptionalStrings::absent(ids.len()),
        uris: OptionalStrings::absent(ids.len()),
        metadata,
    }
}

fn write(database: &Database, name: &str, batch: RecordBatch) -> Result<()> {
    with_scope(database, name, |scope| database.write(scope, batch)).map(|_| ())
}

fn refused(result: Result<()>, message: &str) {
    let error: Error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.message().starts_with("Quota exceeded: "), "{error}");
    assert!(error.message().contains(message), "{error}");
}

#[test]
fn records_beyond_the_quota_are_refused_and_those_that_are_there_may_be_written_again() {
    let world = world(Quotas {
        records: Some(5),
        ..Quotas::default()
    });
    let database = &world.database;
    for name in ["a", "b"] {
        create(database, name).unwrap();
    }
    write(database, "a", upsertion(&["1", "2", "3"])).unwrap();
    refused(
        write(database, "b", upsertion(&["1", "2", "3"])),
        "has 3 records, and 3 more are asked for; at most 5 are allowed (tenant_records_max)",
    );
    assert!(read_all(database, "b").unwrap().records.is_empty());
    write(database, "b", upsertion(&["1", "2"])).unwrap();
    // At the limit, what is there already may be written; twice the same id is one record.
    write(database, "a", upsertion(&["1", "2", "3"])).unwrap();
    refused(
        write(database, "a", upsertion(&["4", "4"])),
        "1 more are asked for",
    );
    refused(fork(database, "a", "c"), "3 more are asked for");
    assert_eq!(
        database
            .count_collections("default_tenant", "default_database")
            .unwrap(),
        2
    );
    let gone = RecordBatch::deletion(["1", "2"].into_iter().collect());
    write(database, "a", gone).unwrap();
    world.clock.advance(Duration::from_secs(1));
    write(database, "a", upsertion(&["4", "5"])).unwrap();
    refused(write(database, "a", upsertion(&["6"])), "has 5 records");
}

#[test]
fn collections_beyond_the_quota_are_refused_for_that_tenant_alone() {
    let world = world(Quotas {
        collections: Some(2),
        ..Quotas::default()
    });
    let database = &world.database;
    for name in ["a", "b"] {
        create(database, name).unwrap();
    }
    refused(create(database, "c"), "has 2 collections");
    refused(fork(database, "a", "c"), "tenant_collections_max");
    database.create_database("other", "main").unwrap();
    let other = NewCollection {
        tenant: "other".to_owned(),
        database: "main".to_owned(),
        name: "mine".to_owned(),
        metadata: None,
        schema: Schema::default(),
        get_or_create: false,
    };
    database.create_collection(other).unwrap();
    let found = NewCollection {
        tenant: "default_tenant".to_owned(),
        database: "default_database".to_owned(),
        name: "a".to_owned(),
        metadata: None,
        schema: Schema::default(),
        get_or_create: true,
    };
    database.create_collection(found).unwrap();
    database
        .delete_collection("default_tenant", "default_database", "b")
        .unwrap();
    create(database, "c").unwrap();
}

#[test]
fn bytes_count_what_is_in_memory_and_what_is_in_segments() {
    let world = world(Quotas {
        bytes: Some(20_000),
        ..Quotas::default()
    });
    let database = &world.database;
    create(database, "a").unwrap();
    let batch = |tag: &str| {
        let ids: Vec<String> = (0..20).map(|row| format!("{tag}-{row:0>40}")).collect();
        upsertion(&ids.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut written = 0;
    while write(database, "a", batch(&written.to_string())).is_ok() {
        written += 1;
        assert!(written < 100, "nothing is refused");
    }
    assert!(written > 1, "the first ones fit");
    refused(write(database, "a", batch("x")), "tenant_bytes_max");
    database.seal_all().unwrap();
    world.clock.advance(Duration::from_secs(1));
    let records = read_all(database, "a").unwrap().records.len();
    assert_eq!(records, written * 20);
    // What segments hold counts by their files.
    let mut more = 0;
    while write(database, "a", batch(&format!("more{more}"))).is_ok() {
        more += 1;
        database.seal_all().unwrap();
        world.clock.advance(Duration::from_secs(1));
        assert!(more < 100, "nothing is refused");
    }
    let gone = RecordBatch::deletion(["0"].into_iter().collect());
    write(database, "a", gone).unwrap();
}

#[test]
fn a_record_does_not_grow_past_its_metadata_bit_by_bit() {
    let mut config = small(Config::in_memory());
    config.limits.metadata_cells_max = 3;
    let database = Database::open(config).unwrap();
    create(&database, "a").unwrap();
    let with = |operation: Operation, id: &str, keys: &[&str], value: Value| {
        let mut batch = upsertion(&[id]);
        batch.operations = vec![operation];
        batch.metadata = MetadataColumn::default();
        batch
            .metadata
            .push_row(keys.iter().map(|key| (*key, value.clone())));
        batch
    };
    let one = || Value::Int(1);
    let do_it = |batch| write(&database, "a", batch);
    do_it(with(Operation::Upsert, "x", &["a", "b"], one())).unwrap();
    do_it(with(Operation::Upsert, "y", &["c", "d", "e"], one())).unwrap();
    let too_many = |batch| {
        let error = do_it(batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        let more = "would have 4 keys with those that it has; at most 3 are allowed";
        assert!(error.message().contains(more), "{error}");
    };
    for operation in [Operation::Upsert, Operation::Update] {
        too_many(with(operation, "x", &["c", "d"], one()));
    }
    // Two rows of one batch are one record.
    let mut both = upsertion(&["z", "z"]);
    both.metadata = MetadataColumn::default();
    both.metadata.push_row([("a", one()), ("b", one())]);
    both.metadata.push_row([("c", one()), ("d", one())]);
    too_many(both);
    do_it(with(Operation::Update, "x", &["c"], one())).unwrap();
    do_it(with(Operation::Update, "x", &["a"], Value::Null)).unwrap();
    do_it(with(Operation::Update, "x", &["d"], one())).unwrap();
    let found = read_all(&database, "a").unwrap().records;
    let keys: Vec<usize> = found.iter().map(|record| record.metadata.len()).collect();
    assert_eq!(keys, [3, 3]);
}
