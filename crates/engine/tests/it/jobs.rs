//! The jobs of a database: what each task does to a real folder, dry and in earnest, and what the
//! switches of its components do to requests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vermilion_engine::backup::{Destinations, Folder, Folders, Target, restore};
use vermilion_engine::catalog::CatalogLocation;
use vermilion_engine::clock::ManualClock;
use vermilion_engine::config::SchedulerClass;
use vermilion_engine::control::{Component, ComponentState};
use vermilion_engine::model::{GetRequest, RecordBatch};
use vermilion_engine::schedule::{
    JobSpec, Outcome, Policy, Reason, RunRecord, RunRequest, Trigger,
};
use vermilion_engine::{Config, Database, ErrorKind};

use crate::support::{
    Choices, DATABASE, ModelCollection, TENANT, create, on_disk, random_batch, read_all, small,
    with_scope,
};

struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    database: Database,
    model: ModelCollection,
    choices: Choices,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_secs(1_790_000_000));
        let mut config = on_disk(folder.path());
        config.clock = clock.clone();
        let database = Database::open(config).unwrap();
        create(&database, "things").unwrap();
        Self {
            folder,
            clock,
            database,
            model: ModelCollection::default(),
            choices: Choices(7),
        }
    }

    fn write(&mut self, batches: usize) {
        for _ in 0..batches {
            let batch = random_batch(&mut self.choices, 60, 20);
            self.model.apply(&batch);
            with_scope(&self.database, "things", |scope| {
                self.database.write(scope, batch.clone())
            })
            .unwrap();
        }
    }

    /// Runs a job, which must succeed; answers its report.
    fn run(&self, job: &str, dry_run: bool, arguments: Value) -> Value {
        let run = self.try_run(job, dry_run, arguments);
        assert_eq!(run.outcome, Outcome::Succeeded, "{run:?}");
        assert_eq!(run.dry_run, dry_run);
        run.report.unwrap()
    }

    fn try_run(&self, job: &str, dry_run: bool, arguments: Value) -> RunRecord {
        let request = RunRequest { dry_run, arguments };
        self.database.jobs().run(job, request).unwrap()
    }

    /// Every file of the segments with its length.
    fn files(&self) -> BTreeMap<PathBuf, u64> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, u64>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    let bytes = path.metadata().unwrap().len();
                    found.insert(path, bytes);
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.folder.path().join("segments"), &mut found);
        found
    }

    #[track_caller]
    fn is_sound(&self) {
        assert_eq!(read_all(&self.database, "things").unwrap(), self.model);
    }
}

#[test]
fn dry_run_of_every_job_changes_no_file_and_every_job_keeps_the_records() {
    let mut bench = Bench::new();
    bench.write(60);
    bench.database.seal_all().unwrap();
    bench.write(60);
    let jobs = bench.database.jobs().jobs().unwrap();
    assert_eq!(jobs.len(), 11);
    for job in &jobs {
        assert!(job.built_in && job.next.is_some(), "{job:?}");
        let before = bench.files();
        bench.run(&job.name, true, Value::Null);
        assert_eq!(bench.files(), before, "{}", job.name);
    }
    for _ in 0..2 {
        for job in &jobs {
            bench.run(&job.name, false, Value::Null);
            bench.is_sound();
            bench.write(5);
        }
    }
    bench.database.close().unwrap();
}

#[test]
fn jobs_that_are_due_run_and_their_runs_can_be_read_later() {
    let mut bench = Bench::new();
    bench.write(10);
    assert!(bench.database.jobs().run_due().is_empty());
    bench.clock.advance(Duration::from_hours(24 * 8));
    let runs = bench.database.jobs().run_due();
    assert_eq!(runs.len(), 11, "{runs:?}");
    for run in &runs {
        assert_eq!(
            (run.outcome, run.reason),
            (Outcome::Succeeded, Reason::Schedule)
        );
    }
    let history = bench.database.jobs().history(Some("log_sync"), 5).unwrap();
    assert_eq!(history.len(), 1);
    assert!(
        history[0].missed > 100,
        "an hourly job of eight days: {history:?}"
    );
    assert!(bench.database.jobs().run_due().is_empty());
    bench.is_sound();
}

