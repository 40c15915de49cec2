//! Backups against a model: full ones and chains of incremental ones, taken while a writer writes,
//! restored to SeqIds and times; power cuts while a backup is made; damage anywhere in a backup.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vermilion_engine::backup::{
    BackupKind, BackupManifest, Folder, Target, check, list, lost_link, restore,
};
use vermilion_engine::clock::{Clock, ManualClock};
use vermilion_engine::model::{CollectionUpdate, RecordBatch, SeqId};
use vermilion_engine::storage::sim::{Fault, FaultyStorage, RecordingStorage, Survival};
use vermilion_engine::storage::{MemoryStorage, Storage};
use vermilion_engine::{Config, Database, ErrorKind, Result};

use crate::support::{
    Choices, DATABASE, ModelCollection, TENANT, create, fork, on_disk, random_batch, read_all,
    small, with_scope,
};

/// What a collection was after each of its SeqIds.
#[derive(Clone, Default)]
struct History {
    batches: Vec<(u64, RecordBatch)>,
}

impl History {
    fn push(&mut self, first: u64, batch: RecordBatch) {
        self.batches.push((first, batch));
    }

    /// The records after the operation with SeqId `seq`.
    fn at(&self, seq: u64) -> ModelCollection {
        let mut model = ModelCollection::default();
        for (first, batch) in &self.batches {
            let wanted = (seq + 1).saturating_sub(*first).min(batch.len() as u64);
            if wanted > 0 {
                model.apply(&batch.rows(0..wanted as usize));
            }
        }
        model
    }

    fn last(&self) -> u64 {
        self.batches
            .last()
            .map_or(0, |(first, batch)| first + batch.len() as u64 - 1)
    }
}

/// A database on a disk, with a clock that the test moves and a destination in memory.
struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    destination: Folder,
    shelf: Arc<MemoryStorage>,
}

impl Bench {
    fn new() -> Self {
        let shelf = Arc::new(MemoryStorage::default());
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_secs(1_000));
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            clock,
            destination: Folder::on(shelf.clone()),
            shelf,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, name: &str) -> Config {
        let mut config = on_disk(&self.path(name));
        config.clock = self.clock.clone();
        config
    }

    fn open(&self) -> Database {
        Database::open(self.config("data")).expect("the folder opens")
    }

    fn backup(&self, database: &Database, kind: BackupKind) -> BackupManifest {
        database
            .backup(&self.destination, kind, &mut |_| {})
            .expect("the backup is made")
    }

    fn restore(&self, name: &str, target: &Target) -> Result<Database> {
        restore(&self.destination, &self.path(name), target, &mut |_| {})?;
        let damaged = vermilion_engine::inspect::verify(&self.path(name), &mut |_| {})?;
        assert!(damaged.is_empty(), "{damaged:?}");
        Database::open(self.config(name))
    }

    fn now(&self) -> u64 {
        vermilion_engine::clock::Clock::wall_nanoseconds(self.clock.as_ref())
    }

    /// Lets a second pass and answers the time before it.
    fn tick(&self) -> u64 {
        let now = self.now();
        self.clock.advance(Duration::from_secs(1));
        now
    }
}

fn write(database: &Database, name: &str, batch: RecordBatch) -> u64 {
    with_scope(database, name, |scope| database.write(scope, batch))
        .expect("the batch is valid")
        .first
        .0
}

fn names(database: &Database) -> Vec<String> {
    let page = vermilion_engine::model::Page::default();
    let all = database
        .collections(TENANT, DATABASE, page)
        .expect("listing works");
    let mut names: Vec<String> = all.into_iter().map(|one| one.name).collect();
    names.sort();
    names
}

/// Writes to two collections, and looks after the database, until `stop`.
fn write_until(
    stop: &AtomicBool,
    bench: &Bench,
    database: &Database,
) -> BTreeMap<&'static str, History> {
    let mut choices = Choices(5);
    let mut histories: BTreeMap<&str, History> = BTreeMap::new();
    while !stop.load(Ordering::SeqCst) {
        let name = if choices.once_in(3) { "b" } else { "a" };
        let batch = random_batch(&mut choices, 200, 30);
        let first = write(database, name, batch.clone());
        histories.entry(name).or_default().push(first, batch);
        if choices.once_in(40) {
            database.upkeep().expect("upkeep works");
        }
        if choices.once_in(90) {
            database.seal_all().expect("sealing works");
        }
        bench.tick();
    }
    histories
}

