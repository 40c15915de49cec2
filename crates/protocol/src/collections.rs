//! The bodies of requests for tenants, databases and collections, and their answers.
//!
//! What must stay true: a name is checked before the engine sees it; members that the server alone may set are refused.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vermilion_engine::IndexingStatus;
use vermilion_engine::model::{
    BATCH_INGEST_KEY, BatchIngestChange, Collection, CollectionUpdate, DatabaseInfo, NewCollection,
    Page, Schema, Tenant,
};

use crate::configuration::{self, Configuration, ConfigurationChange};
use crate::json::{self, null_as_default};
use crate::records::CollectionMetadata;
use crate::{ApiError, names};

/// Characters of the resource name of a tenant at most.
const RESOURCE_NAME_MAX: usize = 512;

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Decodes the name of a tenant to be made.
pub fn decode_new_tenant(body: &[u8]) -> Result<String, ApiError> {
    let Named { name } = json::decode(body)?;
    names::check_tenant_name(&name)?;
    Ok(name)
}

/// Decodes the resource name that a tenant is to have: the first part of what colons part.
pub fn decode_tenant_update(body: &[u8]) -> Result<String, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        resource_name: String,
    }
    let name = json::decode::<Body>(body)?.resource_name;
    let is_usable = |one: char| !matches!(one, ':' | '/') && !one.is_control();
    let length = name.chars().count();
    if (1..=RESOURCE_NAME_MAX).contains(&length) && name.chars().all(is_usable) {
        return Ok(name);
    }
    Err(ApiError::validation(
        "resource_name",
        format_args!(
            "from 1 to {RESOURCE_NAME_MAX} characters without `:`, `/` and control characters are allowed"
        ),
    ))
}

/// Decodes the name of a database to be made.
pub fn decode_new_database(body: &[u8]) -> Result<String, ApiError> {
    let Named { name } = json::decode(body)?;
    names::check_database_name(&name)?;
    Ok(name)
}

/// Decodes which page of a list is asked for.
pub fn decode_page(body: &[u8]) -> Result<Page, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        limit: Option<u32>,
        #[serde(default)]
        offset: Option<u32>,
    }
    let Body { limit, offset } = json::decode(body)?;
    Ok(Page {
        limit,
        offset: offset.unwrap_or(0),
    })
}

#[derive(Deserialize)]
struct CreateBody {
    name: String,
    #[serde(default)]
    metadata: Option<CollectionMetadata<false>>,
    #[serde(default)]
    configuration: Option<Configuration>,
    #[serde(default)]
    schema: Option<Schema>,
    #[serde(default, deserialize_with = "null_as_default")]
    get_or_create: bool,
}

/// A member of a schema that only the server may set.
const RESERVED_MEMBER: &str = "source_attached_function_id";

/// Refuses a schema with a member that only the server may set. Schemas pass over members they do
/// not know, so this looks again, at those few bodies that have the word at all.
fn refuse_reserved(body: &[u8]) -> Result<(), ApiError> {
    let word = RESERVED_MEMBER.as_bytes();
    if !body.windows(word.len()).any(|window| window == word) {
        return Ok(());
    }
    let body: Value = json::decode(body)?;
    match body["schema"].get(RESERVED_MEMBER) {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(ApiError::validation(
            "schema",
            format_args!("{RESERVED_MEMBER} cannot be set by a request"),
        )),
    }
}

/// Decodes what a collection in `database` of `tenant` is to be.
pub fn decode_new_collection(
    tenant: &str,
    database: &str,
    body: &[u8],
) -> Result<NewCollection, ApiError> {
    refuse_reserved(body)?;
    let body: CreateBody = json::decode(body)?;
    names::check_collection_name("name", &body.name)?;
    let metadata = body.metadata.map(CollectionMetadata::check).transpose();
    let mut metadata = metadata.map_err(|problem| ApiError::validation("metadata", problem))?;
    let asked = body.configuration.as_ref().and_then(|one| one.batch_ingest);
    if let Some(on) = batch_ingest("metadata", metadata.as_ref(), asked)? {
        let metadata = metadata.get_or_insert_default();
        metadata.insert(BATCH_INGEST_KEY.to_owned(), on.into());
    }
    Ok(NewCollection {
        tenant: tenant.to_owned(),
        database: database.to_owned(),
        name: body.name,
        schema: configuration::reconcile(body.schema, body.configuration, metadata.as_ref())?,
        metadata,
        get_or_create: body.get_or_create,
    })
}

/// What metadata and configuration of a request say of `batch_ingest`.
fn batch_ingest(
    member: &str,
    metadata: Option<&Map<String, Value>>,
    configured: Option<bool>,
) -> Result<Option<bool>, ApiError> {
    let told = match metadata.and_then(|metadata| metadata.get(BATCH_INGEST_KEY)) {
        None => None,
        Some(Value::Bool(on)) => Some(*on),
        Some(other) => {
            return Err(ApiError::validation(
                member,
                format_args!("{BATCH_INGEST_KEY} is {other}; it must be true or false"),
            ));
        }
    };
    match (told, configured) {
        (Some(told), Some(configured)) if told != configured => Err(ApiError::invalid(format!(
            "The configuration says that batch_ingest is {configured}, and the metadata, in \
             {BATCH_INGEST_KEY}, that it is {told}; say it once."
        ))),
        (told, configured) => Ok(told.or(configured)),
    }
}

/// Changes that a request asks of a collection.
#[derive(Debug, Default)]
pub struct CollectionChange {
    name: Option<String>,
    metadata: Option<Map<String, Value>>,
    batch_ingest: BatchIngestChange,
    configuration: Option<ConfigurationChange>,
}

