//! Expiry: records past their time go, no other does, whatever happens around them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vermilion_engine::clock::{Clock, ManualClock};
use vermilion_engine::control::Component;
use vermilion_engine::expiry::{EXPIRES_AT, TTL_SECONDS};
use vermilion_engine::model::{
    CollectionUpdate, Deletion, Embeddings, MetadataColumn, NewCollection, Operation,
    OptionalStrings, QueryRequest, RecordBatch, RecordSelection, Schema, Value,
};
use vermilion_engine::schedule::RunRequest;
use vermilion_engine::{Config, Database, ErrorKind, Result};

use crate::support::{
    DATABASE, TENANT, create, on_disk, read_all, read_beside_writers, with_scope,
};

/// A database with a clock that the test moves.
struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_secs(1_000_000));
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, clock }
    }

    fn open(&self) -> Database {
        Database::open(self.config()).expect("the folder opens")
    }

    /// A database that answers writers before it indexes, by `workers` or by whoever reads.
    fn open_behind(&self, workers: bool, kept_bytes: u64) -> Database {
        let mut config = self.config();
        config.ingest.batch_ingest = true;
        config.ingest.kept_bytes = kept_bytes;
        config.upkeep.background = workers;
        Database::open(config).expect("the folder opens")
    }

    fn config(&self) -> Config {
        let mut config = on_disk(self.folder.path());
        config.clock = self.clock.clone();
        config
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn seconds(&self) -> i64 {
        (self.clock.wall_nanoseconds() / 1_000_000_000) as i64
    }

    fn expire(&self, database: &Database, limit: usize) -> (u64, bool) {
        let now = self.clock.wall_nanoseconds();
        let report = database.expire(now, limit).expect("expiry works");
        assert_eq!(report.busy, 0);
        (report.expired, report.more)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a test makes the value where it passes it"
)]
fn upsert(ids: &[&str], ends: Option<Value>) -> RecordBatch {
    let mut metadata = MetadataColumn::default();
    for _ in ids {
        metadata.push_row(ends.clone().map(|ends| (EXPIRES_AT, ends)));
    }
    RecordBatch {
        operations: vec![Operation::Upsert; ids.len()],
        ids: ids.iter().copied().collect(),
        embeddings: Embeddings::new(2, vec![1.0; ids.len() * 2]).expect("whole rows"),
        documents: OptionalStrings::absent(ids.len()),
        uris: OptionalStrings::absent(ids.len()),
        metadata,
    }
}

fn write(database: &Database, name: &str, batch: RecordBatch) {
    with_scope(database, name, |scope| database.write(scope, batch)).expect("the batch is valid");
}

fn create_with_life(database: &Database, name: &str, life: serde_json::Value) -> Result<()> {
    let mut metadata = serde_json::Map::new();
    metadata.insert(TTL_SECONDS.to_owned(), life);
    let new = NewCollection {
        tenant: TENANT.to_owned(),
        database: DATABASE.to_owned(),
        name: name.to_owned(),
        metadata: Some(metadata),
        schema: Schema::default(),
        get_or_create: false,
    };
    database.create_collection(new).map(|_| ())
}

fn ids(database: &Database, name: &str) -> Vec<String> {
    let records = read_all(database, name).expect("reading works").records;
    records.into_iter().map(|record| record.id).collect()
}

fn ids_beside_writers(database: &Database, name: &str) -> Vec<String> {
    let read = read_beside_writers(database, name).expect("reading works");
    read.records.into_iter().map(|record| record.id).collect()
}

