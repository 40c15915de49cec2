//! What goes on behind the scheduler: the thread that begins due jobs, the threads that run them,
//! and the notes of how they ended.
//!
//! What must stay true: see `scheduler`, whose locks these are. A run that has begun is noted when
//! it has ended, however it ended.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, RwLock};
use serde_json::Value;

use super::plan::{Due, Ended, Planner, Start};
use super::store::{job_row, run_row};
use super::task::{Check, Pace, Run, Task};
use super::{JobCounts, Moment, Outcome, Reason, RunRecord, RunRequest};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::threads::{Priority, apart, lower_priority};
use crate::{Error, ErrorKind, Result};

/// Runs of a job that are kept.
pub(super) const RUNS_KEPT: u32 = 100;
/// Runs that wait in memory at most for a catalogue that takes nothing.
const UNNOTED_MAX: usize = 1000;
/// Runs that begin by themselves and are under way at the same time.
const RUNS_AT_ONCE: usize = 3;
/// The clock is looked at so often, since it can be set while nobody waits for a moment near.
const LOOK_AFTER_MAX: Duration = Duration::from_secs(30);

/// What the scheduler and its threads share.
pub(super) struct Shared {
    pub(super) catalog: Arc<Catalog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pace: Pace,
    /// By name, each with what looks over the arguments of its jobs.
    pub(super) tasks: RwLock<HashMap<String, (Task, Check)>>,
    pub(super) order: Mutex<()>,
    pub(super) state: Mutex<State>,
    /// Told when a job, a run or a switch changes.
    pub(super) changed: Condvar,
}

/// The jobs and the runs under way.
#[derive(Default)]
pub(super) struct State {
    pub(super) planner: Planner,
    /// Runs under way, by job, each with what cancels it.
    pub(super) live: HashMap<String, Arc<AtomicBool>>,
    pub(super) threads: Vec<JoinHandle<()>>,
    /// Jobs that the catalogue does not have yet.
    pub(super) unsaved: Vec<String>,
    pub(super) last_run: u64,
    /// How runs ended, by job.
    pub(super) counts: HashMap<String, JobCounts>,
    /// Nothing begins by itself.
    pub(super) paused: bool,
    /// Nothing begins at all.
    pub(super) closed: bool,
    pub(super) stopping: bool,
    /// When and why the last run of a job failed, by job, until one has done its work.
    pub(super) failures: BTreeMap<String, (Moment, String)>,
    /// Runs that the catalogue has not taken yet, oldest first.
    pub(super) unnoted: VecDeque<Unnoted>,
    /// Why it did not.
    pub(super) note_error: Option<String>,
}

/// A run that the catalogue is to take.
pub(super) struct Unnoted {
    pub(super) run: RunRecord,
    /// Whether the job's times go with it.
    with_times: bool,
}

/// A run that has begun, with what it was asked.
pub(super) struct Begun {
    pub(super) id: u64,
    pub(super) start: Start,
    pub(super) request: RunRequest,
    pub(super) cancelled: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn now(&self) -> Moment {
        Moment::of_nanoseconds(self.clock.wall_nanoseconds())
    }

    /// How many more runs may begin by themselves.
    pub(super) fn room(&self) -> usize {
        RUNS_AT_ONCE.saturating_sub(self.state.lock().live.len())
    }

