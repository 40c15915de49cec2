//! One flipped bit, a cut tail or a missing file, anywhere in a data folder: found and named, or
//! harmless; never a wrong answer, never a panic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vermilion_engine::clock::ManualClock;
use vermilion_engine::model::{
    Comparison, DocumentTest, Embeddings, Filter, GetRequest, Include, MetadataColumn, Operation,
    OptionalStrings, QueryRequest, RecordBatch, RecordSelection, Scalar,
};
use vermilion_engine::{Config, Database, Error, ErrorKind, Result};

use crate::support::{
    Choices, DATABASE, DIMENSION, ModelCollection, TENANT, create, everything, random_batch,
    read_all, small, with_scope,
};

/// Everything that readers can see of a database.
#[derive(Clone, Debug, PartialEq)]
struct Answers {
    collections: BTreeMap<String, ModelCollection>,
    /// Ids that filters and queries answer.
    found: Vec<Vec<String>>,
}

fn open(folder: &Path) -> Result<Database> {
    Database::open(small(Config::at(folder)?))
}

/// A folder with segments, a merged segment, dead rows, and a log that is not applied yet.
fn sound_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut choices = Choices(7);
    let database = open(folder.path()).expect("an empty folder opens");
    for name in ["first", "second"] {
        create(&database, name).expect("the name is free");
        for round in 0..14 {
            let batch = random_batch(&mut choices, 80, 24);
            with_scope(&database, name, |scope| database.write(scope, batch)).expect("valid");
            if round % 3 == 2 && round < 12 {
                database.seal_all().expect("sealing works");
                database.upkeep().expect("upkeep works");
            }
        }
    }
    database.close().expect("closing works");
    folder
}

fn answers(folder: &Path) -> Result<Answers> {
    let database = open(folder)?;
    let result = (|| {
        let mut answers = Answers {
            collections: BTreeMap::new(),
            found: Vec::new(),
        };
        for name in ["first", "second"] {
            answers
                .collections
                .insert(name.to_owned(), read_all(&database, name)?);
            for filter in filters() {
                let selection = RecordSelection {
                    ids: None,
                    filter: Some(filter),
                };
                let request = GetRequest {
                    selection,
                    include: Include::default(),
                    ..GetRequest::default()
                };
                let got = with_scope(&database, name, |scope| database.get(scope, &request))?;
                answers
                    .found
                    .push(got.ids.iter().map(str::to_owned).collect());
            }
            let request = QueryRequest {
                embeddings: Embeddings::new(DIMENSION, vec![500.0; DIMENSION]).expect("one row"),
                n_results: 20,
                include: everything(),
                ..QueryRequest::default()
            };
            let nearest = with_scope(&database, name, |scope| database.query(scope, &request))?;
            let ids = nearest[0].records.ids.iter().map(str::to_owned).collect();
            answers.found.push(ids);
        }
        Ok(answers)
    })();
    database.close()?;
    result
}

fn filters() -> Vec<Filter> {
    let metadata = |key: &str, comparison| Filter::Metadata {
        key: key.to_owned(),
        comparison,
    };
    vec![
        metadata("color", Comparison::Equal(Scalar::Str("c1".to_owned()))),
        metadata("seen", Comparison::Equal(Scalar::Bool(true))),
        metadata("size", Comparison::NotEqual(Scalar::Int(3))),
        metadata("tags", Comparison::Contains(Scalar::Str("t1".to_owned()))),
        Filter::Document(DocumentTest::Contains("beta".to_owned())),
    ]
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "lock") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("an entry");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("the file can be copied");
        }
    }
}

/// Opens a copy of `sound` after `harm` was done to `file`.
fn judge(sound: &Path, file: &Path, expected: &Answers, what: &str, harm: impl Fn(&Path)) -> bool {
    let copied = tempfile::tempdir().expect("a temporary folder");
    copy(sound, copied.path());
    let name = file.strip_prefix(sound).expect("a file of the folder");
    harm(&copied.path().join(name));
    match answers(copied.path()) {
        Ok(found) => {
            assert_eq!(&found, expected, "{what}: a wrong answer");
            false
        }
        Err(error) => {
            check_named(&error, name, what);
            true
        }
    }
}

fn check_named(error: &Error, file: &Path, what: &str) {
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{what}: {error}");
    let message = error.message();
    let folder = file
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    assert!(
        message.contains(&*name)
            || message.contains("catalog")
            || (!folder.is_empty() && message.contains(&*folder)),
        "{what}: the message does not name the file: {message}"
    );
}

