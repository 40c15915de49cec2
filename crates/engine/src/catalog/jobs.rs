//! Jobs of the scheduler and their runs.
//!
//! What must stay true: the times of a job and the run that they come from change in one
//! transaction; of each job so many runs are kept as the caller says, the newest.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use super::fault::Result;
use super::tables::{Changes, Table};
use super::{Catalog, JobRow, JobRunRow};

impl Catalog {
    /// All jobs, by name.
    pub fn jobs(&self) -> crate::Result<Vec<JobRow>> {
        let rows =
            self.read(|connection| Table::Job.rows(connection, "ORDER BY name", [], job_of))?;
        Ok(rows.into_iter().map(|(_, job)| job).collect())
    }

    /// Stores jobs, each in the place of the one that has its name.
    pub fn put_jobs(&self, jobs: &[JobRow]) -> crate::Result<()> {
        self.write(|changes| jobs.iter().try_for_each(|job| put_job(changes, job)))
    }

    /// Forgets a job and its runs; whether there was one.
    pub fn remove_job(&self, name: &str) -> crate::Result<bool> {
        self.write(|changes| {
            let found = Table::Job.first(changes.connection, BY_NAME, [name], |_| Ok(()))?;
            let runs =
                Table::JobRun.rows(changes.connection, "WHERE job = ?1", [name], |_| Ok(()))?;
            for (place, ()) in found.into_iter().chain(runs) {
                changes.delete(place)?;
            }
            Ok(found.is_some())
        })
    }

    /// Stores a run, and the job's times after it where the job is still there. Runs of the job
    /// beyond the newest `kept` are forgotten.
    pub fn note_run(&self, job: Option<&JobRow>, run: &JobRunRow, kept: u32) -> crate::Result<()> {
        self.write(|changes| {
            if let Some(job) = job {
                put_job(changes, job)?;
            }
            let values = [
                ValueRef::Integer(run.id as i64),
                ValueRef::Text(run.job.as_bytes()),
                ValueRef::Text(run.run.as_bytes()),
            ];
            changes.insert(Table::JobRun, &values)?;
            let old = Table::JobRun.rows(
                changes.connection,
                "WHERE job = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2",
                params![run.job, kept],
                |_| Ok(()),
            )?;
            old.into_iter()
                .try_for_each(|(place, ())| changes.delete(place))
        })
    }

    /// The newest `limit` runs, newest first: of one job, or of all.
    pub fn job_runs(&self, job: Option<&str>, limit: u32) -> crate::Result<Vec<JobRunRow>> {
        let rows = self.read(|connection| match job {
            Some(job) => {
                let condition = "WHERE job = ?1 ORDER BY id DESC LIMIT ?2";
                Table::JobRun.rows(connection, condition, params![job, limit], run_of)
            }
            None => Table::JobRun.rows(connection, "ORDER BY id DESC LIMIT ?1", [limit], run_of),
        })?;
        Ok(rows.into_iter().map(|(_, run)| run).collect())
    }

    /// The number of the newest run; 0 where there was none.
    pub fn last_job_run(&self) -> crate::Result<u64> {
        let last = |connection: &Connection| {
            Table::JobRun.first(connection, "ORDER BY id DESC LIMIT 1", [], run_of)
        };
        Ok(self.read(last)?.map_or(0, |(_, run)| run.id))
    }
}

const BY_NAME: &str = "WHERE name = ?1";

fn put_job(changes: &mut Changes<'_>, job: &JobRow) -> Result<()> {
    let optional = |at: Option<i64>| at.map_or(ValueRef::Null, ValueRef::Integer);
    let values = [
        ValueRef::Text(job.name.as_bytes()),
        ValueRef::Text(job.spec.as_bytes()),
        ValueRef::Integer(job.paused.into()),
        optional(job.next_at),
        optional(job.last_at),
        ValueRef::Integer(job.retry_attempt.into()),
        optional(job.retry_at),
        optional(job.retry_for),
    ];
    match Table::Job.first(changes.connection, BY_NAME, [&job.name], |_| Ok(()))? {
        Some((place, ())) => changes.update(place, &values),
        None => changes.insert(Table::Job, &values),
    }
}

fn job_of(row: &Row<'_>) -> Result<JobRow> {
    Ok(JobRow {
        name: row.get(1)?,
        spec: row.get(2)?,
        paused: row.get::<_, i64>(3)? != 0,
        next_at: row.get(4)?,
        last_at: row.get(5)?,
        retry_attempt: row.get(6)?,
        retry_at: row.get(7)?,
        retry_for: row.get(8)?,
    })
}

fn run_of(row: &Row<'_>) -> Result<JobRunRow> {
    Ok(JobRunRow {
        id: row.get::<_, i64>(1)? as u64,
        job: row.get(2)?,
        run: row.get(3)?,
    })
}
