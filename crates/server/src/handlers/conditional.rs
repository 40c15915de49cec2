//! Routes for reads and writes that belong together.

use axum::extract::State;
use vermilion_engine::Database;
use vermilion_engine::model::SeqId;
use vermilion_protocol::{conditional as bodies, reads};

use crate::answer::{Answer, Reply};
use crate::app::App;
use crate::extract::{JsonBody, Scope};
use crate::pace::{HeldBack, Sees, read_once_visible};

pub(crate) async fn get(State(app): State<App>, scope: Scope, sees: Sees, body: JsonBody) -> Reply {
    let decode = move || bodies::decode_conditional_get(&body.0);
    let answer =
        |database: &Database, scope: &Scope, (asked, token): (reads::GetBody, Option<SeqId>)| {
            let (fetched, token) = database.conditional_get(scope.get(), &asked.request, token)?;
            let include = &asked.include;
            Ok(bodies::write_conditional_get(&fetched, include, token))
        };
    read_once_visible(
        &app,
        scope,
        sees,
        decode,
        |(asked, _)| &mut asked.request.consistency,
        answer,
    )
    .await
}

pub(crate) async fn commit(
    State(app): State<App>,
    scope: Scope,
    _: HeldBack,
    body: JsonBody,
) -> Reply {
    let commit = move |database: &Database| {
        let records_max = database.limits().batch_records_max;
        let write = bodies::decode_conditional_commit(&body.0, records_max)?;
        database
            .conditional_commit(scope.get(), write)
            .map_err(bodies::conditional_error)
    };
    let written = app.write(commit).await?;
    Ok(Answer::json(bodies::write_conditional_commit(written)).telling(written))
}