#[test]
fn records_that_say_when_they_end_go_then_in_memory_and_in_segments() {
    let bench = Bench::new();
    let database = bench.open();
    create(&database, "a").expect("the name is free");
    let now = bench.seconds();
    write(&database, "a", upsert(&["stays"], None));
    write(
        &database,
        "a",
        upsert(&["soon"], Some(Value::Int(now + 10))),
    );
    write(
        &database,
        "a",
        upsert(&["half"], Some(Value::Float(now as f64 + 9.5))),
    );
    database.seal_all().expect("sealing works");
    write(
        &database,
        "a",
        upsert(&["later"], Some(Value::Int(now + 100))),
    );
    assert_eq!(bench.expire(&database, 100), (0, false));
    bench.pass(9);
    assert_eq!(bench.expire(&database, 100), (0, false));
    bench.pass(1);
    assert_eq!(bench.expire(&database, 100), (2, false));
    assert_eq!(ids(&database, "a"), ["stays", "later"]);
    bench.pass(90);
    // A record that is written again with another end lives on.
    write(
        &database,
        "a",
        upsert(&["later"], Some(Value::Int(now + 500))),
    );
    assert_eq!(bench.expire(&database, 100), (0, false));
    database.close().expect("closing works");
    drop(database);
    let database = bench.open();
    bench.pass(400);
    assert_eq!(bench.expire(&database, 100), (1, false));
    assert_eq!(ids(&database, "a"), ["stays"]);
}

#[test]
fn records_of_a_collection_with_a_life_go_that_long_after_they_were_last_written() {
    let bench = Bench::new();
    let database = bench.open();
    create_with_life(&database, "a", 3200.into()).expect("it is a life");
    create(&database, "other").expect("the name is free");
    write(&database, "other", upsert(&["x"], None));
    write(&database, "a", upsert(&["first", "again"], None));
    bench.expire(&database, 100);
    bench.pass(1600);
    write(&database, "a", upsert(&["again", "second"], None));
    bench.expire(&database, 100);
    database.seal_all().expect("sealing works");
    bench.pass(1599);
    assert_eq!(bench.expire(&database, 100), (0, false));
    database.close().expect("closing works");
    drop(database);
    let database = bench.open();
    bench.pass(1);
    assert_eq!(bench.expire(&database, 100), (1, false));
    assert_eq!(ids(&database, "a"), ["again", "second"]);
    bench.pass(1600);
    assert_eq!(bench.expire(&database, 100), (2, false));
    assert_eq!(ids(&database, "a"), Vec::<String>::new());
    assert_eq!(ids(&database, "other"), ["x"]);
}