#[test]
fn pruned_log_keeps_one_file_and_a_reopened_folder_keeps_the_records() {
    let mut bench = Bench::new();
    bench.write(150);
    let told = bench.run("log_prune", true, Value::Null);
    assert!(told["files_before"].as_u64().unwrap() > 2, "{told}");
    assert_eq!(told["files_before"], told["files_after"]);
    assert_eq!(told["held_by"].as_array().unwrap().len(), 1);
    let done = bench.run("log_prune", false, Value::Null);
    assert!(done["files_after"].as_u64().unwrap() <= 2, "{done}");
    assert!(done["sealed"].as_u64().unwrap() >= 1, "{done}");
    bench.is_sound();
    let Bench {
        folder,
        database,
        model,
        ..
    } = bench;
    database.close().unwrap();
    drop(database);
    let reopened = Database::open(small(Config::at(folder.path()).unwrap())).unwrap();
    assert_eq!(read_all(&reopened, "things").unwrap(), model);
}

#[test]
fn log_is_synced_to_segments_so_that_nothing_is_behind() {
    let mut bench = Bench::new();
    bench.write(5);
    let behind = |bench: &Bench| bench.database.component(Component::Indexing).lag;
    assert!(behind(&bench) > 0);
    let told = bench.run("log_sync", true, Value::Null);
    assert_eq!(told["operations"], behind(&bench));
    bench.run("log_sync", false, Value::Null);
    assert_eq!(behind(&bench), 0);
    bench.is_sound();
}

#[test]
fn rebuild_drops_dead_rows_of_the_collection_that_is_named() {
    let mut bench = Bench::new();
    bench.write(40);
    bench.database.seal_all().unwrap();
    bench.write(40);
    bench.database.seal_all().unwrap();
    let id = bench
        .database
        .collection(TENANT, DATABASE, "things")
        .unwrap()
        .id;
    let named = json!({"collection": id.to_string()});
    let before = bench.run("index_rebuild", true, named.clone());
    assert!(
        before["rebuilt"][0]["dead_rows"].as_u64().unwrap() > 0,
        "{before}"
    );
    bench.run("index_rebuild", false, named.clone());
    let after = bench.run("index_rebuild", true, named);
    assert_eq!(after["rebuilt"][0]["dead_rows"], 0, "{after}");
    assert_eq!(after["rebuilt"][0]["segments"], 1, "{after}");
    bench.is_sound();
    let nothing = bench.run("index_rebuild", true, Value::Null);
    assert_eq!(nothing["rebuilt"], json!([]));
    let unknown = json!({"collection": "00000000-0000-4000-8000-000000000000"});
    let run = bench.try_run("index_rebuild", false, unknown);
    assert_eq!(run.outcome, Outcome::Failed);
    let run = bench.try_run("index_rebuild", false, json!({"collection": "things"}));
    assert!(run.message.unwrap().contains("UUID"));
}

#[test]
fn sweep_removes_folders_that_nobody_names_and_no_others() {
    let mut bench = Bench::new();
    bench.write(20);
    bench.database.seal_all().unwrap();
    let named = bench.files();
    let id = bench
        .database
        .collection(TENANT, DATABASE, "things")
        .unwrap()
        .id;
    let inside = bench.folder.path().join(format!("segments/{id}/stray"));
    let outside = bench.folder.path().join("segments/stray");
    for folder in [&inside, &outside] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("toc.bin"), b"x").unwrap();
    }
    let told = bench.run("orphan_sweep", true, Value::Null);
    assert_eq!(told["found"].as_array().unwrap().len(), 2, "{told}");
    assert!(inside.exists() && outside.exists());
    let done = bench.run("orphan_sweep", false, Value::Null);
    assert_eq!(done["removed"], 2);
    assert_eq!(bench.files(), named);
    bench.is_sound();
}

