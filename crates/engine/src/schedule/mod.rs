//! Jobs that run by themselves: every so often, by a cron expression, or once.
//!
//! What must stay true: a job is in the catalogue with its times before it runs; it never runs
//! twice at a time; it can be cancelled between the steps of its task; however the clock jumps and
//! whenever the process dies, no job is lost and none runs more often than its policy says.
//!
//! | file | what |
//! |---|---|
//! | `moment` | a moment on the wall clock |
//! | `trigger` | when a job is due |
//! | `job` | what a job is, how it is treated, what is told of it |
//! | `plan` | the planner: given the time, what begins and when to look again; pure |
//! | `task` | what a job runs, and what it is told of its run |
//! | `scheduler` | [`Scheduler`]: the planner with a clock and the catalogue |
//! | `runner` | its threads |
//! | `store` | jobs and runs as rows of the catalogue |

mod job;
mod moment;
mod plan;
mod runner;
mod scheduler;
mod store;
mod task;
mod trigger;

#[cfg(test)]
mod tests;

pub use job::{JobCounts, JobSpec, JobStatus, Missed, Outcome, Policy, Reason, RunRecord};
pub use moment::Moment;
pub use scheduler::{BegunRun, RunRequest, Scheduler, SchedulerStatus};
pub use task::{Check, Pace, Run, Task};
pub use trigger::{CronTrigger, Trigger, TriggerText};
