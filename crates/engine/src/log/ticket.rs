//! An append under way: waited for by a thread, or awaited by a task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};

use crate::Result;
use crate::model::SeqRange;

#[derive(Default)]
struct Outcome {
    result: Option<Result<SeqRange>>,
    waker: Option<Waker>,
}

/// A queued append. It is done when the batch is durable, or has failed for good; a batch that
/// failed is absent.
#[derive(Clone, Default)]
pub struct Ticket {
    shared: Arc<(Mutex<Outcome>, Condvar)>,
}

impl Ticket {
    /// Waits until the batch is durable, and answers its SeqIds.
    pub fn wait(&self) -> Result<SeqRange> {
        let mut outcome = self.shared.0.lock();
        loop {
            if let Some(result) = &outcome.result {
                return result.clone();
            }
            self.shared.1.wait(&mut outcome);
        }
    }

    pub(super) fn finish(&self, result: Result<SeqRange>) {
        let mut outcome = self.shared.0.lock();
        outcome.result = Some(result);
        let waker = outcome.waker.take();
        drop(outcome);
        self.shared.1.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Ticket {
    type Output = Result<SeqRange>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = self.shared.0.lock();
        match &outcome.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                outcome.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
