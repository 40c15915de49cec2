//! The scheduler: keeps jobs in the catalogue, begins those that are due, and notes how they ended.
//!
//! What must stay true: the lock of the state is never held while a task runs or the catalogue is
//! written; `order` is, so that what is stored and what is planned change in the same order, and it
//! is taken before the state. Every thread has a name and is joined by [`Scheduler::stop`]. What
//! goes on in those threads is in `runner`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};
use serde::Serialize;
use serde_json::Value;

use super::plan::{Planned, Times, no_job};
use super::runner::{RUNS_KEPT, Shared, State};
use super::store::{job_of, job_row, run_of};
use super::task::{Check, Pace, Task};
use super::{JobCounts, JobSpec, JobStatus, Moment, Policy, RunRecord, Trigger};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::{Error, ErrorKind, Result};

/// What a run is asked to do.
#[derive(Clone, Debug, Default)]
pub struct RunRequest {
    /// Only tell what would be done.
    pub dry_run: bool,
    /// What the task is told, as JSON; null tells it what the job says.
    pub arguments: Value,
}

/// A run that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BegunRun {
    /// Its number.
    pub id: u64,
    /// The job.
    pub job: String,
}

/// What the scheduler does as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchedulerStatus {
    /// Runs that are under way.
    pub running: usize,
    /// Jobs that are due and have not begun.
    pub due: usize,
    /// How long the longest of them has waited.
    pub behind: Duration,
    /// The last failure of a run, with its time, or of the scheduler itself, where nothing of the kind
    /// has gone well since.
    pub last_error: Option<String>,
}

/// Runs jobs. All methods can be called from any thread.
pub struct Scheduler {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Scheduler {
    /// A scheduler with the jobs of `catalog`; it begins nothing by itself until [`Self::start`].
    pub fn open(catalog: Arc<Catalog>, clock: Arc<dyn Clock>, pace: Pace) -> Result<Self> {
        let mut state = State {
            last_run: catalog.last_job_run()?,
            ..State::default()
        };
        for row in catalog.jobs()? {
            match job_of(&row) {
                Ok((spec, times)) => {
                    state.planner.restore(spec, times);
                    let runs = catalog.job_runs(Some(&row.name), RUNS_KEPT);
                    let runs = runs.unwrap_or_else(|error| {
                        let job = &row.name;
                        tracing::warn!(job, %error, "how its last runs ended cannot be read");
                        Vec::new()
                    });
                    state.take_history(runs.iter().filter_map(|run| run_of(run).ok()));
                }
                // The row stays as it is: the release that wrote it can run it.
                Err(error) => tracing::warn!(job = row.name, %error, "a job is passed over"),
            }
        }
        let shared = Shared {
            catalog,
            clock,
            pace,
            tasks: RwLock::default(),
            order: Mutex::new(()),
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            thread: Mutex::new(None),
        })
    }

    /// Makes a task known under a name that jobs can use.
    pub fn register(&self, name: &str, task: Task) {
        self.register_checked(name, task, |_| Ok(()));
    }

    /// The same of a task for which `check` looks over what jobs are to tell it.
    pub fn register_checked(&self, name: &str, task: Task, check: Check) {
        self.shared
            .tasks
            .write()
            .insert(name.to_owned(), (task, check));
    }

    /// Fails where a job may not tell `task` this.
    pub fn check(&self, task: &str, arguments: &Value) -> Result<()> {
        self.shared.check(task, arguments)
    }

    /// Brings a job of the program. One that an operator has changed stays as they made it.
    pub fn built_in(&self, mut spec: JobSpec) {
        spec.built_in = true;
        let now = self.shared.now();
        let mut state = self.shared.state.lock();
        match state.planner.job(&spec.name) {
            Some(known) if !known.spec.built_in => {}
            Some(known) if known.spec.trigger.text() == spec.trigger.text() => {
                let times = known.times;
                state.planner.restore(spec, times);
            }
            _ => {
                state.unsaved.push(spec.name.clone());
                state.planner.add(spec, now);
                // Stored by the thread, which may have begun already.
                self.shared.changed.notify_all();
            }
        }
    }

