//! Retraining: when it is time, who does it, and what became of it.
//!
//! What must stay true: a retraining is in the catalogue before anybody is told of it, and a change of
//! it before it is answered; of a space and a trigger one is open at a time; a worker that completes it
//! is the only one.
//!
//! | file | what |
//! |---|---|
//! | `run` | one retraining: its states and its lease |
//! | `delivery` | how far the telling of a receiver has come |
//! | `book` | all of them, durable, and in memory too |
//! | `fire` | how one begins, and what is told of those that there are |
//! | `work` | what workers do: claim, heartbeat, complete, fail; and cancel |
//! | `outcome` | what completing does: the new space, consumed records, before and after |
//! | `event` | what workers and receivers are told |
//! | `policy` | when it is time, as somebody says it |
//! | `trigger` | triggers made, listed and deleted |
//! | `conditions` | what no label covers, accuracy, drift |
//! | `judge` | whether policies hold, and the job that asks |
//! | `webhook` | how a receiver is told: one signed request |
//! | `couriers` | the threads that tell receivers |
//! | `watch` | the thread that looks at the clock, and sends couriers |

mod book;
mod conditions;
mod couriers;
mod delivery;
mod event;
mod fire;
mod judge;
mod outcome;
mod policy;
mod run;
mod trigger;
mod watch;
mod webhook;
mod work;

#[cfg(test)]
mod tests;

use serde::Deserialize;

pub(crate) use book::Book;
pub(crate) use fire::page;
pub use fire::{Fire, PAGE_MAX, Which};
pub(crate) use judge::TRIGGERS;
pub use run::State as RetrainingState;
pub use trigger::{NewTrigger, NewWebhook};
pub(crate) use watch::{Bell, Watch};
pub use work::{Claim, Completion, Failure, Heartbeat};

/// Which part of a list is meant.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Entries of the page.
    pub limit: Option<u32>,
    /// Entries to pass over.
    pub offset: Option<u32>,
}
