//! The only bridge from requests to the engine, which is synchronous.
//!
//! What must stay true: nothing that can wait for a disk or compute for long runs on the threads
//! that serve connections; how much runs at once is bounded, reads apart from writes, so that
//! writes that wait for the disk never hold up reads. Large bodies are decoded by as many threads
//! as there are processors, in the order in which they came: more would only delay each other and
//! the reads, and each would hold a body and what is made of it.

use std::sync::Arc;

use tokio::sync::Semaphore;
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
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    decodes: Arc<Semaphore>,
}

impl Blocking {
    /// A bridge for this machine.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            reads: Arc::new(Semaphore::new(processors * READS_PER_PROCESSOR)),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            decodes: Arc::new(Semaphore::new(processors)),
        }
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
        let turn = turns.clone().acquire_owned().await;
        let turn = turn.expect("the semaphores are never closed");
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
    async fn work_answers_and_gives_its_turn_back_even_when_it_panics() {
        let blocking = Arc::new(Blocking {
            reads: Arc::new(Semaphore::new(1)),
            writes: Arc::new(Semaphore::new(1)),
            decodes: Arc::new(Semaphore::new(1)),
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
