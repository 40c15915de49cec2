//! Brings a collection of a backup back into the open database, beside what is there.
//!
//! What must stay true: nothing that the database has is changed; the collection has the name that
//! was asked for only once it has every record; it is written as any other write is, logged and
//! durable, behind requests and within the budget of maintenance.

use std::path::Path;

use serde::Serialize;

use super::{Database, Inner, closing};
use crate::asker::Answers;
use crate::backup::{BackupNumber, OneCollection, RestoreReport, Target, restore_one};
use crate::clock::StillClock;
use crate::config::Config;
use crate::model::{
    CollectionId, CollectionScope, CollectionUpdate, Consistency, Fetched, GetRequest, Include,
    NewCollection, Operation, OptionalStrings, RecordBatch,
};
use crate::threads::{Priority, apart};
use crate::{Error, ErrorKind, Result};

/// The folder in which a collection is built before it is copied; nothing else is in it.
pub(super) const BUILT_IN: &str = "restoring";
/// What the name of a collection ends with until it has every record.
const UNFINISHED: &str = ".restoring";
/// Records that are copied at once, and the bytes that they may take where they are more than one.
const BATCH_RECORDS: u32 = 1000;
/// See [`BATCH_RECORDS`].
const BATCH_BYTES: u64 = 64 << 20;
/// Bytes of memory for records of the backup that are in no segment yet.
const MEMORY_BYTES: usize = 64 << 20;

/// Which collection is brought back, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionRestore {
    /// The destination of the backups, one of [`crate::Config::backups`].
    pub destination: String,
    /// The collection as the backups know it.
    pub from: OneCollection,
    /// The name that it gets here, in the same tenant and database; it must be free.
    pub name: String,
    /// Up to when.
    pub target: Target,
}

/// A collection that was brought back.
#[derive(Clone, Debug, Serialize)]
pub struct CollectionRestored {
    /// Its id here.
    pub id: CollectionId,
    /// Its name here.
    pub name: String,
    /// How many records it has.
    pub records: u64,
    /// The last SeqId that it had in the backup.
    pub last_seq_id: u64,
    /// The backups that were read, the full one first.
    pub backups: Vec<BackupNumber>,
}

impl Database {
    /// Brings a collection back, with the records that it had, under a name that is free and with
    /// SeqIds of its own. Reads and writes go on meanwhile.
    pub fn restore_collection(&self, asked: &CollectionRestore) -> Result<CollectionRestored> {
        apart("vermilion-restore", Priority::Last, || {
            self.bring_back(asked)
        })
    }

