//! Collections: their rows, and all of them at once.

use hashbrown::HashMap;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::Catalog;
use super::fault::{Fault, Result};
use super::forks::{all_origins, delete_origins};
use super::manifests::{all_segments, delete_segments};
use super::names::{database_of, find_database, uuid_at};
use super::tables::{Place, Table};
use super::{CollectionRow, Manifest};
use crate::Error;
use crate::model::{
    Collection, CollectionId, CollectionUpdate, DatabaseInfo, NewCollection, Schema, SeqId,
};

/// A row of table `collection`, as it is stored.
pub(super) struct Stored {
    pub(super) id: Uuid,
    pub(super) database: Uuid,
    pub(super) name: String,
    pub(super) metadata: Option<String>,
    pub(super) schema: String,
    pub(super) dimension: Option<u32>,
    pub(super) manifest_version: u64,
    pub(super) applied: SeqId,
}

impl Stored {
    fn of(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            id: uuid_at(row, 1)?,
            database: uuid_at(row, 2)?,
            name: row.get(3)?,
            metadata: row.get(4)?,
            schema: row.get(5)?,
            dimension: row.get(6)?,
            manifest_version: row.get::<_, i64>(7)? as u64,
            applied: SeqId(row.get::<_, i64>(8)? as u64),
        })
    }

    /// Its schema.
    pub(super) fn schema(&self) -> Result<Schema> {
        from_json(&self.schema, self.id, "schema")
    }

    /// The row of a collection.
    pub(super) fn find(connection: &Connection, id: CollectionId) -> Result<Option<(Place, Self)>> {
        Table::Collection.first(connection, "WHERE id = ?1", [id.0.as_bytes()], Self::of)
    }

    /// The values to be stored.
    pub(super) fn values(&self) -> [ValueRef<'_>; 8] {
        [
            ValueRef::Blob(self.id.as_bytes()),
            ValueRef::Blob(self.database.as_bytes()),
            ValueRef::Text(self.name.as_bytes()),
            self.metadata
                .as_deref()
                .map_or(ValueRef::Null, |json| ValueRef::Text(json.as_bytes())),
            ValueRef::Text(self.schema.as_bytes()),
            self.dimension
                .map_or(ValueRef::Null, |number| ValueRef::Integer(number.into())),
            ValueRef::Integer(self.manifest_version as i64),
            ValueRef::Integer(self.applied.0 as i64),
        ]
    }

    pub(super) fn told(self, database: &DatabaseInfo) -> Result<CollectionRow> {
        let Self {
            id,
            name,
            metadata,
            schema,
            dimension,
            manifest_version,
            applied,
            ..
        } = self;
        let collection = Collection {
            metadata: metadata
                .map(|text| from_json(&text, id, "metadata"))
                .transpose()?,
            schema: from_json(&schema, id, "schema")?,
            id: CollectionId(id),
            name,
            tenant: database.tenant.clone(),
            database: database.name.clone(),
            dimension,
            origins: Vec::new(),
            version: 0,
            log_position: SeqId(0),
        };
        let manifest = Manifest {
            version: manifest_version,
            applied,
            segments: Vec::new(),
        };
        Ok(CollectionRow {
            collection,
            manifest,
        })
    }
}

impl Catalog {
    /// Every collection, by id.
    pub fn load(&self) -> crate::Result<Vec<CollectionRow>> {
        self.read(load)
    }

    /// Makes a collection. Fails with `AlreadyExists` where the name is taken (the caller deals
    /// with `get_or_create`) and `InvalidArgument` where the database is missing.
    pub fn create_collection(
        &self,
        id: CollectionId,
        new: &NewCollection,
    ) -> crate::Result<Collection> {
        let metadata = new.metadata.clone().filter(|metadata| !metadata.is_empty());
        let metadata_text = metadata.as_ref().map(to_json).transpose()?;
        let schema_text = to_json(&new.schema)?;
        self.write(|changes| {
            let database = find_database(changes.connection, &new.tenant, &new.database)?;
            let Some((_, database)) = database else {
                let message = format!("Database [{}] does not exist", new.database);
                return Err(Error::invalid(message).into());
            };
            if is_taken(changes.connection, database.id, &new.name)? {
                return Err(taken(&new.name));
            }
            if Stored::find(changes.connection, id)?.is_some() {
                return Err(taken(&id.to_string()));
            }
            let stored = Stored {
                id: id.0,
                database: database.id,
                name: new.name.clone(),
                metadata: metadata_text,
                schema: schema_text,
                dimension: None,
                manifest_version: 0,
                applied: SeqId(0),
            };
            changes.insert(Table::Collection, &stored.values())
        })?;
        Ok(Collection {
            id,
            name: new.name.clone(),
            tenant: new.tenant.clone(),
            database: new.database.clone(),
            metadata,
            schema: new.schema.clone(),
            dimension: None,
            origins: Vec::new(),
            version: 0,
            log_position: SeqId(0),
        })
    }

