//! Tests of the scheduler: the planner against a model over simulated years, and the scheduler with
//! a catalogue, a clock that tests move, and threads.

mod model;
mod runner;
mod years;

use std::time::Duration;

use super::plan::{Due, Ended, Planner, Retry, Start, Times};
use super::*;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