#[test]
fn a_round_ends_at_its_limit_and_says_so_and_a_life_can_be_taken_back() {
    let bench = Bench::new();
    let database = bench.open();
    create_with_life(&database, "a", 10.into()).expect("it is a life");
    let many: Vec<String> = (0..25).map(|number| format!("r{number:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    write(&database, "a", upsert(&many, None));
    bench.expire(&database, 10);
    bench.pass(10);
    assert_eq!(bench.expire(&database, 10), (10, true));
    assert_eq!(bench.expire(&database, 10), (10, true));
    let update = CollectionUpdate {
        metadata: Some(serde_json::Map::new()),
        ..CollectionUpdate::default()
    };
    with_scope(&database, "a", |scope| {
        database.update_collection(scope, update)
    })
    .expect("metadata can be taken back");
    assert_eq!(bench.expire(&database, 10), (0, false));
    assert_eq!(ids(&database, "a").len(), 5);
}

#[test]
fn lives_and_ends_that_are_none_are_refused_and_change_nothing() {
    let bench = Bench::new();
    let database = bench.open();
    for wrong in [0.into(), (-5).into(), "soon".into(), 1.5.into()] {
        let error = create_with_life(&database, "a", wrong).expect_err("it is no life");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.message().contains(TTL_SECONDS), "{error}");
    }
    assert_eq!(
        database
            .count_collections(TENANT, DATABASE)
            .expect("counting works"),
        0
    );
    create(&database, "a").expect("the name is free");
    let batch = upsert(&["x"], Some(Value::Str("tomorrow".into())));
    let error = with_scope(&database, "a", |scope| database.write(scope, batch));
    let error = error.expect_err("it is no time");
    assert!(error.message().contains(EXPIRES_AT), "{error}");
    assert_eq!(ids(&database, "a"), Vec::<String>::new());
}

#[test]
fn no_record_that_is_written_again_is_lost_to_expiry() {
    let bench = Bench::new();
    let database = bench.open();
    create(&database, "a").expect("the name is free");
    let past = bench.seconds() - 1;
    std::thread::scope(|scope| {
        let expiring = scope.spawn(|| {
            let mut expired = 0;
            for _ in 0..400 {
                let now = bench.clock.wall_nanoseconds();
                expired += database.expire(now, 100).expect("expiry works").expired;
            }
            expired
        });
        for round in 0..300 {
            let id = format!("r{}", round % 7);
            write(&database, "a", upsert(&[&id], Some(Value::Int(past))));
            // Whoever writes a record that lasts finds it, whatever ended before under its id.
            write(
                &database,
                "a",
                upsert(&[&id], Some(Value::Int(past + 1_000))),
            );
            assert!(ids(&database, "a").contains(&id), "round {round}");
        }
        assert!(expiring.join().expect("it ends well") <= 300);
    });
}

#[test]
fn what_is_logged_and_not_indexed_counts_before_a_record_expires() {
    for kept_bytes in [0, 1 << 20] {
        let bench = Bench::new();
        let database = bench.open_behind(false, kept_bytes);
        create(&database, "a").expect("the name is free");
        let end = bench.seconds() + 10;
        let ending = || upsert(&["again", "gone"], Some(Value::Int(end)));
        write(&database, "a", ending());
        database.seal_all().expect("sealing works");
        bench.pass(10);
        // Only the log knows of these when the records are found to be past their time.
        write(
            &database,
            "a",
            upsert(&["again"], Some(Value::Int(end + 50))),
        );
        write(&database, "a", upsert(&["new"], None));
        database.pause(Component::Indexing);
        let now = bench.clock.wall_nanoseconds();
        let report = database.expire(now, 100).expect("expiry works");
        assert_eq!((report.expired, report.busy), (0, 1), "paused is paused");
        database.resume(Component::Indexing);
        assert_eq!(bench.expire(&database, 100), (1, false));
        assert_eq!(ids(&database, "a"), ["again", "new"]);
        bench.pass(50);
        assert_eq!(bench.expire(&database, 100), (1, false));
        assert_eq!(ids(&database, "a"), ["new"]);
    }
}

#[test]
fn a_collection_that_is_always_written_to_is_not_kept_from_expiring() {
    for kept_bytes in [0, 1 << 20] {
        let bench = Bench::new();
        let database = bench.open_behind(true, kept_bytes);
        create(&database, "a").expect("the name is free");
        let past = bench.seconds() - 1;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let (stop, database) = (&stop, &database);
                    scope.spawn(move || {
                        let mut round = 0;
                        while !stop.load(Ordering::SeqCst) {
                            let id = format!("busy{writer}-{}", round % 50);
                            write(database, "a", upsert(&[&id], None));
                            round += 1;
                        }
                        round
                    })
                })
                .collect();
            for round in 0..10 {
                let id = format!("ends{round}");
                write(&database, "a", upsert(&[&id], Some(Value::Int(past))));
                // Reading waits until the record is indexed, so that expiry can find it.
                ids_beside_writers(&database, "a");
                bench.expire(&database, 100);
                let left = ids_beside_writers(&database, "a");
                assert!(!left.contains(&id), "round {round}");
            }
            stop.store(true, Ordering::SeqCst);
            for writer in writers {
                assert!(writer.join().expect("it ends well") > 0);
            }
        });
        assert!(ids(&database, "a").iter().all(|id| id.starts_with("busy")));
    }
}

fn count(database: &Database, name: &str) -> u64 {
    with_scope(database, name, |scope| database.count(scope)).expect("counting works")
}

