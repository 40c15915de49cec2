//! Tenants, databases and collections: made, found, changed, deleted.
//!
//! What must stay true: the catalogue commits first, then what requests see changes; a deletion
//! first stops writes, so that no write is acknowledged after it; files go last.

use std::sync::Arc;

use uuid::Uuid;

use super::{Database, Inner};
use crate::backup::Change;
use crate::catalog::{CollectionRow, Manifest};
use crate::indexing::LiveCollection;
use crate::model::{
    BATCH_INGEST_KEY, BatchIngestChange, CURATION_PREFIX, Collection, CollectionId,
    CollectionScope, CollectionUpdate, DatabaseInfo, NewCollection, Page, Recall, Schema, Tenant,
};
use crate::{Error, Result};

impl Database {
    /// Deletes everything, then makes the default tenant and database again.
    pub fn reset(&self) -> Result<()> {
        let inner = &self.inner;
        let _changes = inner.changes.lock();
        let all = inner.all_collections();
        all.iter()
            .for_each(|collection| collection.mark_deleted(true));
        if let Err(error) = inner.catalog.reset() {
            inner.undo_deletion(&all);
            return Err(error);
        }
        if let Ok(new) = inner.catalog.export() {
            inner.note(|| Change::Reset(Box::new(new)));
        }
        inner.forget(&all)?;
        // No document names them any more.
        for path in inner.unnamed_blobs()? {
            inner.config.storage.remove_file(&path)?;
        }
        Ok(())
    }

    /// Makes a tenant; `AlreadyExists`.
    pub fn create_tenant(&self, name: &str) -> Result<()> {
        let _changes = self.inner.changes.lock();
        self.inner.catalog.create_tenant(name)?;
        self.inner.note_tenant(name);
        Ok(())
    }

    /// A tenant by name; `NotFound`.
    pub fn tenant(&self, name: &str) -> Result<Tenant> {
        self.inner.catalog.tenant(name)
    }

    /// Gives a tenant its resource name; a missing tenant is passed over. `AlreadyExists` where another
    /// tenant has the name: whoever asks for a collection by it means that one.
    pub fn update_tenant(&self, name: &str, resource_name: &str) -> Result<()> {
        let _changes = self.inner.changes.lock();
        let having = self.inner.catalog.tenants_of_resource(resource_name)?;
        if having.iter().any(|tenant| tenant.name != name) {
            return Err(Error::already_exists(format!(
                "Resource name [{resource_name}] is taken"
            )));
        }
        self.inner.catalog.update_tenant(name, resource_name)?;
        self.inner.note_tenant(name);
        Ok(())
    }

    /// Makes a database; the tenant need not exist.
    pub fn create_database(&self, tenant: &str, name: &str) -> Result<Uuid> {
        let _changes = self.inner.changes.lock();
        let made = self.inner.catalog.create_database(tenant, name)?;
        self.inner.note(|| Change::Database(made.clone()));
        Ok(made.id)
    }

    /// A database by name.
    pub fn database(&self, tenant: &str, name: &str) -> Result<DatabaseInfo> {
        self.inner.catalog.database(tenant, name)
    }

    /// Databases of a tenant, by name.
    pub fn databases(&self, tenant: &str, page: Page) -> Result<Vec<DatabaseInfo>> {
        self.inner.catalog.databases(tenant, page)
    }

    /// Deletes a database and its collections.
    pub fn delete_database(&self, tenant: &str, name: &str) -> Result<()> {
        let inner = &self.inner;
        let _changes = inner.changes.lock();
        let inside = inner.in_database(tenant, name);
        inside
            .iter()
            .for_each(|collection| collection.mark_deleted(true));
        if let Err(error) = inner.catalog.delete_database(tenant, name) {
            inner.undo_deletion(&inside);
            return Err(error);
        }
        inner.note(|| Change::DatabaseDeleted {
            tenant: tenant.to_owned(),
            name: name.to_owned(),
        });
        inner.forget(&inside)
    }

