//! Collections, databases and everything deleted, renamed and made again with a log that is not
//! indexed, and under load: no error reaches other collections, nothing is left, nothing hangs.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use vermilion_engine::clock::{Clock, SystemClock};
use vermilion_engine::control::Component;
use vermilion_engine::model::{
    CollectionScope, CollectionUpdate, Consistency, NewCollection, Page, ReadLevel, Schema,
};
use vermilion_engine::schedule::RunRequest;
use vermilion_engine::storage::{MemoryStorage, Storage};
use vermilion_engine::{Config, Database, ErrorKind};

use crate::batch_ingest::{count, insertion, seeing, status, with_workers, write};
use crate::support::{
    Choices, DATABASE, ModelCollection, TENANT, create, random_batch, read_all, small, with_scope,
};

fn on(storage: &Arc<MemoryStorage>) -> Config {
    let mut config = with_workers();
    config.storage = storage.clone();
    config
}

/// Checks that the folder holds files of the collections that are there, and of no other.
#[track_caller]
fn check_no_leftover(database: &Database, storage: &MemoryStorage) {
    let mut known = Vec::new();
    for tenant in [TENANT, "other"] {
        for place in [DATABASE, "second"] {
            let inside = database
                .collections(tenant, place, Page::default())
                .unwrap();
            known.extend(inside.iter().map(|one| one.id.to_string()));
        }
    }
    if storage.exists("segments").unwrap() {
        for entry in storage.list("segments").unwrap() {
            assert!(known.contains(&entry.name), "{} is left", entry.name);
        }
    }
}

#[test]
fn a_collection_made_again_sees_nothing_of_what_the_old_one_had_in_the_log() {
    let storage = Arc::new(MemoryStorage::default());
    let database = Database::open(on(&storage)).unwrap();
    create(&database, "records").unwrap();
    create(&database, "other").unwrap();
    database.pause(Component::Indexing);
    for batch in 0..50 {
        write(
            &database,
            "records",
            insertion(&format!("old{batch}"), 20, 3),
        );
        write(&database, "other", insertion(&format!("b{batch}"), 20, 3));
    }
    database
        .delete_collection(TENANT, DATABASE, "records")
        .unwrap();
    create(&database, "records").unwrap();
    // Another dimension: the old one binds nobody.
    write(&database, "records", insertion("new", 7, 5));
    database.resume(Component::Indexing);
    assert_eq!(
        count(&database, "records", seeing(ReadLevel::IndexAndWal)),
        7
    );
    assert_eq!(
        count(&database, "other", seeing(ReadLevel::IndexAndWal)),
        1000
    );
    assert_eq!(status(&database, "records").total_operations, 7);
    let statistics = database.statistics();
    assert_eq!((statistics.waiting_bytes, statistics.waiting_spans), (0, 0));
    database.seal_all().unwrap();
    check_no_leftover(&database, &storage);
}

#[test]
fn the_log_of_a_deleted_collection_is_given_back_though_it_was_never_indexed() {
    let storage = Arc::new(MemoryStorage::default());
    let database = Database::open(on(&storage)).unwrap();
    create(&database, "records").unwrap();
    database.pause(Component::Indexing);
    for batch in 0..200 {
        write(
            &database,
            "records",
            insertion(&format!("b{batch}"), 100, 8),
        );
    }
    let before = database.statistics().log_bytes;
    database
        .delete_collection(TENANT, DATABASE, "records")
        .unwrap();
    let clock = SystemClock::new();
    while database.statistics().log_bytes > before / 10 {
        assert!(clock.monotonic() < Duration::from_secs(20), "the log stays");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_renamed_collection_keeps_what_it_has_in_the_log() {
    let database = Database::open(with_workers()).unwrap();
    create(&database, "before").unwrap();
    database.pause(Component::Indexing);
    for batch in 0..20 {
        write(&database, "before", insertion(&format!("b{batch}"), 10, 3));
    }
    let update = CollectionUpdate {
        name: Some("after".to_owned()),
        ..CollectionUpdate::default()
    };
    with_scope(&database, "before", |scope| {
        database.update_collection(scope, update)
    })
    .unwrap();
    create(&database, "before").unwrap();
    write(&database, "after", insertion("later", 1, 3));
    database.resume(Component::Indexing);
    assert_eq!(
        count(&database, "after", seeing(ReadLevel::IndexAndWal)),
        201
    );
    assert_eq!(
        count(&database, "before", seeing(ReadLevel::IndexAndWal)),
        0
    );
}

#[test]
fn no_change_of_a_schema_is_lost_to_another_made_at_the_same_time() {
    let database = Database::open(Config::in_memory()).unwrap();
    create(&database, "changed").unwrap();
    let before = ef_search(&database);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| (0..10).for_each(|_| raise_ef_search(&database)));
        }
    });
    assert_eq!(ef_search(&database), before + 40);
}