    /// Leaves out a job that the program brought before and does not bring now. Its row stays, for
    /// when it comes back.
    pub fn withdraw(&self, name: &str) {
        let mut state = self.shared.state.lock();
        if state
            .planner
            .job(name)
            .is_some_and(|known| known.spec.built_in)
        {
            state.planner.remove(name);
            state.failures.remove(name);
        }
    }

    /// Begins due jobs by itself from now on, on a thread of its own.
    pub fn start(&self) -> Result<()> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new()
            .name("vermilion-schedule".to_owned())
            .spawn(move || shared.run_loop())
            .map_err(|cause| Error::internal(format!("cannot start the scheduler: {cause}")))?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Has `task` run every `every`.
    pub fn schedule_interval(
        &self,
        job: &str,
        task: &str,
        every: Duration,
        policy: Policy,
    ) -> Result<()> {
        self.schedule(job, task, Trigger::interval(every)?, policy)
    }

    /// Has `task` run by a cron expression in an IANA time zone.
    pub fn schedule_cron(
        &self,
        job: &str,
        task: &str,
        expression: &str,
        time_zone: &str,
        policy: Policy,
    ) -> Result<()> {
        self.schedule(job, task, Trigger::cron(expression, time_zone)?, policy)
    }

    /// Has `task` run once, after `delay` or at `at`; one of the two must be given.
    pub fn schedule_once(
        &self,
        job: &str,
        task: &str,
        delay: Option<Duration>,
        at: Option<Moment>,
        policy: Policy,
    ) -> Result<()> {
        let trigger = Trigger::once(delay, at, self.shared.now())?;
        self.schedule(job, task, trigger, policy)
    }

    /// Has `task` run as `trigger` says. A job of that name is changed.
    pub fn schedule(&self, job: &str, task: &str, trigger: Trigger, policy: Policy) -> Result<()> {
        self.put(JobSpec::new(job, task, trigger, policy)?)
    }

    /// Takes a job in. One of that name is changed, and stays paused where it is. A job that is called
    /// like a task runs that task: nobody would look for another behind the name.
    pub fn put(&self, spec: JobSpec) -> Result<()> {
        let shared = &self.shared;
        if !shared.tasks.read().contains_key(&spec.task) {
            return Err(shared.no_task(&spec.task));
        }
        shared.check(&spec.task, &spec.arguments)?;
        if spec.task != spec.name && shared.tasks.read().contains_key(&spec.name) {
            return Err(Error::invalid(format!(
                "The job `{0}` runs the task `{0}` and no other; give a job for the task `{1}` \
                 another name.",
                spec.name, spec.task
            )));
        }
        let _order = shared.order.lock();
        let paused = {
            let state = shared.state.lock();
            let known = state.planner.job(&spec.name);
            known.is_some_and(|known| known.times.paused)
        };
        let times = Times {
            next: spec.trigger.first(shared.now()),
            paused,
            ..Times::default()
        };
        shared.catalog.put_jobs(&[job_row(&spec, times)])?;
        shared.state.lock().planner.restore(spec, times);
        shared.changed.notify_all();
        Ok(())
    }

    /// Forgets a job and its history. One that the program brings comes back with its defaults at
    /// the next start. A run of it goes on to its end.
    pub fn unschedule(&self, job: &str) -> Result<()> {
        let shared = &self.shared;
        let _order = shared.order.lock();
        if shared.state.lock().planner.job(job).is_none() {
            return Err(no_job(job));
        }
        shared.catalog.remove_job(job)?;
        let mut state = shared.state.lock();
        state.planner.remove(job);
        state.unsaved.retain(|name| name != job);
        state.unnoted.retain(|one| one.run.job != job);
        state.failures.remove(job);
        Ok(())
    }

