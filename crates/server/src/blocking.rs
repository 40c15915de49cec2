//! The only bridge from requests to the engine, which is synchronous.
//!
//! What must stay true: nothing that can wait for a disk or compute for long runs on the threads
//! that serve connections; how much runs at once is bounded, reads apart from writes, so that
//! writes that wait for the disk never hold up reads. Large bodies are decoded by as many threads
//! as there are processors, in the order in which they came: more would only delay each other and
//! the reads, and each would hold a body and what is made of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vermilion_protocol::ApiError;

/// Writes at once. They mostly wait for one common fsync, so many together are cheap.
const WRITES_MAX: usize = 192;
/// Reads at once for each processor.
const READS_PER_PROCESSOR: usize = 8;

/// What a piece of work is, which decides with what it shares its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Looks at records or the catalogue.
    Read,
    /// Changes records or the catalogue.
    Write,
    /// Makes columns of a large body, without a wait.
    Decode,
}

/// Runs work on tokio's threads for blocking work.
#[derive(Debug)]
pub(crate) struct Blocking {
    reads: Turns,
    writes: Turns,
    decodes: Turns,
}

/// Turns of one kind, and how many wait for one.
#[derive(Debug)]
struct Turns {
    semaphore: Arc<Semaphore>,
    waiting: AtomicU64,
}

impl Turns {
    fn new(at_once: usize) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicU64::new(0),
        }
    }

    async fn take(&self) -> OwnedSemaphorePermit {
        let _waiting = Waiting::new(&self.waiting);
        let turn = self.semaphore.clone().acquire_owned().await;
        turn.expect("the semaphores are never closed")
    }
}

/// Counts as waiting until it is dropped, also when the client goes away.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Blocking {
    /// A bridge for this machine.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            reads: Turns::new(processors * READS_PER_PROCESSOR),
            writes: Turns::new(WRITES_MAX),
            decodes: Turns::new(processors),
        }
    }

    /// Reads and writes that wait for their turn.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let of = |turns: &Turns| turns.waiting.load(Ordering::Relaxed);
        (of(&self.reads), of(&self.writes))
    }

    /// Runs `work` when its turn comes. Work that has begun runs to its end even if the client
    /// goes away; work that has not is forgotten then.
    pub(crate) async fn run<T, F>(&self, kind: Work, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, ApiError> + Send + 'static,
    {
        let turns = match kind {
            Work::Read => &self.reads,
            Work::Write => &self.writes,
            Work::Decode => &self.decodes,
        };
        let turn = turns.take().await;
        let span = tracing::Span::current();
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            span.in_scope(work)
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(ApiError::new(503, "the server is stopping")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_a_turn_is_counted_until_it_has_it_or_goes_away() {
        let turns = Turns::new(1);
        let first = turns.take().await;
        let waiting = || turns.waiting.load(Ordering::Relaxed);
        {
            let mut second = std::pin::pin!(turns.take());
            let soon = std::time::Duration::from_millis(1);
            assert!(tokio::time::timeout(soon, second.as_mut()).await.is_err());
            assert_eq!(waiting(), 1);
        }
        assert_eq!(waiting(), 0, "it went away");
        drop(first);
        let _turn = turns.take().await;
        assert_eq!(waiting(), 0);
    }

    #[tokio::test]
    async fn work_answers_and_gives_its_turn_back_even_when_it_panics() {
        let blocking = Arc::new(Blocking {
            reads: Turns::new(1),
            writes: Turns::new(1),
            decodes: Turns::new(1),
        });
        let panicking = blocking.clone();
        let task = tokio::spawn(async move {
            panicking
                .run(Work::Read, || -> Result<(), ApiError> {
                    panic!("for the test")
                })
                .await
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(blocking.run(Work::Read, || Ok(7)).await, Ok(7));
        let refused = blocking.run(Work::Write, || Err::<(), _>(ApiError::invalid("no")));
        assert_eq!(refused.await.unwrap_err().status, 400);
    }
}
