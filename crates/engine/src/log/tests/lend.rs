//! Vectors of durable batches, looked at where they stand in the log.

use super::*;
use crate::log::payload::Checksums;

/// Enough numbers for a mapping.
const ROWS: usize = 20_000;

fn on_disk() -> (tempfile::TempDir, Arc<dyn Storage>) {
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::open(folder.path()).unwrap();
    (folder, Arc::new(storage))
}

fn large() -> LogOptions {
    LogOptions {
        batch_records_max: ROWS,
        ..options()
    }
}

#[test]
fn vectors_of_batches_of_any_size_are_those_that_were_appended_until_nobody_looks() {
    let (folder, storage) = on_disk();
    let (log, _) = open(storage, large());
    let mut lent = Vec::new();
    for tag in [1, 10, 100, 1000] {
        append(&log, collection(1), &batch(tag, 1)).unwrap();
        let batch = batch(tag, ROWS - tag as usize);
        let ticket = log.submit(collection(0), batch.clone(), None).unwrap();
        ticket.wait().unwrap();
        let place = ticket.vectors().expect("there are enough");
        assert_eq!(place.offset % 4, 0);
        let vectors = log.lend(place).expect("files can be mapped");
        vectors.check().unwrap();
        lent.push((batch, vectors));
    }
    log.drop_collection(collection(0)).unwrap();
    log.drop_collection(collection(1)).unwrap();
    log.settle();
    drop(log);
    std::fs::remove_dir_all(folder.path()).unwrap();
    for (batch, vectors) in lent {
        assert_eq!(vectors.get(), batch.embeddings.values());
        vectors.check().unwrap();
    }
}

#[test]
fn few_vectors_and_those_of_storage_without_files_are_not_lent() {
    let (_folder, storage) = on_disk();
    let (log, _) = open(storage, large());
    let ticket = log.submit(collection(0), batch(1, 100), None).unwrap();
    ticket.wait().unwrap();
    assert_eq!(ticket.vectors(), None);
    let (log, _) = open(memory(), large());
    let ticket = log.submit(collection(0), batch(1, ROWS), None).unwrap();
    ticket.wait().unwrap();
    let place = ticket.vectors().expect("there are enough");
    assert!(log.lend(place).is_none());
}

#[test]
fn checksums_of_large_and_small_batches_are_those_of_their_bytes() {
    for rows in [0, 1, 3, ROWS] {
        let encoded = encode(batch(5, rows)).unwrap();
        let bytes = encoded.parts().concat();
        let place = encoded.vectors();
        assert_eq!((place.start % 4, bytes.len() % 4), (0, 0));
        let vectors = &bytes[place.start as usize..place.end as usize];
        let expected = Checksums {
            whole: crc32c::crc32c(&bytes),
            vectors: (rows == ROWS).then(|| crc32c::crc32c(vectors)),
        };
        assert_eq!(encoded.checksums(), expected);
    }
}

#[test]
fn batches_that_were_written_without_padding_are_read() {
    let batch = batch(12, 3);
    let encoded = encode(batch.clone()).unwrap();
    let [head, ids, zeros, vectors, behind @ .., end] = encoded.parts();
    assert!(!zeros.is_empty() && !end.is_empty(), "there is padding");
    let mut bytes = [head, ids, vectors, &behind.concat()].concat();
    bytes[12..16].fill(0);
    assert_eq!(decode(&bytes, 3).unwrap(), *batch);
    let keys = payload::metadata_keys(&bytes).unwrap();
    assert_eq!(
        keys,
        payload::metadata_keys(&encoded.parts().concat()).unwrap()
    );
    assert_eq!(keys, ["tag"]);
}

#[test]
fn large_batches_are_read_again_as_they_were_appended_and_not_once_they_are_damaged() {
    let (folder, storage) = on_disk();
    let (log, _) = open(storage, large());
    let batches: Vec<_> = [1, 10, 100]
        .map(|tag| batch(tag, ROWS - tag as usize))
        .into();
    let mut ends = Vec::new();
    for batch in &batches {
        ends.push(append(&log, collection(0), batch).unwrap().last);
    }
    let read = |start: SeqId| {
        let mut mark = None;
        log.read(collection(0), start, ends[2], 1 << 30, &mut mark)
    };
    let all = read(SeqId(0)).unwrap();
    assert_eq!(all.len(), 3);
    for (one, batch) in all.iter().zip(&batches) {
        assert_eq!(one.batch, *batch);
        one.batch.embeddings.check().unwrap();
    }
    let behind = read(SeqId(5)).unwrap();
    assert_eq!(*behind[0].batch, batches[0].rows(5..batches[0].len()));

    let path = folder.path().join("log").join(format!("{:020}.log", 1));
    let bytes = std::fs::read(&path).unwrap();
    let number = batches[2]
        .embeddings
        .values()
        .last()
        .expect("there are some");
    let at = memchr::memmem::find(&bytes, &number.to_le_bytes()).expect("the number is there");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[bytes[at] ^ 1], at as u64).unwrap();
    let error = read(ends[0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    // What looks at the log finds it too, and only where it is.
    let checks = all.iter().map(|one| one.batch.embeddings.check().is_ok());
    assert_eq!(checks.collect::<Vec<_>>(), [true, true, false]);
}
