//! Blobs: kept with their collection through restarts, power cuts, backups and restores; gone with it,
//! and never believed where they are damaged.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use vermilion_engine::backup::{BackupKind, Folder, Target, restore};
use vermilion_engine::catalog::CatalogLocation;
use vermilion_engine::inspect::{inspect, verify};
use vermilion_engine::schedule::RunRequest;
use vermilion_engine::storage::sim::{Rebuilt, RecordingStorage, Survival};
use vermilion_engine::storage::{MemoryStorage, Storage};
use vermilion_engine::{Blob, Config, Database, ErrorKind, Result};

use crate::support::{Choices, DATABASE, TENANT, create, fork, on_disk, small, with_scope};

/// Bytes that tell one blob from another.
fn content(seed: u64) -> Vec<u8> {
    let mut choices = Choices(seed);
    (0..5000).map(|_| choices.below(256) as u8).collect()
}

fn keep(database: &Database, name: &str, seed: u64) -> Result<Blob> {
    with_scope(database, name, |scope| {
        let mut writer = database.begin_blob(scope)?;
        for part in content(seed).chunks(700) {
            writer.write(part)?;
        }
        writer.finish(json!({ "seed": seed }))
    })
}

fn remove(database: &Database, name: &str, blob: &Blob) -> bool {
    with_scope(database, name, |scope| database.remove_blob(scope, blob.id)).expect("removable")
}

/// The seeds of the blobs of a collection, each with the bytes that it was written with.
#[track_caller]
fn kept(database: &Database, name: &str) -> Vec<u64> {
    let blobs = with_scope(database, name, |scope| database.blobs(scope)).expect("readable");
    let seed = |blob: &Blob| {
        let seed = blob.about["seed"].as_u64().expect("each has one");
        let bytes = database.read_blob(blob).expect("it is sound");
        assert_eq!(bytes, content(seed));
        seed
    };
    let mut seeds: Vec<u64> = blobs.iter().map(seed).collect();
    seeds.sort_unstable();
    seeds
}

fn files(folder: &Path) -> usize {
    let folder = folder.join("blobs");
    folder.read_dir().map_or(0, Iterator::count)
}

#[test]
fn a_blob_stays_with_its_collection_until_it_or_the_collection_goes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(on_disk(folder.path())).expect("it opens");
    for name in ["a", "b"] {
        create(&database, name).expect("the name is free");
    }
    let first = keep(&database, "a", 1).expect("writable");
    keep(&database, "a", 2).expect("writable");
    keep(&database, "b", 3).expect("writable");
    // One that is given up leaves nothing.
    with_scope(&database, "a", |scope| {
        let mut writer = database.begin_blob(scope)?;
        writer.write(b"not all of it")
    })
    .expect("writable");
    assert_eq!(files(folder.path()), 3);
    fork(&database, "a", "fork").expect("it can be forked");
    assert_eq!(kept(&database, "fork"), [0; 0]);
    database.close().expect("it closes");
    drop(database);
    let seen = inspect(folder.path()).expect("readable");
    assert_eq!((seen.blobs, seen.blob_bytes), (3, 15_000));

    let database = Database::open(on_disk(folder.path())).expect("it opens");
    assert_eq!(kept(&database, "a"), [1, 2]);
    assert_eq!(kept(&database, "b"), [3]);
    // What is being read stays readable.
    let bytes = database.read_blob(&first).expect("it is sound");
    assert!(remove(&database, "a", &first));
    assert!(!remove(&database, "a", &first));
    assert_eq!(bytes, content(1));
    assert_eq!(kept(&database, "a"), [2]);
    let gone = database
        .read_blob(&first)
        .map(drop)
        .expect_err("it is gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let writer = with_scope(&database, "a", |scope| database.begin_blob(scope)).expect("writable");
    database
        .delete_collection(TENANT, DATABASE, "a")
        .expect("deletable");
    let late = writer
        .finish(json!({}))
        .map(drop)
        .expect_err("its collection is gone");
    assert_eq!(late.kind(), ErrorKind::NotFound);
    assert_eq!((files(folder.path()), kept(&database, "b")), (1, vec![3]));
    database.reset().expect("it can be reset");
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn damage_of_a_blob_is_told_and_none_of_it_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(on_disk(folder.path())).expect("it opens");
    create(&database, "a").expect("the name is free");
    let blob = keep(&database, "a", 1).expect("writable");
    let path = folder.path().join("blobs").join(blob.id.to_string());
    let sound = std::fs::read(&path).expect("readable");
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        bytes
    };
    let longer = [&sound[..], b"x"].concat();
    for damaged in [flipped(0), flipped(4999), sound[..4999].to_vec(), longer] {
        std::fs::write(&path, damaged).expect("writable");
        let error = database
            .read_blob(&blob)
            .map(drop)
            .expect_err("it is damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        let told = verify(folder.path(), &mut |_| {}).expect("readable");
        assert_eq!(told.len(), 1, "{told:?}");
        let run = database
            .jobs()
            .run("scrub", RunRequest::default())
            .expect("it runs");
        let said = format!("{run:?}");
        assert!(said.contains("blobs/"), "{said}");
    }
    std::fs::write(&path, &sound).expect("writable");
    assert_eq!(
        verify(folder.path(), &mut |_| {}).expect("readable").len(),
        0
    );
    assert_eq!(kept(&database, "a"), [1]);
}