#[test]
fn backups_beside_a_writer_are_restored_to_random_seq_ids_equal_to_the_model() {
    let bench = Bench::new();
    let database = Arc::new(bench.open());
    for name in ["a", "b"] {
        create(&database, name).expect("the name is free");
    }
    let stop = AtomicBool::new(false);
    let mut kinds = Vec::new();
    let histories = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&stop, &bench, &database));
        for round in 0..8 {
            std::thread::sleep(Duration::from_millis(60));
            let kind = if round == 4 {
                BackupKind::Full
            } else {
                BackupKind::Incremental
            };
            kinds.push(bench.backup(&database, kind).kind);
        }
        stop.store(true, Ordering::SeqCst);
        writer.join().expect("the writer ends well")
    });
    let full = kinds
        .iter()
        .filter(|kind| **kind == BackupKind::Full)
        .count();
    assert_eq!((kinds[0], full), (BackupKind::Full, 2), "{kinds:?}");
    bench.backup(&database, BackupKind::Incremental);
    let mut choices = Choices(77);
    let last = histories["a"].last();
    let mut restores = 0;
    for round in 0..6 {
        let seq = (last / 10).max(1) + choices.next() % (last - last / 10);
        let seq = if round == 5 { last } else { seq };
        let target = Target::Seqs(vec![("a".to_owned(), SeqId(seq))]);
        let restored = match bench.restore(&format!("restored{round}"), &target) {
            Ok(restored) => restored,
            // What the first full backup has in segments is not to be had record by record.
            Err(error) => {
                assert!(
                    error.message().contains("No full backup is old enough"),
                    "{error}"
                );
                assert!(seq < 2_000, "{error}: {seq} of {last}");
                continue;
            }
        };
        let found = read_all(&restored, "a").expect("reading works");
        assert!(found == histories["a"].at(seq), "SeqId {seq} of {last}");
        let head = with_scope(&restored, "a", |scope| restored.indexing_status(scope));
        let head = head.expect("known");
        assert_eq!(head.total_operations, seq);
        restores += 1;
        restored.close().expect("closing works");
    }
    assert!(restores >= 3, "{restores} of 6 SeqIds could be restored");
    let restored = bench
        .restore("newest", &Target::Newest)
        .expect("it is restored");
    for (name, history) in &histories {
        let found = read_all(&restored, name).expect("reading works");
        assert!(found == history.at(history.last()), "{name}");
    }
    // What was restored goes on where it was.
    let batch = random_batch(&mut choices, 20, 5);
    assert_eq!(write(&restored, "a", batch), last + 1);
}

#[test]
fn batches_that_are_not_indexed_yet_are_backed_up_and_restored_to_seq_ids_inside_them() {
    for kept_bytes in [0, 1 << 20] {
        let bench = Bench::new();
        let mut config = bench.config("data");
        config.ingest.batch_ingest = true;
        config.ingest.kept_bytes = kept_bytes;
        let database = Database::open(config).expect("the folder opens");
        create(&database, "a").expect("the name is free");
        let (mut choices, mut history) = (Choices(kept_bytes + 9), History::default());
        let mut write_some = |history: &mut History| {
            for _ in 0..30 {
                let batch = random_batch(&mut choices, 100, 20);
                let first = write(&database, "a", batch.clone());
                history.push(first, batch);
            }
            let status = with_scope(&database, "a", |scope| database.indexing_status(scope));
            let status = status.expect("known");
            assert_eq!(status.total_operations, history.last());
            assert!(status.indexed_operations < history.last(), "{status:?}");
        };
        write_some(&mut history);
        // The first batches are in segments, so that only the others are in the log alone.
        database.seal_all().expect("sealing works");
        let sealed = history.last();
        write_some(&mut history);
        let full = bench.backup(&database, BackupKind::Full);
        assert!(full.log_batches >= 30, "{full:?}");
        let at_full = history.last();
        write_some(&mut history);
        let more = bench.backup(&database, BackupKind::Incremental);
        assert_eq!((more.kind, more.log_batches), (BackupKind::Incremental, 30));
        let last = history.last();
        for (round, seq) in [sealed, sealed + 1, at_full - 3, at_full, at_full + 7, last]
            .into_iter()
            .enumerate()
        {
            let target = Target::Seqs(vec![("a".to_owned(), SeqId(seq))]);
            let restored = bench
                .restore(&format!("restored{round}"), &target)
                .expect("it is restored");
            let found = read_all(&restored, "a").expect("reading works");
            assert!(found == history.at(seq), "SeqId {seq} of {last}");
        }
        // What was backed up is indexed as if nothing had happened.
        let found = read_all(&database, "a").expect("reading works");
        assert!(found == history.at(last));
    }
}

