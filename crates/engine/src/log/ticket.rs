//! A queued append, which can be waited for.
//!
//! What must stay true: every ticket is done at some time, whatever becomes of the log: a
//! [`Completion`] that is dropped fails its ticket.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::lend::VectorPlace;
use crate::model::SeqRange;
use crate::{Error, ErrorKind, Result};

/// A queued append. A clone is the same append.
#[derive(Clone)]
pub struct Ticket {
    shared: Arc<Shared>,
}

/// A batch that is durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appended {
    /// Its SeqIds.
    pub(super) seqs: SeqRange,
    /// Where its vectors are, if they are worth being looked at there.
    pub(super) vectors: Option<VectorPlace>,
}

#[derive(Default)]
struct Shared {
    outcome: Mutex<Option<Result<Appended>>>,
    done: Condvar,
}

impl Ticket {
    /// A ticket, and what completes it.
    pub(super) fn new() -> (Self, Completion) {
        let shared = Arc::new(Shared::default());
        let completion = Completion {
            shared: Some(shared.clone()),
        };
        (Self { shared }, completion)
    }

    /// A ticket that is done.
    pub(super) fn done(seqs: SeqRange) -> Self {
        let (ticket, completion) = Self::new();
        completion.complete(Ok(Appended {
            seqs,
            vectors: None,
        }));
        ticket
    }

    /// What became of the batch, without a wait; `None` while that is open.
    pub fn outcome(&self) -> Option<Result<SeqRange>> {
        let outcome = self.shared.outcome.lock().clone();
        outcome.map(|outcome| outcome.map(|appended| appended.seqs))
    }

    /// Where the vectors of the batch are in the log, if it is durable and they are worth being looked at there.
    pub(crate) fn vectors(&self) -> Option<VectorPlace> {
        let outcome = self.shared.outcome.lock();
        let appended = outcome.as_ref()?.as_ref().ok()?;
        appended.vectors
    }

    /// Waits until the batch is durable, or has failed.
    pub fn wait(&self) -> Result<SeqRange> {
        let mut outcome = self.shared.outcome.lock();
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone().map(|appended| appended.seqs);
            }
            self.shared.done.wait(&mut outcome);
        }
    }
}

/// What completes a ticket.
pub(super) struct Completion {
    shared: Option<Arc<Shared>>,
}

impl Completion {
    /// Tells everybody who waits.
    pub(super) fn complete(mut self, outcome: Result<Appended>) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Result<Appended>) {
        let Some(shared) = self.shared.take() else {
            return;
        };
        *shared.outcome.lock() = Some(outcome);
        shared.done.notify_all();
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.finish(Err(Error::new(
            ErrorKind::Closed,
            "The log ended before the batch was durable; whether it is kept shows after a restart.",
        )));
    }
}
