//! Kills, second servers, stops under load and full disks against the real server.
//!
//! What must stay true: an acknowledged batch is there whole after any end of the process, every
//! other is absent or whole. `CRASH_ROUNDS` sets the number of kills (five where it is not set);
//! what cannot be tried on this machine is written to the file that `TEST_SKIPS` names.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

mod backlog;
mod full_disk;
mod ledger;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ledger::{Ledger, write_until};
use support::{Server, output, vermilion};

/// Clients that write at once.
const WRITERS: usize = 4;
/// Small files and memory, so that seals, merges and rotations happen within a round.
const SMALL: &[&str] = &[
    "--seal-rows",
    "400",
    "--log-file-bytes",
    "64KiB",
    "--log-bytes",
    "256KiB",
    "--seal-idle-after",
    "100ms",
];

/// The same, answering writers before readers see what they wrote, with so little memory that
/// batches are read from the log again and a start leaves most of them for later.
const BATCH_INGEST: &[&str] = &[
    "--seal-rows",
    "400",
    "--log-file-bytes",
    "64KiB",
    "--log-bytes",
    "256KiB",
    "--seal-idle-after",
    "100ms",
    "--batch-ingest",
    "--indexing-workers",
    "1",
    "--ingest-memory-bytes",
    "16KiB",
    "--memory-bytes",
    "128KiB",
];

fn rounds() -> u64 {
    let text = std::env::var("CRASH_ROUNDS").unwrap_or_else(|_| "5".to_owned());
    text.parse().expect("CRASH_ROUNDS is a number")
}

/// Lets all writers write to `server` for `time`, then calls `end` while they are at it.
fn under_load(server: Server, ledger: &Mutex<Ledger>, time: Duration, end: impl FnOnce(Server)) {
    let stop = AtomicBool::new(false);
    let client = server.client();
    let id = client.collection("records");
    std::thread::scope(|threads| {
        for writer in 0..WRITERS {
            let (client, id, stop) = (client.clone(), &id, &stop);
            threads.spawn(move || write_until(&client, id, writer, ledger, stop));
        }
        std::thread::sleep(time);
        end(server);
        stop.store(true, Ordering::SeqCst);
    });
}

/// Kills servers under load and checks each time; answers how many batches were acknowledged.
fn kill_again_and_again(flags: &[&str]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Mutex::new(Ledger::default());
    for round in 0..rounds() {
        let server = Server::start(folder.path(), flags);
        let client = server.client();
        let id = client.collection("records");
        ledger.lock().unwrap().check(&client, &id);
        // Times without a common divisor, so that kills fall on ever other steps of the upkeep.
        let time = Duration::from_millis(120 + round * 97 % 700);
        under_load(server, &ledger, time, Server::kill);
    }
    let server = Server::start(folder.path(), flags);
    let client = server.client();
    let id = client.collection("records");
    let mut ledger = ledger.into_inner().unwrap();
    ledger.check(&client, &id);
    assert!(ledger.acknowledged() >= rounds(), "the load was no load");
    assert_eq!(server.stop().0, 0);
    let path = folder.path().to_str().unwrap();
    let (status, out, err) = output(vermilion().args(["verify", "--path", path]));
    assert_eq!(status, 0, "{out} {err}");
    ledger.acknowledged()
}

#[test]
fn a_kill_at_any_moment_loses_no_acknowledged_batch_and_halves_none() {
    let acknowledged = kill_again_and_again(SMALL);
    println!(
        "{acknowledged} acknowledged batches over {} kills",
        rounds()
    );
}

#[test]
fn a_kill_before_batches_are_indexed_loses_none_and_applies_none_twice() {
    let acknowledged = kill_again_and_again(BATCH_INGEST);
    println!(
        "{acknowledged} acknowledged batches over {} kills",
        rounds()
    );
}

#[test]
fn a_stop_under_load_is_quick_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Mutex::new(Ledger::default());
    for _ in 0..3 {
        let server = Server::start(folder.path(), SMALL);
        under_load(server, &ledger, Duration::from_millis(500), |server| {
            let (status, took) = server.stop();
            assert_eq!(status, 0);
            assert!(took < Duration::from_secs(15), "stopping took {took:?}");
        });
        let server = Server::start(folder.path(), SMALL);
        let client = server.client();
        let id = client.collection("records");
        ledger.lock().unwrap().check(&client, &id);
        assert_eq!(server.stop().0, 0);
    }
}

#[test]
fn a_second_server_on_the_folder_is_refused_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Mutex::new(Ledger::default());
    let server = Server::start(folder.path(), SMALL);
    let path = folder.path().to_str().unwrap().to_owned();
    under_load(server, &ledger, Duration::from_millis(200), |server| {
        let second = ["serve", "--port", "0", "--path", &path];
        let (status, _, err) = output(vermilion().args(second));
        assert_eq!(status, 1, "{err}");
        assert_eq!(
            err.lines()
                .filter(|line| line.starts_with("error: "))
                .count(),
            1,
            "{err}"
        );
        server.kill();
    });
    // The lock of a killed server holds nobody off.
    let server = Server::start(folder.path(), SMALL);
    let client = server.client();
    let id = client.collection("records");
    ledger.lock().unwrap().check(&client, &id);
}
