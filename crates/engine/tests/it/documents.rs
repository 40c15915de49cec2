//! Documents of what is built on a database, and the ids that its log tells of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vermilion_engine::Database;
use vermilion_engine::backup::{BackupKind, Folder, Target, restore};
use vermilion_engine::catalog::Document;
use vermilion_engine::clock::ManualClock;
use vermilion_engine::model::{Operation, RecordBatch, SeqId};
use vermilion_engine::storage::MemoryStorage;

use crate::support::{Choices, create, on_disk, random_batch, with_scope};

fn put(database: &Database, key: &str, body: Value) {
    let document = Document {
        kind: "dataset".to_owned(),
        key: key.to_owned(),
        body,
    };
    database.put_document(document).expect("it is stored");
}

fn bodies(database: &Database) -> Vec<Value> {
    let all = database.documents("dataset", "").expect("readable");
    all.into_iter().map(|document| document.body).collect()
}

#[test]
fn documents_survive_a_restart_and_come_back_from_backups_of_their_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_secs(1000));
    let open = |name: &str| {
        let mut config = on_disk(&folder.path().join(name));
        config.clock = clock.clone();
        Database::open(config).expect("the folder opens")
    };
    let shelf = Folder::on(Arc::new(MemoryStorage::default()));
    let database = open("data");
    put(&database, "a", json!(1));
    drop(database);
    let database = open("data");
    assert_eq!(bodies(&database), [json!(1)]);
    let backup = |kind| database.backup(&shelf, kind, &mut |_| {}).expect("made");
    backup(BackupKind::Full);
    let tick = || {
        clock.advance(Duration::from_secs(1));
        let now = vermilion_engine::clock::Clock::wall_nanoseconds(clock.as_ref());
        clock.advance(Duration::from_secs(1));
        now
    };
    tick();
    put(&database, "a", json!(2));
    put(&database, "b", json!([]));
    let two = tick();
    assert!(database.delete_document("dataset", "a").expect("stored"));
    assert!(!database.delete_document("dataset", "a").expect("stored"));
    tick();
    backup(BackupKind::Incremental);
    let restored = |name: &str, target: &Target| {
        restore(&shelf, &folder.path().join(name), target, &mut |_| {}).expect("restored");
        bodies(&open(name))
    };
    assert_eq!(restored("newest", &Target::Newest), [json!([])]);
    assert_eq!(restored("two", &Target::Time(two)), [json!(2), json!([])]);
}

#[test]
fn the_log_tells_which_ids_were_written_until_it_is_purged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(on_disk(folder.path())).expect("it opens");
    create(&database, "a").expect("made");
    create(&database, "other").expect("made");
    let mut choices = Choices(7);
    let mut expected: Vec<String> = Vec::new();
    let write = |name: &str, batch: RecordBatch| {
        with_scope(&database, name, |scope| database.write(scope, batch)).expect("valid")
    };
    let mut ends = Vec::new();
    for _ in 0..20 {
        let batch = random_batch(&mut choices, 50, 9);
        expected.extend(batch.ids.iter().map(str::to_owned));
        ends.push(write("a", batch).last);
        write("other", random_batch(&mut choices, 5, 3));
    }
    let (middle, last) = (ends[9], ends[19]);
    let told = |since, until| {
        with_scope(&database, "a", |scope| {
            database.ids_written(scope, since, until)
        })
        .expect("readable")
    };
    assert_eq!(told(SeqId(0), last).as_ref(), Some(&expected));
    let later = &expected[middle.0 as usize..];
    assert_eq!(told(middle, last).as_deref(), Some(later));
    assert_eq!(told(SeqId(1), SeqId(3)).as_deref(), Some(&expected[1..3]));
    assert_eq!(told(last, last), Some(Vec::new()));
    database.seal_all().expect("sealed");
    assert_eq!(told(SeqId(0), last), None, "purged");
    assert_eq!(told(last, last), Some(Vec::new()));
}

#[test]
fn a_record_knows_when_it_was_last_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut database = Database::open(on_disk(folder.path())).expect("it opens");
    create(&database, "a").expect("made");
    let mut choices = Choices(11);
    let mut written: BTreeMap<String, SeqId> = BTreeMap::new();
    let known: Vec<String> = (0..60).map(|at| format!("id{at}")).collect();
    for round in 0..60 {
        let batch = random_batch(&mut choices, 50, 9);
        let (ids, operations) = (batch.ids.clone(), batch.operations.clone());
        let seqs = with_scope(&database, "a", |scope| database.write(scope, batch)).expect("valid");
        for (id, (operation, seq)) in ids.iter().zip(operations.iter().zip(seqs.first.0..)) {
            match (operation, written.contains_key(id)) {
                (Operation::Delete, _) => drop(written.remove(id)),
                (Operation::Add, true) | (Operation::Update, false) => {}
                _ => drop(written.insert(id.to_owned(), SeqId(seq))),
            }
        }
        if round % 20 == 7 {
            database.seal_all().expect("sealed");
        }
        if round % 20 == 13 {
            drop(database);
            database = Database::open(on_disk(folder.path())).expect("it opens again");
        }
        let asked: Vec<&str> = known
            .iter()
            .chain(written.keys())
            .map(String::as_str)
            .collect();
        let told = with_scope(&database, "a", |scope| database.last_written(scope, &asked));
        let wanted: Vec<Option<SeqId>> = asked.iter().map(|id| written.get(*id).copied()).collect();
        let told = told.expect("readable");
        assert_eq!(told, (wanted, seqs.last), "round {round}");
    }
    assert!(written.len() > 10, "{written:?}");
}
