//! Writers that are faster than the database: they are slowed, then refused, then let in again; a
//! collection that is behind is refused before others are.

use std::sync::Arc;
use std::time::Duration;

use vermilion_engine::clock::{Clock, SystemClock};
use vermilion_engine::control::Component;
use vermilion_engine::model::ReadLevel;
use vermilion_engine::storage::MemoryStorage;
use vermilion_engine::storage::sim::FaultyStorage;
use vermilion_engine::{Config, Database, Error, ErrorKind};

use crate::batch_ingest::{count, insertion, seeing, with_workers, write};
use crate::support::{create, with_scope};

/// A log of little room.
fn config() -> Config {
    let mut config = with_workers();
    config.limits.log_bytes_max = 4 << 20;
    config.upkeep.log_file_bytes = 64 << 10;
    config
}

/// Writes to `name` until that is refused; answers how many batches went in, and the refusal.
fn fill(database: &Database, name: &str) -> (usize, Error) {
    for batch in 0..10_000 {
        let batch_of = insertion(&format!("b{batch}"), 100, 32);
        let written = with_scope(database, name, |scope| database.write(scope, batch_of));
        if let Err(error) = written {
            return (batch, error);
        }
    }
    panic!("nothing was refused");
}

#[test]
fn a_collection_that_is_behind_is_slowed_then_refused_and_others_go_on() {
    let database = Database::open(config()).unwrap();
    create(&database, "behind").unwrap();
    create(&database, "other").unwrap();
    database.pause(Component::Indexing);
    let (batches, refusal) = fill(&database, "behind");
    assert_eq!(refusal.kind(), ErrorKind::Busy);
    assert!(
        refusal
            .message()
            .contains("of this collection are logged and not indexed"),
        "{refusal}"
    );
    assert!(batches > 20, "{batches} batches went in");
    let statistics = database.statistics();
    assert!(statistics.writes_slowed > 0 && statistics.writes_refused == 1);
    assert!(
        statistics.waiting_bytes <= 1 << 21,
        "{}",
        statistics.waiting_bytes
    );
    let clock = SystemClock::new();
    write(&database, "other", insertion("o", 10, 32));
    assert!(
        clock.monotonic() < Duration::from_secs(2),
        "another collection was held up"
    );
    database.resume(Component::Indexing);
    let all = batches as u64 * 100;
    assert_eq!(
        count(&database, "behind", seeing(ReadLevel::IndexAndWal)),
        all
    );
    write(&database, "behind", insertion("late", 1, 32));
    assert_eq!(
        count(&database, "behind", seeing(ReadLevel::IndexAndWal)),
        all + 1
    );
}

#[test]
fn a_refused_write_leaves_nothing_in_the_log() {
    let database = Database::open(config()).unwrap();
    create(&database, "behind").unwrap();
    database.pause(Component::Indexing);
    let (batches, _) = fill(&database, "behind");
    database.resume(Component::Indexing);
    let all = batches as u64 * 100;
    assert_eq!(
        count(&database, "behind", seeing(ReadLevel::IndexAndWal)),
        all
    );
    let status = crate::batch_ingest::status(&database, "behind");
    assert_eq!(status.total_operations, all);
}

#[test]
fn health_says_what_refuses_every_read_or_every_write() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::default()));
    let mut config = config();
    config.storage = Arc::new(storage.clone());
    // Without threads nothing is indexed, and nobody waits before a refusal.
    config.upkeep.background = false;
    config.limits.free_disk_bytes_min = 1 << 20;
    let database = Database::open(config).unwrap();
    create(&database, "any").unwrap();
    let check = |readable: bool, writable: bool, words: &str| {
        let health = database.health();
        assert_eq!(
            (health.readable, health.writable),
            (readable, writable),
            "{health:?}"
        );
        let reason = health.reason.unwrap_or_default();
        assert!(reason.contains(words), "{reason}");
        assert_eq!(words.is_empty(), reason.is_empty(), "{reason}");
    };
    check(true, true, "");
    database.pause(Component::Producer);
    check(true, false, "`producer` is paused");
    database.pause(Component::Query);
    check(false, false, "reads are refused: the component `query`");
    database.resume(Component::Producer);
    check(false, true, "`query` is paused");
    database.resume(Component::Query);
    check(true, true, "");
    storage.set_free_bytes(5);
    std::thread::sleep(Duration::from_millis(300));
    check(true, false, "the disk has 5 bytes free");
    storage.heal();
    std::thread::sleep(Duration::from_millis(300));
    check(true, true, "");
    for name in 0.. {
        let name = format!("c{name}");
        create(&database, &name).unwrap();
        let (batches, _) = fill(&database, &name);
        if batches == 0 {
            break;
        }
    }
    check(true, false, "of log are held by no segment");
}
