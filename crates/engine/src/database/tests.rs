//! What only the inside of an open database can be brought to: a catalogue that does not know what the
//! disk holds.

use std::sync::Arc;

use super::Database;
use crate::config::Config;
use crate::model::{
    CollectionScope, Embeddings, MetadataColumn, NewCollection, Operation, OptionalStrings,
    RecordBatch, Schema,
};
use crate::storage::{MemoryStorage, Storage};
use crate::{ErrorKind, Result};

const TENANT: &str = "default_tenant";
const DATABASE: &str = "default_database";

fn folders(storage: &dyn Storage) -> Vec<String> {
    let mut found = Vec::new();
    for home in storage.list("segments").unwrap() {
        let path = format!("segments/{}", home.name);
        let segments = storage.list(&path).unwrap().into_iter();
        found.extend(segments.map(|segment| segment.name));
    }
    found
}

#[test]
fn nothing_is_removed_or_taken_back_where_a_failed_commit_may_come_true() {
    let storage = Arc::new(MemoryStorage::default());
    let mut config = Config::in_memory();
    config.storage = storage.clone();
    config.upkeep.background = false;
    let database = Database::open(config).unwrap();
    let made = database.create_collection(NewCollection {
        tenant: TENANT.to_owned(),
        database: DATABASE.to_owned(),
        name: "a".to_owned(),
        metadata: None,
        schema: Schema::default(),
        get_or_create: false,
    });
    let scope = CollectionScope {
        tenant: TENANT,
        database: DATABASE,
        id: made.unwrap().id,
    };
    let write = |id: &str| -> Result<()> {
        let mut metadata = MetadataColumn::default();
        metadata.push_row(std::iter::empty::<(&str, crate::model::Value)>());
        let batch = RecordBatch {
            operations: vec![Operation::Add],
            ids: [id].into_iter().collect(),
            embeddings: Embeddings::new(1, vec![1.0]).unwrap(),
            documents: OptionalStrings::absent(1),
            uris: OptionalStrings::absent(1),
            metadata,
        };
        database.write(scope, batch).map(drop)
    };
    write("first").unwrap();
    database.seal_all().unwrap();
    assert_eq!(folders(storage.as_ref()).len(), 1);
    write("second").unwrap();
    database.inner.catalog.lose_sync();
    database.seal_all().unwrap_err();
    // The catalogue may name the second at the next start.
    assert_eq!(folders(storage.as_ref()).len(), 2);
    database
        .delete_collection(TENANT, DATABASE, "a")
        .unwrap_err();
    let error = write("third").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(folders(storage.as_ref()).len(), 2);
}