#[test]
fn scrub_names_a_damaged_file_and_is_well_again_once_it_is_mended() {
    let mut bench = Bench::new();
    bench.write(40);
    bench.database.seal_all().unwrap();
    let report = bench.run("scrub", false, Value::Null);
    assert!(
        report["bytes"].as_u64().unwrap() > 0 && report["complete"] == true,
        "{report}"
    );
    let files = bench.files();
    let (victim, _) = files
        .iter()
        .find(|(path, _)| path.ends_with("vectors.f32"))
        .unwrap();
    let sound = std::fs::read(victim).unwrap();
    let mut bytes = sound.clone();
    bytes[11] ^= 4;
    std::fs::write(victim, bytes).unwrap();
    let run = bench.try_run("scrub", false, Value::Null);
    assert_eq!(run.outcome, Outcome::Failed);
    assert!(run.message.unwrap().contains("vectors.f32"));
    let status = bench.database.component(Component::Maintenance);
    assert_eq!(
        status
            .last_error
            .as_deref()
            .map(|error| error.contains("scrub")),
        Some(true)
    );
    assert_eq!(status.state, ComponentState::Failed);
    std::fs::write(victim, sound).unwrap();
    bench.run("scrub", false, Value::Null);
    let status = bench.database.component(Component::Maintenance);
    assert_eq!(
        (status.state, status.last_error),
        (ComponentState::Running, None)
    );
}

