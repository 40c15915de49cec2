//! Routes about records. Bodies are decoded and answers written where work may block, since both
//! can take long.

use axum::extract::State;
use axum::http::StatusCode;
use vermilion_engine::Database;
use vermilion_engine::model::{Consistency, Operation, SeqRange};
use vermilion_protocol::{answers, arrow, reads, records, search, survey};

use crate::answer::{Answer, Reply};
use crate::app::App;
use crate::blocking::once_read;
use crate::extract::{JsonBody, RecordsBody, Scope};
use crate::media::{AnswerForm, Form};
use crate::pace::{HeldBack, Sees, read_once_visible};

/// Bodies of so many bytes are decoded in their turn: see [`crate::blocking`].
const LARGE_BODY_BYTES: usize = 128 << 10;

pub(crate) async fn add(
    State(app): State<App>,
    scope: Scope,
    _: HeldBack,
    body: RecordsBody,
) -> Reply {
    write(&app, scope, body, Operation::Add, StatusCode::CREATED).await
}

pub(crate) async fn upsert(
    State(app): State<App>,
    scope: Scope,
    _: HeldBack,
    body: RecordsBody,
) -> Reply {
    write(&app, scope, body, Operation::Upsert, StatusCode::OK).await
}

pub(crate) async fn update(
    State(app): State<App>,
    scope: Scope,
    _: HeldBack,
    body: RecordsBody,
) -> Reply {
    write(&app, scope, body, Operation::Update, StatusCode::OK).await
}

async fn write(
    app: &App,
    scope: Scope,
    body: RecordsBody,
    operation: Operation,
    status: StatusCode,
) -> Reply {
    let limits = arrow::Limits {
        records_max: app.database.limits().batch_records_max,
        bytes_max: app.config.body_bytes_max,
    };
    let is_large = body.content.len() >= LARGE_BODY_BYTES;
    let decode = move || {
        let bytes = body.content.into_bytes();
        match body.form {
            Form::Json => records::decode(&bytes, operation, limits.records_max),
            Form::Arrow => arrow::decode(bytes, operation, limits),
        }
    };
    let seqs: SeqRange = if is_large {
        let batch = app.decode(decode).await?;
        app.write(move |database| Ok(database.write_at_once(scope.get(), batch)?))
            .await?
    } else {
        app.write(move |database| Ok(database.write_at_once(scope.get(), decode()?)?))
            .await?
    };
    let seqs = Some(seqs).filter(|seqs| seqs.count() > 0);
    Ok(Answer::with_status(status, answers::write_written(seqs)).telling(seqs))
}

pub(crate) async fn delete(
    State(app): State<App>,
    scope: Scope,
    _: HeldBack,
    body: JsonBody,
) -> Reply {
    let limit = app.config.read_timeout;
    let delete = move |database: &Database| {
        let request = reads::decode_delete(&body.0)?;
        once_read(limit, || Ok(database.delete(scope.get(), &request)?))
    };
    let deleted = app.write(delete).await?;
    Ok(Answer::json(answers::write_deleted(&deleted)).telling(deleted.seqs))
}

pub(crate) async fn get(
    State(app): State<App>,
    scope: Scope,
    sees: Sees,
    AnswerForm(form): AnswerForm,
    body: JsonBody,
) -> Reply {
    let decode = move || Ok((reads::decode_get(&body.0)?, form));
    let answer = |database: &Database, scope: &Scope, (asked, form): (reads::GetBody, Form)| {
        let (request, survey) = (&asked.request, &asked.survey);
        let (fetched, found) = if survey.is_empty() {
            (database.get(scope.get(), request)?, Vec::new())
        } else {
            database.survey(scope.get(), request, survey)?
        };
        Ok(match form {
            Form::Json => survey::write_surveyed(&fetched, &asked.include, survey, &found).into(),
            Form::Arrow => Answer::arrow(arrow::write_fetched(fetched, survey, &found)?),
        })
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

pub(crate) async fn query(
    State(app): State<App>,
    scope: Scope,
    sees: Sees,
    AnswerForm(form): AnswerForm,
    body: JsonBody,
) -> Reply {
    let decode = move || Ok((reads::decode_query(&body.0)?, form));
    let answer = |database: &Database, scope: &Scope, (asked, form): (reads::QueryBody, Form)| {
        let nearest = database.query(scope.get(), &asked.request)?;
        let distances = asked.request.include.distances;
        Ok(match form {
            Form::Json => answers::write_nearest(&nearest, &asked.include).into(),
            Form::Arrow => Answer::arrow(arrow::write_nearest(nearest, distances)?),
        })
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

pub(crate) async fn count(State(app): State<App>, scope: Scope, sees: Sees) -> Reply {
    let decode = || Ok(Consistency::default());
    let answer = |database: &Database, scope: &Scope, consistency: Consistency| {
        let count = database.count_seeing(scope.get(), consistency)?;
        Ok(count.to_string())
    };
    read_once_visible(&app, scope, sees, decode, |asked| asked, answer).await
}

/// Counts the records that a body selects.
pub(crate) async fn count_selected(
    State(app): State<App>,
    scope: Scope,
    sees: Sees,
    body: JsonBody,
) -> Reply {
    let decode = move || reads::decode_count(&body.0);
    let answer = |database: &Database, scope: &Scope, asked: reads::CountBody| {
        let count = database.count_selected(scope.get(), &asked.selection, asked.consistency)?;
        Ok(count.to_string())
    };
    read_once_visible(
        &app,
        scope,
        sees,
        decode,
        |asked| &mut asked.consistency,
        answer,
    )
    .await
}

pub(crate) async fn search(
    State(app): State<App>,
    scope: Scope,
    sees: Sees,
    AnswerForm(form): AnswerForm,
    body: JsonBody,
) -> Reply {
    let decode = move || Ok((search::decode_search(&body.0)?, form));
    let answer = |database: &Database, scope: &Scope, (asked, form): (search::SearchBody, Form)| {
        let found = database.search(scope.get(), &asked.request)?;
        let searches = &asked.request.searches;
        Ok(match form {
            Form::Json => answers::write_found(&found, searches, &asked.selected).into(),
            Form::Arrow => Answer::arrow(arrow::write_found(found, searches)?),
        })
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
