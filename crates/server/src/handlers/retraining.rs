//! Routes of retrainings and of their triggers.
//!
//! What must stay true: see `curation`, whose ways of reading requests and of refusing these are.

use axum::extract::State;
use axum::http::StatusCode;
use vermilion_curation::{Curation, Fire, Listed, Which, body};

use super::curation::{Asked, At, Json, Reply, read, write};
use crate::answer::Answer;
use crate::app::App;

pub(crate) async fn fire(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let fire = move |curation: &Curation| {
        let asked: Fire = body::decode(&bytes)?;
        curation.fire(&at.place, &at.names.collection, &asked)
    };
    let (told, is_begun) = write(&app, fire).await?;
    if !is_begun {
        return Ok(Answer::value(&told));
    }
    let told = serde_json::to_vec(&told).expect("answers have string keys only");
    Ok(Answer::with_status(StatusCode::CREATED, told))
}

pub(crate) async fn list(State(app): State<App>, at: At, Asked(which): Asked<Which>) -> Reply {
    let list =
        move |curation: &Curation| curation.retrainings(&at.place, &at.names.collection, &which);
    Ok(Answer::value(&read(&app, list).await?))
}

pub(crate) async fn get(State(app): State<App>, at: At) -> Reply {
    let look = move |curation: &Curation| curation.retraining(&at.place, &at.names.target);
    Ok(Answer::value(&read(&app, look).await?))
}

pub(crate) async fn overrides(
    State(app): State<App>,
    at: At,
    Asked(asked): Asked<Listed>,
) -> Reply {
    let look =
        move |curation: &Curation| curation.label_overrides(&at.place, &at.names.target, asked);
    Ok(Answer::value(&read(&app, look).await?))
}

pub(crate) async fn claim(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let claim = move |curation: &Curation| {
        curation.claim(&at.place, &at.names.target, &body::decode(&bytes)?)
    };
    Ok(Answer::value(&write(&app, claim).await?))
}

pub(crate) async fn claim_next(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let claim = move |curation: &Curation| {
        curation.claim_next(&at.place, &at.names.collection, &body::decode(&bytes)?)
    };
    Ok(Answer::value(&write(&app, claim).await?))
}

pub(crate) async fn heartbeat(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let go_on = move |curation: &Curation| {
        curation.heartbeat(&at.place, &at.names.target, &body::decode(&bytes)?)
    };
    Ok(Answer::value(&write(&app, go_on).await?))
}

pub(crate) async fn complete(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let complete = move |curation: &Curation| {
        curation.complete(&at.place, &at.names.target, &body::decode(&bytes)?)
    };
    Ok(Answer::value(&write(&app, complete).await?))
}

pub(crate) async fn fail(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let fail = move |curation: &Curation| {
        curation.fail(&at.place, &at.names.target, &body::decode(&bytes)?)
    };
    Ok(Answer::value(&write(&app, fail).await?))
}

pub(crate) async fn cancel(State(app): State<App>, at: At) -> Reply {
    let cancel = move |curation: &Curation| curation.cancel_retraining(&at.place, &at.names.target);
    Ok(Answer::value(&write(&app, cancel).await?))
}

pub(crate) async fn add_trigger(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let add = move |curation: &Curation| {
        curation.add_trigger(&at.place, &at.names.collection, &body::decode(&bytes)?)
    };
    let told = write(&app, add).await?;
    let told = serde_json::to_vec(&told).expect("answers have string keys only");
    Ok(Answer::with_status(StatusCode::CREATED, told))
}

pub(crate) async fn list_triggers(
    State(app): State<App>,
    at: At,
    Asked(asked): Asked<Listed>,
) -> Reply {
    let list = move |curation: &Curation| curation.triggers(&at.place, &at.names.collection, asked);
    Ok(Answer::value(&read(&app, list).await?))
}

pub(crate) async fn get_trigger(State(app): State<App>, at: At) -> Reply {
    let look = move |curation: &Curation| {
        curation.trigger(&at.place, &at.names.collection, &at.names.target)
    };
    Ok(Answer::value(&read(&app, look).await?))
}

pub(crate) async fn delete_trigger(State(app): State<App>, at: At) -> Reply {
    let delete = move |curation: &Curation| {
        curation.delete_trigger(&at.place, &at.names.collection, &at.names.target)
    };
    write(&app, delete).await?;
    Ok(Answer::empty())
}
