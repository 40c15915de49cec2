//! A named thread that does a round of work every so often.
//!
//! What must stay true: the thread is joined by [`Worker::stop`]; a panic in a round is reported
//! and does not end the thread; no round is started after stop; what fails again and again costs
//! neither the processor nor the log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::threads::{Priority, lower_priority};
use crate::{Error, Result};

/// A thread for rounds of upkeep.
pub(crate) struct Worker {
    /// Whether to stop.
    shared: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts a thread called `name` that calls `round` at once and then every `interval`, again at
    /// once while the round answers `true`.
    pub(crate) fn start(
        name: &str,
        priority: Priority,
        interval: Duration,
        mut round: impl FnMut() -> bool + Send + 'static,
    ) -> Result<Self> {
        Self::spawn(name, priority, Duration::ZERO, interval, move || {
            if round() { Duration::ZERO } else { interval }
        })
    }

    /// The same for a round that can fail, at first after an interval: it is tried again later and later, and told less and less
    /// often, until it goes well.
    pub(crate) fn start_patient(
        name: &str,
        priority: Priority,
        interval: Duration,
        mut round: impl FnMut() -> Result<bool> + Send + 'static,
    ) -> Result<Self> {
        let label = name.to_owned();
        let mut patience = Patience::new(interval);
        Self::spawn(name, priority, interval, interval, move || match round() {
            Ok(again) => {
                if patience.failures > 0 {
                    let failures = patience.failures;
                    tracing::info!(worker = label, failures, "it works again");
                }
                patience.failures = 0;
                if again { Duration::ZERO } else { interval }
            }
            Err(error) => {
                let (pause, tell) = patience.after_failure();
                let failures = patience.failures;
                if tell {
                    tracing::warn!(
                        worker = label,
                        %error,
                        failures,
                        "a round of upkeep failed and will be tried again"
                    );
                }
                pause
            }
        })
    }

    /// A thread that calls `round` after `first`, which answers how long to wait until the next; after
    /// a panic that is `interval`.
    fn spawn(
        name: &str,
        priority: Priority,
        first: Duration,
        interval: Duration,
        mut round: impl FnMut() -> Duration + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = shared.clone();
        let label = name.to_owned();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                lower_priority(priority);
                let mut pause = first;
                while wait(&seen, pause) {
                    let done = std::panic::catch_unwind(AssertUnwindSafe(&mut round));
                    pause = done.unwrap_or_else(|_| {
                        tracing::error!(worker = label, "a round of upkeep panicked");
                        interval
                    });
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
        *self.shared.0.lock() = true;
        self.shared.1.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// Waits for the next round; `false` once it is time to stop.
fn wait(shared: &(Mutex<bool>, Condvar), pause: Duration) -> bool {
    let mut stop = shared.0.lock();
    if !*stop && !pause.is_zero() {
        shared.1.wait_for(&mut stop, pause);
    }
    !*stop
}

/// How long to wait after failures in a row, and whether to tell of each.
#[derive(Clone, Copy, Debug)]
struct Patience {
    interval: Duration,
    failures: u32,
}

/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// Of the failures after which the pause grows no more, one in so many is told.
const TOLD_ONE_IN: u32 = 8;

impl Patience {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            failures: 0,
        }
    }

    /// The pause after one more failure, and whether it is told.
    fn after_failure(&mut self) -> (Duration, bool) {
        let factor = 1_u32 << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let pause = self.interval.saturating_mul(factor);
        let tell = pause < PAUSE_MAX || self.failures.is_multiple_of(TOLD_ONE_IN);
        (pause.min(PAUSE_MAX).max(self.interval), tell)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_most_failures_at_the_limit_are_not_told() {
        let mut patience = Patience::new(Duration::from_millis(250));
        let all: Vec<(Duration, bool)> = (0..64).map(|_| patience.after_failure()).collect();
        let pauses: Vec<u128> = all.iter().map(|(pause, _)| pause.as_millis()).collect();
        assert_eq!(pauses[..7], [250, 500, 1000, 2000, 4000, 8000, 8000]);
        assert!(pauses[7..].iter().all(|pause| *pause == 8000));
        assert_eq!(all.iter().filter(|(_, tell)| *tell).count(), 5 + 8);
        patience.failures = 0;
        assert_eq!(patience.after_failure(), (patience.interval, true));
        let mut slow = Patience::new(Duration::from_mins(1));
        assert_eq!(slow.after_failure().0, Duration::from_mins(1));
    }

    #[test]
    fn a_worker_goes_on_after_failures_and_panics_until_it_is_stopped() {
        let (tell, told) = mpsc::channel();
        let mut round = 0;
        let worker = Worker::start_patient(
            "test",
            Priority::Usual,
            Duration::from_millis(1),
            move || {
                round += 1;
                tell.send(round).expect("the test listens");
                match round {
                    1 => Err(Error::internal("for the test")),
                    2 => panic!("for the test"),
                    _ => Ok(round < 5),
                }
            },
        )
        .expect("a thread");
        let limit = Duration::from_secs(30);
        for expected in 1..=6 {
            assert_eq!(told.recv_timeout(limit), Ok(expected));
        }
        worker.stop();
        while told.try_recv().is_ok() {}
        assert_eq!(told.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }
}
