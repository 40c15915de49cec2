//! Files that nobody needs are written over, and nothing of their former life is ever read.

use super::*;
use crate::storage::sim::{RecordingStorage, Survival};
use crate::storage::{Entry, StorageFile};

/// Batches that stay unsealed while a busy log goes on.
const UNSEALED: u64 = 3;

fn tiny_files() -> LogOptions {
    LogOptions {
        file_bytes: 2000,
        ..options()
    }
}

fn spares(storage: &dyn Storage) -> usize {
    let names = log_names(storage);
    names
        .iter()
        .filter(|name| name.strip_suffix(".spare").is_some())
        .count()
}

/// Appends the batches `tags`, whose records but the last ones are sealed as the log goes on: a busy log. Answers up to
/// where they are.
fn pour(log: &Log, tags: std::ops::Range<u64>) -> SeqId {
    let mut purged = SeqId(0);
    for tag in tags {
        let last = append(log, collection(0), &batch(tag, 5)).unwrap().last;
        purged = SeqId(last.0.saturating_sub(5 * UNSEALED));
        log.purge(collection(0), purged).unwrap();
        log.settle();
    }
    purged
}

/// Checks that the last batches before `end` were found, and nothing else.
#[track_caller]
fn assert_unsealed(found: Vec<LogBatch>, end: u64) {
    let expected = (end - UNSEALED..end).map(|tag| batch(tag, 5));
    assert!(found.into_iter().map(|one| one.batch).eq(expected));
}

fn replay(storage: Arc<dyn Storage>, applied: SeqId) -> crate::Result<(Log, Vec<LogBatch>)> {
    open_with(
        storage,
        tiny_files(),
        &BTreeMap::from([(collection(0), applied)]),
    )
}

#[test]
fn a_busy_log_writes_over_its_files_and_replays_what_is_in_no_segment() {
    let (folder, recording) = (tempfile::tempdir().unwrap(), RecordingStorage::default());
    let disk = DiskStorage::open(folder.path()).unwrap();
    let storages: [Arc<dyn Storage>; 2] = [Arc::new(recording.clone()), Arc::new(disk)];
    for storage in storages {
        let mut applied = SeqId(0);
        for close in [false, true, false] {
            let (log, _) = replay(storage.clone(), applied).unwrap();
            applied = pour(&log, 0..60);
            let names = log_names(&*storage);
            assert!((1..=8).contains(&spares(&*storage)), "{names:?}");
            if close {
                log.close().unwrap();
                assert_eq!(spares(&*storage), 0);
            }
            drop(log);
            let (log, found) = replay(storage.clone(), applied).unwrap();
            assert_unsealed(found, 60);
            assert_eq!(spares(&*storage), 0);
            drop(log);
        }
    }
    assert!(recording.trace().reuses() > 10);
}

