//! Routes about collections.

use axum::Extension;
use axum::extract::State;
use uuid::Uuid;
use vermilion_engine::Database;
use vermilion_engine::ErrorKind;
use vermilion_engine::model::{CollectionId, Schema};
use vermilion_protocol::{ApiError, collections as bodies, functions};

use crate::access::{Identity, Need, Role, within_rate};
use crate::answer::{Answer, Reply};
use crate::app::App;
use crate::extract::{Asked, JsonBody, Names, Paging, Scope};

pub(crate) async fn create(State(app): State<App>, names: Names, body: JsonBody) -> Reply {
    let new = bodies::decode_new_collection(&names.tenant, &names.database, &body.0)?;
    if new.get_or_create {
        // Clients ask so before nearly every operation: what is there is found without a wait.
        match app
            .database
            .collection(&new.tenant, &new.database, &new.name)
        {
            Ok(found) => return Ok(Answer::json(bodies::write_collection(&found))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    let made = app
        .write(|database| Ok(database.create_collection(new)?))
        .await?;
    Ok(Answer::json(bodies::write_collection(&made)))
}

pub(crate) async fn list(
    State(app): State<App>,
    names: Names,
    Asked(paging): Asked<Paging>,
) -> Reply {
    let list = move |database: &Database| {
        let found = database.collections(&names.tenant, &names.database, paging.into())?;
        Ok(bodies::write_collections(&found))
    };
    Ok(Answer::json(app.read(list).await?))
}

pub(crate) async fn count(State(app): State<App>, names: Names) -> Reply {
    let count = app
        .database
        .count_collections(&names.tenant, &names.database)?;
    Ok(Answer::json(count.to_string()))
}

/// By name; an id here is looked up as a name.
pub(crate) async fn get(State(app): State<App>, names: Names) -> Reply {
    let (tenant, database) = (&names.tenant, &names.database);
    let found = app
        .database
        .collection(tenant, database, &names.collection)?;
    Ok(Answer::json(bodies::write_collection(&found)))
}

pub(crate) async fn get_by_id(State(app): State<App>, names: Names) -> Reply {
    let Ok(id) = Uuid::try_parse(&names.collection) else {
        return Err(ApiError::validation(
            "collection_id",
            "Invalid collection ID format, expected UUID",
        )
        .into());
    };
    let scope = vermilion_engine::model::CollectionScope {
        tenant: &names.tenant,
        database: &names.database,
        id: CollectionId(id),
    };
    match app.database.collection_by_id(scope) {
        Ok(found) => Ok(Answer::json(bodies::write_collection(&found))),
        // Here, unlike at records, clients know these words without a full stop.
        Err(error) if error.kind() == ErrorKind::NotFound => Err(missing(id).into()),
        Err(error) => Err(error.into()),
    }
}

/// By resource name. One that the key does not reach looks as one that is not there.
pub(crate) async fn get_by_crn(
    State(app): State<App>,
    identity: Option<Extension<Identity>>,
    names: Names,
) -> Reply {
    let crn = &names.collection;
    let parts: Vec<String> = crn.split(':').map(str::to_owned).collect();
    let parts = <[String; 3]>::try_from(parts).ok();
    let parts = parts.filter(|parts| parts.iter().all(|part| !part.is_empty()));
    let Some([resource, database, name]) = parts else {
        let problem = "CRN must be in the format <tenant_resource_name>:<database_name>:\
                       <collection_name> with non-empty parts";
        return Err(ApiError::validation("crn", problem).into());
    };
    let find = move |all: &Database| Ok(all.collection_of_resource(&resource, &database, &name)?);
    let found = app.read(find).await?;
    let need = Need::Database(Role::Read);
    let reaches =
        |Extension(one): Extension<Identity>| need.is_met_by(&one, &found.tenant, &found.database);
    if !identity.is_none_or(reaches) {
        return Err(missing(crn).into());
    }
    // The path does not tell the tenant.
    within_rate(&app, &found.tenant)?;
    Ok(Answer::json(bodies::write_collection(&found)))
}

pub(crate) async fn update(State(app): State<App>, scope: Scope, body: JsonBody) -> Reply {
    let change = bodies::decode_collection_change(&body.0)?;
    app.write(move |database| {
        let update = |schema: &Schema| change.into_update(schema);
        Ok(database.change_collection(scope.get(), update)?)
    })
    .await?;
    Ok(Answer::empty())
}

pub(crate) async fn delete(State(app): State<App>, names: Names) -> Reply {
    app.write(move |database| {
        Ok(database.delete_collection(&names.tenant, &names.database, &names.collection)?)
    })
    .await?;
    Ok(Answer::empty())
}

pub(crate) async fn indexing_status(State(app): State<App>, scope: Scope) -> Reply {
    let ask = move |database: &Database| Ok(database.indexing_status(scope.get())?);
    let status = app.read(ask).await?;
    Ok(Answer::json(bodies::write_indexing_status(&status)))
}

pub(crate) async fn fork(State(app): State<App>, scope: Scope, body: JsonBody) -> Reply {
    let name = bodies::decode_fork(&body.0)?;
    let made = app
        .write(move |database| Ok(database.fork_collection(scope.get(), &name)?))
        .await?;
    Ok(Answer::json(bodies::write_collection(&made)))
}

pub(crate) async fn fork_count(State(app): State<App>, scope: Scope) -> Reply {
    let count = app.database.fork_count(scope.get())?;
    Ok(Answer::json(bodies::write_fork_count(count)))
}

pub(crate) async fn attach_function(State(app): State<App>, scope: Scope, body: JsonBody) -> Reply {
    let new = functions::decode_attach(&body.0)?;
    let (attached, created) = app
        .write(move |database| {
            let (name, output) = (&new.name, &new.output_collection);
            Ok(database.attach_function(scope.get(), name, new.function, output)?)
        })
        .await?;
    Ok(Answer::json(functions::write_attached(&attached, created)))
}

pub(crate) async fn get_function(State(app): State<App>, scope: Scope, names: Names) -> Reply {
    let ask = move |database: &Database| {
        let attached = database.attached_function(scope.get(), &names.function)?;
        let place = database.database(&names.tenant, &names.database)?;
        Ok(functions::write_function(&attached, scope.get(), place.id))
    };
    Ok(Answer::json(app.read(ask).await?))
}

/// The functions that there are take one input, which the answer says of each that is attached.
pub(crate) async fn add_function_input(
    State(app): State<App>,
    scope: Scope,
    names: Names,
    body: JsonBody,
) -> Reply {
    functions::decode_added_input(&body.0)?;
    let ask =
        move |database: &Database| Ok(database.attached_function(scope.get(), &names.function)?);
    app.read(ask).await?;
    Err(functions::one_input().into())
}

pub(crate) async fn detach_function(
    State(app): State<App>,
    scope: Scope,
    names: Names,
    body: JsonBody,
) -> Reply {
    let delete_output = functions::decode_detach(&body.0)?;
    app.write(move |database| {
        Ok(database.detach_function(scope.get(), &names.function, delete_output)?)
    })
    .await?;
    Ok(Answer::json(r#"{"success":true}"#))
}

fn missing(collection: impl std::fmt::Display) -> ApiError {
    ApiError::new(404, format!("Collection [{collection}] does not exist"))
}
