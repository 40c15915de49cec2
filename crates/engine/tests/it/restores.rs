//! Collections of a backup brought back into the database that goes on: what they hold, what is
//! refused, and that nothing else changes.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use vermilion_engine::backup::{BackupKind, Folder, Folders, OneCollection, Target};
use vermilion_engine::clock::ManualClock;
use vermilion_engine::expiry::EXPIRES_AT;
use vermilion_engine::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, Page, RecordBatch, SeqId, Strings,
    Value,
};
use vermilion_engine::storage::MemoryStorage;
use vermilion_engine::{CollectionRestore, Config, Database, ErrorKind};

use crate::support::{
    Choices, DATABASE, ModelCollection, TENANT, create, on_disk, random_batch, read_all, small,
    with_scope,
};

struct World {
    folder: tempfile::TempDir,
    database: Database,
    choices: Choices,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = on_disk(&folder.path().join("data"));
        config.backups = Some(Arc::new(Folders::of(folder.path().join("shelf"))));
        Self {
            database: Database::open(config).unwrap(),
            folder,
            choices: Choices(11),
        }
    }

    /// Writes some batches; answers the last SeqId.
    fn write(&mut self, name: &str, batches: usize, model: &mut ModelCollection) -> u64 {
        let mut last = 0;
        for _ in 0..batches {
            let batch = random_batch(&mut self.choices, 60, 20);
            model.apply(&batch);
            let seqs = with_scope(&self.database, name, |scope| {
                self.database.write(scope, batch.clone())
            });
            last = seqs.unwrap().last.0;
        }
        last
    }

    fn backup(&self, kind: BackupKind) {
        self.database.backup_to("here", kind).unwrap();
    }

    fn restore(
        &self,
        from: &str,
        name: &str,
        target: Target,
    ) -> vermilion_engine::Result<vermilion_engine::CollectionRestored> {
        self.database.restore_collection(&CollectionRestore {
            destination: "here".to_owned(),
            from: OneCollection {
                tenant: TENANT.to_owned(),
                database: DATABASE.to_owned(),
                name: from.to_owned(),
            },
            name: name.to_owned(),
            target,
        })
    }

    fn names(&self) -> Vec<String> {
        let all = self.database.collections(TENANT, DATABASE, Page::default());
        let mut names: Vec<String> = all.unwrap().into_iter().map(|one| one.name).collect();
        names.sort();
        names
    }
}

#[test]
fn a_collection_comes_back_beside_the_one_it_became_up_to_a_seq_id_or_whole() {
    let mut world = World::new();
    for name in ["notes", "other"] {
        create(&world.database, name).unwrap();
    }
    let (mut then, mut other) = (ModelCollection::default(), ModelCollection::default());
    world.write("other", 4, &mut other);
    let last = world.write("notes", 8, &mut then);
    world.database.seal_all().unwrap();
    world.backup(BackupKind::Full);
    let mut now = then.clone();
    world.write("notes", 8, &mut now);
    world.backup(BackupKind::Incremental);

    let newest = world
        .restore("notes", "notes-newest", Target::Newest)
        .unwrap();
    assert_eq!(newest.backups, [1, 2]);
    assert_eq!(newest.records, now.records.len() as u64);
    assert_eq!(read_all(&world.database, "notes-newest").unwrap(), now);
    let target = Target::Seqs(vec![("notes".to_owned(), SeqId(last))]);
    let old = world.restore("notes", "notes-old", target).unwrap();
    assert_eq!(old.last_seq_id, last);
    assert_eq!(read_all(&world.database, "notes-old").unwrap(), then);

    // What was there goes on, and what came back lives on like any other collection.
    world.write("notes", 2, &mut now);
    assert_eq!(read_all(&world.database, "notes").unwrap(), now);
    world.write("notes-old", 4, &mut then);
    world.database.close().unwrap();
    // The folder is free once nobody has the database.
    world.database = Database::open(small(Config::in_memory())).unwrap();
    world.database = Database::open(on_disk(&world.folder.path().join("data"))).unwrap();
    assert_eq!(read_all(&world.database, "notes-old").unwrap(), then);
    assert_eq!(read_all(&world.database, "other").unwrap(), other);
    assert_eq!(
        world.names(),
        ["notes", "notes-newest", "notes-old", "other"]
    );
}