#[test]
fn spares_go_once_the_log_has_no_work_and_where_space_is_short() {
    let faulty = FaultyStorage::new(memory());
    let options = LogOptions {
        free_disk_bytes_min: 1 << 20,
        ..tiny_files()
    };
    let (log, _) = open(Arc::new(faulty.clone()), options);
    pour(&log, 0..20);
    assert!(spares(&faulty) > 0);
    let highest = log.head(collection(0)).unwrap().highest;
    log.purge(collection(0), highest).unwrap();
    log.settle();
    assert_eq!((spares(&faulty), log.files()), (0, 1));
    pour(&log, 20..40);
    assert!(spares(&faulty) > 0);
    // The writer asks for the free space every 4 MiB, and after a failure.
    faulty.fail_from(Fault::OutOfSpace, 1);
    append(&log, collection(0), &batch(40, 5)).unwrap_err();
    faulty.heal();
    faulty.set_free_bytes(1 << 20);
    let error = append(&log, collection(0), &batch(40, 5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
    assert_eq!(spares(&faulty), 0);
    faulty.set_free_bytes(1 << 30);
    let purged = pour(&log, 40..60);
    assert_eq!(spares(&faulty), 0, "a gibibyte is not plenty");
    drop(log);
    let (_, found) = replay(Arc::new(faulty), purged).unwrap();
    assert_unsealed(found, 60);
}

#[test]
fn a_file_is_not_written_over_while_its_vectors_are_looked_at() {
    const ROWS: usize = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::open(folder.path()).unwrap());
    let options = LogOptions {
        batch_records_max: ROWS,
        ..tiny_files()
    };
    let (log, _) = open(storage.clone(), options);
    let next = |tag| {
        let batch = batch(tag, ROWS);
        let ticket = log.submit(collection(0), batch.clone(), None).unwrap();
        let last = ticket.wait().unwrap().last;
        let lent = log.lend(ticket.vectors().expect("there are enough"));
        log.purge(collection(0), SeqId(last.0 - ROWS as u64))
            .unwrap();
        log.settle();
        (batch, lent.expect("files can be mapped"))
    };
    // Each batch has a file of its own; all but the last are free, and looked at.
    let looked_at: Vec<_> = (0..6).map(next).collect();
    assert_eq!(spares(&*storage), 5);
    for (batch, lent) in &looked_at {
        assert_eq!(lent.get(), batch.embeddings.values());
        lent.check().unwrap();
    }
    drop(looked_at);
    let (batch, lent) = next(6);
    assert_eq!(
        spares(&*storage),
        5,
        "one was written over, another is free"
    );
    assert_eq!(lent.get(), batch.embeddings.values());
    drop((log, lent));
    let (_, found) = replay(storage, SeqId(6 * ROWS as u64)).unwrap();
    let [found] = &found[..] else {
        panic!("{} batches", found.len());
    };
    assert_eq!(found.batch, batch);
}

#[test]
fn any_failing_call_of_a_busy_log_loses_nothing_that_was_acknowledged() {
    let mut reused = 0;
    for fault in [
        Fault::OutOfSpace,
        Fault::ShortWrite,
        Fault::InputOutput,
        Fault::FailingSync,
        Fault::FailingSyncDir,
    ] {
        for (at, forever) in (1..160).flat_map(|at| [(at, false), (at, true)]) {
            let inner = RecordingStorage::default();
            let faulty = FaultyStorage::new(Arc::new(inner.clone()));
            let (log, _) = replay(Arc::new(faulty.clone()), SeqId(0)).unwrap();
            if forever {
                faulty.fail_from(fault, at);
            } else {
                faulty.fail_once(fault, at);
            }
            let (mut purged, mut told, mut unknown) = (SeqId(0), Vec::new(), 0);
            for tag in 0..25 {
                match append(&log, collection(0), &batch(tag, 5)) {
                    Ok(seqs) => {
                        told.push((seqs, tag));
                        purged = SeqId(seqs.last.0.saturating_sub(5 * UNSEALED));
                        log.purge(collection(0), purged).unwrap();
                    }
                    Err(error) if error.kind() == ErrorKind::Closed => unknown += 1,
                    Err(_) => {}
                }
                log.settle();
            }
            let _ = log.close();
            drop(log);
            faulty.heal();
            reused += inner.trace().reuses();
            let label = format!("{fault:?} at {at}, forever {forever}");
            let trace = inner.trace();
            for survival in [Survival::All, Survival::Nothing] {
                let left = trace.rebuild(trace.len(), survival, at).unwrap();
                let (_, found) = replay(Arc::new(left.storage), purged)
                    .unwrap_or_else(|error| panic!("{label}: {error}"));
                let told = told.iter().filter(|(seqs, _)| seqs.last > purged);
                let told: Vec<_> = told.map(|(seqs, tag)| (*seqs, batch(*tag, 5))).collect();
                let mut found: Vec<_> =
                    found.into_iter().map(|one| (one.seqs, one.batch)).collect();
                assert!(found.len() <= told.len() + unknown.min(1), "{label}");
                found.truncate(told.len());
                assert!(found == told, "{label}, {survival:?}");
            }
        }
    }
    assert!(reused > 1000, "{reused} files were written over");
}

#[test]
fn a_server_that_writes_is_not_taken_for_damage_by_whoever_looks() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::open(folder.path()).unwrap());
    let (log, _) = open(storage.clone(), tiny_files());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pour(&log, 0..600);
            done.store(true, Ordering::SeqCst);
        });
        let mut looks = 0;
        while !done.load(Ordering::SeqCst) || looks < 5 {
            match scan(&*storage) {
                Ok(found) => assert!(found.damaged.is_empty(), "{:?}", found.damaged),
                Err(error) => panic!("{error}"),
            }
            looks += 1;
        }
    });
}

