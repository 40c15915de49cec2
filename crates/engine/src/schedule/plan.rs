//! The planner: given the time, which job begins now, and when to look again.
//!
//! What must stay true: it does no I/O, knows no clock and starts no thread, so that years can be
//! simulated in a test. A job never runs twice at a time. An occurrence begins a run once, or is
//! counted as missed; a process that dies in a run begins it again, so tasks must bear that.
//! However the clock jumps, a job by interval is due within its interval from what the clock then
//! says, and a job by expression at the expression's next occurrence.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{JobSpec, Missed, Moment, Reason, Trigger};
use crate::{Error, ErrorKind, Result};

/// Missed occurrences that are counted, and that [`Missed::RunAll`] makes up for.
pub(super) const MISSED_MAX: u32 = 1000;

/// The jobs and their times.
#[derive(Debug, Default)]
pub(super) struct Planner {
    jobs: BTreeMap<String, Planned>,
    /// The latest time that was told; a clock that was set back is noticed by it.
    seen: Option<Moment>,
}

/// A job with its times.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) spec: JobSpec,
    pub(super) times: Times,
    pub(super) running: Option<Start>,
}

/// The times of a job that outlive the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// The next occurrence.
    pub(super) next: Option<Moment>,
    /// The last occurrence that was run or missed.
    pub(super) last: Option<Moment>,
    /// The next attempt after a failure, with its number and the occurrence it is for.
    pub(super) retry: Option<Retry>,
    /// Whether the job is kept from running by itself.
    pub(super) paused: bool,
}

/// A further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) attempt: u32,
    pub(super) at: Moment,
    pub(super) scheduled_for: Moment,
}

/// A run that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) job: String,
    pub(super) task: String,
    pub(super) reason: Reason,
    pub(super) scheduled_for: Moment,
    pub(super) started: Moment,
    pub(super) attempt: u32,
    /// Occurrences before it that had no run.
    pub(super) missed: u32,
}

/// What is to be done about a job now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Begin this run; the job counts as running from now on.
    Start(Start),
    /// Nothing: so many occurrences, the last at this moment, went by.
    Missed {
        job: String,
        last: Moment,
        count: u32,
    },
}

/// How a run ended, as far as the planner must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Badly,
    Cancelled,
}

/// Which occurrence runs of all that are due.
struct Settled {
    run: Option<Moment>,
    last: Moment,
    missed: u32,
    next: Option<Moment>,
}

impl Planner {
    /// Takes a job in that was made at `now`; one of that name is replaced.
    pub(super) fn add(&mut self, spec: JobSpec, now: Moment) {
        let times = Times {
            next: spec.trigger.first(now),
            ..Times::default()
        };
        self.restore(spec, times);
    }

    /// Takes a job in with the times that it had.
    pub(super) fn restore(&mut self, spec: JobSpec, times: Times) {
        let running = self
            .jobs
            .get(&spec.name)
            .and_then(|job| job.running.clone());
        let name = spec.name.clone();
        let planned = Planned {
            spec,
            times,
            running,
        };
        self.jobs.insert(name, planned);
        // Its times may come from a clock that has been set back since.
        self.seen = None;
    }

    /// Forgets a job; a run of it goes on.
    pub(super) fn remove(&mut self, name: &str) -> Option<Planned> {
        self.jobs.remove(name)
    }

    /// A job by name.
    pub(super) fn job(&self, name: &str) -> Option<&Planned> {
        self.jobs.get(name)
    }

