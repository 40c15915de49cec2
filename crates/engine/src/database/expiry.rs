//! Expiry of records in the open database.
//!
//! What must stay true: readers see nothing that is past its time, deleted yet or not, and writers
//! find none of it in their way; records go by ordinary deletions, in batches of a bounded size;
//! none goes that was written again, indexed yet or not. A collection that fails keeps no other
//! waiting. One deletion of expired records runs at a time (`expiring`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Database, Inner};
use crate::control::Component;
use crate::expiry::{ExpiryReport, Past, ended, has_ends, lasting, life, unwritten};
use crate::indexing::LiveCollection;
use crate::maintenance::Setbacks;
use crate::model::{Operation, RecordBatch, Schema, SeqId};
use crate::query::{self, Snapshot};
use crate::{Error, ErrorKind, Result};

/// Records that one batch deletes.
const BATCH_RECORDS: usize = 1000;

impl Database {
    /// Deletes at most `limit` records that are past their time at `now` (nanoseconds since the
    /// Unix epoch). A collection that is deleted at that moment, or whose batches cannot be indexed
    /// for now, is left to the next round; so is everything where writes are refused for now.
    pub fn expire(&self, now: u64, limit: usize) -> Result<ExpiryReport> {
        self.inner.expire(now, limit, &|| true)
    }
}

impl Inner {
    /// What of a collection is past its time now; `None` where nothing can be.
    fn past(&self, collection: &LiveCollection, schema: &Schema) -> Option<Past> {
        let info = collection.info();
        // What is no life was refused, or stands there from an earlier release.
        let life = life(info.metadata.as_ref()).ok().flatten();
        let ends = has_ends(schema);
        if life.is_none() && !ends {
            return None;
        }
        let now = self.config.clock.wall_nanoseconds();
        let bound = life.and_then(|life| self.expiry.lock().left(collection.id, life, now));
        (ends || bound.is_some()).then_some(Past {
            bound,
            ends: ends.then_some(now),
        })
    }

    /// The records as readers see them: without those past their time.
    pub(super) fn seen(&self, collection: &LiveCollection) -> Result<Arc<Snapshot>> {
        let snapshot = collection.snapshot(self.config.storage.as_ref())?;
        match self.past(collection, &snapshot.schema) {
            Some(past) => lasting(snapshot, past),
            None => Ok(snapshot),
        }
    }

    /// How many records readers see; without a look at them where none can be past its time.
    pub(super) fn count_seen(&self, collection: &LiveCollection) -> Result<u64> {
        match self.past(collection, &collection.schema()) {
            Some(_) => Ok(self.seen(collection)?.count),
            None => collection.count(),
        }
    }

    /// Deletes those records past their time that have the ids of `batch`: to whoever writes it
    /// they are gone, so it must neither be merged with them nor be kept out by them.
    pub(super) fn clear_the_way(
        &self,
        collection: &Arc<LiveCollection>,
        schema: &Schema,
        batch: &RecordBatch,
    ) -> Result<()> {
        let Some(past) = self.past(collection, schema) else {
            return Ok(());
        };
        let snapshot = collection.snapshot(self.config.storage.as_ref())?;
        let seen = lasting(snapshot.clone(), past)?;
        if seen.count == snapshot.count {
            return Ok(());
        }
        let mut gone = Vec::new();
        for (id, operation) in batch.ids.iter().zip(&batch.operations) {
            if *operation != Operation::Delete
                && query::find(&snapshot, id)?.is_some()
                && query::find(&seen, id)?.is_none()
            {
                gone.push(id.to_owned());
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        match self.delete_expired(collection, &gone, snapshot.visible)? {
            Some(_) => Ok(()),
            None => Err(not_cleared(&format!("Record `{}`", gone[0]))),
        }
    }

    /// Indexes what was logged before where a record in it may be past its time, so that it shows; the schema may be
    /// another after that.
    pub(super) fn show_expired(&self, collection: &LiveCollection) -> Result<()> {
        let make_room = || self.make_room();
        let go_on = || self.may_index();
        let now = self.config.clock.wall_nanoseconds();
        if collection.apply_ended(self.applier(&make_room), now, &go_on)? {
            return Ok(());
        }
        Err(not_cleared("A record that was written earlier"))
    }

    /// A round of expiry; ends early, between its steps, where `go_on` says no.
    pub(super) fn expire(
        &self,
        now: u64,
        limit: usize,
        go_on: &dyn Fn() -> bool,
    ) -> Result<ExpiryReport> {
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
        drop(marks);
        let mut setbacks = Setbacks::default();
        for (collection, bound, ends) in due {
            if !go_on() {
                break;
            }
            let round = self.expire_in(collection, bound, ends, now, limit, &mut report);
            match round {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Busy) => {
                    report.busy += 1;
                }
                Err(error) => setbacks.note(error),
                Ok(()) => {}
            }
        }
        setbacks.end(report)
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
            let ids = unwritten(&snapshot, bound, rest(report).saturating_add(1))?;
            if ids.is_empty() {
                self.expiry.lock().clear(collection.id, bound);
            }
            found.push((ids, bound));
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
                self.expired.fetch_add(gone, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Records that are past their time now, and collections whose records can be.
    pub(super) fn count_expired(&self) -> Result<ExpiryReport> {
        let mut report = ExpiryReport::default();
        for collection in self.all_collections() {
            let Some(past) = self.past(&collection, &collection.schema()) else {
                continue;
            };
            let snapshot = collection.snapshot(self.config.storage.as_ref())?;
            report.collections += 1;
            report.expired += snapshot.count - lasting(snapshot.clone(), past)?.count;
        }
        Ok(report)
    }

    /// Whether what is logged may be indexed on the way: who paused the indexing must not see it done.
    fn may_index(&self) -> bool {
        !self.is_closing() && !self.handoff.is_paused()
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
        let go_on = || self.may_index();
        let answered = self.answered(collection);
        let applier = self.applier(&make_room);
        let _alone = self.expiring.lock();
        let gone = collection.delete_unchanged(applier, ids, bound, answered, &go_on);
        if self.has_workers() && collection.has_backlog() {
            self.handoff.offer(collection);
        }
        gone
    }
}

/// The error of a write that a record past its time is in the way of.
fn not_cleared(record: &str) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!(
            "{record} is past its time, and cannot be deleted before what was written earlier is \
             indexed. Write again once indexing, if it is paused, goes on."
        ),
    )
}
