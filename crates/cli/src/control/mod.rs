//! `vermilion ctl`, and the tasks that can be run on a folder or behind a server.
//!
//! What must stay true: with `--json`, standard output is the server's own answer; a run that did
//! not succeed is a failure of the command.

mod client;
mod show;
mod top;
mod upkeep;

use serde_json::{Value, json};
use vermilion_protocol::ascii::encoded;

pub(crate) use show::table;
pub(crate) use upkeep::{backup, prune, rebuild, restore, vacuum};

use crate::arguments::{Ctl, CtlCommand, CtlRun};
use crate::console::{say, write};
use crate::failure::Failure;
use client::Client;

/// Runs `vermilion ctl`.
pub(crate) fn ctl(ctl: &Ctl) -> Result<(), Failure> {
    let client = Client::new(&ctl.url)?;
    match &ctl.what {
        CtlCommand::Status => {
            let status = client.get("/control/v1/status")?;
            tell(ctl, &status, || show::components(&status["components"]))
        }
        CtlCommand::Pause { name } => switch(ctl, &client, name, "pause"),
        CtlCommand::Resume { name } => switch(ctl, &client, name, "resume"),
        CtlCommand::Start { component } => {
            let path = format!("/control/v1/components/{}/start", encoded(component));
            let answer = client.post(&path, &json!({}))?;
            tell(ctl, &answer, || show::components(&json!([answer])))
        }
        CtlCommand::Stop { component, limit } => {
            end(ctl, &client, component, *limit, ("stop", "stopped"))
        }
        CtlCommand::Drain { component, limit } => {
            end(ctl, &client, component, *limit, ("drain", "drained"))
        }
        CtlCommand::Run(run) => run_job(ctl, &client, run),
        CtlCommand::Cancel { job } => {
            let path = format!("/control/v1/jobs/{}/cancel", encoded(job));
            let answer = client.post(&path, &json!({}))?;
            tell(ctl, &answer, || format!("{job} was asked to end\n"))
        }
        CtlCommand::Jobs => {
            let jobs = client.get("/control/v1/jobs")?;
            tell(ctl, &jobs, || show::jobs(&jobs))
        }
        CtlCommand::History { job, limit } => {
            let of_job = job.as_deref().map(|job| format!("&job={}", encoded(job)));
            let of_job = of_job.unwrap_or_default();
            let runs = client.get(&format!("/control/v1/history?limit={limit}{of_job}"))?;
            tell(ctl, &runs, || show::runs(&runs))
        }
        CtlCommand::Top { every, looks } => top::top(ctl, &client, *every, *looks),
    }
}

/// Prints an answer: as it is, or as `text` makes it readable.
fn tell(ctl: &Ctl, answer: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if ctl.json {
        return say(&pretty(answer));
    }
    write(text().as_bytes())
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value is always writable")
}

/// Pauses or resumes what is called `name`: a component, else a job.
fn switch(ctl: &Ctl, client: &Client, name: &str, how: &str) -> Result<(), Failure> {
    let kind = if is_component(client, name)? {
        "components"
    } else {
        "jobs"
    };
    let path = format!("/control/v1/{kind}/{}/{how}", encoded(name));
    let answer = client.post(&path, &json!({}))?;
    tell(ctl, &answer, || match kind {
        "components" => show::components(&json!([answer])),
        _ => show::jobs(&json!([answer])),
    })
}

/// Drains or stops a component (`how`: the route, and the member that tells whether it was done).
fn end(
    ctl: &Ctl,
    client: &Client,
    component: &str,
    limit: u64,
    how: (&str, &str),
) -> Result<(), Failure> {
    let path = format!("/control/v1/components/{}/{}", encoded(component), how.0);
    let answer = client.post(&path, &json!({"limit_ms": limit * 1000}))?;
    tell(ctl, &answer, || {
        show::components(&json!([answer["component"]]))
    })?;
    if answer[how.1] == true {
        return Ok(());
    }
    Err(
        Failure::new(format!("{component} was not done within {limit} seconds")).hint(
            "it takes nothing new and ends what it has begun; `vermilion ctl status` tells when",
        ),
    )
}

/// Whether the server has a component called `name`.
fn is_component(client: &Client, name: &str) -> Result<bool, Failure> {
    let status = client.get("/control/v1/status")?;
    let mut components = status["components"].as_array().into_iter().flatten();
    Ok(components.any(|one| one["component"] == name))
}

/// Has a component do at once what waits for it, and waits for the runs unless told otherwise.
fn run_component(ctl: &Ctl, client: &Client, name: &str, wait: bool) -> Result<(), Failure> {
    let path = format!("/control/v1/components/{}/run", encoded(name));
    let begun = client.post(&path, &json!({}))?;
    if !wait {
        return tell(ctl, &begun, || format!("{begun}\n"));
    }
    let mut runs = Vec::new();
    for one in begun.as_array().into_iter().flatten() {
        let job = one["job"].as_str().unwrap_or_default();
        runs.push(client.wait(job, &one["id"])?);
    }
    let runs = Value::Array(runs);
    tell(ctl, &runs, || show::runs(&runs))?;
    all_succeeded(&runs)
}

/// Fails where one of the runs did.
fn all_succeeded(runs: &Value) -> Result<(), Failure> {
    let mut outcomes = runs.as_array().into_iter().flatten();
    match outcomes.find(|run| run["outcome"] == "failed") {
        Some(failed) => succeeded(failed),
        None => Ok(()),
    }
}

fn run_job(ctl: &Ctl, client: &Client, run: &CtlRun) -> Result<(), Failure> {
    let Some(job) = run.job.as_deref().filter(|_| !run.due) else {
        let runs = run_due(client)?;
        tell(ctl, &runs, || show::runs(&runs))?;
        return all_succeeded(&runs);
    };
    let plain = !run.dry_run && run.collection.is_none();
    if plain && is_component(client, job)? {
        return run_component(ctl, client, job, !run.no_wait);
    }
    // Nothing said leaves it to what the job itself says.
    let arguments = match &run.collection {
        Some(collection) => json!({ "collection": collection }),
        None => Value::Null,
    };
    if run.no_wait {
        let begun = client.begin(job, run.dry_run, &arguments)?;
        let id = &begun["id"];
        return tell(ctl, &begun, || format!("run {id} of {job} has begun\n"));
    }
    let run = client.run(job, run.dry_run, &arguments)?;
    tell(ctl, &run, || show::run(&run))?;
    succeeded(&run)
}

/// Has the server run what is due, some at a time, until nothing is; answers the runs.
fn run_due(client: &Client) -> Result<Value, Failure> {
    let mut runs = Vec::new();
    loop {
        let begun = client.post("/control/v1/run-due", &json!({}))?;
        let begun = begun.as_array().cloned().unwrap_or_default();
        if begun.is_empty() {
            return Ok(Value::Array(runs));
        }
        for one in &begun {
            let job = one["job"].as_str().unwrap_or_default();
            runs.push(client.wait(job, &one["id"])?);
        }
    }
}

/// Fails where a run did.
fn succeeded(run: &Value) -> Result<(), Failure> {
    let text = |name: &str| run[name].as_str().unwrap_or_default().to_owned();
    match text("outcome").as_str() {
        "succeeded" => Ok(()),
        outcome => Err(Failure::new(format!(
            "the run of {} is {outcome}: {}",
            text("job"),
            run["message"].as_str().unwrap_or("it was asked to end")
        ))),
    }
}
