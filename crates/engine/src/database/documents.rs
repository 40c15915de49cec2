//! Documents of whoever builds on the database, and which records of a collection have changed.
//!
//! What must stay true: a document is durable when the call answers, and in every later backup.

use std::sync::mpsc;
use std::time::Duration;

use super::Database;
use crate::backup::Change;
use crate::catalog::Document;
use crate::log::Consumer;
use crate::model::{CollectionScope, SeqId};
use crate::{Error, ErrorKind, Result};

/// How long one batch of the log may take to be read.
const BATCH_WAIT: Duration = Duration::from_secs(30);

impl Database {
    /// A document; `None` where there is none.
    pub fn document(&self, kind: &str, key: &str) -> Result<Option<Document>> {
        self.inner.catalog.document(kind, key)
    }

    /// The documents of a kind whose keys begin with `prefix`, by key.
    pub fn documents(&self, kind: &str, prefix: &str) -> Result<Vec<Document>> {
        self.inner.catalog.documents(kind, prefix)
    }

    /// Stores a document in the place of the one that has its kind and key.
    pub fn put_document(&self, document: Document) -> Result<()> {
        let inner = &self.inner;
        let _changes = inner.changes.lock();
        inner.catalog.put_document(&document)?;
        inner.note(|| Change::Document(document));
        Ok(())
    }

    /// Forgets a document; whether there was one.
    pub fn delete_document(&self, kind: &str, key: &str) -> Result<bool> {
        let inner = &self.inner;
        let _changes = inner.changes.lock();
        let was_there = inner.catalog.delete_document(kind, key)?;
        if was_there {
            inner.note(|| Change::DocumentDeleted {
                kind: kind.to_owned(),
                key: key.to_owned(),
            });
        }
        Ok(was_there)
    }

    /// The ids that operations behind `since` up to `until` name, as often as they do; `None` where
    /// the log does not reach back so far. For whoever keeps something in step with a collection.
    pub fn ids_written(
        &self,
        scope: CollectionScope<'_>,
        since: SeqId,
        until: SeqId,
    ) -> Result<Option<Vec<String>>> {
        let id = self.inner.scoped(scope)?.id;
        if until <= since {
            return Ok(Some(Vec::new()));
        }
        let (batches, read) = mpsc::channel();
        let deliver = Box::new(move |batch| {
            // Whoever asked may have given up.
            let _ = batches.send(batch);
        });
        let log = &self.inner.log;
        let purged = |error: &Error| error.kind() == ErrorKind::NotFound;
        let subscription = match log.subscribe(id, Some(since), Some(until), deliver) {
            Err(error) if purged(&error) => return Ok(None),
            subscribed => subscribed?,
        };
        let mut ids = Vec::new();
        let mut seen = since;
        let result = loop {
            match read.recv_timeout(BATCH_WAIT) {
                Ok(Ok(batch)) => {
                    ids.extend(batch.batch.ids.iter().map(str::to_owned));
                    seen = batch.seqs.last;
                    if seen >= until {
                        break Ok(Some(ids));
                    }
                }
                Ok(Err(error)) if purged(&error) => break Ok(None),
                Ok(Err(error)) => break Err(error),
                Err(_) => {
                    let message = format!("The log was not read behind {seen} in time; retry.");
                    break Err(Error::new(ErrorKind::Busy, message));
                }
            }
        };
        log.unsubscribe(subscription);
        result
    }

    /// The SeqIds under which these records were last written, `None` of those that are not there; and the SeqId as of
    /// which that is true, up to which everything is indexed. Writers wait meanwhile: ask for some thousand at once.
    pub fn last_written(
        &self,
        scope: CollectionScope<'_>,
        ids: &[&str],
    ) -> Result<(Vec<Option<SeqId>>, SeqId)> {
        let collection = self.inner.scoped(scope)?;
        collection.last_written(self.inner.config.storage.as_ref(), ids)
    }
}
