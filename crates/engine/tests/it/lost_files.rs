//! Files that are lost as a whole, and a catalogue that is older than what is beside it: the start
//! refuses or has everything, `verify` tells, and nothing that may be wanted again is removed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use vermilion_engine::inspect::verify;
use vermilion_engine::model::RecordBatch;
use vermilion_engine::{Database, ErrorKind, Result};

use crate::support::{
    Choices, ModelCollection, create, on_disk, random_batch, read_all, with_scope,
};

/// How a database ended before its files were lost.
#[derive(Clone, Copy, Debug)]
enum End {
    Closed,
    Killed,
}

/// Bytes of a frame of the catalogue's write-ahead log, and of its header.
const FRAME_BYTES: u64 = 24 + 4096;
const WAL_HEADER_BYTES: u64 = 32;

fn write(database: &Database, name: &str, batch: RecordBatch) {
    with_scope(database, name, |scope| database.write(scope, batch)).expect("the batch is valid");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// A copy of `database`, which is in `from`, as it is after `end`.
fn ended(database: Database, from: &Path, end: End) -> tempfile::TempDir {
    let copied = tempfile::tempdir().expect("a temporary folder");
    match end {
        End::Closed => {
            database.close().expect("closing works");
            copy(from, copied.path());
        }
        End::Killed => copy(from, copied.path()),
    }
    drop(database);
    copied
}

/// Every file below `folder` but its lock, with its bytes.
fn files(folder: &Path) -> BTreeSet<(PathBuf, Vec<u8>)> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("lock") {
                let bytes = fs::read(&path).expect("readable");
                found.insert((path, bytes));
            }
        }
    }
    found
}

/// The folders of whole segments below `folder`.
fn segments(folder: &Path) -> BTreeSet<PathBuf> {
    let toc = |(path, _): (PathBuf, Vec<u8>)| {
        let is_toc = path.file_name().is_some_and(|name| name == "toc.bin");
        is_toc.then(|| path.parent().expect("it is in a folder").to_owned())
    };
    files(folder).into_iter().filter_map(toc).collect()
}

/// The start and `verify` must both say that the folder is damaged, and leave it as it is.
#[track_caller]
fn check_refused(folder: &Path, expected: &str) {
    let before = files(folder);
    let error = Database::open(on_disk(folder))
        .map(drop)
        .expect_err(expected);
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    assert!(error.message().contains(expected), "{error}");
    let damaged = verify(folder, &mut |_| {}).expect("it can be looked at");
    assert!(!damaged.is_empty(), "verify found nothing: {error}");
    assert_eq!(files(folder), before, "the folder was changed: {error}");
}

#[test]
fn a_folder_that_has_lost_its_catalogue_is_refused_and_left_as_it_is() {
    for end in [End::Closed, End::Killed] {
        for sealed in [false, true] {
            let source = tempfile::tempdir().expect("a temporary folder");
            let database = Database::open(on_disk(source.path())).expect("an empty folder opens");
            create(&database, "a").expect("the name is free");
            write(&database, "a", random_batch(&mut Choices(3), 40, 20));
            if sealed {
                database.seal_all().expect("sealing works");
            }
            let folder = ended(database, source.path(), end);
            let catalog = folder.path().join("catalog.sqlite");
            for name in ["catalog.sqlite", "catalog.sqlite-wal"] {
                let _ = fs::remove_file(folder.path().join(name));
            }
            check_refused(folder.path(), "catalog.sqlite is missing");
            fs::write(&catalog, []).expect("writable");
            check_refused(folder.path(), "catalog.sqlite is empty");
            fs::remove_dir_all(folder.path().join("log")).expect("removable");
            if sealed {
                check_refused(folder.path(), "catalog.sqlite is empty");
                fs::remove_dir_all(folder.path().join("segments")).expect("removable");
            }
            let begun = Database::open(on_disk(folder.path()));
            begun.expect("a folder of which nothing is left opens");
        }
    }
}

#[test]
fn a_log_that_is_lost_as_a_whole_is_noticed() {
    for end in [End::Closed, End::Killed] {
        for lost in ["folder", "files"] {
            let source = tempfile::tempdir().expect("a temporary folder");
            let database = Database::open(on_disk(source.path())).expect("an empty folder opens");
            create(&database, "a").expect("the name is free");
            write(&database, "a", random_batch(&mut Choices(3), 40, 20));
            let folder = ended(database, source.path(), end);
            let log = folder.path().join("log");
            fs::remove_dir_all(&log).expect("removable");
            if lost == "files" {
                fs::create_dir(&log).expect("a folder");
            }
            let error = Database::open(on_disk(folder.path())).map(drop);
            let error = error.expect_err("the records are gone");
            assert!(error.message().contains("00001.log"), "{error}");
            assert!(error.message().contains("the file is missing"), "{error}");
            let damaged = verify(folder.path(), &mut |_| {}).expect("it can be looked at");
            assert!(!damaged.is_empty(), "{end:?} {lost}");
        }
    }
}