    /// All jobs, by name.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &Planned> {
        self.jobs.values()
    }

    /// Keeps a job from running by itself, or lets it again.
    pub(super) fn pause(&mut self, name: &str, paused: bool) -> Option<Times> {
        let job = self.jobs.get_mut(name)?;
        job.times.paused = paused;
        Some(job.times)
    }

    /// What is to be done now, with at most `room` runs that begin. Of several jobs, the one that
    /// has waited longest comes first.
    pub(super) fn due(&mut self, now: Moment, room: usize) -> Vec<Due> {
        if self.seen.is_none_or(|seen| now < seen) {
            for job in self.jobs.values_mut() {
                job.notice_clock(now);
            }
        }
        self.seen = Some(now);
        let mut waiting: Vec<(Moment, &mut Planned)> = self
            .jobs
            .values_mut()
            .filter_map(|job| Some((job.wake()?, job)))
            .filter(|(wake, _)| *wake <= now)
            .collect();
        waiting.sort_by_key(|(wake, _)| *wake);
        let due = waiting.into_iter().filter_map(|(_, job)| job.due(now));
        due.take(room).collect()
    }

    /// When to look again; `None` where no job will be due unless something changes.
    pub(super) fn wake(&self) -> Option<Moment> {
        self.jobs.values().filter_map(Planned::wake).min()
    }

    /// How long each job has waited that is due and has not begun.
    pub(super) fn waiting(&self, now: Moment) -> Vec<Duration> {
        let wakes = self.jobs.values().filter_map(Planned::wake);
        let due = wakes.filter(|wake| *wake <= now);
        due.map(|wake| now.since(wake)).collect()
    }

    /// Begins a run that somebody asked for.
    pub(super) fn begin(&mut self, name: &str, now: Moment) -> Result<Start> {
        let Some(job) = self.jobs.get_mut(name) else {
            return Err(no_job(name));
        };
        if let Some(running) = &job.running {
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "The job `{name}` runs since {}; wait for it or cancel it.",
                    running.started
                ),
            ));
        }
        let start = job.start(Reason::Manual, now, now, 1, 0);
        Ok(start)
    }

    /// Notes that a run ended; answers the times to be kept. A job that was removed has none.
    pub(super) fn finish(&mut self, start: &Start, ended: Ended, now: Moment) -> Option<Times> {
        let job = self.jobs.get_mut(&start.job)?;
        job.running = None;
        match ended {
            Ended::Well => job.times.retry = None,
            Ended::Badly
                if start.reason != Reason::Manual && start.attempt <= job.spec.policy.retries =>
            {
                job.times.retry = Some(Retry {
                    attempt: start.attempt + 1,
                    at: now.plus(job.spec.policy.pause(start.attempt)),
                    scheduled_for: start.scheduled_for,
                });
            }
            Ended::Badly | Ended::Cancelled => {}
        }
        Some(job.times)
    }
}

impl Planned {
    /// When something is to be done about the job.
    fn wake(&self) -> Option<Moment> {
        if self.running.is_some() || self.times.paused {
            return None;
        }
        let next = self.times.next.map(|next| self.start_of(next));
        let retry = self.times.retry.map(|retry| retry.at);
        next.into_iter().chain(retry).min()
    }

    /// When the run of an occurrence begins: its jitter depends on nothing but the two, so that it
    /// is the same after a restart.
    pub(super) fn start_of(&self, occurrence: Moment) -> Moment {
        let jitter = self.spec.policy.jitter.as_millis() as u64;
        if jitter == 0 {
            return occurrence;
        }
        let mut seed = self.spec.name.clone().into_bytes();
        seed.extend(occurrence.0.to_le_bytes());
        let share = xxhash_rust::xxh3::xxh3_64(&seed) % (jitter + 1);
        occurrence.plus(Duration::from_millis(share))
    }

    fn due(&mut self, now: Moment) -> Option<Due> {
        if let Some(next) = self.times.next.filter(|next| self.start_of(*next) <= now) {
            let settled = self.settle(next, now);
            self.times.next = settled.next;
            self.times.last = Some(settled.last);
            // The occurrence stands for what was to be tried again.
            self.times.retry = None;
            return Some(match settled.run {
                Some(run) => Due::Start(self.start(Reason::Schedule, run, now, 1, settled.missed)),
                None => Due::Missed {
                    job: self.spec.name.clone(),
                    last: settled.last,
                    count: settled.missed,
                },
            });
        }
        let retry = self.times.retry.filter(|retry| retry.at <= now)?;
        self.times.retry = None;
        let start = self.start(Reason::Retry, retry.scheduled_for, now, retry.attempt, 0);
        Some(Due::Start(start))
    }