fn nearest(database: &Database, name: &str) -> Vec<String> {
    let request = QueryRequest {
        embeddings: Embeddings::new(2, vec![1.0, 1.0]).expect("whole rows"),
        n_results: 10,
        ..QueryRequest::default()
    };
    let found = with_scope(database, name, |scope| database.query(scope, &request));
    let found = found.expect("searching works");
    found[0].records.ids.iter().map(str::to_owned).collect()
}

#[test]
fn a_record_past_its_time_is_in_no_answer_before_it_is_deleted() {
    let bench = Bench::new();
    let database = bench.open();
    create(&database, "a").expect("the name is free");
    let end = bench.seconds() + 10;
    write(&database, "a", upsert(&["stays"], None));
    write(&database, "a", upsert(&["sealed"], Some(Value::Int(end))));
    database.seal_all().expect("sealing works");
    write(
        &database,
        "a",
        upsert(&["fresh"], Some(Value::Float(end as f64))),
    );
    assert_eq!(count(&database, "a"), 3);
    bench.pass(9);
    assert_eq!(nearest(&database, "a").len(), 3);
    bench.pass(1);
    assert_eq!(ids(&database, "a"), ["stays"]);
    assert_eq!(nearest(&database, "a"), ["stays"]);
    assert_eq!(count(&database, "a"), 1);
    let gone = Deletion {
        selection: RecordSelection {
            ids: Some(vec!["fresh".to_owned(), "stays".to_owned()]),
            filter: None,
        },
        limit: None,
        tell_ids: false,
    };
    let deleted = with_scope(&database, "a", |scope| database.delete(scope, &gone));
    assert_eq!(deleted.expect("deleting works").count, 1);
    assert_eq!(count(&database, "a"), 0);
    assert_eq!(
        bench.expire(&database, 10),
        (2, false),
        "what is gone to readers is left for the job"
    );
}

#[test]
fn records_that_outlived_their_collections_life_are_in_no_answer_before_they_are_deleted() {
    let bench = Bench::new();
    let database = bench.open();
    create_with_life(&database, "a", 3200.into()).expect("it is a life");
    write(&database, "a", upsert(&["old", "again"], None));
    bench.expire(&database, 10);
    bench.pass(1600);
    write(&database, "a", upsert(&["again", "new"], None));
    bench.pass(1599);
    assert_eq!(count(&database, "a"), 3);
    bench.pass(1);
    assert_eq!(ids(&database, "a"), ["again", "new"]);
    assert_eq!(count(&database, "a"), 2);
    assert_eq!(bench.expire(&database, 10), (1, false));
    for _ in 0..2 {
        assert_eq!(bench.expire(&database, 10), (0, false));
        assert_eq!(ids(&database, "a"), ["again", "new"]);
    }
}

#[test]
fn writers_find_nothing_past_its_time_in_their_way() {
    for behind in [false, true] {
        let bench = Bench::new();
        let database = if behind {
            bench.open_behind(true, 1 << 20)
        } else {
            bench.open()
        };
        create(&database, "a").expect("the name is free");
        let end = bench.seconds() + 10;
        write(
            &database,
            "a",
            upsert(&["x", "y", "z"], Some(Value::Int(end))),
        );
        assert_eq!(ids(&database, "a").len(), 3);
        bench.pass(10);
        let with = |operation, id: &str| {
            let mut batch = upsert(&[id], None);
            batch.operations = vec![operation];
            write(&database, "a", batch);
        };
        with(Operation::Add, "x");
        with(Operation::Update, "y");
        with(Operation::Upsert, "z");
        let found = read_all(&database, "a").expect("reading works").records;
        let mut found: Vec<_> = found
            .iter()
            .map(|one| (&*one.id, one.metadata.len()))
            .collect();
        found.sort_unstable();
        assert_eq!(found, [("x", 0), ("z", 0)], "behind: {behind}");
        bench.pass(1_000);
        assert_eq!(bench.expire(&database, 10), (0, false));
        assert_eq!(ids(&database, "a").len(), 2);
    }
}