#[test]
fn vacuum_gives_back_the_space_of_deleted_collections() {
    let mut bench = Bench::new();
    bench.write(3);
    for number in 0..300 {
        create(&bench.database, &format!("short-lived-{number}")).unwrap();
    }
    for number in 0..300 {
        let name = format!("short-lived-{number}");
        bench
            .database
            .delete_collection(TENANT, DATABASE, &name)
            .unwrap();
    }
    let told = bench.run("catalog_vacuum", true, Value::Null);
    assert!(told["free_bytes"].as_u64().unwrap() > 100_000, "{told}");
    let done = bench.run("catalog_vacuum", false, Value::Null);
    let bytes = |name: &str| done[name].as_u64().unwrap();
    assert!(
        bytes("bytes_after") + 100_000 < bytes("bytes_before"),
        "{done}"
    );
    bench.run("catalog_check", false, Value::Null);
    bench.is_sound();
    // A process that dies now leaves a catalogue that opens.
    let copy = tempfile::tempdir().unwrap();
    for name in ["catalog.sqlite", "catalog.sqlite-wal"] {
        std::fs::copy(bench.folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let location = CatalogLocation::File(copy.path().join("catalog.sqlite"));
    let catalog = vermilion_engine::catalog::Catalog::open(&location).unwrap();
    assert_eq!(catalog.load().unwrap().len(), 1);
}

#[test]
fn idle_collection_is_unloaded_and_answers_as_before() {
    let mut bench = Bench::new();
    bench.write(40);
    bench.database.seal_all().unwrap();
    bench.is_sound();
    let first = bench.run("idle_unload", false, Value::Null);
    assert_eq!((&first["idle"], &first["unloaded"]), (&json!(0), &json!(0)));
    let second = bench.run("idle_unload", false, Value::Null);
    assert_eq!(
        (&second["idle"], &second["unloaded"]),
        (&json!(1), &json!(1))
    );
    bench.is_sound();
    bench.write(10);
    bench.database.seal_all().unwrap();
    bench.is_sound();
}

#[track_caller]
fn busy<T: std::fmt::Debug>(result: vermilion_engine::Result<T>, words: &str) {
    let error = result.expect_err(words);
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.message().contains(words), "{error}");
}

#[test]
fn paused_components_refuse_their_work_and_take_it_again() {
    let mut bench = Bench::new();
    bench.write(2);
    let database = &bench.database;
    let write = || {
        let batch = RecordBatch::deletion(["none"].into_iter().collect());
        with_scope(database, "things", |scope| database.write(scope, batch))
    };
    let read = || {
        with_scope(database, "things", |scope| {
            database.get(scope, &GetRequest::default())
        })
    };
    database.pause(Component::Producer);
    busy(write(), "ctl resume producer");
    read().unwrap();
    database.resume(Component::Producer);
    write().unwrap();
    assert!(
        database
            .drain(Component::Query, Duration::from_secs(5))
            .unwrap()
    );
    busy(read(), "ctl resume query");
    assert_eq!(
        database.component(Component::Query).state,
        ComponentState::Paused
    );
    database.resume(Component::Query);
    database.pause(Component::Maintenance);
    busy(
        database.jobs().run("scrub", RunRequest::default()),
        "paused",
    );
    database.resume(Component::Maintenance);
    database.pause(Component::Scheduler);
    bench.clock.advance(Duration::from_hours(2));
    assert!(database.jobs().run_due().is_empty());
    assert!(database.component(Component::Scheduler).queue > 0);
    database.resume(Component::Scheduler);
    assert!(!database.jobs().run_due().is_empty());
    assert!(database.component(Component::Indexing).lag == 0);
    bench.write(3);
    let database = &bench.database;
    assert!(
        database
            .drain(Component::Indexing, Duration::from_mins(1))
            .unwrap()
    );
    let indexing = database.component(Component::Indexing);
    assert_eq!((indexing.lag, indexing.state), (0, ComponentState::Paused));
    bench.write(30);
    bench.database.upkeep().unwrap();
    assert!(bench.database.component(Component::Indexing).lag > 0);
    bench.is_sound();
}

#[test]
fn scheduler_of_the_process_runs_by_itself_and_an_external_one_does_not() {
    for class in [SchedulerClass::InProcess, SchedulerClass::External] {
        let mut config = Config::in_memory();
        config.scheduler_class = class;
        let database = Database::open(config).unwrap();
        let jobs = database.jobs();
        let now = Some(Duration::ZERO);
        jobs.schedule_once("now", "catalog_check", now, None, Policy::default())
            .unwrap();
        let mut runs = Vec::new();
        for _ in 0..100 {
            runs = jobs.history(Some("now"), 9).unwrap();
            if !runs.is_empty() || class == SchedulerClass::External {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let expected = usize::from(class == SchedulerClass::InProcess);
        assert_eq!(runs.len(), expected, "{class:?}");
        assert_eq!(jobs.run_due().len(), 1 - expected, "{class:?}");
        database.close().unwrap();
        let late = jobs.run("catalog_check", RunRequest::default());
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Busy);
    }
}

#[test]
fn switches_of_components_survive_a_restart_until_they_are_turned_back() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Database::open(on_disk(folder.path())).unwrap();
    let state = |database: &Database, one| database.component(one).state;
    let database = open();
    create(&database, "things").unwrap();
    database.pause(Component::Producer);
    database.pause(Component::Maintenance);
    assert!(
        database
            .drain(Component::Query, Duration::from_secs(5))
            .unwrap()
    );
    assert!(database.stop(Component::Indexing, Duration::from_secs(5)));
    let since = database.component(Component::Producer).switched_off;
    assert!(since.is_some());
    database.close().unwrap();
    drop(database);
    let database = open();
    let off = [
        Component::Producer,
        Component::Maintenance,
        Component::Query,
        Component::Indexing,
    ];
    for component in Component::ALL {
        let expected = if off.contains(&component) {
            ComponentState::Paused
        } else {
            ComponentState::Running
        };
        assert_eq!(state(&database, component), expected, "{component}");
    }
    assert_eq!(database.component(Component::Producer).switched_off, since);
    let batch = random_batch(&mut Choices(3), 5, 20);
    let written = with_scope(&database, "things", |scope| {
        database.write(scope, batch.clone())
    });
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Busy);
    let run = database.jobs().run("scrub", RunRequest::default());
    assert_eq!(run.unwrap_err().kind(), ErrorKind::Busy);
    off.iter().for_each(|component| database.resume(*component));
    database.close().unwrap();
    drop(database);
    let database = open();
    for status in database.components() {
        assert_eq!(status.state, ComponentState::Running, "{status:?}");
        assert_eq!(status.switched_off, None);
    }
    with_scope(&database, "things", |scope| database.write(scope, batch)).unwrap();
    database.jobs().run("scrub", RunRequest::default()).unwrap();
}

