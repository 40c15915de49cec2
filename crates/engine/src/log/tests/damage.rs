//! Torn tails are cut, damage is named: over every byte of a small log.

use super::codec::bytes_of;
use super::*;
use crate::storage::sim::{RecordingStorage, Survival};

const FILE: &str = "log/00000000000000000001.log";

/// A log of one file with `batches` batches, closed or not.
fn small_log(batches: u64, close: bool) -> Arc<MemoryStorage> {
    let storage = memory();
    let (log, _) = open(storage.clone(), options());
    for tag in 0..batches {
        append(&log, collection(0), &batch(tag, 2)).unwrap();
        log.settle();
    }
    if close {
        log.close().unwrap();
    }
    drop(log);
    storage
}

/// `bytes`, written over those of a longer file of another log.
fn over_former_life(bytes: &[u8]) -> Vec<u8> {
    let mut file = files_of(&small_log(6, false)).remove(0).1;
    file[..bytes.len()].copy_from_slice(bytes);
    file
}

/// What the log itself consists of: without the note of its newest file, of which it is told apart
/// what that notices.
fn files_of(storage: &MemoryStorage) -> Vec<(String, Vec<u8>)> {
    let mut files = storage.files();
    files.retain(|(path, _)| path != "log/newest");
    files
}

/// Opens a log of these files; the batches replayed.
fn replay_of(files: &[(String, Vec<u8>)]) -> crate::Result<Vec<Arc<RecordBatch>>> {
    let storage = memory();
    for (path, bytes) in files {
        storage.insert(path, bytes.clone()).unwrap();
    }
    let applied = BTreeMap::from([(collection(0), SeqId(0)), (collection(1), SeqId(0))]);
    let (log, replayed) = open_with(storage.clone(), options(), &applied)?;
    // What was opened can be appended to, and opened again with the same answer.
    append(&log, collection(0), &batch(999, 1)).unwrap();
    log.close().unwrap();
    drop(log);
    let (_, again) = open_with(storage, options(), &applied)?;
    assert_eq!(again.len(), replayed.len() + 1);
    Ok(replayed.into_iter().map(|frame| frame.batch).collect())
}

