//! The clock of the engine, injected so that tests can hold it.
//!
//! What must stay true: no other file of the engine asks the system for the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Tells the time. Implementations are shared between threads.
pub trait Clock: Send + Sync + 'static {
    /// Nanoseconds since the Unix epoch; may jump when an operator sets the system's clock.
    fn wall_nanoseconds(&self) -> u64;
    /// Time since some fixed moment; never runs backwards.
    fn monotonic(&self) -> Duration;
}

/// The clock of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// Makes a clock whose monotonic time starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one home of the system's clock"
    )]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            start: std::time::Instant::now(),
        })
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one home of the system's clock"
    )]
    fn wall_nanoseconds(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as u64)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock whose wall time is always that of its making.
#[derive(Debug)]
pub(crate) struct StillClock {
    wall_nanoseconds: u64,
    running: Arc<SystemClock>,
}

impl StillClock {
    /// A clock that stands where `clock` is.
    pub(crate) fn at(clock: &dyn Clock) -> Arc<Self> {
        Arc::new(Self {
            wall_nanoseconds: clock.wall_nanoseconds(),
            running: SystemClock::new(),
        })
    }
}

impl Clock for StillClock {
    fn wall_nanoseconds(&self) -> u64 {
        self.wall_nanoseconds
    }

    fn monotonic(&self) -> Duration {
        self.running.monotonic()
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    nanoseconds: AtomicU64,
    /// How far the wall clock was set forward or back.
    set_by: AtomicI64,
}

impl ManualClock {
    /// Moves both readings forward by `step`.
    pub fn advance(&self, step: Duration) {
        self.nanoseconds
            .fetch_add(step.as_nanos() as u64, Ordering::SeqCst);
    }

    /// Sets the wall clock forward or, below zero, back by so many seconds.
    pub fn set_by(&self, seconds: i64) {
        self.set_by
            .fetch_add(seconds * 1_000_000_000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall_nanoseconds(&self) -> u64 {
        let passed = self.nanoseconds.load(Ordering::SeqCst);
        passed.saturating_add_signed(self.set_by.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::SeqCst))
    }
}