fn ef_search(database: &Database) -> u64 {
    let info = database.collection(TENANT, DATABASE, "changed").unwrap();
    let hnsw = info.schema.vectors().unwrap().hnsw.as_ref().unwrap();
    hnsw.ef_search.unwrap()
}

fn raise_ef_search(database: &Database) {
    let raise = |schema: &Schema| {
        let mut schema = schema.clone();
        schema.change_vectors(|vectors| {
            let hnsw = vectors.hnsw.as_mut().unwrap();
            hnsw.ef_search = hnsw.ef_search.map(|found| found + 1);
        });
        CollectionUpdate {
            schema: Some(schema),
            ..CollectionUpdate::default()
        }
    };
    with_scope(database, "changed", |scope| {
        database.change_collection(scope, raise)
    })
    .unwrap();
}

#[test]
fn readers_that_wait_are_told_when_the_collection_goes_or_the_database_closes() {
    let database = Database::open(with_workers()).unwrap();
    for name in ["going", "staying"] {
        create(&database, name).unwrap();
    }
    database.pause(Component::Indexing);
    let wait = |name: &str| {
        write(&database, name, insertion("a", 1, 2));
        let id = database.collection(TENANT, DATABASE, name).unwrap().id;
        let scope = CollectionScope {
            tenant: TENANT,
            database: DATABASE,
            id,
        };
        database
            .sight(scope, seeing(ReadLevel::IndexAndWal))
            .unwrap()
    };
    let (going, staying) = (wait("going"), wait("staying"));
    database
        .delete_collection(TENANT, DATABASE, "going")
        .unwrap();
    let told = going.wait(Duration::from_secs(20)).expect("it is told");
    assert_eq!(told.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(
        staying.wait(Duration::from_millis(10)).is_none(),
        "others wait on"
    );
    database.close().unwrap();
    let told = staying.wait(Duration::from_secs(20)).expect("it is told");
    assert_eq!(told.unwrap_err().kind(), ErrorKind::Closed);
}

/// Writes to collections by name until told to stop; only what deleting explains may go wrong.
fn write_until(database: &Database, name: &str, place: &str, stop: &AtomicBool) -> u64 {
    let mut written = 0;
    while !stop.load(Ordering::SeqCst) {
        let made = database.create_collection(NewCollection {
            tenant: TENANT.to_owned(),
            database: place.to_owned(),
            name: name.to_owned(),
            metadata: None,
            schema: Schema::default(),
            get_or_create: true,
        });
        let id = match made {
            Ok(made) => made.id,
            Err(error) => {
                // Its database is being deleted.
                assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
                continue;
            }
        };
        let scope = CollectionScope {
            tenant: TENANT,
            database: place,
            id,
        };
        for batch in 0..5 {
            match database.write(scope, insertion(&format!("b{batch}"), 30, 4)) {
                Ok(_) => written += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                    assert!(error.message().contains("does not exist"), "{error}");
                }
            }
            let read = database.count_seeing(scope, seeing(ReadLevel::IndexAndWal));
            if let Err(error) = read {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            }
        }
    }
    written
}

