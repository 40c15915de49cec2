//! Forks of collections, and collections by resource name.
//!
//! What must stay true: a fork has everything that was acknowledged before it was asked for, and
//! nothing that is written to either side later shows on the other; it copies no record. What is in
//! memory is sealed first, so that the catalogue alone says what the fork is.

use super::namespaces::{missing_name, taken_name};
use super::{Database, Inner};
use crate::backup::Change;
use crate::indexing::CostlyIndexes;
use crate::model::{Collection, CollectionId, CollectionScope, Consistency};
use crate::{Error, ErrorKind, Result};

impl Database {
    /// Makes a collection called `name`, in the same database, of what the collection is now.
    /// `AlreadyExists` where the name is taken.
    pub fn fork_collection(&self, scope: CollectionScope<'_>, name: &str) -> Result<Collection> {
        let inner = &self.inner;
        let source = inner.scoped(scope)?;
        inner.check_open()?;
        inner.expect_free(scope, name)?;
        inner
            .await_sight(&source, Consistency::everything())
            .map_err(not_yet)?;
        // The index of the vectors that are still in memory comes by a merge, as after a rush.
        let go_on = || !inner.is_closing();
        source.seal(&inner.publisher(&go_on), CostlyIndexes::Later)?;
        // One that could not apply what is logged has not got it in its segments.
        source.check_failure()?;
        let _changes = inner.changes.lock();
        inner.scoped(scope)?;
        inner.expect_free(scope, name)?;
        inner.expect_room_for_collection(scope.tenant, &source.schema())?;
        inner.expect_room_for_fork(&source)?;
        let row = inner
            .catalog
            .fork_collection(source.id, CollectionId::random(), name)?;
        inner.note(|| Change::Collection(Box::new(row.collection.clone())));
        let (fork, seq) = (row.collection.id, row.manifest.applied);
        inner.expiry.lock().fork(source.id, fork, seq);
        Ok(inner.take_in(row).describe())
    }

    /// How many collections of the lineage that this one belongs to were made by forks.
    pub fn fork_count(&self, scope: CollectionScope<'_>) -> Result<u64> {
        let root = self.inner.scoped(scope)?.info().root();
        let collections = self.inner.collections.read();
        let forks = collections.by_id.values().filter(|one| {
            let info = one.info();
            !info.origins.is_empty() && info.root() == root
        });
        Ok(forks.count() as u64)
    }

    /// A collection by the resource name of its tenant, its database, and its name.
    pub fn collection_of_resource(
        &self,
        resource_name: &str,
        database: &str,
        name: &str,
    ) -> Result<Collection> {
        for tenant in self.inner.catalog.tenants_of_resource(resource_name)? {
            let collections = self.inner.collections.read();
            if let Some(found) = collections.named(&tenant.name, database, name) {
                return Ok(found.describe());
            }
        }
        Err(missing_name(&format!("{resource_name}:{database}:{name}")))
    }
}

/// The error of a fork whose source has logged records that nobody has indexed in time.
fn not_yet(error: Error) -> Error {
    if error.kind() != ErrorKind::Busy {
        return error;
    }
    Error::new(
        ErrorKind::Busy,
        "The fork was not made: records that were acknowledged are not indexed yet. Retry later; where \
         indexing is paused, `vermilion ctl resume indexing` lets it go on.",
    )
}

impl Inner {
    /// Fails where the database of `scope` has a collection called `name`.
    fn expect_free(&self, scope: CollectionScope<'_>, name: &str) -> Result<()> {
        let collections = self.collections.read();
        match collections.named(scope.tenant, scope.database, name) {
            Some(_) => Err(taken_name(name)),
            None => Ok(()),
        }
    }
}