    pub(super) fn run_loop(self: Arc<Self>) {
        lower_priority(Priority::Last);
        loop {
            self.save_new_jobs();
            for begun in self.take_due(self.room()) {
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
    pub(super) fn save_new_jobs(&self) {
        let _order = self.order.lock();
        self.note_runs();
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
            self.state.lock().unsaved.extend(names);
        }
    }

    /// Begins what is due, at most `room` runs.
    pub(super) fn take_due(&self, room: usize) -> Vec<Begun> {
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
                        let request = state.asked(&start.job, RunRequest::default());
                        begun.push(state.live_run(id, start, request));
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

    pub(super) fn begin(&self, job: &str, request: RunRequest) -> Result<Begun> {
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
        let request = state.asked(job, request);
        Ok(state.live_run(id, start, request))
    }

    /// Runs it on a thread of its own, of low priority.
    pub(super) fn spawn(self: &Arc<Self>, begun: Begun) {
        let shared = self.clone();
        let name = thread_name(&begun);
        // The run is handed over by this slot, so that it is not lost where no thread can start.
        let slot = Arc::new(Mutex::new(Some(begun)));
        let taken = slot.clone();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            lower_priority(Priority::Last);
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

    /// Executes it on a thread of its own, of low priority, and waits for it.
    pub(super) fn execute_apart(&self, begun: &Begun) -> RunRecord {
        let name = thread_name(begun);
        apart(&name, Priority::Last, || Ok(self.execute(begun)))
            .unwrap_or_else(|error| self.finish(begun, Err(error)))
    }

    /// Runs the task, and notes how that went.
    pub(super) fn execute(&self, begun: &Begun) -> RunRecord {
        let span = tracing::info_span!(
            "job",
            run = begun.id,
            otel.name = tracing::field::Empty,
            otel.status_code = tracing::field::Empty,
            outcome = tracing::field::Empty,
        );
        // A trace takes the name that is there once the span is entered.
        span.record("otel.name", format!("job {}", begun.start.job));
        let record = span.in_scope(|| self.run_task(begun));
        span.record("outcome", tracing::field::debug(record.outcome));
        if record.outcome == Outcome::Failed {
            span.record("otel.status_code", "ERROR");
        }
        record
    }

    fn run_task(&self, begun: &Begun) -> RunRecord {
        let task = self.tasks.read().get(&begun.start.task).cloned();
        let task = task.map(|(task, _)| task);
        let result = match task {
            None => Err(self.no_task(&begun.start.task)),
            Some(task) => {
                let run = Run {
                    dry_run: begun.request.dry_run,
                    arguments: &begun.request.arguments,
                    cancelled: &begun.cancelled,
                    pace: &*self.pace,
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
        if outcome == Outcome::Failed {
            let why = record.message.as_deref().unwrap_or_default();
            let (job, attempt) = (&start.job, start.attempt);
            tracing::warn!(job, attempt, why, "a job failed");
        }
        let _order = self.order.lock();
        {
            let mut state = self.state.lock();
            state.live.remove(&start.job);
            state.planner.finish(start, ended, now);
            // A run that ends with the process is due again at the next start.
            let kept = !(state.stopping && outcome == Outcome::Cancelled);
            state.take_in(record.clone(), kept);
        }
        self.note_runs();
        self.changed.notify_all();
        record
    }

    fn note_missed(&self, id: u64, job: String, last: Moment, count: u32, now: Moment) {
        tracing::warn!(job, count, "occurrences of a job went by without a run");
        let _order = self.order.lock();
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
        self.state.lock().take_in(record, true);
        self.note_runs();
    }

    /// Stores the runs that the catalogue does not have yet. One that cannot be stored (a full disk)
    /// has still taken place: its job goes on from memory, and so does the history. The caller holds
    /// `order`.
    fn note_runs(&self) {
        loop {
            let (row, run) = {
                let state = self.state.lock();
                let Some(next) = state.unnoted.front() else {
                    return;
                };
                let job = state.planner.job(&next.run.job);
                let job = job.filter(|_| next.with_times);
                let row = job.map(|job| job_row(&job.spec, job.times));
                (row, next.run.clone())
            };
            let noted = self
                .catalog
                .note_run(row.as_ref(), &run_row(&run), RUNS_KEPT);
            let mut state = self.state.lock();
            match noted {
                Ok(()) => {
                    state.note_error = None;
                    state.unnoted.pop_front();
                }
                Err(error) => {
                    if state.note_error.is_none() {
                        tracing::warn!(job = run.job, %error, "a run cannot be noted yet");
                    }
                    state.note_error = Some(error.message().to_owned());
                    return;
                }
            }
        }
    }

    /// Fails where a job may not tell the task this.
    pub(super) fn check(&self, task: &str, arguments: &Value) -> Result<()> {
        match self.tasks.read().get(task) {
            Some((_, check)) => check(arguments),
            None => Ok(()),
        }
    }

    pub(super) fn no_task(&self, task: &str) -> Error {
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

    /// Takes in how the runs of a job before the start ended, newest first: when one last did its
    /// work, and the newest of those that failed since.
    pub(super) fn take_history(&mut self, runs: impl Iterator<Item = RunRecord>) {
        for run in runs.filter(|run| !run.dry_run) {
            if run.outcome == Outcome::Succeeded {
                let counts = self.counts.entry(run.job).or_default();
                counts.last_success = Some(run.finished);
                return;
            }
            if run.outcome == Outcome::Failed && !self.failures.contains_key(&run.job) {
                self.failures
                    .insert(run.job, (run.finished, run.message.unwrap_or_default()));
            }
        }
    }

    /// Takes in a run that has ended: it is counted, and waits to be noted.
    fn take_in(&mut self, run: RunRecord, with_times: bool) {
        self.counts.entry(run.job.clone()).or_default().add(&run);
        if !run.dry_run && run.outcome == Outcome::Succeeded {
            self.failures.remove(&run.job);
        }
        let known = self.planner.job(&run.job).is_some();
        if known && !run.dry_run && run.outcome == Outcome::Failed {
            let why = run.message.clone().unwrap_or_default();
            self.failures.insert(run.job.clone(), (run.finished, why));
        }
        if self.unnoted.len() == UNNOTED_MAX {
            self.unnoted.pop_front();
        }
        self.unnoted.push_back(Unnoted { run, with_times });
    }

    /// The last failure of which nothing has gone well since.
    pub(super) fn last_error(&self) -> Option<String> {
        if let Some(error) = &self.note_error {
            return Some(format!("Runs of jobs cannot be noted: {error}"));
        }
        let last = self.failures.iter().max_by_key(|(_, (at, _))| *at);
        last.map(|(job, (at, why))| format!("{job} at {at}: {why}"))
    }

    /// The request, with what the job says where it says nothing.
    fn asked(&self, job: &str, mut request: RunRequest) -> RunRequest {
        if request.arguments.is_null()
            && let Some(job) = self.planner.job(job)
        {
            request.arguments = job.spec.arguments.clone();
        }
        request
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

/// What the thread of a run is called.
fn thread_name(begun: &Begun) -> String {
    format!("vermilion-job-{}", begun.start.job)
}
