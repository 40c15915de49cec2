//! Files kept for backups, times in the log, and frames that leave it and come back.

use super::*;
use crate::clock::ManualClock;
use crate::log::archive::{FrameDecoder, FrameEncoder, LogPlace};

/// What a cut hands out: time, collection, SeqIds.
fn read(log: &Log, from: Option<LogPlace>) -> (Vec<(u64, CollectionId, SeqRange)>, LogPlace) {
    let mut found = Vec::new();
    let end = log.cut().batches(from, &mut |batch, _| {
        found.push((batch.time, batch.collection, batch.seqs));
        Ok(())
    });
    (found, end.unwrap().expect("the log has a file"))
}

#[test]
fn every_batch_tells_its_time_and_reading_goes_on_where_it_ended_even_after_a_restart() {
    let storage = memory();
    let (log, _) = open(storage.clone(), small_files());
    let clock = Arc::new(ManualClock::default());
    log.set_clock(clock.clone());
    let a = collection(0);
    for second in 1..=20_u64 {
        clock.advance(Duration::from_secs(1));
        append(&log, a, &batch(second, 3)).unwrap();
    }
    let (first, place) = read(&log, None);
    let times: Vec<u64> = first
        .iter()
        .map(|(time, ..)| time / 1_000_000_000)
        .collect();
    assert_eq!(times, (1..=20).collect::<Vec<_>>());
    assert!(log.files() > 1, "the frames are in several files");
    clock.advance(Duration::from_secs(5));
    append(&log, a, &batch(21, 1)).unwrap();
    log.close().unwrap();
    let (log, replayed) = open(storage, small_files());
    assert_eq!(replayed.len(), 21);
    log.set_clock(clock);
    append(&log, a, &batch(22, 2)).unwrap();
    let (rest, _) = read(&log, Some(place));
    let rest: Vec<_> = rest
        .iter()
        .map(|(time, _, seqs)| (time / 1_000_000_000, *seqs))
        .collect();
    assert_eq!(rest, [(25, seqs(61, 61)), (25, seqs(62, 63))]);
}

#[test]
fn kept_files_outlive_purging_up_to_their_bound_and_go_when_nobody_wants_them() {
    let (log, _) = open(memory(), small_files());
    let a = collection(0);
    log.keep(Keep {
        from: Some(1),
        bytes_max: 20_000,
    });
    let fill = |from: u64, to: u64| {
        for tag in from..to {
            append(&log, a, &batch(tag, 20)).unwrap();
        }
        log.purge(a, log.head(a).unwrap().highest).unwrap();
        log.settle();
    };
    fill(0, 10);
    assert!(log.cut().reaches_back_to(None).unwrap(), "all is kept");
    assert!(
        log.kept_bytes() > 8_000 && log.bytes() < 4_096,
        "only kept bytes are left"
    );
    fill(10, 100);
    assert!(
        log.kept_bytes() <= 20_000,
        "{} bytes are kept",
        log.kept_bytes()
    );
    assert!(
        !log.cut().reaches_back_to(None).unwrap(),
        "the oldest had to go"
    );
    log.keep(Keep::default());
    log.settle();
    assert_eq!(log.files(), 1);
}

#[test]
fn a_cut_keeps_its_files_while_it_lives_and_shows_nothing_later() {
    let (log, _) = open(memory(), small_files());
    let a = collection(0);
    for tag in 0..20 {
        append(&log, a, &batch(tag, 20)).unwrap();
    }
    let cut = log.cut();
    append(&log, a, &batch(20, 7)).unwrap();
    log.purge(a, SeqId(407)).unwrap();
    log.settle();
    let mut last = SeqId(0);
    cut.batches(None, &mut |batch, _| {
        assert_eq!(batch.seqs.first, last.plus(1));
        last = batch.seqs.last;
        Ok(())
    })
    .unwrap();
    assert_eq!((last, cut.highest(a)), (SeqId(400), SeqId(400)));
    drop(cut);
    log.settle();
    assert_eq!(log.files(), 1, "nothing is kept any more");
}

#[test]
fn frames_make_the_way_through_an_archive_unchanged_and_open_as_a_log() {
    let (log, _) = open(memory(), options());
    let clock = Arc::new(ManualClock::default());
    log.set_clock(clock.clone());
    for tag in 1..12 {
        clock.advance(Duration::from_secs(1));
        append(&log, collection(u128::from(tag % 3)), &batch(tag, 4)).unwrap();
    }
    let (mut encoder, mut bytes) = FrameEncoder::begin(None);
    log.cut()
        .batches(None, &mut |batch, _| {
            bytes.extend(encoder.frame(batch));
            bytes.extend_from_slice(batch.payload);
            Ok(())
        })
        .unwrap();
    assert_eq!(encoder.bytes(), bytes.len() as u64);
    let storage = memory();
    storage.create_dir(FOLDER).unwrap();
    storage.insert(&encoder.path(), bytes.clone()).unwrap();
    encoder.mark_clean_end(storage.as_ref()).unwrap();
    let (copied, replayed) = open(storage, options());
    assert_eq!(replayed.len(), 11);
    assert_eq!(read(&copied, None).0, read(&log, None).0);
    let mut decoder = FrameDecoder::begin(&bytes, 1, "archive").unwrap();
    let mut times = Vec::new();
    while decoder.offset() < bytes.len() as u64 {
        let at = decoder.offset() as usize;
        if let Some(frame) = decoder.next(&bytes[at..], "archive").unwrap() {
            let (from, length) = frame.payload_place();
            let payload = &bytes[from as usize..(from + length) as usize];
            let batch = frame.with_payload(payload, "archive").unwrap();
            times.push(batch.time / 1_000_000_000);
            assert_eq!(batch.decode().unwrap().len(), 4);
        }
    }
    assert_eq!(times, (1..12).collect::<Vec<_>>());
}

#[test]
fn a_changed_byte_of_an_archive_is_found_wherever_it_is() {
    let (log, _) = open(memory(), options());
    append(&log, collection(0), &batch(1, 2)).unwrap();
    let (mut encoder, mut bytes) = FrameEncoder::begin(None);
    log.cut()
        .batches(None, &mut |batch, _| {
            bytes.extend(encoder.frame(batch));
            bytes.extend_from_slice(batch.payload);
            Ok(())
        })
        .unwrap();
    let check = |bytes: &[u8]| -> crate::Result<()> {
        let mut decoder = FrameDecoder::begin(bytes, 1, "archive")?;
        let at = decoder.offset() as usize;
        let frame = decoder.next(&bytes[at..], "archive")?.expect("a batch");
        let (from, _) = frame.payload_place();
        let payload = &bytes[from as usize..];
        frame.with_payload(payload, "archive").map(|_| ())
    };
    check(&bytes).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        let error = check(&changed).unwrap_err();
        assert!(error.message().contains("archive"), "{at}: {error}");
    }
}
