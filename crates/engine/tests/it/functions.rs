//! Functions attached to collections: their outputs hold, whenever they are read, what the inputs
//! come to.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::collections::BTreeMap;
use std::sync::Arc;

use vermilion_engine::clock::ManualClock;
use vermilion_engine::model::{
    CollectionScope, ConditionalWrite, Consistency, Deletion, Function, GetRequest, Include,
    MetadataColumn, RecordBatch, RecordSelection, SparseVector, Strings, Value,
};
use vermilion_engine::{Config, Database, ErrorKind};

use crate::support::{
    Choices, DATABASE, TENANT, create, fork, on_disk, random_batch, small, with_scope,
};

/// Counts by key, type and value.
type Counts = BTreeMap<(String, String, String), i64>;

fn open(config: Config) -> Database {
    let config = Config {
        // Its time stands still, so that no filling is a long one, which would be made rarely.
        clock: Arc::new(ManualClock::default()),
        ..small(config)
    };
    Database::open(config).unwrap()
}

fn new() -> Database {
    let database = open(Config::in_memory());
    create(&database, "input").unwrap();
    database
}

fn attach(database: &Database, input: &str, name: &str, function: Function, output: &str) -> bool {
    let attached = with_scope(database, input, |scope| {
        database.attach_function(scope, name, function, output)
    });
    attached.unwrap().1
}

fn refused(database: &Database, input: &str, name: &str, output: &str) -> (ErrorKind, String) {
    let attach = |scope: CollectionScope<'_>| {
        database.attach_function(scope, name, Function::Statistics, output)
    };
    let error = with_scope(database, input, attach).unwrap_err();
    (error.kind(), error.to_string())
}

fn write(database: &Database, name: &str, batch: RecordBatch) {
    with_scope(database, name, |scope| database.write(scope, batch)).unwrap();
}

fn metadata_of(
    database: &Database,
    name: &str,
    consistency: Consistency,
) -> (Strings, MetadataColumn) {
    let request = GetRequest {
        include: Include {
            metadatas: true,
            ..Include::default()
        },
        consistency,
        ..GetRequest::default()
    };
    let got = with_scope(database, name, |scope| database.get(scope, &request)).unwrap();
    (got.ids, got.metadatas.unwrap())
}

fn text(value: &Value) -> String {
    match value {
        Value::Str(text) => text.to_string(),
        other => panic!("a text was expected: {other:?}"),
    }
}

/// What the output called `name` says, without the total, and the total.
fn told(database: &Database, name: &str) -> (Counts, i64) {
    let (ids, metadata) = metadata_of(database, name, Consistency::default());
    let mut counts = Counts::new();
    let mut total = None;
    for row in 0..ids.len() {
        let cells: BTreeMap<&str, &Value> = metadata.row(row).collect();
        let Value::Int(count) = cells["count"] else {
            panic!("a count is an integer: {cells:?}");
        };
        if ids.get(row) == "summary::total_count" {
            total = Some(*count);
            continue;
        }
        let place = (
            text(cells["key"]),
            text(cells["type"]),
            text(cells["value"]),
        );
        assert_eq!(counts.insert(place, *count), None, "each value once");
    }
    (counts, total.expect("there is a total"))
}

/// The same, counted one by one.
fn counted(database: &Database, name: &str) -> (Counts, i64) {
    let (ids, metadata) = metadata_of(database, name, Consistency::default());
    let mut counts = Counts::new();
    for row in 0..ids.len() {
        for (key, value) in metadata.row(row) {
            let mut singles: Vec<(&str, String)> = match value {
                Value::Null => vec![],
                Value::Bool(one) => vec![("bool", one.to_string())],
                Value::Int(one) => vec![("int", one.to_string())],
                Value::Float(one) => vec![("float", format!("{one:?}"))],
                Value::Str(one) => vec![("str", one.to_string())],
                Value::Bools(all) => all.iter().map(|one| ("bool", one.to_string())).collect(),
                Value::Ints(all) => all.iter().map(|one| ("int", one.to_string())).collect(),
                Value::Floats(all) => all
                    .iter()
                    .map(|one| ("float", format!("{one:?}")))
                    .collect(),
                Value::Strs(all) => all.iter().map(|one| ("str", one.clone())).collect(),
                Value::Sparse(sparse) => {
                    let all = sparse.indices.iter();
                    all.map(|one| ("sparse", one.to_string())).collect()
                }
            };
            singles.sort();
            singles.dedup();
            for (kind, written) in singles {
                *counts
                    .entry((key.to_owned(), kind.to_owned(), written))
                    .or_default() += 1;
            }
        }
    }
    (counts, ids.len() as i64)
}

