//! The log's promises: order, density, group commit, idempotency, space that comes back, faults.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use uuid::Uuid;

use super::format::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES};
use super::*;
use crate::ErrorKind;
use crate::model::{Embeddings, FlushKey, MetadataColumn, Operation, OptionalStrings, Value};
use crate::storage::sim::{Fault, FaultyStorage};
use crate::storage::{DiskStorage, MemoryStorage, Storage};

mod archive;
mod codec;
mod crash;
mod damage;
mod lend;
mod readback;
mod spares;
mod subscriptions;

pub(super) fn options() -> LogOptions {
    LogOptions {
        file_bytes: 32 << 20,
        batch_records_max: 1000,
        free_disk_bytes_min: 0,
        keep: Keep::default(),
        catalog: CatalogSays::default(),
    }
}

fn small_files() -> LogOptions {
    LogOptions {
        file_bytes: 4096,
        ..options()
    }
}

pub(super) fn collection(number: u128) -> CollectionId {
    CollectionId(Uuid::from_u128(number + 1))
}

/// A batch of `rows` records whose content tells `tag` and row.
pub(super) fn batch(tag: u64, rows: usize) -> Arc<RecordBatch> {
    let ids: Vec<String> = (0..rows).map(|row| format!("{tag}-{row}")).collect();
    let values = (0..rows * 4).map(|n| (tag * 100 + n as u64) as f32);
    let mut metadata = MetadataColumn::default();
    for row in 0..rows {
        metadata.push_row([("tag", Value::Int(tag as i64 + row as i64))]);
    }
    Arc::new(RecordBatch {
        operations: vec![Operation::Upsert; rows],
        ids: ids.iter().map(String::as_str).collect(),
        embeddings: Embeddings::new(4, values.collect()).unwrap(),
        documents: ids.iter().map(|id| Some(id.as_str())).collect(),
        uris: OptionalStrings::absent(rows),
        metadata,
    })
}

/// Opens the log for collections that have applied what `applied` says, and all that is replayed.
pub(super) fn open_with(
    storage: Arc<dyn Storage>,
    options: LogOptions,
    applied: &BTreeMap<CollectionId, SeqId>,
) -> crate::Result<(Log, Vec<LogBatch>)> {
    let mut replayed = Vec::new();
    let log = Log::open(
        storage,
        options,
        &|id| applied.get(&id).copied(),
        &mut |frame| {
            let batch = frame.read()?;
            assert_eq!(
                (frame.collection(), frame.seqs()),
                (batch.collection, batch.seqs)
            );
            assert!(frame.bytes() > 0);
            replayed.push(batch);
            Ok(())
        },
    )?;
    applied.iter().for_each(|(id, seq)| log.register(*id, *seq));
    Ok((log, replayed))
}

/// The same for the collections 0 to 7, of which nothing is applied.
pub(super) fn open(storage: Arc<dyn Storage>, options: LogOptions) -> (Log, Vec<LogBatch>) {
    let applied = (0..8).map(|number| (collection(number), SeqId(0)));
    open_with(storage, options, &applied.collect()).unwrap()
}

pub(super) fn append(
    log: &Log,
    to: CollectionId,
    batch: &Arc<RecordBatch>,
) -> crate::Result<SeqRange> {
    log.submit(to, batch.clone(), None)?.wait()
}

fn seqs(first: u64, last: u64) -> SeqRange {
    SeqRange {
        first: SeqId(first),
        last: SeqId(last),
    }
}

fn memory() -> Arc<MemoryStorage> {
    Arc::default()
}

fn log_names(storage: &dyn Storage) -> Vec<String> {
    let entries = storage.list(FOLDER).unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| name != "newest").collect()
}

