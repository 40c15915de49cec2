//! The scheduler: keeps jobs in the catalogue, begins those that are due, and notes how they ended.
//!
//! What must stay true: the lock of the state is never held while a task runs or the catalogue is
//! written; `order` is, so that what is stored and what is planned change in the same order, and it
//! is taken before the state. Every thread has a name and is joined by [`Scheduler::stop`].

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, RwLock};
use serde_json::Value;

use super::plan::{Due, Ended, Planner, Start, Times, no_job};
use super::store::{job_of, job_row, run_of, run_row};
use super::task::{IsBusy, Run, Task, lower_priority};
use super::{JobSpec, JobStatus, Moment, Outcome, Policy, Reason, RunRecord, Trigger};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::{Error, ErrorKind, Result};

/// Runs of a job that are kept.
const RUNS_KEPT: u32 = 100;
/// Runs that begin by themselves and are under way at the same time.
const RUNS_AT_ONCE: usize = 2;
/// The clock is looked at so often, since it can be set while nobody waits for a moment near.
const LOOK_AFTER_MAX: Duration = Duration::from_secs(30);

/// What a run is asked to do.
#[derive(Clone, Debug, Default)]
pub struct RunRequest {
    /// Only tell what would be done.
    pub dry_run: bool,
    /// What the task is told, as JSON.
    pub arguments: Value,
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
    /// The last failure of a run or of the scheduler itself.
    pub last_error: Option<String>,
}

/// Runs jobs. All methods can be called from any thread.
pub struct Scheduler {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    is_busy: IsBusy,
    tasks: RwLock<HashMap<String, Task>>,
    order: Mutex<()>,
    state: Mutex<State>,
    /// Told when a job, a run or a switch changes.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    planner: Planner,
    /// Runs under way, by job, each with what cancels it.
    live: HashMap<String, Arc<AtomicBool>>,
    threads: Vec<JoinHandle<()>>,
    /// Jobs that the catalogue does not have yet.
    unsaved: Vec<String>,
    last_run: u64,
    /// Nothing begins by itself.
    paused: bool,
    /// Nothing begins at all.
    closed: bool,
    stopping: bool,
    last_error: Option<String>,
}

/// A run that has begun, with what it was asked.
struct Begun {
    id: u64,
    start: Start,
    request: RunRequest,
    cancelled: Arc<AtomicBool>,
}

