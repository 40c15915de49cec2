//! Indexing behind the writers: the pool of workers, and reads that wait for it.
//!
//! What must stay true: a read sees all that was acknowledged before it began, unless it or its
//! collection chose otherwise; every wait has a limit; memory stays bounded while a backlog is
//! indexed, whoever does it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Database, IndexingStatus, Inner, closing};
use crate::indexing::{Answered, Applier, CostlyIndexes, LiveCollection, Sight, late};
use crate::maintenance::Worker;
use crate::model::{CollectionScope, Consistency, ReadLevel, SeqId};
use crate::threads::Priority;
use crate::{Error, Result};

/// How long a read waits for what it must see, where it does not say.
const READ_WAIT: Duration = Duration::from_secs(30);
/// Operations beyond what is indexed that a read of a bounded part of the log sees.
const BOUNDED_OPERATIONS: u64 = 10_000;
/// How long applying waits at most for memory to be freed before a slice.
const ROOM_WAITS: u32 = 100;
/// How long workers leave a collection alone after an error of the disk.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// One of these waits.
const ROOM_WAIT: Duration = Duration::from_millis(100);

impl Database {
    /// What a read waits on that must see `consistency`: clear where it sees that already. The output
    /// of a function is brought up to date here, so that the read itself need not wait.
    pub fn sight(&self, scope: CollectionScope<'_>, consistency: Consistency) -> Result<Sight> {
        let collection = self.inner.scoped(scope)?;
        self.inner.fill(&collection, consistency);
        Ok(self.inner.sight(&collection, consistency)?.1)
    }

    /// The error for a read that waited so long on a [`Sight`] in vain.
    pub fn late(
        &self,
        scope: CollectionScope<'_>,
        consistency: Consistency,
        waited: Duration,
    ) -> Error {
        match self.inner.scoped(scope) {
            Ok(collection) => {
                let target = self.inner.target(&collection, consistency);
                late(target, collection.visible(), waited)
            }
            Err(error) => error,
        }
    }

    /// How long a read may wait.
    pub fn wait_max(consistency: Consistency) -> Duration {
        consistency.wait_max.unwrap_or(READ_WAIT)
    }

    /// How far searches and segments are behind the log.
    pub fn indexing_status(&self, scope: CollectionScope<'_>) -> Result<IndexingStatus> {
        let collection = self.inner.scoped(scope)?;
        // In this order, so that each is at most the next.
        let sealed = collection.published_applied();
        let indexed = collection.visible();
        let logged = self
            .inner
            .log
            .head(collection.id)
            .map_or(SeqId(0), |head| head.highest);
        Ok(IndexingStatus {
            total_operations: logged.max(indexed).0,
            indexed_operations: indexed.0,
            sealed_operations: sealed.0,
        })
    }
}

impl Inner {
    /// When writers to `collection` are answered.
    pub(super) fn answered(&self, collection: &LiveCollection) -> Answered {
        let own = collection.info().batch_ingest();
        if own.unwrap_or(self.config.ingest.batch_ingest) {
            Answered::WhenDurable
        } else {
            Answered::WhenVisible
        }
    }

    /// The SeqId that a read now must see.
    fn target(&self, collection: &LiveCollection, consistency: Consistency) -> SeqId {
        let usual = || match self.answered(collection) {
            Answered::WhenDurable => ReadLevel::IndexOnly,
            Answered::WhenVisible => ReadLevel::IndexAndWal,
        };
        let level = consistency.read_level.unwrap_or_else(usual);
        let acknowledged = collection.acknowledged();
        let by_level = match level {
            ReadLevel::IndexOnly => SeqId(0),
            ReadLevel::IndexAndWal => acknowledged,
            ReadLevel::IndexAndBoundedWal => {
                acknowledged.min(collection.visible().plus(BOUNDED_OPERATIONS))
            }
        };
        by_level.max(consistency.min_seq.unwrap_or_default())
    }

    /// See [`Database::sight`]; with the SeqId.
    fn sight(
        &self,
        collection: &Arc<LiveCollection>,
        consistency: Consistency,
    ) -> Result<(SeqId, Sight)> {
        let target = self.target(collection, consistency);
        if target == SeqId(0) || collection.visible() >= target {
            return Ok((target, Sight::clear()));
        }
        if self.has_workers() {
            self.handoff.offer(collection);
        } else {
            collection.settle(self.applier(&|| self.make_room()), target);
        }
        let sight = collection.watch(target)?;
        // Looked at after the sight was made: whoever ends the waits has seen it, or is seen here.
        if self.stopping.load(Ordering::SeqCst) && !sight.is_clear() {
            return Err(closing());
        }
        Ok((target, sight))
    }