    fn bring_back(&self, asked: &CollectionRestore) -> Result<CollectionRestored> {
        let inner = &self.inner;
        let Some(_running) = inner.restoring.try_lock() else {
            let message = "A collection is being restored; begin the next one when it is there.";
            return Err(Error::new(ErrorKind::Busy, message));
        };
        let source = inner.destinations(&asked.destination)?;
        let Some(source) = source.look(&asked.destination)? else {
            let message = format!("There are no backups in `{}`.", asked.destination);
            return Err(Error::not_found(message));
        };
        let Some(folder) = &inner.config.folder else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "A database that is in no folder cannot build a collection of a backup.",
            ));
        };
        let from = &asked.from;
        if self
            .collection(&from.tenant, &from.database, &asked.name)
            .is_ok()
        {
            return Err(Error::already_exists(format!(
                "Collection [{}] already exists; restore under another name, or delete it first.",
                asked.name
            )));
        }
        inner.config.storage.remove_dir(BUILT_IN)?;
        let path = folder.join(BUILT_IN).join("collection");
        let built = restore_one(source.as_ref(), &path, &asked.target, from, &|| {
            inner.go_on()
        });
        let copied = built.and_then(|report| self.copy_from(&path, asked, report));
        if let Err(error) = inner.config.storage.remove_dir(BUILT_IN) {
            tracing::warn!(%error, "what a restore has built stays until the next one");
        }
        copied
    }

    /// Copies the collection that was built in `path`.
    fn copy_from(
        &self,
        path: &Path,
        asked: &CollectionRestore,
        report: RestoreReport,
    ) -> Result<CollectionRestored> {
        let mut config = Config::at(path)?;
        // Records that end while they are copied would move those behind them to places already read.
        config.clock = StillClock::at(self.inner.config.clock.as_ref());
        config.upkeep.background = false;
        config.upkeep.memory_bytes = MEMORY_BYTES;
        let built = Database::open(config)?;
        let last_seq_id = report.collections.first().map_or(0, |one| one.last_seq_id);
        let (id, records) = self.copy_records(&built, asked)?;
        built.close()?;
        Ok(CollectionRestored {
            id,
            name: asked.name.clone(),
            records,
            last_seq_id,
            backups: report.backups,
        })
    }

    /// Makes the collection under another name, fills it, and gives it its own.
    fn copy_records(
        &self,
        built: &Database,
        asked: &CollectionRestore,
    ) -> Result<(CollectionId, u64)> {
        let (tenant, database) = (&asked.from.tenant, &asked.from.database);
        let all = built.collections(tenant, database, crate::model::Page::default())?;
        let Some(found) = all.into_iter().next() else {
            return Err(Error::internal(
                "The collection that was built is not there.",
            ));
        };
        let unfinished = format!("{}{UNFINISHED}", asked.name);
        self.drop_unfinished(tenant, database, &unfinished)?;
        let made = self.create_collection(NewCollection {
            tenant: tenant.clone(),
            database: database.clone(),
            name: unfinished.clone(),
            metadata: found.metadata,
            schema: found.schema,
            get_or_create: false,
        })?;
        let scope = |id| CollectionScope {
            tenant,
            database,
            id,
        };
        let filled = self
            .fill(scope(made.id), built, scope(found.id))
            .and_then(|records| {
                let name = Some(asked.name.clone());
                let update = CollectionUpdate {
                    name,
                    ..CollectionUpdate::default()
                };
                self.update_collection(scope(made.id), update)?;
                Ok((made.id, records))
            });
        if filled.is_err()
            && let Err(error) = self.drop_unfinished(tenant, database, &unfinished)
        {
            tracing::warn!(unfinished, %error, "a collection that was not restored whole stays");
        }
        filled
    }

    /// Copies every record of `from`; answers how many there were.
    fn fill(
        &self,
        to: CollectionScope<'_>,
        built: &Database,
        from: CollectionScope<'_>,
    ) -> Result<u64> {
        let mut request = GetRequest {
            limit: Some(BATCH_RECORDS),
            include: Include {
                documents: true,
                metadatas: true,
                embeddings: true,
                uris: true,
                distances: false,
            },
            consistency: Consistency::everything(),
            ..GetRequest::default()
        };
        let answers = Answers::new(BATCH_BYTES);
        loop {
            let rows = request.limit.unwrap_or(1);
            let fetched = if rows == 1 {
                built.get(from, &request)?
            } else {
                match answers.asker().serve(|| built.get(from, &request)) {
                    Err(error) if error.kind() == ErrorKind::InvalidArgument => {
                        request.limit = Some(rows / 2);
                        continue;
                    }
                    fetched => fetched?,
                }
            };
            let batch = as_insertion(fetched);
            if batch.is_empty() {
                return Ok(request.offset.into());
            }
            request.offset += batch.len() as u32;
            self.write(to, batch)?;
            if !self.inner.go_on() {
                return Err(closing());
            }
        }
    }

    fn drop_unfinished(&self, tenant: &str, database: &str, name: &str) -> Result<()> {
        match self.delete_collection(tenant, database, name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            deleted => deleted,
        }
    }
}

impl Inner {
    /// A step of maintenance that a request asked for; whether the database stays open.
    pub(super) fn go_on(&self) -> bool {
        self.pace(&|| !self.is_closing());
        !self.is_closing()
    }
}

/// Records that were read, to be inserted as they are.
fn as_insertion(fetched: Fetched) -> RecordBatch {
    let rows = fetched.ids.len();
    let absent = || OptionalStrings::absent(rows);
    RecordBatch {
        operations: vec![Operation::Add; rows],
        ids: fetched.ids,
        embeddings: fetched.embeddings.unwrap_or_default(),
        documents: fetched.documents.unwrap_or_else(absent),
        uris: fetched.uris.unwrap_or_else(absent),
        metadata: fetched.metadatas.unwrap_or_default(),
    }
}
