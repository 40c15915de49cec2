//! Deletes records unless somebody has written them since they were looked at, beside writers.
//!
//! What must stay true: no record is deleted that was written behind the SeqId at which it was
//! looked at. What was admitted before the call is applied first, so that it shows; each batch
//! that is admitted meanwhile takes its ids off the list. So nothing is excluded, and a collection
//! that is always written to is not kept from deleting.

use std::sync::Arc;

use super::LiveCollection;
use super::collection::Answered;
use super::queue::Newest;
use super::settle::Applier;
use super::watch::Watch;
use crate::Result;
use crate::expiry::ended_up_to;
use crate::model::{RecordBatch, SeqId, Strings};

impl LiveCollection {
    /// Deletes those of `ids` that nobody wrote behind `bound`; answers how many, or `None` where
    /// earlier batches cannot be applied now, or `go_on` says no before they are. The caller sees
    /// to it that one call runs at a time.
    pub(crate) fn delete_unchanged(
        &self,
        applier: Applier<'_>,
        ids: &[String],
        bound: SeqId,
        answered: Answered,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<u64>> {
        self.check_failure()?;
        let loaded = self.load(applier.storage)?;
        let (watch, newest) = self.watch_ids(ids);
        if !self.apply_up_to(applier, newest, go_on)? {
            return Ok(None);
        }
        let (ticket, count) = {
            let mut writer = self.writer.lock();
            let watched = writer.watches.end(watch.number);
            let mut unchanged = Strings::default();
            {
                let working = loaded.working.lock();
                for id in ids.iter().filter(|id| watched.contains(*id)) {
                    if working.written(id)?.is_some_and(|seq| seq <= bound) {
                        unchanged.push(id);
                    }
                }
            }
            let count = unchanged.len() as u64;
            if count == 0 {
                return Ok(Some(0));
            }
            let batch = Arc::new(RecordBatch::deletion(unchanged));
            (self.admit(&mut writer, applier, batch, answered)?, count)
        };
        self.answer(applier, loaded, &ticket, answered)?;
        Ok(Some(count))
    }

    /// Applies what was admitted before, where a record in it may have ended at `now` (nanoseconds since
    /// the Unix epoch); whether no such record is left.
    pub(crate) fn apply_ended(
        &self,
        applier: Applier<'_>,
        now: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool> {
        let newest = {
            let writer = self.writer.lock();
            let earliest = writer.ends.earliest();
            if earliest.is_none_or(|end| end > ended_up_to(now)) {
                return Ok(true);
            }
            self.queue.lock().newest()
        };
        self.apply_up_to(applier, newest, go_on)
    }

    /// Begins to watch `ids`; answers with it what was the newest batch then.
    pub(super) fn watch_ids(&self, ids: &[String]) -> (Watch<'_>, Option<Newest>) {
        // While the lock is held no batch is admitted: each is in the queue or will be seen.
        let mut writer = self.writer.lock();
        let watch = Watch::begin(self, &mut writer.watches, ids);
        (watch, self.queue.lock().newest())
    }

    /// Applies everything up to the batch that was the newest; whether that was possible.
    pub(super) fn apply_up_to(
        &self,
        applier: Applier<'_>,
        newest: Option<Newest>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool> {
        let target = match newest {
            None => return Ok(true),
            Some(Newest::Durable(seq)) => seq,
            Some(Newest::Submitted(ticket)) => match ticket.wait() {
                Ok(seqs) => seqs.last,
                // Batches before it may be durable; what they say shows at the next call.
                Err(_) => return Ok(false),
            },
        };
        while self.visible() < target {
            if !go_on() {
                return Ok(false);
            }
            (applier.make_room)();
            if !self.apply_slice(applier, target)? {
                return Ok(self.visible() >= target);
            }
        }
        Ok(true)
    }
}