/// One random change of records or names, to the database and the model.
fn change_something(
    database: &Database,
    choices: &mut Choices,
    model: &mut BTreeMap<String, ModelCollection>,
    step: usize,
) {
    let name = format!("col{}", choices.below(4));
    match choices.below(12) {
        0 if model.contains_key(&name) => {
            database
                .delete_collection(TENANT, DATABASE, &name)
                .expect("it exists");
            model.remove(&name);
        }
        1 if model.contains_key(&name) => {
            let new_name = format!("renamed{step}");
            let update = CollectionUpdate {
                name: Some(new_name.clone()),
                ..CollectionUpdate::default()
            };
            with_scope(database, &name, |scope| {
                database.update_collection(scope, update)
            })
            .expect("the name is free");
            let records = model.remove(&name).expect("it is there");
            model.insert(new_name, records);
        }
        4 if model.contains_key(&name) => {
            let new_name = format!("forked{step}");
            fork(database, &name, &new_name).expect("the name is free");
            let records = model[&name].clone();
            model.insert(new_name, records);
        }
        5 if step > 20 && !model.contains_key(&name) => {
            let Some(source) = model.keys().nth(choices.below(model.len().max(1))).cloned() else {
                return;
            };
            fork(database, &source, &name).expect("the name is free");
            let records = model[&source].clone();
            model.insert(name, records);
        }
        2 => database.seal_all().expect("sealing works"),
        3 => {
            database.upkeep().expect("upkeep works");
        }
        _ => {
            if !model.contains_key(&name) {
                create(database, &name).expect("the name is free");
                model.insert(name.clone(), ModelCollection::default());
            }
            let batch = random_batch(choices, 60, 20);
            model.get_mut(&name).expect("it was made").apply(&batch);
            write(database, &name, batch);
        }
    }
}

#[test]
fn a_time_brings_back_the_names_and_records_of_that_time() {
    let bench = Bench::new();
    let database = bench.open();
    let mut choices = Choices(9);
    let mut model: BTreeMap<String, ModelCollection> = BTreeMap::new();
    let mut moments: Vec<(u64, BTreeMap<String, ModelCollection>)> = Vec::new();
    create(&database, "col0").expect("the name is free");
    model.insert("col0".to_owned(), ModelCollection::default());
    bench.backup(&database, BackupKind::Full);
    for step in 0..160 {
        change_something(&database, &mut choices, &mut model, step);
        moments.push((bench.tick(), model.clone()));
        if step % 25 == 24 {
            let made = bench.backup(&database, BackupKind::Incremental);
            assert_eq!(
                (made.kind, made.changes_known),
                (BackupKind::Incremental, true)
            );
            bench.tick();
        }
    }
    bench.backup(&database, BackupKind::Incremental);
    database.close().expect("closing works");
    for round in 0..12 {
        let (time, expected) = &moments[choices.below(moments.len())];
        let restored = bench.restore(&format!("restored{round}"), &Target::Time(*time));
        let restored = restored.unwrap_or_else(|error| panic!("{time}: {error}"));
        let found: BTreeMap<String, ModelCollection> = names(&restored)
            .into_iter()
            .map(|name| {
                let records = read_all(&restored, &name).expect("reading works");
                (name, records)
            })
            .collect();
        assert!(found == *expected, "{time}: {:?}", names(&restored));
        restored.close().expect("closing works");
    }
    for time in [1, bench.now() + 1] {
        let error = bench
            .restore("never", &Target::Time(time))
            .err()
            .expect("out of range");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(!bench.path("never").exists() && !bench.path("never.restoring").exists());
    }
}

