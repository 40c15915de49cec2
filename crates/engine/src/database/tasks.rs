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
use crate::schedule::{JobSpec, Policy, Run, Scheduler, Trigger};
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

/// Every task, and when the job of its name is due.
const TASKS: &[(&str, When, TaskFunction)] = &[
    ("expiry", When::Seconds(30), Inner::expire_records),
    ("log_sync", When::Minutes(60), Inner::sync_log),
    ("log_prune", When::Minutes(60), Inner::prune_log),
    ("segment_merge", When::Minutes(60), Inner::merge_segments),
    ("idle_unload", When::Minutes(10), Inner::unload_idle),
    (BACKUP, When::Cron("40 1 * * *"), Inner::make_backup),
    ("recall_check", When::Minutes(10), Inner::check_recall),
    (
        "index_rebuild",
        When::Cron("30 2 * * *"),
        Inner::rebuild_indexes,
    ),
    (
        "catalog_check",
        When::Cron("10 3 * * *"),
        Inner::check_catalog,
    ),
    (
        "orphan_sweep",
        When::Cron("20 3 * * *"),
        Inner::sweep_folders,
    ),
    (
        "catalog_vacuum",
        When::Cron("40 3 * * SUN"),
        Inner::vacuum_catalog,
    ),
    ("scrub", When::Cron("0 4 * * SUN"), Inner::scrub),
];

/// Makes every task known to `jobs`, with the job that runs it; backups have one where there is a
/// place for them.
pub(super) fn bring(inner: &Arc<Inner>, jobs: &Scheduler) -> Result<()> {
    for (name, when, function) in TASKS {
        let (with, function) = (inner.clone(), *function);
        jobs.register(name, Arc::new(move |run| function(&with, run)));
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

/// The collection that the one who asked for the run named by its id.
fn asked_collection(run: &Run<'_>) -> Result<Option<CollectionId>> {
    let Some(text) = run.argument("collection") else {
        return Ok(None);
    };
    let id = uuid::Uuid::try_parse(text).map_err(|_| {
        Error::invalid(format!(
            "`{text}` is no id of a collection: it is a UUID, as `vermilion inspect` shows it."
        ))
    })?;
    Ok(Some(CollectionId(id)))
}
