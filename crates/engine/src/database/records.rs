//! Records: written, deleted, read.
//!
//! What must stay true: a batch is validated whole before it is logged; each read answers from one
//! snapshot.

use super::Database;
use super::validate::validate_batch;
use crate::control::Component;
use crate::database::IndexingStatus;
use crate::indexing::wrong_dimension;
use crate::model::{
    CollectionScope, Deletion, Fetched, GetRequest, Include, Nearest, QueryRequest, Recall,
    RecordBatch, RecordSelection, SeqId, SeqRange, Strings,
};
use crate::{Error, Result, query};

impl Database {
    /// Validates the batch, logs it durably, applies it. All or nothing. Answers its SeqIds
    /// (an empty range for an empty batch).
    ///
    /// Rows that insert need a vector; vectors have one dimension, the collection's.
    pub fn write(&self, scope: CollectionScope<'_>, batch: RecordBatch) -> Result<SeqRange> {
        let inner = &self.inner;
        let _writing = inner.controls.enter(Component::Producer)?;
        let collection = inner.scoped(scope)?;
        validate_batch(&batch, &inner.config.limits)?;
        if batch.is_empty() {
            let seen = collection.visible();
            return Ok(SeqRange {
                first: seen.plus(1),
                last: seen,
            });
        }
        inner.admit_write()?;
        let now = inner.config.clock.monotonic();
        collection.write(inner.config.storage.as_ref(), &inner.log, batch, now)
    }

    /// Deletes the records a request means; answers how many there were.
    pub fn delete(&self, scope: CollectionScope<'_>, request: &Deletion) -> Result<u64> {
        let collection = self.inner.scoped(scope)?;
        let selection = &request.selection;
        if selection.ids.is_none() && selection.filter.is_none() {
            return Ok(0);
        }
        let snapshot = collection.snapshot(self.inner.config.storage.as_ref())?;
        let get = GetRequest {
            selection: RecordSelection::clone(selection),
            limit: request.limit,
            offset: 0,
            include: Include::default(),
        };
        let ids: Strings = query::get(&snapshot, &get)?.ids;
        let count = ids.len() as u64;
        // Batches stay within what the log takes; each is all or nothing.
        let all: Vec<&str> = ids.iter().collect();
        for part in all.chunks(self.inner.config.limits.batch_records_max.max(1)) {
            self.write(scope, RecordBatch::deletion(part.iter().copied().collect()))?;
        }
        Ok(count)
    }

    /// Records in `get` order.
    pub fn get(&self, scope: CollectionScope<'_>, request: &GetRequest) -> Result<Fetched> {
        let _reading = self.inner.controls.enter(Component::Query)?;
        let collection = self.inner.scoped(scope)?;
        query::get(
            &*collection.snapshot(self.inner.config.storage.as_ref())?,
            request,
        )
    }

    /// The nearest records to each query vector.
    pub fn query(
        &self,
        scope: CollectionScope<'_>,
        request: &QueryRequest,
    ) -> Result<Vec<Nearest>> {
        let _reading = self.inner.controls.enter(Component::Query)?;
        let collection = self.inner.scoped(scope)?;
        if request
            .embeddings
            .values()
            .iter()
            .any(|value| !value.is_finite())
        {
            return Err(Error::invalid(
                "Query embeddings must not contain NaN or Infinity values",
            ));
        }
        let snapshot = collection.snapshot(self.inner.config.storage.as_ref())?;
        if let Some(expected) = snapshot.dimension
            && !request.embeddings.is_empty()
            && request.embeddings.dimension() != expected as usize
        {
            return Err(wrong_dimension(
                expected,
                request.embeddings.dimension() as u32,
            ));
        }
        collection.note_search();
        let info = collection.info();
        let recall = match request.recall {
            Some(recall) => recall,
            None => Recall::of_metadata(info.metadata.as_ref())?
                .unwrap_or_else(|| Recall::of_settings(snapshot.schema.vectors())),
        };
        query::query(&snapshot, request, recall)
    }

    /// How many records are alive; constant time.
    pub fn count(&self, scope: CollectionScope<'_>) -> Result<u64> {
        self.inner.scoped(scope)?.count()
    }

    /// How far searches are behind the log.
    pub fn indexing_status(&self, scope: CollectionScope<'_>) -> Result<IndexingStatus> {
        let collection = self.inner.scoped(scope)?;
        let indexed = collection.visible();
        let logged = self
            .inner
            .log
            .head(collection.id)
            .map_or(SeqId(0), |head| head.highest);
        Ok(IndexingStatus {
            total_operations: logged.max(indexed).0,
            indexed_operations: indexed.0,
        })
    }
}
