//! Routes that tell what works for curation, and switch it.

use axum::extract::State;
use vermilion_curation::{Curation, Switch};

use super::curation::{At, Reply, read, write};
use crate::answer::Answer;
use crate::app::App;

pub(crate) async fn status(State(app): State<App>) -> Reply {
    Ok(Answer::value(&read(&app, Curation::status).await?))
}

/// Switches the component of the path.
async fn switch(app: App, at: At, switch: Switch) -> Reply {
    let change = move |curation: &Curation| curation.switch(&at.names.target, switch);
    Ok(Answer::value(&write(&app, change).await?))
}

pub(crate) async fn pause(State(app): State<App>, at: At) -> Reply {
    switch(app, at, Switch::Pause).await
}

pub(crate) async fn resume(State(app): State<App>, at: At) -> Reply {
    switch(app, at, Switch::Resume).await
}

pub(crate) async fn run(State(app): State<App>, at: At) -> Reply {
    switch(app, at, Switch::Run).await
}

pub(crate) async fn jobs(State(app): State<App>) -> Reply {
    Ok(Answer::value(&read(&app, Curation::curation_jobs).await?))
}

pub(crate) async fn cancel(State(app): State<App>, at: At) -> Reply {
    let cancel = move |curation: &Curation| curation.cancel_job(&at.names.target);
    Ok(Answer::value(&write(&app, cancel).await?))
}