    fn start(
        &mut self,
        reason: Reason,
        scheduled_for: Moment,
        now: Moment,
        attempt: u32,
        missed: u32,
    ) -> Start {
        let start = Start {
            job: self.spec.name.clone(),
            task: self.spec.task.clone(),
            reason,
            scheduled_for,
            started: now,
            attempt,
            missed,
        };
        self.running = Some(start.clone());
        start
    }

    /// Chooses among the occurrences from `next` on that are due at `now`.
    fn settle(&self, next: Moment, now: Moment) -> Settled {
        let (last, count) = self.last_due(next, now);
        let after_last = self.spec.trigger.after(last);
        let latest = |run: Option<Moment>| Settled {
            run,
            last,
            missed: count - u32::from(run.is_some()),
            next: after_last,
        };
        match self.spec.policy.missed {
            Missed::RunAll if count <= MISSED_MAX => Settled {
                run: Some(next),
                last: next,
                missed: 0,
                next: self.spec.trigger.after(next),
            },
            Missed::RunAll | Missed::RunOnce => latest(Some(last)),
            Missed::Skip => {
                let late = now.since(self.start_of(last));
                latest((late <= self.spec.policy.grace).then_some(last))
            }
        }
    }

    /// The last occurrence from `next` on that is due at `now`, and how many are; more than
    /// [`MISSED_MAX`] are one more than that.
    fn last_due(&self, next: Moment, now: Moment) -> (Moment, u32) {
        let is_due = |occurrence: &Moment| self.start_of(*occurrence) <= now;
        if let Trigger::Interval(every) = self.spec.trigger {
            let steps = now.since(next).as_millis() / every.as_millis();
            let steps = i64::try_from(steps).unwrap_or(i64::MAX);
            let at = |steps: i64| Moment(next.0 + steps * every.as_millis() as i64);
            let steps = if steps > 0 && !is_due(&at(steps)) {
                steps - 1
            } else {
                steps
            };
            let count = u32::try_from(steps + 1).unwrap_or(u32::MAX);
            return (at(steps), count.min(MISSED_MAX + 1));
        }
        let (mut last, mut count) = (next, 1);
        while let Some(after) = self.spec.trigger.after(last).filter(is_due) {
            if count > MISSED_MAX {
                return (self.last_of_many(last, now), count);
            }
            (last, count) = (after, count + 1);
        }
        (last, count)
    }

    /// The last occurrence that is due at `now`, where very many are: looked for from closer and
    /// closer to `now`, since it would take too long to count them all.
    fn last_of_many(&self, known: Moment, now: Moment) -> Moment {
        let is_due = |occurrence: &Moment| self.start_of(*occurrence) <= now;
        let mut back = Duration::from_mins(1) + self.spec.policy.jitter;
        loop {
            let from = Moment(now.0.saturating_sub(back.as_millis() as i64)).max(known);
            let mut last = None;
            let mut at = from;
            while let Some(after) = self.spec.trigger.after(at).filter(is_due) {
                last = Some(after);
                at = after;
            }
            match last {
                Some(last) => return last,
                None if from == known => return known,
                None => back *= 4,
            }
        }
    }

    /// Brings times back that a clock which was set back has made too late.
    fn notice_clock(&mut self, now: Moment) {
        if let Some(next) = self.times.next
            && next > now
            && let Some(bound) = self.spec.trigger.bound(now, self.times.last)
        {
            self.times.next = Some(next.min(bound));
        }
        if let Some(retry) = &mut self.times.retry {
            let pause = self.spec.policy.pause(retry.attempt.saturating_sub(1));
            retry.at = retry.at.min(now.plus(pause));
        }
    }
}

/// The error for a job that is not there.
pub(super) fn no_job(name: &str) -> Error {
    Error::not_found(format!("There is no job `{name}`."))
}
