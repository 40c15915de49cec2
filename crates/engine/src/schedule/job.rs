//! What a job is, how it is to be treated, and what is told of it and its runs.
//!
//! What must stay true: a job is checked when it is made, and again when the catalogue gives it back;
//! what an earlier version stored is still read.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Moment, Trigger, TriggerText};
use crate::{Error, Result};

/// Bytes of a job's name at most.
const NAME_BYTES_MAX: usize = 64;
const RETRIES_MAX: u32 = 20;
/// The longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_hours(1);

/// What becomes of occurrences whose time went by: the process was down, the machine slept, the
/// clock was set, or the run before took too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Only the last of them runs, and only within the grace.
    Skip,
    /// One run stands for all of them.
    #[default]
    RunOnce,
    /// Each has its run, one after the other; of very many only the last.
    RunAll,
}

/// How a job is treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// What becomes of missed occurrences.
    pub missed: Missed,
    /// How late a run may begin and still be on time.
    #[serde(rename = "grace_ms", with = "milliseconds")]
    pub grace: Duration,
    /// A run begins up to so much later, so that jobs do not all begin at the same moment.
    #[serde(rename = "jitter_ms", with = "milliseconds")]
    pub jitter: Duration,
    /// How often a run that failed is tried again.
    pub retries: u32,
    /// The pause before the first of them; each further one is twice as long, up to an hour.
    #[serde(rename = "backoff_ms", with = "milliseconds")]
    pub backoff: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            missed: Missed::RunOnce,
            grace: Duration::from_mins(1),
            jitter: Duration::ZERO,
            retries: 3,
            backoff: Duration::from_secs(10),
        }
    }
}

impl Policy {
    /// The pause after attempt number `attempt` failed, counted from 1.
    pub fn pause(&self, attempt: u32) -> Duration {
        let factor = 1_u32 << attempt.saturating_sub(1).min(16);
        self.backoff.saturating_mul(factor).min(BACKOFF_MAX)
    }

    fn check(&self, trigger: &Trigger) -> Result<()> {
        if self.retries > RETRIES_MAX {
            return Err(Error::invalid(format!(
                "{} retries are not allowed: at most {RETRIES_MAX} are.",
                self.retries
            )));
        }
        let jitter_max = match trigger {
            Trigger::Interval(every) => *every / 2,
            Trigger::Cron(_) | Trigger::Once { .. } => Duration::from_hours(24),
        };
        if self.jitter > jitter_max {
            return Err(Error::invalid(format!(
                "A jitter of {} ms is not allowed: for this job it is at most {} ms.",
                self.jitter.as_millis(),
                jitter_max.as_millis()
            )));
        }
        Ok(())
    }
}

/// A job as it was asked for.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// Its name, unique.
    pub name: String,
    /// The task that it runs.
    pub task: String,
    /// When it is due.
    pub trigger: Trigger,
    /// How it is treated.
    pub policy: Policy,
    /// What its task is told, as JSON, where nobody says anything else.
    pub arguments: Value,
    /// Whether the program brings it; then its defaults may change with the program.
    pub built_in: bool,
}

impl JobSpec {
    /// A job that has been checked.
    pub fn new(name: &str, task: &str, trigger: Trigger, policy: Policy) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let sound = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain);
        if !sound {
            return Err(Error::invalid(format!(
                "`{name}` is no name for a job: it has 1 to {NAME_BYTES_MAX} of a-z, 0-9 and _."
            )));
        }
        policy.check(&trigger)?;
        Ok(Self {
            name: name.to_owned(),
            task: task.to_owned(),
            trigger,
            policy,
            arguments: Value::Null,
            built_in: false,
        })
    }

    /// The same with what its task is told.
    #[must_use]
    pub fn telling(mut self, arguments: Value) -> Self {
        self.arguments = arguments;
        self
    }
}

/// A job as the catalogue keeps it, beside its name and its times.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredSpec {
    pub(super) task: String,
    pub(super) trigger: TriggerText,
    pub(super) policy: Policy,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) arguments: Value,
    #[serde(default)]
    pub(super) built_in: bool,
}

impl StoredSpec {
    pub(super) fn of(spec: &JobSpec) -> Self {
        Self {
            task: spec.task.clone(),
            trigger: spec.trigger.text(),
            policy: spec.policy.clone(),
            arguments: spec.arguments.clone(),
            built_in: spec.built_in,
        }
    }