#[test]
fn a_flipped_bit_is_found_and_named_or_harmless() {
    let folder = sound_folder();
    let expected = answers(folder.path()).expect("the folder is sound");
    let mut choices = Choices(99);
    let (mut found, mut harmless) = (0, 0);
    for file in files(folder.path()) {
        let bytes = std::fs::metadata(&file).expect("the file is there").len() as usize;
        for round in 0..24.min(bytes) {
            // The first bytes of a file are headers: look at each kind of place.
            let at = if round < 6 {
                round * 5 % bytes
            } else {
                choices.below(bytes)
            };
            let bit = choices.below(8);
            let what = format!("bit {bit} of byte {at} of {}", file.display());
            let seen = judge(folder.path(), &file, &expected, &what, |path| {
                let mut content = std::fs::read(path).expect("the file is there");
                content[at] ^= 1 << bit;
                std::fs::write(path, content).expect("the file can be written");
            });
            *(if seen { &mut found } else { &mut harmless }) += 1;
        }
    }
    assert!(found > harmless, "{found} found, {harmless} harmless");
}

#[test]
fn a_cut_or_missing_file_is_found_and_named_or_harmless() {
    let folder = sound_folder();
    let expected = answers(folder.path()).expect("the folder is sound");
    for file in files(folder.path()) {
        if file
            .file_name()
            .is_some_and(|name| name == "catalog.sqlite")
        {
            continue;
        }
        for part in [0, 1, 2] {
            let what = format!("{} cut to {part}/3", file.display());
            judge(folder.path(), &file, &expected, &what, |path| {
                let bytes = std::fs::metadata(path).expect("the file is there").len();
                let opened = std::fs::File::options()
                    .write(true)
                    .open(path)
                    .expect("it opens");
                opened.set_len(bytes * part / 3).expect("it can be cut");
            });
        }
        let what = format!("{} removed", file.display());
        judge(folder.path(), &file, &expected, &what, |path| {
            std::fs::remove_file(path).expect("it can be removed");
        });
    }
}

#[test]
fn a_damaged_catalogue_stops_the_start_with_what_to_do_and_changes_nothing() {
    let folder = sound_folder();
    let path = folder.path().join("catalog.sqlite");
    let mut bytes = std::fs::read(&path).expect("the file is there");
    // Where a collection's schema is: other places of the file may hold nothing.
    let word = b"\"defaults\"";
    let found = bytes.windows(word.len()).position(|bytes| bytes == word);
    let at = found.expect("a collection has a schema");
    bytes[at..at + 64].iter_mut().for_each(|byte| *byte ^= 0x5a);
    std::fs::write(&path, &bytes).expect("it can be written");
    let error = open(folder.path()).err().expect("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    for words in [
        "catalog.sqlite",
        "vermilion restore BACKUPS NEW_FOLDER",
        "Nothing in the folder",
    ] {
        assert!(error.message().contains(words), "{error}");
    }
    assert_eq!(std::fs::read(&path).expect("the file is there"), bytes);
}

#[test]
fn files_that_are_none_of_ours_do_not_keep_a_folder_from_opening() {
    let folder = sound_folder();
    let expected = answers(folder.path()).expect("the folder is sound");
    let segments = folder.path().join("segments");
    let entries = std::fs::read_dir(&segments).expect("there are segments");
    let collections: Vec<_> = entries.map(|one| one.expect("readable").path()).collect();
    for place in collections.iter().chain([&segments]) {
        std::fs::write(place.join(".DS_Store"), "x").expect("it can be written");
    }
    std::fs::create_dir(segments.join("left")).expect("it can be made");
    assert_eq!(answers(folder.path()).expect("it opens"), expected);
    assert!(segments.join(".DS_Store").exists());
    assert!(!segments.join("left").exists(), "folders are swept");
    let found = vermilion_engine::inspect::verify(folder.path(), &mut |_| {});
    assert!(found.expect("readable").is_empty());
}

