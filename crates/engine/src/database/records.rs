//! Records: written, deleted, read.
//!
//! What must stay true: a batch is validated whole before it is logged; each read answers from one
//! snapshot.

use std::sync::Arc;

use super::validate::validate_batch;
use super::{Database, Inner};
use crate::control::Component;
use crate::indexing::{Answered, Applier, LiveCollection};
use crate::model::{
    Aggregated, CollectionScope, Consistency, Deleted, Deletion, Fetched, Found, GetRequest,
    Include, Nearest, Operation, QueryRequest, Recall, RecordBatch, RecordSelection, SearchRequest,
    SeqRange, Strings, Survey,
};
use crate::{Result, query};

impl Database {
    /// Validates the batch and logs it durably. Readers see it when this answers, or a little
    /// later where the collection or the database is set to `batch_ingest`. All or nothing.
    /// Answers its SeqIds (an empty range for an empty batch). Waits while there is no room.
    ///
    /// Rows that insert need a vector; vectors have one dimension, the collection's.
    pub fn write(&self, scope: CollectionScope<'_>, batch: RecordBatch) -> Result<SeqRange> {
        self.inner.await_room(&*self.inner.scoped(scope)?)?;
        self.write_at_once(scope, batch)
    }

    /// The same, for a writer that was held back already: see [`Self::hold_back`].
    pub fn write_at_once(
        &self,
        scope: CollectionScope<'_>,
        mut batch: RecordBatch,
    ) -> Result<SeqRange> {
        let inner = &self.inner;
        let _writing = inner.controls.enter(Component::Producer)?;
        let collection = inner.scoped(scope)?;
        inner.expect_no_output(&collection)?;
        validate_batch(&batch, &inner.config.limits)?;
        if batch.is_empty() {
            let seen = collection.visible();
            return Ok(SeqRange {
                first: seen.plus(1),
                last: seen,
            });
        }
        inner.check_open()?;
        inner.expect_room_for(&collection, &batch)?;
        // Its columns stay in memory as they are until they are sealed.
        batch.shrink_to_fit();
        inner.append(&collection, batch)
    }

    /// Deletes the records a request means: those of everything acknowledged before.
    pub fn delete(&self, scope: CollectionScope<'_>, request: &Deletion) -> Result<Deleted> {
        let inner = &self.inner;
        let collection = inner.scoped(scope)?;
        inner.expect_no_output(&collection)?;
        let selection = &request.selection;
        if selection.ids.is_none() && selection.filter.is_none() {
            return Ok(Deleted {
                ids: request.tell_ids.then(Strings::default),
                ..Deleted::default()
            });
        }
        let _writing = inner.controls.enter(Component::Producer)?;
        inner.check_open()?;
        let ids = match (&selection.ids, &selection.filter, request.limit) {
            (Some(ids), None, None)
                if !request.tell_ids && inner.answered(&collection) == Answered::WhenDurable =>
            {
                // Deleting what is not there does nothing, so nobody needs to wait until it shows
                // what is there.
                let longest = inner.config.limits.id_bytes_max;
                let sound = |id: &&String| !id.is_empty() && id.len() <= longest;
                ids.iter().filter(sound).map(String::as_str).collect()
            }
            _ => inner.meant(&collection, request)?,
        };
        let mut deleted = Deleted {
            count: ids.len() as u64,
            seqs: None,
            ids: None,
        };
        // Batches stay within what the log takes; each is all or nothing.
        let all: Vec<&str> = ids.iter().collect();
        for part in all.chunks(inner.config.limits.batch_records_max.max(1)) {
            let batch = RecordBatch::deletion(part.iter().copied().collect());
            let seqs = inner.append(&collection, batch)?;
            deleted.seqs = Some(SeqRange {
                first: deleted.seqs.map_or(seqs.first, |earlier| earlier.first),
                last: seqs.last,
            });
        }
        deleted.ids = request.tell_ids.then_some(ids);
        Ok(deleted)
    }

    /// Records in `get` order.
    pub fn get(&self, scope: CollectionScope<'_>, request: &GetRequest) -> Result<Fetched> {
        let _reading = self.inner.controls.enter(Component::Query)?;
        let collection = self.inner.scoped(scope)?;
        self.inner.answer(&collection, request.consistency, |seen| {
            query::get(seen, request)
        })
    }

    /// The same, in the order of metadata values, with what the values of all records that are
    /// meant come to.
    pub fn survey(
        &self,
        scope: CollectionScope<'_>,
        request: &GetRequest,
        survey: &Survey,
    ) -> Result<(Fetched, Vec<Aggregated>)> {
        let _reading = self.inner.controls.enter(Component::Query)?;
        let collection = self.inner.scoped(scope)?;
        self.inner.answer(&collection, request.consistency, |seen| {
            query::survey(seen, request, survey)
        })
    }

    /// How many records a selection means, seen as `consistency` says.
    pub fn count_selected(
        &self,
        scope: CollectionScope<'_>,
        selection: &RecordSelection,
        consistency: Consistency,
    ) -> Result<u64> {
        let _reading = self.inner.controls.enter(Component::Query)?;
        let collection = self.inner.scoped(scope)?;
        self.inner.answer(&collection, consistency, |seen| {
            query::count(seen, selection)
        })
    }

