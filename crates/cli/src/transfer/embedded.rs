//! A collection in a data folder that this process opens itself.

use std::time::Duration;

use serde_json::{Value, json};
use vermilion_engine::config::SchedulerClass;
use vermilion_engine::model::{
    Collection, CollectionId, CollectionScope, Consistency, GetRequest, Include, Operation,
    ReadLevel, RecordSelection, Schema, Space,
};
use vermilion_engine::{Config, Database, ErrorKind};
use vermilion_protocol::collections::decode_new_collection;

use crate::arguments::Place;
use crate::failure::Failure;

use super::record::{Record, from_fetched, to_batch};

/// What is transferred is all that was acknowledged, however long indexing it takes.
const EVERYTHING: Consistency = Consistency {
    read_level: Some(ReadLevel::IndexAndWal),
    min_seq: None,
    wait_max: Some(Duration::from_hours(1)),
};

/// Bytes of vectors and their indexes that stay in memory. Merges of a large import read many times
/// as many, each once.
const MAPPED_BYTES: u64 = 256 << 20;

/// The collection and the database that holds it.
pub(crate) struct Embedded {
    database: Database,
    tenant: String,
    database_name: String,
    folder: String,
    id: CollectionId,
    function: Option<Value>,
    space: Value,
}

impl Embedded {
    /// Opens the folder and the collection that `request` describes, each made where it is not there; says
    /// whether the collection was.
    pub(crate) fn open_or_create(place: &Place, request: &Value) -> Result<(Self, bool), Failure> {
        let database = open(place)?;
        match database.collection(&place.tenant, &place.database, &place.collection) {
            Ok(found) => Ok((Self::over(database, place, &found), false)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok((Self::made(database, place, request)?, true))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn made(database: Database, place: &Place, request: &Value) -> Result<Self, Failure> {
        let body = request.to_string();
        let new = decode_new_collection(&place.tenant, &place.database, body.as_bytes())
            .map_err(|error| Failure::new(error.message))?;
        let collection = database.create_collection(new)?;
        Ok(Self::over(database, place, &collection))
    }

    /// The same, its tenant and database made where they are not there.
    pub(crate) fn create(place: &Place, request: &Value) -> Result<Self, Failure> {
        let database = open(place)?;
        let there = |made: vermilion_engine::Result<()>| match made {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        there(database.create_tenant(&place.tenant))?;
        let made = database.create_database(&place.tenant, &place.database);
        there(made.map(|_| ()))?;
        Self::made(database, place, request)
    }

    /// Opens the folder and the collection, which must be there.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        if !place.path.is_dir() {
            return Err(
                Failure::new(format!("there is no folder {}", place.path.display()))
                    .hint("name the data folder with --path, or a running server with --url"),
            );
        }
        let database = open(place)?;
        let collection = database.collection(&place.tenant, &place.database, &place.collection)?;
        Ok(Self::over(database, place, &collection))
    }

    fn over(database: Database, place: &Place, collection: &Collection) -> Self {
        let folder = place
            .path
            .canonicalize()
            .unwrap_or_else(|_| place.path.clone());
        Self {
            database,
            tenant: place.tenant.clone(),
            database_name: place.database.clone(),
            folder: folder.display().to_string(),
            id: collection.id,
            function: collection
                .schema
                .vectors()
                .and_then(|vectors| vectors.embedding_function.clone()),
            space: json!(collection.schema.space()),
        }
    }

    fn scope(&self) -> CollectionScope<'_> {
        CollectionScope {
            tenant: &self.tenant,
            database: &self.database_name,
            id: self.id,
        }
    }

    pub(crate) fn identity(&self) -> (String, String) {
        (self.folder.clone(), self.id.to_string())
    }

    /// The embedding function that the collection was made with, as it is kept.
    pub(crate) fn function(&self) -> Option<&Value> {
        self.function.as_ref()
    }

    pub(crate) fn space(&self) -> Option<&str> {
        self.space.as_str()
    }

    pub(crate) fn batch_records_max(&self) -> usize {
        self.database.limits().batch_records_max
    }

    pub(crate) fn upsert(&self, records: &[Record]) -> Result<(), Failure> {
        let batch = to_batch(records, Operation::Upsert)?;
        self.database.write(self.scope(), batch)?;
        Ok(())
    }

    /// Removes the collection where it has no record. Nobody else has the folder open.
    pub(crate) fn remove_unused(&self, name: &str) -> Result<(), Failure> {
        if self.database.count_seeing(self.scope(), EVERYTHING)? == 0 {
            let (tenant, database) = (&self.tenant, &self.database_name);
            self.database.delete_collection(tenant, database, name)?;
        }
        Ok(())
    }

    /// Writes what is in memory to segments and merges until nothing is due.
    pub(crate) fn settle(&self) -> Result<(), Failure> {
        self.database.seal_all()?;
        while self.database.upkeep()? {}
        Ok(())
    }

    pub(crate) fn ids(&self) -> Result<Vec<String>, Failure> {
        let request = GetRequest {
            consistency: EVERYTHING,
            ..GetRequest::default()
        };
        let fetched = self.database.get(self.scope(), &request)?;
        Ok(fetched.ids.iter().map(str::to_owned).collect())
    }

    pub(crate) fn records(&self, ids: &[String]) -> Result<Vec<Record>, Failure> {
        let request = GetRequest {
            selection: RecordSelection {
                ids: Some(ids.to_vec()),
                filter: None,
            },
            include: Include {
                documents: true,
                metadatas: true,
                embeddings: true,
                uris: true,
                distances: false,
            },
            consistency: EVERYTHING,
            ..GetRequest::default()
        };
        Ok(from_fetched(&self.database.get(self.scope(), &request)?))
    }

    pub(crate) fn close(self) -> Result<(), Failure> {
        Ok(self.database.close()?)
    }
}

/// The schema of a collection that compares vectors by `space`.
pub(crate) fn schema_of(space: Space) -> Schema {
    let mut schema = Schema::default();
    schema.change_vectors(|vectors| vectors.space = Some(space));
    schema
}

fn open(place: &Place) -> Result<Database, Failure> {
    let open = || {
        let mut config = Config::at(&place.path)?;
        // A command that is over in a moment is no time for the jobs of a week.
        config.scheduler_class = SchedulerClass::External;
        config.upkeep.mapped_bytes = MAPPED_BYTES;
        Database::open(config)
    };
    let opened = open();
    opened.map_err(|error| {
        let failure = Failure::from(error).context(format!("cannot open {}", place.path.display()));
        failure.hint("if a server has the folder open, name the server with --url instead")
    })
}
