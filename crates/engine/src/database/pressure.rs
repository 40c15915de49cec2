//! What holds writers back before memory, log or disk are full: first a short delay, then a
//! longer wait, then a refusal that says when to come back.
//!
//! What must stay true: a writer is never held back for longer than [`PRESSURE_WAIT`]; a
//! collection whose indexing is behind is held back before others are, and by what it has in the
//! log itself, so that it cannot fill the log that all share.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Database, Inner, closing};
use crate::control::Component;
use crate::indexing::{Answered, LiveCollection};
use crate::model::CollectionScope;
use crate::{Error, ErrorKind, Result};

/// How long a write waits for room before it is refused.
const PRESSURE_WAIT: Duration = Duration::from_secs(10);
/// How long a write is delayed just before there is no room.
const DELAY_MAX: Duration = Duration::from_millis(500);
/// How long until a writer that waits for room looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A collection is behind if its unindexed log is this part of what the log may have.
const BEHIND_PART: u64 = 32;
/// The part of the log that the unindexed batches of one collection may take.
const OWN_PART: u64 = 4;

/// Something that fills up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fill {
    what: &'static str,
    used: u64,
    /// From here on writers are slowed down.
    soft: u64,
    /// From here on they are refused.
    hard: u64,
}

impl Fill {
    /// 0 at the soft limit and below, 1 at the hard one.
    fn degree(&self) -> f64 {
        let span = self.hard.saturating_sub(self.soft).max(1);
        self.used.saturating_sub(self.soft) as f64 / span as f64
    }

    fn refusal(&self) -> Error {
        Error::new(
            ErrorKind::Busy,
            format!(
                "Writes come faster than they can be stored: {} bytes {}, at most {} are allowed. \
                 Retry later.",
                self.used, self.what, self.hard
            ),
        )
    }
}

impl Database {
    /// How long a writer that has been held back for `waited` must be held back further; nothing
    /// where it may write ([`Self::write_at_once`]). `Busy` where it must come back later.
    pub fn hold_back(&self, scope: CollectionScope<'_>, waited: Duration) -> Result<Duration> {
        let collection = self.inner.scoped(scope)?;
        self.inner.hold_back(&collection, waited)
    }
}

