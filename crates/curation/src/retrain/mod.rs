//! Retraining: when it is time, who does it, and what became of it.
//!
//! What must stay true: a retraining is in the catalogue before anybody is told of it, and a change of
//! it before it is answered; of a space and a trigger one is open at a time; a worker that completes it
//! is the only one.
//!
//! | file | what |
//! |---|---|
//! | `run` | one retraining: its states and its lease |
//! | `book` | all of them, durable, and in memory too |
//! | `fire` | how one begins, and what is told of those that there are |
//! | `work` | what workers do: claim, heartbeat, complete, fail; and cancel |
//! | `outcome` | what completing does: the new space, consumed records, before and after |
//! | `event` | what workers and receivers are told |

mod book;
mod event;
mod fire;
mod outcome;
mod run;
mod work;

#[cfg(test)]
mod tests;

pub(crate) use book::Book;
pub use fire::{Fire, Overrides, Which};
pub use run::State as RetrainingState;
pub use work::{Claim, Completion, Failure, Heartbeat};