#[test]
fn verify_finds_whatever_log_file_is_missing_that_a_start_misses() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = small(Config::at(folder.path()).expect("the folder is free"));
    config.upkeep.log_file_bytes = 2000;
    config.upkeep.log_bytes = 1 << 30;
    let database = Database::open(config).expect("an empty folder opens");
    create(&database, "first").expect("the name is free");
    let mut choices = Choices(11);
    for _ in 0..30 {
        let batch = random_batch(&mut choices, 80, 24);
        with_scope(&database, "first", |scope| database.write(scope, batch)).expect("valid");
    }
    // As a kill leaves it: with no mark of a clean end.
    let killed = tempfile::tempdir().expect("a temporary folder");
    copy(folder.path(), killed.path());
    let names: Vec<PathBuf> = files(killed.path())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    assert!(names.len() > 3, "{names:?}");
    for missing in &names {
        let part = tempfile::tempdir().expect("a temporary folder");
        copy(killed.path(), part.path());
        let name = missing.strip_prefix(killed.path()).expect("it is inside");
        std::fs::remove_file(part.path().join(name)).expect("it is there");
        let found = vermilion_engine::inspect::verify(part.path(), &mut |_| {});
        assert_eq!(found.expect("readable").len(), 1, "{}", name.display());
        let error = open(part.path()).err().expect("the start misses it");
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    }
}

/// Collections of four small segments each.
fn in_small_segments(database: &Database, names: &[String]) {
    let rows = 20;
    for name in names {
        create(database, name).expect("the name is free");
    }
    for round in 0..4 {
        for name in names {
            let ids: Vec<String> = (0..rows).map(|row| format!("r{round}-{row}")).collect();
            let vectors = vec![1.0; rows * DIMENSION];
            let batch = RecordBatch {
                operations: vec![Operation::Add; rows],
                ids: ids.iter().map(String::as_str).collect(),
                embeddings: Embeddings::new(DIMENSION, vectors).expect("whole rows"),
                documents: OptionalStrings::absent(rows),
                uris: OptionalStrings::absent(rows),
                metadata: MetadataColumn::absent(rows),
            };
            with_scope(database, name, |scope| database.write(scope, batch)).expect("valid");
        }
        database.seal_all().expect("sealing works");
    }
}

/// The folders of a collection's segments.
fn segments_of(folder: &Path, database: &Database, name: &str) -> Vec<PathBuf> {
    let collection = database.collection(TENANT, DATABASE, name);
    let id = collection.expect("it is there").id.to_string();
    let entries = std::fs::read_dir(folder.join("segments").join(id)).expect("it has segments");
    entries.map(|one| one.expect("readable").path()).collect()
}

#[test]
fn a_damaged_collection_keeps_no_other_from_being_merged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Arc::new(ManualClock::default());
    let open = || {
        let mut config = small(Config::at(folder.path()).expect("the folder is free"));
        config.clock = clock.clone();
        Database::open(config).expect("it opens")
    };
    let database = open();
    let names: Vec<String> = (0..8).map(|number| format!("col{number}")).collect();
    in_small_segments(&database, &names);
    // Whichever comes first, some of the sound ones come behind a damaged one.
    let damaged = names[..4].iter();
    let damaged: Vec<PathBuf> = damaged
        .flat_map(|name| segments_of(folder.path(), &database, name))
        .collect();
    database.close().expect("closing works");
    drop(database);
    for segment in damaged {
        let path = segment.join("vectors.f32");
        let mut bytes = std::fs::read(&path).expect("the file is there");
        bytes[0] ^= 1;
        std::fs::write(&path, bytes).expect("it can be written");
    }
    let database = open();
    for name in &names {
        // The first that asks for records has the collection loaded.
        let request = GetRequest::default();
        with_scope(&database, name, |scope| database.get(scope, &request)).expect("ids are whole");
    }
    let mut failures = 0;
    for _ in 0..12 {
        if let Err(error) = database.upkeep() {
            assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
            assert!(error.message().contains("vectors.f32"), "{error}");
            failures += 1;
        }
    }
    let segments = names.iter();
    let segments: Vec<usize> = segments
        .map(|name| segments_of(folder.path(), &database, name).len())
        .collect();
    assert!(failures > 0, "it is told");
    assert_eq!(segments[..4], [4; 4]);
    assert!(segments[4..].iter().all(|count| *count < 4), "{segments:?}");
    // It is told for as long as it is so, and tried again after a while.
    let told = database.upkeep().expect_err("nothing else is to be merged");
    assert_eq!(told.kind(), ErrorKind::Corrupted);
    clock.advance(Duration::from_mins(2));
    assert!(database.upkeep().is_err());
}
