//! What a job runs: a task, and what it is told of the run it is in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::Result;

/// How long a task rests at a step while requests are being answered.
const REST: Duration = Duration::from_millis(5);

/// Work that jobs run. It answers what it did, as JSON. A process that dies in it runs it again, so
/// it must bear that.
pub type Task = Arc<dyn Fn(&Run<'_>) -> Result<Value> + Send + Sync>;

/// Whether requests are being answered right now.
pub type IsBusy = Arc<dyn Fn() -> bool + Send + Sync>;

/// The run that a task is in.
pub struct Run<'a> {
    /// Whether it is only to tell what it would do.
    pub dry_run: bool,
    /// What the one who asked for the run said; null for a run that was due.
    pub arguments: &'a Value,
    pub(super) cancelled: &'a AtomicBool,
    pub(super) is_busy: &'a (dyn Fn() -> bool + Sync),
}

impl Run<'_> {
    /// Asked between the steps of a task, each of a few milliseconds: `false` ends it. While
    /// requests are being answered, the task rests here for a moment.
    pub fn go_on(&self) -> bool {
        if (self.is_busy)() && !self.is_cancelled() {
            std::thread::sleep(REST);
        }
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
