//! Routes about tenants and databases.

use axum::extract::State;
use vermilion_protocol::collections as bodies;
use vermilion_protocol::names::check_asked_database;

use crate::answer::{Answer, Reply};
use crate::app::App;
use crate::extract::{Asked, JsonBody, Names, Paging};

pub(crate) async fn create_tenant(State(app): State<App>, body: JsonBody) -> Reply {
    let name = bodies::decode_new_tenant(&body.0)?;
    app.write(move |database| Ok(database.create_tenant(&name)?))
        .await?;
    Ok(Answer::empty())
}

pub(crate) async fn get_tenant(State(app): State<App>, names: Names) -> Reply {
    let tenant = app
        .read(move |database| Ok(database.tenant(&names.tenant)?))
        .await?;
    Ok(Answer::json(bodies::write_tenant(&tenant)))
}

pub(crate) async fn update_tenant(State(app): State<App>, names: Names, body: JsonBody) -> Reply {
    let resource_name = bodies::decode_tenant_update(&body.0)?;
    app.write(move |database| Ok(database.update_tenant(&names.tenant, &resource_name)?))
        .await?;
    Ok(Answer::empty())
}

pub(crate) async fn create_database(State(app): State<App>, names: Names, body: JsonBody) -> Reply {
    let name = bodies::decode_new_database(&body.0)?;
    app.write(move |database| Ok(database.create_database(&names.tenant, &name)?))
        .await?;
    Ok(Answer::empty())
}

pub(crate) async fn list_databases(
    State(app): State<App>,
    names: Names,
    Asked(paging): Asked<Paging>,
) -> Reply {
    let list = move |database: &vermilion_engine::Database| {
        Ok(database.databases(&names.tenant, paging.into())?)
    };
    Ok(Answer::json(bodies::write_databases(
        &app.read(list).await?,
    )))
}

pub(crate) async fn get_database(State(app): State<App>, names: Names) -> Reply {
    check_asked_database(&names.database)?;
    let find = move |database: &vermilion_engine::Database| {
        Ok(database.database(&names.tenant, &names.database)?)
    };
    Ok(Answer::json(bodies::write_database(&app.read(find).await?)))
}

pub(crate) async fn delete_database(State(app): State<App>, names: Names) -> Reply {
    app.write(move |database| Ok(database.delete_database(&names.tenant, &names.database)?))
        .await?;
    Ok(Answer::empty())
}