/// A folder that is another one from some read on: a server writes while somebody looks.
struct Changing {
    before: MemoryStorage,
    now: MemoryStorage,
    reads_before: AtomicUsize,
}

impl Changing {
    fn next(&self) -> &MemoryStorage {
        let left = self.reads_before.load(Ordering::SeqCst);
        self.reads_before
            .store(left.saturating_sub(1), Ordering::SeqCst);
        if left > 0 { &self.before } else { &self.now }
    }
}

impl Storage for Changing {
    fn read_at(&self, path: &str, offset: u64, length: usize) -> crate::Result<Vec<u8>> {
        self.next().read_at(path, offset, length)
    }
    fn read(&self, path: &str) -> crate::Result<Vec<u8>> {
        self.now.read(path)
    }
    fn list(&self, path: &str) -> crate::Result<Vec<Entry>> {
        self.now.list(path)
    }
    fn exists(&self, path: &str) -> crate::Result<bool> {
        self.now.exists(path)
    }
    fn create_dir(&self, _: &str) -> crate::Result<()> {
        unreachable!("who looks changes nothing")
    }
    fn create(&self, _: &str) -> crate::Result<Box<dyn StorageFile>> {
        unreachable!("who looks changes nothing")
    }
    fn append(&self, _: &str) -> crate::Result<Box<dyn StorageFile>> {
        unreachable!("who looks changes nothing")
    }
    fn reuse(&self, _: &str) -> crate::Result<Box<dyn StorageFile>> {
        unreachable!("who looks changes nothing")
    }
    fn rename(&self, _: &str, _: &str) -> crate::Result<()> {
        unreachable!("who looks changes nothing")
    }
    fn remove_file(&self, _: &str) -> crate::Result<()> {
        unreachable!("who looks changes nothing")
    }
    fn remove_dir(&self, _: &str) -> crate::Result<()> {
        unreachable!("who looks changes nothing")
    }
    fn sync_dir(&self, _: &str) -> crate::Result<()> {
        unreachable!("who looks changes nothing")
    }
    fn map(&self, _: &str) -> crate::Result<bytes::Bytes> {
        unreachable!("the log is read, not mapped, by who looks")
    }
    fn free_bytes(&self) -> crate::Result<u64> {
        unreachable!("who looks needs no space")
    }
}

#[test]
fn what_a_server_writes_between_two_reads_proves_no_damage() {
    // Batches of more than one window each, in a file that had other bytes before.
    const ROWS: usize = 40_000;
    let options = LogOptions {
        batch_records_max: ROWS,
        ..options()
    };
    let storage = memory();
    let (log, _) = open(storage.clone(), options);
    append(&log, collection(0), &batch(0, 1)).unwrap();
    log.settle();
    let written = storage.files();
    let (path, begun) = written
        .iter()
        .find(|file| file.0.strip_suffix(".log").is_some())
        .unwrap();
    for tag in 1..4 {
        append(&log, collection(0), &batch(tag, ROWS)).unwrap();
        log.settle();
    }
    let whole = storage.read(path).unwrap();
    let mut over = vec![7; whole.len() + 5_000_000];
    over[..begun.len()].copy_from_slice(begun);
    let before = memory();
    before.insert(path, over.clone()).unwrap();
    over[..whole.len()].copy_from_slice(&whole);
    let now = memory();
    now.insert(path, over).unwrap();
    let mut batches = Vec::new();
    for reads in 0..20 {
        let changing = Changing {
            before: (*before).clone(),
            now: (*now).clone(),
            reads_before: AtomicUsize::new(reads),
        };
        let found = scan(&changing).unwrap();
        assert!(found.damaged.is_empty(), "{reads}: {:?}", found.damaged);
        batches.push(found.files[0].batches);
    }
    assert_eq!((batches[0], batches[19]), (4, 1));
}