#[test]
fn statistics_are_those_of_the_records_after_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = open(on_disk(folder.path()));
    create(&database, "input").unwrap();
    let mut choices = Choices(5);
    write(&database, "input", random_batch(&mut choices, 60, 20));
    assert!(attach(
        &database,
        "input",
        "stats",
        Function::Statistics,
        "out"
    ));
    for round in 0..30 {
        assert_eq!(told(&database, "out"), counted(&database, "input"));
        write(&database, "input", random_batch(&mut choices, 60, 20));
        if round == 15 {
            database.close().unwrap();
            drop(database);
            database = open(on_disk(folder.path()));
        }
    }
    let (counts, total) = told(&database, "out");
    assert!(total > 0 && counts.len() > 10, "{total} {counts:?}");
}

#[test]
fn dimensions_of_sparse_vectors_are_told_by_their_labels() {
    let database = new();
    attach(&database, "input", "stats", Function::Statistics, "out");
    let mut batch = random_batch(&mut Choices(1), 60, 4);
    batch = batch.rows(0..1);
    batch.metadata = MetadataColumn::default();
    batch.operations = vec![vermilion_engine::model::Operation::Upsert];
    let sparse = SparseVector {
        indices: vec![3, 9],
        values: vec![0.5, 2.0],
        tokens: Some(vec!["apple".to_owned(), "pear".to_owned()]),
    };
    batch.metadata.push_row([("words", sparse.into())]);
    write(&database, "input", batch);
    let place = |index: &str| ("words".to_owned(), "sparse".to_owned(), index.to_owned());
    let (counts, total) = told(&database, "out");
    assert_eq!(total, 1);
    assert_eq!(counts, Counts::from([(place("3"), 1), (place("9"), 1)]));
    let (_, metadata) = metadata_of(&database, "out", Consistency::default());
    let labels = (0..metadata.len())
        .filter_map(|row| metadata.get(row, metadata.key_number("value_label")?))
        .map(text);
    assert_eq!(labels.collect::<Vec<_>>(), ["apple", "pear"]);
}

#[test]
fn a_counter_counts_and_a_read_that_must_not_wait_sees_what_was_there() {
    let database = new();
    attach(&database, "input", "count", Function::RecordCounter, "out");
    let batch = random_batch(&mut Choices(2), 60, 20);
    write(&database, "input", batch);
    let at_once = metadata_of(&database, "out", Consistency::at_once()).0;
    assert!(at_once.is_empty(), "nobody has read it before");
    let count = with_scope(&database, "input", |scope| database.count(scope)).unwrap();
    assert_eq!(
        with_scope(&database, "out", |scope| database.count(scope)).unwrap(),
        1
    );
    let (ids, metadata) = metadata_of(&database, "out", Consistency::default());
    assert_eq!(ids.get(0), "function_output");
    let cells: Vec<_> = metadata.row(0).collect();
    assert_eq!(cells, [("total_count", &Value::Int(count as i64))]);
    let attached = with_scope(&database, "input", |scope| {
        database.attached_function(scope, "count")
    });
    let attached = attached.unwrap();
    assert!(attached.seen > 0 && attached.last_error.is_none());
}

