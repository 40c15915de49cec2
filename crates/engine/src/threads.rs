//! How threads that work behind requests stand back from those that answer them.
//!
//! What must stay true: a thread lowers itself and nobody else, and only where it has nothing to
//! do that a read waits for. What is behind everything shares nothing but moments with requests: it
//! may not be given the processor for long while they have it, so it holds no lock that they take across
//! work or I/O.

use std::panic::resume_unwind;

#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::{Error, Result};

/// How far a thread stands back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// As threads that answer requests.
    Usual,
    /// Behind those that answer reads; writers may need what they do.
    Behind,
    /// Behind everything else: on Linux only what of the processors nobody else takes, but for a
    /// three-hundredth.
    Last,
}

/// Does `work` on a thread of its own, which is called `name` and has `priority`, and waits for it:
/// for work that a request asks for, whose own thread goes on with other requests.
pub(crate) fn apart<T: Send>(
    name: &str,
    priority: Priority,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, move || {
                lower_priority(priority);
                work()
            })
            .map_err(|cause| Error::internal(format!("cannot start thread {name}: {cause}")))?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Gives the calling thread `priority`, where the system can.
pub fn lower_priority(priority: Priority) {
    let nice = match priority {
        Priority::Usual => return,
        Priority::Behind => 10,
        Priority::Last => 19,
    };
    #[cfg(target_os = "linux")]
    if priority == Priority::Last {
        // Before nice, which it sets to nothing.
        only_when_idle();
    }
    #[cfg(target_os = "linux")]
    // On Linux this is the calling thread alone.
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
    #[cfg(not(target_os = "linux"))]
    let _: i32 = nice;
}

/// Puts the calling thread into the class of those that give way at once to every other one: nice
/// alone lets a thread finish its turn, which is as long as some queries take.
#[cfg(target_os = "linux")]
fn only_when_idle() {
    let class = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let thread = thread_native_id();
    if let Err(error) = set_thread_priority_and_policy(thread, ThreadPriority::Min, class) {
        tracing::debug!(?error, "a thread keeps its class");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the system calls nice: 0 as usual, 19 behind everything; and whether the thread is of the
    /// class that gives way at once.
    #[cfg(target_os = "linux")]
    fn own_place() -> (i32, bool) {
        let nice = rustix::process::getpriority_process(None);
        let class =
            thread_priority::thread_schedule_policy().expect("a thread may ask for its own");
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        (nice.expect("a thread may ask for its own"), class == idle)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_apart_is_behind_everything_and_its_caller_stays_as_it_was() {
        let before = own_place();
        let told = apart("vermilion-test", Priority::Last, || {
            let name = std::thread::current().name().map(str::to_owned);
            Ok((own_place(), name))
        });
        let name = Some("vermilion-test".to_owned());
        assert_eq!(told.expect("nothing fails"), ((19, true), name));
        assert_eq!(own_place(), before);
        let failed = apart("vermilion-test", Priority::Last, || {
            Err::<(), _>(Error::invalid("for the test"))
        });
        assert_eq!(failed.expect_err("it fails").message(), "for the test");
    }
}
