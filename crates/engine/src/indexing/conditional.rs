//! Writes that hold only if what their writer read has not changed since, beside other writers.
//!
//! What must stay true: a batch is logged only if none of the records that its writer read was
//! written behind the SeqId of that read, by anybody, visible yet or not. Where that is not known
//! any more, it counts as written: the writer reads again.

use std::sync::Arc;

use super::LiveCollection;
use super::collection::Answered;
use super::settle::Applier;
use super::watch::RecentWrites;
use crate::model::{RecordBatch, SeqId, SeqRange};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// What a conditional write depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition<'a> {
    /// The records that were read, there or not.
    pub(crate) ids: &'a [String],
    /// The SeqId up to which everything was seen.
    pub(crate) seen: SeqId,
}

impl LiveCollection {
    /// Remembers from now on what is written, so that reads that begin after this can be followed
    /// by a conditional write.
    pub(crate) fn remember_writes(&self, storage: &dyn Storage) -> Result<()> {
        self.check_failure()?;
        let mut working = self.load(storage)?.working.lock();
        let applied = working.applied;
        working
            .recent
            .get_or_insert_with(|| RecentWrites::behind(applied));
        Ok(())
    }

    /// Logs `batch` if `condition` holds; `Conflict` where it does not. An empty batch only asks.
    pub(crate) fn write_if_unchanged(
        &self,
        applier: Applier<'_>,
        batch: RecordBatch,
        condition: Condition<'_>,
        answered: Answered,
    ) -> Result<Option<SeqRange>> {
        self.check_failure()?;
        let loaded = self.load(applier.storage)?;
        let (watch, newest) = self.watch_ids(condition.ids);
        if !self.apply_up_to(applier, newest, &|| true)? {
            return Err(Error::new(
                ErrorKind::Busy,
                "What was written before cannot be indexed for now; retry later.",
            ));
        }
        let ticket = {
            let mut writer = self.writer.lock();
            let unwritten = writer.watches.end(watch.number);
            if let Some(id) = condition.ids.iter().find(|id| !unwritten.contains(*id)) {
                return Err(changed(id));
            }
            expect_unwritten(loaded.working.lock().recent.as_ref(), condition)?;
            if batch.is_empty() {
                return Ok(None);
            }
            self.admit(&mut writer, applier, Arc::new(batch), answered)?
        };
        self.answer(applier, loaded, &ticket, answered).map(Some)
    }
}

/// Fails where one of the records was written behind the read, as far as is known.
fn expect_unwritten(recent: Option<&RecentWrites>, condition: Condition<'_>) -> Result<()> {
    if condition.ids.is_empty() {
        return Ok(());
    }
    let known = recent.filter(|recent| recent.reaches_back_to(condition.seen));
    let Some(recent) = known else {
        let message = format!(
            "Nobody knows any more what was written behind the read_token {}; read again.",
            condition.seen
        );
        return Err(Error::new(ErrorKind::Conflict, message));
    };
    let mut ids = condition.ids.iter();
    match ids.find(|id| recent.was_written(id, condition.seen)) {
        Some(id) => Err(changed(id)),
        None => Ok(()),
    }
}

fn changed(id: &str) -> Error {
    let message = format!("Record [{id}] was written after it was read; read again.");
    Error::new(ErrorKind::Conflict, message)
}