#[test]
fn seq_ids_are_dense_from_one_for_each_collection() {
    let (log, _) = open(memory(), options());
    let (a, b) = (collection(0), collection(1));
    assert_eq!(append(&log, a, &batch(1, 3)).unwrap(), seqs(1, 3));
    assert_eq!(append(&log, b, &batch(2, 2)).unwrap(), seqs(1, 2));
    assert_eq!(append(&log, a, &batch(3, 1)).unwrap(), seqs(4, 4));
    let empty = append(&log, a, &batch(4, 0)).unwrap();
    assert_eq!(empty.count(), 0);
    assert_eq!(append(&log, a, &batch(5, 2)).unwrap(), seqs(5, 6));
    let head = log.head(a).unwrap();
    assert_eq!((head.lowest, head.highest), (SeqId(1), SeqId(6)));
    assert_eq!(log.head(collection(99)), None);
}

#[test]
fn what_is_appended_is_replayed_in_order_and_byte_for_byte() {
    let storage = memory();
    let (log, replayed) = open(storage.clone(), small_files());
    assert!(replayed.is_empty());
    let batches: Vec<_> = (0..40)
        .map(|tag| batch(tag, 1 + tag as usize % 5))
        .collect();
    for (at, batch) in batches.iter().enumerate() {
        append(&log, collection(at as u128 % 3), batch).unwrap();
    }
    assert!(log.files() > 2, "the log rotates");
    for round in 0..2 {
        if round == 0 {
            log.close().unwrap();
        }
        let (again, replayed) = open(storage.clone(), small_files());
        assert_eq!(replayed.len(), 40);
        let mut last = BTreeMap::new();
        for (at, (frame, batch)) in replayed.iter().zip(&batches).enumerate() {
            assert_eq!(frame.batch, *batch);
            assert_eq!(frame.collection, collection(at as u128 % 3));
            let last = last.entry(frame.collection).or_insert(0);
            assert_eq!(frame.seqs.first, SeqId(*last + 1));
            *last = frame.seqs.last.0;
        }
        // The second round opens what was dropped without a clean end.
        drop(again);
    }
}

#[test]
fn appends_go_on_after_a_restart_where_they_ended() {
    let storage = memory();
    for round in 0..5 {
        let (log, replayed) = open(storage.clone(), options());
        assert_eq!(replayed.len(), round);
        let got = append(&log, collection(0), &batch(round as u64, 2)).unwrap();
        assert_eq!(got.first, SeqId(round as u64 * 2 + 1));
        if round % 2 == 0 {
            log.close().unwrap();
        }
    }
    let names = log_names(storage.as_ref());
    assert_eq!(names.len(), 2, "one file and the clean end: {names:?}");
}