    /// Changes a collection; `AlreadyExists` where the new name is taken.
    pub fn update_collection(
        &self,
        id: CollectionId,
        update: &CollectionUpdate,
    ) -> crate::Result<()> {
        let CollectionUpdate {
            name,
            metadata,
            schema,
            // The database has put it into the metadata.
            batch_ingest: _,
        } = update;
        let metadata = match metadata {
            Some(metadata) if metadata.is_empty() => Some(None),
            Some(metadata) => Some(Some(to_json(metadata)?)),
            None => None,
        };
        self.write(|changes| {
            let (place, mut stored) =
                Stored::find(changes.connection, id)?.ok_or_else(|| gone(id))?;
            if let Some(name) = name.as_ref().filter(|name| **name != stored.name) {
                if is_taken(changes.connection, stored.database, name)? {
                    return Err(taken(name));
                }
                stored.name.clone_from(name);
            }
            stored.metadata = metadata.unwrap_or(stored.metadata);
            if let Some(mut schema) = schema.clone() {
                // A seal may have brought keys since the schema was read that the change is made of.
                schema.add_discovered(&stored.schema()?);
                stored.schema = to_json(&schema)?;
            }
            changes.update(place, &stored.values())
        })
    }

    /// Deletes a collection's rows; `NotFound` where it is gone.
    pub fn delete_collection(&self, id: CollectionId) -> crate::Result<()> {
        self.write(|changes| {
            let (place, _) = Stored::find(changes.connection, id)?.ok_or_else(|| gone(id))?;
            delete_segments(changes, id)?;
            delete_origins(changes, id)?;
            changes.delete(place)
        })
    }
}

/// Every collection, by id.
pub(super) fn load(connection: &Connection) -> Result<Vec<CollectionRow>> {
    let databases = Table::Database.rows(connection, "", [], database_of)?;
    let databases: HashMap<Uuid, DatabaseInfo> = databases
        .into_iter()
        .map(|(_, database)| (database.id, database))
        .collect();
    let stored = Table::Collection.rows(connection, "ORDER BY id", [], Stored::of)?;
    let mut collections = Vec::with_capacity(stored.len());
    for (_, stored) in stored {
        let database = databases
            .get(&stored.database)
            .ok_or_else(|| Fault::Damaged(format!("collection {} is in no database", stored.id)))?;
        collections.push(stored.told(database)?);
    }
    let find = |collections: &[CollectionRow], id: CollectionId, what: &str| {
        let at = collections.binary_search_by_key(&id, |row| row.collection.id);
        at.map_err(|_| Fault::Damaged(format!("{what} is in no collection")))
    };
    for (id, segment) in all_segments(connection)? {
        let at = find(&collections, id, &format!("segment {}", segment.id))?;
        collections[at].manifest.segments.push(segment);
    }
    for (id, origin) in all_origins(connection)? {
        let at = find(&collections, id, &format!("origin {}", origin.collection))?;
        collections[at].collection.origins.push(origin);
    }
    Ok(collections)
}

pub(super) fn is_taken(connection: &Connection, database: Uuid, name: &str) -> Result<bool> {
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM collection WHERE database_id = ?1 AND name = ?2")?;
    Ok(statement.exists(params![database.as_bytes(), name])?)
}

pub(super) fn taken(name: &str) -> Fault {
    Error::already_exists(format!("Collection [{name}] already exists")).into()
}

/// The collection is not there (any more).
pub(super) fn gone(id: CollectionId) -> Fault {
    Error::missing_collection(id).into()
}

/// A value as the JSON text to be stored.
pub(super) fn to_json(value: &impl serde::Serialize) -> crate::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal(format!("a collection has no JSON form: {error}")))
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str, id: Uuid, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Fault::Damaged(format!(
            "the {what} of collection {id} cannot be read: {error}"
        ))
    })
}