fn changed(
    files: &[(String, Vec<u8>)],
    path: &str,
    change: impl FnOnce(&mut Vec<u8>),
) -> Vec<(String, Vec<u8>)> {
    let mut files = files.to_vec();
    let file = files.iter_mut().find(|(name, _)| name == path).unwrap();
    change(&mut file.1);
    files
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_group_is_cut() {
    let files = files_of(&small_log(3, false));
    let bytes = &files[0].1;
    // The last mark and the last frame: with the mark whole or torn, and without it.
    let payload = bytes_of(&batch(2, 2)).len();
    let frame = FRAME_HEADER_BYTES as usize + payload;
    let mark = bytes.len() - FRAME_HEADER_BYTES as usize;
    for length in mark - frame..bytes.len() {
        let torn = changed(&files, FILE, |bytes| bytes.truncate(length));
        let got = replay_of(&torn).unwrap();
        assert_eq!(
            got.len(),
            if length < mark { 2 } else { 3 },
            "cut at {length}"
        );
        // The file's length reached the disk, its end did not.
        let zeros = changed(&files, FILE, |bytes| bytes[length..].fill(0));
        let got = replay_of(&zeros).unwrap();
        let whole = length >= mark || bytes[length..mark].iter().all(|byte| *byte == 0);
        assert_eq!(got.len(), if whole { 3 } else { 2 }, "zeros from {length}");
        // The file is written over, and has its former bytes from there on.
        let old = changed(&files, FILE, |bytes| {
            *bytes = over_former_life(&bytes[..length]);
        });
        let got = replay_of(&old).unwrap();
        let whole = old[0].1[..mark] == bytes[..mark];
        assert_eq!(
            got.len(),
            if whole { 3 } else { 2 },
            "former bytes from {length}"
        );
    }
}

#[test]
fn any_flipped_bit_is_named_or_harmless() {
    for (close, again) in [(false, false), (false, true), (true, false)] {
        let mut files = files_of(&small_log(3, close));
        let guarded = files[0].1.len() - 2 * FRAME_HEADER_BYTES as usize;
        if again {
            files[0].1 = over_former_life(&files[0].1);
        }
        let expected: Vec<_> = (0..3).map(|tag| batch(tag, 2)).collect();
        let mut named = 0;
        for (path, bytes) in &files {
            for at in 0..bytes.len() {
                let flipped = changed(&files, path, |bytes| bytes[at] ^= 1 << (at % 8));
                match replay_of(&flipped) {
                    Ok(got) => assert_eq!(got, expected, "{path} at {at}"),
                    Err(error) => {
                        let kind = error.kind();
                        // The version of a header is read once its checksum is right.
                        assert_eq!(kind, ErrorKind::Corrupted, "{path} at {at}: {error}");
                        assert!(error.message().contains(path), "{error}");
                        named += 1;
                    }
                }
            }
        }
        assert!(named >= guarded, "{named} of {} bytes", files[0].1.len());
    }
}

#[test]
fn a_tail_cut_after_a_clean_stop_is_noticed_at_any_length() {
    let storage = small_log(3, true);
    let files = files_of(&storage);
    for length in 0..files.iter().find(|file| file.0 == FILE).unwrap().1.len() {
        let cut = changed(&files, FILE, |bytes| bytes.truncate(length));
        let error = replay_of(&cut).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{length}");
        assert!(error.message().contains(FILE), "{error}");
    }
    let longer = changed(&files, FILE, |bytes| bytes.push(0));
    assert_eq!(replay_of(&longer).unwrap_err().kind(), ErrorKind::Corrupted);
    // Once opened, the next end may be a crash again.
    let (log, _) = open(storage.clone(), options());
    append(&log, collection(0), &batch(9, 1)).unwrap();
    drop(log);
    assert!(!storage.exists("log/clean-end").unwrap());
}

#[test]
fn a_frame_of_another_place_is_no_frame() {
    let storage = small_log(3, false);
    let files = files_of(&storage);
    let other = files_of(&small_log(3, false));
    let from = FILE_HEADER_BYTES as usize;
    let moved = changed(&files, FILE, |bytes| {
        bytes.truncate(from);
        bytes.extend_from_slice(&other[0].1[from..]);
    });
    assert_eq!(replay_of(&moved).unwrap().len(), 0, "another file's salt");
    let frame = FRAME_HEADER_BYTES as usize + bytes_of(&batch(0, 2)).len();
    let doubled = changed(&files, FILE, |bytes| {
        bytes.truncate(from + frame);
        let copy = bytes[from..].to_vec();
        bytes.extend_from_slice(&copy);
    });
    assert_eq!(
        replay_of(&doubled).unwrap().len(),
        1,
        "the offset is another"
    );
}

/// A log of several files, not closed.
fn rotated() -> Vec<(String, Vec<u8>)> {
    let storage = memory();
    let (log, _) = open(storage.clone(), small_files());
    for tag in 0..40 {
        append(&log, collection(0), &batch(tag, 2)).unwrap();
        log.settle();
    }
    drop(log);
    assert!(files_of(&storage).len() > 3);
    files_of(&storage)
}

#[test]
fn a_file_before_the_last_that_is_cut_or_missing_is_named() {
    let files = rotated();
    let expected = replay_of(&files).unwrap();
    for (at, (path, bytes)) in files.iter().enumerate() {
        let last = at + 1 == files.len();
        let mut without = files.clone();
        without.remove(at);
        match replay_of(&without) {
            Ok(got) => assert!(last && expected.starts_with(&got)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupted),
        }
        if last {
            continue;
        }
        for length in 0..bytes.len() - FRAME_HEADER_BYTES as usize {
            let cut = changed(&files, path, |bytes| bytes.truncate(length));
            let error = replay_of(&cut).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted);
            assert!(error.message().contains(path), "{error}");
        }
    }
}

#[test]
fn a_last_file_whose_making_was_interrupted_is_begun_again() {
    let files = rotated();
    let expected = replay_of(&files).unwrap();
    let number = files.len() + 1;
    for length in [0, 1, 63, 64] {
        let mut more = files.clone();
        more.push((format!("log/{number:020}.log"), vec![0; length]));
        assert_eq!(replay_of(&more).unwrap(), expected);
    }
    let mut more = files.clone();
    more.push((format!("log/{number:020}.log"), vec![0; 65]));
    assert_eq!(replay_of(&more).unwrap_err().kind(), ErrorKind::Corrupted);
}

