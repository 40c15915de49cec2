//! Writers that are faster than the database: they are slowed, then refused, then let in again; a
//! collection that is behind is refused before others are.

use std::time::Duration;

use vermilion_engine::clock::{Clock, SystemClock};
use vermilion_engine::control::Component;
use vermilion_engine::model::ReadLevel;
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
