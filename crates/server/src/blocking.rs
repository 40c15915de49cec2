//! The only bridge from requests to the engine, which is synchronous.
//!
//! What must stay true: nothing that can wait for a disk or compute for long runs on the threads
//! that serve connections, but for reads of records while all that came lately were brief, and then one of these
//! threads is always left; how much runs at once is bounded, reads apart from writes, so that
//! writes that wait for the disk never hold up reads. Large bodies are decoded by as many threads
//! as there are processors, in the order in which they came: more would only delay each other and
//! the reads, and each would hold a body and what is made of it. These threads stand behind those
//! that answer reads: decoding is most of what a server does while records are poured in.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use vermilion_engine::asker::{Answers, Asker};
use vermilion_engine::threads::{Priority, lower_priority};
use vermilion_protocol::ApiError;

use crate::config::ServerConfig;

/// Writes at once. They mostly wait for one common fsync, so many together are cheap.
const WRITES_MAX: usize = 192;
/// Reads at once for each processor.
const READS_PER_PROCESSOR: usize = 8;

/// How long a brief read takes at most: as long as handing it to another thread and back, a few times.
const BRIEF: Duration = Duration::from_micros(400);
/// Brief reads in turn after which the next one is taken for one too.
const BRIEF_IN_TURN: u32 = 32;

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

/// Runs reads and writes on tokio's threads for blocking work, and decodes on threads of its own.
#[derive(Debug)]
pub(crate) struct Blocking {
    reads: Turns,
    writes: Turns,
    decodes: Turns,
    decoders: Decoders,
    brief: Arc<Brief>,
    answers: Answers,
    read_timeout: Duration,
}

/// Reads that are taken for brief, which run where they are asked for: to hand them over and back takes as long
/// as a search.
#[derive(Debug, Default)]
struct Brief {
    /// How many reads in turn were brief.
    in_turn: AtomicU32,
    /// How many run now.
    running: AtomicUsize,
}

/// A read that runs where it was asked for.
struct Here<'a>(&'a Brief);

impl Brief {
    /// Leave to run a read on this thread, one of `threads` that serve connections.
    fn enter(&self, threads: usize) -> Option<Here<'_>> {
        if self.in_turn.load(Ordering::Relaxed) < BRIEF_IN_TURN {
            return None;
        }
        let here = Here(self);
        let others = self.running.fetch_add(1, Ordering::Relaxed);
        // Where it may not, it is counted out again.
        (others + 1 < threads).then_some(here)
    }

    /// Notes how long a read took.
    fn note(&self, took: Duration) {
        if took > BRIEF {
            self.in_turn.store(0, Ordering::Relaxed);
        } else if self.in_turn.load(Ordering::Relaxed) < BRIEF_IN_TURN {
            self.in_turn.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
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

/// Threads that decode, each one body at a time.
#[derive(Debug)]
struct Decoders {
    /// Work for whichever of them is free; taken away to end them.
    queue: Option<mpsc::Sender<Decode>>,
    threads: Vec<JoinHandle<()>>,
}

type Decode = Box<dyn FnOnce() + Send>;

impl Decoders {
    fn start(count: usize) -> std::io::Result<Self> {
        let (queue, work) = mpsc::channel::<Decode>();
        let work = Arc::new(Mutex::new(work));
        let start = |number: usize| {
            let work = work.clone();
            std::thread::Builder::new()
                .name(format!("vermilion-decode-{number}"))
                .spawn(move || {
                    lower_priority(Priority::Behind);
                    // Whoever waits for the next body holds the lock; the others wait for that.
                    while let Ok(decode) = { work.lock().recv() } {
                        decode();
                    }
                })
        };
        let threads = (0..count).map(start).collect::<std::io::Result<_>>()?;
        Ok(Self {
            queue: Some(queue),
            threads,
        })
    }

    /// Runs `work` on one of the threads; the caller's turns bound how much waits.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (answer, answered) = oneshot::channel();
        let decode = Box::new(move || {
            // Nobody listens where the client went away.
            let _ = answer.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let sent = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.send(decode).is_ok());
        match answered.await {
            Ok(Ok(result)) if sent => result,
            Ok(Err(panic)) => resume_unwind(panic),
            _ => Err(stopping()),
        }
    }
}

impl Drop for Decoders {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // Panics are handed to whoever asked for the work.
            let _ = thread.join();
        }
    }
}

/// Tells a read that nobody waits for it any more, when its client goes away or its time is up.
struct Leaving(Asker);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn too_long(limit: Duration) -> ApiError {
    let seconds = limit.as_secs();
    let message = format!(
        "The answer took longer than {seconds} s (setting read_timeout); ask for fewer records or with a filter \
         that is easier to answer"
    );
    ApiError::new(504, message)
}

/// Does `work` on this thread, where nothing else runs that could say when its time is up: what it reads of
/// records for `asker` it leaves then.
fn within<T>(
    limit: Duration,
    asker: &Asker,
    work: impl FnOnce() -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    asker.leave_after(limit);
    let begun = Instant::now();
    let done = work();
    if done.is_err() && begun.elapsed() >= limit {
        return Err(too_long(limit));
    }
    done
}

/// Does `write`, which reads records before it writes any, on this thread: it is left where that takes longer
/// than a read may, and ends once it writes.
pub(crate) fn once_read<T>(
    limit: Duration,
    write: impl FnOnce() -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let asker = Answers::new(u64::MAX).asker();
    within(limit, &asker, || asker.serve(write))
}

fn stopping() -> ApiError {
    ApiError::new(503, "the server is stopping")
}

