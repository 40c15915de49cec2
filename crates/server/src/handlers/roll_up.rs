//! Routes that have a space rolled up to files, and give these.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use vermilion_curation::{AskedFiles, Curation, KeptFile};

use super::curation::{Asked, At, Refused, Reply, read, write};
use crate::answer::Answer;
use crate::app::App;

pub(crate) async fn get(State(app): State<App>, at: At, Asked(asked): Asked<AskedFiles>) -> Reply {
    let look =
        move |curation: &Curation| curation.rolled_up(&at.place, &at.names.collection, &asked);
    Ok(Answer::value(&read(&app, look).await?))
}

pub(crate) async fn put(State(app): State<App>, at: At) -> Reply {
    let begin = move |curation: &Curation| curation.begin_roll_up(&at.place, &at.names.collection);
    Ok(Answer::value(&write(&app, begin).await?))
}

pub(crate) async fn delete(State(app): State<App>, at: At) -> Reply {
    let end = move |curation: &Curation| curation.end_roll_up(&at.place, &at.names.collection);
    Ok(Answer::value(&write(&app, end).await?))
}

pub(crate) async fn file(State(app): State<App>, at: At) -> Result<Response, Refused> {
    let look = move |curation: &Curation| {
        curation.rolled_up_file(&at.place, &at.names.collection, &at.names.target)
    };
    Ok(download(read(&app, look).await?))
}

/// A file that is kept with a space.
pub(super) fn download(file: KeptFile) -> Response {
    let name = format!("attachment; filename=\"{}\"", file.name);
    let head = [
        (CONTENT_TYPE, file.media_type.to_owned()),
        (CONTENT_DISPOSITION, name),
    ];
    (head, Body::from(file.bytes)).into_response()
}
