//! The budget for vectors and indexes in memory, on a real disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use vermilion_engine::catalog::CatalogLocation;
use vermilion_engine::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, QueryRequest, RecordBatch, Strings,
};
use vermilion_engine::storage::DiskStorage;
use vermilion_engine::{Config, Database};

use crate::support::{Choices, create, with_scope};

const DIMENSION: usize = 256;
const ROWS: usize = 20_000;

/// Vectors along a curve, so that codes tell which are near.
fn vectors(seed: u64, count: usize) -> Vec<f32> {
    let mut choices = Choices(seed);
    let along: Vec<f32> = (0..count)
        .map(|_| choices.below(1 << 20) as f32 / 1e6)
        .collect();
    let number = |along: f32| (0..DIMENSION).map(move |at| (along * (at % 30) as f32).sin());
    along.into_iter().flat_map(number).collect()
}

fn queries() -> QueryRequest {
    QueryRequest {
        embeddings: Embeddings::new(DIMENSION, vectors(5, 20)).unwrap(),
        n_results: 10,
        ..QueryRequest::default()
    }
}

fn open(folder: &std::path::Path, budget: u64) -> Database {
    let mut config = Config::with_storage(Arc::new(DiskStorage::open(folder).unwrap()));
    config.catalog = CatalogLocation::File(folder.join("catalog.sqlite"));
    config.upkeep.background = false;
    config.upkeep.mapped_bytes = budget;
    Database::open(config).unwrap()
}

fn answers(database: &Database) -> Vec<Vec<f32>> {
    let found = with_scope(database, "things", |scope| {
        database.query(scope, &queries())
    });
    found
        .unwrap()
        .into_iter()
        .map(|one| one.distances)
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn memory_beyond_the_budget_is_given_back_and_answers_stay_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path(), 0);
    create(&database, "things").unwrap();
    let ids: Vec<String> = (0..ROWS).map(|row| format!("id{row}")).collect();
    let batch = RecordBatch {
        operations: vec![Operation::Add; ROWS],
        ids: ids.iter().map(String::as_str).collect::<Strings>(),
        embeddings: Embeddings::new(DIMENSION, vectors(3, ROWS)).unwrap(),
        documents: OptionalStrings::absent(ROWS),
        uris: OptionalStrings::absent(ROWS),
        metadata: MetadataColumn::absent(ROWS),
    };
    with_scope(&database, "things", |scope| {
        database.write(scope, batch.clone())
    })
    .unwrap();
    database.seal_all().unwrap();
    let expected = answers(&database);
    assert!(
        !database.keep_memory_budget(),
        "without a budget nothing is given back"
    );
    database.close().unwrap();
    drop(database);

    let budget = 64 << 10;
    let database = open(folder.path(), budget);
    assert_eq!(answers(&database), expected);
    let before = database.mapped_memory();
    assert!(
        before.index_bytes + before.vector_bytes > budget,
        "{before:?}"
    );
    assert!(database.keep_memory_budget(), "it is beyond the budget");
    assert_eq!(
        answers(&database),
        expected,
        "what was given back is read again"
    );
    database.close().unwrap();
    drop(database);

    // What is more than the budget is read past its mapping, and takes no memory of it.
    let database = open(folder.path(), budget);
    assert_eq!(answers(&database), expected);
    database.keep_memory_budget();
    assert_eq!(answers(&database), expected);
    assert_eq!(database.mapped_memory().vector_bytes, 0);
    database.close().unwrap();
    drop(database);

    // Nobody searched between the two rounds, so that even signs go.
    let database = open(folder.path(), budget);
    assert_eq!(answers(&database), expected);
    database.keep_memory_budget();
    database.keep_memory_budget();
    let after = database.mapped_memory();
    assert!(
        after.index_bytes + after.vector_bytes <= budget,
        "{after:?} {before:?}"
    );
}
