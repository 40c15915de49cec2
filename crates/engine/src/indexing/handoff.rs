//! The list of collections with logged batches to index, and whose turn it is.
//!
//! The hand-off itself is in the collections' queues: spans of SeqIds (see `queue`). Here each
//! collection with such spans stands once. A worker takes the first, indexes a slice of it, and
//! puts it back at the end: collections go on in parallel, one worker each, and a small one waits
//! for a slice of each large one and no longer.
//!
//! What must stay true: a collection is on the list or with a worker at most once; one that has
//! something to index and may be indexed is always on it or with a worker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::LiveCollection;

/// How long a worker waits before it looks again whether a collection may grow.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// See the file's comment.
#[derive(Default)]
pub(crate) struct Handoff {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    list: VecDeque<Arc<LiveCollection>>,
    paused: bool,
    ended: bool,
}

impl Handoff {
    /// Puts a collection on the list, unless it is on it.
    pub(crate) fn offer(&self, collection: &Arc<LiveCollection>) {
        if !collection.listed.swap(true, Ordering::AcqRel) {
            self.push(collection.clone());
        }
    }

    fn push(&self, collection: Arc<LiveCollection>) {
        let mut state = self.state.lock();
        if !state.ended {
            state.list.push_back(collection);
            self.work.notify_one();
        }
    }

    /// The first collection for which `may_grow` holds, which is told whether it is the only one
    /// on the list; waits for one. `None` after the end.
    pub(crate) fn take(
        &self,
        may_grow: impl Fn(&LiveCollection, bool) -> bool,
    ) -> Option<Arc<LiveCollection>> {
        let mut state = self.state.lock();
        loop {
            if state.ended {
                return None;
            }
            state.list.retain(|one| !one.is_over());
            let is_alone = state.list.len() == 1;
            if !state.paused
                && let Some(at) = state.list.iter().position(|one| may_grow(one, is_alone))
            {
                return state.list.remove(at);
            }
            if state.list.is_empty() || state.paused {
                self.work.wait(&mut state);
            } else {
                self.work.wait_for(&mut state, LOOK_AGAIN);
            }
        }
    }

    /// Takes back a collection after a slice.
    pub(crate) fn put_back(&self, collection: Arc<LiveCollection>) {
        if collection.is_over() {
            return;
        }
        if collection.has_backlog() {
            return self.push(collection);
        }
        collection.listed.swap(false, Ordering::AcqRel);
        // A writer may have found it listed between the two.
        if collection.has_backlog() {
            self.offer(&collection);
        }
    }

    /// Tells the workers that memory was freed, so that collections may grow again.
    pub(crate) fn wake(&self) {
        self.work.notify_all();
    }

    /// Lets no worker begin a slice until [`Self::resume`].
    pub(crate) fn pause(&self) {
        self.state.lock().paused = true;
    }

    /// Lets the workers go on.
    pub(crate) fn resume(&self) {
        self.state.lock().paused = false;
        self.work.notify_all();
    }

    /// Whether the workers are paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.state.lock().paused
    }

    /// How many collections are on the list.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().list.len()
    }

    /// Lets the workers go home after the slice they are at; the log keeps what is left.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.list.clear();
        self.work.notify_all();
    }
}
