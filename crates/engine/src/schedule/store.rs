//! Jobs and runs between the planner's form and the catalogue's rows.

use super::job::StoredSpec;
use super::plan::{Retry, Times};
use super::{JobSpec, Moment, RunRecord};
use crate::catalog::{JobRow, JobRunRow};
use crate::{Error, Result};

/// The row of a job.
pub(super) fn job_row(spec: &JobSpec, times: Times) -> JobRow {
    let text = serde_json::to_string(&StoredSpec::of(spec));
    JobRow {
        name: spec.name.clone(),
        spec: text.expect("texts and numbers are always JSON"),
        paused: times.paused,
        next_at: times.next.map(|at| at.0),
        last_at: times.last.map(|at| at.0),
        retry_attempt: times.retry.map_or(0, |retry| retry.attempt),
        retry_at: times.retry.map(|retry| retry.at.0),
        retry_for: times.retry.map(|retry| retry.scheduled_for.0),
    }
}

/// The job in a row.
pub(super) fn job_of(row: &JobRow) -> Result<(JobSpec, Times)> {
    let stored: StoredSpec =
        serde_json::from_str(&row.spec).map_err(|cause| unreadable("job", &row.name, &cause))?;
    let spec = stored.restore(&row.name)?;
    let retry = match (row.retry_attempt, row.retry_at, row.retry_for) {
        (attempt @ 1.., Some(at), Some(scheduled_for)) => Some(Retry {
            attempt,
            at: Moment(at),
            scheduled_for: Moment(scheduled_for),
        }),
        _ => None,
    };
    let times = Times {
        next: row.next_at.map(Moment),
        last: row.last_at.map(Moment),
        retry,
        paused: row.paused,
    };
    Ok((spec, times))
}

/// The row of a run.
pub(super) fn run_row(run: &RunRecord) -> JobRunRow {
    JobRunRow {
        id: run.id,
        job: run.job.clone(),
        run: serde_json::to_string(run).expect("a run is always JSON"),
    }
}

/// The run in a row.
pub(super) fn run_of(row: &JobRunRow) -> Result<RunRecord> {
    serde_json::from_str(&row.run).map_err(|cause| unreadable("run of job", &row.job, &cause))
}

fn unreadable(what: &str, name: &str, cause: &serde_json::Error) -> Error {
    Error::new(
        crate::ErrorKind::Unsupported,
        format!("The {what} `{name}` is written in a way that this release does not know: {cause}"),
    )
}