#[test]
fn a_scan_tells_what_is_there_and_what_is_damaged_without_a_change() {
    let files = rotated();
    let storage = memory();
    for (path, bytes) in &files {
        storage.insert(path, bytes.clone()).unwrap();
    }
    let found = scan(storage.as_ref()).unwrap();
    assert!(found.damaged.is_empty());
    assert_eq!(found.files.len(), files.len());
    assert_eq!(found.files.iter().map(|file| file.batches).sum::<u64>(), 40);
    assert_eq!(found.files.iter().map(|file| file.records).sum::<u64>(), 80);
    let last = found.files.last().unwrap();
    assert_eq!(last.highest[&collection(0)], SeqId(80));
    assert_eq!(last.bytes, files.last().unwrap().1.len() as u64);
    // A torn tail is no damage; a bad frame in each of two files is damage twice.
    for (path, bytes) in &files[..2] {
        let mut bytes = bytes.clone();
        bytes[200] ^= 4;
        storage.insert(path, bytes).unwrap();
    }
    let (path, bytes) = files.last().unwrap();
    storage
        .insert(path, bytes[..bytes.len() - 7].to_vec())
        .unwrap();
    let before = storage.files();
    let found = scan(storage.as_ref()).unwrap();
    assert_eq!(found.damaged.len(), 2);
    assert!(found.damaged[0].message().contains(&files[0].0));
    assert!(found.damaged[1].message().contains(&files[1].0));
    assert_eq!(storage.files(), before);
    assert!(scan(memory().as_ref()).unwrap().files.is_empty());
}

#[test]
fn what_was_replayed_after_a_mere_kill_survives_a_power_cut_later() {
    let recording = RecordingStorage::default();
    let (log, _) = open(Arc::new(recording.clone()), options());
    append(&log, collection(0), &batch(1, 2)).unwrap();
    let killed_at = recording.steps();
    // Killed after the second batch's write, before its sync.
    append(&log, collection(0), &batch(2, 2)).unwrap();
    drop(log);
    let trace = recording.trace();
    for cut in killed_at..trace.len() {
        let killed = trace.rebuild(cut, Survival::All, 0).unwrap();
        let second = RecordingStorage::starting_from(&killed.storage).unwrap();
        let (log, replayed) = open(Arc::new(second.clone()), options());
        let opened = second.trace();
        drop(log);
        let dark = opened.rebuild(opened.len(), Survival::Nothing, 0).unwrap();
        let (_, again) = open(Arc::new(dark.storage), options());
        assert_eq!(again.len(), replayed.len());
    }
}

#[test]
fn a_last_file_that_is_lost_after_a_crash_is_noticed() {
    let files = rotated();
    let storage = memory();
    let (log, _) = open(storage.clone(), small_files());
    for tag in 0..40 {
        append(&log, collection(0), &batch(tag, 2)).unwrap();
    }
    drop(log);
    let last = &files.last().unwrap().0;
    assert!(storage.exists(last).unwrap());
    storage.remove_file(last).unwrap();
    let applied = BTreeMap::from([(collection(0), SeqId(0))]);
    let error = open_with(storage.clone(), small_files(), &applied)
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(error.message().contains(last), "{error}");
    let found = scan(storage.as_ref()).unwrap();
    assert!(found.damaged[0].message().contains(last));
    // Without the note, as an older release leaves a folder, nobody can know.
    storage.remove_file("log/newest").unwrap();
    open_with(storage, small_files(), &applied).unwrap();
}

#[test]
fn a_first_file_that_is_lost_is_told_where_no_segment_holds_its_records() {
    let storage = memory();
    for (path, bytes) in &rotated()[1..] {
        storage.insert(path, bytes.clone()).unwrap();
    }
    let found = scan(storage.as_ref()).unwrap();
    assert!(found.damaged.is_empty());
    let missing = |applied| found.missing(&[(collection(0), SeqId(applied))].into());
    let told = missing(0);
    assert_eq!(told.len(), 1);
    assert!(told[0].message().contains("follows on 0"), "{}", told[0]);
    assert!(missing(80).is_empty());
    assert!(
        found.missing(&[].into()).is_empty(),
        "of a deleted collection"
    );
}
