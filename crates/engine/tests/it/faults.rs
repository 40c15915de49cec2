//! A full disk, an I/O error or a failing fsync at the n-th I/O call, for every n: what was
//! acknowledged stays, what was refused is absent, reads go on, and a database opened afterwards
//! on the healed disk holds exactly the acknowledged batches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use vermilion_engine::catalog::CatalogLocation;
use vermilion_engine::model::GetRequest;
use vermilion_engine::storage::MemoryStorage;
use vermilion_engine::storage::sim::{Fault, FaultyStorage};
use vermilion_engine::{Config, Database, ErrorKind};

use crate::support::{
    Choices, DATABASE, ModelCollection, TENANT, create, random_batch, read_all, small, with_scope,
};

type Model = BTreeMap<String, ModelCollection>;

/// Does a fixed piece of work; answers what was acknowledged, and what one refused batch may have
/// left where its fate is unknown (a failing fsync).
fn work(database: &Database, steps: usize, batch_ingest: bool) -> (Model, Option<Model>) {
    let mut choices = Choices(5);
    let mut model = Model::new();
    let mut unknown = None;
    for step in 0..steps {
        let name = format!("col{}", step % 2);
        if !model.contains_key(&name) {
            let made = create(database, &name);
            model.extend(made.ok().map(|()| (name, ModelCollection::default())));
            continue;
        }
        let batch = random_batch(&mut choices, 30, 10);
        let mut next = model.clone();
        next.get_mut(&name).expect("it was made").apply(&batch);
        match with_scope(database, &name, |scope| database.write(scope, batch)) {
            Ok(_) => model = next,
            Err(error) => {
                assert_ne!(
                    error.kind(),
                    ErrorKind::InvalidArgument,
                    "the batch is valid: {error}"
                );
                if error.kind() != ErrorKind::OutOfSpace && unknown.is_none() {
                    unknown = Some(next);
                }
            }
        }
        if step % 7 == 6 {
            // Upkeep may fail; it must lose nothing.
            let _ = database.seal_all();
            let _ = database.upkeep();
        }
        for (name, expected) in &model {
            if batch_ingest {
                // What is to be indexed may have to be read from the very disk that fails.
                let request = GetRequest::default();
                with_scope(database, name, |scope| database.get(scope, &request))
                    .expect("reads go on");
                continue;
            }
            let found = read_all(database, name).expect("reads go on");
            assert_eq!(
                &found, expected,
                "step {step}: reads see what was acknowledged"
            );
        }
    }
    (model, unknown)
}

type Image = Arc<Mutex<Vec<u8>>>;

fn config(storage: &FaultyStorage, image: &Image, batch_ingest: bool) -> Config {
    let mut config = small(Config::with_storage(Arc::new(storage.clone())));
    config.ingest.batch_ingest = batch_ingest;
    config.ingest.kept_bytes = 2 << 10;
    let start = image.lock().expect("no test panicked").clone();
    let start = (!start.is_empty()).then(|| Arc::new(start));
    let kept = image.clone();
    let on_commit = Arc::new(move |image: Vec<u8>| *kept.lock().expect("no test panicked") = image);
    config.catalog = CatalogLocation::Memory {
        image: start,
        on_commit: Some(on_commit),
    };
    config
}

fn storage() -> FaultyStorage {
    FaultyStorage::new(Arc::new(MemoryStorage::default()))
}

/// The same, answering writers when readers see their batch, and before.
fn run(fault: Fault, lasting: bool, stride: usize) {
    run_either(fault, lasting, stride, false);
    run_either(fault, lasting, stride + 2, true);
}

/// Does the work with `fault` at every `stride`-th call, once or from then on.
fn run_either(fault: Fault, lasting: bool, stride: usize, batch_ingest: bool) {
    let steps = 40;
    let calls = {
        let (storage, image) = (storage(), Image::default());
        storage.fail_once(fault, u64::MAX);
        let database = Database::open(config(&storage, &image, batch_ingest)).expect("it opens");
        work(&database, steps, batch_ingest);
        storage.calls()
    };
    assert!(calls > 20, "the work makes {calls} calls");
    for nth in (1..=calls).step_by(stride) {
        let (storage, image) = (storage(), Image::default());
        if lasting {
            storage.fail_from(fault, nth);
        } else {
            storage.fail_once(fault, nth);
        }
        let what = format!("{fault:?} at call {nth} of {calls}");
        let Ok(database) = Database::open(config(&storage, &image, batch_ingest)) else {
            storage.heal();
            let database = Database::open(config(&storage, &image, batch_ingest));
            database.unwrap_or_else(|error| panic!("{what}: does not open when healed: {error}"));
            continue;
        };
        let (model, unknown) = work(&database, steps, batch_ingest);
        drop(database);
        storage.heal();
        let database = Database::open(config(&storage, &image, batch_ingest))
            .unwrap_or_else(|error| panic!("{what}: does not open again: {error}"));
        let found: Model = model
            .keys()
            .map(|name| {
                (
                    name.clone(),
                    read_all(&database, name).expect("reading works"),
                )
            })
            .collect();
        let allowed = found == model || unknown.as_ref() == Some(&found);
        assert!(allowed, "{what}: found {found:#?}\nacknowledged {model:#?}");
        assert_eq!(
            database
                .count_collections(TENANT, DATABASE)
                .expect("counting works"),
            model.len() as u64,
            "{what}"
        );
    }
}

#[test]
fn a_disk_full_for_a_moment_loses_nothing_and_passes() {
    run(Fault::OutOfSpace, false, 1);
    run(Fault::ShortWrite, false, 1);
}

#[test]
fn a_disk_that_stays_full_loses_nothing() {
    run(Fault::OutOfSpace, true, 3);
    run(Fault::ShortWrite, true, 5);
}

#[test]
fn an_input_output_error_loses_nothing() {
    run(Fault::InputOutput, false, 1);
    run(Fault::InputOutput, true, 5);
}

#[test]
fn a_failing_fsync_is_never_believed() {
    run(Fault::FailingSync, false, 1);
    run(Fault::FailingSyncDir, false, 1);
}