#[test]
fn only_what_is_above_the_applied_seq_id_is_replayed() {
    let storage = memory();
    let (log, _) = open(storage.clone(), options());
    for tag in 0..4 {
        append(&log, collection(0), &batch(tag, 3)).unwrap();
        append(&log, collection(1), &batch(tag, 3)).unwrap();
    }
    drop(log);
    // Collection 1 is gone; of collection 0 the first five records are applied.
    let applied = BTreeMap::from([(collection(0), SeqId(5))]);
    let (log, replayed) = open_with(storage, options(), &applied).unwrap();
    let got: Vec<_> = replayed.iter().map(|frame| frame.seqs).collect();
    assert_eq!(got, [seqs(6, 6), seqs(7, 9), seqs(10, 12)]);
    assert_eq!(replayed[0].batch.ids.get(0), "1-2");
    assert_eq!(log.head(collection(0)).unwrap().lowest, SeqId(6));
    assert_eq!(log.head(collection(1)), None);
    let error = append(&log, collection(1), &batch(9, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn an_error_of_the_replayer_ends_the_opening() {
    let storage = memory();
    let (log, _) = open(storage.clone(), options());
    append(&log, collection(0), &batch(1, 1)).unwrap();
    drop(log);
    let refuse = &mut |_: Logged<'_>| Err(crate::Error::internal("no"));
    let error = Log::open(storage, options(), &|_| Some(SeqId(0)), refuse);
    assert_eq!(error.err().unwrap().message(), "no");
}

#[test]
fn many_writers_share_a_sync_and_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::open(folder.path()).unwrap());
    let (log, _) = open(storage.clone(), options());
    std::thread::scope(|scope| {
        for writer in 0..16_u64 {
            let log = &log;
            scope.spawn(move || {
                let mut last = 0;
                for tag in 0..25 {
                    let to = collection(u128::from(writer) % 8);
                    let got = append(log, to, &batch(writer * 1000 + tag, 2)).unwrap();
                    assert!(got.first.0 > last);
                    last = got.last.0;
                }
            });
        }
    });
    let statistics = log.statistics();
    assert_eq!(statistics.appends, 400);
    assert!(statistics.syncs < 300, "{} syncs", statistics.syncs);
    assert!(statistics.bytes > 400 * FRAME_HEADER_BYTES);
    for number in 0..8 {
        assert_eq!(log.head(collection(number)).unwrap().highest, SeqId(100));
    }
    log.close().unwrap();
    drop(log);
    let (_, replayed) = open(storage, options());
    assert_eq!(replayed.len(), 400);
}

#[test]
fn a_repeated_flush_key_gets_the_first_answer_even_after_a_restart() {
    let storage = memory();
    let (log, _) = open(storage.clone(), options());
    let key = Some(FlushKey::random());
    let submit = |log: &Log, key| log.submit(collection(0), batch(1, 3), key)?.wait();
    assert_eq!(submit(&log, key).unwrap(), seqs(1, 3));
    assert_eq!(submit(&log, key).unwrap(), seqs(1, 3));
    assert_eq!(submit(&log, Some(FlushKey::random())).unwrap(), seqs(4, 6));
    let error = log.submit(collection(1), batch(1, 3), key).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    drop(log);
    let (log, replayed) = open(storage, options());
    assert_eq!(replayed.len(), 2);
    assert_eq!(submit(&log, key).unwrap(), seqs(1, 3));
    assert_eq!(log.statistics().appends, 0);
}

#[test]
fn a_flush_key_that_failed_can_be_tried_again() {
    let faulty = FaultyStorage::new(memory());
    let (log, _) = open(Arc::new(faulty.clone()), options());
    append(&log, collection(0), &batch(0, 1)).unwrap();
    log.settle();
    let key = Some(FlushKey::random());
    faulty.fail_once(Fault::OutOfSpace, 1);
    let submit = || log.submit(collection(0), batch(1, 3), key)?.wait();
    assert_eq!(submit().unwrap_err().kind(), ErrorKind::OutOfSpace);
    assert_eq!(submit().unwrap(), seqs(2, 4));
    assert_eq!(submit().unwrap(), seqs(2, 4));
}

#[test]
fn a_batch_over_the_limit_or_with_uneven_columns_is_refused() {
    let (log, _) = open(memory(), options());
    let error = append(&log, collection(0), &batch(1, 1001)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("1000"), "{error}");
    assert_eq!(log.max_batch_size(), 1000);
    let mut uneven = RecordBatch::clone(&batch(1, 3));
    uneven.operations.pop();
    let error = append(&log, collection(0), &Arc::new(uneven)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        append(&log, collection(0), &batch(1, 1)).unwrap(),
        seqs(1, 1)
    );
}

#[test]
fn purged_files_go_oldest_first_and_the_last_one_too() {
    let storage = memory();
    let (log, _) = open(
        storage.clone(),
        LogOptions {
            file_bytes: 100_000,
            ..options()
        },
    );
    for tag in 0..100 {
        append(&log, collection(tag % 2), &batch(tag as u64, 100)).unwrap();
    }
    log.settle();
    let (files, bytes) = (log.files(), log.bytes());
    assert!(files > 3);
    let mut holders = log.holders_of_oldest();
    holders.sort();
    assert_eq!(holders, [collection(0), collection(1)]);
    log.purge(collection(0), SeqId(5000)).unwrap();
    log.settle();
    assert_eq!(log.files(), files, "collection 1 holds them all");
    assert_eq!(log.holders_of_oldest(), [collection(1)]);
    log.purge(collection(1), SeqId(2500)).unwrap();
    log.settle();
    assert!(log.files() < files && log.bytes() < bytes);
    log.purge(collection(1), SeqId(5000)).unwrap();
    log.settle();
    assert_eq!(log.files(), 1);
    assert!(log.bytes() < 64 << 10, "{} bytes are left", log.bytes());
    assert!(log.holders_of_oldest().is_empty());
    let head = log.head(collection(1)).unwrap();
    assert_eq!((head.lowest, head.highest), (SeqId(5001), SeqId(5000)));
    // Numbers go on although all records are gone.
    assert_eq!(
        append(&log, collection(1), &batch(7, 1)).unwrap(),
        seqs(5001, 5001)
    );
    log.close().unwrap();
    drop(log);
    let applied = BTreeMap::from([(collection(0), SeqId(5000)), (collection(1), SeqId(5000))]);
    let (log, replayed) = open_with(storage, options(), &applied).unwrap();
    assert_eq!(replayed.len(), 1);
    assert_eq!(
        append(&log, collection(0), &batch(7, 1)).unwrap(),
        seqs(5001, 5001)
    );
}

#[test]
fn a_purge_beyond_the_end_is_refused() {
    let (log, _) = open(memory(), options());
    append(&log, collection(0), &batch(1, 2)).unwrap();
    let error = log.purge(collection(0), SeqId(3)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    log.purge(collection(0), SeqId(2)).unwrap();
    log.purge(collection(0), SeqId(1)).unwrap();
    assert_eq!(log.head(collection(0)).unwrap().lowest, SeqId(3));
    log.purge(collection(99), SeqId(3)).unwrap();
}

#[test]
fn a_dropped_collection_gives_its_space_back_and_refuses_appends() {
    let (log, _) = open(
        memory(),
        LogOptions {
            file_bytes: 100_000,
            ..options()
        },
    );
    for tag in 0..50 {
        append(&log, collection(0), &batch(tag, 100)).unwrap();
    }
    append(&log, collection(1), &batch(1, 1)).unwrap();
    log.drop_collection(collection(0)).unwrap();
    log.settle();
    assert_eq!(log.files(), 1, "what is left is the file of collection 1");
    let error = append(&log, collection(0), &batch(1, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        append(&log, collection(1), &batch(1, 1)).unwrap(),
        seqs(2, 2)
    );
    log.drop_collection(collection(0)).unwrap();
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space_and_loses_nothing() {
    for fault in [Fault::OutOfSpace, Fault::ShortWrite] {
        let inner = memory();
        let faulty = FaultyStorage::new(inner.clone());
        let (log, _) = open(Arc::new(faulty.clone()), small_files());
        let mut kept = Vec::new();
        for tag in 0..60 {
            match tag % 6 {
                3 => faulty.fail_from(fault, 1),
                5 => faulty.heal(),
                _ => {}
            }
            match append(&log, collection(0), &batch(tag, 4)) {
                Ok(seqs) => kept.push((seqs, tag)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
                    assert!(matches!(tag % 6, 3 | 4));
                }
            }
        }
        assert_eq!(kept.len(), 40);
        assert!(log.failure().is_none());
        assert!(log.files() > 2);
        log.close().unwrap();
        drop(log);
        let (_, replayed) = open(inner, options());
        let got: Vec<_> = replayed.iter().map(|frame| frame.seqs).collect();
        assert_eq!(got, kept.iter().map(|(seqs, _)| *seqs).collect::<Vec<_>>());
        for (frame, (_, tag)) in replayed.iter().zip(kept) {
            assert_eq!(frame.batch, batch(tag, 4));
        }
    }
}

#[test]
fn any_failing_call_leaves_acknowledged_batches_whole_and_failed_ones_absent() {
    for fault in [
        Fault::OutOfSpace,
        Fault::ShortWrite,
        Fault::InputOutput,
        Fault::FailingSync,
        Fault::FailingSyncDir,
    ] {
        for (at, forever) in (1..80).flat_map(|at| [(at, false), (at, true)]) {
            let inner = memory();
            let faulty = FaultyStorage::new(inner.clone());
            if forever {
                faulty.fail_from(fault, at);
            } else {
                faulty.fail_once(fault, at);
            }
            let (acknowledged, unknown) = work_until_refused(&faulty);
            faulty.heal();
            let applied = BTreeMap::from([(collection(0), SeqId(0)), (collection(1), SeqId(0))]);
            let (_, replayed) = open_with(inner, options(), &applied)
                .unwrap_or_else(|error| panic!("{fault:?} at {at}: {error}"));
            let found: Vec<_> = replayed
                .iter()
                .map(|frame| (frame.batch.ids.get(0).to_owned(), frame.seqs))
                .filter(|(id, _)| !unknown.contains(id))
                .collect();
            assert_eq!(found, acknowledged, "{fault:?} at {at}, forever {forever}");
        }
    }
}

/// Appends and restarts on a storage that may fail at any call; what was acknowledged, and what
/// ended with `Closed`, of which nobody knows.
fn work_until_refused(faulty: &FaultyStorage) -> (Vec<(String, SeqRange)>, Vec<String>) {
    let (mut acknowledged, mut unknown) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let applied = BTreeMap::from([(collection(0), SeqId(0)), (collection(1), SeqId(0))]);
        let Ok((log, _)) = open_with(Arc::new(faulty.clone()), small_files(), &applied) else {
            continue;
        };
        for tag in 0..10 {
            let (to, tag) = (collection(tag % 2), round * 100 + tag as u64);
            match append(&log, to, &batch(tag, 5)) {
                Ok(seqs) => acknowledged.push((format!("{tag}-0"), seqs)),
                Err(error) if error.kind() == ErrorKind::Closed => {
                    unknown.push(format!("{tag}-0"));
                }
                Err(_) => {}
            }
            log.settle();
        }
        let _ = log.close();
    }
    (acknowledged, unknown)
}

#[test]
fn too_little_free_space_refuses_writes_before_the_disk_is_full() {
    let faulty = FaultyStorage::new(memory());
    let options = LogOptions {
        free_disk_bytes_min: 1 << 20,
        ..options()
    };
    let (log, _) = open(Arc::new(faulty.clone()), options);
    faulty.set_free_bytes(1 << 20);
    let error = append(&log, collection(0), &batch(1, 3)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    assert!(error.message().contains("1048576"), "{error}");
    assert!(log_names(&faulty).is_empty(), "it opens without writing");
    faulty.set_free_bytes(2 << 20);
    assert_eq!(
        append(&log, collection(0), &batch(1, 3)).unwrap(),
        seqs(1, 3)
    );
}

#[test]
fn a_failed_sync_refuses_every_later_append_and_says_why() {
    let inner = memory();
    let faulty = FaultyStorage::new(inner.clone());
    let (log, _) = open(Arc::new(faulty.clone()), options());
    append(&log, collection(0), &batch(1, 3)).unwrap();
    log.settle();
    faulty.fail_once(Fault::FailingSync, 1);
    let error = append(&log, collection(0), &batch(2, 3)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.message().contains("restart"), "{error}");
    assert_eq!(
        append(&log, collection(0), &batch(3, 3))
            .unwrap_err()
            .kind(),
        ErrorKind::Closed
    );
    assert!(log.failure().is_some());
    assert_eq!(log.head(collection(0)).unwrap().highest, SeqId(3));
    assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Closed);
    drop(log);
    assert!(!inner.exists("log/clean-end").unwrap());
    let (log, replayed) = open(inner, options());
    assert_eq!(replayed.len(), 1);
    assert_eq!(
        append(&log, collection(0), &batch(4, 1)).unwrap(),
        seqs(4, 4)
    );
}

#[test]
fn a_closed_log_refuses_appends_and_closing_again_is_fine() {
    let (log, _) = open(memory(), options());
    let ticket = log.submit(collection(0), batch(1, 1), None).unwrap();
    log.close().unwrap();
    assert_eq!(
        ticket.wait().unwrap(),
        seqs(1, 1),
        "what was queued is written"
    );
    let error = append(&log, collection(0), &batch(2, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    log.close().unwrap();
}

#[test]
fn an_idle_log_writes_nothing() {
    let storage = memory();
    for _ in 0..3 {
        let (log, _) = open(storage.clone(), options());
        log.close().unwrap();
    }
    assert!(log_names(storage.as_ref()).is_empty());
}