#[test]
fn pausing_indexing_holds_the_workers_that_index_behind_the_writers() {
    let mut config = small(Config::in_memory());
    config.ingest.batch_ingest = true;
    config.upkeep.background = true;
    let database = Database::open(config).unwrap();
    create(&database, "things").unwrap();
    let indexed = || {
        let status = with_scope(&database, "things", |scope| database.indexing_status(scope));
        status.unwrap().indexed_operations
    };
    database.pause(Component::Indexing);
    let batch = random_batch(&mut Choices(3), 5, 20);
    let seqs = with_scope(&database, "things", |scope| database.write(scope, batch)).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(indexed(), 0, "nobody indexes");
    assert_eq!(database.statistics().waiting_collections, 1);
    let status = database.component(Component::Indexing);
    assert_eq!((status.queue, status.lag), (1, seqs.last.0));
    database.resume(Component::Indexing);
    let everything = read_all(&database, "things").unwrap();
    assert!(!everything.records.is_empty());
    assert_eq!(indexed(), seqs.last.0);
}

#[test]
fn the_scheduler_says_why_nothing_begins_by_itself() {
    let mut config = small(Config::in_memory());
    config.scheduler_class = SchedulerClass::External;
    let database = Database::open(config).unwrap();
    let note = database.component(Component::Scheduler).note;
    assert!(note.unwrap().contains("scheduler_class is external"));
}

fn backups_that_are_none_are_refused(database: &Database) {
    for (arguments, words) in [
        (json!({"destination": "../out"}), "is no name of a folder"),
        (json!({"kind": "half"}), "`full` and `incremental`"),
        (json!({"destinatoin": "a"}), "destinatoin"),
        (json!({"destination": 5}), "it is a text"),
    ] {
        let request = RunRequest {
            dry_run: false,
            arguments,
        };
        let refused = database.jobs().run("backup", request).unwrap();
        assert_eq!(refused.outcome, Outcome::Failed);
        assert!(refused.message.unwrap().contains(words), "{words}");
    }
}

#[test]
fn backups_are_a_job_where_there_is_a_place_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = folder.path().join("shelf");
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_secs(1_790_000_000));
    let open = |with_place: bool| {
        let mut config = on_disk(&folder.path().join("data"));
        config.clock = clock.clone();
        config.backups =
            with_place.then(|| Arc::new(Folders::of(shelf.clone())) as Arc<dyn Destinations>);
        Database::open(config).unwrap()
    };
    let database = open(true);
    create(&database, "things").unwrap();
    let mut model = ModelCollection::default();
    let batch = random_batch(&mut Choices(3), 50, 20);
    model.apply(&batch);
    with_scope(&database, "things", |scope| database.write(scope, batch)).unwrap();
    let run = |arguments: Value, dry_run| {
        let request = RunRequest { dry_run, arguments };
        database.jobs().run("backup", request).unwrap()
    };
    let dry = run(json!({"destination": "here"}), true).report.unwrap();
    assert_eq!((&dry["kind"], &dry["number"]), (&json!("full"), &json!(1)));
    assert!(!shelf.exists(), "a dry run makes no folder");
    backups_that_are_none_are_refused(&database);
    assert!(!shelf.exists());
    let made = run(Value::Null, false).report.unwrap();
    assert_eq!(
        (&made["destination"], &made["kind"]),
        (&json!("scheduled"), &json!("full"))
    );
    let dry = run(Value::Null, true).report.unwrap();
    assert_eq!(
        (&dry["kind"], &dry["continues"]),
        (&json!("incremental"), &json!(1))
    );
    // A job says itself what its task is told.
    let trigger = Trigger::interval(Duration::from_hours(1)).unwrap();
    let spec = JobSpec::new("mine", "backup", trigger, Policy::default()).unwrap();
    database
        .jobs()
        .put(spec.telling(json!({"kind": "full"})))
        .unwrap();
    clock.advance(Duration::from_hours(25));
    let runs = database.jobs().run_due();
    let kind = |job: &str| {
        let run = runs.iter().find(|run| run.job == job).expect(job);
        run.report.as_ref().unwrap()["kind"].clone()
    };
    assert_eq!(
        (kind("mine"), kind("backup")),
        (json!("full"), json!("incremental"))
    );
    let source = Folder::open_read_only(&shelf.join("scheduled")).unwrap();
    let path = folder.path().join("restored");
    restore(&source, &path, &Target::Newest, &mut |_| {}).unwrap();
    let restored = Database::open(on_disk(&path)).unwrap();
    assert_eq!(read_all(&restored, "things").unwrap(), model);
    database.close().unwrap();
    drop(database);
    let database = open(false);
    let error = database.jobs().run("backup", RunRequest::default());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(
        database.jobs().job("mine").unwrap().arguments,
        json!({"kind": "full"})
    );
}