impl Inner {
    /// Waits until `collection` may be written to.
    pub(super) fn await_room(&self, collection: &LiveCollection) -> Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            let delay = self.hold_back(collection, waited)?;
            if delay.is_zero() {
                return Ok(());
            }
            let mut guard = self.freed.0.lock();
            self.freed.1.wait_for(&mut guard, delay);
            // By the delays asked for and not by the clock, which a test may hold.
            waited += delay;
        }
    }

    fn hold_back(&self, collection: &LiveCollection, waited: Duration) -> Result<Duration> {
        let delay = self.delay(collection, waited)?;
        if !delay.is_zero() && self.stopping.load(Ordering::SeqCst) {
            return Err(closing());
        }
        Ok(delay)
    }

    fn delay(&self, collection: &LiveCollection, waited: Duration) -> Result<Duration> {
        self.check_open().map_err(|refusal| {
            // Nothing brings a deleted one back, whatever else is wrong.
            if collection.is_deleted() {
                Error::missing_collection(collection.id)
            } else {
                refusal
            }
        })?;
        let Some(fullest) = self.fullest(collection) else {
            return Ok(Duration::ZERO);
        };
        let degree = fullest.degree();
        if degree >= 1.0 {
            if waited >= PRESSURE_WAIT || !self.has_workers() {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(fullest.refusal());
            }
            self.slowed
                .fetch_add(u64::from(waited.is_zero()), Ordering::Relaxed);
            return Ok(LOOK_AGAIN);
        }
        if !self.has_workers() {
            return Ok(Duration::ZERO);
        }
        let delay = DELAY_MAX.mul_f64(degree * degree);
        let rest = delay.saturating_sub(waited);
        if rest < Duration::from_millis(1) {
            return Ok(Duration::ZERO);
        }
        self.slowed
            .fetch_add(u64::from(waited.is_zero()), Ordering::Relaxed);
        Ok(rest.min(LOOK_AGAIN))
    }

    /// Refuses writes while the database closes, and where a failed sync lets nothing be kept.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.is_closing() {
            return Err(closing());
        }
        self.unsynced().map_or(Ok(()), Err)
    }

    /// Why nothing more is acknowledged until a restart, where a sync of the log or of the catalogue
    /// failed: what is written to the one could never leave it for segments that the other names.
    pub(super) fn unsynced(&self) -> Option<Error> {
        self.log.failure().or_else(|| self.catalog.refusal())
    }

    /// What is nearest to its limit for a writer to `collection`, of what is beyond the soft one.
    fn fullest(&self, collection: &LiveCollection) -> Option<Fill> {
        let fills = [
            self.memory_fill(collection),
            Some(self.log_fill(collection)),
            Some(self.own_fill(collection)),
            self.disk_fill(),
        ];
        fills
            .into_iter()
            .flatten()
            .filter(|fill| fill.used > fill.soft)
            .max_by(|one, other| one.degree().total_cmp(&other.degree()))
    }

    /// Records in memory. Writers that do not index are not concerned: the workers wait.
    fn memory_fill(&self, collection: &LiveCollection) -> Option<Fill> {
        let hard = self.memory_max();
        (self.answered(collection) == Answered::WhenVisible).then(|| Fill {
            what: "of records are in memory",
            used: self.gauges.memory.load(Ordering::Relaxed),
            soft: hard / 4 * 3,
            hard,
        })
    }

    /// The log as a whole: the last eighth is for collections that are not behind.
    fn log_fill(&self, collection: &LiveCollection) -> Fill {
        let hard = self.config.limits.log_bytes_max;
        let behind = collection.backlog().bytes > hard / BEHIND_PART;
        let eighths = |count| hard / 8 * count;
        Fill {
            what: "of log are held by no segment",
            used: self.log.bytes(),
            soft: if behind { eighths(4) } else { eighths(7) },
            hard: if behind { eighths(7) } else { hard },
        }
    }

    /// What the collection itself has in the log and not indexed.
    fn own_fill(&self, collection: &LiveCollection) -> Fill {
        let hard = self.config.limits.log_bytes_max / OWN_PART;
        Fill {
            what: "of this collection are logged and not indexed",
            used: collection.backlog().bytes,
            soft: hard / 2,
            hard,
        }
    }

    /// The disk, from twice what must stay free down. Where that itself is not free, the log
    /// refuses with an error of its own.
    fn disk_fill(&self) -> Option<Fill> {
        let min = self.config.limits.free_disk_bytes_min;
        if min == 0 || !self.has_workers() {
            return None;
        }
        let free = self.free_disk();
        (free > min).then(|| Fill {
            what: "of the disk's last space are used",
            used: (2 * min).saturating_sub(free),
            soft: 0,
            hard: min,
        })
    }

    /// Bytes free on the disk, as of a moment ago.
    fn free_disk(&self) -> u64 {
        let now = self.config.clock.monotonic().as_millis() as u64;
        let looked = self.disk_looked_at.load(Ordering::Relaxed);
        if looked == 0 || now.saturating_sub(looked) > 250 {
            self.disk_looked_at.store(now.max(1), Ordering::Relaxed);
            // What cannot be told now shows when it is written.
            let free = self.config.storage.free_bytes().unwrap_or(u64::MAX);
            self.disk_free.store(free, Ordering::Relaxed);
        }
        self.disk_free.load(Ordering::Relaxed)
    }

    /// Why no collection can be written to, where that is so for want of room. Memory that indexing
    /// will free in a moment is room.
    pub(super) fn full(&self) -> Option<String> {
        let (free, min) = (self.free_disk(), self.config.limits.free_disk_bytes_min);
        if free <= min {
            return Some(format!(
                "writes are refused: the disk has {free} bytes free, and {min} must stay free"
            ));
        }
        let (log, log_max) = (self.log.bytes(), self.config.limits.log_bytes_max);
        if log >= log_max {
            return Some(format!(
                "writes are refused: {log} bytes of log are held by no segment, at most {log_max} \
                 are allowed"
            ));
        }
        let (memory, memory_max) = (
            self.gauges.memory.load(Ordering::Relaxed),
            self.memory_max(),
        );
        let stuck = !self.controls.lets_in(Component::Indexing);
        (stuck && memory >= memory_max).then(|| {
            format!(
                "writes are refused: {memory} bytes of records are in memory, at most {memory_max} \
                 are allowed, and the component `indexing`, which frees them, is paused"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ComponentState;
    use crate::schedule::{Outcome, RunRequest};

    #[test]
    fn after_a_lost_sync_of_the_catalogue_writes_are_refused_and_health_says_so() {
        let config = crate::Config::in_memory();
        let database = Database::open(config).expect("it opens");
        assert!(database.health().writable);
        database.inner.check_open().expect("writes are taken");
        database.inner.catalog.lose_sync();
        let refused = database
            .inner
            .check_open()
            .expect_err("nothing can be kept");
        assert_eq!(refused.kind(), ErrorKind::Closed);
        let health = database.health();
        assert!(health.readable && !health.writable);
        assert_eq!(health.reason.as_deref(), Some(refused.message()));
        let sweep = database.jobs().run("orphan_sweep", RunRequest::default());
        let swept = sweep.expect("the job is there");
        assert_eq!(swept.outcome, Outcome::Failed, "{swept:?}");
        for component in [Component::Producer, Component::Indexing] {
            let status = database.component(component);
            assert_eq!(status.state, ComponentState::Failed);
            assert_eq!(status.last_error.as_deref(), Some(refused.message()));
        }
    }

    #[test]
    fn degree_rises_from_the_soft_limit_to_the_hard_one() {
        let fill = |used| Fill {
            what: "",
            used,
            soft: 100,
            hard: 200,
        };
        assert!(fill(0).degree() <= 0.0 && fill(100).degree() <= 0.0);
        assert!((fill(150).degree() - 0.5).abs() < 1e-9);
        assert!(fill(200).degree() >= 1.0);
        let message = fill(250).refusal();
        assert!(message.message().contains("250") && message.message().contains("200"));
    }
}
