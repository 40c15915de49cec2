//! Upkeep: what the database does by itself so that memory, log and segments stay in bounds.
//!
//! What must stay true: upkeep never holds a lock that a request waits for across I/O; a failure
//! is logged and tried again later, and loses nothing, since the log keeps what is not published.

mod budget;
mod upkeep;
mod worker;

pub(crate) use budget::Budget;
pub(crate) use upkeep::{
    Named, Setbacks, Strangers, find_orphans, forgive_deletion, merge_chosen, merge_round,
    seal_round, sweep_orphans,
};
pub(crate) use worker::Worker;