#[test]
fn a_database_without_a_record_has_no_log_to_lose() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(on_disk(folder.path())).expect("an empty folder opens");
    create(&database, "a").expect("the name is free");
    database.close().expect("closing works");
    drop(database);
    fs::remove_dir_all(folder.path().join("log")).expect("removable");
    let damaged = verify(folder.path(), &mut |_| {}).expect("it can be looked at");
    assert!(damaged.is_empty(), "{damaged:?}");
    Database::open(on_disk(folder.path())).expect("nothing is missing");
}

/// A database with sealed, merged and purged records, in a folder as a kill leaves it, and what its
/// collections hold.
fn killed_folder() -> (tempfile::TempDir, Vec<(String, ModelCollection)>) {
    let source = tempfile::tempdir().expect("a temporary folder");
    let mut choices = Choices(11);
    let database = Database::open(on_disk(source.path())).expect("an empty folder opens");
    let mut models = Vec::new();
    for name in ["first", "second"] {
        create(&database, name).expect("the name is free");
        let mut model = ModelCollection::default();
        for _ in 0..5 {
            let batch = random_batch(&mut choices, 80, 24);
            model.apply(&batch);
            write(&database, name, batch);
            database.seal_all().expect("sealing works");
        }
        while database.upkeep().expect("upkeep works") {}
        models.push((name.to_owned(), model));
    }
    (ended(database, source.path(), End::Killed), models)
}

fn read(folder: &Path, models: &[(String, ModelCollection)]) -> Result<Vec<ModelCollection>> {
    let database = Database::open(on_disk(folder))?;
    let names = models.iter().map(|(name, _)| name);
    names.map(|name| read_all(&database, name)).collect()
}

#[test]
fn a_catalogue_whose_write_ahead_log_is_cut_costs_no_record() {
    let (killed, models) = killed_folder();
    let wal = |folder: &Path| folder.join("catalog.sqlite-wal");
    let length = fs::metadata(wal(killed.path())).expect("it is there").len();
    let frames = (length - WAL_HEADER_BYTES) / FRAME_BYTES;
    let (mut refused, mut whole) = (0, 0);
    for kept in 0..=frames {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(killed.path(), folder.path());
        let before = segments(folder.path());
        let cut = fs::File::options().write(true).open(wal(folder.path()));
        let cut = cut.expect("it is there");
        cut.set_len(WAL_HEADER_BYTES + kept * FRAME_BYTES)
            .expect("it can be cut");
        match read(folder.path(), &models) {
            Ok(found) => {
                whole += 1;
                for ((name, model), found) in models.iter().zip(&found) {
                    assert!(model.records == found.records, "{name} after {kept} frames");
                }
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::Corrupted, "{kept} frames: {error}");
                let damaged = verify(folder.path(), &mut |_| {}).expect("it can be looked at");
                assert!(!damaged.is_empty(), "{kept} frames: {error}");
                let lost: Vec<_> = before
                    .difference(&segments(folder.path()))
                    .cloned()
                    .collect();
                assert!(lost.is_empty(), "{kept} frames: {lost:?} are gone");
                // With the whole log put back nothing is lost.
                fs::copy(wal(killed.path()), wal(folder.path())).expect("a copy");
                let found = read(folder.path(), &models).expect("everything is back");
                for ((name, model), found) in models.iter().zip(&found) {
                    assert!(model.records == found.records, "{name} after {kept} frames");
                }
            }
        }
    }
    assert!(refused > 0 && whole > 0, "{refused} refused, {whole} whole");
}

#[test]
fn an_older_copy_of_the_catalogue_is_not_taken_for_the_newest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(on_disk(folder.path())).expect("an empty folder opens");
    create(&database, "a").expect("the name is free");
    write(&database, "a", random_batch(&mut Choices(3), 40, 20));
    database.close().expect("closing works");
    drop(database);
    let catalog = folder.path().join("catalog.sqlite");
    let older = fs::read(&catalog).expect("readable");
    let database = Database::open(on_disk(folder.path())).expect("it opens again");
    create(&database, "b").expect("the name is free");
    write(&database, "b", random_batch(&mut Choices(4), 40, 20));
    database.close().expect("closing works");
    drop(database);
    fs::write(&catalog, older).expect("writable");
    let error = Database::open(on_disk(folder.path())).map(drop);
    let error = error.expect_err("collection b is not in it");
    assert!(error.message().contains("older than the log"), "{error}");
    let damaged = verify(folder.path(), &mut |_| {}).expect("it can be looked at");
    assert_eq!(damaged.len(), 1, "{damaged:?}");
}

#[test]
fn a_folder_of_an_unknown_collection_stays_where_the_catalogue_was_not_closed() {
    for (end, stays) in [(End::Closed, false), (End::Killed, true)] {
        let source = tempfile::tempdir().expect("a temporary folder");
        let database = Database::open(on_disk(source.path())).expect("an empty folder opens");
        create(&database, "a").expect("the name is free");
        write(&database, "a", random_batch(&mut Choices(3), 40, 20));
        database.seal_all().expect("sealing works");
        let folder = ended(database, source.path(), end);
        let stranger = folder.path().join(
            "segments/00000000-0000-4000-8000-000000000001/00000000-0000-4000-8000-000000000002",
        );
        fs::create_dir_all(&stranger).expect("a folder");
        let database = Database::open(on_disk(folder.path())).expect("it opens");
        assert_eq!(stranger.exists(), stays, "{end:?}");
        drop(database);
    }
}
