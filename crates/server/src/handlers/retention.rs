//! Routes that say how long what is in a space stays, and give what was put away.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use vermilion_curation::{AskedCold, Curation, body};

use super::curation::{Asked, At, Json, Refused, Reply, read, write};
use super::roll_up::download;
use crate::answer::Answer;
use crate::app::App;

pub(crate) async fn get(State(app): State<App>, at: At) -> Reply {
    let look = move |curation: &Curation| curation.retention(&at.place, &at.names.collection);
    Ok(Answer::value(&read(&app, look).await?))
}

pub(crate) async fn put(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let set = move |curation: &Curation| {
        let kept = body::decode(&bytes)?;
        curation.set_retention(&at.place, &at.names.collection, Some(kept))
    };
    Ok(Answer::value(&write(&app, set).await?))
}

pub(crate) async fn delete(State(app): State<App>, at: At) -> Reply {
    let forget =
        move |curation: &Curation| curation.set_retention(&at.place, &at.names.collection, None);
    Ok(Answer::value(&write(&app, forget).await?))
}

/// What is asked of an expiry.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedExpiry {
    #[serde(default)]
    dry_run: bool,
}

pub(crate) async fn expire(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let expire = move |curation: &Curation| {
        let asked: AskedExpiry = body::decode(&bytes)?;
        curation.expire(&at.place, &at.names.collection, asked.dry_run)
    };
    Ok(Answer::value(&write(&app, expire).await?))
}

pub(crate) async fn delete_dataset(State(app): State<App>, at: At) -> Reply {
    let delete = move |curation: &Curation| {
        curation.delete_dataset(&at.place, &at.names.collection, &at.names.target)
    };
    Ok(Answer::value(&write(&app, delete).await?))
}

pub(crate) async fn cold_files(
    State(app): State<App>,
    at: At,
    Asked(asked): Asked<AskedCold>,
) -> Reply {
    let look =
        move |curation: &Curation| curation.cold_files(&at.place, &at.names.collection, &asked);
    Ok(Answer::value(&read(&app, look).await?))
}

pub(crate) async fn cold_file(State(app): State<App>, at: At) -> Result<Response, Refused> {
    let look = move |curation: &Curation| {
        curation.cold_file(&at.place, &at.names.collection, &at.names.target)
    };
    Ok(download(read(&app, look).await?))
}

pub(crate) async fn delete_cold_file(State(app): State<App>, at: At) -> Reply {
    let delete = move |curation: &Curation| {
        curation.delete_cold_file(&at.place, &at.names.collection, &at.names.target)
    };
    write(&app, delete).await?;
    Ok(Answer::empty())
}
