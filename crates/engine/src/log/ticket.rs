//! A queued append, which can be waited for or awaited.
//!
//! What must stay true: every ticket is done at some time, whatever becomes of the log: a
//! [`Completion`] that is dropped fails its ticket.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};

use crate::model::{SeqId, SeqRange};
use crate::{Error, ErrorKind, Result};

/// A queued append. A clone is the same append.
///
/// It can be waited for by a thread, awaited as a future, or told by a callback.
#[derive(Clone)]
pub struct Ticket {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    done: Condvar,
}

type Callback = Box<dyn FnOnce(Result<SeqRange>) + Send>;

#[derive(Default)]
struct State {
    outcome: Option<Result<SeqRange>>,
    wakers: Vec<Waker>,
    callbacks: Vec<Callback>,
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
        completion.complete(&Ok(seqs));
        ticket
    }

    /// The SeqIds of the batch, once it is durable; before, and where it failed, none (an empty
    /// range).
    pub fn seqs(&self) -> SeqRange {
        match &self.shared.state.lock().outcome {
            Some(Ok(seqs)) => *seqs,
            Some(Err(_)) | None => SeqRange::of(SeqId(1), 0),
        }
    }

    /// What became of the batch, without a wait; `None` while that is open.
    pub fn outcome(&self) -> Option<Result<SeqRange>> {
        self.shared.state.lock().outcome.clone()
    }

    /// Waits until the batch is durable, or has failed.
    pub fn wait(&self) -> Result<SeqRange> {
        let mut state = self.shared.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.clone();
            }
            self.shared.done.wait(&mut state);
        }
    }

    /// Lets `callback` be called once the batch is durable, or has failed: at once where that is
    /// so already, otherwise by the log's thread, which must not be held up.
    pub fn on_done(&self, callback: impl FnOnce(Result<SeqRange>) + Send + 'static) {
        let mut state = self.shared.state.lock();
        match state.outcome.clone() {
            None => state.callbacks.push(Box::new(callback)),
            Some(outcome) => {
                drop(state);
                callback(outcome);
            }
        }
    }
}

impl Future for Ticket {
    type Output = Result<SeqRange>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.state.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        let waker = context.waker();
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        Poll::Pending
    }
}

/// What completes a ticket.
pub(super) struct Completion {
    shared: Option<Arc<Shared>>,
}

impl Completion {
    /// Tells everybody who waits.
    pub(super) fn complete(mut self, outcome: &Result<SeqRange>) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: &Result<SeqRange>) {
        let Some(shared) = self.shared.take() else {
            return;
        };
        let mut state = shared.state.lock();
        state.outcome = Some(outcome.clone());
        let wakers = std::mem::take(&mut state.wakers);
        let callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        shared.done.notify_all();
        wakers.into_iter().for_each(Waker::wake);
        for callback in callbacks {
            callback(outcome.clone());
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.finish(&Err(Error::new(
            ErrorKind::Closed,
            "The log ended before the batch was durable; whether it is kept shows after a restart.",
        )));
    }
}
