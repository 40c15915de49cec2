//! How threads that work behind requests stand back from those that answer them.
//!
//! What must stay true: a thread lowers itself and nobody else, and only where it has nothing to
//! do that a request waits for.

/// How far a thread stands back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// As threads that answer requests.
    Usual,
    /// Behind them; its work frees memory that writers need.
    Behind,
    /// Behind everything else.
    Last,
}

/// Gives the calling thread `priority`, where the system can.
pub(crate) fn lower_priority(priority: Priority) {
    let nice = match priority {
        Priority::Usual => return,
        Priority::Behind => 10,
        Priority::Last => 19,
    };
    #[cfg(target_os = "linux")]
    // On Linux this is the calling thread alone.
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
    #[cfg(not(target_os = "linux"))]
    let _: i32 = nice;
}
