//! The operations that take and answer small JSON bodies, by their names.
//!
//! What must stay true: the bodies are those of the HTTP API, decoded and written by the protocol;
//! nothing is decided here.

use uuid::Uuid;
use vermilion_engine::Database;
use vermilion_engine::model::{CollectionId, CollectionScope};
use vermilion_protocol::{ApiError, answers, collections, functions, names, reads, search};

type Answer = Result<Vec<u8>, ApiError>;

/// Carries out `operation`. `names` are those of a path of the HTTP API: tenant, database, and a
/// collection by name or id.
pub(crate) fn call(all: &Database, operation: &str, names: &[String], body: &[u8]) -> Answer {
    let parts: Vec<&str> = names.iter().map(String::as_str).collect();
    match parts[..] {
        [] => on_all(all, operation, body),
        [tenant] => on_tenant(all, operation, tenant, body),
        [tenant, database] => on_database(all, operation, tenant, database, body),
        [tenant, database, collection, function] => {
            let id = CollectionId(Uuid::try_parse(collection).map_err(|_| unknown(operation))?);
            let scope = CollectionScope {
                tenant,
                database,
                id,
            };
            on_function(all, operation, scope, function, body)
        }
        [tenant, database, collection] => match Uuid::try_parse(collection) {
            Ok(id) if operation != "get_collection" && operation != "delete_collection" => {
                let id = CollectionId(id);
                let scope = CollectionScope {
                    tenant,
                    database,
                    id,
                };
                on_collection(all, operation, scope, body)
            }
            _ => on_name(all, operation, [tenant, database, collection]),
        },
        _ => Err(unknown(operation)),
    }
}

fn unknown(operation: &str) -> ApiError {
    ApiError::new(
        501,
        format!("There is no operation {operation} for what was named"),
    )
}

/// What answers where there is nothing to tell.
const EMPTY: &[u8] = b"{}";

fn on_all(all: &Database, operation: &str, body: &[u8]) -> Answer {
    match operation {
        "reset" => {
            all.reset()?;
            Ok(EMPTY.to_vec())
        }
        "create_tenant" => {
            all.create_tenant(&collections::decode_new_tenant(body)?)?;
            Ok(EMPTY.to_vec())
        }
        _ => Err(unknown(operation)),
    }
}

fn on_tenant(all: &Database, operation: &str, tenant: &str, body: &[u8]) -> Answer {
    match operation {
        "get_tenant" => Ok(collections::write_tenant(&all.tenant(tenant)?)),
        "create_database" => {
            all.create_database(tenant, &collections::decode_new_database(body)?)?;
            Ok(EMPTY.to_vec())
        }
        "list_databases" => {
            let found = all.databases(tenant, collections::decode_page(body)?)?;
            Ok(collections::write_databases(&found))
        }
        _ => Err(unknown(operation)),
    }
}

fn on_database(
    all: &Database,
    operation: &str,
    tenant: &str,
    database: &str,
    body: &[u8],
) -> Answer {
    match operation {
        "get_database" => {
            names::check_asked_database(database)?;
            Ok(collections::write_database(
                &all.database(tenant, database)?,
            ))
        }
        "delete_database" => {
            all.delete_database(tenant, database)?;
            Ok(EMPTY.to_vec())
        }
        "create_collection" => {
            let new = collections::decode_new_collection(tenant, database, body)?;
            Ok(collections::write_collection(&all.create_collection(new)?))
        }
        "list_collections" => {
            let found = all.collections(tenant, database, collections::decode_page(body)?)?;
            Ok(collections::write_collections(&found))
        }
        "count_collections" => {
            let count = all.count_collections(tenant, database)?;
            Ok(count.to_string().into_bytes())
        }
        _ => Err(unknown(operation)),
    }
}

/// Operations on a collection that is named by its name.
fn on_name(all: &Database, operation: &str, names: [&str; 3]) -> Answer {
    let [tenant, database, name] = names;
    match operation {
        "get_collection" => {
            let found = all.collection(tenant, database, name)?;
            Ok(collections::write_collection(&found))
        }
        "delete_collection" => {
            all.delete_collection(tenant, database, name)?;
            Ok(EMPTY.to_vec())
        }
        _ => Err(unknown(operation)),
    }
}

fn on_collection(
    all: &Database,
    operation: &str,
    scope: CollectionScope<'_>,
    body: &[u8],
) -> Answer {
    match operation {
        "get_collection_by_id" => {
            let found = all.collection_by_id(scope)?;
            Ok(collections::write_collection(&found))
        }
        "update_collection" => {
            let change = collections::decode_collection_change(body)?;
            all.change_collection(scope, |schema| change.into_update(schema))?;
            Ok(EMPTY.to_vec())
        }
        "fork" => {
            let made = all.fork_collection(scope, &collections::decode_fork(body)?)?;
            Ok(collections::write_collection(&made))
        }
        "fork_count" => Ok(collections::write_fork_count(all.fork_count(scope)?)),
        "attach_function" => {
            let new = functions::decode_attach(body)?;
            let (name, output) = (&new.name, &new.output_collection);
            let (attached, created) = all.attach_function(scope, name, new.function, output)?;
            Ok(functions::write_attached(&attached, created))
        }
        "indexing_status" => {
            let status = all.indexing_status(scope)?;
            Ok(collections::write_indexing_status(&status))
        }
        "count" => {
            let consistency = reads::decode_count(body)?.consistency;
            let count = all.count_seeing(scope, consistency)?;
            Ok(count.to_string().into_bytes())
        }
        "delete" => {
            let deleted = all.delete(scope, &reads::decode_delete(body)?)?;
            Ok(answers::write_deleted(&deleted))
        }
        "search" => {
            let asked = search::decode_search(body)?;
            let found = all.search(scope, &asked.request)?;
            let searches = &asked.request.searches;
            Ok(answers::write_found(&found, searches, &asked.selected))
        }
        _ => Err(unknown(operation)),
    }
}

/// Operations on a function that is attached to a collection.
fn on_function(
    all: &Database,
    operation: &str,
    scope: CollectionScope<'_>,
    function: &str,
    body: &[u8],
) -> Answer {
    match operation {
        "get_attached_function" => {
            let attached = all.attached_function(scope, function)?;
            let place = all.database(scope.tenant, scope.database)?;
            Ok(functions::write_function(&attached, scope, place.id))
        }
        "detach_function" => {
            all.detach_function(scope, function, functions::decode_detach(body)?)?;
            Ok(EMPTY.to_vec())
        }
        _ => Err(unknown(operation)),
    }
}
