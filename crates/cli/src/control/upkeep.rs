//! `vermilion vacuum`, `rebuild` and `prune`: a task on a folder, or behind a server.
//!
//! What must stay true: both ways run the same task and tell the same report; a folder that is not
//! there is not made.

use serde_json::{Value, json};
use vermilion_engine::schedule::RunRequest;
use vermilion_protocol::ascii::encoded;

use super::client::Client;
use super::{pretty, show, succeeded};
use crate::arguments::{Rebuild, Upkeep};
use crate::console::{say, write};
use crate::failure::Failure;
use crate::folders::open_quietly;

/// Runs `vermilion vacuum`.
pub(crate) fn vacuum(upkeep: &Upkeep) -> Result<(), Failure> {
    run(upkeep, "catalog_vacuum", &Value::Null, None)
}

/// Runs `vermilion prune`.
pub(crate) fn prune(upkeep: &Upkeep) -> Result<(), Failure> {
    run(upkeep, "log_prune", &Value::Null, None)
}

/// Runs `vermilion rebuild`.
pub(crate) fn rebuild(rebuild: &Rebuild) -> Result<(), Failure> {
    let all = json!({"all": true});
    run(&rebuild.upkeep, "index_rebuild", &all, Some(rebuild))
}

/// Has the server make a backup in the destination that it knows by this name; answers what it
/// says of it.
pub(crate) fn backup(url: &str, destination: &str, full: bool) -> Result<Value, Failure> {
    let client = Client::new(url)?;
    let jobs = client.get("/control/v1/jobs")?;
    let mut jobs = jobs.as_array().into_iter().flatten();
    if !jobs.any(|job| job["name"] == "backup") {
        return Err(
            Failure::new(format!("{} makes no backups", client.server()))
                .hint("it needs the setting backup_folder"),
        );
    }
    let kind = if full { "full" } else { "incremental" };
    let arguments = json!({"destination": destination, "kind": kind});
    let run = client.run("backup", false, &arguments)?;
    succeeded(&run)?;
    Ok(run["report"].clone())
}

/// Has the server bring a collection of a backup back; answers what it says of it.
pub(crate) fn restore(url: &str, body: &Value) -> Result<Value, Failure> {
    Client::new(url)?.post_and_wait("/control/v1/restores", body)
}

/// Runs the job, on one collection where `of` names one.
fn run(upkeep: &Upkeep, job: &str, arguments: &Value, of: Option<&Rebuild>) -> Result<(), Failure> {
    let told = match &upkeep.url {
        Some(url) => {
            let client = Client::new(url)?;
            let arguments = match of.and_then(path_of) {
                Some(path) => json!({"collection": client.get(&path)?["id"]}),
                None => arguments.clone(),
            };
            client.run(job, upkeep.dry_run, &arguments)?
        }
        None => run_in_folder(upkeep, job, arguments, of)?,
    };
    if upkeep.json {
        say(&pretty(&told))?;
    } else {
        write(show::run(&told).as_bytes())?;
    }
    succeeded(&told)
}

/// Where a server tells of the collection.
fn path_of(rebuild: &Rebuild) -> Option<String> {
    let name = rebuild.collection.as_deref()?;
    Some(format!(
        "/api/v2/tenants/{}/databases/{}/collections/{}",
        encoded(&rebuild.tenant),
        encoded(&rebuild.database),
        encoded(name)
    ))
}

fn run_in_folder(
    upkeep: &Upkeep,
    job: &str,
    arguments: &Value,
    of: Option<&Rebuild>,
) -> Result<Value, Failure> {
    let database = open_quietly(&upkeep.path)?;
    let mut request = RunRequest {
        dry_run: upkeep.dry_run,
        arguments: arguments.clone(),
    };
    if let Some(of) = of
        && let Some(name) = &of.collection
    {
        let found = database.collection(&of.tenant, &of.database, name)?;
        request.arguments = json!({"collection": found.id.to_string()});
    }
    let run = database.jobs().run(job, request)?;
    database.close()?;
    serde_json::to_value(&run)
        .map_err(|error| Failure::new(format!("the run cannot be described: {error}")))
}