impl CollectionChange {
    /// The change as the engine takes it, of a collection whose schema is `schema`.
    pub fn into_update(self, schema: &Schema) -> CollectionUpdate {
        let configuration = self.configuration.filter(|change| !change.is_empty());
        let schema = configuration.map(|change| {
            let mut schema = schema.clone();
            change.apply(&mut schema);
            schema
        });
        CollectionUpdate {
            name: self.name,
            metadata: self.metadata,
            schema,
            batch_ingest: self.batch_ingest,
        }
    }
}

#[derive(Deserialize)]
struct UpdateBody {
    #[serde(default, rename = "new_name")]
    name: Option<String>,
    #[serde(default, rename = "new_metadata")]
    metadata: Option<CollectionMetadata<true>>,
    #[serde(default, rename = "new_configuration")]
    configuration: Option<ConfigurationChange>,
}

/// Decodes changes to a collection.
pub fn decode_collection_change(body: &[u8]) -> Result<CollectionChange, ApiError> {
    let body: UpdateBody = json::decode(body)?;
    if let Some(name) = &body.name {
        names::check_collection_name("new_name", name)?;
    }
    let withdrawn = body
        .metadata
        .as_ref()
        .is_some_and(|metadata| metadata.says_null(BATCH_INGEST_KEY));
    let metadata = body.metadata.map(CollectionMetadata::check).transpose();
    let metadata = metadata.map_err(|problem| ApiError::validation("new_metadata", problem))?;
    let asked = body.configuration.as_ref().and_then(|one| one.batch_ingest);
    let told = batch_ingest("new_metadata", metadata.as_ref(), asked)?;
    if let Some(change) = &body.configuration {
        change.check()?;
    }
    Ok(CollectionChange {
        name: body.name,
        metadata,
        batch_ingest: match told {
            Some(on) => BatchIngestChange::Set(on),
            None if withdrawn => BatchIngestChange::Follow,
            None => BatchIngestChange::Keep,
        },
        configuration: body.configuration,
    })
}

/// Decodes the name that a fork is to have.
pub fn decode_fork(body: &[u8]) -> Result<String, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        new_name: String,
    }
    let Body { new_name } = json::decode(body)?;
    names::check_collection_name("new_name", &new_name)?;
    Ok(new_name)
}

#[derive(Serialize)]
struct CollectionAnswer<'a> {
    id: uuid::Uuid,
    name: &'a str,
    configuration_json: Value,
    schema: &'a Schema,
    metadata: Option<&'a Map<String, Value>>,
    dimension: Option<u32>,
    tenant: &'a str,
    database: &'a str,
    log_position: u64,
    version: u64,
}

impl<'a> From<&'a Collection> for CollectionAnswer<'a> {
    fn from(collection: &'a Collection) -> Self {
        let mut configuration = configuration::configuration_json(&collection.schema);
        if let Some(on) = collection.batch_ingest() {
            configuration["batch_ingest"] = on.into();
        }
        Self {
            id: collection.id.0,
            name: &collection.name,
            configuration_json: configuration,
            schema: &collection.schema,
            metadata: collection.metadata.as_ref(),
            dimension: collection.dimension,
            tenant: &collection.tenant,
            database: &collection.database,
            log_position: collection.log_position.0,
            version: collection.version,
        }
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("answers have string keys only")
}

/// Writes a collection.
pub fn write_collection(collection: &Collection) -> Vec<u8> {
    to_json(&CollectionAnswer::from(collection))
}

/// Writes a list of collections.
pub fn write_collections(collections: &[Collection]) -> Vec<u8> {
    let answers: Vec<_> = collections.iter().map(CollectionAnswer::from).collect();
    to_json(&answers)
}

#[derive(Serialize)]
struct DatabaseAnswer<'a> {
    id: uuid::Uuid,
    name: &'a str,
    tenant: &'a str,
}

impl<'a> From<&'a DatabaseInfo> for DatabaseAnswer<'a> {
    fn from(database: &'a DatabaseInfo) -> Self {
        Self {
            id: database.id,
            name: &database.name,
            tenant: &database.tenant,
        }
    }
}

/// Writes a database.
pub fn write_database(database: &DatabaseInfo) -> Vec<u8> {
    to_json(&DatabaseAnswer::from(database))
}

/// Writes a list of databases.
pub fn write_databases(databases: &[DatabaseInfo]) -> Vec<u8> {
    let answers: Vec<_> = databases.iter().map(DatabaseAnswer::from).collect();
    to_json(&answers)
}

/// Writes a tenant.
pub fn write_tenant(tenant: &Tenant) -> Vec<u8> {
    to_json(&serde_json::json!({
        "name": tenant.name,
        "resource_name": tenant.resource_name,
    }))
}

/// Writes how far the segments of a collection are behind its log: what Chroma says of what is
/// compacted.
pub fn write_indexing_status(status: &IndexingStatus) -> Vec<u8> {
    let (indexed, total) = (status.sealed_operations, status.total_operations);
    let progress = if total == 0 {
        1.0
    } else {
        indexed as f64 / total as f64
    };
    to_json(&serde_json::json!({
        "op_indexing_progress": progress,
        "num_unindexed_ops": total.saturating_sub(indexed),
        "num_indexed_ops": indexed,
        "num_visible_ops": status.indexed_operations,
        "total_ops": total,
    }))
}

/// Writes how many forks come from one root.
pub fn write_fork_count(count: u64) -> Vec<u8> {
    to_json(&serde_json::json!({"count": count}))
}

#[cfg(test)]
mod tests;
