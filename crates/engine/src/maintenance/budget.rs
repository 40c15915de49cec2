//! What maintenance may take of the machine: a share of a processor, bytes of the disk a second,
//! and nothing while a request waits for the same.
//!
//! What must stay true: maintenance is asked between steps of a few milliseconds; it rests at the
//! next step after a request came, and never so long that it stands still for ever; what all its
//! threads read and write together stays within the budget. Nobody holds a lock that a request
//! needs while resting here.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::config::MaintenanceBudget;
use crate::storage::traffic;

/// How long a step rests while requests are being answered.
const REST: Duration = Duration::from_millis(5);
/// One look whether the work is still wanted is due after this time of rest.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What a disk that was idle may be asked for at once, as time at the budget's rate.
const BURST: Duration = Duration::from_millis(100);
/// The longest rest of one step, so that a step of very many bytes can be called off.
const REST_MAX: Duration = Duration::from_secs(10);

/// The budget that all threads of maintenance share.
pub(crate) struct Budget {
    limits: MaintenanceBudget,
    clock: Arc<dyn Clock>,
    /// When the disk is free again, by the monotonic clock.
    free_at: Mutex<Duration>,
}

impl Budget {
    /// Nothing is spent yet.
    pub(crate) fn new(limits: MaintenanceBudget, clock: Arc<dyn Clock>) -> Self {
        Self {
            limits,
            clock,
            free_at: Mutex::new(Duration::ZERO),
        }
    }

    /// Called between the steps of work, on the thread that does it: rests as long as the budget and
    /// the requests say, while the work is `wanted`.
    pub(crate) fn step(&self, is_busy: &dyn Fn() -> bool, wanted: &dyn Fn() -> bool) {
        let now = self.clock.monotonic();
        let spent = traffic::take();
        let mut rest = self
            .disk_rest(spent.bytes, now)
            .max(self.cpu_rest(spent.processor));
        if is_busy() {
            rest = rest.max(REST);
        }
        sleep_while(rest.min(REST_MAX), wanted);
        // What was slept is no work.
        traffic::begin();
    }

    /// How long the disk must be left alone after `bytes` more.
    fn disk_rest(&self, bytes: u64, now: Duration) -> Duration {
        let Some(rate) = self.limits.bytes_per_second.filter(|rate| *rate > 0) else {
            return Duration::ZERO;
        };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let mut free_at = self.free_at.lock();
        *free_at = (*free_at).max(now.saturating_sub(BURST)) + cost;
        free_at.saturating_sub(now)
    }

    /// How long a thread must rest that had the processor for `took`.
    fn cpu_rest(&self, took: Duration) -> Duration {
        let percent = u32::from(self.limits.cpu_percent.clamp(1, 100));
        took * (100 - percent) / percent
    }
}

fn sleep_while(mut rest: Duration, wanted: &dyn Fn() -> bool) {
    while !rest.is_zero() && wanted() {
        let slice = rest.min(LOOK_AGAIN);
        std::thread::sleep(slice);
        rest -= slice;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::clock::ManualClock;

    fn budget(bytes_per_second: Option<u64>, cpu_percent: u8) -> (Budget, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_secs(100));
        let limits = MaintenanceBudget {
            bytes_per_second,
            cpu_percent,
        };
        (Budget::new(limits, clock.clone()), clock)
    }

    #[test]
    fn bytes_of_all_threads_together_stay_within_the_rate() {
        let (budget, clock) = budget(Some(1_000_000), 100);
        let mut now = clock.monotonic();
        let begun = now;
        let mut written = 0;
        for round in 0..500_u64 {
            let bytes = 1_000 + round * 37 % 90_000;
            written += bytes;
            now += budget.disk_rest(bytes, now);
            let allowed = (now.saturating_sub(begun) + BURST).as_secs_f64() * 1e6;
            assert!(
                written as f64 <= allowed + 1.0,
                "{written} in {:?}",
                now.saturating_sub(begun)
            );
        }
        // Nor is the disk left idle for longer than the rate asks for.
        assert!(now.saturating_sub(begun).as_secs_f64() <= written as f64 / 1e6 + 0.001);
        now += Duration::from_mins(1);
        assert_eq!(
            budget.disk_rest(50_000, now),
            Duration::ZERO,
            "time saved up is a burst"
        );
        assert!(budget.disk_rest(1_000_000, now) > Duration::from_millis(900));
    }

    #[test]
    fn without_a_rate_and_with_the_whole_processor_nobody_rests() {
        let (budget, clock) = budget(None, 100);
        assert_eq!(
            budget.disk_rest(u64::MAX, clock.monotonic()),
            Duration::ZERO
        );
        assert_eq!(budget.cpu_rest(Duration::from_secs(5)), Duration::ZERO);
    }

    #[test]
    fn a_share_of_the_processor_is_kept_by_resting() {
        for (percent, rest) in [(50, 10), (25, 30), (20, 40), (1, 990)] {
            let (budget, _) = budget(None, percent);
            let took = Duration::from_millis(10);
            assert_eq!(
                budget.cpu_rest(took),
                Duration::from_millis(rest),
                "{percent} %"
            );
        }
    }

    #[test]
    fn a_step_rests_while_requests_run_looks_every_ten_milliseconds_and_ends_when_called_off() {
        let (budget, _) = budget(Some(1), 100);
        let looks = Cell::new(0);
        let wanted = || {
            looks.set(looks.get() + 1);
            looks.get() < 3
        };
        traffic::add(1 << 40);
        budget.step(&|| false, &wanted);
        assert_eq!(
            looks.get(),
            3,
            "a rest of ten seconds was called off at the third look"
        );
        let (budget, _) = self::budget(None, 100);
        let rested = Cell::new(false);
        let note = || {
            rested.set(true);
            true
        };
        budget.step(&|| false, &note);
        assert!(!rested.get(), "nobody asks for anything");
        budget.step(&|| true, &note);
        assert!(rested.get(), "a request is being answered");
    }
}
