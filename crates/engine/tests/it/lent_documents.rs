//! Small changes of records with large documents: what was not said again is not read again, and
//! stays where it is until it is sealed, whatever becomes of the segment that has it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::Path;

use vermilion_engine::model::{
    Comparison, DocumentTest, Embeddings, Filter, GetRequest, MetadataColumn, Operation,
    OptionalStrings, RecordBatch, RecordSelection, Scalar, Value,
};
use vermilion_engine::{Database, ErrorKind};

use crate::support::{ModelCollection, create, on_disk, read_all, with_scope};

const ROWS: usize = 40;
const DOCUMENT_BYTES: usize = 200 << 10;

struct World {
    folder: tempfile::TempDir,
    database: Database,
    model: ModelCollection,
}

fn open(folder: &Path) -> Database {
    let mut config = on_disk(folder);
    config.upkeep.log_bytes = 1 << 30;
    Database::open(config).unwrap()
}

impl World {
    /// Large records in a segment.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = open(folder.path());
        create(&database, "records").unwrap();
        let mut world = Self {
            folder,
            database,
            model: ModelCollection::default(),
        };
        let documents = (0..ROWS).map(|row| format!("word{row} {}", "x".repeat(DOCUMENT_BYTES)));
        let documents: Vec<String> = documents.collect();
        let mut batch = changes(Operation::Add, 0..ROWS, 0);
        batch.embeddings = Embeddings::new(1, vec![1.0; ROWS]).unwrap();
        batch.documents = OptionalStrings::default();
        let texts = documents.iter().map(String::as_str);
        texts.for_each(|text| batch.documents.push(Some(text)));
        world.write(batch);
        world.database.seal_all().unwrap();
        world
    }

    fn write(&mut self, batch: RecordBatch) {
        self.model.apply(&batch);
        with_scope(&self.database, "records", |scope| {
            self.database.write(scope, batch)
        })
        .unwrap();
    }

    fn change(&mut self, rows: std::ops::Range<usize>, to: i64) {
        self.write(changes(Operation::Update, rows, to));
    }

    /// Bytes of records in memory.
    fn memory(&self) -> usize {
        self.database.statistics().memory_bytes as usize
    }

    #[track_caller]
    fn check(&self) {
        assert!(read_all(&self.database, "records").unwrap() == self.model);
    }

    fn found(&self, filter: Filter) -> Vec<String> {
        let request = GetRequest {
            selection: RecordSelection {
                ids: None,
                filter: Some(filter),
            },
            ..GetRequest::default()
        };
        let got = with_scope(&self.database, "records", |scope| {
            self.database.get(scope, &request)
        });
        got.unwrap().ids.iter().map(str::to_owned).collect()
    }

    /// The folders of segments.
    fn segments(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for collection in std::fs::read_dir(self.folder.path().join("segments")).unwrap() {
            for segment in std::fs::read_dir(collection.unwrap().path()).unwrap() {
                let name = segment.unwrap().file_name();
                found.insert(name.into_string().unwrap());
            }
        }
        found
    }

    fn reopen(self) -> Self {
        self.reopen_after(|_| ())
    }

    /// Opens the folder again after `harm` was done to it.
    fn reopen_after(mut self, harm: impl Fn(&Path)) -> Self {
        self.database.close().unwrap();
        drop(self.database);
        harm(self.folder.path());
        self.database = open(self.folder.path());
        self
    }
}

/// `operation` of these records, which says their number and nothing else.
fn changes(operation: Operation, rows: std::ops::Range<usize>, to: i64) -> RecordBatch {
    let count = rows.len();
    let mut metadata = MetadataColumn::default();
    (0..count).for_each(|_| metadata.push_row([("n", Value::Int(to))]));
    let ids: Vec<String> = rows.map(|row| format!("r{row}")).collect();
    RecordBatch {
        operations: vec![operation; count],
        ids: ids.iter().map(String::as_str).collect(),
        embeddings: Embeddings::default(),
        documents: OptionalStrings::absent(count),
        uris: OptionalStrings::absent(count),
        metadata,
    }
}

#[test]
fn a_small_change_of_large_records_takes_little_memory_now_and_at_the_next_start() {
    let mut world = World::new();
    assert!(world.memory() < DOCUMENT_BYTES);
    for to in [1, 2] {
        world.change(0..ROWS, to);
        assert!(world.memory() < DOCUMENT_BYTES, "{} bytes", world.memory());
        world.check();
    }
    let world = world.reopen();
    world.check();
    assert!(world.memory() < DOCUMENT_BYTES, "{} bytes", world.memory());
    world.database.seal_all().unwrap();
    world.check();
    world.reopen().check();
}

#[test]
fn filters_find_changed_records_by_their_old_documents() {
    let mut world = World::new();
    world.change(3..9, 7);
    let word = |word: &str| Filter::Document(DocumentTest::Contains(word.into()));
    let number = Filter::Metadata {
        key: "n".into(),
        comparison: Comparison::Equal(Scalar::Int(7)),
    };
    assert_eq!(world.found(word("word4 ")), ["r4"]);
    assert_eq!(world.found(word("word30 ")), ["r30"]);
    let both = Filter::And(vec![number, word("word1")]);
    assert!(world.found(both).is_empty());
    let mut said = changes(Operation::Update, 4..5, 8);
    said.documents = OptionalStrings::default();
    said.documents.push(Some("another word4 "));
    world.write(said);
    assert_eq!(world.found(word("another")), ["r4"]);
    assert_eq!(world.found(word("word4 xx")), Vec::<String>::new());
    world.check();
}

#[test]
fn documents_outlive_the_segment_that_has_them() {
    let mut world = World::new();
    let first = world.segments();
    world.change(0..15, 1);
    world.database.seal_all().unwrap();
    world.change(15..25, 2);
    world.write(changes(Operation::Delete, 25..27, 0));
    while world.database.upkeep().unwrap() {}
    assert!(world.segments().is_disjoint(&first), "it was merged away");
    world.check();
    world.change(20..30, 3);
    world.check();
    let world = world.reopen();
    world.check();
    world.database.seal_all().unwrap();
    world.check();
}

/// Flips a bit in the documents of each segment.
fn flip(folder: &Path) {
    for collection in std::fs::read_dir(folder.join("segments")).unwrap() {
        for segment in std::fs::read_dir(collection.unwrap().path()).unwrap() {
            let path = segment.unwrap().path().join("documents.arrow");
            let Ok(mut bytes) = std::fs::read(&path) else {
                continue;
            };
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn a_damaged_document_ends_its_collection_when_it_is_to_be_sealed_and_no_other() {
    let world = World::new();
    create(&world.database, "others").unwrap();
    let mut world = world.reopen_after(flip);
    world.change(0..ROWS, 1);
    let count = |name: &str| with_scope(&world.database, name, |scope| world.database.count(scope));
    assert_eq!(count("records").unwrap(), ROWS as u64);
    let error = world.database.seal_all().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(error.message().contains("documents.arrow"), "{error}");
    assert_eq!(count("records").unwrap_err().kind(), ErrorKind::Corrupted);
    let batch = RecordBatch {
        embeddings: Embeddings::new(1, vec![1.0]).unwrap(),
        ..changes(Operation::Add, 0..1, 1)
    };
    with_scope(&world.database, "others", |scope| {
        world.database.write(scope, batch)
    })
    .unwrap();
    world.database.seal_all().unwrap();
    assert_eq!(count("others").unwrap(), 1);
    // What was damaged is put back, and all is there again. The other collection has no documents.
    world.reopen_after(flip).check();
}