#[test]
fn a_collection_deleted_between_two_backups_comes_back_as_of_the_time_before() {
    let bench = Bench::new();
    let database = bench.open();
    let mut choices = Choices(3);
    bench.backup(&database, BackupKind::Full);
    bench.tick();
    create(&database, "short").expect("the name is free");
    let batch = random_batch(&mut choices, 20, 20);
    write(&database, "short", batch.clone());
    let alive = bench.tick();
    database
        .delete_collection(TENANT, DATABASE, "short")
        .expect("it exists");
    bench.tick();
    create(&database, "short").expect("the name is free again");
    bench.tick();
    bench.backup(&database, BackupKind::Incremental);
    let restored = bench
        .restore("alive", &Target::Time(alive))
        .expect("it is restored");
    let mut expected = ModelCollection::default();
    expected.apply(&batch);
    assert_eq!(
        read_all(&restored, "short").expect("reading works"),
        expected
    );
    let newest = bench
        .restore("newest", &Target::Newest)
        .expect("it is restored");
    let empty = read_all(&newest, "short").expect("reading works");
    assert_eq!(empty, ModelCollection::default());
}

#[test]
fn incremental_backups_go_on_across_restarts_and_become_full_where_the_log_is_gone() {
    let bench = Bench::new();
    let mut choices = Choices(4);
    let mut model = ModelCollection::default();
    let mut kinds = Vec::new();
    for round in 0..6 {
        let mut config = bench.config("data");
        config.limits.backup_log_bytes_max = if round == 4 { 0 } else { 1 << 20 };
        let database = Database::open(config).expect("the folder opens");
        if round == 0 {
            create(&database, "a").expect("the name is free");
        }
        for _ in 0..12 {
            let batch = random_batch(&mut choices, 100, 40);
            model.apply(&batch);
            write(&database, "a", batch);
        }
        database.seal_all().expect("sealing works");
        database.close().expect("closing works");
        drop(database);
        let database = bench.open();
        let made = bench.backup(&database, BackupKind::Incremental);
        kinds.push(made.kind);
        let gone = made.reason.is_some_and(|reason| reason.contains("is gone"));
        assert_eq!(gone, round == 4, "round {round}");
        bench.tick();
        database.close().expect("closing works");
    }
    let full: Vec<bool> = kinds.iter().map(|kind| *kind == BackupKind::Full).collect();
    assert_eq!(full, [true, false, false, false, true, false]);
    let restored = bench
        .restore("newest", &Target::Newest)
        .expect("it is restored");
    assert_eq!(read_all(&restored, "a").expect("reading works"), model);
    let before = list(&bench.destination).expect("listing works")[3]
        .manifest
        .clone();
    let gap = Target::Time(before.expect("it is sound").time + 1);
    let error = bench
        .restore("gap", &gap)
        .err()
        .expect("nothing is known of that time");
    assert!(
        error
            .message()
            .contains("Nothing is known of the time between"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_restored_is_refused_with_what_can() {
    let bench = Bench::new();
    let database = bench.open();
    let none = bench
        .restore("r", &Target::Newest)
        .err()
        .expect("there is none");
    assert_eq!(none.kind(), ErrorKind::NotFound);
    create(&database, "a").expect("the name is free");
    let mut choices = Choices(1);
    write(&database, "a", random_batch(&mut choices, 9, 9));
    bench.backup(&database, BackupKind::Full);
    let refused = |name: &str, seq: u64, part: &str| {
        let target = Target::Seqs(vec![(name.to_owned(), SeqId(seq))]);
        let error = bench.restore("r", &target).err().expect("it is refused");
        assert!(error.message().contains(part), "{error}");
    };
    refused("nothing", 1, "No backup has a collection [nothing]");
    refused("a", 1_000, "[a] up to ");
    std::fs::create_dir(bench.path("full")).expect("a folder");
    std::fs::write(bench.path("full/x"), "x").expect("a file");
    let taken = bench
        .restore("full", &Target::Newest)
        .err()
        .expect("it is not empty");
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        std::fs::read(bench.path("full/x")).expect("it is there"),
        b"x"
    );
    // Another database's backups are never mixed with these.
    let other = Database::open(bench.config("other")).expect("an empty folder opens");
    let error = other.backup(&bench.destination, BackupKind::Full, &mut |_| {});
    let error = error.expect_err("it belongs to another");
    assert!(error.message().contains("another database"), "{error}");
    assert_eq!(list(&bench.destination).expect("listing works").len(), 1);
}

#[test]
fn damage_to_any_file_of_a_backup_is_found_and_named_and_never_restored() {
    let bench = Bench::new();
    let database = bench.open();
    let mut choices = Choices(6);
    for name in ["a", "b"] {
        create(&database, name).expect("the name is free");
        for _ in 0..6 {
            write(&database, name, random_batch(&mut choices, 40, 30));
        }
    }
    database.seal_all().expect("sealing works");
    write(&database, "a", random_batch(&mut choices, 40, 30));
    bench.backup(&database, BackupKind::Full);
    write(&database, "b", random_batch(&mut choices, 40, 30));
    bench.backup(&database, BackupKind::Incremental);
    for backup in list(&bench.destination).expect("listing works") {
        let damaged = check(&bench.destination, backup.number, &mut |_| {});
        assert!(damaged.expect("it can be read").is_empty());
    }
    let sound = bench.shelf.files();
    let inside: Vec<_> = sound
        .iter()
        .filter(|(path, _)| path.starts_with("backups/"))
        .collect();
    assert!(inside.iter().any(|(path, _)| path.contains("/segments/")));
    assert!(
        inside
            .iter()
            .filter(|(path, _)| path.contains("/log/"))
            .count()
            >= 2
    );
    for (round, (path, bytes)) in inside.iter().enumerate() {
        let mut changed = bytes.clone();
        let at = choices.below(changed.len());
        changed[at] ^= 1 << choices.below(8);
        let cut = bytes[..bytes.len() - 1].to_vec();
        let longer = [bytes.as_slice(), b"x"].concat();
        for harmed in [Some(changed), Some(cut), Some(longer), None] {
            let shelf = MemoryStorage::default();
            for (other, bytes) in &sound {
                let content = if other == path {
                    harmed.clone()
                } else {
                    Some(bytes.clone())
                };
                if let Some(content) = content {
                    shelf.insert(other, content).expect("a free name");
                }
            }
            let missing_manifest = harmed.is_none() && path.ends_with("/manifest");
            let harmed = Folder::on(Arc::new(shelf));
            let target = bench.path(&format!("harmed{round}"));
            match restore(&harmed, &target, &Target::Newest, &mut |_| {}) {
                Err(error) => {
                    let named = error.message().contains(path.as_str());
                    assert!(named || missing_manifest, "{path}: {error}");
                }
                // Without its manifest the second backup was never finished: the first one is the
                // newest.
                Ok(report) => assert!(missing_manifest && report.backups == [1], "{path}"),
            }
            assert!(!bench.path(&format!("harmed{round}.restoring")).exists());
            if target.exists() {
                std::fs::remove_dir_all(&target).expect("it can be removed");
            }
            let number = path.split('/').nth(1).and_then(|name| name.parse().ok());
            let found = check(&harmed, number.expect("a number"), &mut |_| {});
            let found = found.map_or(true, |damaged| !damaged.is_empty());
            assert!(found, "{path}: damage was not found");
        }
    }
}

#[test]
fn a_lost_link_of_a_chain_is_told_and_makes_the_next_backup_a_full_one() {
    for lost in ["folder", "manifest", "damaged manifest"] {
        let bench = Bench::new();
        let database = bench.open();
        create(&database, "a").expect("the name is free");
        let mut choices = Choices(5);
        let mut back_up = || {
            write(&database, "a", random_batch(&mut choices, 40, 20));
            bench.tick();
            bench.backup(&database, BackupKind::Incremental)
        };
        for number in 1..=3 {
            assert_eq!(back_up().number, number);
        }
        let second = format!("backups/{:020}", 2);
        let manifest = format!("{second}/manifest");
        match lost {
            "folder" => bench.shelf.remove_dir(&second),
            "manifest" => bench.shelf.remove_file(&manifest),
            _ => {
                let cut = bench.shelf.read(&manifest).expect("it is there")[..40].to_vec();
                bench.shelf.remove_file(&manifest).expect("removable");
                bench.shelf.insert(&manifest, cut)
            }
        }
        .expect("the shelf can be changed");
        let told = |number: u64| {
            let backups = list(&bench.destination).expect("it can be listed");
            let backup = backups.iter().find(|backup| backup.number == number);
            let manifest = backup.expect("it is there").manifest.as_ref();
            lost_link(&backups, manifest.expect("it is whole"))
        };
        assert_eq!(told(1), None);
        let message = told(3).expect("it cannot be restored");
        assert!(message.contains("carries on backup 2"), "{lost}: {message}");
        // What is left of the second backup stays, as what the third was made for.
        let made = back_up();
        assert_eq!((made.number, made.kind), (4, BackupKind::Full), "{lost}");
        let reason = made.reason.expect("an incremental one was asked for");
        assert!(reason.contains("carries on backup 2"), "{lost}: {reason}");
        let left = bench.shelf.exists(&second).expect("the shelf is whole");
        assert_eq!(left, lost != "folder");
        let next = back_up();
        assert_eq!(
            (next.kind, next.continues),
            (BackupKind::Incremental, Some(4))
        );
        assert_eq!((told(4), told(5)), (None, None));
        drop(database);
        bench
            .restore(&format!("restored from {lost}"), &Target::Newest)
            .expect("the newest backup is whole");
    }
}

#[test]
fn a_power_cut_while_a_backup_is_made_leaves_the_earlier_ones_and_the_database_whole() {
    for seed in 0..3 {
        let mut choices = Choices(seed);
        let shelf = RecordingStorage::default();
        let destination = Folder::on(Arc::new(shelf.clone()));
        let database = Database::open(small(Config::in_memory())).expect("it opens");
        create(&database, "a").expect("the name is free");
        let (mut model, mut states) = (ModelCollection::default(), Vec::new());
        for round in 0..5 {
            for _ in 0..4 {
                let batch = random_batch(&mut choices, 40, 20);
                model.apply(&batch);
                write(&database, "a", batch);
            }
            if round == 2 {
                database.seal_all().expect("sealing works");
            }
            let kind = if round == 3 {
                BackupKind::Full
            } else {
                BackupKind::Incremental
            };
            shelf.mark("begin");
            database
                .backup(&destination, kind, &mut |_| {})
                .expect("the backup is made");
            states.push(model.clone());
            shelf.mark("made");
        }
        let trace = shelf.trace();
        let survivals = [
            Survival::All,
            Survival::Nothing,
            Survival::Prefix,
            Survival::Scattered,
            Survival::Mixed,
        ];
        let mut restored = 0;
        for round in 0..40 {
            let at = choices.below(trace.len() + 1);
            let survival = survivals[round % survivals.len()];
            let rebuilt = trace
                .rebuild(at, survival, choices.next())
                .expect("it is rebuilt");
            let made = rebuilt
                .marks
                .iter()
                .filter(|mark| mark.label == "made")
                .count();
            let what = format!("seed {seed}, cut at {at} of {}, {survival:?}", trace.len());
            let after = Folder::on(Arc::new(rebuilt.storage));
            restored += check_after_cut(&after, made, &states, &what);
        }
        assert!(restored > 20, "{restored} restores");
    }
}

/// Restores the newest backup that a cut has left; how many there were to restore.
fn check_after_cut(after: &Folder, made: usize, states: &[ModelCollection], what: &str) -> usize {
    let listed = list(after).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        listed.len() == made || listed.len() == made + 1,
        "{what}: {}",
        listed.len()
    );
    for backup in &listed {
        let damaged = check(after, backup.number, &mut |_| {});
        let damaged = damaged.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(damaged.is_empty(), "{what}: {damaged:?}");
    }
    if listed.is_empty() {
        return 0;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("restored");
    restore(after, &path, &Target::Newest, &mut |_| {})
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = read_all(
        &Database::open(on_disk(&path)).expect("the folder opens"),
        "a",
    )
    .expect("reading works");
    assert!(found == states[listed.len() - 1], "{what}");
    1
}

#[test]
fn a_backup_that_failed_is_cleared_away_and_the_next_one_carries_on() {
    let shelf = FaultyStorage::new(Arc::new(MemoryStorage::default()));
    let destination = Folder::on(Arc::new(shelf.clone()));
    let database = Database::open(small(Config::in_memory())).expect("it opens");
    create(&database, "a").expect("the name is free");
    let (mut choices, mut model) = (Choices(8), ModelCollection::default());
    let mut made = 0;
    for at in 1..200 {
        let batch = random_batch(&mut choices, 40, 20);
        model.apply(&batch);
        write(&database, "a", batch);
        let fault = if at % 2 == 0 {
            Fault::OutOfSpace
        } else {
            Fault::FailingSync
        };
        shelf.fail_once(fault, 1 + at / 8);
        let outcome = database.backup(&destination, BackupKind::Incremental, &mut |_| {});
        shelf.heal();
        made += usize::from(outcome.is_ok());
        if at % 40 != 0 {
            continue;
        }
        database
            .backup(&destination, BackupKind::Incremental, &mut |_| {})
            .expect("it is healed");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("restored");
        restore(&destination, &path, &Target::Newest, &mut |_| {}).expect("it is restored");
        assert_eq!(
            read_all(
                &Database::open(on_disk(&path)).expect("the folder opens"),
                "a"
            )
            .expect("reading works"),
            model
        );
    }
    assert!(made > 10, "{made} were made in spite of everything");
}

/// A clock that does something the first time that it is asked for the time of the day once armed.
struct Armed {
    inner: Arc<ManualClock>,
    first: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Clock for Armed {
    fn wall_nanoseconds(&self) -> u64 {
        let first = self.first.lock().expect("no test panics with it").take();
        if let Some(first) = first {
            first();
        }
        self.inner.wall_nanoseconds()
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }
}

#[test]
fn what_is_sealed_between_the_catalogue_and_the_log_of_a_backup_is_in_it() {
    let bench = Bench::new();
    let clock = Arc::new(Armed {
        inner: bench.clock.clone(),
        first: Mutex::default(),
    });
    let mut config = on_disk(&bench.folder.path().join("data"));
    config.clock = clock.clone();
    config.upkeep.background = false;
    let database = Arc::new(Database::open(config).expect("the folder opens"));
    create(&database, "a").expect("the name is free");
    let mut choices = Choices(5);
    let mut model = ModelCollection::default();
    for _ in 0..40 {
        let batch = random_batch(&mut choices, 60, 60);
        model.apply(&batch);
        write(&database, "a", batch);
    }
    let sealing = database.clone();
    *clock.first.lock().expect("nothing panicked") = Some(Box::new(move || {
        sealing.seal_all().expect("sealing works");
        // The thread of the log removes files that nobody needs.
        std::thread::sleep(Duration::from_millis(300));
    }));
    database
        .backup(&bench.destination, BackupKind::Full, &mut |_| {})
        .expect("a backup is made");
    assert!(clock.first.lock().expect("nothing panicked").is_none());
    let path = bench.folder.path().join("restored");
    restore(&bench.destination, &path, &Target::Newest, &mut |_| {}).expect("it is whole");
    let restored = Database::open(on_disk(&path)).expect("the folder opens");
    assert_eq!(read_all(&restored, "a").expect("reading works"), model);
}
