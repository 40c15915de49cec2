//! What a thread has cost since it was last asked: bytes read and written, time of the processor.
//!
//! What must stay true: each thread counts for itself, so that nobody waits for a counter.

use std::cell::Cell;
use std::time::Duration;

/// What a thread has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Bytes that it read or wrote.
    pub(crate) bytes: u64,
    /// Time for which it had a processor; zero where the system does not tell.
    pub(crate) processor: Duration,
}

thread_local! {
    static BYTES: Cell<u64> = const { Cell::new(0) };
    static PROCESSOR: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Counts bytes that this thread has read or written.
pub(crate) fn add(bytes: u64) {
    BYTES.set(BYTES.get().saturating_add(bytes));
}

/// What this thread has cost since the last call of this or of [`begin`].
pub(crate) fn take() -> Spent {
    let now = processor();
    let before = PROCESSOR.replace(now);
    Spent {
        bytes: BYTES.replace(0),
        processor: now
            .zip(before)
            .map(|(now, before)| now.saturating_sub(before))
            .unwrap_or_default(),
    }
}

/// Begins to count anew.
pub(crate) fn begin() {
    take();
}

#[cfg(target_os = "linux")]
fn processor() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    Some(Duration::new(seconds, nanoseconds))
}

#[cfg(not(target_os = "linux"))]
fn processor() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{DiskStorage, Storage};

    #[test]
    fn a_thread_is_told_what_it_read_and_wrote_itself() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let storage = DiskStorage::open(folder.path()).expect("it opens");
        begin();
        let mut file = storage.create("a").expect("the name is free");
        file.write(&[&[1; 1000], &[2; 500]]).expect("writable");
        file.sync().expect("it syncs");
        assert_eq!(take().bytes, 1500);
        std::thread::scope(|threads| {
            threads.spawn(|| storage.read("a").expect("readable"));
        });
        assert_eq!(storage.read_at("a", 100, 300).expect("readable").len(), 300);
        assert_eq!(take().bytes, 300, "what another thread read is not counted");
        assert_eq!(take().bytes, 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn time_of_the_processor_passes_with_work() {
        begin();
        let mut sum = 0_u64;
        let mut spent = Duration::ZERO;
        while spent < Duration::from_millis(2) {
            (0..100_000).for_each(|number| sum = sum.wrapping_mul(31).wrapping_add(number));
            spent += take().processor;
        }
        assert_ne!(sum, 0);
    }
}
