//! Waiting until readers see a SeqId: by a thread, or as a future.
//!
//! What must stay true: whoever waits is told at some time: that the SeqId is visible, or why it
//! never will be (the collection is deleted or failed, the database closes). Those who gave up
//! waiting leave nothing behind for long.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::model::SeqId;
use crate::{Error, Result};

/// What a reader waits on until what it must see is visible: a future, or a wait of a thread.
pub struct Sight {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
struct State {
    outcome: Option<Result<()>>,
    waker: Option<Waker>,
}

impl Shared {
    fn finish(&self, outcome: Result<()>) {
        let waker = {
            let mut state = self.state.lock();
            state.outcome.get_or_insert(outcome);
            state.waker.take()
        };
        self.done.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Sight {
    /// A sight of what is visible already.
    pub(crate) fn clear() -> Self {
        let shared = Arc::new(Shared::default());
        shared.finish(Ok(()));
        Self { shared }
    }

    /// Whether it is visible, without a wait.
    pub fn is_clear(&self) -> bool {
        matches!(self.shared.state.lock().outcome, Some(Ok(())))
    }

    /// Waits for so long at most; `None` where that was not enough.
    pub fn wait(&self, at_most: Duration) -> Option<Result<()>> {
        let mut state = self.shared.state.lock();
        if state.outcome.is_none() {
            self.shared
                .done
                .wait_while_for(&mut state, |state| state.outcome.is_none(), at_most);
        }
        state.outcome.clone()
    }
}

impl Future for Sight {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.state.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Those who wait for SeqIds of one collection.
#[derive(Default)]
pub(super) struct Watchers {
    waiting: Mutex<Vec<(SeqId, Arc<Shared>)>>,
}

impl Watchers {
    /// A sight of `target`. The caller looks again at what is visible after this, and calls
    /// [`Self::advance`] if it is there already.
    pub(super) fn watch(&self, target: SeqId) -> Sight {
        let shared = Arc::new(Shared::default());
        let mut waiting = self.waiting.lock();
        waiting.retain(|(_, one)| Arc::strong_count(one) > 1);
        waiting.push((target, shared.clone()));
        Sight { shared }
    }

    /// Tells those who wait for `visible` or less.
    pub(super) fn advance(&self, visible: SeqId) {
        let mut clear = Vec::new();
        self.waiting.lock().retain(|(target, one)| {
            let waits = *target > visible;
            if !waits {
                clear.push(one.clone());
            }
            waits
        });
        clear.iter().for_each(|one| one.finish(Ok(())));
    }

    /// Tells everybody that it will not come.
    pub(super) fn fail(&self, error: &Error) {
        let all = std::mem::take(&mut *self.waiting.lock());
        all.iter()
            .for_each(|(_, one)| one.finish(Err(error.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_are_told_once_it_is_visible_and_others_stay() {
        let watchers = Watchers::default();
        let (near, far) = (watchers.watch(SeqId(5)), watchers.watch(SeqId(9)));
        assert!(near.wait(Duration::from_millis(1)).is_none());
        watchers.advance(SeqId(5));
        assert!(near.is_clear() && !far.is_clear());
        watchers.fail(&Error::internal("gone"));
        let error = far.wait(Duration::ZERO).unwrap().unwrap_err();
        assert_eq!(error.message(), "gone");
        assert!(near.is_clear(), "what was seen stays seen");
    }

    #[test]
    fn a_reader_that_gave_up_leaves_nothing_behind() {
        let watchers = Watchers::default();
        for _ in 0..100 {
            drop(watchers.watch(SeqId(7)));
        }
        let last = watchers.watch(SeqId(7));
        assert_eq!(watchers.waiting.lock().len(), 1);
        drop(last);
    }

    #[test]
    fn a_thread_that_waits_is_woken() {
        let watchers = Arc::new(Watchers::default());
        let sight = watchers.watch(SeqId(1));
        std::thread::scope(|threads| {
            threads.spawn(|| watchers.advance(SeqId(1)));
            assert!(sight.wait(Duration::from_secs(20)).unwrap().is_ok());
        });
    }
}