    /// Waits until a read may begin.
    pub(super) fn await_sight(
        &self,
        collection: &Arc<LiveCollection>,
        consistency: Consistency,
    ) -> Result<()> {
        let (target, sight) = self.sight(collection, consistency)?;
        if sight.is_clear() {
            return Ok(());
        }
        // Nobody else indexes or writes meanwhile where there are no threads.
        let wait_max = if self.has_workers() {
            Database::wait_max(consistency)
        } else {
            consistency.wait_max.unwrap_or_default()
        };
        sight
            .wait(wait_max)
            .unwrap_or_else(|| Err(late(target, collection.visible(), wait_max)))
    }

    /// Whether workers index what was logged.
    pub(super) fn has_workers(&self) -> bool {
        self.config.upkeep.background
    }

    pub(super) fn applier<'a>(&'a self, make_room: &'a dyn Fn()) -> Applier<'a> {
        Applier {
            storage: self.config.storage.as_ref(),
            log: &self.log,
            make_room,
            schema_keys_max: self.config.limits.schema_keys_max,
            now: self.config.clock.monotonic(),
        }
    }

    /// Waits for a while until there is memory for what is indexed next.
    pub(super) fn make_room(&self) {
        for _ in 0..ROOM_WAITS {
            let full = self.gauges.memory.load(Ordering::Relaxed) > self.memory_max();
            if !full || self.is_closing() {
                return;
            }
            if !self.has_workers() {
                return self.seal_for_room();
            }
            let mut guard = self.freed.0.lock();
            self.freed.1.wait_for(&mut guard, ROOM_WAIT);
        }
    }

    /// Seals what is in memory, where no thread does so. A full disk must not keep records from
    /// being indexed.
    fn seal_for_room(&self) {
        let publisher = self.publisher(&|| true);
        for collection in self.all_collections() {
            if collection.memory().0 > 0
                && !collection.is_deleted()
                && let Err(error) = collection.seal(&publisher, CostlyIndexes::Now)
            {
                tracing::warn!(%error, "cannot seal while records are indexed");
            }
        }
    }

    /// Whether workers may index for `collection` now. One that is sealed slowly fills its part of
    /// the memory and leaves the rest to others: most of it while no other waits.
    fn may_grow(&self, collection: &LiveCollection, is_alone: bool) -> bool {
        if !collection.may_try(self.config.clock.monotonic()) {
            return false;
        }
        let aim = self.config.upkeep.memory_bytes as u64;
        let own_max = if is_alone {
            self.memory_max() / 8 * 7
        } else {
            aim / 2
        };
        let all = self.gauges.memory.load(Ordering::Relaxed);
        all <= aim || (all <= self.memory_max() && collection.memory().0 <= own_max)
    }

    /// Indexes a slice of the collection whose turn it is; `false` once the workers are to end.
    fn index_slice(&self) -> bool {
        let Some(collection) = self
            .handoff
            .take(|one, is_alone| self.may_grow(one, is_alone))
        else {
            return false;
        };
        let applier = self.applier(&|| {});
        let end = SeqId(u64::MAX);
        let slice = AssertUnwindSafe(|| collection.apply_slice(applier, end));
        match std::panic::catch_unwind(slice) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(collection = %collection.id, %error, "indexing will be tried again");
                collection.retry_at(self.config.clock.monotonic() + RETRY_AFTER);
            }
            Err(_) => collection.fail(&Error::internal(
                "Indexing this collection ended by a fault; its log is kept. Restart, and report \
                 this.",
            )),
        }
        self.handoff.put_back(collection);
        true
    }

    /// Indexes everything that is logged; whether there was anything.
    pub(super) fn index_all(&self) -> bool {
        let mut any = false;
        for collection in self.all_collections() {
            if collection.has_backlog() && !collection.is_deleted() {
                any = true;
                let make_room = || self.make_room();
                let applier = self.applier(&make_room);
                collection.settle(applier, collection.acknowledged());
            }
        }
        any
    }
}

/// Starts the workers that index what was logged.
pub(super) fn start_indexing(inner: &Arc<Inner>) -> Result<Vec<Worker>> {
    (0..inner.config.ingest.workers.max(1))
        .map(|number| {
            let indexing = inner.clone();
            let name = format!("vermilion-index-{number}");
            Worker::start(&name, Priority::Usual, Duration::from_secs(1), move || {
                indexing.index_slice()
            })
        })
        .collect()
}
