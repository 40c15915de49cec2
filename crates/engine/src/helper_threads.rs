//! Work that is split over a few threads.
//!
//! What must stay true: in the whole process at most as many helpers run at a time as there are
//! processors beside one, and who finds none free works alone; a helper has a name, the priority of
//! the thread that it helps, rests while that one rests, and is joined before the work is handed
//! back. Results come in the order of the parts, whoever did them.

use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::Result;

/// How often a thread that has no part left asks for its helpers whether to go on.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Helpers at work.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Processors of this process, at least one. They are counted once: the system reads files for that, which
/// takes as long as a short search.
fn processors() -> usize {
    static COUNTED: OnceLock<usize> = OnceLock::new();
    *COUNTED.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Leave for some more threads to run.
#[derive(Debug)]
pub(crate) struct Helpers(usize);

impl Helpers {
    /// Takes as many of `wanted` helpers as are free, perhaps none.
    pub(crate) fn take(wanted: usize) -> Self {
        if wanted == 0 {
            return Self(0);
        }
        let most = processors() - 1;
        let mut taken = 0;
        let grant = |at_work: usize| {
            taken = wanted.min(most.saturating_sub(at_work));
            (taken > 0).then_some(at_work + taken)
        };
        // Nothing to update means that none is free.
        let _ = AT_WORK.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grant);
        Self(taken)
    }

    /// How many helpers were taken.
    pub(crate) fn count(&self) -> usize {
        self.0
    }

    /// No helper.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(0)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Does `work` for each of `parts`, on this thread and those of `helpers`, which are called `name`.
/// Each part is given what tells whether to go on: on this thread that is `go_on`, on the others
/// whether this one was told to, and none of them failed. While `go_on` takes its time, since
/// requests come first, the others wait where they ask.
pub(crate) fn split<T: Send, R: Send>(
    helpers: &Helpers,
    name: &str,
    parts: impl IntoIterator<Item = T>,
    go_on: &dyn Fn() -> bool,
    work: impl Fn(T, &dyn Fn() -> bool) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let parts: Vec<T> = parts.into_iter().collect();
    let others = helpers.0.min(parts.len().saturating_sub(1));
    let queue = Mutex::new(parts.into_iter().enumerate());
    let stopped = AtomicBool::new(false);
    let resting = Mutex::new(());
    let running = AtomicUsize::new(0);
    let owner = std::thread::current();
    let run = |go_on: &dyn Fn() -> bool| {
        let mut done = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            let next = queue.lock().next();
            let Some((at, part)) = next else {
                break;
            };
            match work(part, go_on) {
                Ok(result) => done.push((at, result)),
                Err(error) => {
                    stopped.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(done)
    };
    let helped = || {
        let _ending = Ending(&running, &owner);
        run(&|| {
            drop(resting.lock());
            !stopped.load(Ordering::Relaxed)
        })
    };
    let ask = || {
        let _resting = resting.lock();
        let go_on = go_on();
        if !go_on {
            stopped.store(true, Ordering::Relaxed);
        }
        go_on
    };
    let done = std::thread::scope(|scope| {
        let spawn = |_| {
            running.fetch_add(1, Ordering::Relaxed);
            let thread = std::thread::Builder::new().name(name.to_owned());
            let thread = thread.spawn_scoped(scope, helped);
            // Where the system gives no thread, there is one fewer.
            thread.inspect_err(|_| drop(Ending(&running, &owner))).ok()
        };
        let threads: Vec<_> = (0..others).filter_map(spawn).collect();
        let own = run(&ask);
        while running.load(Ordering::Relaxed) > 0 {
            ask();
            std::thread::park_timeout(ASK_EVERY);
        }
        let helped = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        let all: Vec<Result<Vec<(usize, R)>>> = std::iter::once(own).chain(helped).collect();
        all.into_iter().collect::<Result<Vec<_>>>()
    })?;
    let mut done: Vec<(usize, R)> = done.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// Counts a thread as ended when it does, however that is, and tells the one that waits for it.
struct Ending<'a>(&'a AtomicUsize, &'a Thread);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        self.1.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind};

    /// As many helpers as asked for, whatever the machine has.
    fn granted(count: usize) -> Helpers {
        AT_WORK.fetch_add(count, Ordering::Relaxed);
        Helpers(count)
    }

    #[test]
    fn results_come_in_the_order_of_the_parts_with_helpers_and_without() {
        for helpers in [Helpers::none(), granted(3)] {
            let squares = split(&helpers, "test", 0..1000u64, &|| true, |part, _| {
                Ok(part * part)
            });
            let squares = squares.expect("no part fails");
            assert!(squares.into_iter().eq((0..1000).map(|part| part * part)));
        }
    }

    #[test]
    fn helpers_have_the_name_and_do_parts() {
        let both = std::sync::Barrier::new(2);
        let names = split(&granted(1), "helping", 0..2, &|| true, |_, _| {
            // Each part waits for the other, so that two threads must do them.
            both.wait();
            Ok(std::thread::current().name().map(str::to_owned))
        });
        let names = names.expect("no part fails");
        assert!(names.contains(&Some("helping".to_owned())), "{names:?}");
    }

    #[test]
    fn a_part_that_fails_ends_the_work_and_so_does_an_answer_to_stop() {
        for helpers in [Helpers::none(), granted(2)] {
            let failed = split(&helpers, "test", 0..100_000, &|| true, |part, _| {
                if part == 5 {
                    return Err(Error::invalid("five"));
                }
                Ok(())
            });
            assert_eq!(failed.expect_err("five fails").message(), "five");
            let stopped = split(&helpers, "test", 0..100_000, &|| false, |_, go_on| {
                while go_on() {
                    std::thread::yield_now();
                }
                Err::<(), _>(Error::new(ErrorKind::Busy, "stopped"))
            });
            assert_eq!(stopped.expect_err("stopped").kind(), ErrorKind::Busy);
        }
    }

    #[test]
    fn helpers_rest_while_the_thread_that_they_help_does() {
        let owner = std::thread::current().id();
        let rests = AtomicUsize::new(0);
        let steps_while_resting = AtomicUsize::new(0);
        let is_resting = AtomicBool::new(false);
        let both = std::sync::Barrier::new(2);
        let go_on = || {
            is_resting.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(2));
            is_resting.store(false, Ordering::SeqCst);
            rests.fetch_add(1, Ordering::SeqCst) < 20
        };
        // The helper's part has no end, so that it is the tail's question that stops it.
        let stopped = split(&granted(1), "test", 0..2, &go_on, |_, go_on| {
            both.wait();
            while std::thread::current().id() != owner {
                if !go_on() {
                    return Err(Error::new(ErrorKind::Busy, "stopped"));
                }
                if is_resting.load(Ordering::SeqCst) {
                    steps_while_resting.fetch_add(1, Ordering::SeqCst);
                }
            }
            Ok(())
        });
        assert_eq!(stopped.expect_err("stopped").kind(), ErrorKind::Busy);
        let rests = rests.load(Ordering::SeqCst);
        assert!(rests >= 20, "{rests}");
        // A rest can begin between a question and the look at it: once for each.
        assert!(steps_while_resting.load(Ordering::SeqCst) <= rests + 1);
    }

    #[test]
    fn no_more_helpers_are_given_than_there_are_processors_beside_one() {
        let all = Helpers::take(usize::MAX);
        assert!(all.0 < processors());
        assert_eq!(Helpers::take(0).0, 0);
    }
}
