//! A named thread that does a round of work every so often.
//!
//! What must stay true: the thread is joined by [`Worker::stop`]; a panic in a round is reported
//! and does not end the thread; no round is started after stop.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::threads::{Priority, lower_priority};
use crate::{Error, Result};

#[derive(Default)]
struct Signal {
    stop: bool,
    again: bool,
}

/// A thread for rounds of upkeep.
pub(crate) struct Worker {
    shared: Arc<(Mutex<Signal>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts a thread called `name` that calls `round` every `interval`,
    /// again at once while the round answers `true`.
    pub(crate) fn start(
        name: &str,
        priority: Priority,
        interval: Duration,
        mut round: impl FnMut() -> bool + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new((Mutex::new(Signal::default()), Condvar::new()));
        let seen = shared.clone();
        let label = name.to_owned();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                lower_priority(priority);
                while wait(&seen, interval) {
                    let done = std::panic::catch_unwind(AssertUnwindSafe(&mut round));
                    match done {
                        Ok(true) => seen.0.lock().again = true,
                        Ok(false) => {}
                        Err(_) => tracing::error!(worker = label, "a round of upkeep panicked"),
                    }
                }
            })
            .map_err(|cause| Error::internal(format!("cannot start thread {name}: {cause}")))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends the thread after the round it is in.
    pub(crate) fn stop(&self) {
        self.shared.0.lock().stop = true;
        self.shared.1.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// Waits for the next round; `false` once it is time to stop.
fn wait(shared: &(Mutex<Signal>, Condvar), interval: Duration) -> bool {
    let mut signal = shared.0.lock();
    if !signal.again && !signal.stop {
        shared.1.wait_for(&mut signal, interval);
    }
    signal.again = false;
    !signal.stop
}
