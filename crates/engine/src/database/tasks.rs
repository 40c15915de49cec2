//! What the database does for itself as jobs: the tasks, the jobs that come with the program, and
//! what each reports.
//!
//! What must stay true: a task does nothing that the threads of `maintenance` could not do at the
//! same moment; it asks between its steps whether to go on; a dry run changes nothing; ended half
//! way, it has done half and harmed nothing.

mod backup;
mod catalogue;
mod expiry;
mod log;
mod recall;
mod scrub;
mod segments;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Inner;
use crate::model::CollectionId;
use crate::schedule::{Check, JobSpec, Policy, Run, Scheduler, Trigger};
use crate::{Error, Result};

type TaskFunction = fn(&Inner, &Run<'_>) -> Result<Value>;

/// When a job of the program is due unless an operator changes it.
enum When {
    /// So often, and not at the same moment as others.
    Minutes(u64),
    /// So often, and to the second.
    Seconds(u64),
    /// By a cron expression, in UTC.
    Cron(&'static str),
}

/// The task, and the job, that make backups.
const BACKUP: &str = "backup";

/// Every task, when the job of its name is due, and what jobs may tell it.
const TASKS: &[(&str, When, TaskFunction, Check)] = &[
    ("expiry", When::Seconds(30), Inner::expire_records, nothing),
    ("log_sync", When::Minutes(60), Inner::sync_log, nothing),
    ("log_prune", When::Minutes(60), Inner::prune_log, nothing),
    (
        "segment_merge",
        When::Minutes(60),
        Inner::merge_segments,
        nothing,
    ),
    (
        "idle_unload",
        When::Minutes(10),
        Inner::unload_idle,
        nothing,
    ),
    (
        BACKUP,
        When::Cron("40 1 * * *"),
        Inner::make_backup,
        backup::check,
    ),
    (
        "recall_check",
        When::Minutes(10),
        Inner::check_recall,
        one_collection,
    ),
    (
        "index_rebuild",
        When::Cron("30 2 * * *"),
        Inner::rebuild_indexes,
        segments::check_rebuild,
    ),
    (
        "catalog_check",
        When::Cron("10 3 * * *"),
        Inner::check_catalog,
        nothing,
    ),
    (
        "orphan_sweep",
        When::Cron("20 3 * * *"),
        Inner::sweep_folders,
        nothing,
    ),
    (
        "catalog_vacuum",
        When::Cron("40 3 * * SUN"),
        Inner::vacuum_catalog,
        nothing,
    ),
    (
        "scrub",
        When::Cron("0 4 * * SUN"),
        Inner::scrub,
        one_collection,
    ),
];

/// Makes every task known to `jobs`, with the job that runs it; backups have one where there is a
/// place for them.
pub(super) fn bring(inner: &Arc<Inner>, jobs: &Scheduler) -> Result<()> {
    for (name, when, function, check) in TASKS {
        let (with, function) = (inner.clone(), *function);
        let task = Arc::new(move |run: &Run<'_>| function(&with, run));
        jobs.register_checked(name, task, *check);
        if *name == BACKUP && inner.config.backups.is_none() {
            jobs.withdraw(name);
            continue;
        }
        let trigger = match when {
            When::Seconds(seconds) => Trigger::interval(Duration::from_secs(*seconds))?,
            When::Minutes(minutes) => Trigger::interval(Duration::from_mins(*minutes))?,
            When::Cron(expression) => Trigger::cron(expression, "UTC")?,
        };
        let mut policy = Policy {
            jitter: Duration::from_mins(2),
            backoff: Duration::from_mins(1),
            ..Policy::default()
        };
        if let When::Seconds(seconds) = when {
            policy.jitter = Duration::ZERO;
            policy.backoff = Duration::from_secs(*seconds);
        }
        jobs.built_in(JobSpec::new(name, name, trigger, policy)?);
    }
    Ok(())
}

/// A report as JSON.
fn told(report: &impl Serialize) -> Result<Value> {
    serde_json::to_value(report)
        .map_err(|cause| Error::internal(format!("A report cannot be written: {cause}")))
}

/// A task that can be told nothing.
fn nothing(arguments: &Value) -> Result<()> {
    check_names(arguments, &[])
}

/// A task that can be told of a collection.
fn one_collection(arguments: &Value) -> Result<()> {
    check_names(arguments, &["collection"])?;
    collection_in(arguments).map(|_| ())
}

/// Fails where arguments are anything but null or an object with some of these members.
fn check_names(arguments: &Value, allowed: &[&str]) -> Result<()> {
    let members = match arguments {
        Value::Null => return Ok(()),
        Value::Object(members) => members,
        _ => return Err(Error::invalid("The arguments of a task are an object.")),
    };
    let strange = members
        .keys()
        .find(|name| !allowed.contains(&name.as_str()));
    let Some(strange) = strange else {
        return Ok(());
    };
    let takes = match allowed {
        [] => "it has none".to_owned(),
        allowed => format!("it has `{}`", allowed.join("`, `")),
    };
    Err(Error::invalid(format!(
        "The task has no argument `{strange}`: {takes}."
    )))
}

/// The collection that the one who asked for the run named by its id.
fn asked_collection(run: &Run<'_>) -> Result<Option<CollectionId>> {
    collection_in(run.arguments)
}

fn collection_in(arguments: &Value) -> Result<Option<CollectionId>> {
    let Some(said) = arguments.get("collection") else {
        return Ok(None);
    };
    let Some(text) = said.as_str() else {
        return Err(Error::invalid(format!(
            "The argument `collection` is {said}; it is the id of a collection, a text."
        )));
    };
    let id = uuid::Uuid::try_parse(text).map_err(|_| {
        Error::invalid(format!(
            "`{text}` is no id of a collection: it is a UUID, as `vermilion inspect` shows it."
        ))
    })?;
    Ok(Some(CollectionId(id)))
}