    /// Keeps a job from running by itself, or lets it again; also after a restart.
    pub fn pause_job(&self, job: &str, paused: bool) -> Result<()> {
        let shared = &self.shared;
        let _order = shared.order.lock();
        let row = {
            let state = shared.state.lock();
            let known = state.planner.job(job).ok_or_else(|| no_job(job))?;
            let times = Times {
                paused,
                ..known.times
            };
            job_row(&known.spec, times)
        };
        shared.catalog.put_jobs(&[row])?;
        shared.state.lock().planner.pause(job, paused);
        shared.changed.notify_all();
        Ok(())
    }

    /// All jobs, by name.
    pub fn jobs(&self) -> Result<Vec<JobStatus>> {
        let mut jobs: Vec<JobStatus> = {
            let state = self.shared.state.lock();
            state.planner.jobs().map(status_of).collect()
        };
        for job in &mut jobs {
            job.last_run = self.runs(Some(&job.name), 1)?.pop();
        }
        Ok(jobs)
    }

    /// A job by name.
    pub fn job(&self, name: &str) -> Result<JobStatus> {
        let mut job = {
            let state = self.shared.state.lock();
            state
                .planner
                .job(name)
                .map(status_of)
                .ok_or_else(|| no_job(name))?
        };
        job.last_run = self.runs(Some(name), 1)?.pop();
        Ok(job)
    }

    /// The newest runs, newest first: of one job, or of all.
    pub fn history(&self, job: Option<&str>, limit: u32) -> Result<Vec<RunRecord>> {
        if let Some(job) = job
            && self.shared.state.lock().planner.job(job).is_none()
        {
            return Err(no_job(job));
        }
        self.runs(job, limit)
    }

    /// The newest runs, also those that the catalogue does not have yet.
    fn runs(&self, job: Option<&str>, limit: u32) -> Result<Vec<RunRecord>> {
        // Looked at before the catalogue: what is noted between the two looks is in both.
        let late: Vec<RunRecord> = {
            let state = self.shared.state.lock();
            let runs = state.unnoted.iter().map(|one| &one.run);
            let of_job = runs.filter(|run| job.is_none_or(|job| run.job == job));
            of_job.cloned().collect()
        };
        let rows = self.shared.catalog.job_runs(job, limit)?;
        let mut runs: Vec<RunRecord> = rows.iter().map(run_of).collect::<Result<_>>()?;
        runs.extend(late);
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        runs.dedup_by_key(|run| run.id);
        runs.truncate(limit as usize);
        Ok(runs)
    }

    /// Runs a job now, waits for its end, and answers how it went.
    pub fn run(&self, job: &str, request: RunRequest) -> Result<RunRecord> {
        let begun = self.shared.begin(job, request)?;
        Ok(self.shared.execute_apart(&begun))
    }

    /// Begins a run of a job on a thread of its own; answers its number.
    pub fn begin(&self, job: &str, request: RunRequest) -> Result<u64> {
        let begun = self.shared.begin(job, request)?;
        let id = begun.id;
        self.shared.spawn(begun);
        Ok(id)
    }

    /// Runs every job that is due, one after the other, on the calling thread. For an owner who
    /// does not call [`Self::start`].
    pub fn run_due(&self) -> Vec<RunRecord> {
        self.shared.save_new_jobs();
        let mut runs = Vec::new();
        loop {
            let due = self.shared.take_due(1);
            if due.is_empty() {
                return runs;
            }
            runs.extend(due.into_iter().map(|begun| self.shared.execute(&begun)));
        }
    }

