//! Routes that control the server: its components, its jobs and their history.
//!
//! What must stay true: they answer while the component `api` is paused, or nobody could resume it.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use vermilion_engine::Database;
use vermilion_engine::control::{Component, ComponentState};
use vermilion_engine::schedule::{BegunRun, JobSpec, Moment, RunRequest, Trigger};
use vermilion_protocol::{ApiError, control as bodies};

use crate::answer::{Answer, Reply};
use crate::app::App;
use crate::extract::{Asked, JsonBody, Names};

/// Runs that are answered unless the request says otherwise.
const RUNS: u32 = 20;
/// The most that are.
pub(crate) const RUNS_MAX: u32 = 1000;

pub(crate) async fn status(State(app): State<App>) -> Reply {
    let components = app.read(|database| Ok(database.components())).await?;
    let health = app.database.health();
    Ok(Answer::value(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "readable": health.readable,
        "writable": health.writable,
        "reason": health.reason,
        "components": components,
    })))
}

/// Runs `change` on the component that the path names; answers the component as it is then.
async fn switch(
    app: App,
    names: Names,
    change: impl FnOnce(&Database, Component) + Send + 'static,
) -> Reply {
    let component = Component::named(&names.target)?;
    let status = app.write(move |database| {
        change(database, component);
        Ok(database.component(component))
    });
    Ok(Answer::value(&status.await?))
}

pub(crate) async fn pause_component(State(app): State<App>, names: Names) -> Reply {
    switch(app, names, Database::pause).await
}

pub(crate) async fn resume_component(State(app): State<App>, names: Names) -> Reply {
    switch(app, names, Database::resume).await
}

pub(crate) async fn drain_component(State(app): State<App>, names: Names, body: JsonBody) -> Reply {
    let component = Component::named(&names.target)?;
    let limit = bodies::decode_limit(&body.0)?;
    let drain = move |database: &Database| {
        let drained = database.drain(component, limit)?;
        Ok(json!({"drained": drained, "component": database.component(component)}))
    };
    Ok(Answer::value(&app.write(drain).await?))
}

pub(crate) async fn stop_component(State(app): State<App>, names: Names, body: JsonBody) -> Reply {
    let component = Component::named(&names.target)?;
    let limit = bodies::decode_limit(&body.0)?;
    let stop = move |database: &Database| {
        let stopped = database.stop(component, limit);
        Ok(json!({"stopped": stopped, "component": database.component(component)}))
    };
    Ok(Answer::value(&app.write(stop).await?))
}

/// Has a component do at once what waits for it; answers the runs that this begins.
pub(crate) async fn run_component(State(app): State<App>, names: Names) -> Reply {
    let component = Component::named(&names.target)?;
    let run = move |database: &Database| {
        let jobs = database.jobs();
        if matches!(component, Component::Scheduler | Component::Maintenance) {
            return Ok(jobs.begin_due());
        }
        let Some(job) = component.job() else {
            return Err(ApiError::new(
                404,
                format!(
                    "The component `{component}` has no work of its own: it works when requests come. \
                 `indexing`, `index_builder`, `scheduler` and `maintenance` can be run."
                ),
            ));
        };
        let id = jobs.begin(job, RunRequest::default())?;
        let job = job.to_owned();
        Ok(vec![BegunRun { id, job }])
    };
    Ok(Answer::value(&app.write(run).await?))
}

pub(crate) async fn jobs(State(app): State<App>) -> Reply {
    let jobs = app.read(|database| Ok(database.jobs().jobs()?)).await?;
    Ok(Answer::value(&jobs))
}

pub(crate) async fn job(State(app): State<App>, names: Names) -> Reply {
    let look = move |database: &Database| Ok(database.jobs().job(&names.target)?);
    Ok(Answer::value(&app.read(look).await?))
}

pub(crate) async fn put_job(State(app): State<App>, names: Names, body: JsonBody) -> Reply {
    let body = bodies::decode_job(&body.0)?;
    let put = move |database: &Database| {
        let (jobs, name) = (database.jobs(), names.target);
        let now = Moment::of_nanoseconds(database.now_nanoseconds());
        let trigger = Trigger::from_text(&body.trigger, now)?;
        let task = body.task.as_deref().unwrap_or(&name);
        // What the body itself gets wrong has the status of all that bodies get wrong.
        jobs.check(task, &body.arguments)
            .map_err(|error| ApiError::unprocessable(error.message()))?;
        jobs.put(JobSpec::new(&name, task, trigger, body.policy)?.telling(body.arguments))?;
        Ok(jobs.job(&name)?)
    };
    Ok(Answer::value(&app.write(put).await?))
}

pub(crate) async fn delete_job(State(app): State<App>, names: Names) -> Reply {
    app.write(move |database| Ok(database.jobs().unschedule(&names.target)?))
        .await?;
    Ok(Answer::empty())
}

pub(crate) async fn pause_job(State(app): State<App>, names: Names) -> Reply {
    set_paused(app, names, true).await
}

pub(crate) async fn resume_job(State(app): State<App>, names: Names) -> Reply {
    set_paused(app, names, false).await
}

async fn set_paused(app: App, names: Names, paused: bool) -> Reply {
    let change = move |database: &Database| {
        database.jobs().pause_job(&names.target, paused)?;
        Ok(database.jobs().job(&names.target)?)
    };
    Ok(Answer::value(&app.write(change).await?))
}

pub(crate) async fn run_job(State(app): State<App>, names: Names, body: JsonBody) -> Reply {
    let body = bodies::decode_run(&body.0)?;
    if body.wait {
        let run =
            move |database: &Database| Ok(database.jobs().run(&names.target, body.request)?);
        return Ok(Answer::value(&app.write(run).await?));
    }
    let begin =
        move |database: &Database| Ok(database.jobs().begin(&names.target, body.request)?);
    let id = app.write(begin).await?;
    let begun = json!({ "id": id });
    Ok(Answer::with_status(StatusCode::ACCEPTED, begun.to_string()))
}

pub(crate) async fn begin_due_jobs(State(app): State<App>) -> Reply {
    let begun = app
        .write(|database| Ok(database.jobs().begin_due()))
        .await?;
    Ok(Answer::value(&begun))
}

pub(crate) async fn cancel_job(State(app): State<App>, names: Names) -> Reply {
    app.write(move |database| Ok(database.jobs().cancel(&names.target)?))
        .await?;
    Ok(Answer::empty())
}

/// Which runs are asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Runs {
    job: Option<String>,
    limit: Option<u32>,
}

pub(crate) async fn history(State(app): State<App>, Asked(asked): Asked<Runs>) -> Reply {
    let limit = asked.limit.unwrap_or(RUNS);
    if limit > RUNS_MAX {
        return Err(ApiError::validation("limit", format_args!("it is at most {RUNS_MAX}")).into());
    }
    let look =
        move |database: &Database| Ok(database.jobs().history(asked.job.as_deref(), limit)?);
    Ok(Answer::value(&app.read(look).await?))
}

/// Whether requests other than those of this file are taken.
pub(crate) fn takes_requests(database: &Database) -> bool {
    let state = database.component(Component::Api).state;
    !matches!(state, ComponentState::Paused | ComponentState::Draining)
}
