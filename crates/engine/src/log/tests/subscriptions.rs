//! Subscribers get every record once, in order, from the start they name to the end they name.

use std::sync::mpsc;

use super::*;

/// Subscribes; what is delivered comes through the channel.
fn subscribe(
    log: &Log,
    start: Option<u64>,
    end: Option<u64>,
) -> crate::Result<(SubscriptionId, mpsc::Receiver<crate::Result<LogBatch>>)> {
    let (sender, receiver) = mpsc::channel();
    let deliver = Box::new(move |delivered| {
        // The receiver may be gone already.
        let _ = sender.send(delivered);
    });
    let id = log.subscribe(collection(0), start.map(SeqId), end.map(SeqId), deliver)?;
    Ok((id, receiver))
}

fn next(receiver: &mpsc::Receiver<crate::Result<LogBatch>>) -> crate::Result<LogBatch> {
    receiver
        .recv_timeout(Duration::from_secs(20))
        .expect("something is delivered")
}

#[test]
fn backfill_and_live_records_meet_without_a_gap_or_a_repeat() {
    let (log, _) = open(
        memory(),
        LogOptions {
            file_bytes: 20_000,
            ..options()
        },
    );
    let total = 600;
    std::thread::scope(|scope| {
        for writer in 0..3_u64 {
            let log = &log;
            scope.spawn(move || {
                for tag in 0..total / 3 {
                    append(log, collection(0), &batch(writer * 1000 + tag, 3)).unwrap();
                    append(log, collection(1), &batch(tag, 1)).unwrap();
                }
            });
        }
        let mut readers = Vec::new();
        for _ in 0..8 {
            let start = log.head(collection(0)).unwrap().highest.0 / 2;
            readers.push((
                start,
                subscribe(&log, Some(start), Some(total * 3)).unwrap().1,
            ));
            std::thread::yield_now();
        }
        for (start, receiver) in readers {
            let mut last = start;
            while last < total * 3 {
                let got = next(&receiver).unwrap();
                assert_eq!(got.seqs.first.0, last + 1, "no gap, no repeat");
                assert_eq!(got.seqs.count() as usize, got.batch.len());
                assert_eq!(got.collection, collection(0));
                last = got.seqs.last.0;
            }
            assert!(receiver.recv().is_err(), "it ends by itself");
        }
    });
}

#[test]
fn start_is_exclusive_end_is_inclusive_and_batches_are_cut() {
    let (log, _) = open(memory(), options());
    for tag in 0..4 {
        append(&log, collection(0), &batch(tag, 5)).unwrap();
    }
    let (_, receiver) = subscribe(&log, Some(3), Some(12)).unwrap();
    let got: Vec<_> = receiver.iter().map(Result::unwrap).collect();
    let ranges: Vec<_> = got.iter().map(|got| got.seqs).collect();
    assert_eq!(ranges, [seqs(4, 5), seqs(6, 10), seqs(11, 12)]);
    assert_eq!(got[0].batch.ids.get(0), "0-3");
    assert_eq!(got[0].batch.len(), 2);
    assert_eq!(got[2].batch.ids.get(1), "2-1");
    assert_eq!(got[2].batch.len(), 2);
}

#[test]
fn without_a_start_only_records_to_come_are_delivered() {
    let (log, _) = open(memory(), options());
    append(&log, collection(0), &batch(1, 5)).unwrap();
    let (id, receiver) = subscribe(&log, None, None).unwrap();
    append(&log, collection(0), &batch(2, 2)).unwrap();
    assert_eq!(next(&receiver).unwrap().seqs, seqs(6, 7));
    log.unsubscribe(id);
    append(&log, collection(0), &batch(3, 2)).unwrap();
    assert!(receiver.recv().is_err(), "nothing after unsubscribe");
    log.unsubscribe(id);
}

#[test]
fn a_subscription_of_an_empty_log_waits_for_the_first_record() {
    let (log, _) = open(memory(), options());
    let (_, receiver) = subscribe(&log, Some(0), Some(2)).unwrap();
    append(&log, collection(0), &batch(1, 2)).unwrap();
    assert_eq!(next(&receiver).unwrap().seqs, seqs(1, 2));
    assert_eq!(
        (log.min_seq(collection(0)), log.max_seq(collection(0))),
        (Some(SeqId(1)), Some(SeqId(2)))
    );
}

