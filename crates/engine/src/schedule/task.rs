//! What a job runs: a task, and what it is told of the run it is in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::Result;

/// Work that jobs run. It answers what it did, as JSON. A process that dies in it runs it again, so
/// it must bear that.
pub type Task = Arc<dyn Fn(&Run<'_>) -> Result<Value> + Send + Sync>;

/// Looks over what a job is to tell its task; the error says what is allowed.
pub type Check = fn(&Value) -> Result<()>;

/// Called between the steps of a task, on its thread: may rest there, so that requests go first and a
/// budget is kept, as long as the work is wanted, which it asks its argument.
pub type Pace = Arc<dyn Fn(&dyn Fn() -> bool) + Send + Sync>;

/// The run that a task is in.
pub struct Run<'a> {
    /// Whether it is only to tell what it would do.
    pub dry_run: bool,
    /// What the one who asked for the run said; null for a run that was due.
    pub arguments: &'a Value,
    pub(super) cancelled: &'a AtomicBool,
    pub(super) pace: &'a (dyn Fn(&dyn Fn() -> bool) + Send + Sync),
}

impl Run<'_> {
    /// Asked between the steps of a task, each of a few milliseconds: `false` ends it. The task rests
    /// here where its pace says so.
    pub fn go_on(&self) -> bool {
        (self.pace)(&|| !self.is_cancelled());
        !self.is_cancelled()
    }

    /// Whether the run was asked to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// A member of the arguments that is a text.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.get(name)?.as_str()
    }
}