impl Blocking {
    /// A bridge for this machine.
    pub(crate) fn new(config: &ServerConfig) -> std::io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            reads: Turns::new(processors * READS_PER_PROCESSOR),
            writes: Turns::new(WRITES_MAX),
            decodes: Turns::new(processors),
            decoders: Decoders::start(processors)?,
            brief: Arc::default(),
            answers: Answers::new(config.answer_bytes_max),
            read_timeout: config.read_timeout,
        })
    }

    /// Reads and writes that wait for their turn.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let of = |turns: &Turns| turns.waiting.load(Ordering::Relaxed);
        (of(&self.reads), of(&self.writes))
    }

    /// Runs a read of records, on this thread while such reads are brief. It must not wait for other tasks. One
    /// whose client goes away or whose time is up is left soon, and its answer is of bounded size.
    pub(crate) async fn read_records<T, F>(&self, read: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, ApiError> + Send + 'static,
    {
        let brief = self.brief.clone();
        let asker = self.answers.asker();
        let leaving = Leaving(asker.clone());
        let timed = move || {
            let begun = Instant::now();
            let done = asker.serve(read);
            brief.note(begun.elapsed());
            done
        };
        let here = self.brief.enter(Handle::current().metrics().num_workers());
        if here.is_some() {
            return within(self.read_timeout, &leaving.0, timed);
        }
        let read = self.run(Work::Read, timed);
        let done = tokio::time::timeout(self.read_timeout, read).await;
        done.unwrap_or_else(|_| Err(too_long(self.read_timeout)))
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
        let work = move || {
            let _turn = turn;
            span.in_scope(work)
        };
        if kind == Work::Decode {
            return self.decoders.run(work).await;
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => Err(stopping()),
        }
    }
}

#[cfg(test)]
mod tests {
    use vermilion_engine::Database;
    use vermilion_engine::model::{CollectionScope, GetRequest, NewCollection, Schema};

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
            decoders: Decoders::start(1).unwrap(),
            brief: Arc::default(),
            answers: Answers::new(1 << 20),
            read_timeout: Duration::from_mins(1),
        });
        for kind in [Work::Read, Work::Decode] {
            let panicking = blocking.clone();
            let task = tokio::spawn(async move {
                panicking
                    .run(kind, || -> Result<(), ApiError> { panic!("for the test") })
                    .await
            });
            assert!(task.await.unwrap_err().is_panic(), "{kind:?}");
            assert_eq!(blocking.run(kind, || Ok(7)).await, Ok(7), "{kind:?}");
        }
        let refused = blocking.run(Work::Write, || Err::<(), _>(ApiError::invalid("no")));
        assert_eq!(refused.await.unwrap_err().status, 400);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn brief_reads_run_where_they_are_asked_for_until_one_is_long() {
        let blocking = Blocking::new(&ServerConfig::default()).unwrap();
        let here = async |rest: Duration| {
            let asking = std::thread::current().id();
            let work = move || {
                std::thread::sleep(rest);
                Ok(std::thread::current().id() == asking)
            };
            blocking.read_records(work).await.unwrap()
        };
        let mut brief = 0;
        while !here(Duration::ZERO).await {
            brief += 1;
            assert!(brief < 100_000, "all are brief");
        }
        here(2 * BRIEF).await;
        assert!(!here(Duration::ZERO).await, "one was long");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_that_was_taken_for_brief_has_no_more_time_than_others() {
        let config = ServerConfig {
            read_timeout: Duration::from_millis(20),
            ..ServerConfig::default()
        };
        let blocking = Blocking::new(&config).unwrap();
        blocking
            .brief
            .in_turn
            .store(BRIEF_IN_TURN, Ordering::Relaxed);
        let database = Database::open(vermilion_engine::Config::in_memory()).unwrap();
        let made = database.create_collection(NewCollection {
            tenant: "default_tenant".to_owned(),
            database: "default_database".to_owned(),
            name: "things".to_owned(),
            metadata: None,
            schema: Schema::default(),
            get_or_create: false,
        });
        let id = made.unwrap().id;
        // Reads until it is told that nobody waits.
        let read = move || -> Result<(), ApiError> {
            loop {
                let scope = CollectionScope {
                    tenant: "default_tenant",
                    database: "default_database",
                    id,
                };
                database.get(scope, &GetRequest::default())?;
            }
        };
        assert_eq!(blocking.read_records(read).await.unwrap_err().status, 504);
    }

    #[test]
    fn one_of_the_threads_runs_no_read() {
        let brief = Brief::default();
        assert!(brief.enter(8).is_none(), "nothing is known of reads");
        (0..BRIEF_IN_TURN).for_each(|_| brief.note(Duration::ZERO));
        assert!(brief.enter(1).is_none());
        let first = brief.enter(3);
        let second = brief.enter(3);
        assert!(first.is_some() && second.is_some() && brief.enter(3).is_none());
        drop(first);
        assert!(brief.enter(3).is_some());
        brief.note(BRIEF * 2);
        assert!(brief.enter(3).is_none());
    }

    #[tokio::test]
    async fn bodies_are_decoded_by_threads_that_end_with_their_owner() {
        let decoders = Decoders::start(2).unwrap();
        let name = || Ok(std::thread::current().name().unwrap_or_default().to_owned());
        let told = decoders.run(name).await.unwrap();
        assert!(told.starts_with("vermilion-decode-"), "{told}");
        // A client that goes away leaves its work behind, which is done before the threads end.
        let (done, is_done) = mpsc::channel();
        let mut left = Box::pin(decoders.run(move || {
            done.send(()).unwrap();
            Ok(())
        }));
        let soon = std::time::Duration::ZERO;
        let _ = tokio::time::timeout(soon, left.as_mut()).await;
        drop(left);
        drop(decoders);
        assert_eq!(is_done.recv(), Ok(()));
    }
}