#[test]
fn no_call_is_running_once_unsubscribe_returns() {
    let (log, _) = open(memory(), options());
    let log = Arc::new(log);
    for _ in 0..50 {
        let running = Arc::new(AtomicUsize::new(0));
        let inside = running.clone();
        let deliver = Box::new(move |_| {
            inside.store(1, Ordering::SeqCst);
            std::thread::yield_now();
            inside.store(2, Ordering::SeqCst);
        });
        let id = log.subscribe(collection(0), None, None, deliver).unwrap();
        let ticket = log.submit(collection(0), batch(1, 1), None).unwrap();
        log.unsubscribe(id);
        assert_ne!(running.load(Ordering::SeqCst), 1);
        let before = running.load(Ordering::SeqCst);
        ticket.wait().unwrap();
        log.settle();
        assert_eq!(running.load(Ordering::SeqCst), before);
    }
}

#[test]
fn a_slow_subscriber_holds_up_no_append_and_may_end_itself() {
    let (log, _) = open(memory(), options());
    let log = Arc::new(log);
    let (go, wait) = mpsc::channel::<()>();
    let (report, reported) = mpsc::channel();
    let (mine, ids) = mpsc::channel::<SubscriptionId>();
    let inner = Arc::downgrade(&log);
    let deliver = Box::new(move |delivered: crate::Result<LogBatch>| {
        wait.recv().unwrap();
        report.send(delivered.unwrap().seqs.last).unwrap();
        inner.upgrade().unwrap().unsubscribe(ids.recv().unwrap());
    });
    let id = log
        .subscribe(collection(0), Some(SeqId(0)), None, deliver)
        .unwrap();
    for tag in 0..100 {
        append(&log, collection(0), &batch(tag, 1)).unwrap();
    }
    mine.send(id).unwrap();
    go.send(()).unwrap();
    assert_eq!(reported.recv().unwrap(), SeqId(1));
    assert!(
        reported.recv().is_err(),
        "the call that unsubscribes is the last"
    );
}

#[test]
fn what_cannot_be_subscribed_to_is_refused() {
    let (log, _) = open(memory(), options());
    append(&log, collection(0), &batch(1, 5)).unwrap();
    let refused = |start, end| subscribe(&log, start, end).err().unwrap().kind();
    assert_eq!(refused(Some(3), Some(2)), ErrorKind::InvalidArgument);
    log.purge(collection(0), SeqId(3)).unwrap();
    assert_eq!(refused(Some(2), None), ErrorKind::NotFound);
    let (_, receiver) = subscribe(&log, Some(3), Some(5)).unwrap();
    assert_eq!(next(&receiver).unwrap().seqs, seqs(4, 5));
    let unknown = log.subscribe(collection(99), None, None, Box::new(|_| {}));
    assert_eq!(unknown.err().unwrap().kind(), ErrorKind::NotFound);
    log.close().unwrap();
    assert_eq!(refused(None, None), ErrorKind::Closed);
}

#[test]
fn a_subscriber_is_told_when_its_records_are_purged_or_its_collection_is_dropped() {
    let (log, _) = open(
        memory(),
        LogOptions {
            file_bytes: 100_000,
            ..options()
        },
    );
    let (go, wait) = mpsc::channel::<()>();
    let (report, reported) = mpsc::channel();
    let deliver = Box::new(move |delivered| {
        report.send(delivered).unwrap();
        wait.recv().unwrap();
    });
    log.subscribe(collection(0), Some(SeqId(0)), None, deliver)
        .unwrap();
    for tag in 0..100 {
        append(&log, collection(0), &batch(tag, 100)).unwrap();
    }
    reported.recv().unwrap().unwrap();
    log.purge(collection(0), SeqId(10_000)).unwrap();
    log.settle();
    assert_eq!(log.files(), 1);
    // What it had read ahead may still come; then it is told.
    let error = loop {
        go.send(()).unwrap();
        if let Err(error) = reported.recv().unwrap() {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("were purged before"), "{error}");
    go.send(()).unwrap();
    let (_, receiver) = subscribe(&log, None, None).unwrap();
    log.drop_collection(collection(0)).unwrap();
    assert_eq!(next(&receiver).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(receiver.recv().is_err());
}