    /// Begins jobs that are due, each on a thread of its own, as many as may run at once; answers
    /// them with the numbers of their runs. For an owner who does not call [`Self::start`].
    pub fn begin_due(&self) -> Vec<BegunRun> {
        self.shared.save_new_jobs();
        let mut runs = Vec::new();
        for begun in self.shared.take_due(self.shared.room()) {
            runs.push(BegunRun {
                id: begun.id,
                job: begun.start.job.clone(),
            });
            self.shared.spawn(begun);
        }
        runs
    }

    /// Asks the run of a job to end.
    pub fn cancel(&self, job: &str) -> Result<()> {
        let state = self.shared.state.lock();
        if let Some(cancelled) = state.live.get(job) {
            cancelled.store(true, Ordering::SeqCst);
            return Ok(());
        }
        if state.planner.job(job).is_none() {
            return Err(no_job(job));
        }
        let message = format!("The job `{job}` does not run, so there is nothing to cancel.");
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Asks every run to end.
    pub fn cancel_all(&self) {
        let state = self.shared.state.lock();
        let live = state.live.values();
        live.for_each(|cancelled| cancelled.store(true, Ordering::SeqCst));
    }

    /// Begins nothing by itself, or does again.
    pub fn set_paused(&self, paused: bool) {
        self.shared.state.lock().paused = paused;
        self.shared.changed.notify_all();
    }

    /// Begins nothing at all, or does again.
    pub fn set_closed(&self, closed: bool) {
        self.shared.state.lock().closed = closed;
        self.shared.changed.notify_all();
    }

    /// Waits until no run is under way; whether that came within `limit`.
    pub fn wait_idle(&self, limit: Duration) -> bool {
        let mut state = self.shared.state.lock();
        let deadline = self.shared.clock.monotonic() + limit;
        while !state.live.is_empty() {
            let left = deadline.saturating_sub(self.shared.clock.monotonic());
            if left.is_zero() || self.shared.changed.wait_for(&mut state, left).timed_out() {
                return state.live.is_empty();
            }
        }
        true
    }

    /// How the runs of each job ended since the start, by name.
    pub fn counts(&self) -> Vec<JobCounts> {
        let state = self.shared.state.lock();
        let of = |job: &Planned| {
            let name = &job.spec.name;
            let known = state.counts.get(name).cloned().unwrap_or_default();
            JobCounts {
                job: name.clone(),
                ..known
            }
        };
        state.planner.jobs().map(of).collect()
    }

    /// What the scheduler does as a whole.
    pub fn status(&self) -> SchedulerStatus {
        let now = self.shared.now();
        let state = self.shared.state.lock();
        let waiting = state.planner.waiting(now);
        SchedulerStatus {
            running: state.live.len(),
            due: waiting.len(),
            behind: waiting.into_iter().max().unwrap_or_default(),
            last_error: state.last_error(),
        }
    }

    /// Cancels what runs and waits for it; nothing begins any more. Idempotent.
    pub fn stop(&self) {
        {
            let mut state = self.shared.state.lock();
            state.stopping = true;
            state.closed = true;
        }
        self.cancel_all();
        self.shared.changed.notify_all();
        let main = self.thread.lock().take();
        // No run begins once the thread that begins them has ended.
        main.into_iter().for_each(join);
        let runs = std::mem::take(&mut self.shared.state.lock().threads);
        runs.into_iter().for_each(join);
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A panic was reported by the thread itself.
fn join(thread: JoinHandle<()>) {
    let _ = thread.join();
}

fn status_of(job: &Planned) -> JobStatus {
    JobStatus {
        name: job.spec.name.clone(),
        task: job.spec.task.clone(),
        trigger: job.spec.trigger.text(),
        policy: job.spec.policy.clone(),
        arguments: job.spec.arguments.clone(),
        built_in: job.spec.built_in,
        paused: job.times.paused,
        running: job.running.is_some(),
        running_since: job.running.as_ref().map(|start| start.started),
        next: job.times.next.map(|next| job.start_of(next)),
        retry_at: job.times.retry.map(|retry| retry.at),
        last_run: None,
    }
}