    /// Makes a collection, or with `get_or_create` answers the one that has the name.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a new collection is made once"
    )]
    pub fn create_collection(&self, new: NewCollection) -> Result<Collection> {
        let inner = &self.inner;
        Recall::of_metadata(new.metadata.as_ref())?;
        crate::expiry::life(new.metadata.as_ref())?;
        if new.get_or_create
            && let Ok(found) = self.collection(&new.tenant, &new.database, &new.name)
        {
            return Ok(found);
        }
        let _changes = inner.changes.lock();
        let taken = inner
            .collections
            .read()
            .named(&new.tenant, &new.database, &new.name)
            .cloned();
        if let Some(found) = taken {
            return if new.get_or_create {
                Ok(found.describe())
            } else {
                Err(taken_name(&new.name))
            };
        }
        expect_few_keys(&new.schema, inner.config.limits.schema_keys_max)?;
        inner.expect_room_for_collection(&new.tenant, &new.schema)?;
        let collection = inner
            .catalog
            .create_collection(CollectionId::random(), &new)?;
        inner.note(|| Change::Collection(Box::new(collection.clone())));
        inner.take_in(CollectionRow {
            collection: collection.clone(),
            manifest: Manifest::default(),
        });
        Ok(collection)
    }

    /// A collection by name.
    pub fn collection(&self, tenant: &str, database: &str, name: &str) -> Result<Collection> {
        let found = self
            .inner
            .collections
            .read()
            .named(tenant, database, name)
            .cloned();
        found
            .map(|collection| collection.describe())
            .ok_or_else(|| missing_name(name))
    }

    /// A collection by id; `NotFound` where it belongs to another tenant or database.
    pub fn collection_by_id(&self, scope: CollectionScope<'_>) -> Result<Collection> {
        Ok(self.inner.scoped(scope)?.describe())
    }

    /// A collection by id alone, whatever database it is in.
    pub fn collection_anywhere(&self, id: CollectionId) -> Result<Collection> {
        let found = self.inner.live(id);
        found
            .map(|one| one.describe())
            .ok_or_else(|| Error::missing_collection(id))
    }

    /// Collections of a database, by id; none for a missing database.
    pub fn collections(&self, tenant: &str, database: &str, page: Page) -> Result<Vec<Collection>> {
        let mut inside = self.inner.in_database(tenant, database);
        inside.sort_by_key(|collection| collection.id);
        let page = page.of(&inside);
        Ok(page.map(|collection| collection.describe()).collect())
    }

    /// How many collections a database has; 0 for a missing one.
    pub fn count_collections(&self, tenant: &str, database: &str) -> Result<u64> {
        Ok(self.inner.in_database(tenant, database).len() as u64)
    }

    /// Changes a collection.
    pub fn update_collection(
        &self,
        scope: CollectionScope<'_>,
        update: CollectionUpdate,
    ) -> Result<()> {
        self.change_collection(scope, |_| update)
    }

    /// Changes a collection to what `change` makes of its schema. Changes follow one another: none
    /// is lost to another that read the same schema.
    pub fn change_collection(
        &self,
        scope: CollectionScope<'_>,
        change: impl FnOnce(&Schema) -> CollectionUpdate,
    ) -> Result<()> {
        let inner = &self.inner;
        let _changes = inner.changes.lock();
        let live = inner.scoped(scope)?;
        let mut info = live.describe();
        let mut update = change(&info.schema);
        Recall::of_metadata(update.metadata.as_ref())?;
        crate::expiry::life(update.metadata.as_ref())?;
        if let Some(name) = &update.name
            && *name != info.name
            && inner
                .collections
                .read()
                .named(scope.tenant, scope.database, name)
                .is_some()
        {
            return Err(taken_name(name));
        }
        update.metadata = metadata_after(&info, &update);
        inner.catalog.update_collection(live.id, &update)?;
        let mut collections = inner.collections.write();
        collections.remove(&live);
        if let Some(name) = update.name {
            info.name = name;
        }
        if let Some(metadata) = update.metadata {
            info.metadata = (!metadata.is_empty()).then_some(metadata);
        }
        if let Some(schema) = update.schema {
            info.schema = schema;
        }
        live.set_info(info.clone());
        collections.insert(live.clone());
        drop(collections);
        live.set_schema(&info.schema);
        inner.note(|| Change::Collection(Box::new(info)));
        Ok(())
    }

    /// Deletes a collection by name, with all its records and files.
    pub fn delete_collection(&self, tenant: &str, database: &str, name: &str) -> Result<()> {
        let inner = &self.inner;
        let _changes = inner.changes.lock();
        let found = inner
            .collections
            .read()
            .named(tenant, database, name)
            .cloned();
        let Some(live) = found else {
            return Err(missing_name(name));
        };
        live.mark_deleted(true);
        if let Err(error) = inner.catalog.delete_collection(live.id) {
            inner.undo_deletion(&[live]);
            return Err(error);
        }
        inner.note(|| Change::CollectionDeleted(live.id));
        inner.forget(&[live])
    }
}