#[test]
fn what_a_job_may_tell_its_task_is_checked_when_the_job_is_made() {
    let bench = Bench::new();
    let put = |task: &str, arguments: Value| {
        let trigger = Trigger::interval(Duration::from_hours(1)).unwrap();
        let spec = JobSpec::new("mine", task, trigger, Policy::default()).unwrap();
        bench.database.jobs().put(spec.telling(arguments))
    };
    for (task, arguments, words) in [
        ("backup", json!({"dest": "a"}), "`destination`, `kind`"),
        ("backup", json!({"kind": "fulll"}), "`incremental`"),
        (
            "backup",
            json!({"destination": "../x"}),
            "is no name of a folder",
        ),
        ("backup", json!({"destination": 5}), "it is a text"),
        ("scrub", json!({"collection": "x"}), "UUID"),
        ("scrub", json!({"kind": "full"}), "it has `collection`"),
        ("index_rebuild", json!({"all": "yes"}), "true or false"),
        ("log_sync", json!({"all": true}), "it has none"),
    ] {
        let error = put(task, arguments).expect_err(words);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(words), "{error}");
    }
    put("backup", json!({"destination": "a", "kind": "full"})).unwrap();
    put("index_rebuild", json!({"all": true})).unwrap();
    put("log_sync", json!({})).unwrap();
}

#[test]
fn backups_are_refused_a_place_in_a_data_folder_and_told_of_one_that_cannot_be_had() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let open = |shelf: &Path| {
        let mut config = on_disk(&data);
        config.backups = Some(Arc::new(Folders::of(shelf.to_owned())) as Arc<dyn Destinations>);
        Database::open(config).unwrap()
    };
    for inside in ["", "segments", "bk/deep"] {
        let database = open(&data.join(inside));
        let error = database.check_destinations().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("in the data folder"), "{error}");
        let run = database.jobs().run("backup", RunRequest::default());
        let message = run.unwrap().message.unwrap();
        assert!(message.contains("in the data folder"), "{message}");
        let error = Folder::open(&data.join(inside)).err().unwrap();
        assert!(error.message().contains("in the data folder"), "{error}");
    }
    assert!(!data.join("bk").exists(), "a refused place is not made");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let database = open(&file.join("shelf"));
    database.check_destinations().unwrap();
    let run = database.jobs().run("backup", RunRequest::default());
    let message = run.unwrap().message.unwrap();
    assert!(message.contains("make the backup folder"), "{message}");
    drop(database);
    let shelf = folder.path().join("shelf");
    let database = open(&shelf);
    database.check_destinations().unwrap();
    let mut entries = std::fs::read_dir(&shelf).unwrap();
    assert!(entries.next().is_none(), "a look leaves nothing");
    // A backup that runs has its destination: another to the same place is told so.
    let held = Folder::open(&shelf.join("scheduled")).unwrap();
    let run = database.jobs().run("backup", RunRequest::default());
    let message = run.unwrap().message.unwrap();
    assert!(message.contains("by this process"), "{message}");
    drop(held);
}