    pub(super) fn restore(self, name: &str) -> Result<JobSpec> {
        let trigger = Trigger::restore(&self.trigger)?;
        let mut spec = JobSpec::new(name, &self.task, trigger, self.policy)?;
        spec.built_in = self.built_in;
        spec.arguments = self.arguments;
        Ok(spec)
    }
}

/// Why a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was due.
    Schedule,
    /// The run before failed.
    Retry,
    /// Somebody asked for it.
    Manual,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did its work.
    Succeeded,
    /// It failed; the message says why.
    Failed,
    /// It was asked to stop, and did.
    Cancelled,
    /// It did not run: its time had gone by.
    Missed,
}

/// What is told of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its number, rising.
    pub id: u64,
    /// The job.
    pub job: String,
    /// Why it began.
    pub reason: Reason,
    /// Whether it only told what it would do.
    pub dry_run: bool,
    /// When it was due.
    pub scheduled_for: Moment,
    /// When it began.
    pub started: Moment,
    /// When it ended.
    pub finished: Moment,
    /// How it ended.
    pub outcome: Outcome,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// Occurrences before this one for which there was no run.
    pub missed: u32,
    /// Why it failed.
    pub message: Option<String>,
    /// What it did, as its task tells it.
    pub report: Option<Value>,
}

/// How the runs of a job ended since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// The job.
    pub job: String,
    /// Runs that did their work.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were asked to end.
    pub cancelled: u64,
    /// Occurrences that went by without a run.
    pub missed: u64,
    /// When a run last ended well and was no dry one, also before the start.
    pub last_success: Option<Moment>,
}

impl JobCounts {
    /// Counts a run.
    pub(super) fn add(&mut self, run: &RunRecord) {
        match run.outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Missed => self.missed += u64::from(run.missed.max(1)),
        }
        if run.outcome == Outcome::Succeeded && !run.dry_run {
            self.last_success = Some(run.finished);
        }
    }
}

/// What is told of a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// The task that it runs.
    pub task: String,
    /// When it is due.
    pub trigger: TriggerText,
    /// How it is treated.
    pub policy: Policy,
    /// What its task is told where nobody says anything else.
    pub arguments: Value,
    /// Whether the program brings it.
    pub built_in: bool,
    /// Whether it is kept from running by itself.
    pub paused: bool,
    /// Whether it runs now.
    pub running: bool,
    /// Since when.
    pub running_since: Option<Moment>,
    /// When it is due next; `None` where it never is again.
    pub next: Option<Moment>,
    /// When it is tried again after a failure.
    pub retry_at: Option<Moment>,
    /// Its last run.
    pub last_run: Option<RunRecord>,
}

/// Durations as milliseconds.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.as_millis() as u64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_attempts_double_up_to_an_hour() {
        let policy = Policy::default();
        let seconds: Vec<u64> = (1..=5).map(|n| policy.pause(n).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160]);
        assert_eq!(policy.pause(20), BACKOFF_MAX);
        assert_eq!(policy.pause(u32::MAX), BACKOFF_MAX);
    }

    #[test]
    fn what_is_no_job_is_refused_with_what_is_allowed() {
        let every = |seconds| Trigger::Interval(Duration::from_secs(seconds));
        let refused = |name: &str, policy: Policy, expected: &str| {
            let error = JobSpec::new(name, "t", every(60), policy).expect_err(expected);
            assert!(error.message().contains(expected), "{error}");
        };
        refused("", Policy::default(), "1 to 64");
        refused("a b", Policy::default(), "a-z, 0-9 and _");
        let jitter = Policy {
            jitter: Duration::from_secs(31),
            ..Policy::default()
        };
        refused("a", jitter, "at most 30000 ms");
        let retries = Policy {
            retries: 21,
            ..Policy::default()
        };
        refused("a", retries, "at most 20");
    }

    #[test]
    fn a_policy_is_read_with_its_defaults_and_without_strangers() {
        let read = |text: &str| serde_json::from_str::<Policy>(text);
        let policy = read(r#"{"missed": "run_all", "grace_ms": 5}"#).unwrap();
        assert_eq!(policy.missed, Missed::RunAll);
        assert_eq!(policy.grace, Duration::from_millis(5));
        assert_eq!(policy.retries, Policy::default().retries);
        read(r#"{"mised": "skip"}"#).expect_err("no such member");
        read(r#"{"missed": "perhaps"}"#).expect_err("no such policy");
    }
}