impl Inner {
    /// Notes a change that the catalogue has committed, for the next backup. The caller holds
    /// `changes`.
    pub(super) fn note(&self, change: impl FnOnce() -> Change) {
        let time = self.config.clock.wall_nanoseconds();
        self.journal
            .note(self.config.storage.as_ref(), time, change);
    }

    /// Lets requests see a collection that the catalogue has just committed. The caller holds
    /// `changes`.
    pub(super) fn take_in(&self, row: CollectionRow) -> Arc<LiveCollection> {
        let live = Arc::new(LiveCollection::new(row, self.gauges.clone()));
        self.log.register(live.id, live.published_applied());
        self.collections.write().insert(live.clone());
        live
    }

    fn note_tenant(&self, name: &str) {
        if let Ok(tenant) = self.catalog.tenant(name) {
            self.note(|| Change::Tenant(tenant));
        }
    }

    fn in_database(&self, tenant: &str, database: &str) -> Vec<Arc<LiveCollection>> {
        let collections = self.collections.read();
        let inside = collections.by_id.values().filter(|collection| {
            let info = collection.info();
            info.tenant == tenant && info.database == database
        });
        inside.cloned().collect()
    }

    /// Lets collections be written again that the catalogue would not delete. Where it may have, as the next
    /// start will tell, nothing more is acknowledged that would go with them.
    fn undo_deletion(&self, stay: &[Arc<LiveCollection>]) {
        if !self.catalog.is_uncertain() {
            let stay = stay.iter();
            stay.for_each(|collection| collection.mark_deleted(false));
        }
    }

    /// Takes deleted collections out of sight and gives their space back. What cannot be removed
    /// now is swept at the next start.
    fn forget(&self, gone: &[Arc<LiveCollection>]) -> Result<()> {
        {
            let mut collections = self.collections.write();
            gone.iter()
                .for_each(|collection| collections.remove(collection));
        }
        for collection in gone {
            // Before its log goes, or a worker would take that for damage.
            collection.abandon();
            self.log.drop_collection(collection.id)?;
            collection.remove_if_gone(self.config.storage.as_ref(), &self.catalog);
            self.forget_blobs(collection.id);
        }
        Ok(())
    }
}

/// The metadata that a collection gets by `update`, if it changes: a setting in it, and what makes it a space of
/// curation, stay until they are changed themselves, since clients replace metadata as a whole.
fn metadata_after(
    info: &Collection,
    update: &CollectionUpdate,
) -> Option<serde_json::Map<String, serde_json::Value>> {
    if update.metadata.is_none() && update.batch_ingest == BatchIngestChange::Keep {
        return None;
    }
    let old = info.metadata.clone().unwrap_or_default();
    let mut metadata = update.metadata.clone().unwrap_or_default();
    for (key, value) in old {
        if update.metadata.is_none() || key.starts_with(CURATION_PREFIX) {
            metadata.entry(key).or_insert(value);
        }
    }
    let own = match update.batch_ingest {
        BatchIngestChange::Keep => info.batch_ingest(),
        BatchIngestChange::Follow => None,
        BatchIngestChange::Set(on) => Some(on),
    };
    match own {
        Some(on) => metadata.insert(BATCH_INGEST_KEY.to_owned(), on.into()),
        None => metadata.remove(BATCH_INGEST_KEY),
    };
    Some(metadata)
}

pub(super) fn missing_name(name: &str) -> Error {
    Error::not_found(format!("Collection [{name}] does not exist"))
}

pub(super) fn taken_name(name: &str) -> Error {
    Error::already_exists(format!("Collection [{name}] already exists"))
}

fn expect_few_keys(schema: &Schema, most: usize) -> Result<()> {
    let keys = schema.metadata_keys();
    if keys > most {
        return Err(Error::invalid(format!(
            "The schema has {keys} metadata keys; at most {most} are allowed (schema_keys_max)."
        )));
    }
    Ok(())
}