#[test]
fn backups_have_each_blob_once_and_restores_those_of_their_moment() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(on_disk(&folder.path().join("data"))).expect("it opens");
    let destination = Folder::on(Arc::new(MemoryStorage::default()));
    let backup = |kind| {
        let made = database
            .backup(&destination, kind, &mut |_| {})
            .expect("it is made");
        let blobs = made
            .files
            .iter()
            .filter(|file| file.path.starts_with("blobs/"));
        (made.time, blobs.count())
    };
    create(&database, "a").expect("the name is free");
    create(&database, "b").expect("the name is free");
    let first = keep(&database, "a", 1).expect("writable");
    let (full, blobs) = backup(BackupKind::Full);
    assert_eq!(blobs, 1);
    keep(&database, "a", 2).expect("writable");
    keep(&database, "b", 3).expect("writable");
    let (second, blobs) = backup(BackupKind::Incremental);
    assert_eq!(blobs, 2);
    assert!(remove(&database, "a", &first));
    let brief = keep(&database, "a", 4).expect("writable");
    let between = database.now_nanoseconds();
    assert!(remove(&database, "a", &brief));
    let (third, blobs) = backup(BackupKind::Incremental);
    assert_eq!(blobs, 0);
    database
        .delete_collection(TENANT, DATABASE, "b")
        .expect("deletable");
    let (_, blobs) = backup(BackupKind::Full);
    assert_eq!(blobs, 1);

    let moments = [
        (Target::Time(full), vec![1], Some(vec![])),
        (Target::Time(second), vec![1, 2], Some(vec![3])),
        // One that came and went between two backups is in none.
        (Target::Time(between), vec![2], Some(vec![3])),
        (Target::Time(third), vec![2], Some(vec![3])),
        (Target::Newest, vec![2], None),
    ];
    for (round, (target, a, b)) in moments.into_iter().enumerate() {
        let path = folder.path().join(format!("restored{round}"));
        restore(&destination, &path, &target, &mut |_| {}).expect("it is restored");
        assert_eq!(verify(&path, &mut |_| {}).expect("readable").len(), 0);
        let restored = Database::open(on_disk(&path)).expect("it opens");
        assert_eq!(kept(&restored, "a"), a, "{target:?}");
        if let Some(b) = b {
            assert_eq!(kept(&restored, "b"), b, "{target:?}");
        }
        assert_eq!(files(&path), restored.all_blobs().expect("readable").len());
    }
}

/// The database as a power cut left it, and its storage.
fn opened(rebuilt: Rebuilt) -> (Database, Arc<dyn Storage>) {
    let mut marks = rebuilt.marks.iter().rev();
    let image = marks.find(|mark| mark.label == "catalog");
    let image = image.map(|mark| Arc::new(mark.bytes.to_vec()));
    let storage: Arc<dyn Storage> = Arc::new(rebuilt.storage);
    let mut config = small(Config::with_storage(storage.clone()));
    config.catalog = CatalogLocation::Memory {
        image,
        on_commit: None,
    };
    (Database::open(config).expect("the folder opens"), storage)
}

#[test]
fn a_power_cut_leaves_a_blob_whole_or_not_at_all() {
    let storage = RecordingStorage::default();
    let on_storage = storage.clone();
    let on_commit = move |image: Vec<u8>| on_storage.mark_with("catalog", image);
    let mut config = small(Config::with_storage(Arc::new(storage.clone())));
    config.catalog = CatalogLocation::Memory {
        image: None,
        on_commit: Some(Arc::new(on_commit)),
    };
    let database = Database::open(config).expect("it opens");
    create(&database, "a").expect("the name is free");
    storage.mark("begun");
    keep(&database, "a", 1).expect("writable");
    storage.mark("kept");
    let second = keep(&database, "a", 2).expect("writable");
    storage.mark("kept");
    assert!(remove(&database, "a", &second));
    storage.mark("removed");
    let trace = storage.trace();
    let mut choices = Choices(1);
    let mut seen = [0; 3];
    for at in 0..=trace.len() {
        for survival in [Survival::All, Survival::Nothing, Survival::Mixed] {
            let rebuilt = trace
                .rebuild(at, survival, choices.next())
                .expect("it can be rebuilt");
            let marks = |label: &str| {
                rebuilt
                    .marks
                    .iter()
                    .filter(|mark| mark.label == label)
                    .count()
            };
            let (begun, done, removed) = (marks("begun"), marks("kept"), marks("removed"));
            if begun == 0 {
                continue;
            }
            let (database, storage) = opened(rebuilt);
            let kept = kept(&database, "a");
            let expected: &[&[u64]] = match (done, removed) {
                (0, _) => &[&[], &[1]],
                (1, _) => &[&[1], &[1, 2]],
                (_, 0) => &[&[1, 2], &[1]],
                _ => &[&[1]],
            };
            assert!(
                expected.contains(&&*kept),
                "cut at {at}, {survival:?}: {kept:?}"
            );
            // What nothing names is swept, at the start or by the job.
            database
                .jobs()
                .run("orphan_sweep", RunRequest::default())
                .expect("it runs");
            let there = storage.exists("blobs").expect("readable");
            let there = if there {
                storage.list("blobs").expect("readable").len()
            } else {
                0
            };
            assert_eq!(there, kept.len(), "cut at {at}, {survival:?}");
            seen[kept.len()] += 1;
        }
    }
    assert!(seen.iter().all(|times| *times > 3), "{seen:?}");
}