/// Lets writers work while `act` is done again and again.
fn under_load(batch_ingest: bool, act: impl Fn(&Database)) {
    let storage = Arc::new(MemoryStorage::default());
    let mut config = on(&storage);
    config.ingest.batch_ingest = batch_ingest;
    let database = Database::open(config).unwrap();
    let _ = database.create_database(TENANT, "second");
    create(&database, "bystander").unwrap();
    let stop = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for (number, place) in [DATABASE, "second", DATABASE].into_iter().enumerate() {
            let (database, stop, written) = (&database, &stop, &written);
            threads.spawn(move || {
                let name = format!("load{number}");
                written.fetch_add(write_until(database, &name, place, stop), Ordering::SeqCst);
            });
        }
        for _ in 0..30 {
            act(&database);
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(written.into_inner() > 0, "the load was no load");
    for _ in 0..2 {
        database.seal_all().unwrap();
    }
    assert_eq!(database.statistics().waiting_bytes, 0);
    check_no_leftover(&database, &storage);
    // What is there still works.
    let _ = create(&database, "afterwards");
    write(&database, "afterwards", insertion("a", 3, 2));
    assert_eq!(
        count(&database, "afterwards", seeing(ReadLevel::IndexAndWal)),
        3
    );
    database.close().unwrap();
}

#[test]
fn collections_deleted_under_load_disturb_nobody() {
    for batch_ingest in [true, false] {
        under_load(batch_ingest, |database| {
            let deleted = database.delete_collection(TENANT, DATABASE, "load0");
            assert!(deleted.is_ok() || deleted.unwrap_err().kind() == ErrorKind::NotFound);
            write(database, "bystander", insertion("b", 10, 3));
            let seen = Consistency::default();
            with_scope(database, "bystander", |scope| {
                database.count_seeing(scope, seen)
            })
            .unwrap();
        });
    }
}

#[test]
fn databases_deleted_under_load_disturb_nobody() {
    for batch_ingest in [true, false] {
        under_load(batch_ingest, |database| {
            database.delete_database(TENANT, "second").unwrap();
            database.create_database(TENANT, "second").unwrap();
            write(database, "bystander", insertion("b", 10, 3));
        });
    }
}

#[test]
fn a_reset_under_load_neither_hangs_nor_leaves_anything() {
    for batch_ingest in [true, false] {
        under_load(batch_ingest, |database| {
            database.reset().unwrap();
            database.create_database(TENANT, "second").unwrap();
        });
    }
}

#[test]
fn collections_renamed_under_load_disturb_nobody() {
    for batch_ingest in [true, false] {
        under_load(batch_ingest, |database| {
            let rename = |from: &str, to: &str| {
                let update = CollectionUpdate {
                    name: Some(to.to_owned()),
                    ..CollectionUpdate::default()
                };
                with_scope(database, from, |scope| {
                    database.update_collection(scope, update)
                })
            };
            // Back again, so that no more and more collections are left; the load may have made
            // one of the old name meanwhile.
            if rename("load0", "elsewhere").is_ok() {
                write(database, "elsewhere", insertion("r", 10, 4));
                let back = rename("elsewhere", "load0");
                if back.is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
                    database
                        .delete_collection(TENANT, DATABASE, "elsewhere")
                        .unwrap();
                }
            }
            write(database, "bystander", insertion("b", 10, 3));
        });
    }
}

#[test]
fn merges_by_a_job_and_by_upkeep_at_the_same_time_keep_every_record_once() {
    for round in 0..6_u64 {
        let mut config = small(Config::in_memory());
        config.upkeep.background = false;
        let database = Database::open(config).unwrap();
        create(&database, "things").unwrap();
        let mut model = ModelCollection::default();
        let mut choices = Choices(100 + round);
        for _ in 0..12 {
            let batch = random_batch(&mut choices, 300, 60);
            model.apply(&batch);
            with_scope(&database, "things", |scope| {
                database.write(scope, batch.clone())
            })
            .unwrap();
            database.seal_all().unwrap();
        }
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let request = RunRequest {
                        dry_run: false,
                        arguments: serde_json::json!({"all": true}),
                    };
                    // Where the other run is under way, this one is refused.
                    let _ = database.jobs().run("index_rebuild", request);
                });
                scope.spawn(|| while database.upkeep().unwrap() {});
            }
        });
        assert_eq!(
            read_all(&database, "things").unwrap(),
            model,
            "round {round}"
        );
    }
}

#[test]
fn a_collection_deleted_while_it_is_written_to_a_segment_is_no_damage_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(Config::at(folder.path()).unwrap());
    let database = Database::open(config).unwrap();
    let mut choices = Choices(5);
    for round in 0..60 {
        create(&database, "short").unwrap();
        write(&database, "short", insertion("a", 2000, 16));
        std::thread::scope(|scope| {
            let syncing = scope.spawn(|| {
                for job in ["log_sync", "idle_unload", "log_prune"] {
                    let run = database.jobs().run(job, RunRequest::default()).unwrap();
                    assert_eq!(run.message, None, "round {round}, {job}");
                }
                database.upkeep().unwrap();
            });
            std::thread::sleep(Duration::from_micros(choices.below(20_000) as u64));
            database
                .delete_collection(TENANT, DATABASE, "short")
                .unwrap();
            syncing.join().unwrap();
        });
        let segments = folder.path().join("segments");
        let left = std::fs::read_dir(&segments).map_or(0, Iterator::count);
        assert_eq!(left, 0, "round {round}");
    }
}
