//! Routes about records. Bodies are decoded and answers written where work may block, since both
//! can take long.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use vermilion_engine::Database;
use vermilion_engine::model::Operation;
use vermilion_protocol::{ApiError, answers, reads, records};

use crate::answer::{Answer, Reply};
use crate::app::App;
use crate::extract::{Asked, JsonBody, Scope};

pub(crate) async fn add(State(app): State<App>, scope: Scope, body: JsonBody) -> Reply {
    write(&app, scope, body, Operation::Add).await?;
    Ok(Answer::with_status(StatusCode::CREATED, "{}"))
}

pub(crate) async fn upsert(State(app): State<App>, scope: Scope, body: JsonBody) -> Reply {
    write(&app, scope, body, Operation::Upsert).await?;
    Ok(Answer::empty())
}

pub(crate) async fn update(State(app): State<App>, scope: Scope, body: JsonBody) -> Reply {
    write(&app, scope, body, Operation::Update).await?;
    Ok(Answer::empty())
}

async fn write(
    app: &App,
    scope: Scope,
    body: JsonBody,
    operation: Operation,
) -> Result<(), ApiError> {
    app.write(move |database| {
        let records_max = database.limits().batch_records_max;
        let batch = records::decode(&body.0, operation, records_max)?;
        drop(body);
        database.write(scope.get(), batch)?;
        Ok(())
    })
    .await
}

pub(crate) async fn delete(State(app): State<App>, scope: Scope, body: JsonBody) -> Reply {
    let delete = move |database: &Database| {
        if let Some(deletion) = reads::decode_delete(&body.0)? {
            return Ok(database.delete(scope.get(), &deletion)?);
        }
        database.collection_by_id(scope.get())?;
        Ok(0)
    };
    Ok(Answer::json(answers::write_deleted(
        app.write(delete).await?,
    )))
}

pub(crate) async fn get(State(app): State<App>, scope: Scope, body: JsonBody) -> Reply {
    let get = move |database: &Database| {
        let asked = reads::decode_get(&body.0)?;
        let fetched = database.get(scope.get(), &asked.request)?;
        Ok(answers::write_fetched(&fetched, &asked.include))
    };
    Ok(Answer::json(app.read(get).await?))
}

pub(crate) async fn query(State(app): State<App>, scope: Scope, body: JsonBody) -> Reply {
    let query = move |database: &Database| {
        let asked = reads::decode_query(&body.0)?;
        let nearest = database.query(scope.get(), &asked.request)?;
        Ok(answers::write_nearest(&nearest, &asked.include))
    };
    Ok(Answer::json(app.read(query).await?))
}

/// How much of what was written a read must see. All of it is seen today at every level.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the names are the API's")]
enum ReadLevel {
    IndexAndWal,
    IndexOnly,
    IndexAndBoundedWal,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct CountQuery {
    #[serde(rename = "read_level")]
    _read_level: Option<ReadLevel>,
}

pub(crate) async fn count(
    State(app): State<App>,
    scope: Scope,
    _level: Asked<CountQuery>,
) -> Reply {
    let count = app
        .read(move |database| Ok(database.count(scope.get())?))
        .await?;
    Ok(Answer::json(count.to_string()))
}

pub(crate) async fn search(State(app): State<App>, scope: Scope) -> Reply {
    app.database.collection_by_id(scope.get())?;
    Err(ApiError::new(
        501,
        "Error executing plan: Not implemented: Search operation is not implemented for local \
         executor",
    )
    .into())
}
