//! Whoever asked for an answer: whether they still wait for it, and how much of it they may have.
//!
//! What must stay true: nothing is worked out for long for somebody who has gone, and no answer takes more
//! memory than was allowed for it, nor all answers together more than for all. A thread serves one asker at a
//! time, which is known to the thread alone: what is between who asks and what reads the records need not
//! hand it on. Without one everything is allowed, as in a program that has the database to itself.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::{Error, ErrorKind, Result};

/// How many answers of the largest size may be made at the same time.
const LARGEST_AT_ONCE: u64 = 2;

/// What answers may take in memory, one and all together.
#[derive(Debug)]
pub struct Answers {
    each_bytes_max: u64,
    taken: Arc<AtomicU64>,
    clock: Arc<SystemClock>,
}

/// See the head of this file. Clones are the same asker.
#[derive(Clone, Debug)]
pub struct Asker(Arc<Asking>);

#[derive(Debug)]
struct Asking {
    gone: AtomicBool,
    /// When it is gone by itself, on the clock.
    until: OnceLock<Duration>,
    clock: Arc<SystemClock>,
    taken: AtomicU64,
    bytes_max: u64,
    /// What all answers take.
    of_all: Arc<AtomicU64>,
}

thread_local! {
    /// Whom this thread serves.
    static SERVED: RefCell<Option<Asker>> = const { RefCell::new(None) };
}

impl Answers {
    /// Answers of `each_bytes_max` bytes at most; all of them together may take twice as much.
    pub fn new(each_bytes_max: u64) -> Self {
        Self {
            each_bytes_max,
            taken: Arc::default(),
            clock: SystemClock::new(),
        }
    }

    /// Somebody who asks for one.
    pub fn asker(&self) -> Asker {
        Asker(Arc::new(Asking {
            gone: AtomicBool::new(false),
            until: OnceLock::new(),
            clock: self.clock.clone(),
            taken: AtomicU64::new(0),
            bytes_max: self.each_bytes_max,
            of_all: self.taken.clone(),
        }))
    }
}

impl Asker {
    /// Says that nobody waits for the answer any more.
    pub fn leave(&self) {
        self.0.gone.store(true, Ordering::Relaxed);
    }

    /// Says that nobody waits longer than this from now on, for where nobody can come back to say so. Only the
    /// first time counts.
    pub fn leave_after(&self, wait_max: Duration) {
        let until = self.0.clock.monotonic().saturating_add(wait_max);
        let _ = self.0.until.set(until);
    }

    /// Does `work` for this asker, on this thread.
    pub fn serve<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Before(Option<Asker>);
        impl Drop for Before {
            fn drop(&mut self) {
                SERVED.with(|served| served.replace(self.0.take()));
            }
        }
        let _before = Before(SERVED.with(|served| served.replace(Some(self.clone()))));
        work()
    }

    fn is_gone(&self) -> bool {
        let asking = &*self.0;
        let is_late = |until: &Duration| asking.clock.monotonic() >= *until;
        asking.gone.load(Ordering::Relaxed) || asking.until.get().is_some_and(is_late)
    }

    fn take(&self, bytes: u64) -> Result<()> {
        let asking = &*self.0;
        let taken = asking.taken.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let of_all = asking.of_all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if taken > asking.bytes_max {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "The answer would have more than {} bytes (setting answer_bytes_max); ask for fewer \
                     records (limit, n_results) or fewer columns (include, select)",
                    asking.bytes_max
                ),
            ));
        }
        if of_all > asking.bytes_max.saturating_mul(LARGEST_AT_ONCE) {
            return Err(Error::new(
                ErrorKind::Busy,
                "Other answers take the memory that there is for them; retry in a second",
            ));
        }
        Ok(())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let taken = *self.taken.get_mut();
        self.of_all.fetch_sub(taken, Ordering::Relaxed);
    }
}

/// Fails where nobody waits any more for what this thread works out.
pub(crate) fn still_waits() -> Result<()> {
    SERVED.with_borrow(|served| match served {
        Some(asker) if asker.is_gone() => Err(gone()),
        _ => Ok(()),
    })
}

/// Whether somebody waits for what this thread works out; to be asked on any thread.
pub(crate) fn waits() -> impl Fn() -> bool + Sync {
    let served = SERVED.with_borrow(Clone::clone);
    move || served.as_ref().is_none_or(|asker| !asker.is_gone())
}

/// Takes `bytes` for the answer that this thread makes, and fails as [`still_waits`] does.
pub(crate) fn take(bytes: usize) -> Result<()> {
    SERVED.with_borrow(|served| match served {
        Some(asker) if asker.is_gone() => Err(gone()),
        Some(asker) => asker.take(bytes as u64),
        None => Ok(()),
    })
}

/// What a search answers that nobody waits for.
pub(crate) fn gone() -> Error {
    Error::new(
        ErrorKind::Busy,
        "Nobody waits for this answer any more, so it was left",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_takes_what_it_may_and_gives_it_back_with_its_asker() {
        let answers = Answers::new(100);
        let (first, second, third) = (answers.asker(), answers.asker(), answers.asker());
        first.serve(|| take(90)).unwrap();
        let error = first.serve(|| take(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("more than 100 bytes"), "{error}");
        second.serve(|| take(80)).unwrap();
        let busy = third.serve(|| take(30)).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
        drop((first, third));
        answers.asker().serve(|| take(100)).unwrap();
        take(usize::MAX).unwrap();
    }

    #[test]
    fn who_is_gone_is_served_no_longer_and_askers_of_a_thread_take_turns() {
        let answers = Answers::new(100);
        let (outer, inner) = (answers.asker(), answers.asker());
        outer.serve(|| {
            let goes_on = waits();
            inner.serve(|| {
                inner.leave();
                assert!(still_waits().is_err() && take(1).is_err() && !waits()());
            });
            still_waits().unwrap();
            assert!(goes_on());
            outer.leave();
            assert!(!goes_on());
        });
        still_waits().unwrap();
    }

    #[test]
    fn who_waits_so_long_only_is_gone_by_itself_then() {
        let asker = Answers::new(100).asker();
        asker.leave_after(Duration::from_hours(1));
        asker.serve(still_waits).unwrap();
        let asker = Answers::new(100).asker();
        asker.leave_after(Duration::ZERO);
        assert!(asker.serve(still_waits).is_err() && !asker.serve(waits)());
    }
}
