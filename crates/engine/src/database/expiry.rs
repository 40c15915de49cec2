//! Expiry of records in the open database.
//!
//! What must stay true: records go by ordinary deletions, in batches of a bounded size; none goes
//! that was written again, indexed yet or not. A collection that fails keeps no other waiting.

use std::sync::Arc;

use super::{Database, Inner};
use crate::control::Component;
use crate::expiry::{ExpiryReport, ended, has_ends, life, unwritten};
use crate::indexing::LiveCollection;
use crate::model::SeqId;
use crate::{ErrorKind, Result};

/// Records that one batch deletes.
const BATCH_RECORDS: usize = 1000;

impl Database {
    /// Deletes at most `limit` records that are past their time at `now` (nanoseconds since the
    /// Unix epoch). A collection that is deleted at that moment, or whose batches cannot be indexed
    /// for now, is left to the next round; so is everything where writes are refused for now.
    pub fn expire(&self, now: u64, limit: usize) -> Result<ExpiryReport> {
        self.inner.expire(now, limit)
    }
}

impl Inner {
    pub(super) fn expire(&self, now: u64, limit: usize) -> Result<ExpiryReport> {
        let mut report = ExpiryReport::default();
        let mut collections = self.all_collections();
        collections.sort_by_key(|collection| collection.id);
        let mut marks = self.expiry.lock();
        let mut due = Vec::new();
        for collection in &collections {
            let info = collection.describe();
            // What is no life was refused, or stands there from an earlier release.
            let life = life(info.metadata.as_ref()).ok().flatten();
            if life.is_none() && !has_ends(&info.schema) {
                continue;
            }
            report.collections += 1;
            let bound =
                life.and_then(|life| marks.pass(collection.id, life, now, collection.visible()));
            due.push((collection, bound, has_ends(&info.schema)));
        }
        let alive = |id| collections.iter().any(|collection| collection.id == id);
        marks.retain(alive);
        marks.write(self.config.storage.as_ref())?;
        let mut failed = None;
        for (collection, bound, ends) in due {
            let round = self.expire_in(collection, bound, ends, now, limit, &mut report);
            match round {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Busy) => {
                    report.busy += 1;
                }
                Err(error) => drop(failed.get_or_insert(error)),
                Ok(()) => {}
            }
        }
        failed.map_or(Ok(report), Err)
    }

    fn expire_in(
        &self,
        collection: &Arc<LiveCollection>,
        bound: Option<SeqId>,
        ends: bool,
        now: u64,
        limit: usize,
        report: &mut ExpiryReport,
    ) -> Result<()> {
        let storage = self.config.storage.as_ref();
        let snapshot = collection.snapshot(storage)?;
        let rest = |report: &ExpiryReport| limit.saturating_sub(report.expired as usize);
        let mut found = Vec::new();
        if let Some(bound) = bound {
            // One more than may go tells whether that was all.
            found.push((unwritten(&snapshot, bound, rest(report) + 1)?, bound));
        }
        if ends {
            let ids = ended(&snapshot, now, rest(report).saturating_add(1))?;
            found.push((ids, snapshot.visible));
        }
        for (mut ids, bound) in found {
            let allowed = rest(report);
            report.more |= ids.len() > allowed;
            ids.truncate(allowed);
            for ids in ids.chunks(BATCH_RECORDS) {
                self.await_room(collection)?;
                let _writing = self.controls.enter(Component::Producer)?;
                let gone = self.delete_expired(collection, ids, bound)?;
                let Some(gone) = gone else {
                    report.busy += 1;
                    return Ok(());
                };
                report.expired += gone;
            }
        }
        Ok(())
    }

    /// Deletes those of `ids` that nobody wrote behind `bound`; `None` where that waits until the
    /// collection's batches are indexed.
    fn delete_expired(
        &self,
        collection: &Arc<LiveCollection>,
        ids: &[String],
        bound: SeqId,
    ) -> Result<Option<u64>> {
        let make_room = || self.make_room();
        // Who paused the indexing must not see it done by this.
        let go_on = || !self.is_closing() && !self.handoff.is_paused();
        let answered = self.answered(collection);
        let applier = self.applier(&make_room);
        let gone = collection.delete_unchanged(applier, ids, bound, answered, &go_on);
        if self.has_workers() && collection.has_backlog() {
            self.handoff.offer(collection);
        }
        gone
    }
}