impl Scheduler {
    /// A scheduler with the jobs of `catalog`; it begins nothing by itself until [`Self::start`].
    pub fn open(catalog: Arc<Catalog>, clock: Arc<dyn Clock>, is_busy: IsBusy) -> Result<Self> {
        let mut state = State {
            last_run: catalog.last_job_run()?,
            ..State::default()
        };
        for row in catalog.jobs()? {
            match job_of(&row) {
                Ok((spec, times)) => state.planner.restore(spec, times),
                // The row stays as it is: the release that wrote it can run it.
                Err(error) => tracing::warn!(job = row.name, %error, "a job is passed over"),
            }
        }
        let shared = Shared {
            catalog,
            clock,
            is_busy,
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
        self.shared.tasks.write().insert(name.to_owned(), task);
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
            }
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
        let spec = JobSpec::new(job, task, trigger, policy)?;
        if !self.shared.tasks.read().contains_key(task) {
            return Err(self.shared.no_task(task));
        }
        let shared = &self.shared;
        let _order = shared.order.lock();
        let times = Times {
            next: spec.trigger.first(shared.now()),
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

    fn runs(&self, job: Option<&str>, limit: u32) -> Result<Vec<RunRecord>> {
        let rows = self.shared.catalog.job_runs(job, limit)?;
        rows.iter().map(run_of).collect()
    }

    /// Runs a job now, on the calling thread, and answers how it went.
    pub fn run(&self, job: &str, request: RunRequest) -> Result<RunRecord> {
        let begun = self.shared.begin(job, request)?;
        Ok(self.shared.execute(&begun))
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

    /// What the scheduler does as a whole.
    pub fn status(&self) -> SchedulerStatus {
        let now = self.shared.now();
        let state = self.shared.state.lock();
        let waiting = state.planner.waiting(now);
        SchedulerStatus {
            running: state.live.len(),
            due: waiting.len(),
            behind: waiting.into_iter().max().unwrap_or_default(),
            last_error: state.last_error.clone(),
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

impl Shared {
    fn now(&self) -> Moment {
        Moment::of_nanoseconds(self.clock.wall_nanoseconds())
    }

    fn run_loop(self: Arc<Self>) {
        lower_priority();
        self.save_new_jobs();
        loop {
            let room = RUNS_AT_ONCE.saturating_sub(self.state.lock().live.len());
            for begun in self.take_due(room) {
                self.spawn(begun);
            }
            let mut state = self.state.lock();
            if state.stopping {
                return;
            }
            let room = state.live.len() < RUNS_AT_ONCE && !state.paused && !state.closed;
            let wake = state.planner.wake().filter(|_| room);
            let pause = wake.map_or(LOOK_AFTER_MAX, |wake| wake.since(self.now()));
            if !pause.is_zero() {
                self.changed.wait_for(&mut state, pause.min(LOOK_AFTER_MAX));
            }
        }
    }

    /// Stores the jobs that the catalogue does not have yet. Until that works they run from memory.
    fn save_new_jobs(&self) {
        let _order = self.order.lock();
        let names = std::mem::take(&mut self.state.lock().unsaved);
        let rows: Vec<_> = {
            let state = self.state.lock();
            let jobs = names.iter().filter_map(|name| state.planner.job(name));
            jobs.map(|job| job_row(&job.spec, job.times)).collect()
        };
        if rows.is_empty() {
            return;
        }
        if let Err(error) = self.catalog.put_jobs(&rows) {
            tracing::warn!(%error, "new jobs cannot be stored yet");
            self.state.lock().unsaved = names;
        }
    }

    /// Begins what is due, at most `room` runs.
    fn take_due(&self, room: usize) -> Vec<Begun> {
        let now = self.now();
        let mut missed = Vec::new();
        let mut begun = Vec::new();
        {
            let mut state = self.state.lock();
            if state.paused || state.closed || room == 0 {
                return begun;
            }
            for due in state.planner.due(now, room) {
                let id = state.next_run();
                match due {
                    Due::Start(start) => {
                        begun.push(state.live_run(id, start, RunRequest::default()));
                    }
                    Due::Missed { job, last, count } => missed.push((id, job, last, count)),
                }
            }
        }
        for (id, job, last, count) in missed {
            self.note_missed(id, job, last, count, now);
        }
        begun
    }

    fn begin(&self, job: &str, request: RunRequest) -> Result<Begun> {
        let now = self.now();
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::new(
                ErrorKind::Busy,
                "No job can be run now: maintenance is paused, or the database is closing.",
            ));
        }
        let start = state.planner.begin(job, now)?;
        let id = state.next_run();
        Ok(state.live_run(id, start, request))
    }

    /// Runs it on a thread of its own, of low priority.
    fn spawn(self: &Arc<Self>, begun: Begun) {
        let shared = self.clone();
        let name = format!("vermilion-job-{}", begun.start.job);
        // The run is handed over by this slot, so that it is not lost where no thread can start.
        let slot = Arc::new(Mutex::new(Some(begun)));
        let taken = slot.clone();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            lower_priority();
            let begun = taken.lock().take();
            begun.map(|begun| shared.execute(&begun));
        });
        match thread {
            Ok(thread) => {
                let mut state = self.state.lock();
                state.threads.retain(|thread| !thread.is_finished());
                state.threads.push(thread);
            }
            Err(cause) => {
                let begun = slot.lock().take();
                if let Some(begun) = begun {
                    let message = format!("cannot start a thread: {cause}");
                    self.finish(&begun, Err(Error::internal(message)));
                }
            }
        }
    }

    fn execute(&self, begun: &Begun) -> RunRecord {
        let task = self.tasks.read().get(&begun.start.task).cloned();
        let result = match task {
            None => Err(self.no_task(&begun.start.task)),
            Some(task) => {
                let run = Run {
                    dry_run: begun.request.dry_run,
                    arguments: &begun.request.arguments,
                    cancelled: &begun.cancelled,
                    is_busy: &*self.is_busy,
                };
                std::panic::catch_unwind(AssertUnwindSafe(|| task(&run)))
                    .unwrap_or_else(|_| Err(Error::internal("The task panicked; see the log.")))
            }
        };
        self.finish(begun, result)
    }

    /// Notes how a run ended, in the planner and in the catalogue.
    fn finish(&self, begun: &Begun, result: Result<Value>) -> RunRecord {
        let now = self.now();
        let cancelled = begun.cancelled.load(Ordering::SeqCst);
        let (ended, outcome) = match (&result, cancelled) {
            (_, true) => (Ended::Cancelled, Outcome::Cancelled),
            (Ok(_), false) => (Ended::Well, Outcome::Succeeded),
            (Err(_), false) => (Ended::Badly, Outcome::Failed),
        };
        let start = &begun.start;
        let (report, message) = match result {
            Ok(report) => (Some(report), None),
            Err(error) => (None, Some(error.message().to_owned())),
        };
        let record = RunRecord {
            id: begun.id,
            job: start.job.clone(),
            reason: start.reason,
            dry_run: begun.request.dry_run,
            scheduled_for: start.scheduled_for,
            started: start.started,
            finished: now,
            outcome,
            attempt: start.attempt,
            missed: start.missed,
            message,
            report,
        };
        let _order = self.order.lock();
        let row = {
            let mut state = self.state.lock();
            state.live.remove(&start.job);
            let times = state.planner.finish(start, ended, now);
            if outcome == Outcome::Failed {
                let why = record.message.as_deref().unwrap_or_default();
                tracing::warn!(
                    job = start.job,
                    attempt = start.attempt,
                    why,
                    "a job failed"
                );
                state.last_error = Some(format!("{}: {why}", start.job));
            }
            let job = state.planner.job(&start.job);
            job.zip(times).map(|(job, times)| job_row(&job.spec, times))
        };
        self.store_run(row.as_ref(), &record);
        self.changed.notify_all();
        record
    }

    fn note_missed(&self, id: u64, job: String, last: Moment, count: u32, now: Moment) {
        tracing::warn!(job, count, "occurrences of a job went by without a run");
        let _order = self.order.lock();
        let row = {
            let state = self.state.lock();
            let known = state.planner.job(&job);
            known.map(|job| job_row(&job.spec, job.times))
        };
        let record = RunRecord {
            id,
            job,
            reason: Reason::Schedule,
            dry_run: false,
            scheduled_for: last,
            started: now,
            finished: now,
            outcome: Outcome::Missed,
            attempt: 1,
            missed: count,
            message: None,
            report: None,
        };
        self.store_run(row.as_ref(), &record);
    }

    /// A run that cannot be stored (a full disk) has still taken place: its job goes on from memory.
    fn store_run(&self, row: Option<&crate::catalog::JobRow>, record: &RunRecord) {
        if let Err(error) = self.catalog.note_run(row, &run_row(record), RUNS_KEPT) {
            tracing::warn!(job = record.job, %error, "a run cannot be noted");
            self.state.lock().last_error = Some(error.message().to_owned());
        }
    }

    fn no_task(&self, task: &str) -> Error {
        let mut known: Vec<String> = self.tasks.read().keys().cloned().collect();
        known.sort();
        Error::invalid(format!(
            "There is no task `{task}`; there are {}.",
            known.join(", ")
        ))
    }
}

impl State {
    fn next_run(&mut self) -> u64 {
        self.last_run += 1;
        self.last_run
    }

    fn live_run(&mut self, id: u64, start: Start, request: RunRequest) -> Begun {
        let cancelled = Arc::new(AtomicBool::new(false));
        self.live.insert(start.job.clone(), cancelled.clone());
        Begun {
            id,
            start,
            request,
            cancelled,
        }
    }
}

fn status_of(job: &super::plan::Planned) -> JobStatus {
    JobStatus {
        name: job.spec.name.clone(),
        task: job.spec.task.clone(),
        trigger: job.spec.trigger.text(),
        policy: job.spec.policy.clone(),
        built_in: job.spec.built_in,
        paused: job.times.paused,
        running: job.running.is_some(),
        running_since: job.running.as_ref().map(|start| start.started),
        next: job.times.next.map(|next| job.start_of(next)),
        retry_at: job.times.retry.map(|retry| retry.at),
        last_run: None,
    }
}