#[test]
fn a_collection_has_one_function_and_an_output_none() {
    let database = new();
    create(&database, "taken").unwrap();
    let (kind, said) = refused(&database, "input", "a", "taken");
    assert_eq!(kind, ErrorKind::AlreadyExists);
    assert_eq!(said, "Output collection [taken] already exists");
    assert!(attach(&database, "input", "a", Function::Statistics, "out"));
    assert!(
        !attach(&database, "input", "a", Function::Statistics, "out"),
        "the same"
    );
    let (kind, said) = refused(&database, "input", "b", "other");
    assert_eq!(kind, ErrorKind::AlreadyExists);
    assert!(
        said.contains("name=a, function=statistics, output_collection=out"),
        "{said}"
    );
    let (kind, said) = refused(&database, "out", "b", "other");
    assert_eq!(kind, ErrorKind::InvalidArgument);
    assert!(said.contains("output collection"), "{said}");
    let names = database.count_collections(TENANT, DATABASE).unwrap();
    assert_eq!(names, 3, "what was refused made nothing");
}

#[test]
fn detaching_deletes_the_output_or_makes_it_an_ordinary_collection() {
    let database = new();
    let mut choices = Choices(3);
    write(&database, "input", random_batch(&mut choices, 60, 20));
    attach(&database, "input", "a", Function::Statistics, "out");
    let before = told(&database, "out");
    let detach = |delete| {
        with_scope(&database, "input", |scope| {
            database.detach_function(scope, "a", delete)
        })
    };
    detach(false).unwrap();
    assert_eq!(detach(false).unwrap_err().kind(), ErrorKind::NotFound);
    write(&database, "input", random_batch(&mut choices, 60, 20));
    assert_eq!(told(&database, "out"), before, "it stays as it was");
    attach(&database, "input", "a", Function::Statistics, "out2");
    assert_eq!(told(&database, "out2"), counted(&database, "input"));
    detach(true).unwrap();
    let gone = database.collection(TENANT, DATABASE, "out2").unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[test]
fn whoever_deletes_or_copies_a_side_leaves_the_other_whole() {
    let database = new();
    let mut choices = Choices(4);
    write(&database, "input", random_batch(&mut choices, 60, 20));
    attach(&database, "input", "a", Function::Statistics, "out");
    let before = told(&database, "out");
    fork(&database, "out", "copy").unwrap();
    write(&database, "input", random_batch(&mut choices, 60, 20));
    assert_eq!(
        told(&database, "copy"),
        before,
        "a copy is filled by nothing"
    );
    database.delete_collection(TENANT, DATABASE, "out").unwrap();
    let gone = with_scope(&database, "input", |scope| {
        database.attached_function(scope, "a")
    });
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    attach(&database, "input", "a", Function::Statistics, "out");
    let last = told(&database, "out");
    database
        .delete_collection(TENANT, DATABASE, "input")
        .unwrap();
    assert_eq!(told(&database, "out"), last, "it stays as it was");
}

#[test]
fn nobody_but_its_function_writes_to_an_output() {
    let database = new();
    let mut choices = Choices(5);
    write(&database, "input", random_batch(&mut choices, 60, 20));
    attach(&database, "input", "a", Function::Statistics, "out");
    let before = told(&database, "out");
    let error = with_scope(&database, "out", |scope| {
        database.write(scope, random_batch(&mut choices, 60, 20))
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(
        error.message().contains("output of the function `a`"),
        "{error}"
    );
    let everything = Deletion {
        selection: RecordSelection {
            ids: Some(vec!["summary::total_count".to_owned()]),
            filter: None,
        },
        ..Deletion::default()
    };
    let delete = |name| with_scope(&database, name, |scope| database.delete(scope, &everything));
    assert_eq!(
        delete("out").unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    let write_if = with_scope(&database, "out", |scope| {
        let write = ConditionalWrite {
            batch: random_batch(&mut choices, 60, 20),
            ..ConditionalWrite::default()
        };
        database.conditional_commit(scope, write)
    });
    assert_eq!(write_if.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(told(&database, "out"), before);
    with_scope(&database, "input", |scope| {
        database.detach_function(scope, "a", false)
    })
    .unwrap();
    delete("out").unwrap();
}