#[test]
fn a_record_past_its_time_that_is_not_indexed_yet_is_in_no_writers_way() {
    for (kept_bytes, restarted) in [(1 << 20, false), (0, false), (0, true)] {
        let bench = Bench::new();
        let mut database = bench.open_behind(true, kept_bytes);
        create(&database, "a").expect("the name is free");
        write(&database, "a", upsert(&["first"], None));
        assert_eq!(ids(&database, "a"), ["first"]);
        database.pause(Component::Indexing);
        let end = bench.seconds() + 10;
        let ending = upsert(&["x", "y", "z"], Some(Value::Int(end)));
        write(&database, "a", ending);
        write(&database, "a", upsert(&["last"], None));
        let with = |database: &Database, operation, id: &str| {
            let mut batch = upsert(&[id], None);
            batch.operations = vec![operation];
            with_scope(database, "a", |scope| database.write(scope, batch.clone()))
        };
        if restarted {
            drop(database);
            database = bench.open_behind(true, kept_bytes);
            database.pause(Component::Indexing);
        } else {
            with(&database, Operation::Add, "early").expect("nothing is past its time");
        }
        bench.pass(10);
        if !restarted {
            let error = with(&database, Operation::Add, "x").expect_err("it may be in the way");
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
            assert!(error.message().contains("is past its time"), "{error}");
        }
        database.resume(Component::Indexing);
        for (operation, id) in [
            (Operation::Add, "x"),
            (Operation::Update, "y"),
            (Operation::Upsert, "z"),
        ] {
            with(&database, operation, id).expect("it is written");
        }
        let mut found = ids_beside_writers(&database, "a");
        found.retain(|id| id != "early");
        found.sort_unstable();
        assert_eq!(
            found,
            ["first", "last", "x", "z"],
            "{kept_bytes} {restarted}"
        );
        bench.pass(1_000);
        assert_eq!(bench.expire(&database, 10), (0, false));
    }
}

#[test]
fn a_write_over_a_record_past_its_time_is_refused_while_that_cannot_go() {
    let bench = Bench::new();
    let database = bench.open_behind(true, 1 << 20);
    create(&database, "a").expect("the name is free");
    let end = bench.seconds() + 10;
    write(&database, "a", upsert(&["x"], Some(Value::Int(end))));
    assert_eq!(ids(&database, "a"), ["x"]);
    database.pause(Component::Indexing);
    write(&database, "a", upsert(&["other"], None));
    bench.pass(10);
    let again = upsert(&["x"], None);
    let refused = with_scope(&database, "a", |scope| database.write(scope, again.clone()));
    let error = refused.expect_err("its record is in the way");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.message().contains("`x` is past its time"), "{error}");
    database.resume(Component::Indexing);
    write(&database, "a", again);
    assert_eq!(ids(&database, "a"), ["other", "x"]);
}

#[test]
fn expiry_is_a_job_that_can_be_run_dry_and_is_due_twice_a_minute() {
    let bench = Bench::new();
    let database = bench.open();
    create(&database, "a").expect("the name is free");
    let end = bench.seconds() + 10;
    write(&database, "a", upsert(&["ends"], Some(Value::Int(end))));
    bench.pass(10);
    let run = |dry_run| {
        let request = RunRequest {
            dry_run,
            ..RunRequest::default()
        };
        let run = database.jobs().run("expiry", request).expect("it runs");
        run.report.expect("it tells what it did")["expired"].clone()
    };
    assert_eq!(run(true), 1);
    assert_eq!(run(true), 1, "a dry run deletes nothing");
    assert_eq!(run(false), 1);
    assert_eq!(run(false), 0);
    bench.pass(31);
    let runs = database.jobs().run_due();
    assert!(runs.iter().any(|run| run.job == "expiry"), "{runs:?}");
    assert!(database.jobs().run_due().is_empty());
    bench.pass(31);
    assert_eq!(database.jobs().run_due().len(), 1);
}
