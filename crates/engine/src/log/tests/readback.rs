//! Reading batches again: in order, without a gap, whole, across files, beside other collections.

use super::*;

fn read_all(log: &Log, upto: u64, bytes_max: u64) -> Vec<LogBatch> {
    let (mut mark, mut seen, mut all) = (None, SeqId(0), Vec::new());
    while seen < SeqId(upto) {
        let part = log
            .read(collection(0), seen, SeqId(upto), bytes_max, &mut mark)
            .unwrap();
        assert!(!part.is_empty(), "a call answers one batch at least");
        seen = part.last().unwrap().seqs.last;
        all.extend(part);
    }
    all
}

#[test]
fn what_was_appended_is_read_again_across_files_whatever_a_call_may_take() {
    let (log, _) = open(memory(), small_files());
    for tag in 0..60 {
        append(&log, collection(0), &batch(tag, 3)).unwrap();
        append(&log, collection(1), &batch(1000 + tag, 2)).unwrap();
    }
    assert!(log.files() > 3, "{} files", log.files());
    for bytes_max in [1, 1000, 1 << 30] {
        let all = read_all(&log, 180, bytes_max);
        assert_eq!(all.len(), 60);
        for (tag, one) in all.iter().enumerate() {
            let first = SeqId(1 + 3 * tag as u64);
            assert_eq!(one.seqs, SeqRange::of(first, 3));
            assert_eq!(one.batch, batch(tag as u64, 3));
        }
    }
}

#[test]
fn reading_starts_in_the_middle_of_a_batch_and_ends_at_what_is_asked_for() {
    let (log, _) = open(memory(), options());
    for tag in 0..4 {
        append(&log, collection(0), &batch(tag, 5)).unwrap();
    }
    let mut mark = None;
    let part = log
        .read(collection(0), SeqId(7), SeqId(15), 1 << 30, &mut mark)
        .unwrap();
    let seqs: Vec<_> = part
        .iter()
        .map(|one| (one.seqs.first.0, one.seqs.last.0))
        .collect();
    assert_eq!(seqs, [(8, 10), (11, 15)]);
    assert_eq!(*part[0].batch, batch(1, 5).rows(2..5));
    // The mark leads to what comes next, also to what was appended since.
    append(&log, collection(0), &batch(4, 5)).unwrap();
    let part = log
        .read(collection(0), SeqId(15), SeqId(25), 1 << 30, &mut mark)
        .unwrap();
    assert_eq!(part.len(), 2);
    assert_eq!(part[1].batch, batch(4, 5));
}

#[test]
fn a_collection_that_is_dropped_or_records_that_are_gone_are_an_error() {
    let (log, _) = open(memory(), small_files());
    for tag in 0..40 {
        append(&log, collection(0), &batch(tag, 3)).unwrap();
    }
    log.purge(collection(0), SeqId(100)).unwrap();
    log.settle();
    let read = |from| log.read(collection(0), from, SeqId(120), 1 << 30, &mut None);
    assert_eq!(read(SeqId(0)).unwrap_err().kind(), ErrorKind::Corrupted);
    assert_eq!(
        read(SeqId(100)).unwrap().last().unwrap().seqs.last,
        SeqId(120)
    );
    log.drop_collection(collection(0)).unwrap();
    assert_eq!(read(SeqId(100)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_read_that_a_disk_ended_in_a_later_file_can_be_made_again_with_its_mark() {
    let storage = FaultyStorage::new(memory());
    let (log, _) = open(Arc::new(storage.clone()), small_files());
    for tag in 0..60 {
        append(&log, collection(0), &batch(tag, 3)).unwrap();
    }
    assert!(log.files() > 3, "{} files", log.files());
    log.settle();
    let mut failures = 0;
    for nth in 1.. {
        let mut mark = None;
        storage.fail_once(Fault::InputOutput, nth);
        let upto = SeqId(180);
        let read = log.read(collection(0), SeqId(0), upto, 1 << 30, &mut mark);
        storage.heal();
        let Err(error) = read else { break };
        assert_ne!(error.kind(), ErrorKind::Corrupted, "{error}");
        failures += 1;
        let again = log.read(collection(0), SeqId(0), upto, 1 << 30, &mut mark);
        assert_eq!(again.unwrap().len(), 60, "call {nth}");
    }
    assert!(failures > 3, "{failures} reads failed");
}