    /// The nearest records to each query vector.
    pub fn query(
        &self,
        scope: CollectionScope<'_>,
        request: &QueryRequest,
    ) -> Result<Vec<Nearest>> {
        let _reading = self.inner.controls.enter(Component::Query)?;
        let collection = self.inner.scoped(scope)?;
        self.inner.answer(&collection, request.consistency, |seen| {
            let recall = match request.recall {
                Some(recall) => recall,
                None => usual_recall(&collection, seen)?,
            };
            let found = query::query(seen, request, recall)?;
            collection.note_search();
            let one_in = self.inner.config.upkeep.recall_check_one_in;
            collection.samples().note_query(request, recall, one_in);
            Ok(found)
        })
    }

    /// Ranked records, for each search. All searches see the same records.
    pub fn search(
        &self,
        scope: CollectionScope<'_>,
        request: &SearchRequest,
    ) -> Result<Vec<Found>> {
        let _reading = self.inner.controls.enter(Component::Query)?;
        let collection = self.inner.scoped(scope)?;
        self.inner.answer(&collection, request.consistency, |seen| {
            collection.note_search();
            let recall = usual_recall(&collection, seen)?;
            let found = query::search(seen, &request.searches, recall)?;
            let one_in = self.inner.config.upkeep.recall_check_one_in;
            let searches = &request.searches;
            collection.samples().note_ranked(searches, recall, one_in);
            Ok(found)
        })
    }

    /// How many records are alive; constant time but in a collection whose records can expire.
    pub fn count(&self, scope: CollectionScope<'_>) -> Result<u64> {
        self.count_seeing(scope, Consistency::default())
    }

    /// How many records are alive, seen as `consistency` says.
    pub fn count_seeing(
        &self,
        scope: CollectionScope<'_>,
        consistency: Consistency,
    ) -> Result<u64> {
        let collection = self.inner.scoped(scope)?;
        self.inner.fill(&collection, consistency);
        self.inner.await_sight(&collection, consistency)?;
        self.inner.count_seen(&collection)
    }
}

/// The recall of searches that say none.
fn usual_recall(collection: &LiveCollection, snapshot: &query::Snapshot) -> Result<Recall> {
    let info = collection.info();
    let said = Recall::of_metadata(info.metadata.as_ref())?;
    Ok(said.unwrap_or_else(|| Recall::of_settings(snapshot.schema.vectors())))
}

impl Inner {
    /// Answers a read from one snapshot, once that shows what the read must see.
    pub(super) fn answer<T>(
        &self,
        collection: &Arc<LiveCollection>,
        consistency: Consistency,
        read: impl FnOnce(&query::Snapshot) -> Result<T>,
    ) -> Result<T> {
        self.fill(collection, consistency);
        self.await_sight(collection, consistency)?;
        let found = self.seen(collection).and_then(|seen| read(&seen));
        self.controls.note_request(Component::Query, &found);
        found
    }

    /// Logs a batch that was validated by `write`; answers when the collection's writers are
    /// answered, what `write` answers.
    pub(super) fn log_batch<T: Copy + Into<Option<SeqRange>>>(
        &self,
        collection: &Arc<LiveCollection>,
        batch: RecordBatch,
        write: impl FnOnce(Applier<'_>, RecordBatch, Answered) -> Result<T>,
    ) -> Result<T> {
        if batch.operations.iter().any(|one| *one != Operation::Delete) {
            self.show_expired(collection)?;
            let schema = collection.schema();
            self.clear_the_way(collection, &schema, &batch)?;
            self.expect_room_for_cells(collection, &schema, &batch)?;
        }
        let make_room = || self.make_room();
        let written = write(self.applier(&make_room), batch, self.answered(collection));
        self.controls.note_request(Component::Producer, &written);
        let written = written?;
        // Workers also take over where a disk that failed kept the writer from indexing.
        if let Some(seqs) = written.into()
            && self.has_workers()
            && collection.visible() < seqs.last
        {
            self.handoff.offer(collection);
        }
        Ok(written)
    }

    /// Logs a batch that depends on nothing.
    pub(super) fn append(
        &self,
        collection: &Arc<LiveCollection>,
        batch: RecordBatch,
    ) -> Result<SeqRange> {
        self.log_batch(collection, batch, |applier, batch, answered| {
            collection.write(applier, batch, answered)
        })
    }

    /// The ids of the records that a deletion means.
    fn meant(&self, collection: &Arc<LiveCollection>, request: &Deletion) -> Result<Strings> {
        let consistency = Consistency::everything();
        self.await_sight(collection, consistency)?;
        let snapshot = self.seen(collection)?;
        let get = GetRequest {
            selection: RecordSelection::clone(&request.selection),
            limit: request.limit,
            offset: 0,
            include: Include::default(),
            consistency,
        };
        Ok(query::get(&snapshot, &get)?.ids)
    }
}