#[test]
fn a_deleted_collection_comes_back_under_its_own_name_from_the_time_before() {
    let mut world = World::new();
    create(&world.database, "notes").unwrap();
    let mut model = ModelCollection::default();
    world.write("notes", 6, &mut model);
    world.backup(BackupKind::Full);
    world
        .database
        .delete_collection(TENANT, DATABASE, "notes")
        .unwrap();
    world.restore("notes", "notes", Target::Newest).unwrap();
    assert_eq!(read_all(&world.database, "notes").unwrap(), model);
}

#[test]
fn what_cannot_be_brought_back_is_refused_and_changes_nothing() {
    let mut world = World::new();
    create(&world.database, "notes").unwrap();
    let error = world.restore("notes", "copy", Target::Newest).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let mut model = ModelCollection::default();
    let last = world.write("notes", 3, &mut model);
    world.backup(BackupKind::Full);
    let beyond = Target::Seqs(vec![("notes".to_owned(), SeqId(last + 1))]);
    for (from, name, target, kind, words) in [
        (
            "notes",
            "notes",
            Target::Newest,
            ErrorKind::AlreadyExists,
            "another name",
        ),
        (
            "gone",
            "copy",
            Target::Newest,
            ErrorKind::NotFound,
            "it has notes",
        ),
        (
            "notes",
            "copy",
            beyond,
            ErrorKind::InvalidArgument,
            "the backups hold",
        ),
    ] {
        let error = world.restore(from, name, target).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(words), "{error}");
    }
    assert_eq!(world.names(), ["notes"]);
    assert_eq!(read_all(&world.database, "notes").unwrap(), model);
    assert!(!world.folder.path().join("data/restoring").exists());

    let mut config = small(Config::in_memory());
    config.backups = Some(Arc::new(Folders::of(world.folder.path().join("shelf"))));
    world.database = Database::open(config).unwrap();
    let error = world.restore("notes", "copy", Target::Newest).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[test]
fn collections_come_back_while_a_backup_is_made() {
    let mut world = World::new();
    create(&world.database, "notes").unwrap();
    let mut notes = ModelCollection::default();
    world.write("notes", 4, &mut notes);
    world.database.seal_all().unwrap();
    world.backup(BackupKind::Full);
    let elsewhere = Folder::on(Arc::new(MemoryStorage::default()));
    let mut restored = 0;
    world
        .database
        .backup(&elsewhere, BackupKind::Full, &mut |_| {
            if restored < 2 {
                restored += 1;
                let name = format!("again-{restored}");
                world.restore("notes", &name, Target::Newest).unwrap();
            }
        })
        .unwrap();
    assert_eq!(restored, 2);
    for name in ["again-1", "again-2"] {
        assert_eq!(read_all(&world.database, name).unwrap(), notes);
    }
}

#[test]
fn records_that_end_and_large_ones_come_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_secs(1_000));
    let mut config = on_disk(&folder.path().join("data"));
    config.clock = clock;
    config.backups = Some(Arc::new(Folders::of(folder.path().join("shelf"))));
    let world = World {
        database: Database::open(config).unwrap(),
        folder,
        choices: Choices(1),
    };
    create(&world.database, "a").unwrap();
    let rows = 70;
    let mut batch = RecordBatch {
        operations: vec![Operation::Add; rows],
        ids: Strings::default(),
        embeddings: Embeddings::new(1, vec![1.0; rows]).unwrap(),
        documents: OptionalStrings::default(),
        uris: OptionalStrings::absent(rows),
        metadata: MetadataColumn::default(),
    };
    // To the clock of the system, that of these records was long ago.
    let document = "x".repeat(1 << 20);
    for row in 0..rows {
        batch.ids.push(&row.to_string());
        batch.documents.push(Some(&document));
        batch.metadata.push_row([(EXPIRES_AT, Value::Int(2_000))]);
    }
    with_scope(&world.database, "a", |scope| {
        world.database.write(scope, batch)
    })
    .unwrap();
    world.backup(BackupKind::Full);
    let restored = world.restore("a", "b", Target::Newest).unwrap();
    assert_eq!(restored.records, rows as u64);
    let read = |name| read_all(&world.database, name).unwrap();
    assert_eq!(read("b"), read("a"));
}
